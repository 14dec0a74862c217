#include "tests/lib/rig.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"

uint64_t rig_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static void fill_block(uint8_t *p, size_t size, unsigned kind, uint64_t seed)
{
	uint64_t x = kind == 2 ? seed % 7 + 1 : seed | 1; /* kind 2: one of seven */

	for (size_t i = 0; i < size; i += 8) {
		uint64_t v = rig_random(&x);

		memcpy(p + i, kind == 1 ? "to be or" : (const char *)&v,
		       size - i < 8 ? size - i : 8);
	}
	if (kind == 1)
		p[seed % size] = (uint8_t)seed | 1;
}

uint8_t *rig_make_disk(uint64_t size, uint64_t seed)
{
	uint8_t *disk = calloc(1, size ? size : 1);
	uint64_t x = seed * 2 + 1, at = 0;

	assert(disk);
	while (at < size) {
		unsigned kind = (unsigned)(rig_random(&x) >> 60) % 4; /* 3: zeros */
		uint64_t run = 1 + (rig_random(&x) >> 40) % 100;

		for (; run > 0 && at < size; run--) {
			size_t n = size - at < BLOCK_SIZE ? (size_t)(size - at) : BLOCK_SIZE;
			uint64_t s = rig_random(&x);

			if (kind != 3)
				fill_block(disk + at, n, kind, s);
			at += n;
		}
	}
	return disk;
}

void rig_init(struct rig *g, struct sink *sink, struct blk *blk, unsigned workers)
{
	memset(g, 0, sizeof(*g));
	job_init(&g->job, "0123456789abcdef");
	assert(used_init_whole(&g->used, blk_size(blk)) == 0);
	source_init(&g->source, blk, &g->used, false);
	g->workers = workers;
	g->codec = CODEC_ZSTD;
	g->level = 1;
	rescue_options_init(&g->rescue);
	g->rescue.windows = 3;
	g->peers_len = workers + capture_senders(workers);
	for (unsigned i = 0; i < g->peers_len; i++)
		g->peers[i] = sink_peer(sink);
	job_set_peers(&g->job, g->peers, g->peers_len);
}

int rig_capture(struct rig *g)
{
	struct level level;
	struct capture_setup setup = {
		.job = &g->job,
		.source = &g->source,
		.peers = g->peers,
		.workers = g->workers,
		.codec = g->codec,
		.level = &level,
		.rescue = g->rescue,
	};
	int r;

	level_init(&level, g->codec, g->level, LEVEL_AUTO_MAX);
	r = capture_disk(&setup, &g->result, &g->err);
	level_done(&level);
	job_get_code(&g->job, g->code);
	return r;
}

void rig_done(struct rig *g)
{
	job_set_peers(&g->job, NULL, 0);
	for (unsigned i = 0; i < g->peers_len; i++)
		peer_free(g->peers[i]);
	source_done(&g->source);
	used_done(&g->used);
	job_done(&g->job);
}
