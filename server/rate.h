/* rate.h - how many of something in a time: of one source, and of all.  Pure. */
#ifndef SERVER_RATE_H
#define SERVER_RATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_SOURCES 256u

struct bucket {
	uint64_t ms;	/* when last filled */
	uint64_t micro; /* millionths that are left */
};

struct rate_limits {
	uint32_t burst, per_ks;		/* of one source: at once, and in 1,000 s */
	uint32_t all_burst, all_per_ks; /* of all */
};

struct rate {
	struct rate_limits limits;
	struct bucket all;
	struct {
		uint8_t addr[16];
		struct bucket b;
	} sources[RATE_SOURCES];
	size_t len;
};

/* One at `now_ms` out of a bucket alone, which is full when it is {0}?  If so it counts. */
bool bucket_take(struct bucket *b, uint32_t burst, uint32_t per_ks, uint64_t now_ms);
void rate_init(struct rate *r, const struct rate_limits *limits, uint64_t now_ms);
/* May `addr` (IPv4 as IPv4-mapped, or another key of 16 bytes) have one at `now_ms`?  If so it counts. */
bool rate_allow(struct rate *r, const uint8_t addr[static 16], uint64_t now_ms);
/* It is not to count. */
void rate_refund(struct rate *r, const uint8_t addr[static 16]);
#endif
