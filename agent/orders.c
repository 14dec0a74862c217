#include "agent/orders.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/end.h"
#include "agent/heartbeat.h"
#include "agent/wire.h"
#include "agent/work.h"
#include "common/cleanup.h"
#include "common/text.h"

#define REST_STEP_MS 100u /* all that is waited is a multiple of it */
#define REST_MS	     5000u
#define SOON_MS	     500u /* an answer without an order should have taken longer */
#define REST_SOON_MS 1000u

struct orders {
	struct orders_setup setup;
	pthread_mutex_t lock; /* over what follows */
	struct job *job;      /* the one under way */
	bool stopped;
};

struct orders *orders_new(const struct orders_setup *setup)
{
	struct orders *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->setup = *setup;
	(void)pthread_mutex_init(&o->lock, NULL);
	return o;
}

void orders_free(struct orders *o)
{
	if (!o)
		return;
	(void)pthread_mutex_destroy(&o->lock);
	free(o);
}

void orders_stop(struct orders *o)
{
	(void)pthread_mutex_lock(&o->lock);
	o->stopped = true;
	if (o->job)
		job_stop(o->job, JOB_QUIT);
	(void)pthread_mutex_unlock(&o->lock);
}

static bool is_stopped(struct orders *o)
{
	bool stopped;

	(void)pthread_mutex_lock(&o->lock);
	stopped = o->stopped;
	(void)pthread_mutex_unlock(&o->lock);
	return stopped;
}

bool orders_is_idle(struct orders *o)
{
	bool idle;

	(void)pthread_mutex_lock(&o->lock);
	idle = !o->job;
	(void)pthread_mutex_unlock(&o->lock);
	return idle;
}

static void say(void *ctx, const char *line)
{
	console_line(((struct orders *)ctx)->setup.console, line);
}

static enum codec choose_codec(struct orders *o, struct err *err)
{
	struct http_call call = {"GET", "/v1/info", NULL, 0};
	CLEANUP_JSON json_t *info = NULL;

	return link_json(o->setup.link, &call, &info, NULL, err) < 0 ? CODEC_ZLIB
								     : wire_codec_decode(info);
}

static const char *const outcome_words[] = {"done", "failed", "cancelled", "interrupted"};

/* A job that cannot say how it ended would be done again for ever. */
static int tell_plainly(struct orders *o, const struct job *job, const char *why, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "code", "internal", "message", why);
	char path[96];
	struct http_call call = {"POST", path, body, 600};

	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/failed", job->id);
	return link_json(o->setup.link, &call, NULL, NULL, err);
}

/* Of `done`: would the same again be refused again?  What is incomplete is not: the order comes once more. */
static bool is_refused_for_good(const struct http_answer *a)
{
	return strcmp(a->error.code, "bad_request") == 0 || strcmp(a->error.code, "too_large") == 0;
}

/* -EREMOTEIO, with the reason in `err` still, once the job has ended by it. */
static int fail_refused(struct orders *o, const struct job *job, struct err *err)
{
	char all[sizeof(err->msg) + 128], why[REASON_MAX + 1];
	struct err other;
	int r;

	(void)snprintf(all, sizeof(all),
		       "The agent has done all of the job, and the server does not take its "
		       "account of that: %s",
		       err->msg);
	(void)text_clean(why, sizeof(why), all, strlen(all));
	r = tell_plainly(o, job, why, &other);
	if (r < 0 && r != -EREMOTEIO)
		*err = other;
	return r < 0 ? r : -EREMOTEIO;
}

/* Tell the server how it ended. -EREMOTEIO: it does not want to know (any more). */
static int tell_outcome(struct orders *o, struct job *job, const struct outcome *end,
			struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:O*}", "report", end->report);
	char path[96];
	struct http_call call = {"POST", path, body, 600};
	struct http_answer a;
	int r;

	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	r = heartbeat_send(o->setup.link, job, err); /* the last lines */
	if (r < 0 && r != -EREMOTEIO)
		return r;
	if (end->kind == OUTCOME_FAILED) {
		(void)json_object_set_new(body, "code", json_string(end->code));
		(void)json_object_set_new(body, "message", json_string(end->message));
	}
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/%s", job->id,
		       end->kind == OUTCOME_FAILED ? "failed" : "done");
	r = link_json(o->setup.link, &call, NULL, &a, err);
	if (r == -EREMOTEIO && end->kind == OUTCOME_FAILED && !heartbeat_is_over(&a)) {
		console_say(o->setup.console, "the server does not take the reason: %s", err->msg);
		r = tell_plainly(o, job,
				 "The job has failed, and the server did not take its agent's "
				 "account of that. The reason is on the machine's screen.",
				 err);
	} else if (r == -EREMOTEIO && end->kind == OUTCOME_DONE && is_refused_for_good(&a)) {
		r = fail_refused(o, job, err);
	}
	return r;
}

/* The job under way, or none. */
static void set_job(struct orders *o, struct job *job)
{
	(void)pthread_mutex_lock(&o->lock);
	o->job = job;
	if (job && o->stopped)
		job_stop(job, JOB_QUIT);
	(void)pthread_mutex_unlock(&o->lock);
}

static void say_outcome(struct orders *o, const struct order *order, const struct outcome *end)
{
	if (end->kind == OUTCOME_DONE && end->unreadable > 0) {
		console_say(o->setup.console, "job %s, %s: done with %" PRIu64 " unreadable bytes",
			    order->job, job_kind_name(order->kind), end->unreadable);
	} else {
		console_say(o->setup.console, "job %s, %s: %s", order->job,
			    job_kind_name(order->kind), outcome_words[end->kind]);
	}
	if (end->kind != OUTCOME_DONE)
		console_line(o->setup.console, end->message);
}

/* One order from beginning to end.  *ret_kind: how it ended, as the server sees it; *ret_lost: with something unreadable. */
static int do_order(struct orders *o, const struct order *order, enum outcome_kind *ret_kind,
		    bool *ret_lost, struct err *err)
{
	struct job job;
	struct heartbeat *beat = NULL;
	struct work w = {.config = o->setup.config,
			 .session = o->setup.session,
			 .order = order,
			 .job = &job};
	struct outcome end = {.kind = OUTCOME_QUIT};
	int r;

	job_init(&job, order->job);
	job.on_line = say;
	job.ctx = o;
	set_job(o, &job);
	w.codec = choose_codec(o, err);
	console_say(o->setup.console, "job %s: %s of %u disk%s", order->job,
		    job_kind_name(order->kind), order->disks_len, order->disks_len == 1 ? "" : "s");
	r = heartbeat_start(o->setup.session, &job, o->setup.console,
			    (unsigned)o->setup.config->progress_ms, &beat, err);
	if (r == 0)
		work_run(&w, &end);
	heartbeat_stop(beat);
	if (r == 0)
		say_outcome(o, order, &end);
	if (r == 0 && (end.kind == OUTCOME_DONE || end.kind == OUTCOME_FAILED))
		r = tell_outcome(o, &job, &end, err);
	if (r == -EREMOTEIO) {
		console_say(o->setup.console, "the server does not take the end of the job: %s",
			    err->msg);
		end.kind = end.kind == OUTCOME_DONE ? OUTCOME_FAILED : end.kind;
		r = 0;
	}
	set_job(o, NULL);
	json_decref(end.report);
	job_done(&job);
	*ret_kind = end.kind;
	*ret_lost = end.unreadable > 0;
	return r;
}

/* An order that is not understood is refused in its own name, or the job would wait for ever. */
static void refuse_order(struct orders *o, const json_t *order, const char *why)
{
	const char *id = json_string_value(json_object_get(order, "job"));
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "code", "bad_request", "message", why);
	char path[96];
	struct http_call call = {"POST", path, body, 0};
	struct err err;

	if (!id || strlen(id) != JOB_ID_SIZE - 1 || strspn(id, "0123456789abcdef") != strlen(id) ||
	    !body)
		return;
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/failed", id);
	if (link_json(o->setup.link, &call, NULL, NULL, &err) < 0)
		console_say(o->setup.console, "refusing an order: %s", err.msg);
}

/* The next order, or none when the poll was over without one. */
static int poll_order(struct orders *o, struct order *ret, bool *ret_has, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:n}", "state", "idle", "job");
	CLEANUP_JSON json_t *answer = NULL;
	struct http_call call = {"POST", "/v1/agent/poll", body,
				 session_poll_s(o->setup.session) + 30};
	const json_t *order = NULL;
	int r;

	*ret_has = false;
	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	r = link_json(o->setup.link, &call, &answer, NULL, err);
	if (r == 0)
		r = json_opt_object(answer, "order", &order, err);
	if (r == 0 && order) {
		r = order_decode(order, ret, err);
		*ret_has = r == 0;
		if (r < 0)
			refuse_order(o, order, err->msg);
	}
	return r;
}

/* Not in a hurry, but not deaf. */
static void rest(struct orders *o, unsigned ms)
{
	for (; ms > 0 && !is_stopped(o); ms -= REST_STEP_MS)
		(void)usleep(REST_STEP_MS * 1000);
}

/* A disk that came late is to be found in the list. */
static void look_at_news(struct orders *o)
{
	struct err err;

	if (!o->setup.has_news || !o->setup.has_news(o->setup.ctx))
		return;
	if (o->setup.look_again(o->setup.ctx, &err) == 0)
		session_expire(o->setup.session);
}

/* Nothing is to be done, as a server has said that was asked at `asked`. */
static void idle(struct orders *o, uint64_t asked)
{
	look_at_news(o);
	if (clock_ms() - asked < SOON_MS) /* it is ending, or does not let anybody wait */
		rest(o, REST_SOON_MS);
}

int orders_serve(struct orders *o, int *ret_status, struct err *err)
{
	while (!is_stopped(o)) {
		struct order order = {.disks = NULL};
		enum outcome_kind kind;
		uint64_t asked = clock_ms();
		bool has = false, lost = false;
		int r = poll_order(o, &order, &has, err);

		if (r == -ECANCELED)
			return 0;
		if (r < 0) {
			console_say(o->setup.console, "asking for orders: %s", err->msg);
			rest(o, REST_MS); /* a server gone mad */
			continue;
		}
		if (!has) {
			idle(o, asked);
			continue;
		}
		r = do_order(o, &order, &kind, &lost, err);
		if (r == 0 && kind == OUTCOME_DONE)
			end_machine(order.end, o->setup.config->image, o->setup.console);
		order_done(&order);
		if (r < 0 && r != -ECANCELED)
			return r;
		if (o->setup.config->once) {
			*ret_status = r != 0 || kind != OUTCOME_DONE ? EXIT_FAILURE
				      : lost			     ? EXIT_UNREADABLE
								     : EXIT_SUCCESS;
			return 0;
		}
		/* a restored disk looks different now */
		if (o->setup.look_again(o->setup.ctx, err) == 0)
			session_expire(o->setup.session);
		console_say(o->setup.console, "waiting for orders");
	}
	return 0;
}
