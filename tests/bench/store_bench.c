/* store_bench.c - what the store costs on one's own data: store-bench FILE FOLDER
 *
 * FILE (a disk image, a tar, up to 2 GiB of it) is cut and packed as an agent does, in memory; then each of the store's operations is
 * timed in FOLDER, which must not be there yet.  CPU-s/GiB are per GiB of plain chunks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/node.h"
#include "common/root.h"
#include "server/store/internal.h"

#define WINDOWS_MAX 512u

struct packed {
	struct id id;
	uint8_t *data;
	size_t size;
};

struct bench {
	struct store *s;
	struct packed *packs;
	size_t packs_len;
	struct id *chunks;
	uint32_t *lengths;
	size_t chunks_len;
	struct id *nodes;
	size_t nodes_len;
	uint64_t plain, size;
	double wall, cpu, thread;
};

static void die(const char *what, const struct err *err)
{
	(void)fprintf(stderr, "store-bench: %s: %s\n", what, err->msg);
	exit(1); /* NOLINT(concurrency-mt-unsafe) */
}

static double seconds(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec * 1e-6;
}

static void look_at_clock(double *ret_wall, double *ret_cpu)
{
	struct timespec t;
	struct rusage u;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	(void)getrusage(RUSAGE_SELF, &u);
	*ret_wall = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
	*ret_cpu = seconds(&u.ru_utime) + seconds(&u.ru_stime);
}

static double thread_cpu(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void start(struct bench *b)
{
	b->thread = thread_cpu();
	look_at_clock(&b->wall, &b->cpu);
}

static void stop(struct bench *b, const char *what)
{
	double wall, cpu, gib = (double)b->plain / (1u << 30);

	look_at_clock(&wall, &cpu);
	printf("%-28s %7.3f s %7.3f cpu-s %7.3f cpu-s/GiB (%.3f in the calling thread) %7.0f MiB/s\n",
	       what, wall - b->wall, cpu - b->cpu, (cpu - b->cpu) / gib,
	       (thread_cpu() - b->thread) / gib, (double)b->plain / (1u << 20) / (wall - b->wall));
}

static void add_pack(struct bench *b, struct pack_builder *builder, struct codec_ctx *ctx)
{
	const uint8_t *data;
	struct packed p = {0};
	struct err err;

	if (pack_builder_count(builder) == 0)
		return;
	if (pack_builder_encode(builder, ctx, CODEC_ZSTD, 1, &data, &p.size, &p.id, &err) < 0)
		die("encode", &err);
	p.data = malloc(p.size);
	memcpy(p.data, data, p.size);
	b->packs = reallocarray(b->packs, b->packs_len + 1, sizeof(*b->packs));
	b->packs[b->packs_len++] = p;
	b->size += p.size;
	pack_builder_reset(builder);
}

struct packing {
	struct bench *b;
	struct pack_builder *chunks, *nodes;
	struct codec_ctx *ctx;
	struct node *node;
};

static void add_window(struct packing *p, const uint8_t *data)
{
	struct bench *b = p->b;
	uint8_t encoded[NODE_SIZE_MAX];
	uint32_t size;

	node_cut(data, WINDOW_SIZE, p->node);
	for (uint32_t i = 0; i < p->node->count; i++) {
		const struct node_entry *e = &p->node->entries[i];

		if (!e->is_chunk)
			continue;
		b->chunks[b->chunks_len] = e->id;
		b->lengths[b->chunks_len++] = e->length;
		b->plain += e->length;
		if (!pack_builder_add(p->chunks, &e->id, data + e->offset, e->length)) {
			add_pack(b, p->chunks, p->ctx);
			if (!pack_builder_add(p->chunks, &e->id, data + e->offset, e->length))
				abort();
		}
	}
	size = (uint32_t)node_encode(p->node, encoded);
	b->nodes[b->nodes_len] = id_of(encoded, size);
	if (!pack_builder_add(p->nodes, &b->nodes[b->nodes_len++], encoded, size))
		abort();
}

static void load(struct bench *b, const char *path)
{
	struct packing p = {.b = b};
	uint8_t *data = malloc(WINDOW_SIZE);
	FILE *f = fopen(path, "re");

	if (!f) {
		perror(path);
		exit(1); /* NOLINT(concurrency-mt-unsafe) */
	}
	b->chunks = calloc((size_t)WINDOWS_MAX * NODE_ENTRIES_MAX, sizeof(*b->chunks));
	b->lengths = calloc((size_t)WINDOWS_MAX * NODE_ENTRIES_MAX, sizeof(*b->lengths));
	b->nodes = calloc(WINDOWS_MAX, sizeof(*b->nodes));
	p.chunks = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_AIM);
	p.nodes = pack_builder_new(PACK_NODES, PACK_PLAIN_MAX);
	p.ctx = codec_ctx_new();
	p.node = malloc(sizeof(*p.node));
	while (b->nodes_len < WINDOWS_MAX && fread(data, WINDOW_SIZE, 1, f) == 1)
		add_window(&p, data);
	add_pack(b, p.chunks, p.ctx);
	add_pack(b, p.nodes, p.ctx);
	pack_builder_free(p.chunks);
	pack_builder_free(p.nodes);
	codec_ctx_free(p.ctx);
	free(p.node);
	free(data);
	(void)fclose(f);
	printf("%zu windows, %zu chunks, %zu packs, %.0f MiB plain, %.0f MiB packed\n",
	       b->nodes_len, b->chunks_len, b->packs_len, (double)b->plain / (1u << 20),
	       (double)b->size / (1u << 20));
}

static void put_all(struct bench *b)
{
	struct err err;

	for (size_t i = 0; i < b->packs_len; i++) {
		if (store_put_pack(b->s, &b->packs[i].id, b->packs[i].data, b->packs[i].size,
				   &err) < 0)
			die("put", &err);
	}
}

static int count_pack(void *arg, const void *pack, size_t size, struct err *err)
{
	(void)pack;
	(void)err;
	*(uint64_t *)arg += size;
	return 0;
}

/* In requests of up to 16 MiB, leaving out every `skip`th chunk (0: none). */
static uint64_t get_all(struct bench *b, size_t skip)
{
	struct id *ids = calloc(b->chunks_len, sizeof(*ids));
	uint64_t plain = 0, total = 0;
	size_t n = 0;
	struct err err;

	for (size_t i = 0; i < b->chunks_len; i++) {
		if (skip == 0 || i % skip != 0) {
			plain += b->lengths[i];
			ids[n++] = b->chunks[i];
		}
		if (plain < CHUNKS_PLAIN_MAX - CHUNK_MAX && i + 1 < b->chunks_len)
			continue;
		if (store_get_chunks(b->s, ids, n, count_pack, &total, &err) < 0)
			die("get", &err);
		n = 0;
		plain = 0;
	}
	free(ids);
	return total;
}

static int lack_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* 1,000 ids at a time, at random, half of which are there. */
static void time_lacks(struct bench *b, const char *what)
{
	struct id ids[1000];
	uint8_t bits[125];
	double times[200], cpu, wall, before;
	uint64_t seed = 1;
	struct err err;

	for (size_t n = 0; n < 200; n++) {
		for (size_t i = 0; i < 1000; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			ids[i] = b->chunks[(seed >> 20) % b->chunks_len];
			if (i % 2)
				ids[i] = id_of(&seed, sizeof(seed));
		}
		look_at_clock(&before, &cpu);
		if (store_lacks(b->s, PACK_CHUNKS, ids, 1000, bits, &err) < 0)
			die("lack", &err);
		look_at_clock(&wall, &cpu);
		times[n] = wall - before;
	}
	qsort(times, 200, sizeof(*times), lack_compare);
	printf("%-28s median %.2f ms, 99 %% %.2f ms\n", what, times[100] * 1e3, times[198] * 1e3);
}

static void open_store(struct bench *b, const char *dir, bool rebuild)
{
	struct err err;

	if (store_open(dir, rebuild, &b->s, &err) < 0)
		die("open", &err);
}

static void time_verify(struct bench *b)
{
	const struct index_info info = {
		.geometry = {(uint64_t)b->nodes_len * WINDOW_SIZE, 512, 512}};
	struct seal_result result;
	struct root_hash h;
	struct partial *p;
	uint64_t damaged;
	char *text;
	struct id root;
	struct err err;

	root_init(&h, &info.geometry);
	if (partial_open(b->s, "bench.0", info.geometry.size, &p, &err) < 0)
		die("partial", &err);
	start(b);
	for (size_t i = 0; i < b->nodes_len; i++) {
		root_add(&h, &b->nodes[i]);
		if (partial_set_one(p, i, &b->nodes[i], &err) < 0)
			die("set", &err);
	}
	stop(b, "partial_set, all windows");
	root = root_final(&h, NULL, 0);
	start(b);
	if (partial_seal(p, &info, &root, &result, &err) < 0)
		die("seal", &err);
	stop(b, "seal");
	partial_close(p);
	start(b);
	if (store_verify(b->s, &root, NULL, NULL, &damaged, &text, &err) < 0 || damaged > 0)
		die("verify", &err);
	stop(b, "verify");
}

int main(int argc, char **argv)
{
	struct bench b = {0};
	struct err err;

	if (argc != 3) {
		(void)fprintf(stderr, "Usage: store-bench FILE FOLDER\n");
		return 2;
	}
	load(&b, argv[1]);
	open_store(&b, argv[2], false);
	start(&b);
	put_all(&b);
	stop(&b, "put_pack");
	start(&b);
	if (store_checkpoint(b.s, &err) < 0)
		die("checkpoint", &err);
	stop(&b, "the last checkpoint");
	start(&b);
	put_all(&b);
	stop(&b, "put_pack, all there already");
	time_lacks(&b, "1000 ids, in objects.db");
	start(&b);
	(void)get_all(&b, 0);
	stop(&b, "get_chunks, whole packs");
	start(&b);
	(void)get_all(&b, 10);
	stop(&b, "get_chunks, 9 of 10");
	time_verify(&b);
	store_close(b.s);
	start(&b);
	open_store(&b, argv[2], true);
	stop(&b, "open and rebuild");
	time_lacks(&b, "1000 ids, after that");
	store_close(b.s);
	return 0;
}
