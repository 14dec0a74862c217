/* Rows are numbered within their kind, done or refused, so that a flood of refusals pushes out refusals only, and so that what may go is
 * known without counting.  The triggers of the schema keep the rest. */
#include "common/cleanup.h"
#include "server/state/sqlite.h"

#define DONE_KEPT    100000
#define REFUSED_KEPT 10000

int state_add_audit(struct state *s, const struct audit_row *a, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	r = sql_run(
		s, err,
		"INSERT INTO audit(refused, n, at, who, credential, address, action, object,"
		" result) VALUES(?1, 1 + ifnull((SELECT max(n) FROM audit WHERE refused=?1), 0),"
		" ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		"iitttttt", (int64_t)a->refused, a->at, a->who, a->credential, a->address,
		a->action, a->object, a->result);
	if (r == 0) {
		r = sql_run(s, err,
			    "DELETE FROM audit WHERE refused=?1 AND"
			    " n <= (SELECT max(n) FROM audit WHERE refused=?1) - ?2",
			    "ii", (int64_t)a->refused,
			    (int64_t)(a->refused ? REFUSED_KEPT : DONE_KEPT));
	}
	return sql_end(s, r, err);
}

int state_each_audit(struct state *s, const struct audit_filter *f, state_audit_fn fn, void *arg,
		     struct err *err)
{
	static const char columns[] =
		"id, at, refused, who, credential, address, action, object, result";
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	char sql[320];
	LOCK_STATE(s);
	int r;

	(void)sqlite3_snprintf(sizeof(sql), sql,
			       "SELECT * FROM (SELECT %s FROM audit WHERE id > ? AND at >= ?"
			       " ORDER BY id %s LIMIT ?) ORDER BY id",
			       columns, f->newest ? "DESC" : "ASC");
	r = sql_prepare(s, &st, err, sql, "iii", (int64_t)f->after, f->since, (int64_t)f->limit);
	while (r >= 0 && (r = sql_step(s, st, err)) > 0) {
		struct audit_row a = {
			.id = (uint64_t)sqlite3_column_int64(st, 0),
			.at = sqlite3_column_int64(st, 1),
			.refused = sqlite3_column_int64(st, 2) != 0,
			.who = (const char *)sqlite3_column_text(st, 3),
			.credential = (const char *)sqlite3_column_text(st, 4),
			.address = (const char *)sqlite3_column_text(st, 5),
			.action = (const char *)sqlite3_column_text(st, 6),
			.object = (const char *)sqlite3_column_text(st, 7),
			.result = (const char *)sqlite3_column_text(st, 8),
		};

		if (!a.who || !a.credential || !a.address || !a.action || !a.object || !a.result)
			return err_set(err, -ENOMEM, "read the audit log: out of memory");
		r = fn(arg, &a);
	}
	return r;
}
