/* The list of the jobs that have not ended: what one is, how it begins, and how they come back after a restart.
 *
 * A change of state is written to the database before anybody is told of it, with the lock held: such changes are few. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "common/log.h"
#include "server/fleet/private.h"

/* After a restart `seq` goes on above all that a client may have seen. */
#define SEQ_LEAP  (1u << 20)
#define ERRNO_END 4096 /* api_error.h */

/* ---- objects */

struct job *job_new(void)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->log = json_array();
	if (!j->log) {
		free(j);
		return NULL;
	}
	j->refs = 1;
	j->disk = -1;
	cond_init(&j->cond);
	return j;
}

void job_partial_key(const char *job, uint32_t n, char ret[static 32])
{
	(void)snprintf(ret, 32, "%s.%u", job, n);
}

bool job_is_active(const struct job *j)
{
	return j->row.state == JOB_WAITING || j->row.state == JOB_RUNNING;
}

static void job_free(struct fleet *f, struct job *j)
{
	char key[32];

	for (uint32_t n = 0; n < j->disks_len; n++) {
		if (j->partials[n])
			partial_close(j->partials[n]);
		if (job_is_active(j) || !j->disks[n].partial)
			continue;
		job_partial_key(j->row.id, n, key);
		partial_remove(f->config.store, key);
	}
	free(j->disks);
	job_row_done(&j->row);
	json_decref(j->log);
	(void)pthread_cond_destroy(&j->cond);
	free(j);
}

void job_unref(struct fleet *f, struct job *j)
{
	if (--j->refs == 0)
		job_free(f, j);
}

void fleet_release(struct fleet *f, struct job *j)
{
	LOCK_FLEET(f);

	job_unref(f, j);
}

const char *job_id(const struct job *j)
{
	return j->row.id;
}

struct job *job_find(struct fleet *f, const char *id)
{
	for (struct job *j = f->jobs; j; j = j->next) {
		if (strcmp(j->row.id, id) == 0)
			return j;
	}
	return NULL;
}

void job_changed(struct job *j)
{
	j->row.seq++;
	(void)pthread_cond_broadcast(&j->cond);
}

void job_add_log(struct job *j, const char *text)
{
	if (json_array_append_new(j->log, json_string(text)) < 0)
		return; /* a line of log is not worth failing for */
	while (json_array_size(j->log) > JOB_LOG_KEPT)
		(void)json_array_remove(j->log, 0);
}

int job_pack_log(struct job *j, struct err *err)
{
	char *text = json_dumps(j->log, JSON_COMPACT);

	if (!text)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	free(j->row.log);
	j->row.log = text;
	return 0;
}

void job_enlist(struct fleet *f, struct job *j, struct machine *m)
{
	j->machine = m;
	j->next = f->jobs;
	f->jobs = j;
	j->heard_ms = j->progress_ms = fleet_now_ms();
	if (m) {
		m->job = j;
		(void)pthread_cond_broadcast(&m->cond);
	} else {
		(void)pthread_cond_broadcast(&f->work);
	}
}

void job_note_step(struct job *j, int r, const struct err *err)
{
	int len = r < 0 ? (int)strnlen(err->msg, HELD_SIZE - 100) : 0;

	if (r == API_BUSY)
		return; /* it was said why */
	j->held[0] = '\0';
	if (r < 0 && r > -ERRNO_END) {
		(void)snprintf(j->held, sizeof(j->held),
			       "%.*s. See to the server's storage; the job goes on by itself.",
			       len > 0 && err->msg[len - 1] == '.' ? len - 1 : len, err->msg);
	}
}

int job_start(struct fleet *f, struct job *j, struct err *err)
{
	if (j->row.state != JOB_WAITING)
		return 0;
	j->row.state = JOB_RUNNING;
	j->row.started = fleet_now();
	if (state_save_job(f->config.state, &j->row, err) < 0) {
		j->row.state = JOB_WAITING;
		j->row.started = 0;
		job_note_step(j, err->code, err);
		return err->code;
	}
	job_note_step(j, 0, NULL);
	j->began_ms = j->heard_ms = j->progress_ms = fleet_now_ms();
	job_changed(j);
	log_event(LOG_INFO, "job_started", "job=%s kind=%s machine=%s", j->row.id,
		  job_kind_name(j->row.kind), *j->row.machine ? j->row.machine : "-");
	return 0;
}

/* ---- loading */

static int load_one(void *arg, const struct job_row *row)
{
	struct job **first = arg; /* rows come newest first: the oldest ends up at the front */
	struct job *j = job_new();

	if (!j)
		return -ENOMEM;
	j->row = *row;
	j->row.log = NULL;
	j->row.report = row->report ? strdup(row->report) : NULL;
	j->row.manifest = row->manifest ? strdup(row->manifest) : NULL;
	if (row->log) {
		json_t *log = json_loads(row->log, 0, NULL);

		if (json_is_array(log)) {
			json_decref(j->log);
			j->log = log;
		} else {
			json_decref(log);
		}
	}
	j->next = *first;
	*first = j;
	return 0;
}

/* Put a loaded job on its machine; finish what was being committed. */
static int revive(struct fleet *f, struct job *j, struct err *err)
{
	int r = state_get_job_disks(f->config.state, j->row.id, &j->disks, &j->disks_len, err);

	if (r < 0)
		return r;
	j->row.seq += SEQ_LEAP;
	j->row.message[0] = '\0'; /* why it stalled then */
	if (j->row.kind == JOB_VERIFY || j->row.kind == JOB_GC)
		j->row.state = JOB_WAITING; /* it begins anew */
	job_enlist(f, j, *j->row.machine ? machine_find(f, j->row.machine) : NULL);
	if (!j->row.manifest)
		return 0; /* one without its machine ends in pending.c */
	j->refs++;
	r = job_commit(f, j, err);
	if (r < 0) /* no reason not to start: it is tried again */
		log_event(LOG_WARN, "commit_failed", "job=%s error=\"%s\"", j->row.id, err->msg);
	job_unref(f, j);
	return 0;
}

int jobs_load(struct fleet *f, struct err *err)
{
	struct job_filter active = {.active = true};
	struct job *first = NULL;
	int r = state_each_job(f->config.state, &active, load_one, &first, err);

	if (r == -ENOMEM)
		(void)err_set(err, r, "read the jobs: out of memory");
	while (first) {
		struct job *j = first;

		first = j->next;
		j->next = NULL;
		if (r < 0) {
			job_free(f, j);
			continue;
		}
		r = revive(f, j, err);
		if (r < 0)
			(void)err_prefix(err, "take up job %s again", j->row.id);
	}
	return r;
}

void jobs_free(struct fleet *f)
{
	while (f->jobs) {
		struct job *j = f->jobs;

		f->jobs = j->next;
		job_free(f, j);
	}
}

struct leftovers {
	struct leftover {
		char job[JOB_ID_SIZE];
		uint32_t n;
	} * items;
	size_t len, room;
};

static int note_leftover(void *arg, const char *job, uint32_t n)
{
	struct leftovers *l = arg;

	if (l->len == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct leftover *p = realloc(l->items, room * sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->items = p;
		l->room = room;
	}
	(void)snprintf(l->items[l->len].job, JOB_ID_SIZE, "%s", job);
	l->items[l->len++].n = n;
	return 0;
}

/* Partial indexes of jobs that have ended: they were removed then, unless the server was being killed. */
void jobs_remove_leftovers(struct fleet *f)
{
	struct leftovers l = {0};
	struct err err = {0};
	int r = state_each_leftover(f->config.state, note_leftover, &l, &err);

	for (size_t i = 0; i < l.len; i++) {
		char key[32];

		job_partial_key(l.items[i].job, l.items[i].n, key);
		partial_remove(f->config.store, key);
	}
	if (r == 0 && l.len > 0)
		r = state_clear_leftovers(f->config.state, &err);
	if (r < 0) /* they only take room: again at the next start */
		log_event(LOG_WARN, "state_failed", "error=\"%s\"", err.msg);
	free(l.items);
}
