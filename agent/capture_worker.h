/* capture_worker.h - what the threads of a capture share; between capture.c and capture_worker.c only. */
#ifndef AGENT_CAPTURE_WORKER_H
#define AGENT_CAPTURE_WORKER_H
#include <pthread.h>
#include <stdatomic.h>

#include "agent/capture.h"
#include "agent/flight.h"
#include "agent/ledger.h"
#include "agent/outbox.h"

struct capture {
	const struct capture_setup *setup;
	uint64_t size, windows; /* of the disk */
	struct ledger *ledger;	/* what the server has acknowledged */
	struct flight *flight;
	struct outbox *outbox;
	atomic_bool stop; /* one of the workers has failed */
	unsigned passes;

	pthread_mutex_t lock; /* over what follows */
	uint64_t next;	      /* first window not yet taken in this pass */
	uint64_t seen;	      /* first window not taken in any pass */
	bool is_cut_short;    /* this pass: the ledger has no room, the next one goes on */
	uint64_t data_bytes;
};

/* Bytes in use in windows: what progress counts. */
static inline uint64_t capture_used(const struct capture *c, const struct window_range *w)
{
	uint64_t offset = w->first * WINDOW_SIZE, size = w->count * WINDOW_SIZE;

	return source_used(c->setup->source, offset,
			   size < c->size - offset ? size : c->size - offset);
}
/* Most claims that so many workers can hold at once. */
size_t capture_claims_max(unsigned workers);
/* struct crew_work, ctx: struct capture.  Takes windows until none is left; all that it took is acknowledged on return. */
int capture_worker_run(void *ctx, unsigned worker, struct err *err);
#endif
