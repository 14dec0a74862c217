/* crew.h - several threads at one piece of work; the first error stops them all. */
#ifndef AGENT_CREW_H
#define AGENT_CREW_H
#include "common/err.h"

#define CREW_MAX 32u

struct crew_work {
	/* The work of one thread, 0 to workers - 1; returns when nothing is left to do, or with an error. */
	int (*run)(void *ctx, unsigned worker, struct err *err);
	/* Called once, as soon as one has failed: make the others return soon.  From that one's thread. */
	void (*stop)(void *ctx);
	void *ctx;
	unsigned need; /* without the first so many it is no use to begin; 0 and 1: one will do */
};

/* Run `workers` (1 to CREW_MAX) of them and wait for all.  The first error in time is the result; -EAGAIN: one of those that it needs cannot
 * be started.  That another one cannot is no error, since the others take its share.  Number 0 is run by the caller's own thread. */
int crew_run(const struct crew_work *work, unsigned workers, struct err *err) MUST_CHECK;
#endif
