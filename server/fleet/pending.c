/* The thread that does again, every minute, what the server's storage did not take when it was due: versions of captures that are settled, whose agents may
 * never ask again; versions that only the store's manifests tell of; removals.  Apart from verify and gc, which may take hours. */
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "server/fleet/private.h"

/* The capture that is settled and whose version is to be written next. */
static struct job *find_settled(struct fleet *f)
{
	struct job *found = NULL;

	for (struct job *j = f->jobs; j; j = j->next) {
		if (j->row.manifest && !j->committing &&
		    (!found || j->commit_ms < found->commit_ms))
			found = j;
	}
	return found;
}

/* Until something is due: `*ret` a job, held and `committing`, or NULL for pending_catch_up.  False when the server stops. */
static bool wait_until_due(struct fleet *f, struct job **ret)
{
	LOCK_FLEET(f);

	*ret = NULL;
	while (!f->stopping) {
		struct job *settled = find_settled(f);
		uint64_t now = fleet_now_ms(), due = settled ? settled->commit_ms : UINT64_MAX;

		if (f->catch_up_ms <= now)
			return true;
		if (due <= now) {
			job_begin_committing(settled);
			*ret = settled;
			return true;
		}
		due = due < f->catch_up_ms ? due : f->catch_up_ms;
		if (due < UINT64_MAX)
			(void)fleet_wait(f, &f->work, due);
		else
			(void)pthread_cond_wait(&f->work, &f->lock);
	}
	return false;
}

static void commit_again(struct fleet *f, struct job *j)
{
	char id[JOB_ID_SIZE];
	struct err err;

	memcpy(id, j->row.id, sizeof(id)); /* it may be gone then */
	if (job_carry_out(f, j, &err) < 0)
		log_event(LOG_WARN, "commit_failed", "job=%s error=\"%s\"", id, err.msg);
}

/* Jobs of machines that are not known any more. */
static int end_orphans(struct fleet *f, struct err *err)
{
	struct job *next;
	LOCK_FLEET(f);

	for (struct job *j = f->jobs; j; j = next) {
		next = j->next;
		if (*j->row.machine && !j->machine && !j->row.manifest &&
		    job_end(f, j, JOB_FAILED, API_AGENT_LOST,
			    "The machine of this job is no longer known.", err) < 0)
			return err_prefix(err, "end job %s", j->row.id);
	}
	return 0;
}

void pending_soon(struct fleet *f)
{
	LOCK_FLEET(f);

	f->catch_up_ms = fleet_now_ms() + COMMIT_AGAIN_MS;
	(void)pthread_cond_broadcast(&f->work);
}

void pending_catch_up(struct fleet *f)
{
	struct err err;
	int r;

	(void)pthread_mutex_lock(&f->lock);
	f->catch_up_ms = UINT64_MAX;
	(void)pthread_mutex_unlock(&f->lock);
	(void)pthread_mutex_lock(&f->commit_lock);
	r = images_catch_up(f, &err);
	(void)pthread_mutex_unlock(&f->commit_lock);
	if (r < 0)
		log_event(LOG_ERROR, "catch_up_failed", "error=\"%s\"", err.msg);
	if (end_orphans(f, &err) < 0) {
		log_event(LOG_ERROR, "state_failed", "error=\"%s\"", err.msg);
		pending_soon(f);
	}
}

void *pending_run(void *fleet)
{
	struct fleet *f = fleet;
	struct job *j;

	while (wait_until_due(f, &j)) {
		if (j)
			commit_again(f, j);
		else
			pending_catch_up(f);
	}
	return NULL;
}
