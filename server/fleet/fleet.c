#include "server/fleet/fleet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "common/log.h"
#include "common/text.h"
#include "server/fleet/private.h"

uint64_t fleet_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t fleet_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

bool fleet_wait(struct fleet *f, pthread_cond_t *cond, uint64_t deadline_ms)
{
	struct timespec ts = {.tv_sec = (time_t)(deadline_ms / 1000),
			      .tv_nsec = (long)(deadline_ms % 1000) * 1000000};

	return pthread_cond_timedwait(cond, &f->lock, &ts) == 0;
}

void fleet_event(struct fleet *f, const char *event, const char *machine, const char *job,
		 const char *fmt, ...)
{
	char raw[2 * MESSAGE_SIZE], text[MESSAGE_SIZE];
	struct event_row e = {
		.at = fleet_now(), .event = event, .machine = machine, .job = job, .text = text};
	struct err err;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	(void)text_clean(text, sizeof(text), raw, strlen(raw)); /* half a character is no JSON */
	log_event(LOG_INFO, event, "machine=%s job=%s text=\"%s\"", *machine ? machine : "-",
		  *job ? job : "-", text);
	if (state_add_event(f->config.state, &e, &err) < 0)
		log_event(LOG_WARN, "state_failed", "error=\"%s\"", err.msg);
}

/* ---- the watchdog */

/* What the server itself is doing for it, or NULL: it is the agent's turn. */
static const char *own_work(const struct job *j)
{
	if (j->row.kind == JOB_VERIFY)
		return "reads the store to verify the image";
	if (j->row.kind == JOB_GC)
		return "goes through the store to see what is needed";
	if (!j->committing)
		return NULL;
	return j->row.kind == JOB_CAPTURE
		       ? "looks at what was captured once more, and writes the version"
		       : "looks at the image's index once more";
}

/* `now` may be of before the lock was had, and `ms` of after it. */
static uint64_t seconds_since(uint64_t ms, uint64_t now)
{
	return now > ms ? (now - ms) / 1000 : 0;
}

/* Does a job stall?  True if that changed; the lock is held. */
static bool check_stall(struct fleet *f, struct job *j, uint64_t now)
{
	uint64_t quiet_s = seconds_since(j->progress_ms, now);
	uint64_t silent_s = seconds_since(j->heard_ms, now);
	const char *own = own_work(j);
	/* who is gone does not hold up what is the server's */
	bool is_held =
		j->held[0] != '\0' && (own || j->row.manifest || silent_s < f->config.away_s);
	bool stalled = is_held || (j->row.state == JOB_RUNNING && quiet_s >= f->config.stall_s);

	if (!stalled) {
		if (j->stalled)
			j->row.message[0] = '\0';
	} else if (is_held) {
		(void)snprintf(j->row.message, sizeof(j->row.message), "%s", j->held);
	} else if (own) {
		(void)snprintf(
			j->row.message, sizeof(j->row.message),
			"No progress for %llu s: the server %s, and its storage does not answer, "
			"or is very slow. The job goes on by itself when it does.",
			(unsigned long long)quiet_s, own);
	} else if (silent_s >= f->config.away_s) {
		(void)snprintf(j->row.message, sizeof(j->row.message),
			       "No progress for %llu s: its agent has not been heard for %llu s. "
			       "The job goes on when it comes back.",
			       (unsigned long long)quiet_s, (unsigned long long)silent_s);
	} else if (j->is_starved) {
		(void)snprintf(j->row.message, sizeof(j->row.message),
			       "No progress for %llu s: the server has no memory left for what its "
			       "agent asks for, because too much else is going on. The job goes on "
			       "by itself.",
			       (unsigned long long)quiet_s);
	} else {
		(void)snprintf(
			j->row.message, sizeof(j->row.message),
			"No progress for %llu s, though its agent answers (last heard %llu s "
			"ago).",
			(unsigned long long)quiet_s, (unsigned long long)silent_s);
	}
	if (stalled == j->stalled)
		return false;
	j->stalled = stalled;
	return true;
}

/* A job that has just stalled or recovered, with a reference; the lock is taken here. */
static struct job *next_stalled(struct fleet *f, char ret_why[static MESSAGE_SIZE])
{
	uint64_t now = fleet_now_ms();
	LOCK_FLEET(f);

	for (struct job *j = f->jobs; j; j = j->next) {
		if (check_stall(f, j, now)) {
			job_changed(j);
			(void)snprintf(ret_why, MESSAGE_SIZE, "%s", j->row.message);
			j->refs++;
			return j;
		}
	}
	return NULL;
}

static bool tick_wait(struct fleet *f)
{
	uint64_t deadline = fleet_now_ms() + TICK_MS;
	LOCK_FLEET(f);

	while (!f->stopping && fleet_wait(f, &f->tick, deadline))
		;
	return !f->stopping;
}

void fleet_note_tick(struct fleet *f)
{
	uint64_t now = fleet_now_ms();
	LOCK_FLEET(f);

	if (now - f->tick_ms > DEAF_MS)
		f->hears_ms = now;
	f->tick_ms = now;
}

void fleet_tell_stalls(struct fleet *f)
{
	char why[MESSAGE_SIZE];
	struct job *j;

	while ((j = next_stalled(f, why))) {
		fleet_event(f, j->stalled ? "job_stalled" : "job_recovered", j->row.machine,
			    j->row.id, "%s%s%s", j->row.machine_name, *why ? ": " : "", why);
		fleet_release(f, j);
		fleet_note_tick(f); /* as in machines_touch */
	}
}

static void *ticker_run(void *arg)
{
	struct fleet *f = arg;

	while (tick_wait(f)) {
		fleet_note_tick(f);
		fleet_tell_stalls(f);
		machines_touch(f, false);
		pairings_tick(f->pairings);
	}
	machines_touch(f, true);
	return NULL;
}

/* ---- opening and closing */

static void pairing_event(void *ctx, const char *event, const char *machine, const char *text)
{
	fleet_event(ctx, event, machine, "", "%s", text);
}

static struct fleet *fleet_new(const struct fleet_config *config)
{
	struct fleet *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->config = *config;
	f->hears_ms = f->tick_ms = fleet_now_ms();
	f->catch_up_ms = UINT64_MAX;
	f->config.pairing.poll_s = config->poll_s;
	f->config.pairing.event = pairing_event;
	f->config.pairing.ctx = f;
	f->pairings = pairings_new(&f->config.pairing);
	if (!f->pairings) {
		free(f);
		return NULL;
	}
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_mutex_init(&f->commit_lock, NULL);
	cond_init(&f->work);
	cond_init(&f->tick);
	return f;
}

static int start_thread(pthread_t *thread, bool *ret_started, void *(*run)(void *), struct fleet *f)
{
	int r = pthread_create(thread, NULL, run, f);

	*ret_started = r == 0;
	return r;
}

static int start_threads(struct fleet *f, struct err *err)
{
	int r = start_thread(&f->worker, &f->worker_started, worker_run, f);

	if (r == 0)
		r = start_thread(&f->pending, &f->pending_started, pending_run, f);
	if (r == 0)
		r = start_thread(&f->ticker, &f->ticker_started, ticker_run, f);
	return r ? err_set(err, -r, "start a thread of the server") : 0;
}

int fleet_open(const struct fleet_config *config, struct fleet **ret, struct err *err)
{
	struct fleet *f = fleet_new(config);
	int r;

	if (!f)
		return err_set(err, -ENOMEM, "start the server: out of memory");
	r = machines_load(f, err);
	if (r == 0)
		r = jobs_load(f, err);
	if (r == 0) {
		pending_catch_up(f); /* what fails there is no reason not to start */
		jobs_remove_leftovers(f);
		r = start_threads(f, err);
	}
	if (r < 0) {
		fleet_stop(f);
		fleet_close(f);
		return r;
	}
	*ret = f;
	return 0;
}

void fleet_stop(struct fleet *f)
{
	if (!f)
		return;
	pairings_stop(f->pairings);
	(void)pthread_mutex_lock(&f->lock);
	f->stopping = true;
	(void)pthread_cond_broadcast(&f->work);
	(void)pthread_cond_broadcast(&f->tick);
	for (struct machine *m = f->machines; m; m = m->next)
		(void)pthread_cond_broadcast(&m->cond);
	for (struct job *j = f->jobs; j; j = j->next)
		(void)pthread_cond_broadcast(&j->cond);
	(void)pthread_mutex_unlock(&f->lock);
	if (f->worker_started)
		(void)pthread_join(f->worker, NULL);
	if (f->pending_started)
		(void)pthread_join(f->pending, NULL);
	if (f->ticker_started)
		(void)pthread_join(f->ticker, NULL);
	f->worker_started = f->pending_started = f->ticker_started = false;
}

void fleet_close(struct fleet *f)
{
	if (!f)
		return;
	fleet_stop(
		f); /* a start that failed half way has threads too: they must not wait on what is destroyed */
	jobs_free(f);
	machines_free(f);
	pairings_free(f->pairings);
	(void)pthread_cond_destroy(&f->work);
	(void)pthread_cond_destroy(&f->tick);
	(void)pthread_mutex_destroy(&f->lock);
	(void)pthread_mutex_destroy(&f->commit_lock);
	free(f);
}
