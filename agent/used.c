#include "agent/used.h"

#include <errno.h>
#include <stdlib.h>

int used_init_whole(struct used *u, uint64_t size)
{
	*u = (struct used){calloc(1, sizeof(*u->extents)), 1};
	if (!u->extents)
		return -ENOMEM;
	u->extents[0] = (struct extent){0, size};
	return 0;
}

void used_take(struct used *u, struct extent *take_extents, size_t len)
{
	*u = (struct used){take_extents, len};
}

void used_done(struct used *u)
{
	free(u->extents);
	*u = (struct used){0};
}

size_t used_find(const struct used *u, uint64_t offset)
{
	size_t low = 0, high = u->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (u->extents[mid].offset + u->extents[mid].length > offset) {
			high = mid;
		} else {
			low = mid + 1;
		}
	}
	return low;
}

uint64_t used_bytes(const struct used *u)
{
	uint64_t n = 0;

	for (size_t i = 0; i < u->len; i++)
		n += u->extents[i].length;
	return n;
}

uint64_t used_within(const struct used *u, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size, n = 0;

	for (size_t i = used_find(u, offset); i < u->len && u->extents[i].offset < end; i++) {
		uint64_t from = u->extents[i].offset, to = from + u->extents[i].length;

		n += (to < end ? to : end) - (from > offset ? from : offset);
	}
	return n;
}
