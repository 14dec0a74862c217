/* link.c - the lock protects `http` against link_interrupt while it is being replaced; only the owner uses it otherwise. */
#include "agent/link.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "common/limits.h"

#define PAUSE_FIRST_MS 1000u
#define PAUSE_MAX_MS   60000u
#define AWAIT_MS       300u /* for another one that registers, or for a server to be found */

struct link {
	struct session *session;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t wake;
	struct http *http;
	bool interrupted;
	/* the owner's own */
	unsigned generation;
	char url[URL_MAX]; /* that `http` is for */
	unsigned tries;
	unsigned least_s; /* to be waited before the next registration */
	struct meter_clock *clock;
};

unsigned link_pause_ms(unsigned n, uint32_t random)
{
	unsigned pause = n >= 6 ? PAUSE_MAX_MS : PAUSE_FIRST_MS << n;

	return pause / 2 + random % (pause / 2 + 1);
}

struct link *link_new(struct session *s)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->session = s;
	(void)pthread_mutex_init(&l->lock, NULL);
	cond_init(&l->wake);
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	http_free(l->http);
	(void)pthread_cond_destroy(&l->wake);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

void link_interrupt(struct link *l)
{
	(void)pthread_mutex_lock(&l->lock);
	l->interrupted = true;
	if (l->http)
		http_cancel(l->http);
	(void)pthread_cond_broadcast(&l->wake);
	(void)pthread_mutex_unlock(&l->lock);
}

void link_measure(struct link *l, struct meter_clock *clock)
{
	l->clock = clock;
}

static void on_time(void *ctx, const struct http_time *t)
{
	const struct link *l = ctx;

	meter_add(l->clock, t);
}

static int interrupted(struct err *err)
{
	return err_set(err, -ECANCELED, "interrupted");
}

/* False when interrupted. */
static bool pause_ms(struct link *l, unsigned ms)
{
	struct timespec until;
	int r = 0;
	bool goes_on;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&l->lock);
	while (!l->interrupted && r == 0)
		r = pthread_cond_timedwait(&l->wake, &l->lock, &until);
	goes_on = !l->interrupted;
	(void)pthread_mutex_unlock(&l->lock);
	return goes_on;
}

/* The connection for the place where the server now is.  false: interrupted. */
static bool connect_to(struct link *l, const struct http_target *t, int *ret_r, struct err *err)
{
	struct http *fresh, *old;
	bool goes_on;

	if (l->http && strcmp(l->url, t->url) == 0) {
		http_set_secret(l->http, t->secret);
		return true;
	}
	fresh = http_new(t);
	if (fresh) {
		http_watch(fresh, on_time, l);
	} else {
		*ret_r = err_set(err, -ENOMEM, "out of memory");
	}
	(void)pthread_mutex_lock(&l->lock);
	old = l->http;
	l->http = fresh;
	goes_on = !l->interrupted;
	(void)pthread_mutex_unlock(&l->lock);
	http_free(old);
	(void)snprintf(l->url, sizeof(l->url), "%s", t->url);
	l->tries = 0;
	return goes_on;
}

/* Ready to send: connected to somewhere, registered.  -EAGAIN: not yet, look again after *ret_wait_ms. */
static int make_ready(struct link *l, unsigned *ret_wait_ms, struct err *err)
{
	struct http_target t;
	bool registered;
	unsigned retry_s = 0;
	int r = 0;

	l->least_s = 0;
	l->generation = session_get(l->session, &t, &registered);
	*ret_wait_ms = AWAIT_MS;
	if (!t.url[0])
		return -EAGAIN;
	if (!connect_to(l, &t, &r, err))
		return interrupted(err);
	explicit_bzero(&t, sizeof(t));
	if (r < 0)
		return r;
	if (registered) {
		session_renew(l->session, l->http, l->generation);
		return 0;
	}
	r = session_register(l->session, l->http, l->generation, &retry_s, err);
	if (r == -EAGAIN || r == -ECANCELED || r == -ENOMEM)
		return r;
	/* Even what is refused for good here is tried again: tokens can be made, keys be put back. */
	session_note(l->session, l->url, r, err->msg);
	if (r == 0)
		return make_ready(l, ret_wait_ms, err);
	*ret_wait_ms = 0;
	l->least_s = retry_s;
	if (retry_s > 0)
		l->tries = 0; /* it says when, as after a restart in a job: not much later then */
	return -EAGAIN;
}

static uint32_t random_u32(void)
{
	uint32_t v = 0;

	(void)!getrandom(&v, sizeof(v), 0);
	return v;
}

/* After a failure, which is the fault of `place`: wait, longer each time, unless there is another place to try. */
static int back_off(struct link *l, unsigned least_s, enum meter_place place, struct err *err)
{
	unsigned ms = link_pause_ms(l->tries++, random_u32());
	bool goes_on = true;

	if (ms < least_s * 1000)
		ms = least_s * 1000;
	(void)meter_go(l->clock, place);
	for (unsigned slice; goes_on && ms > 0 && session_is_at(l->session, l->url); ms -= slice) {
		slice = ms < AWAIT_MS ? ms : AWAIT_MS;
		goes_on = pause_ms(l, slice);
	}
	(void)meter_go(l->clock, METER_NOWHERE);
	return goes_on ? 0 : interrupted(err);
}

/* One try.  1: to be repeated. */
static int try_once(struct link *l, const struct http_request *q, struct http_answer *ret,
		    struct err *err)
{
	unsigned wait_ms = 0;
	int r = make_ready(l, &wait_ms, err);

	if (r == -EAGAIN && wait_ms > 0)
		return pause_ms(l, wait_ms) ? 1 : interrupted(err);
	if (r == -EAGAIN) {
		r = back_off(l, l->least_s, METER_NETWORK, err);
		return r < 0 ? r : 1;
	}
	if (r < 0)
		return r;
	r = http_do(l->http, q, ret, err);
	if (r == -EREMOTEIO && ret->status == 401) {
		session_refused(l->session, l->generation);
		return l->tries++ < 2 ? 1
				      : (back_off(l, 0, METER_SERVER, err) < 0 ? -ECANCELED : 1);
	}
	if (r == -EKEYREJECTED || http_may_retry(r, ret)) {
		session_note(l->session, l->url, r, err->msg);
		r = back_off(l, ret->retry_after_s, r == -EREMOTEIO ? METER_SERVER : METER_NETWORK,
			     err);
		return r < 0 ? r : 1;
	}
	if (r == 0 || r == -EREMOTEIO)
		session_note(l->session, l->url, 0, NULL);
	return r;
}

int link_do(struct link *l, const struct http_request *q, struct http_answer *ret, struct err *err)
{
	enum meter_place before = meter_go(l->clock, METER_NOWHERE); /* http tells */
	int r;

	l->tries = 0;
	memset(ret, 0, sizeof(*ret));
	do {
		r = try_once(l, q, ret, err);
	} while (r == 1);
	(void)meter_go(l->clock, before);
	return r;
}

int link_json(struct link *l, const struct http_call *call, json_t **ret,
	      struct http_answer *ret_answer, struct err *err)
{
	CLEANUP_FREE char *text = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
	struct http_request q = {
		.method = call->method,
		.path = call->path,
		.content_type = "application/json",
		.body = text,
		.body_size = text ? strlen(text) : 0,
		.answer_max = JSON_BIG_MAX,
		.timeout_s = call->timeout_s,
	};
	struct http_answer a;
	int r;

	if (call->body && !text)
		return err_set(err, -ENOMEM, "out of memory");
	r = link_do(l, &q, &a, err);
	if (ret_answer)
		*ret_answer = a;
	if (r < 0 || !ret)
		return r;
	r = json_parse((const char *)a.data, a.size, JSON_BIG_MAX, ret, err);
	return r < 0 ? err_prefix(err, "%s %s: the server's answer", q.method, q.path) : 0;
}
