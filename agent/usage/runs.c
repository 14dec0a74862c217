/* runs.c - ranges are appended, and sorted when somebody asks or the memory is full.  Readers go mostly forward, so that nearly every
 * range either extends the last one or follows it, and the sort finds nothing to do. */
#include "agent/usage/runs.h"

#include <assert.h>
#include <stdlib.h>

#define GAP_FIRST 4096u

static uint64_t end_of(const struct extent *e)
{
	return e->offset + e->length;
}

void runs_init(struct runs *r, size_t max)
{
	*r = (struct runs){.max = max, .is_sorted = true};
}

void runs_done(struct runs *r)
{
	free(r->items);
	*r = (struct runs){0};
}

static int compare(const void *a, const void *b)
{
	const struct extent *x = a;
	const struct extent *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Sorted items: make one of neighbours that overlap, touch or are up to `gap` bytes apart. */
static void merge(struct runs *r, uint64_t gap)
{
	size_t to = 0;

	for (size_t i = 0; i < r->len; i++) {
		struct extent *last = to > 0 ? &r->items[to - 1] : NULL;

		if (last && r->items[i].offset <= end_of(last) + gap) {
			if (end_of(&r->items[i]) > end_of(last))
				last->length = end_of(&r->items[i]) - last->offset;
		} else {
			r->items[to++] = r->items[i];
		}
	}
	r->len = to;
}

void runs_sort(struct runs *r)
{
	if (r->is_sorted || !r->items)
		return;
	qsort(r->items, r->len, sizeof(*r->items), compare);
	merge(r, r->gap);
	r->is_sorted = true;
}

/* Full: fewer than three quarters may remain, so that this is not done again at once. */
static void shrink(struct runs *r)
{
	runs_sort(r);
	while (r->len > r->max / 4 * 3) {
		r->gap = r->gap ? r->gap * 2 : GAP_FIRST;
		merge(r, r->gap);
	}
}

static bool grow(struct runs *r)
{
	size_t cap = r->cap ? r->cap * 2 : 64;
	struct extent *items;

	if (r->len < r->cap)
		return true;
	if (r->len >= r->max) {
		shrink(r);
		return true;
	}
	if (cap > r->max)
		cap = r->max;
	items = reallocarray(r->items, cap, sizeof(*items));
	if (!items) {
		r->is_failed = true;
		return false;
	}
	r->items = items;
	r->cap = cap;
	return true;
}

void runs_add(struct runs *r, uint64_t offset, uint64_t length)
{
	struct extent *last = r->len > 0 ? &r->items[r->len - 1] : NULL;

	if (length == 0 || r->is_failed)
		return;
	if (last && offset >= last->offset && offset <= end_of(last) + r->gap) {
		if (offset + length > end_of(last))
			last->length = offset + length - last->offset;
		return;
	}
	if (!grow(r))
		return;
	assert(r->items);
	if (r->len > 0 && offset < end_of(&r->items[r->len - 1]))
		r->is_sorted = false;
	r->items[r->len++] = (struct extent){offset, length};
}

/* The first that ends after `offset`. */
static size_t find(const struct runs *r, uint64_t offset)
{
	size_t low = 0;
	size_t high = r->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (end_of(&r->items[mid]) > offset) {
			high = mid;
		} else {
			low = mid + 1;
		}
	}
	return low;
}

bool runs_cover(struct runs *r, uint64_t offset, uint64_t length)
{
	size_t i;

	if (length == 0)
		return true;
	runs_sort(r);
	i = find(r, offset);
	return i < r->len && r->items[i].offset <= offset &&
	       end_of(&r->items[i]) - offset >= length;
}

uint64_t runs_overlap(struct runs *r, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;
	uint64_t sum = 0;

	runs_sort(r);
	for (size_t i = find(r, offset); i < r->len && r->items[i].offset < end; i++) {
		uint64_t from = r->items[i].offset > offset ? r->items[i].offset : offset;
		uint64_t to = end_of(&r->items[i]) < end ? end_of(&r->items[i]) : end;

		sum += to - from;
	}
	return sum;
}
