#include "agent/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t end_of(const struct extent *e)
{
	return e->offset + e->length;
}

void extents_done(struct extents *e)
{
	free(e->items);
	*e = (struct extents){0};
}

/* The first that ends at `offset` or after it. */
static size_t find(const struct extents *e, uint64_t offset)
{
	size_t low = 0, high = e->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (end_of(&e->items[mid]) >= offset) {
			high = mid;
		} else {
			low = mid + 1;
		}
	}
	return low;
}

/* Replace the items from `at` to `to` (excluded) by `len` others. */
static int splice(struct extents *e, size_t at, size_t to, const struct extent *with, size_t len)
{
	size_t new_len = e->len - (to - at) + len;

	if (new_len > e->cap) {
		size_t cap = e->cap ? e->cap * 2 : 16;
		struct extent *items = reallocarray(e->items, cap, sizeof(*items));

		if (!items)
			return -ENOMEM;
		e->items = items;
		e->cap = cap;
	}
	memmove(e->items + at + len, e->items + to, (e->len - to) * sizeof(*e->items));
	if (len > 0)
		memcpy(e->items + at, with, len * sizeof(*with));
	e->len = new_len;
	return 0;
}

int extents_add(struct extents *e, uint64_t offset, uint64_t length)
{
	struct extent new = {offset, length};
	size_t at = find(e, offset), to = at;

	while (to < e->len && e->items[to].offset <= offset + length) {
		uint64_t end =
			end_of(&new) > end_of(&e->items[to]) ? end_of(&new) : end_of(&e->items[to]);

		if (e->items[to].offset < new.offset)
			new.offset = e->items[to].offset;
		new.length = end - new.offset;
		to++;
	}
	return splice(e, at, to, &new, 1);
}

int extents_remove(struct extents *e, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	size_t at = find(e, offset), to, len = 0;
	struct extent rest[2];

	if (at < e->len && end_of(&e->items[at]) == offset)
		at++; /* touches only */
	for (to = at; to < e->len && e->items[to].offset < end; to++) {
		const struct extent x = e->items[to];

		if (x.offset < offset)
			rest[len++] = (struct extent){x.offset, offset - x.offset};
		if (end_of(&x) > end)
			rest[len++] = (struct extent){end, end_of(&x) - end};
	}
	return to == at ? 0 : splice(e, at, to, rest, len);
}

size_t extents_find(const struct extents *e, uint64_t offset)
{
	return find(e, offset + 1);
}

uint64_t extents_bytes(const struct extents *e)
{
	uint64_t n = 0;

	for (size_t i = 0; i < e->len; i++)
		n += e->items[i].length;
	return n;
}
