/* restore_work.h - what the threads of a restore share; between restore*.c only. */
#ifndef AGENT_RESTORE_WORK_H
#define AGENT_RESTORE_WORK_H
#include <pthread.h>
#include <stdatomic.h>

#include "agent/ledger.h"
#include "agent/restore.h"
#include "common/bytes.h"
#include "common/node.h"

/* The nodes that come next, in disk order, as the server sent them; whoever finds them used up asks for more. */
struct restore_plan {
	pthread_mutex_t lock; /* over all; held while asking */
	uint8_t *bytes;	      /* WIRE_NODES_MAX: an answer */
	struct reader in;     /* what of it was not looked at */
	uint64_t next;	      /* first window not yet taken */
	uint32_t left;	      /* windows that have `node` and were not taken */
	struct peer_bytes node;
};

struct restore {
	struct restore_setup setup;
	uint64_t size, windows; /* of the source */
	struct ledger *written; /* the image's node ids, as the server sent them */
	struct ledger *read;	/* what the target was found to hold; while it is verified */
	struct restore_plan plan;
	atomic_bool stop;		  /* one of the workers has failed */
	atomic_uint_least64_t bytes_read; /* of the target */
	pthread_mutex_t target_lock;	  /* restore_begin_io */

	pthread_mutex_t lock; /* over what follows */
	uint64_t next;	      /* of verification: first window not yet taken */
	struct restore_counts counts;
};

/* Windows that one worker restores at once: one, or several that are zeros on both sides, known without reading. */
struct restore_piece {
	struct window_range windows;
	bool is_done;  /* they are such */
	uint8_t *node; /* NODE_SIZE_MAX; the caller's */
	size_t node_size;
};

/* The next ones, nodes fetched through `peer` if need be.  1; 0 when all are taken. */
int restore_take(struct restore *r, struct peer *peer, struct restore_piece *ret,
		 struct err *err) MUST_CHECK;

/* Around transfers from or to the target; while one waits for its turn, its time is the disk's. */
void restore_begin_io(struct restore *r, struct meter_clock *clock);
void restore_end_io(struct restore *r, struct meter_clock *clock);

/* The whole windows from `first` on, at most `max` and not past its group, that are holes of the target. */
uint64_t restore_holes(const struct restore *r, uint64_t first, uint64_t max);

/* Decode the node of window `w` out of `data`; its id to *ret_id.  -EPROTO. */
int restore_decode_node(const struct restore *r, uint64_t w, const struct peer_bytes *data,
			struct node *ret, struct id *ret_id, struct err *err) MUST_CHECK;

/* struct crew_work, ctx: struct restore. */
int restore_write_run(void *ctx, unsigned worker, struct err *err);
int restore_verify_run(void *ctx, unsigned worker, struct err *err);
#endif
