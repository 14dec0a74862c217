/* capture_worker.h - what the threads of a capture share; between capture.c and capture_worker.c only. */
#ifndef AGENT_CAPTURE_WORKER_H
#define AGENT_CAPTURE_WORKER_H
#include <pthread.h>
#include <stdatomic.h>

#include "agent/capture.h"
#include "agent/flight.h"
#include "agent/outbox.h"

struct capture {
	const struct capture_setup *setup;
	uint64_t size, windows; /* of the disk */
	struct id *
		ids; /* of each window; written by the outbox's sender only, read between passes, and ahead of `next` */
	struct flight *flight;
	struct outbox *outbox;
	atomic_bool stop; /* one of the workers has failed */
	unsigned passes;

	pthread_mutex_t lock; /* over what follows */
	uint64_t next;	      /* first window not yet taken in this pass */
	uint64_t data_bytes;
};

/* Bytes in use in window `w`: what progress counts. */
static inline uint64_t capture_window_used(const struct capture *c, uint64_t w)
{
	return source_used(c->setup->source, w * WINDOW_SIZE, window_length(c->size, w));
}
/* Most claims that so many workers can hold at once. */
size_t capture_claims_max(unsigned workers);
/* struct crew_work, ctx: struct capture.  Takes windows until none is left; all that it took is acknowledged on return. */
int capture_worker_run(void *ctx, unsigned worker, struct err *err);
#endif
