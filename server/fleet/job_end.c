/* The end of jobs: what agents say at it, and what the server looks at before it believes that. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "server/fleet/private.h"

void job_ended(struct fleet *f, struct job *j)
{
	struct job **p = &f->jobs;

	while (*p && *p != j)
		p = &(*p)->next;
	if (j->machine) {
		j->machine->job = NULL;
		(void)pthread_cond_broadcast(&j->machine->cond);
		j->machine = NULL;
	}
	(void)pthread_cond_broadcast(&j->cond);
	if (*p) {
		*p = j->next;
		job_unref(f, j);
	}
}

static void log_end(struct fleet *f, const struct job *j)
{
	char event[32];

	if (j->row.state == JOB_DONE &&
	    j->row.unreadable > 0) { /* a restore: commit.c has the captures */
		fleet_event(f, "job_done_with_unreadable", j->row.machine, j->row.id,
			    "%s of %s, version %u: %" PRIu64
			    " bytes could not be read when it was captured, and are zeros",
			    job_kind_name(j->row.kind), j->row.image, j->row.version,
			    j->row.unreadable);
		return;
	}
	(void)snprintf(event, sizeof(event), "job_%s", job_state_name(j->row.state));
	fleet_event(f, event, j->row.machine, j->row.id, "%s%s%s%s%s", job_kind_name(j->row.kind),
		    *j->row.image ? " of " : "", j->row.image, *j->row.message ? ": " : "",
		    j->row.message);
}

int job_end_as(struct fleet *f, struct job *j, enum job_state state, const char *code,
	       const char *message, struct err *err)
{
	CLEANUP_FREE char *report = NULL;
	struct job_row old;
	int r;

	/* Its manifest may be in the store, where it counts. */
	if (j->row.manifest && state != JOB_DONE) {
		return err_set(err, API_CONFLICT,
			       "All of the capture is there and its version is being written: it "
			       "ends as done as soon as the server's storage takes that, which is "
			       "tried again every minute and when the server starts.");
	}
	r = job_pack_log(j, err);
	if (r < 0)
		return r;
	old = j->row;
	j->row.state = state;
	j->row.ended = fleet_now();
	if (j->row.started)
		report = report_complete(j, j->row.ended, NULL);
	if (report)
		j->row.report = report;
	j->row.seq++;
	(void)snprintf(j->row.code, sizeof(j->row.code), "%s", code);
	(void)snprintf(j->row.message, sizeof(j->row.message), "%s", message);
	r = state_save_job(f->config.state, &j->row, err);
	if (r < 0) {
		j->row = old;
		return r;
	}
	if (report)
		free(old.report);
	(void)TAKE_PTR(report); /* it is the row's now */
	log_end(f, j);
	job_ended(f, j);
	return 0;
}

int job_end(struct fleet *f, struct job *j, enum job_state state, enum api_code code,
	    const char *message, struct err *err)
{
	return job_end_as(f, j, state, code == API_END ? "" : api_code_name(code), message, err);
}

/* ---- what agents say */

/* The agent's report, kept with the job; what only the server says, of the job or of its store, is not an agent's to say.  The lock is held. */
static int set_report(struct job *j, const json_t *report, json_t *roots, struct err *err)
{
	static const char *const servers[] = {"server",		 "roots",	  "damage",
					      "damaged",	 "packs_removed", "packs_rewritten",
					      "objects_removed", "bytes_freed"};
	CLEANUP_JSON json_t *full = report ? json_copy((json_t *)report) : json_object();
	char *text = NULL;

	if (!report && !roots)
		return 0;
	for (size_t i = 0; i < sizeof(servers) / sizeof(servers[0]); i++)
		(void)json_object_del(full, servers[i]);
	if (!roots || json_object_set(full, "roots", roots) == 0)
		text = json_dumps(full, JSON_COMPACT);
	if (!text)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	free(j->row.report);
	j->row.report = text;
	return 0;
}

static int check_sealed(const struct job *j, struct err *err)
{
	for (size_t n = 0; n < j->disks_len; n++) {
		if (!j->disks[n].sealed) {
			return err_set(err, API_INCOMPLETE,
				       "Disk %zu (%s) has not been finished yet.", n,
				       j->disks[n].disk);
		}
	}
	return 0;
}

static void tell_reopened(struct fleet *f, struct job *j, size_t n)
{
	uint64_t now = fleet_now_ms();

	if (j->reopened_ms != 0 && now - j->reopened_ms < TOLD_EVERY_MS)
		return;
	j->reopened_ms = now;
	fleet_event(f, "capture_reopened", j->row.machine, j->row.id,
		    "disk %zu (%s) was finished with another root than its agent says", n,
		    j->disks[n].disk);
}

/* What was finished has to be what this agent has read: else another one was in its place meanwhile (register.c), and has left what is its own.
 * Such disks are open again; the agent gets its order once more, reads them and finishes them. */
static int check_own(struct fleet *f, struct job *j, const json_t *report, struct err *err)
{
	for (size_t n = 0; n < j->disks_len; n++) {
		enum root_said said = report_says_root(&j->disks[n], report);
		int r;

		if (said == ROOT_NOT_SAID) {
			return err_set(err, API_BAD_REQUEST,
				       "The report does not name the root of disk %zu (%s), so it "
				       "is not known whether what was finished is what the agent "
				       "has read.",
				       n, j->disks[n].disk);
		}
		if (said == ROOT_SAME)
			continue;
		j->disks[n].sealed = false;
		r = state_save_job_disk(f->config.state, j->row.id, (uint32_t)n, &j->disks[n], err);
		if (r < 0)
			return r;
		tell_reopened(f, j, n);
		return err_set(err, API_INCOMPLETE,
			       "Disk %zu (%s) was finished with another root than the report has: "
			       "it is to be finished again.",
			       n, j->disks[n].disk);
	}
	return 0;
}

/* Done was said before?  The lock is held. */
static int check_repeated(struct fleet *f, const char *machine, const char *id, bool failed,
			  struct err *err)
{
	struct job_row row;
	bool same;

	if (state_get_job(f->config.state, id, &row, err) < 0)
		return err->code == -ENOENT ? err_set(err, API_NOT_FOUND, "There is no such job.")
					    : err->code;
	same = strcmp(row.machine, machine) == 0 &&
	       (failed ? row.state == JOB_FAILED || row.state == JOB_CANCELLED
		       : row.state == JOB_DONE);
	job_row_done(&row);
	return same ? 0 : job_refuse(f, machine, id, err);
}

/* 1: go on with *ret; 0: it was all said before. */
static int begin_end(struct fleet *f, const char *machine, const char *id, bool failed,
		     struct job **ret, struct err *err)
{
	struct job *j = job_find(f, id);

	if (!j)
		return check_repeated(f, machine, id, failed, err);
	j = job_find_mine(f, machine, id, err);
	if (!j)
		return err->code;
	if (j->committing) {
		return err_set(err, API_BUSY,
			       j->row.kind == JOB_CAPTURE
				       ? "The version is being written; ask again."
				       : "The end of the job is being written; ask again.");
	}
	*ret = j;
	return 1;
}

/* From now on it is the server's turn.  The lock is held. */
void job_begin_committing(struct job *j)
{
	j->committing = true;
	j->refs++;
	j->progress_ms = fleet_now_ms();
}

/* And again its agent's, unless the job has ended. */
static void end_step(struct job *j, int r, const struct err *err)
{
	j->committing = false;
	j->progress_ms = fleet_now_ms();
	job_note_step(j, r, err);
}

struct ending {
	enum job_state state;
	const char *code, *message;
};

static int end_with_roots(struct fleet *f, struct job *j, const json_t *report,
			  const struct ending *e, struct err *err)
{
	CLEANUP_JSON json_t *roots = NULL;
	int wrong = 0, r = report_roots(f, &j->row, j->disks, j->disks_len, report, &roots, err);

	if (r < 0)
		return r;
	if (e->state == JOB_DONE)
		wrong = report_check_targets(j->disks, j->disks_len, report, err);
	LOCK_FLEET(f);
	r = set_report(j, report, roots, err);
	if (r == 0 && wrong == 0)
		return job_end_as(f, j, e->state, e->code, e->message, err);
	if (r == 0)
		r = job_end(f, j, JOB_FAILED, API_VERIFY_FAILED, err->msg, &(struct err){0});
	return r < 0 ? r : wrong;
}

/* The job is held and `committing`. */
static int end_restore(struct fleet *f, struct job *j, const json_t *report, const struct ending *e,
		       struct err *err)
{
	int r = end_with_roots(f, j, report, e, err);

	LOCK_FLEET(f);
	end_step(j, r, err);
	job_unref(f, j);
	return r;
}

/* What is settled becomes a version, also when its agent never asks again: pending.c. */
static void leave_pending(struct fleet *f, struct job *j)
{
	j->commit_ms = fleet_now_ms() + COMMIT_AGAIN_MS;
	(void)pthread_cond_broadcast(&f->work);
}

int job_carry_out(struct fleet *f, struct job *j, struct err *err)
{
	int r;

	r = job_commit(f, j, err);
	LOCK_FLEET(f);
	end_step(j, r, err);
	if (j->row.manifest)
		leave_pending(f, j);
	job_unref(f, j);
	return r;
}

int fleet_job_done(struct fleet *f, const char *machine, const char *id, const json_t *report,
		   struct err *err)
{
	const struct ending done = {JOB_DONE, "", ""};
	struct job *j = NULL;
	bool is_capture = false;
	int r;

	(void)pthread_mutex_lock(&f->lock);
	r = begin_end(f, machine, id, false, &j, err);
	is_capture = j && j->row.kind == JOB_CAPTURE;
	if (is_capture) {
		r = check_sealed(j, err);
		if (r == 0 && !j->row.manifest)
			r = check_own(f, j, report, err);
		if (r == 0) /* a manifest that is settled keeps its report */
			r = j->row.manifest ? 0 : set_report(j, report, NULL, err);
	} else if (j) {
		r = 0;
	}
	if (j && r == 0) {
		job_begin_committing(j);
		r = 1;
	}
	(void)pthread_mutex_unlock(&f->lock);
	if (r <= 0 || !j)
		return r;
	return is_capture ? job_carry_out(f, j, err) : end_restore(f, j, report, &done, err);
}

int fleet_job_failed(struct fleet *f, const char *machine, const char *id, const char *code,
		     const char *message, const json_t *report, struct err *err)
{
	const struct ending failed = {JOB_FAILED, code, message};
	struct job *j = NULL;
	int r;

	(void)pthread_mutex_lock(&f->lock);
	r = begin_end(f, machine, id, true, &j, err);
	if (j && j->row.kind == JOB_RESTORE) {
		job_begin_committing(j);
	} else if (j) {
		r = j->row.manifest ? 0 : set_report(j, report, NULL, err);
		if (r == 0)
			r = job_end_as(f, j, JOB_FAILED, code, message, err);
		if (r < 0 && !j->row.manifest) /* else it is the version that is waited for */
			job_note_step(j, r, err);
		j = NULL;
	}
	(void)pthread_mutex_unlock(&f->lock);
	return j ? end_restore(f, j, report, &failed, err) : r;
}
