/* crew.c - worker 0 is the caller's own thread, so that there is always one. */
#include "agent/crew.h"

#include <assert.h>
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
	bool started;
};

static void *member_run(void *arg)
{
	struct member *m = arg;
	struct crew *c = m->crew;
	struct err err = {0};
	bool is_first = false;
	int r = c->work->run(c->work->ctx, m->worker, &err);

	if (r >= 0)
		return NULL;
	(void)pthread_mutex_lock(&c->lock);
	if (!c->failed) {
		is_first = true;
		c->failed = true;
		c->err = err;
		c->err.code = r;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (is_first)
		c->work->stop(c->work->ctx);
	return NULL;
}

int crew_run(const struct crew_work *work, unsigned workers, struct err *err)
{
	struct crew crew = {.work = work, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct member members[CREW_MAX] = {{0}};

	assert(workers >= 1 && workers <= CREW_MAX);
	for (unsigned i = 0; i < workers; i++) {
		members[i].crew = &crew;
		members[i].worker = i;
	}
	for (unsigned i = 1; i < workers; i++) {
		members[i].started =
			pthread_create(&members[i].thread, NULL, member_run, &members[i]) == 0;
	}
	(void)member_run(&members[0]);
	for (unsigned i = 1; i < workers; i++) {
		if (members[i].started)
			(void)pthread_join(members[i].thread, NULL);
	}
	(void)pthread_mutex_destroy(&crew.lock);
	if (!crew.failed)
		return 0;
	*err = crew.err;
	return err->code;
}
