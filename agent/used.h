/* usage.h - which bytes of a disk are in use: what a capture reads.  The rest counts as zeros. */
#ifndef AGENT_USAGE_H
#define AGENT_USAGE_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/index.h"

struct usage {
	struct extent *extents; /* heap; ascending, apart, inside the disk */
	size_t len;
};

/* All of a disk of `size` bytes: the answer that is never wrong.  -ENOMEM. */
int usage_init_whole(struct usage *u, uint64_t size) MUST_CHECK;
void usage_done(struct usage *u);
/* The number of the first extent that ends after `offset`; len if there is none. */
size_t usage_find(const struct usage *u, uint64_t offset);
/* Sum of the extents. */
uint64_t usage_bytes(const struct usage *u);
#endif
