#include "agent/crew.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

struct crew {
	const struct crew_work *work;
	pthread_mutex_t lock; /* over failed and err */
	bool failed;
	struct err err;
};

struct member {
	struct crew *crew;
	pthread_t thread;
	unsigned worker;
};

static void fail(struct crew *c, int r, const struct err *err)
{
	bool is_first = false;

	(void)pthread_mutex_lock(&c->lock);
	if (!c->failed) {
		is_first = true;
		c->failed = true;
		c->err = *err;
		c->err.code = r;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (is_first)
		c->work->stop(c->work->ctx);
}

static void *member_run(void *arg)
{
	struct member *m = arg;
	struct crew *c = m->crew;
	struct err err = {0};
	int r = c->work->run(c->work->ctx, m->worker, &err);

	if (r < 0)
		fail(c, r, &err);
	return NULL;
}

int crew_run(const struct crew_work *work, unsigned workers, struct err *err)
{
	struct crew crew = {.work = work, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct member members[CREW_MAX] = {{0}};
	unsigned started = 1; /* with the caller's own */
	struct err none;
	int r;

	assert(workers >= 1 && workers <= CREW_MAX);
	for (unsigned i = 0; i < workers; i++) {
		members[i].crew = &crew;
		members[i].worker = i;
	}
	for (; started < workers; started++) {
		if (pthread_create(&members[started].thread, NULL, member_run, &members[started]) !=
		    0)
			break;
	}
	if (started < work->need) {
		r = err_set(
			&none, -EAGAIN,
			"a thread cannot be started: too many run already, or there is no memory");
		fail(&crew, r, &none);
	} else {
		(void)member_run(&members[0]);
	}
	for (unsigned i = 1; i < started; i++)
		(void)pthread_join(members[i].thread, NULL);
	(void)pthread_mutex_destroy(&crew.lock);
	if (!crew.failed)
		return 0;
	*err = crew.err;
	return err->code;
}
