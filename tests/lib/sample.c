#include "tests/lib/sample.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/node.h"
#include "common/root.h"

const struct sample_shape sample_small = {
	.windows = 6,
	.chunks_per_window = 5,
	.chunk_size = 8192,
	.chunks_per_pack = 4,
	.nodes_per_pack = 3,
};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Half noise, half text-like: it compresses to about half. */
void sample_chunk(uint64_t seed, const struct sample_shape *shape, uint32_t i, uint8_t *buf)
{
	bool is_shared =
		i < shape->shared || (shape->shared_every != 0 && i % shape->shared_every == 0);
	uint64_t state = (is_shared ? 0 : seed * 1000003) + i;

	for (uint32_t at = 0; at < shape->chunk_size; at += 8) {
		uint64_t v = next_random(&state);

		if (at % 64 >= 32)
			v &= 0x0101010101010101ull;
		memcpy(buf + at, &v, 8);
	}
}

struct sample_pack sample_pack(enum pack_kind kind, const uint8_t *const *data,
			       const uint32_t *sizes, uint32_t count, enum codec codec)
{
	struct pack_builder *b = need(pack_builder_new(kind, PACK_PLAIN_MAX));
	struct codec_ctx *ctx = need(codec_ctx_new());
	struct sample_pack p = {.kind = kind, .count = count};
	const uint8_t *bytes;
	struct err err;

	p.ids = need(calloc(count, sizeof(*p.ids)));
	for (uint32_t i = 0; i < count; i++) {
		p.ids[i] = id_of(data[i], sizes[i]);
		if (!pack_builder_add(b, &p.ids[i], data[i], sizes[i]))
			abort();
	}
	if (pack_builder_encode(b, ctx, codec, 1, &bytes, &p.size, &p.id, &err) < 0)
		abort();
	p.data = need(malloc(p.size));
	memcpy(p.data, bytes, p.size);
	codec_ctx_free(ctx);
	pack_builder_free(b);
	return p;
}

void sample_pack_done(struct sample_pack *p)
{
	free(p->data);
	free(p->ids);
}

/* Packs of up to `per_pack` objects of one size each (nodes: their own). */
static void add_packs(struct sample *s, const struct sample_shape *shape, enum pack_kind kind,
		      uint8_t **objects, const uint32_t *sizes, uint32_t count)
{
	uint32_t per_pack = kind == PACK_CHUNKS ? shape->chunks_per_pack : shape->nodes_per_pack;

	for (uint32_t i = 0; i < count; i += per_pack) {
		uint32_t n = count - i < per_pack ? count - i : per_pack;

		s->packs = need(reallocarray(s->packs, s->packs_len + 1, sizeof(*s->packs)));
		s->packs[s->packs_len++] =
			sample_pack(kind, (const uint8_t *const *)objects + i, sizes + i, n,
				    shape->is_stored ? CODEC_STORED : CODEC_ZSTD);
	}
}

static void make_node(const struct sample *s, const struct sample_shape *shape, uint32_t window,
		      struct node *n)
{
	uint32_t used = shape->chunks_per_window * shape->chunk_size;

	*n = (struct node){.length = WINDOW_SIZE, .count = shape->chunks_per_window};
	for (uint32_t i = 0; i < shape->chunks_per_window; i++) {
		n->entries[i] = (struct node_entry){
			.id = s->chunks[window * shape->chunks_per_window + i],
			.offset = i * shape->chunk_size,
			.length = shape->chunk_size,
			.is_chunk = true,
		};
	}
	if (used < WINDOW_SIZE) {
		n->entries[n->count++] =
			(struct node_entry){.offset = used, .length = WINDOW_SIZE - used};
	}
}

static void add_chunks(struct sample *s, uint64_t seed, const struct sample_shape *shape)
{
	uint32_t n = s->chunks_len;
	uint8_t **data = need(calloc(n, sizeof(*data)));
	uint32_t *sizes = need(calloc(n, sizeof(*sizes)));

	for (uint32_t i = 0; i < n; i++) {
		data[i] = need(malloc(shape->chunk_size));
		sample_chunk(seed, shape, i, data[i]);
		sizes[i] = shape->chunk_size;
		s->chunks[i] = id_of(data[i], shape->chunk_size);
	}
	add_packs(s, shape, PACK_CHUNKS, data, sizes, n);
	s->chunk_packs = s->packs_len;
	for (uint32_t i = 0; i < n; i++)
		free(data[i]);
	free(data);
	free(sizes);
}

static void add_nodes(struct sample *s, const struct sample_shape *shape)
{
	uint8_t **data = need(calloc(s->windows, sizeof(*data)));
	uint32_t *sizes = need(calloc(s->windows, sizeof(*sizes)));
	struct node *n = need(malloc(sizeof(*n)));

	for (uint32_t w = 0; w < s->windows; w++) {
		make_node(s, shape, w, n);
		data[w] = need(malloc(NODE_SIZE_MAX));
		sizes[w] = (uint32_t)node_encode(n, data[w]);
		s->nodes[w] = id_of(data[w], sizes[w]);
	}
	add_packs(s, shape, PACK_NODES, data, sizes, s->windows);
	for (uint32_t w = 0; w < s->windows; w++)
		free(data[w]);
	free(data);
	free(sizes);
	free(n);
}

struct sample *sample_new(uint64_t seed, const struct sample_shape *shape)
{
	struct sample *s = need(calloc(1, sizeof(*s)));
	struct root_hash h;

	s->windows = shape->windows;
	s->geometry = (struct geometry){(uint64_t)shape->windows * WINDOW_SIZE, 512, 512};
	s->chunks_len = shape->windows * shape->chunks_per_window;
	s->data_bytes = (uint64_t)s->chunks_len * shape->chunk_size;
	s->chunks = need(calloc(s->chunks_len, sizeof(*s->chunks)));
	s->nodes = need(calloc(s->windows, sizeof(*s->nodes)));
	add_chunks(s, seed, shape);
	add_nodes(s, shape);
	root_init(&h, &s->geometry);
	for (uint32_t w = 0; w < s->windows; w++)
		root_add(&h, &s->nodes[w]);
	s->root = root_final(&h, NULL, 0);
	return s;
}

void sample_free(struct sample *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->packs_len; i++)
		sample_pack_done(&s->packs[i]);
	free(s->packs);
	free(s->chunks);
	free(s->nodes);
	free(s);
}

/* ---- folders */

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

void tree_remove(const char *path)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else changes folders */
	if (access(path, F_OK) == 0 && nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0)
		abort();
}

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	FILE *in = need(fopen(from, "re")), *out = need(fopen(to, "we"));
	size_t n;

	while ((n = fread(buf, 1, sizeof(buf), in)) > 0)
		if (fwrite(buf, 1, n, out) != n)
			abort();
	if (ferror(in) || fclose(out) != 0 || fclose(in) != 0)
		abort();
}

void tree_copy(const char *from, const char *to)
{
	DIR *d = need(opendir(from));
	struct dirent *e;

	if (mkdir(to, 0700) != 0)
		abort();
	while ((e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): one thread */
		char a[4096], b[4096];
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(a, sizeof(a), "%s/%s", from, e->d_name);
		(void)snprintf(b, sizeof(b), "%s/%s", to, e->d_name);
		if (lstat(a, &st) != 0)
			abort();
		if (S_ISDIR(st.st_mode))
			tree_copy(a, b);
		else
			copy_file(a, b);
	}
	(void)closedir(d);
}
