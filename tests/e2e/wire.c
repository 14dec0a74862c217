/* wire.c - what an agent would send and make of answers, as files: the program `wire` of the server's tests, which talk to it with curl.
 *
 *	wire cut DISK DIR		DIR/packs/N.KIND.ID in the order in which they may be sent, DIR/{chunks,nodes}.ids,
 *					DIR/windows, DIR/root
 *	wire want NODES FIRST OUT	of an answer to `nodes`: the body that asks for all chunks of them
 *	wire join NODES CHUNKS OUT	disk from answers to `nodes` (all windows) and `chunks`; every id is hashed again
 *	wire plain PACK...		what the packs hold, decoded and hashed, to standard output
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/index.h"
#include "common/node.h"
#include "common/pack.h"
#include "common/root.h"

#define SECTOR 512u

static void __attribute__((noreturn)) die(const char *what, const struct err *err)
{
	fprintf(stderr, "wire: %s%s%s\n", what, err ? ": " : "", err ? err->msg : "");
	exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

static uint8_t *read_file(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "re");
	uint8_t *buf;
	long size;

	if (!f || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0)
		die(path, NULL);
	rewind(f);
	buf = malloc((size_t)size + 1);
	if (!buf || fread(buf, 1, (size_t)size, f) != (size_t)size)
		die(path, NULL);
	(void)fclose(f);
	*ret_size = (size_t)size;
	return buf;
}

static FILE *open_out(const char *dir, const char *name)
{
	char path[4096];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s%s%s", dir, *name ? "/" : "", name);
	f = fopen(path, "we");
	if (!f)
		die(path, NULL);
	return f;
}

static void put(FILE *f, const void *data, size_t size)
{
	if (fwrite(data, 1, size, f) != size)
		die("write", NULL);
}

static void close_out(FILE *f)
{
	if (fclose(f) != 0)
		die("write", NULL);
}

/* ---- cut */

struct cutter {
	const char *dir;
	struct codec_ctx *ctx;
	struct pack_builder *chunks, *nodes;
	struct id *seen;
	size_t seen_len;
	FILE *ids[3]; /* by enum pack_kind */
	unsigned packs;
};

static void flush(struct cutter *c, struct pack_builder *b, enum pack_kind kind)
{
	char name[128], text[ID_TEXT_SIZE];
	const uint8_t *data;
	struct err err;
	struct id id;
	size_t size;
	FILE *f;

	if (pack_builder_count(b) == 0)
		return;
	if (pack_builder_encode(b, c->ctx, CODEC_ZSTD, 1, &data, &size, &id, &err) < 0)
		die("encode", &err);
	id_to_text(&id, text);
	(void)snprintf(name, sizeof(name), "packs/%05u.%s.%s", c->packs++,
		       kind == PACK_CHUNKS ? "chunks" : "nodes", text);
	f = open_out(c->dir, name);
	put(f, data, size);
	close_out(f);
	pack_builder_reset(b);
}

static bool is_new(struct cutter *c, const struct id *id)
{
	struct id *p;

	for (size_t i = 0; i < c->seen_len; i++) {
		if (id_equal(&c->seen[i], id))
			return false;
	}
	p = realloc(c->seen, (c->seen_len + 1) * sizeof(*p));
	if (!p)
		die("out of memory", NULL);
	c->seen = p;
	c->seen[c->seen_len++] = *id;
	return true;
}

static void add(struct cutter *c, enum pack_kind kind, const struct id *id, const void *data,
		uint32_t size)
{
	struct pack_builder *b = kind == PACK_CHUNKS ? c->chunks : c->nodes;

	if (!is_new(c, id))
		return;
	put(c->ids[kind], id->b, ID_SIZE);
	if (pack_builder_add(b, id, data, size))
		return;
	flush(c, c->chunks, PACK_CHUNKS); /* nodes never go before their chunks */
	if (kind == PACK_NODES)
		flush(c, b, kind);
	if (!pack_builder_add(b, id, data, size))
		die("an object that fits in no pack", NULL);
}

static struct id cut_window(struct cutter *c, const uint8_t *data, uint32_t length)
{
	static struct node n;
	static uint8_t encoded[NODE_SIZE_MAX];
	struct id id;
	size_t size;

	node_cut(data, length, &n);
	for (uint32_t i = 0; i < n.count; i++) {
		if (n.entries[i].is_chunk)
			add(c, PACK_CHUNKS, &n.entries[i].id, data + n.entries[i].offset,
			    n.entries[i].length);
	}
	size = node_encode(&n, encoded);
	id = id_of(encoded, size);
	add(c, PACK_NODES, &id, encoded, (uint32_t)size);
	return id;
}

static void put_window(FILE *f, uint64_t window, const struct id *id)
{
	uint8_t buf[8 + 4 + ID_SIZE];
	struct writer w;

	writer_init(&w, buf, sizeof(buf));
	writer_u64(&w, window);
	writer_u32(&w, 1);
	writer_bytes(&w, id->b, ID_SIZE);
	put(f, buf, sizeof(buf));
}

static int cmd_cut(const char *disk, const char *dir)
{
	size_t size;
	uint8_t *data = read_file(disk, &size);
	struct geometry g = {size, SECTOR, SECTOR};
	struct cutter c = {.dir = dir, .ctx = codec_ctx_new()};
	char path[4096], text[ID_TEXT_SIZE];
	struct root_hash root;
	struct id id;
	FILE *windows;

	(void)snprintf(path, sizeof(path), "%s/packs", dir);
	if ((mkdir(dir, 0777) < 0 && errno != EEXIST) || (mkdir(path, 0777) < 0 && errno != EEXIST))
		die(path, NULL);
	c.chunks = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_AIM);
	c.nodes = pack_builder_new(PACK_NODES, PACK_PLAIN_AIM);
	c.ids[PACK_CHUNKS] = open_out(dir, "chunks.ids");
	c.ids[PACK_NODES] = open_out(dir, "nodes.ids");
	windows = open_out(dir, "windows");
	if (!c.ctx || !c.chunks || !c.nodes)
		die("out of memory", NULL);
	root_init(&root, &g);
	for (uint64_t i = 0; i < window_count(size); i++) {
		id = cut_window(&c, data + i * WINDOW_SIZE, window_length(size, i));
		root_add(&root, &id);
		put_window(windows, i, &id);
	}
	flush(&c, c.chunks, PACK_CHUNKS);
	flush(&c, c.nodes, PACK_NODES);
	close_out(windows);
	close_out(c.ids[PACK_CHUNKS]);
	close_out(c.ids[PACK_NODES]);
	id = root_final(&root, NULL, 0);
	id_to_text(&id, text);
	windows = open_out(dir, "root");
	put(windows, text, ID_TEXT_SIZE - 1);
	close_out(windows);
	pack_builder_free(c.chunks);
	pack_builder_free(c.nodes);
	codec_ctx_free(c.ctx);
	free(c.seen);
	free(data);
	return 0;
}

/* ---- want, join */

/* The next node of an answer; for how many windows. */
static uint32_t next_node(struct reader *r, struct node *ret)
{
	uint32_t count = reader_u32(r), size = reader_u32(r);
	const uint8_t *data = reader_bytes(r, size);
	struct err err;

	if (!data)
		die("the answer to nodes is cut", NULL);
	if (node_decode(data, size, ret, &err) < 0)
		die("node", &err);
	return count;
}

/* Of a body of `chunks`. */
static void put_chunk(FILE *f, uint64_t window, const struct id *id)
{
	uint8_t buf[8 + ID_SIZE];
	struct writer w;

	writer_init(&w, buf, sizeof(buf));
	writer_u64(&w, window);
	writer_bytes(&w, id->b, ID_SIZE);
	put(f, buf, sizeof(buf));
}

static int cmd_want(const char *nodes, const char *first, const char *out)
{
	uint64_t window = strtoull(first, NULL, 10);
	static struct node n;
	size_t size;
	uint8_t *data = read_file(nodes, &size);
	FILE *f = open_out(out, "");
	struct reader r;

	reader_init(&r, data, size);
	while (r.left > 0) {
		uint32_t count = next_node(&r, &n);

		for (uint32_t i = 0; i < n.count; i++) {
			if (n.entries[i].is_chunk)
				put_chunk(f, window, &n.entries[i].id);
		}
		window += count;
	}
	close_out(f);
	free(data);
	return 0;
}

struct chunk {
	struct id id;
	uint8_t *data;
	uint8_t *plain; /* of the first chunk of a pack: the memory of all of them */
	uint32_t length;
};

struct chunks {
	struct chunk *items;
	size_t len;
};

static void take_pack(struct chunks *all, struct codec_ctx *ctx, const uint8_t *data, size_t size)
{
	struct pack p = {0};
	struct err err;
	uint8_t *plain;

	if (pack_decode(data, size, &p, &err) < 0)
		die("pack", &err);
	plain = malloc(p.plain_size);
	all->items = realloc(all->items, (all->len + p.count) * sizeof(*all->items));
	if (!plain || !all->items)
		die("out of memory", NULL);
	if (pack_decompress(&p, ctx, plain, &err) < 0 || pack_verify(&p, plain, &err) < 0)
		die("pack", &err);
	for (uint32_t i = 0; i < p.count; i++)
		all->items[all->len++] = (struct chunk){
			p.entries[i].id, plain + p.entries[i].offset, NULL, p.entries[i].length};
	all->items[all->len - p.count].plain = plain;
	pack_done(&p);
}

static void put_entry(FILE *f, const struct chunks *all, const struct node_entry *e)
{
	static const uint8_t zeros[WINDOW_SIZE];

	if (!e->is_chunk) {
		put(f, zeros, e->length);
		return;
	}
	for (size_t i = 0; i < all->len; i++) {
		if (id_equal(&all->items[i].id, &e->id) && all->items[i].length == e->length) {
			put(f, all->items[i].data, e->length);
			return;
		}
	}
	die("a chunk is missing in the answer", NULL);
}

static int cmd_join(const char *nodes, const char *packs, const char *out)
{
	struct codec_ctx *ctx = codec_ctx_new();
	struct chunks all = {0};
	static struct node n;
	size_t nodes_size, size;
	uint8_t *data = read_file(packs, &size), *nodes_data = read_file(nodes, &nodes_size);
	FILE *f = open_out(out, "");
	struct reader r;

	reader_init(&r, data, size);
	while (r.left > 0) {
		uint32_t pack_size = reader_u32(&r);
		const uint8_t *pack = reader_bytes(&r, pack_size);

		if (!pack)
			die("the answer to chunks is cut", NULL);
		take_pack(&all, ctx, pack, pack_size);
	}
	reader_init(&r, nodes_data, nodes_size);
	while (r.left > 0) {
		for (uint32_t count = next_node(&r, &n); count > 0; count--) {
			for (uint32_t i = 0; i < n.count; i++)
				put_entry(f, &all, &n.entries[i]);
		}
	}
	close_out(f);
	printf("%zu\n", all.len);
	for (size_t i = 0; i < all.len; i++)
		free(all.items[i].plain);
	free(all.items);
	free(data);
	free(nodes_data);
	codec_ctx_free(ctx);
	return 0;
}

static int cmd_plain(char **packs)
{
	struct codec_ctx *ctx = codec_ctx_new();

	for (; *packs; packs++) {
		struct chunks all = {0};
		size_t size;
		uint8_t *data = read_file(*packs, &size);

		take_pack(&all, ctx, data, size);
		for (size_t i = 0; i < all.len; i++)
			put(stdout, all.items[i].data, all.items[i].length);
		free(all.items[0].plain);
		free(all.items);
		free(data);
	}
	codec_ctx_free(ctx);
	return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "cut") == 0)
		return cmd_cut(argv[2], argv[3]);
	if (argc == 5 && strcmp(argv[1], "want") == 0)
		return cmd_want(argv[2], argv[3], argv[4]);
	if (argc == 5 && strcmp(argv[1], "join") == 0)
		return cmd_join(argv[2], argv[3], argv[4]);
	if (argc >= 3 && strcmp(argv[1], "plain") == 0)
		return cmd_plain(argv + 2);
	fprintf(stderr,
		"Usage: wire cut DISK DIR | want NODES FIRST OUT | join NODES CHUNKS OUT | plain PACK...\n");
	return 2;
}
