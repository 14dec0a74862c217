/* source.h - reading a disk that is to be captured: only what is in use.
 *
 * What is not in use reads as zeros, and is not read but for short gaps.  A place that cannot be read is only reported here: what can be saved
 * around it is for later (rescue.h), when all else has been captured.  Thread-safe. */
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

	pthread_mutex_t serial_lock; /* held by who reads, if is_serial */
	pthread_mutex_t lock;	     /* over all below */
	struct extents unreadable;   /* in use, given up, zeros in the image: by rescue.c */
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

/* Some place in the range cannot be read. */
#define SOURCE_SICK 1

/* `ring` is the calling thread's, or NULL: several reads are in flight at once by it, in the order of the disk.  Without one, and where it
 * does not work, one after the other.
 *
 * Fill `buf` (aligned to BLK_DIRECT_ALIGN) with the disk's bytes.  SOURCE_SICK: `buf` is of no use, and `err` says what cannot be read and why.
 * An error is not about a place, but one that nothing helps:
 *   -ENODEV, -ENXIO, -ENOMEDIUM: the device is gone;  -ENOMEM;  -ERANGE, -EINVAL and the like: our own mistake
 * *ret_start_ms, always: when the disk was asked, by clock_ms; before it others were waited for. */
int source_read(struct source *s, struct ring *ring, void *buf, uint64_t offset, uint32_t size,
		uint64_t *ret_start_ms, struct err *err) MUST_CHECK;

/* For rescue.c: whole logical sectors, past the page cache if that can be.  0, SOURCE_SICK or an error, as above. */
int source_read_sectors(struct source *s, void *buf, uint64_t offset, uint32_t size,
			struct err *err) MUST_CHECK;
/* Zero what of `buf` is not in use. */
void source_zero_free(const struct source *s, uint8_t *buf, uint64_t offset, uint32_t size);
/* What of the range is in use goes on the list of the unreadable: nobody misses the rest.  -ENOMEM; -EFBIG: too many places to be listed. */
int source_give_up(struct source *s, uint64_t offset, uint64_t size, struct err *err) MUST_CHECK;
#endif
