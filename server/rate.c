/* Token buckets.  The table of sources is bounded: the one unheard for longest gives its place, so that somebody who forges many
 * sources gets a fresh bucket for each; the bucket of all holds then. */
#include "server/rate.h"

#include <string.h>

#define MICRO 1000000ull

/* A millisecond at N in 1,000 s is N millionths. */
static void fill(struct bucket *b, uint32_t burst, uint32_t per_ks, uint64_t now_ms)
{
	uint64_t add = 0;

	if (now_ms > b->ms && __builtin_mul_overflow(now_ms - b->ms, per_ks, &add))
		add = UINT64_MAX;
	b->micro = add > burst * MICRO - b->micro ? burst * MICRO : b->micro + add;
	b->ms = now_ms;
}

bool bucket_take(struct bucket *b, uint32_t burst, uint32_t per_ks, uint64_t now_ms)
{
	if (b->ms == 0)
		b->micro = burst * MICRO;
	fill(b, burst, per_ks, now_ms);
	if (b->micro < MICRO)
		return false;
	b->micro -= MICRO;
	return true;
}

void rate_init(struct rate *r, const struct rate_limits *limits, uint64_t now_ms)
{
	*r = (struct rate){.limits = *limits,
			   .all = {.ms = now_ms, .micro = limits->all_burst * MICRO}};
}

static struct bucket *bucket_of(struct rate *r, const uint8_t *addr, uint64_t now_ms)
{
	size_t oldest = 0;

	for (size_t i = 0; i < r->len; i++) {
		if (memcmp(r->sources[i].addr, addr, 16) == 0)
			return &r->sources[i].b;
		if (r->sources[i].b.ms < r->sources[oldest].b.ms)
			oldest = i;
	}
	if (r->len < RATE_SOURCES)
		oldest = r->len++;
	memcpy(r->sources[oldest].addr, addr, 16);
	r->sources[oldest].b = (struct bucket){now_ms, r->limits.burst * MICRO};
	return &r->sources[oldest].b;
}

bool rate_allow(struct rate *r, const uint8_t addr[static 16], uint64_t now_ms)
{
	struct bucket *b = bucket_of(r, addr, now_ms);

	fill(b, r->limits.burst, r->limits.per_ks, now_ms);
	fill(&r->all, r->limits.all_burst, r->limits.all_per_ks, now_ms);
	if (b->micro < MICRO || r->all.micro < MICRO)
		return false;
	b->micro -= MICRO;
	r->all.micro -= MICRO;
	return true;
}

void rate_refund(struct rate *r, const uint8_t addr[static 16])
{
	for (size_t i = 0; i < r->len; i++) {
		if (memcmp(r->sources[i].addr, addr, 16) == 0 &&
		    r->sources[i].b.micro <= (r->limits.burst - 1) * MICRO)
			r->sources[i].b.micro += MICRO;
	}
	if (r->all.micro <= (r->limits.all_burst - 1) * MICRO)
		r->all.micro += MICRO;
}
