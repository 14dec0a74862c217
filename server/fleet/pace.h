/* pace.h - how fast, and how long yet: from what was reported in the last half minute.  Pure. */
#ifndef SERVER_FLEET_PACE_H
#define SERVER_FLEET_PACE_H
#include <stddef.h>
#include <stdint.h>

#define PACE_SAMPLES   32u
#define PACE_WINDOW_MS 30000u

struct pace {
	struct {
		uint64_t ms, done;
	} samples[PACE_SAMPLES]; /* a ring */
	size_t len, next;
};

void pace_reset(struct pace *p);
/* `done` bytes at `ms`.  A number lower than the last one starts anew. */
void pace_add(struct pace *p, uint64_t ms, uint64_t done);
/* Bytes a second over the window that ends at `now_ms`; 0 while it cannot be told. */
uint64_t pace_rate(const struct pace *p, uint64_t now_ms);
/* Seconds for `left` bytes at `rate`; -1 when it cannot be told. */
int64_t pace_eta(uint64_t left, uint64_t rate);
#endif
