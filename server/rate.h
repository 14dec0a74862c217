/* rate.h - how many answers a second: to one address, and to all.  Pure. */
#ifndef SERVER_RATE_H
#define SERVER_RATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_SOURCES 256u

struct bucket {
	uint64_t ms;	/* when last filled */
	uint32_t milli; /* thousandths of answers that are left */
};

/* Zeroed, then rate_init. */
struct rate {
	uint32_t burst, per_s;	       /* of one source */
	uint32_t all_burst, all_per_s; /* of all */
	struct bucket all;
	struct {
		uint8_t addr[16];
		struct bucket b;
	} sources[RATE_SOURCES];
	size_t len;
};

void rate_init(struct rate *r, uint64_t now_ms);
/* May `addr` (IPv4 as IPv4-mapped) be answered at `now_ms`?  If so it counts. */
bool rate_allow(struct rate *r, const uint8_t addr[static 16], uint64_t now_ms);
#endif
