#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"

#define COLUMNS                                                                                \
	"id, kind, state, machine, machine_name, image, version, created, started, ended,"     \
	" end_action, level, phase, done, total, data, sent, code, message, seq, log, report," \
	" manifest, all_blocks, skipped, unreadable, rescue_seconds, rescue_area_seconds,"     \
	" rescue_retries"
#define DISK_COLUMNS                                                                            \
	"disk, size, fingerprint, overwrite, begun, partial, source_disk, source_size,"         \
	" source_sector_size, source_physical_sector_size, root, data_bytes, unreadable_bytes," \
	" sealed, released"

static const char *const state_names[] = {"waiting", "running", "done", "failed", "cancelled"};

const char *job_state_name(enum job_state s)
{
	return state_names[s];
}

bool job_state_from_name(const char *name, enum job_state *ret)
{
	for (unsigned i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++) {
		if (strcmp(name, state_names[i]) == 0) {
			*ret = (enum job_state)i;
			return true;
		}
	}
	return false;
}

void job_row_done(struct job_row *j)
{
	free(j->log);
	free(j->report);
	free(j->manifest);
	*j = (struct job_row){0};
}

static int read_row(sqlite3_stmt *st, struct job_row *ret, struct err *err)
{
	struct job_row j = {0};
	char word[16];

	column_text(st, 0, j.id, sizeof(j.id));
	column_text(st, 1, word, sizeof(word));
	if (job_kind_from_name(word, &j.kind, err) < 0)
		return err_prefix(err, "read job %s", j.id);
	column_text(st, 2, word, sizeof(word));
	if (!job_state_from_name(word, &j.state))
		return err_set(err, -EPROTO, "read job %s: unknown state '%s'", j.id, word);
	column_text(st, 3, j.machine, sizeof(j.machine));
	column_text(st, 4, j.machine_name, sizeof(j.machine_name));
	column_text(st, 5, j.image, sizeof(j.image));
	j.version = (uint32_t)sqlite3_column_int64(st, 6);
	j.created = sqlite3_column_int64(st, 7);
	j.started = sqlite3_column_int64(st, 8);
	j.ended = sqlite3_column_int64(st, 9);
	column_text(st, 10, word, sizeof(word));
	if (end_action_from_name(word, &j.end_action, err) < 0)
		return err_prefix(err, "read job %s", j.id);
	j.level = sqlite3_column_int(st, 11);
	column_text(st, 12, j.phase, sizeof(j.phase));
	j.done = (uint64_t)sqlite3_column_int64(st, 13);
	j.total = (uint64_t)sqlite3_column_int64(st, 14);
	j.data = (uint64_t)sqlite3_column_int64(st, 15);
	j.sent = (uint64_t)sqlite3_column_int64(st, 16);
	column_text(st, 17, j.code, sizeof(j.code));
	column_text(st, 18, j.message, sizeof(j.message));
	j.seq = (uint64_t)sqlite3_column_int64(st, 19);
	j.all_blocks = sqlite3_column_int64(st, 23) != 0;
	j.skipped = (uint64_t)sqlite3_column_int64(st, 24);
	j.unreadable = (uint64_t)sqlite3_column_int64(st, 25);
	j.rescue = (struct rescue_wish){sqlite3_column_int64(st, 26), sqlite3_column_int64(st, 27),
					sqlite3_column_int64(st, 28)};
	if (!column_heap(st, 20, &j.log) || !column_heap(st, 21, &j.report) ||
	    !column_heap(st, 22, &j.manifest)) {
		job_row_done(&j);
		return err_set(err, -ENOMEM, "read job: out of memory");
	}
	*ret = j;
	return 0;
}

static int insert_disk(struct state *s, const char *job, uint32_t n, const struct job_disk_row *d,
		       struct err *err)
{
	const struct id *fingerprint = id_is_zero(&d->fingerprint) ? NULL : &d->fingerprint;
	const struct id *root = id_is_zero(&d->root) ? NULL : &d->root;

	return sql_run(s, err,
		       "INSERT OR REPLACE INTO job_disks(job, n, " DISK_COLUMNS
		       ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		       "titibiiitiiibiiii", job, (int64_t)n, d->disk, (int64_t)d->size, fingerprint,
		       (int64_t)d->overwrite, (int64_t)d->begun, (int64_t)d->partial,
		       d->source_disk, (int64_t)d->geometry.size, (int64_t)d->geometry.sector_size,
		       (int64_t)d->geometry.physical_sector_size, root, (int64_t)d->data_bytes,
		       (int64_t)d->unreadable_bytes, (int64_t)d->sealed, (int64_t)d->released);
}

static int insert_job(struct state *s, const struct job_row *j, struct err *err)
{
	return sql_run(s, err,
		       "INSERT INTO jobs(" COLUMNS
		       ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		       "ttttttiiiititiiiittitttiiiiii", j->id, job_kind_name(j->kind),
		       job_state_name(j->state), j->machine, j->machine_name, j->image,
		       (int64_t)j->version, j->created, j->started, j->ended,
		       end_action_name(j->end_action), (int64_t)j->level, j->phase,
		       (int64_t)j->done, (int64_t)j->total, (int64_t)j->data, (int64_t)j->sent,
		       j->code, j->message, (int64_t)j->seq, j->log, j->report, j->manifest,
		       (int64_t)j->all_blocks, (int64_t)j->skipped, (int64_t)j->unreadable,
		       j->rescue.seconds, j->rescue.area_seconds, j->rescue.retries);
}

/* Within a transaction. */
static int forget_oldest(struct state *s, struct err *err)
{
#define OLD                                                                          \
	"state NOT IN ('waiting', 'running') AND number <= (SELECT number FROM jobs" \
	" WHERE state NOT IN ('waiting', 'running') ORDER BY number DESC LIMIT 1 OFFSET ?)"
	int r = sql_run(s, err,
			"DELETE FROM job_disks WHERE job IN (SELECT id FROM jobs WHERE " OLD ")",
			"i", (int64_t)JOBS_KEPT);

	return r < 0 ? r : sql_run(s, err, "DELETE FROM jobs WHERE " OLD, "i", (int64_t)JOBS_KEPT);
}

int state_add_job(struct state *s, const struct job_row *j, const struct job_disk_row *disks,
		  size_t disks_len, struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	r = forget_oldest(s, err);
	if (r == 0)
		r = insert_job(s, j, err);
	for (size_t i = 0; r == 0 && i < disks_len; i++)
		r = insert_disk(s, j->id, (uint32_t)i, &disks[i], err);
	return sql_end(s, r, err);
}

static int update_job(struct state *s, const struct job_row *j, struct err *err)
{
	return sql_run(s, err,
		       "UPDATE jobs SET state=?, version=?, started=?, ended=?, phase=?, done=?,"
		       " total=?, data=?, sent=?, code=?, message=?, seq=?, log=?, report=?,"
		       " manifest=?, skipped=?, unreadable=? WHERE id=?",
		       "tiiitiiiittitttiit", job_state_name(j->state), (int64_t)j->version,
		       j->started, j->ended, j->phase, (int64_t)j->done, (int64_t)j->total,
		       (int64_t)j->data, (int64_t)j->sent, j->code, j->message, (int64_t)j->seq,
		       j->log, j->report, j->manifest, (int64_t)j->skipped, (int64_t)j->unreadable,
		       j->id);
}

int state_save_job(struct state *s, const struct job_row *j, struct err *err)
{
	LOCK_STATE(s);

	return update_job(s, j, err);
}

int state_save_job_disk(struct state *s, const char *job, uint32_t n, const struct job_disk_row *d,
			struct err *err)
{
	LOCK_STATE(s);

	return insert_disk(s, job, n, d, err);
}

int state_commit_job(struct state *s, const struct job_row *j, const struct version_row *v,
		     struct err *err)
{
	LOCK_STATE(s);
	int r = sql_begin(s, err);

	if (r < 0)
		return r;
	r = versions_insert(s, v, err);
	if (r == 0)
		r = update_job(s, j, err);
	return sql_end(s, r, err);
}

int state_get_job(struct state *s, const char *id, struct job_row *ret, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err, "SELECT " COLUMNS " FROM jobs WHERE id=?", "t", id);

	if (r == 0)
		r = sql_step(s, st, err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, -ENOENT, "There is no such job.");
	return read_row(st, ret, err);
}

static void read_disk(sqlite3_stmt *st, struct job_disk_row *d)
{
	column_text(st, 0, d->disk, sizeof(d->disk));
	d->size = (uint64_t)sqlite3_column_int64(st, 1);
	d->fingerprint = column_id(st, 2);
	d->overwrite = sqlite3_column_int64(st, 3) != 0;
	d->begun = sqlite3_column_int64(st, 4) != 0;
	d->partial = sqlite3_column_int64(st, 5) != 0;
	column_text(st, 6, d->source_disk, sizeof(d->source_disk));
	d->geometry.size = (uint64_t)sqlite3_column_int64(st, 7);
	d->geometry.sector_size = (uint32_t)sqlite3_column_int64(st, 8);
	d->geometry.physical_sector_size = (uint32_t)sqlite3_column_int64(st, 9);
	d->root = column_id(st, 10);
	d->data_bytes = (uint64_t)sqlite3_column_int64(st, 11);
	d->unreadable_bytes = (uint64_t)sqlite3_column_int64(st, 12);
	d->sealed = sqlite3_column_int64(st, 13) != 0;
	d->released = sqlite3_column_int64(st, 14) != 0;
}

int state_get_job_disks(struct state *s, const char *id, struct job_disk_row **ret, size_t *ret_len,
			struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	CLEANUP_FREE struct job_disk_row *disks = NULL;
	LOCK_STATE(s);
	size_t len = 0;
	int r = sql_prepare(s, &st, err,
			    "SELECT " DISK_COLUMNS " FROM job_disks WHERE job=? ORDER BY n", "t",
			    id);

	if (r < 0)
		return r;
	disks = calloc(JOB_DISKS_MAX, sizeof(*disks));
	if (!disks)
		return err_set(err, -ENOMEM, "read job: out of memory");
	while ((r = sql_step(s, st, err)) > 0 && len < JOB_DISKS_MAX)
		read_disk(st, &disks[len++]);
	if (r < 0)
		return r;
	*ret = len > 0 ? TAKE_PTR(disks) : NULL;
	*ret_len = len;
	return 0;
}

int state_each_job(struct state *s, const struct job_filter *f, state_job_fn fn, void *arg,
		   struct err *err)
{
	const char *word = f->by_state ? job_state_name(f->state) : NULL;
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT " COLUMNS " FROM jobs WHERE (?1 IS NULL OR machine=?1)"
			    " AND (?2 IS NULL OR state=?2)"
			    " AND (?3=0 OR state IN ('waiting', 'running'))"
			    " AND (?5 IS NULL OR substr(id, 1, length(?5))=?5)"
			    " ORDER BY number DESC LIMIT ?4",
			    "ttiit", f->machine, word, (int64_t)f->active,
			    f->limit ? (int64_t)f->limit : (int64_t)-1, f->id);

	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		struct job_row j;

		r = read_row(st, &j, err);
		if (r < 0)
			return r;
		r = fn(arg, &j);
		job_row_done(&j);
		if (r < 0)
			return r;
	}
	return r;
}

int state_each_leftover(struct state *s, state_partial_fn fn, void *arg, struct err *err)
{
	CLEANUP_STMT sqlite3_stmt *st = NULL;
	LOCK_STATE(s);
	int r = sql_prepare(s, &st, err,
			    "SELECT job, n FROM job_disks JOIN jobs ON id=job WHERE partial"
			    " AND state NOT IN ('waiting', 'running')",
			    "");

	if (r < 0)
		return r;
	while ((r = sql_step(s, st, err)) > 0) {
		char job[JOB_ID_SIZE];

		column_text(st, 0, job, sizeof(job));
		r = fn(arg, job, (uint32_t)sqlite3_column_int64(st, 1));
		if (r < 0)
			return r;
	}
	return r;
}

int state_clear_leftovers(struct state *s, struct err *err)
{
	LOCK_STATE(s);

	return sql_run(s, err,
		       "UPDATE job_disks SET partial=0 WHERE partial AND job IN"
		       " (SELECT id FROM jobs WHERE state NOT IN ('waiting', 'running'))",
		       "");
}
