/* restore.h - one disk from the server: compare, fetch, write, read again; docs/protocol.md "Restore".
 *
 * The target has been checked and opened for writing.  Only the first bytes up to the source's size are touched.  Nothing is trusted but the
 * root of the order: chunks and nodes are hashed as they come, the node ids make the root, and the target is read again past the
 * page cache and compared with them. */
#ifndef AGENT_RESTORE_H
#define AGENT_RESTORE_H
#include <stdbool.h>
#include <stdint.h>

#include "agent/job.h"
#include "agent/peer.h"
#include "common/blk.h"
#include "common/message.h"

/* What one worker needs at most: for whoever divides the memory. */
#define RESTORE_WORKER_MEMORY (13u << 20)

struct restore_setup {
	struct job *job;
	uint32_t disk;			/* its place in the order */
	const struct order_disk *order; /* what to restore; outlives the restore */
	struct blk *target;	   /* not owned; BLK_WRITE; -ESTALE of writing: target_changed */
	bool is_serial;		   /* one transfer at a time: a disk whose head has to move */
	struct peer *const *peers; /* one a worker; outlive the restore */
	unsigned workers;
};

/* Bytes of the target; they add up to the source's size when restore_write has succeeded. */
struct restore_counts {
	uint64_t kept; /* held the right bytes already */
	uint64_t written;
	uint64_t zeroed;
	uint64_t fetched; /* plain bytes of chunks from the server */
};

struct restore;

/* Errors from here on have a code in the job. -ENOSPC: the target is too small. */
int restore_new(const struct restore_setup *setup, struct restore **ret,
		struct err *err) MUST_CHECK;
void restore_free(struct restore *r);
static inline void restore_freep(struct restore **r)
{
	restore_free(*r);
}
/* Make the target hold what the image does, and check that the image is the one ordered.  On return all is on stable storage.
 * Stopped or failed at any point it may be done again, and then writes only what is still different. */
int restore_write(struct restore *r, struct restore_counts *ret, struct err *err) MUST_CHECK;
/* After restore_write: read all of it again from the medium and compare.  -EBADMSG (verify_failed) with the place.
 * *ret_root is the root that the nodes of what was read make, with the source's geometry and what is missing of it: the order's, or it fails. */
int restore_verify(struct restore *r, struct id *ret_root, struct err *err) MUST_CHECK;
/* Bytes of the target, by both. */
uint64_t restore_bytes_read(const struct restore *r);
#endif
