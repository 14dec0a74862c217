/* Logical volumes whose text names more bytes than can be counted: a group of which a disk is missing may say so, since nothing of that disk contradicts.
 * With the largest extents (2^40 bytes) 2^24 of them are one too many. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/usage/lvm_group.h"
#include "agent/usage/lvm_text.h"
#include "tests/unit/tap.h"

#define MOST ((1u << 24) - 1)

/* Of a volume of two segments: where they begin in it and what they have, in extents.  The result of lvm_add_volume, and the volume's size. */
static int add(const uint32_t starts[2], const uint32_t extents[2], uint64_t *ret_size)
{
	struct lvm_member member = {.extents = UINT32_MAX};
	struct scan s = {.places = NULL};
	struct lvm_group g = {.s = &s,
			      .name = "vg",
			      .extent_size = 1ull << 40,
			      .sector_size = 512,
			      .members = &member,
			      .members_len = 1};
	struct lvm_text t = {0};
	struct err err = {0};
	char text[1024];
	int r, n = snprintf(text, sizeof(text),
			    "pv0 {\n}\nlv {\nstatus = [\"READ\", \"VISIBLE\"]\n");

	for (unsigned i = 0; i < 2; i++) {
		if (extents[i] > 0) {
			n += snprintf(
				text + n, sizeof(text) - (size_t)n,
				"segment%u {\ntype = \"striped\"\nstart_extent = %u\n"
				"extent_count = %u\nstripe_count = 1\nstripes = [\"pv0\", 0]\n}\n",
				i + 1, starts[i], extents[i]);
		}
	}
	n += snprintf(text + n, sizeof(text) - (size_t)n, "}\n");
	if (lvm_text_parse(text, (size_t)n, &t, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	g.t = &t;
	member.node = lvm_get(&t, &t.nodes[0], "pv0", LVM_SECTION);
	r = lvm_add_volume(&g, lvm_get(&t, &t.nodes[0], "lv", LVM_SECTION), &err);
	printf("# %d %s\n", r, err.msg);
	*ret_size = s.places_len > 0 ? volume_size(s.places[0]->volume) : 0;
	for (size_t i = 0; i < s.places_len; i++) {
		volume_free(s.places[i]->volume);
		free(s.places[i]);
	}
	free(s.places);
	free(g.claims);
	lvm_text_done(&t);
	return r;
}

static bool is_doubted(uint32_t start, uint32_t extents, uint32_t second)
{
	uint64_t size;

	return add((const uint32_t[]){start, extents}, (const uint32_t[]){extents, second},
		   &size) == -EUCLEAN;
}

int main(void)
{
	uint64_t size;

	ok(add((const uint32_t[]){0, 0}, (const uint32_t[]){MOST, 0}, &size) == 0 &&
		   size == (uint64_t)MOST << 40,
	   "as much as can be counted");
	ok(is_doubted(0, MOST + 1, 0), "one more is no volume of no bytes");
	ok(is_doubted(0, UINT32_MAX, 0), "nor is much more");
	ok(add((const uint32_t[]){0, MOST - 1}, (const uint32_t[]){MOST - 1, 1}, &size) == 0 &&
		   size == (uint64_t)MOST << 40,
	   "the same in two segments");
	ok(is_doubted(0, MOST, 1), "one more");
	ok(is_doubted(MOST + 1, 1, 0),
	   "a segment that begins behind all bytes does not begin at 0");
	return done();
}
