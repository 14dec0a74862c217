/* outbox.h - the nodes and windows of one disk on their way to the server.
 *
 * Workers put in windows whose chunks the server has.  From time to time one of them sends what has gathered: the nodes as one pack, then
 * the windows that refer to them.  One sends at a time, so that no window overtakes its node; meanwhile the others fill the other half.
 * Thread-safe. */
#ifndef AGENT_OUTBOX_H
#define AGENT_OUTBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/peer.h"
#include "common/codec.h"

struct outbox;

struct outbox_ops {
	/* The server has acknowledged these windows with this node. */
	void (*acknowledged)(void *ctx, const struct peer_run *w);
	/* Something that had been acknowledged is gone (-ESTALE): these were not taken.  Nothing may be taken for known. */
	void (*refused)(void *ctx, const struct peer_run *w, size_t len);
	void *ctx;
};

/* For disk `disk` of the job.  NULL: out of memory. */
struct outbox *outbox_new(uint32_t disk, enum codec codec, const struct outbox_ops *ops) MUST_CHECK;
void outbox_free(struct outbox *o);
static inline void outbox_freep(struct outbox **o)
{
	outbox_free(*o);
}

/* Is this node known to be at the server, or sent before a window put in now? */
bool outbox_has_node(struct outbox *o, const struct id *node);
/* The server said that it has it. */
void outbox_know_node(struct outbox *o, const struct id *node);
void outbox_forget(struct outbox *o);

/* Put in windows.  `node` (size > 0) is its node's encoding, or NULL when outbox_has_node said so or the server did.  Sends by `peer` and
 * `codec` when it is time to. */
int outbox_put(struct outbox *o, struct peer *peer, struct codec_ctx *ctx, const struct peer_run *w,
	       const struct peer_bytes *node, struct err *err) MUST_CHECK;
/* Send what is there. */
int outbox_flush(struct outbox *o, struct peer *peer, struct codec_ctx *ctx,
		 struct err *err) MUST_CHECK;
/* Bytes of packs sent. */
uint64_t outbox_sent(struct outbox *o);
#endif
