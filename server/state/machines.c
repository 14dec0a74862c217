#include <stdlib.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"

void machine_row_done(struct machine_row *m)
{
	free(m->inventory);
	*m = (struct machine_row){0};
}

static const struct id *or_null(const struct id *id)
{
	return id_is_zero(id) ? NULL : id;
}

int state_put_machine(struct state *s, const struct machine_row *m, struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err,
		       "INSERT INTO machines(id, name, agent_version, address, first_seen,"
		       " last_seen, secret_hash, inventory, former_hash, displaced_hash,"
		       " displaced_former, displaced_job) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"
		       " ON CONFLICT(id) DO UPDATE SET name=excluded.name,"
		       " agent_version=excluded.agent_version, address=excluded.address,"
		       " last_seen=excluded.last_seen, secret_hash=excluded.secret_hash,"
		       " inventory=excluded.inventory, former_hash=excluded.former_hash,"
		       " displaced_hash=excluded.displaced_hash,"
		       " displaced_former=excluded.displaced_former,"
		       " displaced_job=excluded.displaced_job",
		       "ttttiibtbbbt", m->id, m->name, m->agent_version, m->address, m->first_seen,
		       m->last_seen, or_null(&m->secret_hash), m->inventory,
		       or_null(&m->former_hash), or_null(&m->displaced_hash),
		       or_null(&m->displaced_former), m->displaced_job);
}

int state_put_secrets(struct state *s, const char *id, const struct id *secret,
		      const struct id *former, struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE machines SET secret_hash=?, former_hash=? WHERE id=?", "bbt",
		       or_null(secret), or_null(former), id);
}

int state_touch_machine(struct state *s, const char *id, int64_t last_seen, const char *address,
			struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err, "UPDATE machines SET last_seen=?, address=? WHERE id=?", "itt",
		       last_seen, address, id);
}

int state_remove_machine(struct state *s, const char *id, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	r = sql_run(s, err, "DELETE FROM token_machines WHERE machine=?", "t", id);
	if (r == 0)
		r = sql_run(s, err, "DELETE FROM machines WHERE id=?", "t", id);
	if (r == 0 && sqlite3_changes(s->db) == 0)
		r = err_set(err, -ENOENT, "There is no such machine.");
	return sql_end(s, r, err);
}

int state_each_machine(struct state *s, state_machine_fn fn, void *arg, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(
		s, &st, err,
		"SELECT id, name, agent_version, address, first_seen, last_seen,"
		" secret_hash, inventory, former_hash, displaced_hash, displaced_former,"
		" displaced_job FROM machines ORDER BY first_seen, id",
		"");

	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		struct machine_row m = {0};

		column_text(st, 0, m.id, sizeof(m.id));
		column_text(st, 1, m.name, sizeof(m.name));
		column_text(st, 2, m.agent_version, sizeof(m.agent_version));
		column_text(st, 3, m.address, sizeof(m.address));
		m.first_seen = sqlite3_column_int64(st, 4);
		m.last_seen = sqlite3_column_int64(st, 5);
		m.secret_hash = column_id(st, 6);
		m.former_hash = column_id(st, 8);
		m.displaced_hash = column_id(st, 9);
		m.displaced_former = column_id(st, 10);
		column_text(st, 11, m.displaced_job, sizeof(m.displaced_job));
		if (!column_heap(st, 7, &m.inventory))
			return err_set(err, -ENOMEM, "read the machines: out of memory");
		r = fn(arg, &m);
		machine_row_done(&m);
		if (r < 0)
			return r;
	}
	return r;
}
