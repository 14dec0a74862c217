/* capture_worker.h - what the threads of a capture share; between capture.c, capture_worker.c and capture_sender.c only. */
#ifndef AGENT_CAPTURE_WORKER_H
#define AGENT_CAPTURE_WORKER_H
#include <pthread.h>
#include <stdatomic.h>

#include "agent/capture.h"
#include "agent/flight.h"
#include "agent/ledger.h"
#include "agent/outbox.h"
#include "agent/parcels.h"

/* Plain bytes of a pack, and what it is at most when it is encoded. */
#define CAPTURE_PACK_MAX   (PACK_PLAIN_AIM + PACK_PLAIN_AIM / 2 + CHUNK_MAX)
#define CAPTURE_PARCEL_MAX (PACK_HEADER + PARCEL_IDS_MAX * PACK_ENTRY + CAPTURE_PACK_MAX)
#include "agent/rescue.h"

struct capture {
	const struct capture_setup *setup;
	struct geometry geometry;
	uint64_t size, windows; /* of the disk */
	struct ledger *ledger;	/* what the server has acknowledged */
	struct flight *flight;
	struct outbox *outbox;
	struct parcels *parcels;
	struct rescue *rescue; /* windows that are put off */
	atomic_bool stop;      /* one of the threads has failed */
	unsigned passes;
	struct id root; /* when all is acknowledged */

	pthread_mutex_t lock; /* over what follows */
	uint64_t next;	   /* first window not yet taken in this pass; backwards: first one taken */
	uint64_t seen;	   /* first window not taken in any pass */
	bool is_cut_short; /* this pass: the ledger has no room, the next one goes on */
	bool has_leapt;	   /* windows of this pass were left for another one */
	bool is_backward;  /* this pass: from the end of each gap to the first window that fails */
	struct extents gaps; /* what a backward pass is about */
	size_t gaps_left;
	struct extents
		owed; /* windows below `seen`, as bytes of the disk, not in data_bytes: put off or leapt over */
	uint64_t data_bytes;
};

/* Bytes in use in windows: what progress counts. */
static inline uint64_t capture_used(const struct capture *c, const struct window_range *w)
{
	uint64_t offset = w->first * WINDOW_SIZE, size = w->count * WINDOW_SIZE;

	return source_used(c->setup->source, offset,
			   size < c->size - offset ? size : c->size - offset);
}
/* The next windows not acknowledged and not put off; count 0: none in this pass.  c->lock is held. */
struct window_range capture_next(struct capture *c);
/* Is this window not in data_bytes yet?  It is to be now.  c->lock is held; -ENOMEM. */
int capture_is_first(struct capture *c, uint64_t w);
/* Windows from the last capture_next were taken.  c->lock is held. */
void capture_taken(struct capture *c, const struct window_range *w);
/* What became of a window that was tried. */
struct outcome {
	uint64_t window;
	bool is_put_off;
	bool is_owed;  /* it is not in data_bytes */
	uint64_t leap; /* so many more had better be left for another pass */
};
int capture_tried(struct capture *c, const struct outcome *o, struct err *err) MUST_CHECK;
/* Most claims that so many workers, and so many parcels, can hold at once. */
size_t capture_claims_max(unsigned workers, unsigned parcels);
/* struct crew_work, ctx: struct capture.  Takes windows until none is left; all that it took is acknowledged on return. */
int capture_worker_run(void *ctx, unsigned worker, struct err *err);
/* Sends parcels, by this sender's own connection, until they are closed. */
int capture_sender_run(struct capture *c, unsigned sender, struct err *err) MUST_CHECK;
#endif
