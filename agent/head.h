/* head.h - a target whose first bytes come last: until all else of it is right, a marker stands in their place.
 *
 * HEAD_SIZE bytes are held back, in memory.  Firmware needs the first two sectors of a disk: a boot sector, an MBR, the first header of a GPT.  A guest's kernel, or a
 * host that looks around, needs none of them: it mounts a whole disk by its superblock.  Most of these begin in the first 8 KiB (XFS, ext, NTFS, F2FS, LUKS, LVM, bcache,
 * bcachefs and MD at 4 KiB), those of ReiserFS, OCFS2 and UFS1 at 8, of ISO 9660, UDF and JFS at 32, and of btrfs, GFS2, ReiserFS and UFS2 at 64 KiB, where the largest is
 * 4 KiB; a swap's signature ends the first page, of 64 KiB at most; ZFS has its first list of members from 16 to 112 KiB.  So it is 128 KiB.  What lies behind that, or
 * at the end (ZFS's other labels, MD 0.90 and 1.0), nothing at the beginning can hide: RAIDs know their members by an event count, ZFS by sums over all.
 *
 * No state on a disk depends on HEAD_SIZE: who goes on with a marked target takes as many zeros for its beginning as he holds back himself, marks it anew, and compares
 * all the rest, so that one left by an agent that held back less (8 KiB) is hidden then, and one left by this agent is understood by such a one.
 *
 * The states of a target, and what a power cut leaves of each step from one to the next:
 *
 *	as ordered   content with the ordered fingerprint; the server knows that the job is about to begin (`begun`)
 *	| head_mark: the marker (one sector, flushed), then zeros behind it, flushed
 *	marked       the marker's sector, or what was before; never a part of it.  Behind it anything
 *	| the restore: windows, flushed, read again; the fix-up of a GPT: all through head_blk
 *	marked       whatever was written by then, and the marker
 *	| head_place: what belongs behind the marker's sector, flushed and read again
 *	marked       likewise
 *	| head_release: the first sector, flushed and read again past the cache
 *	whole        the marker's sector, or the true one
 *
 * So at any moment a disk that this job has begun is marked, or as ordered, or whole; and a whole one is not written to again, since the system on it may have been
 * started since: head_forbid.  Unless it was compared and is the image, in each byte, while others of the job are not: then it is marked again, its first bytes being
 * known, and is released with them: head_allow.  (A sector is written whole or not at all; where a disk tears it nonetheless, its next sectors being equal in both
 * states, a mixed first one is neither, and the job ends with target_changed.) */
#ifndef AGENT_HEAD_H
#define AGENT_HEAD_H
#include "agent/marker.h"
#include "common/blk.h"

#define HEAD_SIZE (128u << 10)

struct head;

/* Reads what there is.  `target` (BLK_WRITE) is not owned; `size`: bytes of it that are the image's, none behind them are touched. */
int head_new(struct blk *target, uint64_t size, const struct marker *m, struct head **ret,
	     struct err *err) MUST_CHECK;
void head_free(struct head *h);
static inline void head_freep(struct head **h)
{
	head_free(*h);
}

/* The target as it is to be: its first bytes are in memory, all else on the disk.  Those of a disk that was not marked are what it held, else zeros. */
struct blk *head_blk(struct head *h);
/* Has it this very marker? */
bool head_is_marked(const struct head *h);
/* Nothing is to be written to it: from now on that is -ESTALE, as are the steps below. */
void head_forbid(struct head *h);
/* It may be written to after all: for one that was compared and is the image. */
void head_allow(struct head *h);

/* Idempotent. */
int head_mark(struct head *h, struct err *err) MUST_CHECK;
/* After head_mark; all but the first sector. */
int head_place(struct head *h, struct err *err) MUST_CHECK;
/* After head_place.  -EIO also when the disk does not hold what was written; then, as far as the disk lets us, it is marked again. */
int head_release(struct head *h, struct err *err) MUST_CHECK;
#endif
