/* What a server sends while a disk is restored: nodes and packs, honest ones that the input changes, or the input itself.  Whatever comes:
 * a restore that succeeds has made the image; behind the image's end nothing is touched.
 *
 * The input: what the target holds (1), then what is done to each answer, see bend(); what follows is honest. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/restore.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/lib/rig.h"

#define SIZE (44u * BLOCK_SIZE + 512u) /* one short window: a whole one costs milliseconds */
#define MORE 8192u
#define MARK 0xa5

static struct sink *sink;
static uint8_t *image;
static struct order_disk order;

/* A sink's peer and what becomes of its answers. */
struct liar {
	struct peer peer;
	struct peer *honest;
	struct reader in;
	uint8_t *answer; /* heap */
};

static struct liar *liar_of(struct peer *p)
{
	return (struct liar *)p;
}

static void keep(struct liar *l, const void *data, size_t size, struct peer_bytes *ret)
{
	uint8_t *copy = malloc(size ? size : 1); /* no byte more: the sanitizer sees the end */

	assert(copy);
	if (size > 0)
		memcpy(copy, data, size);
	free(l->answer);
	l->answer = copy;
	*ret = (struct peer_bytes){copy, size};
}

static int bend(struct liar *l, struct peer_bytes *a, struct err *err)
{
	static const int codes[] = {-EPROTO, -ESTALE, -EBADMSG, -EREMOTEIO, -ECANCELED, -ENOMEM};
	uint8_t op = reader_u8(&l->in), value = reader_u8(&l->in);
	uint32_t at = reader_u32(&l->in);

	keep(l, a->data, a->size, a);
	if (l->in.bad || a->size == 0)
		return 0;
	switch (op % 6) {
	case 1:
		l->answer[at % a->size] ^= value;
		return 0;
	case 2:
		a->size = at % a->size;
		return 0;
	case 3: { /* the input itself */
		size_t n = at % (l->in.left + 1);

		keep(l, reader_bytes(&l->in, n), n, a);
		return 0;
	}
	case 4:
		return err_set(err, codes[value % (sizeof(codes) / sizeof(codes[0]))], "as told");
	case 5: { /* twice */
		uint8_t *twice = malloc(2 * a->size);

		assert(twice);
		memcpy(twice, a->data, a->size);
		memcpy(twice + a->size, a->data, a->size);
		keep(l, twice, 2 * a->size, a);
		free(twice);
		return 0;
	}
	default:
		return 0;
	}
}

static int liar_nodes(struct peer *p, uint32_t disk, uint64_t first, uint32_t count,
		      struct peer_bytes *ret, struct err *err)
{
	struct liar *l = liar_of(p);
	int r = l->honest->ops->get_nodes(l->honest, disk, first, count, ret, err);

	return r < 0 ? r : bend(l, ret, err);
}

static int liar_chunks(struct peer *p, uint32_t disk, const struct peer_chunk *w, size_t len,
		       size_t answer_max, struct peer_bytes *ret, struct err *err)
{
	struct liar *l = liar_of(p);
	int r = l->honest->ops->get_chunks(l->honest, disk, w, len, answer_max, ret, err);

	if (r == 0)
		r = bend(l, ret, err);
	if (r == 0 && ret->size > answer_max) /* peer.h */
		r = err_set(err, -EPROTO, "too long");
	return r;
}

static void liar_interrupt(struct peer *p)
{
	(void)p;
}

static const struct peer_ops liar_ops = {
	.get_nodes = liar_nodes, .get_chunks = liar_chunks, .interrupt = liar_interrupt};

static void begin(void)
{
	uint8_t *disk = calloc(1, SIZE);
	struct blk *b;
	struct rig g;

	image = calloc(1, SIZE);
	assert(disk && image);
	for (uint32_t i = 0; i < 30 * BLOCK_SIZE; i++) /* compressible, then not */
		image[BLOCK_SIZE + i] = i < 15 * BLOCK_SIZE ? (uint8_t)(i >> 9)
							    : (uint8_t)(i * i >> 7 ^ i * 2654435u);
	memset(image + SIZE - 3 * BLOCK_SIZE, 0x77, 3 * BLOCK_SIZE);
	memcpy(disk, image, SIZE);
	b = blk_new_memory(disk, SIZE, 512);
	sink = sink_new();
	assert(b && sink);
	sink_add_disk(sink, 0, SIZE);
	rig_init(&g, sink, b, 1);
	assert(rig_capture(&g) == 0);
	order = (struct order_disk){.source_disk = "wwn:x",
				    .source = {SIZE, 512, 512},
				    .root = g.result.root,
				    .data_bytes = g.result.data_bytes};
	rig_done(&g);
	blk_free(b);
}

/* 0: nothing, 1: the image, 2: all ones, 3: the image with a fault. */
static void fill(uint8_t *disk, unsigned kind)
{
	if (kind & 1)
		memcpy(disk, image, SIZE);
	if (kind == 2)
		memset(disk, 0xff, SIZE);
	if (kind == 3)
		disk[BLOCK_SIZE + 77] ^= 1;
	memset(disk + SIZE, MARK, MORE);
}

static void check(struct blk *target, bool is_restored)
{
	CLEANUP_FREE uint8_t *got = malloc(SIZE + MORE);
	struct err err;

	if (!got || blk_read(target, got, SIZE + MORE, 0, &err) < 0)
		abort();
	if (is_restored && memcmp(got, image, SIZE) != 0)
		abort();
	for (uint32_t i = 0; i < MORE; i++) {
		if (got[SIZE + i] != MARK)
			abort();
	}
}

static bool run(struct liar *l, struct blk *target)
{
	struct peer *peers[] = {&l->peer};
	struct restore_counts counts;
	struct restore *x = NULL;
	struct id root;
	struct job job;
	struct restore_setup setup = {
		.job = &job, .order = &order, .target = target, .peers = peers, .workers = 1};
	struct err err;
	int r;

	job_init(&job, "0123456789abcdef");
	r = restore_new(&setup, &x, &err);
	if (r == 0)
		r = restore_write(x, &counts, &err);
	if (r == 0)
		r = restore_verify(x, &root, &err);
	restore_free(x);
	job_done(&job);
	return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct liar l = {.peer = {.ops = &liar_ops}};
	uint8_t *disk = calloc(1, SIZE + MORE);
	struct blk *target;

	if (!image)
		begin();
	assert(disk);
	reader_init(&l.in, data, size);
	fill(disk, reader_u8(&l.in) & 3);
	target = blk_new_memory(disk, SIZE + MORE, 512);
	l.honest = sink_peer(sink);
	assert(target && l.honest);
	check(target, run(&l, target));
	peer_free(l.honest);
	blk_free(target);
	free(l.answer);
	return 0;
}
