#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/pack.h"
#include "tests/unit/tap.h"

#define CLEANUP_BUILDER CLEANUP(pack_builder_freep)
#define CLEANUP_CTX	CLEANUP(codec_ctx_freep)

static void fill(uint8_t *p, size_t size, uint32_t seed, uint32_t mask)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525u + 1013904223u;
		p[i] = (uint8_t)((seed >> 24) & mask);
	}
}

static void add(struct pack_builder *b, uint32_t length, uint32_t seed, uint32_t mask)
{
	static uint8_t data[CHUNK_MAX];
	struct id id;

	fill(data, length, seed, mask);
	id = id_of(data, length);
	if (!pack_builder_add(b, &id, data, length))
		abort();
}

static void test_round_trip(enum codec codec, uint32_t mask, enum codec expected)
{
	CLEANUP_BUILDER struct pack_builder *b = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_AIM);
	CLEANUP_CTX struct codec_ctx *ctx = codec_ctx_new();
	CLEANUP_FREE uint8_t *plain = malloc(PACK_PLAIN_AIM);
	const uint8_t *data = NULL;
	size_t size = 0;
	struct id id, again;
	struct pack p = {0};
	struct err err = {0};

	if (b == NULL || ctx == NULL || plain == NULL)
		abort();
	for (uint32_t i = 0; i < 20; i++)
		add(b, 4096 + i * 512 + (i == 19), i, mask);
	ok(pack_builder_encode(b, ctx, codec, 1, &data, &size, &id, &err) == 0, codec_name(codec));
	again = id_of(data, size);
	ok(id_equal(&id, &again), "the id is the hash of all bytes");
	ok(pack_decode(data, size, &p, &err) == 0 && p.codec == expected && p.count == 20,
	   "decodes");
	ok(pack_decompress(&p, ctx, plain, &err) == 0 && pack_verify(&p, plain, &err) == 0,
	   "each object is what its id says");
	plain[p.entries[7].offset] ^= 1;
	ok(pack_verify(&p, plain, &err) == -EBADMSG && strstr(err.msg, "object 7") != NULL,
	   "a changed bit is found and named");
	pack_done(&p);
	pack_builder_reset(b);
	add(b, 100, 1, mask);
	ok(pack_builder_encode(b, ctx, codec, 1, &data, &size, &id, &err) == 0 &&
		   pack_decode(data, size, &p, &err) == 0 && p.count == 1,
	   "the builder can be used again");
	pack_done(&p);
}

static void test_bounds(void)
{
	CLEANUP_BUILDER struct pack_builder *b = pack_builder_new(PACK_CHUNKS, 10000);
	CLEANUP_BUILDER struct pack_builder *many = pack_builder_new(PACK_CHUNKS, 100000);
	uint8_t data[10000] = {0};
	struct id id = {{1}};
	bool all = true;

	if (b == NULL || many == NULL)
		abort();
	ok(pack_builder_add(b, &id, data, 6000) && !pack_builder_add(b, &id, data, 4001) &&
		   pack_builder_add(b, &id, data, 4000),
	   "no more bytes than it has room for");
	for (uint32_t i = 0; i < PACK_COUNT_MAX; i++)
		all &= pack_builder_add(many, &id, data, 1);
	ok(all && !pack_builder_add(many, &id, data, 1), "no more objects than a pack may have");
}

/* A small lawful pack to damage. */
static size_t make(uint8_t *buf, size_t buf_size, enum codec codec)
{
	CLEANUP_BUILDER struct pack_builder *b = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_AIM);
	CLEANUP_CTX struct codec_ctx *ctx = codec_ctx_new();
	const uint8_t *data = NULL;
	size_t size = 0;
	struct id id;
	struct err err;

	if (b == NULL || ctx == NULL)
		abort();
	add(b, 4096, 1, 15);
	add(b, 8192, 2, 15);
	if (pack_builder_encode(b, ctx, codec, 1, &data, &size, &id, &err) < 0 || size > buf_size)
		abort();
	memcpy(buf, data, size);
	return size;
}

static void bad(const char *what, const uint8_t *good, size_t size, size_t at, uint32_t value,
		const char *word)
{
	uint8_t buf[16384];
	struct pack p = {0};
	struct err err = {0};
	struct writer w;

	memcpy(buf, good, size);
	writer_init(&w, buf + at, 4);
	writer_u32(&w, value);
	ok(pack_decode(buf, size, &p, &err) == -EPROTO && strstr(err.msg, word) != NULL &&
		   p.entries == NULL,
	   what);
}

static void test_hostile(void)
{
	uint8_t buf[16384];
	size_t size = make(buf, sizeof(buf), CODEC_STORED);
	struct pack p = {0};
	struct err err = {0};
	bool refused = true, more = true;

	for (size_t i = 0; i < size; i++) {
		refused &= pack_decode(buf, i, &p, &err) == -EPROTO;
		if (i < PACK_HEADER + 2 * PACK_ENTRY)
			more &= pack_decode_table(buf, i, &p, &err) == -EAGAIN;
	}
	ok(refused, "cut off anywhere: refused");
	ok(more, "a table cut off: more bytes are needed");
	ok(pack_decode_table(buf, PACK_HEADER + 2 * PACK_ENTRY, &p, &err) == 0 && p.size == size &&
		   p.body == NULL,
	   "table alone");
	pack_done(&p);
	ok(pack_decode(buf, size + 1, &p, &err) == -EPROTO, "a byte too many: refused");
	bad("magic", buf, size, 0, 0, "HPK1");
	bad("kind 0", buf, size, 4, 0, "kind");
	bad("kind 3", buf, size, 4, 3, "kind");
	bad("codec 3", buf, size, 4, 0x0301, "codec");
	bad("reserved", buf, size, 4, 0x10001, "reserved");
	bad("count 0", buf, size, 8, 0, "count");
	bad("count too large", buf, size, 8, 0xffffffff, "count");
	bad("plain size 0", buf, size, 12, 0, "plain size");
	bad("plain size too large", buf, size, 12, PACK_PLAIN_MAX + 1, "plain size");
	bad("body larger than plain", buf, size, 16, 12289, "body");
	bad("stored, and smaller", buf, size, 16, 12287, "body");
	bad("length 0", buf, size, 20, 0, "length");
	bad("length too large", buf, size, 20, CHUNK_MAX + 1, "length");
	bad("lengths do not add up", buf, size, 20, 4095, "add up");
	memcpy(buf + PACK_HEADER + PACK_ENTRY + 4, buf + PACK_HEADER + 4, ID_SIZE);
	ok(pack_decode(buf, size, &p, &err) == -EPROTO && strstr(err.msg, "twice") != NULL,
	   "an id twice: refused");
}

static void test_bombs(enum codec codec)
{
	CLEANUP_CTX struct codec_ctx *ctx = codec_ctx_new();
	uint8_t zeros[65536] = {0}, packed[4096], out[65536];
	struct err err = {0};
	int64_t n;

	if (ctx == NULL)
		abort();
	n = codec_compress(ctx, codec, 1, zeros, sizeof(zeros), packed, sizeof(packed));
	ok(n > 0 && n < 1024, "zeros compress well");
	ok(codec_decompress(ctx, codec, packed, (size_t)n, out, sizeof(out), &err) == 0,
	   "and come back");
	memset(out, 0x55, sizeof(out));
	ok(codec_decompress(ctx, codec, packed, (size_t)n, out, 100, &err) == -EBADMSG &&
		   out[100] == 0x55,
	   "a body that holds more than it says: refused, nothing written behind");
	ok(codec_decompress(ctx, codec, packed, (size_t)n, out, sizeof(out) - 1, &err) == -EBADMSG,
	   "one byte more: refused");
	packed[n] = 0;
	ok(codec_decompress(ctx, codec, packed, (size_t)n + 1, out, sizeof(out), &err) == -EBADMSG,
	   "something behind it: refused");
	ok(codec_decompress(ctx, codec, packed, (size_t)n - 1, out, sizeof(out), &err) == -EBADMSG,
	   "cut off: refused");
	memcpy(packed + n, packed, (size_t)n);
	ok(codec_decompress(ctx, codec, packed, (size_t)n * 2, out, sizeof(out), &err) == -EBADMSG,
	   "twice the body: refused");
}

static void borrow(struct pack_builder *b, const uint8_t *data, uint32_t length)
{
	struct id id = id_of(data, length);

	ok(pack_builder_borrow(b, &id, data, length), "borrowed");
}

static void copy(struct pack_builder *b, const uint8_t *data, uint32_t length)
{
	struct id id = id_of(data, length);

	ok(pack_builder_add(b, &id, data, length), "copied");
}

static bool packs_equal(struct pack_builder *a, struct pack_builder *b, struct codec_ctx *ctx)
{
	const uint8_t *x, *y;
	size_t x_size, y_size;
	struct id x_id, y_id;
	struct err err;

	return pack_builder_encode(a, ctx, CODEC_ZSTD, 1, &x, &x_size, &x_id, &err) == 0 &&
	       pack_builder_encode(b, ctx, CODEC_ZSTD, 1, &y, &y_size, &y_id, &err) == 0 &&
	       id_equal(&x_id, &y_id) && x_size == y_size && memcmp(x, y, x_size) == 0;
}

/* Borrowed or copied, apart or side by side: the same pack. */
static void test_borrowed(void)
{
	CLEANUP_BUILDER struct pack_builder *a = pack_builder_new(PACK_CHUNKS, 10000);
	CLEANUP_BUILDER struct pack_builder *b = pack_builder_new(PACK_CHUNKS, 10000);
	CLEANUP(codec_ctx_freep) struct codec_ctx *ctx = codec_ctx_new();
	static uint8_t data[12000];
	struct id id;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i >> 7);
	copy(a, data, 3000);
	copy(a, data + 3000, 2000);
	borrow(b, data, 3000);
	borrow(b, data + 3000, 2000);
	ok(packs_equal(a, b, ctx), "two borrowed side by side");
	copy(a, data + 6000, 1000);
	borrow(b, data + 6000, 1000);
	data[10] ^= 1;
	ok(packs_equal(a, b, ctx),
	   "what does not lie side by side is copied, and what came before");
	data[10] ^= 1;
	pack_builder_reset(a);
	pack_builder_reset(b);
	copy(a, data, 3000);
	copy(a, data + 4000, 10);
	borrow(b, data, 3000);
	pack_builder_own(b);
	data[10] ^= 1;
	copy(b, data + 4000, 10);
	ok(packs_equal(a, b, ctx), "owned: the lender's memory may change");
	id = id_of(data, 6991);
	ok(!pack_builder_borrow(b, &id, data, 6991) && pack_builder_borrow(b, &id, data, 6990),
	   "no more is borrowed than there is room for");
}

int main(void)
{
	test_round_trip(CODEC_STORED, 15, CODEC_STORED);
	test_round_trip(CODEC_ZLIB, 15, CODEC_ZLIB);
	test_round_trip(CODEC_ZSTD, 15, CODEC_ZSTD);
	test_round_trip(CODEC_ZSTD, 255, CODEC_STORED);
	test_bounds();
	test_hostile();
	test_bombs(CODEC_ZLIB);
	test_bombs(CODEC_ZSTD);
	test_borrowed();
	return done();
}
