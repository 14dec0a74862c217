#include "agent/usage/runs.h"

#include <string.h>

#include "tests/unit/tap.h"

#define SPACE 4096u

static uint32_t seed = 1;

static uint32_t next(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static bool is_proper(const struct runs *r)
{
	for (size_t i = 0; i < r->len; i++) {
		if (r->items[i].length == 0 ||
		    (i > 0 &&
		     r->items[i].offset <= r->items[i - 1].offset + r->items[i - 1].length))
			return false;
	}
	return true;
}

/* Random ranges against a byte map: `unit` bytes of the disk for each of its bytes. */
static void test_model(size_t max, unsigned adds, uint64_t unit, const char *name)
{
	static uint8_t model[SPACE];
	struct runs r;
	uint64_t want = 0;
	uint64_t got;
	bool is_covered = true;
	bool is_same = true;

	memset(model, 0, sizeof(model));
	runs_init(&r, max);
	for (unsigned i = 0; i < adds; i++) {
		uint32_t offset = next(SPACE);
		uint32_t length = next(12);

		if (length > SPACE - offset)
			length = SPACE - offset;
		memset(model + offset, 1, length);
		runs_add(&r, offset * unit, length * unit);
		if (next(50) == 0)
			is_covered = is_covered && runs_cover(&r, offset * unit, length * unit);
	}
	for (uint32_t i = 0; i < SPACE; i++) {
		bool has = runs_cover(&r, i * unit, unit);

		want += model[i] * unit;
		is_covered = is_covered && (has || !model[i]);
		is_same = is_same && has == model[i];
	}
	got = runs_overlap(&r, 0, SPACE * unit);
	ok(is_covered && !r.is_failed, name);
	ok(is_proper(&r), "... ascending and apart");
	if (max >= adds) {
		ok(is_same && got == want, "... and nothing else is in it");
	} else {
		ok(r.len <= max && r.cap <= max && got >= want, "... within its memory");
	}
	ok(runs_overlap(&r, 10 * unit, 5 * unit) + runs_overlap(&r, 15 * unit, 100 * unit) ==
		   runs_overlap(&r, 10 * unit, 105 * unit),
	   "... and overlaps add up");
	runs_done(&r);
}

static void test_edges(void)
{
	struct runs r;

	runs_init(&r, 16);
	ok(!runs_cover(&r, 0, 1) && runs_cover(&r, 5, 0) && runs_overlap(&r, 0, 100) == 0,
	   "an empty set covers nothing but nothing");
	runs_add(&r, 100, 0);
	ok(r.len == 0, "nothing is not added");
	runs_add(&r, 100, 10);
	runs_add(&r, 110, 10);
	runs_add(&r, 90, 10);
	ok(runs_cover(&r, 90, 30) && r.len == 1, "neighbours are one");
	ok(!runs_cover(&r, 89, 2) && !runs_cover(&r, 119, 2), "and end where they end");
	runs_done(&r);

	runs_init(&r, 16);
	for (uint64_t i = 0; i < 1000; i++)
		runs_add(&r, i << 40, 512);
	ok(r.len <= 16 && runs_cover(&r, 999ull << 40, 512) && runs_cover(&r, 0, 512),
	   "a terabyte between runs is closed as well when there is no room");
	runs_done(&r);
}

int main(void)
{
	for (unsigned i = 0; i < 5; i++) {
		test_model(4096, 200, 1, "bytes in any order");
		test_model(4096, 2000, 4096, "blocks in any order");
		test_model(16, 500, 4096, "more runs than fit");
		test_model(100, 3000, 65536, "many more runs than fit");
	}
	test_edges();
	return done();
}
