#include "common/cleanup.h"
#include "server/state/sqlite.h"

#define EVENTS_KEPT 10000
#define TRIM_EVERY  100u

int state_add_event(struct state *s, const struct event_row *e, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_run(s, err,
			"INSERT INTO events(at, event, machine, job, text) VALUES(?,?,?,?,?)",
			"itttt", e->at, e->event, e->machine, e->job, e->text);

	if (r < 0 || ++s->events_added % TRIM_EVERY != 0)
		return r;
	return sql_run(s, err, "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?",
		       "i", (int64_t)EVENTS_KEPT);
}

int state_each_event(struct state *s, uint64_t after, uint32_t limit, state_event_fn fn, void *arg,
		     struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT id, at, event, machine, job, text FROM events WHERE id > ?"
			    " ORDER BY id LIMIT ?",
			    "ii", (int64_t)after, (int64_t)limit);

	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		struct event_row e = {
			.id = (uint64_t)sqlite3_column_int64(st, 0),
			.at = sqlite3_column_int64(st, 1),
			.event = (const char *)sqlite3_column_text(st, 2),
			.machine = (const char *)sqlite3_column_text(st, 3),
			.job = (const char *)sqlite3_column_text(st, 4),
			.text = (const char *)sqlite3_column_text(st, 5),
		};

		if (!e.event || !e.machine || !e.job || !e.text)
			return err_set(err, -ENOMEM, "read the events: out of memory");
		r = fn(arg, &e);
		if (r < 0)
			return r;
	}
	return r;
}
