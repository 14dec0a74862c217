/* What a peer sends counts only when it is what it says. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "common/bytes.h"
#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

static int put(struct store *s, const struct sample_pack *p, struct err *err)
{
	*err = (struct err){0};
	return store_put_pack(s, &p->id, p->data, p->size, err);
}

/* The pack as a peer that lies would send it: changed, and named as what it is now. */
static int put_changed(struct store *s, const struct sample_pack *p, size_t at, uint8_t flip,
		       struct err *err)
{
	uint8_t *copy = malloc(p->size);
	struct id id;
	int r;

	memcpy(copy, p->data, p->size);
	copy[at] ^= flip;
	id = id_of(copy, p->size);
	*err = (struct err){0};
	r = store_put_pack(s, &id, copy, p->size, err);
	free(copy);
	return r;
}

static size_t files_in(const char *folder)
{
	char path[128];
	size_t n = 0;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/store/%s", fixture_data, folder);
	d = opendir(path);
	while (d && readdir(d)) /* NOLINT(concurrency-mt-unsafe): one thread */
		n++;
	if (d)
		(void)closedir(d);
	return n - 2;
}

static size_t pack_files(void)
{
	char path[16];
	size_t n = 0;

	for (unsigned i = 0; i < 256; i++) {
		(void)snprintf(path, sizeof(path), "packs/%02x", i);
		n += files_in(path);
	}
	return n;
}

static void test_lies(struct store *s, const struct sample *x)
{
	const struct sample_pack *p = &x->packs[0];
	size_t body = PACK_HEADER + p->count * PACK_ENTRY;
	struct err err = {0};
	struct id other = {{1}};
	int wrong = 0;

	ok(store_put_pack(s, &other, p->data, p->size, &err) == -EBADMSG &&
		   strstr(err.msg, "another name"),
	   "a pack under another name");
	ok(store_put_pack(s, &p->id, p->data, p->size - 1, &err) == -EBADMSG, "a pack cut short");
	ok(put_changed(s, p, PACK_HEADER + 5, 1, &err) == -EBADMSG && strstr(err.msg, "object 0"),
	   "an object under another name");
	ok(put_changed(s, p, body + 20, 1, &err) == -EBADMSG, "a body that was changed");
	for (size_t i = 0; i < body; i++)
		wrong += put_changed(s, p, i, 0x10, &err) != -EBADMSG;
	ok(wrong == 0, "any byte of header or table changed");
	ok(fixture_lacks(s, x) == x->chunks_len + x->windows, "nothing of that was taken in");
	ok(pack_files() == 0 && files_in("tmp") == 0, "and no file was left");
	ok(put(s, p, &err) == 0 && pack_files() == 1, "the true one is");
}

/* A pack of one object that is `size` bytes of zeros, with a header of our choice. */
static size_t forge(uint8_t *buf, uint32_t length, uint32_t plain_size, const void *body,
		    size_t body_size)
{
	struct id id = {{7}};
	struct writer w;

	writer_init(&w, buf, PACK_SIZE_MAX);
	writer_bytes(&w, "HPK1", 4);
	writer_u8(&w, PACK_CHUNKS);
	writer_u8(&w, CODEC_ZSTD);
	writer_u16(&w, 0);
	writer_u32(&w, 1);
	writer_u32(&w, plain_size);
	writer_u32(&w, (uint32_t)body_size);
	writer_u32(&w, length);
	writer_bytes(&w, &id, sizeof(id));
	writer_bytes(&w, body, body_size);
	return w.size;
}

static void test_bombs(struct store *s)
{
	uint8_t *buf = calloc(PACK_SIZE_MAX + 1, 1), *zeros = calloc(64u << 20, 1);
	uint8_t body[16384];
	size_t n = ZSTD_compress(body, sizeof(body), zeros, 64u << 20, 19), size;
	struct err err = {0};
	struct id id;

	ok(!ZSTD_isError(n), "64 MiB of zeros in a small body");
	size = forge(buf, CHUNK_MAX, CHUNK_MAX, body, n);
	id = id_of(buf, size);
	ok(store_put_pack(s, &id, buf, size, &err) == -EBADMSG, "a bomb is refused");
	size = forge(buf, 64u << 20, 64u << 20, body, n);
	id = id_of(buf, size);
	ok(store_put_pack(s, &id, buf, size, &err) == -EBADMSG && strstr(err.msg, "plain size"),
	   "and so is an object of 64 MiB");
	id = id_of(buf, PACK_SIZE_MAX + 1);
	ok(store_put_pack(s, &id, buf, PACK_SIZE_MAX + 1, &err) == -EBADMSG &&
		   strstr(err.msg, "too large"),
	   "and a pack beyond the greatest size");
	ok(store_put_pack(s, &id, buf, 0, &err) == -EBADMSG, "and one of no bytes");
	free(buf);
	free(zeros);
}

static void test_nodes(struct store *s, const struct sample *x)
{
	const struct sample_pack *nodes = &x->packs[x->chunk_packs];
	struct err err = {0};
	size_t i;

	ok(put(s, nodes, &err) == -ENODATA && strstr(err.msg, "is not in the store"),
	   "nodes before their chunks");
	ok(fixture_count_lacking(s, PACK_NODES, nodes->ids, nodes->count) == nodes->count,
	   "are not there");
	/* The first three windows have 15 chunks: packs 0 to 3. */
	for (i = 0; i < 3; i++)
		ok(put(s, &x->packs[i], &err) == 0, "put chunks");
	ok(put(s, nodes, &err) == -ENODATA, "one chunk is still not there");
	ok(put(s, &x->packs[3], &err) == 0 && put(s, nodes, &err) == 0, "with all chunks they are");
	ok(fixture_count_lacking(s, PACK_NODES, nodes->ids, nodes->count) == 0, "are there");
}

/* A node may claim a chunk that is there to be longer than it is. */
static void test_chunk_length(struct store *s, const struct sample *x)
{
	struct node *n = calloc(1, sizeof(*n));
	uint8_t *buf = malloc(NODE_SIZE_MAX);
	const uint8_t *data[1] = {buf};
	struct sample_pack p;
	struct err err = {0};
	uint32_t size;

	*n = (struct node){.length = 12288, .count = 1};
	n->entries[0] = (struct node_entry){x->chunks[0], 0, 12288, true};
	size = (uint32_t)node_encode(n, buf);
	p = sample_pack(PACK_NODES, data, &size, 1, CODEC_STORED);
	ok(put(s, &p, &err) == -ENODATA && strstr(err.msg, "is 8192 bytes long, not 12288"),
	   "a node that gives a chunk another length");
	sample_pack_done(&p);
	memset(buf, 0xee, 100);
	size = 100;
	p = sample_pack(PACK_NODES, data, &size, 1, CODEC_STORED);
	ok(put(s, &p, &err) == -EBADMSG, "a node that is none");
	sample_pack_done(&p);
	free(buf);
	free(n);
}

static void test_codecs(struct store *s)
{
	static const enum codec codecs[] = {CODEC_STORED, CODEC_ZLIB, CODEC_ZSTD};
	uint8_t *buf = malloc(sample_small.chunk_size);
	const uint8_t *data[1] = {buf};
	uint32_t size = sample_small.chunk_size;

	for (uint32_t i = 0; i < 3; i++) {
		struct sample_pack p;
		struct err err = {0};

		sample_chunk(99, &sample_small, i, buf);
		p = sample_pack(PACK_CHUNKS, data, &size, 1, codecs[i]);
		ok(p.data[5] == codecs[i] && put(s, &p, &err) == 0 &&
			   fixture_count_lacking(s, PACK_CHUNKS, p.ids, 1) == 0,
		   codec_name(codecs[i]));
		sample_pack_done(&p);
	}
	free(buf);
}

int main(void)
{
	struct sample *x = sample_new(2, &sample_small);
	struct store *s;

	fixture_begin();
	s = fixture_open(false);
	test_lies(s, x);
	test_bombs(s);
	store_close(s);
	tree_remove(fixture_data);
	s = fixture_open(false);
	test_nodes(s, x);
	test_chunk_length(s, x);
	test_codecs(s);
	store_close(s);
	fixture_end();
	sample_free(x);
	return done();
}
