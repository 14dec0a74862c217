/* runs.h - the set of a disk's bytes that are in use, grown in any order, in bounded memory.
 *
 * Ranges are only ever added, and a range once added stays covered.  At most `max` of them are held: when there are more, the smallest
 * gaps between them count as in use as well (first those up to 4 KiB, then 8 KiB and so on).  That costs reading, never a byte. */
#ifndef AGENT_USAGE_RUNS_H
#define AGENT_USAGE_RUNS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/index.h"

struct runs {
	struct extent *items; /* heap; ascending and apart when `is_sorted` */
	size_t len, cap, max;
	uint64_t gap; /* gaps up to this size have been closed; 0: none */
	bool is_sorted;
	bool is_failed; /* out of memory: the set is not complete and must not be used */
};

/* `max` >= 16. */
void runs_init(struct runs *r, size_t max);
void runs_done(struct runs *r);
/* `offset` + `length` must not overflow.  A failure is sticky: see is_failed. */
void runs_add(struct runs *r, uint64_t offset, uint64_t length);
/* Ascending, merged where they touch. */
void runs_sort(struct runs *r);
/* Is the whole range in the set?  Sorts first. */
bool runs_cover(struct runs *r, uint64_t offset, uint64_t length);
/* How much of the range is in the set.  Sorts first. */
uint64_t runs_overlap(struct runs *r, uint64_t offset, uint64_t length);
#endif
