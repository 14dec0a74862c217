/* One connection behind one lock.  What is asked at every request (whose secret is this? which job is that?) is held in memory by
 * server/fleet, so the database only sees changes of state, a few a second at most; each is a commit with an fsync. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"

#define BUSY_MS 5000

int sql_error(struct state *s, struct err *err, const char *what)
{
	int code = sqlite3_errcode(s->db);
	int r;

	switch (code) {
	case SQLITE_FULL:
		r = -ENOSPC;
		break;
	case SQLITE_NOMEM:
		r = -ENOMEM;
		break;
	case SQLITE_CONSTRAINT:
		r = -EEXIST;
		break;
	default:
		r = -EIO;
		break;
	}
	return err_set(err, r, "%s in the server's state: %s", what, sqlite3_errmsg(s->db));
}

static int bind_value(sqlite3_stmt *st, int i, char type, va_list *ap)
{
	const struct id *id;

	switch (type) {
	case 't':
		return sqlite3_bind_text(st, i, va_arg(*ap, const char *), -1, SQLITE_STATIC);
	case 'i':
		return sqlite3_bind_int64(st, i, va_arg(*ap, int64_t));
	default:
		id = va_arg(*ap, const struct id *);
		return id ? sqlite3_bind_blob(st, i, id->b, ID_SIZE, SQLITE_STATIC)
			  : sqlite3_bind_null(st, i);
	}
}

static int prepare_va(struct state *s, sqlite3_stmt **ret, struct err *err, const char *sql,
		      const char *types, va_list *ap)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
		return sql_error(s, err, "prepare a statement");
	for (int i = 0; types[i]; i++) {
		if (bind_value(st, i + 1, types[i], ap) != SQLITE_OK)
			return sql_error(s, err, "bind a value");
	}
	*ret = TAKE_PTR(st);
	return 0;
}

int sql_prepare(struct state *s, sqlite3_stmt **ret, struct err *err, const char *sql,
		const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare_va(s, ret, err, sql, types, &ap);
	va_end(ap);
	return r;
}

int sql_step(struct state *s, sqlite3_stmt *st, struct err *err)
{
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return sql_error(s, err, "a statement failed");
	}
}

int sql_run(struct state *s, struct err *err, const char *sql, const char *types, ...)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare_va(s, &st, err, sql, types, &ap);
	va_end(ap);
	if (r < 0)
		return r;
	r = sql_step(s, st, err);
	return r < 0 ? r : 0;
}

int sql_begin(struct state *s, struct err *err)
{
	return sql_run(s, err, "BEGIN IMMEDIATE", "");
}

int sql_end(struct state *s, int r, struct err *err)
{
	struct err ignored;

	if (r == 0)
		r = sql_run(s, err, "COMMIT", "");
	if (r < 0 && !sqlite3_get_autocommit(s->db))
		(void)!sql_run(s, &ignored, "ROLLBACK", ""); /* r is the reason that counts */
	return r;
}

void column_text(sqlite3_stmt *st, int i, char *ret, size_t ret_size)
{
	const char *text = (const char *)sqlite3_column_text(st, i);
	size_t n = text ? strlen(text) : 0;

	if (n >= ret_size)
		n = ret_size - 1;
	if (text && n > 0)
		memcpy(ret, text, n);
	ret[n] = '\0';
}

bool column_heap(sqlite3_stmt *st, int i, char **ret)
{
	const char *text = (const char *)sqlite3_column_text(st, i);

	*ret = text ? strdup(text) : NULL;
	return !text || *ret;
}

struct id column_id(sqlite3_stmt *st, int i)
{
	const void *data = sqlite3_column_blob(st, i);
	struct id id = {{0}};

	if (data && sqlite3_column_bytes(st, i) == ID_SIZE)
		memcpy(id.b, data, ID_SIZE);
	return id;
}

static int set_up(struct state *s, bool *ret_new, struct err *err)
{
	static const char *const pragmas[] = {
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
		"PRAGMA foreign_keys = ON",  "PRAGMA trusted_schema = OFF",
		"PRAGMA secure_delete = ON",
	};

	(void)sqlite3_busy_timeout(s->db, BUSY_MS);
	for (size_t i = 0; i < sizeof(pragmas) / sizeof(pragmas[0]); i++) {
		CLEANUP_STMT sqlite3_stmt *st = NULL;

		if (sqlite3_prepare_v2(s->db, pragmas[i], -1, &st, NULL) != SQLITE_OK ||
		    (sqlite3_step(st) != SQLITE_ROW && sqlite3_errcode(s->db) != SQLITE_DONE))
			return sql_error(s, err, pragmas[i]);
	}
	return schema_migrate(s, ret_new, err);
}

static int damaged(const char *path, struct err *err)
{
	const struct err why = *err;

	return err_set(err, why.code,
		       "open '%.120s': %.120s; put it back from a backup, or move it away with its "
		       "-wal and -shm: the images are found again by their manifests, while "
		       "machines, tokens, operators and jobs are then new",
		       path, why.msg);
}

int state_open(const char *path, struct state **ret, bool *ret_new, struct err *err)
{
	struct state *s = calloc(1, sizeof(*s));
	int r = -EIO;

	if (!s)
		return err_set(err, -ENOMEM, "open '%s': out of memory", path);
	(void)pthread_mutex_init(&s->lock, NULL);
	if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
			    NULL) != SQLITE_OK)
		(void)err_set(err, r, "%s", s->db ? sqlite3_errmsg(s->db) : "out of memory");
	else
		r = set_up(s, ret_new, err);
	if (r < 0) {
		bool is_damaged = s->db && (sqlite3_errcode(s->db) == SQLITE_NOTADB ||
					    sqlite3_errcode(s->db) == SQLITE_CORRUPT);

		state_close(s);
		return is_damaged ? damaged(path, err) : err_prefix(err, "open '%s'", path);
	}
	*ret = s;
	return 0;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	(void)sqlite3_close(s->db);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}
