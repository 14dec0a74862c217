/* restore_work.h - what the threads of a restore share; between restore*.c only. */
#ifndef AGENT_RESTORE_WORK_H
#define AGENT_RESTORE_WORK_H
#include <pthread.h>
#include <stdatomic.h>

#include "agent/restore.h"
#include "common/node.h"

struct restore {
	struct restore_setup setup;
	uint64_t size, windows; /* of the source */
	struct id *
		ids; /* node ids; each is written once, by who restores that window, and read after all have been */
	atomic_bool stop; /* one of the workers has failed */

	pthread_mutex_t lock; /* over what follows */
	uint64_t next;	      /* first window not yet taken */
	struct restore_counts counts;
};

/* The next windows of this pass, at most `max` and at most an even share of what is left; how many, 0 at the end. */
uint32_t restore_take(struct restore *r, uint32_t max, uint64_t *ret_first);

/* Decode the node of window `w` out of `data`; its id to *ret_id.  -EPROTO. */
int restore_decode_node(const struct restore *r, uint64_t w, const struct peer_bytes *data,
			struct node *ret, struct id *ret_id, struct err *err) MUST_CHECK;

/* struct crew_work, ctx: struct restore. */
int restore_write_run(void *ctx, unsigned worker, struct err *err);
int restore_verify_run(void *ctx, unsigned worker, struct err *err);
#endif
