/* extents.h - a growing list of extents of a disk, kept ascending, apart and merged where they touch.  Not locked. */
#ifndef AGENT_EXTENTS_H
#define AGENT_EXTENTS_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/index.h"

struct extents {
	struct extent *items; /* heap */
	size_t len, cap;
};

void extents_done(struct extents *e);
/* -ENOMEM. */
int extents_add(struct extents *e, uint64_t offset, uint64_t length) MUST_CHECK;
/* What lies in the range is taken out; an extent across its edge is cut.  -ENOMEM. */
int extents_remove(struct extents *e, uint64_t offset, uint64_t length) MUST_CHECK;
/* The number of the first extent that ends after `offset`; len if there is none. */
size_t extents_find(const struct extents *e, uint64_t offset);
uint64_t extents_bytes(const struct extents *e);
#endif
