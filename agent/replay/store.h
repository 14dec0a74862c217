/* store.h - a block device in memory that only takes what is written to it: a loop device over a file without a name.
 *
 * Unlike zram and brd it needs no module that a rescue system might lack, has a size, and goes with its descriptors. */
#ifndef AGENT_REPLAY_STORE_H
#define AGENT_REPLAY_STORE_H
#include "agent/replay/sys.h"

struct store {
	const struct replay_sys *sys;
	int file, loop; /* -1: none */
	unsigned major, minor;
};

/* How much memory a copy of `size` bytes may take at most: the share of what is free, or `max` if that is not 0 and less.  -ENOMEM when
 * it is less than REPLAY_MEMORY_MIN. */
int store_limit(const struct replay_sys *sys, uint64_t size, uint64_t max, uint64_t *ret,
		struct err *err) MUST_CHECK;
/* `size` is a multiple of 4096. */
int store_init(struct store *s, const struct replay_sys *sys, uint64_t size,
	       struct err *err) MUST_CHECK;
void store_done(struct store *s);
#endif
