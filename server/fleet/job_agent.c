/* What agents say about their jobs, and what the handlers of their transfers ask.
 *
 * Progress is not written; after a restart the agent's next message brings it back. */
#include <stdio.h>
#include <string.h>

#include "server/fleet/private.h"

int job_refuse(struct fleet *f, const char *machine, const char *id, struct err *err)
{
	struct job_row row;
	enum job_state state;
	bool mine;

	if (state_get_job(f->config.state, id, &row, err) < 0)
		return err->code == -ENOENT ? err_set(err, API_NOT_FOUND, "There is no such job.")
					    : err->code;
	mine = strcmp(row.machine, machine) == 0;
	state = row.state;
	job_row_done(&row);
	if (!mine)
		return err_set(err, API_NOT_FOUND, "There is no such job.");
	if (state == JOB_CANCELLED)
		return err_set(err, API_CANCELLED, "The job was cancelled.");
	return err_set(err, API_CONFLICT, "The job has ended: %s.", job_state_name(state));
}

struct job *job_find_mine(struct fleet *f, const char *machine, const char *id, struct err *err)
{
	struct job *j = job_find(f, id);

	if (!j || !j->machine || strcmp(j->machine->row.id, machine) != 0) {
		(void)!job_refuse(f, machine, id, err);
		return NULL;
	}
	j->heard_ms = fleet_now_ms();
	return job_start(f, j, err) < 0 ? NULL : j;
}

int fleet_acquire(struct fleet *f, const char *machine, const char *id, enum job_kind kind,
		  struct job **ret, struct err *err)
{
	LOCK_FLEET(f);
	struct job *j = job_find_mine(f, machine, id, err);

	if (!j)
		return err->code;
	if (j->row.kind != kind)
		return err_set(err, API_FORBIDDEN, "This is a %s, not a %s.",
			       job_kind_name(j->row.kind), job_kind_name(kind));
	j->refs++;
	*ret = j;
	return 0;
}

void fleet_note_transfer(struct fleet *f, struct job *j)
{
	LOCK_FLEET(f);

	j->heard_ms = j->progress_ms = fleet_now_ms();
	j->held[0] = '\0';
	j->is_starved = false;
}

/* What the store could not make durable is asked for again, and was not sent for nothing.  Before the lock is taken: the store has one of its own. */
struct checkpoints {
	uint64_t durable, dropped;
};

static struct checkpoints count_checkpoints(struct fleet *f)
{
	struct checkpoints c;

	store_count_checkpoints(f->config.store, &c.durable, &c.dropped);
	return c;
}

/* The lock is held.  What comes while a checkpoint is made is not in it, but in the next one.  In doubt it was dropped: no agent can bring that about. */
static void forget_dropped(struct job *j, const struct checkpoints *c)
{
	if (c->dropped > j->dropped) {
		j->taken -= j->fresh[0] + j->fresh[1];
		j->fresh[0] = j->fresh[1] = 0;
		j->dropped = c->dropped;
	}
	if (c->durable > j->durable) {
		j->fresh[1] = c->durable == j->durable + 1 ? j->fresh[0] : 0;
		j->fresh[0] = 0;
		j->durable = c->durable;
	}
}

/* Twice what its disks have: an agent that is started again, and a disk of which places are read more than once, need less. */
int fleet_check_taken(struct fleet *f, struct job *j, struct err *err)
{
	const struct checkpoints c = count_checkpoints(f);
	uint64_t most = TAKEN_SPARE;
	struct err ignored;
	LOCK_FLEET(f);

	forget_dropped(j, &c);
	for (size_t n = 0; n < j->disks_len; n++) {
		uint64_t twice;

		if (__builtin_mul_overflow(j->disks[n].size, 2u, &twice) ||
		    __builtin_add_overflow(most, twice, &most))
			most = UINT64_MAX;
	}
	if (j->taken < most)
		return 0;
	(void)err_set(err, API_TOO_LARGE,
		      "The agent has sent %llu MiB, which is more than twice what the job's disks "
		      "hold: it is not this machine's data, or the agent is broken.",
		      (unsigned long long)(j->taken >> 20));
	if (j->machine && !j->committing)
		(void)!job_end(f, j, JOB_FAILED, API_TOO_LARGE, err->msg, &ignored);
	return err->code;
}

void fleet_note_taken(struct fleet *f, struct job *j, uint64_t bytes)
{
	const struct checkpoints c = count_checkpoints(f);
	LOCK_FLEET(f);

	forget_dropped(j, &c);
	if (!__builtin_add_overflow(j->taken, bytes, &j->taken))
		j->fresh[0] += bytes; /* both together are no more than all */
	else
		j->taken = UINT64_MAX;
	j->heard_ms = j->progress_ms = fleet_now_ms();
	j->held[0] = '\0';
}

void fleet_note_busy(struct fleet *f, struct job *j)
{
	LOCK_FLEET(f);

	j->heard_ms = fleet_now_ms();
	j->is_starved = true;
}

void fleet_note_refusal(struct fleet *f, struct job *j, const char *why)
{
	LOCK_FLEET(f);

	j->heard_ms = fleet_now_ms();
	(void)snprintf(j->held, sizeof(j->held), "%s", why);
}

/* Durable before it is answered: from then on the agent writes (`begun`), or makes startable what it has written (`released`). */
static int note_leave(struct fleet *f, struct job *j, const json_t *list, bool released,
		      struct err *err)
{
	const json_t *v;
	size_t i;

	json_array_foreach((json_t *)list, i, v)
	{
		json_int_t n = json_integer_value(v);
		bool *flag;
		int r;

		if (!json_is_integer(v) || n < 0 || (uint64_t)n >= j->disks_len) {
			return err_set(err, API_BAD_REQUEST,
				       "field '%s' names a disk that is not in the job",
				       released ? "released" : "begun");
		}
		flag = released ? &j->disks[n].released : &j->disks[n].begun;
		if (j->row.kind != JOB_RESTORE || *flag)
			continue;
		*flag = true;
		r = state_save_job_disk(f->config.state, j->row.id, (uint32_t)n, &j->disks[n], err);
		if (r < 0) {
			*flag = false;
			return r;
		}
	}
	return 0;
}

static void take_numbers(struct job *j, const struct progress *p)
{
	bool new_phase = strcmp(j->row.phase, p->phase) != 0;

	if (new_phase)
		pace_reset(&j->pace);
	if (new_phase || p->done != j->said_done || p->data != j->row.data ||
	    p->sent != j->row.sent || p->sick != j->sick || p->read_errors != j->read_errors)
		j->progress_ms = fleet_now_ms();
	(void)snprintf(j->row.phase, sizeof(j->row.phase), "%s", p->phase);
	j->said_done = p->done;
	/* A phase with nothing to count, as the last one, leaves the numbers of the one before: they are what the job's summary shows. */
	if (p->total > 0) {
		j->row.done = p->done;
		j->row.total = p->total;
	}
	j->row.data = p->data;
	j->row.sent = p->sent;
	j->row.skipped = p->skipped;
	if (j->row.kind == JOB_CAPTURE)
		j->row.unreadable = p->unreadable;
	j->sick = p->sick;
	j->read_errors = p->read_errors;
	(void)snprintf(j->rescue_pass, sizeof(j->rescue_pass), "%s",
		       p->rescue_pass ? p->rescue_pass : "");
	j->disk = p->disk;
	(void)snprintf(j->bottleneck, sizeof(j->bottleneck), "%s",
		       p->bottleneck ? p->bottleneck : "");
	if (p->total > 0)
		pace_add(&j->pace, fleet_now_ms(), p->done);
}

int fleet_progress(struct fleet *f, const char *machine, const char *id, const struct progress *p,
		   bool *ret_cancel, struct err *err)
{
	const json_t *line;
	size_t i;
	LOCK_FLEET(f);
	struct job *j = job_find_mine(f, machine, id, err);
	int r;

	/* Who asks for leave gets an error, so that he cannot take it for that. */
	if (!j && err->code == API_CANCELLED && !p->begun && !p->released) {
		*ret_cancel = true;
		return 0;
	}
	if (!j)
		return err->code;
	r = p->begun ? note_leave(f, j, p->begun, false, err) : 0;
	if (r == 0 && p->released)
		r = note_leave(f, j, p->released, true, err);
	if (p->begun || p->released) /* its agent waits for that, and for nothing else */
		job_note_step(j, r, err);
	if (r < 0)
		return r;
	take_numbers(j, p);
	json_array_foreach((json_t *)p->log, i, line)
	{
		job_add_log(j, json_string_value(line));
	}
	job_changed(j);
	*ret_cancel = false;
	return 0;
}

/* ---- what the handlers of transfers ask */

static int check_disk(const struct job *j, uint64_t n, struct err *err)
{
	if (n < j->disks_len)
		return 0;
	return err_set(err, API_NOT_FOUND, "The job has no disk %llu.", (unsigned long long)n);
}

int job_get_disk(struct fleet *f, struct job *j, uint64_t n, struct job_disk_row *ret,
		 struct err *err)
{
	LOCK_FLEET(f);
	int r = check_disk(j, n, err);

	if (r == 0)
		*ret = j->disks[n];
	return r;
}

/* What is being looked at, or named in a settled manifest, is not to change: the version would be of what nobody has looked at.  An agent that was
 * started again meanwhile waits, and learns then that the job has ended.  The lock is held. */
static int check_open(struct fleet *f, const struct job *j, struct err *err)
{
	if (!job_is_active(j))
		return job_refuse(f, j->row.machine, j->row.id, err);
	if (j->committing || j->row.manifest)
		return err_set(err, API_BUSY, "The version is being written; ask again.");
	return 0;
}

int job_get_partial(struct fleet *f, struct job *j, uint64_t n, struct partial **ret,
		    struct err *err)
{
	char key[32];
	LOCK_FLEET(f);
	struct job_disk_row old;
	int r = check_disk(j, n, err);

	if (r == 0)
		r = check_open(f, j, err);
	if (r < 0)
		return r;
	if (!j->disks[n].partial || j->disks[n].sealed) {
		old = j->disks[n];
		j->disks[n].partial = true;
		j->disks[n].sealed = false;
		r = state_save_job_disk(f->config.state, j->row.id, (uint32_t)n, &j->disks[n], err);
		if (r < 0) {
			j->disks[n] = old;
			return r;
		}
	}
	if (!j->partials[n]) {
		job_partial_key(j->row.id, (uint32_t)n, key);
		r = partial_open(f->config.store, key, j->disks[n].size, &j->partials[n], err);
	}
	if (r == 0)
		*ret = j->partials[n];
	return r;
}

int job_set_sealed(struct fleet *f, struct job *j, uint64_t n, const struct job_disk_row *sealed,
		   struct err *err)
{
	struct job_disk_row old;
	LOCK_FLEET(f);
	int r = check_open(f, j, err);

	if (r < 0)
		return r;
	old = j->disks[n];
	j->disks[n].geometry = sealed->geometry;
	j->disks[n].root = sealed->root;
	j->disks[n].data_bytes = sealed->data_bytes;
	j->disks[n].unreadable_bytes = sealed->unreadable_bytes;
	j->disks[n].sealed = true;
	r = state_save_job_disk(f->config.state, j->row.id, (uint32_t)n, &j->disks[n], err);
	if (r < 0)
		j->disks[n] = old;
	job_note_step(j, r, err);
	j->progress_ms = fleet_now_ms();
	return r;
}
