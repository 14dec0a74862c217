/* fuzz_usage.h - the body of all fuzz_usage_X: map the disks that the input describes (tests/lib/image.h), and check what can be checked of any
 * answer.  The targets differ in their corpora: each begins with what one reader understands. */
#ifndef TESTS_FUZZ_FUZZ_USAGE_H
#define TESTS_FUZZ_FUZZ_USAGE_H
#include <stdlib.h>

#include "agent/usage/runs.h"
#include "agent/usage/usage.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/image.h"

static inline void fuzz_usage_check(const struct usage_map *m)
{
	uint64_t end = 0;
	uint64_t sum = 0;

	for (size_t i = 0; i < m->extents_len; i++) {
		const struct extent *e = &m->extents[i];

		if (e->length == 0 || e->offset > m->size || e->length > m->size - e->offset ||
		    (i > 0 && e->offset <= end))
			abort();
		end = e->offset + e->length;
		sum += e->length;
	}
	if (sum != m->copied)
		abort();
	for (size_t i = 0; i < m->partitions_len; i++) {
		const struct usage_part *p = &m->partitions[i];
		uint64_t left = p->offset < m->size ? m->size - p->offset : 0;

		if (p->how == USAGE_RAW && p->copied != (p->size < left ? p->size : left))
			abort();
	}
}

/* A replay that says nothing but the first sector is in use. */
static inline int fuzz_usage_replay(void *ctx, const struct usage_unclean *u, struct runs *ret,
				    struct err *err)
{
	uint64_t sum = 0;

	(void)ctx;
	(void)err;
	for (size_t i = 0; i < u->pieces_len; i++) {
		const struct usage_piece *p = &u->pieces[i];

		if (p->length == 0 || p->offset > blk_size(p->disk) ||
		    p->length > blk_size(p->disk) - p->offset)
			abort();
		sum += p->length;
	}
	if (sum != u->size || u->pieces_len > USAGE_PIECES_MAX)
		abort();
	runs_add(ret, 0, u->sector_size);
	return 0;
}

static inline int fuzz_usage(const uint8_t *data, size_t size)
{
	const struct usage_options options[] = {
		{NULL, NULL, false}, {fuzz_usage_replay, NULL, false}, {NULL, NULL, true}};
	struct blk *disks[IMAGE_DISKS_MAX];
	struct usage_map maps[IMAGE_DISKS_MAX];
	size_t len = image_decode(data, size, disks);
	struct err err;

	for (size_t n = 0; len > 0 && n < sizeof(options) / sizeof(options[0]); n++) {
		if (usage_map_with(disks, len, &options[n], maps, &err) < 0)
			abort();
		for (size_t i = 0; i < len; i++) {
			fuzz_usage_check(&maps[i]);
			usage_map_done(&maps[i]);
		}
	}
	for (size_t i = 0; i < len; i++)
		blk_free(disks[i]);
	return 0;
}
#endif
