#include <stdlib.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"

/* Within a transaction.  Who was enrolled with it could not come back by it either. */
static int make_room(struct state *s, int64_t now, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	char id[TOKEN_ID_SIZE] = "";
	int r = sql_prepare(s, &st, err,
			    "SELECT ifnull((SELECT id FROM tokens WHERE revoked OR expires <= ?1"
			    " ORDER BY created, rowid LIMIT 1), ''), count(*) >= ?2 FROM tokens",
			    "ii", now, (int64_t)TOKENS_MAX);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0 || !sqlite3_column_int64(st, 1))
		return r < 0 ? r : 0;
	column_text(st, 0, id, sizeof(id));
	if (!*id) {
		return err_set(
			err, -EUSERS,
			"There are %u enrolment tokens, as many as there may be: revoke those "
			"that are not needed any more (hoist token revoke).",
			TOKENS_MAX);
	}
	r = sql_run(s, err, "DELETE FROM token_machines WHERE token=?", "t", id);
	return r < 0 ? r : sql_run(s, err, "DELETE FROM tokens WHERE id=?", "t", id);
}

static int insert_token(struct state *s, const struct token_row *t, const struct id *hash,
			struct err *err)
{
	return sql_run(s, err,
		       "INSERT INTO tokens(id, hash, note, uses, uses_left, created, expires,"
		       " revoked, job) VALUES(?,?,?,?,?,?,nullif(?,0),?,?)",
		       "tbtiiiiit", t->id, hash, t->note, (int64_t)t->uses, (int64_t)t->uses_left,
		       t->created, t->expires, (int64_t)t->revoked, t->job);
}

int state_add_token(struct state *s, const struct token_row *t, const struct id *hash,
		    struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	r = make_room(s, t->created, err);
	if (r == 0)
		r = insert_token(s, t, hash, err);
	return sql_end(s, r, err);
}

static int no_use(struct err *err, const char *why)
{
	return err_set(err, -EACCES, "The enrolment token %s.", why);
}

/* Within a transaction. */
static int use_token(struct state *s, const struct id *hash, const char *machine, unsigned may,
		     int64_t now, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	char id[TOKEN_ID_SIZE];
	int r = sql_prepare(s, &st, err,
			    "SELECT id, uses_left, ifnull(expires, 0), revoked,"
			    " EXISTS(SELECT 1 FROM token_machines WHERE token=id AND machine=?2)"
			    " FROM tokens WHERE hash=?1",
			    "bt", hash, machine);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return no_use(err, "is unknown");
	column_text(st, 0, id, sizeof(id));
	if (sqlite3_column_int64(st, 3))
		return no_use(err, "was revoked");
	if (sqlite3_column_int64(st, 2) != 0 && sqlite3_column_int64(st, 2) <= now)
		return no_use(err, "has expired");
	if (sqlite3_column_int64(st, 4))
		return 0;
	if (sqlite3_column_int64(st, 1) == 0)
		return no_use(err, "is used up");
	if (!(may & TOKEN_MAY_ENROL))
		return no_use(err, "is not the one of this machine, which is at work");
	if (!(may & TOKEN_MAY_TAKE))
		return 0;
	r = sql_run(s, err, "UPDATE tokens SET uses_left=uses_left-1 WHERE id=?", "t", id);
	if (r == 0) {
		r = sql_run(s, err,
			    "INSERT INTO token_machines(token, machine, at, owed)"
			    " SELECT id, ?2, ?3, job <> '' FROM tokens WHERE id=?1",
			    "tti", id, machine, now);
	}
	return r;
}

int state_use_token(struct state *s, const struct id *hash, const char *machine, unsigned may,
		    int64_t now, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	return sql_end(s, use_token(s, hash, machine, may, now, err), err);
}

int state_owed_job(struct state *s, const char *machine, char ret[static TOKEN_JOB_SIZE],
		   struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT job FROM token_machines JOIN tokens ON tokens.id = token"
			    " WHERE machine=? AND owed ORDER BY at DESC LIMIT 1",
			    "t", machine);

	ret[0] = '\0';
	if (r == 0)
		r = sql_step(s, st, err);
	if (r > 0)
		column_text(st, 0, ret, TOKEN_JOB_SIZE);
	return r < 0 ? r : 0;
}

int state_job_given(struct state *s, const char *machine, struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE token_machines SET owed=0 WHERE machine=?", "t", machine);
}

int state_revoke_token(struct state *s, const char *id, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_run(s, err, "UPDATE tokens SET revoked=1 WHERE id=?", "t", id);

	if (r == 0 && sqlite3_changes(s->db) == 0)
		return err_set(err, -ENOENT, "There is no such token.");
	return r;
}

int state_each_token(struct state *s, state_token_fn fn, void *arg, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(
		s, &st, err,
		"SELECT id, note, uses, uses_left, created, ifnull(expires, 0), revoked,"
		" job FROM tokens ORDER BY created DESC, rowid DESC",
		"");

	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		struct token_row t = {0};

		column_text(st, 0, t.id, sizeof(t.id));
		column_text(st, 1, t.note, sizeof(t.note));
		t.uses = (uint32_t)sqlite3_column_int64(st, 2);
		t.uses_left = (uint32_t)sqlite3_column_int64(st, 3);
		t.created = sqlite3_column_int64(st, 4);
		t.expires = sqlite3_column_int64(st, 5);
		t.revoked = sqlite3_column_int64(st, 6) != 0;
		column_text(st, 7, t.job, sizeof(t.job));
		r = fn(arg, &t);
		if (r < 0)
			return r;
	}
	return r;
}
