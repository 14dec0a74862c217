/* source.h - reading a disk that is to be captured: only what is in use, and whatever can be read of it.
 *
 * What is not in use reads as zeros, and is not read but for short gaps.  What cannot be read is tried again in smaller pieces down to a
 * sector, then reads as zeros and is written down, if it is in use; how much time goes into that is limited.  Thread-safe. */
#ifndef AGENT_SOURCE_H
#define AGENT_SOURCE_H
#include <pthread.h>
#include <stdint.h>

#include "agent/extents.h"
#include "agent/ring.h"
#include "agent/used.h"
#include "common/blk.h"

struct source {
	struct blk *blk;	 /* not owned */
	const struct used *used; /* not owned */
	bool may_ring;		 /* io_uring may be used: true unless somebody says otherwise */
	/* Read it from one place at a time: a disk whose head has to move. */
	bool is_serial;
	uint64_t gap_size; /* free places up to this size between used ones are read through */
	/* How long to try on unreadable places of one read and of the whole disk, before larger pieces are given up at once. */
	uint64_t patience_ms, patience_total_ms;

	pthread_mutex_t serial_lock; /* held by who reads, if is_serial */
	pthread_mutex_t lock;	     /* over all below */
	struct extents unreadable;
	uint64_t patience_used_ms;
	uint64_t bytes_read;
	uint64_t bytes_ring; /* of these, by io_uring */
	uint64_t errors;     /* reads that failed */
};

void source_init(struct source *s, struct blk *blk, const struct used *used, bool is_serial);
void source_done(struct source *s);

/* How many bytes of the range are in use; of none nothing would be read. */
static inline uint64_t source_used(const struct source *s, uint64_t offset, uint64_t size)
{
	return used_within(s->used, offset, size);
}

/* From `offset` up to there, at most up to `end`, all is zeros that need no reading: not in use, or holes of a sparse file. */
uint64_t source_empty_end(const struct source *s, uint64_t offset, uint64_t end);

/* `ring` is the calling thread's, or NULL: several reads are in flight at once by it, in the order of the disk.  Without one, and where it
 * does not work, one after the other.
 *
 * Fill `buf` (aligned to BLK_DIRECT_ALIGN) with the disk's bytes.  Unreadable places found there before are forgotten first, so that the list
 * always tells of the last reading.  An error is not about a bad place, but one that no patience helps:
 *   -ENODEV, -ENXIO, -ENOMEDIUM: the device is gone;  -ENOMEM;  -EFBIG: too many unreadable places to be listed;
 *   -ERANGE, -EINVAL and the like: our own mistake */
int source_read(struct source *s, struct ring *ring, void *buf, uint64_t offset, uint32_t size,
		struct err *err) MUST_CHECK;
#endif
