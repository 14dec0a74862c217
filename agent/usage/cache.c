/* cache.c - CACHE_SETS sets of CACHE_WAYS lines; the least recently used line of a set gives way. */
#include "agent/usage/cache.h"

#include <string.h>

#include "common/blk.h"

#define CACHE_SETS 16u
#define CACHE_WAYS 4u

struct line {
	const struct blk *blk; /* NULL: empty */
	uint64_t number;       /* offset / CACHE_LINE */
	uint64_t used;	       /* when, by the cache's clock */
	uint8_t *data;
};

struct cache {
	uint64_t clock;
	struct line lines[CACHE_SETS][CACHE_WAYS];
	uint8_t *memory;
};

struct cache *cache_new(void)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->memory = aligned_alloc(BLK_DIRECT_ALIGN, (size_t)CACHE_SETS * CACHE_WAYS * CACHE_LINE);
	if (!c->memory) {
		free(c);
		return NULL;
	}
	for (size_t i = 0; i < (size_t)CACHE_SETS * CACHE_WAYS; i++)
		c->lines[i / CACHE_WAYS][i % CACHE_WAYS].data = c->memory + i * CACHE_LINE;
	return c;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	free(c->memory);
	free(c);
}

/* The line with those bytes, read if need be; NULL when they cannot be read. */
static const struct line *get_line(struct cache *c, struct blk *b, uint64_t number)
{
	struct line *set = c->lines[number % CACHE_SETS];
	struct line *oldest = &set[0];
	uint64_t offset = number * CACHE_LINE;
	uint64_t left = blk_size(b) - offset;
	struct err err;

	for (size_t i = 0; i < CACHE_WAYS; i++) {
		if (set[i].blk == b && set[i].number == number) {
			set[i].used = ++c->clock;
			return &set[i];
		}
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	*oldest = (struct line){.data = oldest->data};
	if (blk_read(b, oldest->data, left < CACHE_LINE ? (size_t)left : CACHE_LINE, offset, &err) <
	    0)
		return NULL;
	oldest->blk = b;
	oldest->number = number;
	oldest->used = ++c->clock;
	return oldest;
}

int cache_read(struct cache *c, struct blk *b, void *buf, size_t size, uint64_t offset,
	       struct err *err)
{
	uint8_t *to = buf;

	if (size >= CACHE_LINE || offset > blk_size(b) || size > blk_size(b) - offset)
		return blk_read(b, buf, size, offset, err);
	while (size > 0) {
		size_t at = offset % CACHE_LINE;
		size_t n = size < CACHE_LINE - at ? size : CACHE_LINE - at;
		const struct line *line = get_line(c, b, offset / CACHE_LINE);
		int r = 0;

		if (line) {
			memcpy(to, line->data + at, n);
		} else {
			r = blk_read(b, to, n, offset, err);
		}
		if (r < 0)
			return r;
		to += n;
		size -= n;
		offset += n;
	}
	return 0;
}
