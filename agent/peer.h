/* peer.h - the server as a job sees it: the seam between the engine and the network.  One struct peer per worker; one thread at a
 * time calls it, save for `interrupt`.
 *
 * An implementation repeats for ever what may succeed later (no connection, a busy server).  So what an operation returns is final:
 *   -ECANCELED  interrupted: the job has stopped
 *   -ESTALE     the server says that something which was acknowledged, or which it has to have first, is not there (`incomplete`)
 *   -EBADMSG    what it was asked for is damaged in its store (`store_damaged`)
 *   -EPROTO     it said something that the protocol does not allow
 *   -ENOMEM
 *   -EREMOTEIO  it refused for good: its sentence in err, its code in `code`
 */
#ifndef AGENT_PEER_H
#define AGENT_PEER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "agent/meter.h"
#include "common/err.h"
#include "common/id.h"
#include "common/index.h"
#include "common/pack.h"

/* A window and one of its chunks. */
struct peer_chunk {
	uint64_t window;
	struct id id;
};

/* Windows in a row that all have this node. */
struct peer_run {
	struct window_range windows; /* count: at most WINDOWS_RUN_MAX */
	struct id node;
};

/* What is known of a disk when all its windows were sent. */
struct peer_finish {
	struct geometry geometry;
	struct id root;
	const struct extent *unreadable;
	size_t unreadable_len;
};

/* What the server says to that. */
struct peer_finished {
	struct window_range *missing; /* heap; inside the disk, ascending, apart */
	size_t missing_len;	      /* 0: sealed */
};

/* Bytes of the peer, valid until its next operation. */
struct peer_bytes {
	const uint8_t *data;
	size_t size;
};

struct peer;

struct peer_ops {
	/* capture */
	/* One bit an id, least significant first: 1 = the server lacks it.  1 to LACK_IDS_MAX ids. */
	int (*lack)(struct peer *p, enum pack_kind kind, const struct id *ids, size_t len,
		    uint8_t *ret_bits, struct err *err);
	int (*put_pack)(struct peer *p, const struct id *pack_id, const void *data, size_t size,
			struct err *err);
	/* 1 to WINDOWS_PUT_MAX */
	int (*put_windows)(struct peer *p, uint32_t disk, const struct peer_run *w, size_t len,
			   struct err *err);
	int (*finish)(struct peer *p, uint32_t disk, const struct peer_finish *f,
		      struct peer_finished *ret, struct err *err);
	/* restore */
	/* (count (4), size (4), node) … of the first of `count` (1 to NODES_ASK_MAX) windows: one at least, perhaps not all. */
	int (*get_nodes)(struct peer *p, uint32_t disk, uint64_t first, uint32_t count,
			 struct peer_bytes *ret, struct err *err);
	/* (size (4), pack) …; an answer longer than `answer_max` is -EPROTO. */
	int (*get_chunks)(struct peer *p, uint32_t disk, const struct peer_chunk *w, size_t len,
			  size_t answer_max, struct peer_bytes *ret, struct err *err);
	/* On return the server knows that these targets are about to be written, or made startable, and the job was not cancelled. */
	int (*begin)(struct peer *p, const uint32_t *disks, size_t len, struct err *err);
	int (*release)(struct peer *p, const uint32_t *disks, size_t len, struct err *err);
	/* both */
	/* From any thread: let the operation under way, and all later ones, return -ECANCELED soon. */
	void (*interrupt)(struct peer *p);
	void (*close)(struct peer *p);
};

/* An implementation embeds it as its first member. */
struct peer {
	const struct peer_ops *ops;
	struct meter_clock *clock; /* whose time it takes: its worker's, or NULL */
	char code[32];		   /* of the last -EREMOTEIO */
};

static inline void peer_free(struct peer *p)
{
	if (p)
		p->ops->close(p);
}
static inline void peer_finished_done(struct peer_finished *f)
{
	free(f->missing);
	f->missing = NULL;
	f->missing_len = 0;
}

struct job;
/* Name the code that a failed operation is to be reported with (job_blame).  Returns r. */
int peer_blame(const struct peer *p, struct job *job, int r);
#endif
