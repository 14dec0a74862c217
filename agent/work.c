#include "agent/work.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/locks.h"
#include "agent/peer_http.h"
#include "common/rate.h"
#include "common/text.h"

#define BASE_MEMORY (20u << 20) /* the program, its libraries, the outbox, the tables of flight.c */
#define LOOK_MS	    3000u	/* between two looks for a disk that is not there */

static unsigned wanted_workers(const struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = cores > 0 ? (unsigned)cores * 2 : 2;

	if (c->workers > 0)
		return (unsigned)c->workers;
	return n > 8 ? 8 : n;
}

void work_close_peers(struct work *w, struct crew_peers *p)
{
	job_set_peers(w->job, NULL, 0);
	for (unsigned i = 0; i < p->len; i++)
		peer_free(p->peers[i]);
	p->len = 0;
}

unsigned work_count_workers(const struct work *w, uint64_t worker_size, uint64_t aside)
{
	const struct config *c = w->config;
	uint64_t n = wanted_workers(c), taken = BASE_MEMORY + aside;
	uint64_t fit = c->memory > taken ? (c->memory - taken) / worker_size : 0;

	/* with lists as large as that, the limit is what counts, and not what would do for most */
	if (fit == 0 && c->memory_max >= taken + worker_size)
		fit = 1;
	return (unsigned)(n < fit ? n : fit);
}

size_t work_count_spare(const struct work *w, uint64_t worker_size, unsigned workers,
			uint64_t aside, uint64_t size, size_t max)
{
	uint64_t taken = BASE_MEMORY + aside + workers * worker_size, n = 0;

	if (w->config->memory_max > taken)
		n = (w->config->memory_max - taken) / size;
	return n < 1 ? 1 : n < max ? (size_t)n : max;
}

int work_need_workers(struct work *w, uint64_t worker_size, uint64_t aside, unsigned *ret,
		      struct err *err)
{
	unsigned n = work_count_workers(w, worker_size, aside);
	int r;

	if (n > 0) {
		*ret = n;
		return 0;
	}
	r = err_set(err, -E2BIG,
		    "this job needs %" PRIu64 " MiB of memory, and only %" PRIu64
		    " MiB may be used: boot with more memory, or raise --memory (hoist.memory)",
		    (BASE_MEMORY + aside + worker_size) >> 20, w->config->memory_max >> 20);
	return job_blame(w->job, "internal", r);
}

int work_open_peers(struct work *w, unsigned len, struct crew_peers *ret, struct err *err)
{
	assert(len <= JOB_PEERS_MAX);
	for (ret->len = 0; ret->len < len; ret->len++) {
		ret->peers[ret->len] = peer_http_new(w->session, w->job, w->order);
		if (!ret->peers[ret->len])
			break;
	}
	if (ret->len < len) {
		work_close_peers(w, ret);
		return job_blame(w->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	}
	job_set_peers(w->job, ret->peers, ret->len);
	return 0;
}

static int look_around(struct work *w, struct err *err)
{
	struct inventory_options o = {
		.id = w->config->id,
		.disks = w->config->disks.items,
		.disks_len = w->config->disks.len,
	};
	struct inventory *i = calloc(1, sizeof(*i));
	struct err unlocked;
	int r;

	if (!i)
		return err_set(err, -ENOMEM, "out of memory");
	r = inventory_collect(&o, i, err);
	if (r < 0) {
		free(i);
		return r;
	}
	inventory_freep(&w->inventory);
	w->inventory = i;
	if (locks_apply(w->config->locks, &i->disks, &unlocked) < 0)
		job_say(w->job, "warning: %s; %s", unlocked.msg,
			locks_consequence(w->config->locks));
	return 0;
}

/* A disk of the order that is not there, or NULL; `r`: what look_around has said. */
static const char *find_missing(const struct work *w, int r)
{
	if (r == -ENOENT) /* of --disk */
		return w->order->disks[0].disk;
	for (uint32_t n = 0; r == 0 && n < w->order->disks_len; n++) {
		if (!inventory_find_disk(w->inventory, w->order->disks[n].disk))
			return w->order->disks[n].disk;
	}
	return NULL;
}

static int rest(struct work *w, struct err *err)
{
	int r = 0;

	for (uint64_t until = clock_ms() + LOOK_MS; r == 0 && clock_ms() < until;) {
		(void)usleep(100000);
		r = job_check(w->job, err);
	}
	return r;
}

/* A machine that was restarted in the middle of its job does not have all of its disks at once: behind SAS, FC, iSCSI and USB they may take a minute. */
static int look_for_disks(struct work *w, struct err *err)
{
	uint64_t until = clock_ms() + w->config->disk_wait * 1000;
	int r = look_around(w, err), e = 0;
	const char *missing = find_missing(w, r), *first = missing;

	if (missing && w->config->disk_wait > 0) {
		job_say(w->job,
			"disk '%s' is not there; it is looked for again for %" PRIu64
			" s, as some take long to come up",
			missing, w->config->disk_wait);
	}
	while (missing && clock_ms() < until) {
		e = rest(w, err);
		if (e < 0)
			return e;
		r = look_around(w, err);
		missing = find_missing(w, r);
	}
	if (first && !missing)
		job_say(w->job, "disk '%s' has come up", first);
	return job_blame(w->job, r == -ENOMEM ? "internal" : "disk_missing", r);
}

/* A capture of all disks is one of those that are listed. */
static void say_left_out(const struct work *w)
{
	const struct disk_list *l = &w->inventory->disks;

	for (size_t i = 0; i < l->skipped_len; i++) {
		if (strcmp(l->skipped[i].reason, DISK_NO_SIZE) == 0)
			job_say(w->job, "warning: %s is not among the disks: %s",
				l->skipped[i].name, l->skipped[i].text);
	}
}

static int do_order(struct work *w, struct err *err)
{
	int r;

	job_start_phase(w->job, PHASE_CHECK, 0);
	r = job_check(w->job, err);
	if (r == 0)
		r = look_for_disks(w, err);
	if (r < 0)
		return r;
	if (w->order->kind == JOB_RESTORE)
		return work_restore(w, err);
	say_left_out(w);
	return work_capture(w, err);
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

/* {"disk": {"seconds", "share"}, ...}; NULL: out of memory. */
static json_t *time_report(const struct meter_times *t)
{
	json_t *report = json_object();
	double sum = (double)meter_sum(t);

	for (unsigned i = METER_DISK; report && i < METER_PLACES; i++) {
		double us = (double)t->us[i];

		if (json_object_set_new(report, meter_place_name((enum meter_place)i),
					json_pack("{s:f, s:f}", "seconds", us / 1e6, "share",
						  sum > 0 ? us / sum : 0.0)) < 0) {
			json_decref(report);
			report = NULL;
		}
	}
	return report;
}

/* [{"phase", "seconds", "bytes"?, "rate"?}, …] of those that there were; NULL: out of memory. */
static json_t *phases_report(struct job *job)
{
	struct job_span spans[JOB_PHASES];
	json_t *report = json_array();

	job_get_spans(job, spans);
	for (unsigned i = 0; report && i < JOB_PHASES; i++) {
		const struct job_span *s = &spans[i];
		bool counts = i != PHASE_CHECK && i != PHASE_FINISH;
		json_t *phase = json_pack("{s:s, s:f}", "phase", job_phase_name(i), "seconds",
					  (double)s->ms / 1000);

		if (counts && phase) {
			(void)json_object_update_new(
				phase, json_pack("{s:I, s:I}", "bytes", (json_int_t)s->done, "rate",
						 (json_int_t)rate_of(s->done, s->ms)));
		}
		if (!s->was) {
			json_decref(phase);
		} else if (json_array_append_new(report, phase) < 0) {
			json_decref(report);
			report = NULL;
		}
	}
	return report;
}

/* Over the whole time. */
static json_t *rates_report(const struct work *w, const struct job_progress *p, uint64_t ms)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "read", (json_int_t)rate_of(w->read_bytes, ms),
			 "written", (json_int_t)rate_of(w->written_bytes, ms), "data",
			 (json_int_t)rate_of(p->data, ms), "wire",
			 (json_int_t)rate_of(p->sent, ms));
}

static json_t *make_report(const struct work *w, const struct rusage *before, uint64_t start_ms)
{
	struct job_progress p = job_get_progress(w->job);
	struct meter_times times = meter_get(&w->job->meter, clock_us());
	uint64_t ms = clock_ms() - start_ms;
	struct rusage now;
	json_t *report;

	(void)getrusage(RUSAGE_SELF, &now);
	report = json_pack("{s:s, s:f, s:o, s:o, s:f, s:f, s:I, s:I, s:I, s:s?, s:o, s:O}",
			   "agent_version", HOIST_VERSION, "seconds", (double)ms / 1000, "phases",
			   phases_report(w->job), "rates", rates_report(w, &p, ms), "user_seconds",
			   seconds(&now.ru_utime) - seconds(&before->ru_utime), "system_seconds",
			   seconds(&now.ru_stime) - seconds(&before->ru_stime), "peak_memory",
			   (json_int_t)now.ru_maxrss * 1024, "data_bytes", (json_int_t)p.data,
			   "wire_bytes", (json_int_t)p.sent, "bottleneck",
			   meter_place_name(meter_judge(&times, METER_NOWHERE)), "time",
			   time_report(&times), "disks", w->disks);
	if (report && w->levels)
		(void)json_object_set(report, "levels", w->levels);
	return report;
}

/* What is intact after a failure: the first thing that the person will ask. */
static const char *remains(const struct work *w)
{
	if (w->order->kind == JOB_CAPTURE)
		return "The source is as it was.";
	if (!w->has_written)
		return w->was_begun ? "Nothing was written to any target now."
				    : "Nothing was written to any target.";
	if (w->has_compared)
		return "What was on the other targets is lost, and they hold no complete image; order the restore again.";
	return "What was on the target is lost, it holds no complete image, and nothing starts from it; order the restore again.";
}

/* As much of the reason as there is room for, and all of what remains: a server refuses what is longer, or no text. */
static void write_message(const struct work *w, const struct err *err, struct outcome *ret)
{
	static const char cut[] = "\xe2\x80\xa6"; /* an ellipsis */
	const char *rest = remains(w);
	char why[3 * sizeof(err->msg)]; /* each byte may become three */
	size_t room = REASON_MAX - strlen(rest) - 2, len;

	len = text_clean(why, sizeof(why), err->msg, strlen(err->msg));
	if (len > room) {
		len = text_clean(ret->message, room - strlen(cut) + 1, why, len);
		(void)snprintf(why, sizeof(why), "%.*s%s", (int)len, ret->message, cut);
		len = strlen(why);
	}
	memcpy(ret->message, why, len);
	(void)snprintf(ret->message + len, sizeof(ret->message) - len, "%s %s",
		       len > 0 && why[len - 1] == '.' ? "" : ".", rest);
}

static void conclude(struct work *w, int r, const struct err *err, struct outcome *ret)
{
	ret->unreadable = job_get_progress(w->job).unreadable;
	if (r == 0) {
		ret->kind = OUTCOME_DONE;
		return;
	}
	ret->kind = OUTCOME_FAILED;
	if (r == -ECANCELED)
		ret->kind =
			atomic_load(&w->job->stop) == JOB_QUIT ? OUTCOME_QUIT : OUTCOME_CANCELLED;
	job_get_code(w->job, ret->code);
	if (ret->code[0] == '\0')
		(void)snprintf(ret->code, sizeof(ret->code), "internal");
	write_message(w, err, ret);
}

void work_run(struct work *w, struct outcome *ret)
{
	struct rusage before;
	struct err err = {0};
	uint64_t start_ms = clock_ms();
	int r;

	memset(ret, 0, sizeof(*ret));
	(void)getrusage(RUSAGE_SELF, &before);
	w->disks = json_array();
	r = w->disks ? do_order(w, &err) : err_set(&err, -ENOMEM, "out of memory");
	conclude(w, r, &err, ret);
	ret->report = make_report(w, &before, start_ms);
	json_decref(w->disks);
	json_decref(w->levels);
	w->levels = NULL;
	inventory_freep(&w->inventory);
}
