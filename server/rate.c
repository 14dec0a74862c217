/* Token buckets.  The table of sources is bounded: the one unheard for longest gives its place, so that somebody who forges many
 * sources gets a fresh bucket for each; the bucket of all holds then. */
#include "server/rate.h"

#include <string.h>

static void fill(struct bucket *b, uint32_t burst, uint32_t per_s, uint64_t now_ms)
{
	uint64_t add = now_ms > b->ms ? (now_ms - b->ms) * per_s : 0;

	b->milli = add > burst * 1000ull - b->milli ? burst * 1000 : b->milli + (uint32_t)add;
	b->ms = now_ms;
}

void rate_init(struct rate *r, uint64_t now_ms)
{
	*r = (struct rate){.burst = 4,
			   .per_s = 2,
			   .all_burst = 200,
			   .all_per_s = 100,
			   .all = {.ms = now_ms, .milli = 200000}};
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
	r->sources[oldest].b = (struct bucket){now_ms, r->burst * 1000};
	return &r->sources[oldest].b;
}

bool rate_allow(struct rate *r, const uint8_t addr[static 16], uint64_t now_ms)
{
	struct bucket *b = bucket_of(r, addr, now_ms);

	fill(b, r->burst, r->per_s, now_ms);
	fill(&r->all, r->all_burst, r->all_per_s, now_ms);
	if (b->milli < 1000 || r->all.milli < 1000)
		return false;
	b->milli -= 1000;
	r->all.milli -= 1000;
	return true;
}
