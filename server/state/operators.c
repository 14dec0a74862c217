#include <errno.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"

static const char *const role_names[] = {"none", "viewer", "operator", "admin"};

const char *role_name(enum role r)
{
	return role_names[r];
}

enum role role_from_name(const char *name)
{
	for (enum role r = ROLE_VIEWER; r <= ROLE_ADMIN; r++) {
		if (strcmp(name, role_names[r]) == 0)
			return r;
	}
	return ROLE_NONE;
}

static enum role column_role(sqlite3_stmt *st, int i)
{
	char text[16];

	column_text(st, i, text, sizeof(text));
	return role_from_name(text);
}

static int no_operator(const char *name, struct err *err)
{
	return err_set(err, -ENOENT, "There is no operator '%s'.", name);
}

static int changed_meanwhile(const char *name, struct err *err)
{
	return err_set(err, -ESTALE, "Operator '%s' was changed just now; try again.", name);
}

/* The one number that a statement gives. */
static int read_count(struct state *s, int64_t *ret, struct err *err, const char *sql,
		      const char *text)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err, sql, text ? "t" : "", text);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}

/* ---- operators */

/* Within a transaction. */
static int insert_operator(struct state *s, const struct operator_row *o, struct err *err)
{
	int64_t count = 0;
	int r = read_count(s, &count, err, "SELECT count(*) FROM operators", NULL);

	if (r == 0 && count >= OPERATORS_MAX)
		return err_set(err, -EUSERS, "There are %u operators already.", OPERATORS_MAX);
	if (r == 0) {
		r = sql_run(s, err,
			    "INSERT INTO operators(name, role, password, created, changed)"
			    " VALUES(?,?,?,?,?)",
			    "tttii", o->name, role_name(o->role), o->password, o->created,
			    o->changed);
	}
	if (r == -EEXIST)
		return err_set(err, r, "There is an operator '%s' already.", o->name);
	return r;
}

int state_add_operator(struct state *s, const struct operator_row *o, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	return r < 0 ? r : sql_end(s, insert_operator(s, o, err), err);
}

static void read_operator(sqlite3_stmt *st, struct operator_row *ret)
{
	*ret = (struct operator_row){.role = column_role(st, 1)};
	column_text(st, 0, ret->name, sizeof(ret->name));
	column_text(st, 2, ret->password, sizeof(ret->password));
	ret->created = sqlite3_column_int64(st, 3);
	ret->changed = sqlite3_column_int64(st, 4);
}

/* The lock is held. */
static int get_operator(struct state *s, const char *name, struct operator_row *ret,
			struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	int r = sql_prepare(s, &st, err,
			    "SELECT name, role, password, created, changed FROM operators"
			    " WHERE name=?",
			    "t", name);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return no_operator(name, err);
	read_operator(st, ret);
	return 0;
}

int state_get_operator(struct state *s, const char *name, struct operator_row *ret, struct err *err)
{
	LOCK_STATE(s);

	return get_operator(s, name, ret, err);
}

/* Within a transaction. */
static int change_operator(struct state *s, const char *name, const struct operator_change *c,
			   struct err *err)
{
	enum role role = c->role;
	int r = sql_run(s, err,
			"UPDATE operators SET role=ifnull(?1, role),"
			" password=ifnull(?2, password), changed=?3"
			" WHERE name=?4 AND password=ifnull(?5, password)",
			"ttitt", role == ROLE_NONE ? NULL : role_name(role), c->password, c->at,
			name, c->old_password);

	if (r == 0 && sqlite3_changes(s->db) == 0)
		return c->old_password ? changed_meanwhile(name, err) : no_operator(name, err);
	if (r == 0)
		r = sql_run(s, err, "DELETE FROM credentials WHERE operator=? AND session", "t",
			    name);
	if (r == 0 && role == ROLE_VIEWER)
		r = sql_run(s, err, "DELETE FROM credentials WHERE operator=? AND role<>'viewer'",
			    "t", name);
	if (r == 0 && role == ROLE_OPERATOR)
		r = sql_run(s, err, "DELETE FROM credentials WHERE operator=? AND role='admin'",
			    "t", name);
	return r;
}

int state_change_operator(struct state *s, const char *name, const struct operator_change *c,
			  struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	return r < 0 ? r : sql_end(s, change_operator(s, name, c, err), err);
}

int state_rehash_operator(struct state *s, const char *name, const char *old, const char *password,
			  struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE operators SET password=? WHERE name=? AND password=?", "ttt",
		       password, name, old);
}

int state_remove_operator(struct state *s, const char *name, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_run(s, err, "DELETE FROM operators WHERE name=?", "t", name);

	if (r == 0 && sqlite3_changes(s->db) == 0)
		return no_operator(name, err);
	return r;
}

int state_each_operator(struct state *s, state_operator_fn fn, void *arg, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT name, role, password, created, changed FROM operators"
			    " ORDER BY name",
			    "");

	while (r >= 0 && (r = sql_step(s, st, err)) > 0) {
		struct operator_row o;

		read_operator(st, &o);
		r = fn(arg, &o);
	}
	return r;
}

/* ---- credentials */

#define CREDENTIAL                                                                             \
	"SELECT c.id, c.operator, c.name, c.address, c.session, c.role, c.created, c.expires," \
	" c.used, o.role FROM credentials AS c JOIN operators AS o ON o.name = c.operator"

static void read_credential(sqlite3_stmt *st, struct credential_row *ret)
{
	enum role own = column_role(st, 5), operators = column_role(st, 9);

	*ret = (struct credential_row){.is_session = sqlite3_column_int64(st, 4) != 0,
				       .role = own < operators ? own : operators};
	column_text(st, 0, ret->id, sizeof(ret->id));
	column_text(st, 1, ret->operator, sizeof(ret->operator));
	column_text(st, 2, ret->name, sizeof(ret->name));
	column_text(st, 3, ret->address, sizeof(ret->address));
	ret->created = sqlite3_column_int64(st, 6);
	ret->expires = sqlite3_column_int64(st, 7);
	ret->used = sqlite3_column_int64(st, 8);
}

static int make_room(struct state *s, const struct credential_row *c, struct err *err)
{
	int64_t tokens = 0;
	int r = sql_run(s, err, "DELETE FROM credentials WHERE expires <= ?", "i", c->created);

	if (r == 0 && c->is_session) {
		return sql_run(s, err,
			       "DELETE FROM credentials WHERE id IN (SELECT id FROM credentials"
			       " WHERE operator=? AND session ORDER BY max(used, created) DESC,"
			       " rowid DESC LIMIT -1 OFFSET ?)",
			       "ti", c->operator,(int64_t) SESSIONS_MAX - 1);
	}
	if (r == 0) {
		r = read_count(s, &tokens, err,
			       "SELECT count(*) FROM credentials WHERE operator=? AND NOT session",
			       c->operator);
	}
	if (r == 0 && tokens >= ACCESS_TOKENS_MAX)
		return err_set(err, -EUSERS, "'%s' has %u tokens already; revoke some.",
			       c->operator, ACCESS_TOKENS_MAX);
	return r;
}

/* Within a transaction: what was looked at before it may have changed. */
static int check_operator(struct state *s, const struct credential_row *c, const char *password,
			  struct err *err)
{
	struct operator_row o = {.role = ROLE_NONE};
	int r = get_operator(s, c->operator, & o, err);

	if (r == 0 && (c->role > o.role || (password && strcmp(password, o.password) != 0)))
		r = changed_meanwhile(c->operator, err);
	explicit_bzero(o.password, sizeof(o.password));
	return r;
}

/* Within a transaction. */
static int insert_credential(struct state *s, const struct credential_row *c, const struct id *hash,
			     const char *password, struct err *err)
{
	int r = check_operator(s, c, password, err);

	if (r == 0)
		r = make_room(s, c, err);
	if (r < 0)
		return r;
	return sql_run(s, err,
		       "INSERT INTO credentials(id, hash, operator, session, name, role, address,"
		       " created, expires, used) VALUES(?,?,?,?,?,?,?,?,?,?)",
		       "tbtitttiii", c->id, hash, c->operator,(int64_t) c->is_session, c->name,
		       role_name(c->role), c->address, c->created, c->expires, c->used);
}

int state_add_credential(struct state *s, const struct credential_row *c, const struct id *hash,
			 const char *password, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	return r < 0 ? r : sql_end(s, insert_credential(s, c, hash, password, err), err);
}

int state_find_credential(struct state *s, const struct id *hash, struct credential_row *ret,
			  struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err, CREDENTIAL " WHERE c.hash=?", "b", hash);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, -ENOENT, "There is no such session or token.");
	read_credential(st, ret);
	return 0;
}

int state_touch_credential(struct state *s, const char *id, int64_t used, struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE credentials SET used=? WHERE id=?", "it", used, id);
}

int state_remove_credential(struct state *s, const char *id, const char *operator, struct err * err)
{
	LOCK_STATE(s);
	int r = sql_run(s, err, "DELETE FROM credentials WHERE id=?1 AND ifnull(operator=?2, 1)",
			"tt", id, operator);

	if (r == 0 && sqlite3_changes(s->db) == 0)
		return err_set(err, -ENOENT, "There is no such token.");
	return r;
}

int state_each_credential(struct state *s, const char *operator, state_credential_fn fn, void *arg,
			  struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    CREDENTIAL " WHERE ifnull(c.operator=?, 1)"
				       " ORDER BY c.created DESC, c.rowid DESC",
			    "t", operator);

	while (r >= 0 && (r = sql_step(s, st, err)) > 0) {
		struct credential_row c;

		read_credential(st, &c);
		r = fn(arg, &c);
	}
	return r;
}
