/* cache.h - what was read of the disks lately, for readers that ask for little at a time.
 * Reads go to the disk in aligned pieces of CACHE_LINE bytes, so that small reads side by side cost one.  Not locked. */
#ifndef AGENT_USAGE_CACHE_H
#define AGENT_USAGE_CACHE_H
#include "common/blk.h"

#define CACHE_LINE (64u << 10)

struct cache;

/* NULL when out of memory.  About 4 MiB. */
struct cache *cache_new(void) MUST_CHECK;
void cache_free(struct cache *c);
/* As blk_read.  A piece that cannot be read whole is no obstacle when the bytes asked for can be. */
int cache_read(struct cache *c, struct blk *b, void *buf, size_t size, uint64_t offset,
	       struct err *err) MUST_CHECK;
#endif
