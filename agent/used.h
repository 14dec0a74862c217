/* used.h - which bytes of a disk are in use: what a capture reads.  The rest counts as zeros. */
#ifndef AGENT_USED_H
#define AGENT_USED_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/index.h"

struct used {
	struct extent *extents; /* heap; ascending, apart, inside the disk */
	size_t len;
};

/* All of a disk of `size` bytes: the answer that is never wrong.  -ENOMEM. */
int used_init_whole(struct used *u, uint64_t size) MUST_CHECK;
/* What a map says (usage.h): its extents, heap, are taken. */
void used_take(struct used *u, struct extent *take_extents, size_t len);
void used_done(struct used *u);
/* The number of the first extent that ends after `offset`; len if there is none. */
size_t used_find(const struct used *u, uint64_t offset);
/* Sum of the extents. */
uint64_t used_bytes(const struct used *u);
/* The same of the range alone; offset + size does not overflow. */
uint64_t used_within(const struct used *u, uint64_t offset, uint64_t size);
#endif
