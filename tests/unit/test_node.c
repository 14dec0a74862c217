#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/cut_hash.h"
#include "common/node.h"
#include "tests/unit/tap.h"

static uint32_t seed = 12345;

static uint8_t next_byte(void)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint8_t)(seed >> 24);
}

static void fill(uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		p[i] = next_byte();
}

/* What docs/formats.md says of every cut, whatever the content. */
static bool cut_is_lawful(const struct node *n, const uint8_t *data, uint32_t length)
{
	uint32_t offset = 0;

	for (uint32_t i = 0; i < n->count; i++) {
		const struct node_entry *e = &n->entries[i];

		if (e->offset != offset || e->length == 0 ||
		    (e->is_chunk && e->length > CHUNK_MAX) ||
		    (i + 1 < n->count && e->length % BLOCK_SIZE != 0) ||
		    (i > 0 && !e->is_chunk && !n->entries[i - 1].is_chunk) ||
		    e->is_chunk == bytes_are_zero(data + offset, e->length))
			return false;
		for (uint32_t b = 0; e->is_chunk && b < e->length; b += BLOCK_SIZE) {
			if (bytes_are_zero(data + offset + b,
					   e->length - b < BLOCK_SIZE ? e->length - b : BLOCK_SIZE))
				return false;
		}
		offset += e->length;
	}
	return offset == length;
}

static void test_cut(uint8_t *data, struct node *n)
{
	uint64_t sum = 0;
	uint32_t chunks = 0;

	memset(data, 0, WINDOW_SIZE);
	node_cut(data, WINDOW_SIZE, n);
	ok(n->count == 1 && !n->entries[0].is_chunk && n->entries[0].length == WINDOW_SIZE,
	   "zeros are one run");
	fill(data, WINDOW_SIZE);
	node_cut(data, WINDOW_SIZE, n);
	ok(cut_is_lawful(n, data, WINDOW_SIZE), "random data: lawful");
	for (uint32_t i = 0; i + 1 < n->count; i++) {
		sum += n->entries[i].length;
		chunks++;
		if (n->entries[i].length < CHUNK_MIN)
			chunks = 1u << 30;
	}
	ok(chunks > 0 && sum / chunks > 28 << 10 && sum / chunks < 44 << 10,
	   "average of 28 to 44 KiB, none below the least");
	/* Equal blocks have equal hashes: no cut point, so the greatest size cuts. */
	for (size_t i = 0; i < WINDOW_SIZE; i += BLOCK_SIZE)
		memcpy(data + i, data, BLOCK_SIZE);
	node_cut(data, WINDOW_SIZE, n);
	ok(cut_is_lawful(n, data, WINDOW_SIZE), "equal blocks: lawful");
	for (uint32_t i = 0; i < 1024; i += 2)
		memset(data + i * BLOCK_SIZE, 0, BLOCK_SIZE);
	node_cut(data, WINDOW_SIZE, n);
	ok(n->count == NODE_ENTRIES_MAX && cut_is_lawful(n, data, WINDOW_SIZE),
	   "alternating blocks: as many entries as there can be");
}

static void test_cut_is_found_again(uint8_t *data, struct node *n)
{
	CLEANUP_FREE struct node *m = malloc(sizeof(*m));
	uint32_t same = 0;

	if (m == NULL)
		abort();
	fill(data, WINDOW_SIZE);
	node_cut(data, WINDOW_SIZE, n);
	memmove(data + 7 * BLOCK_SIZE, data, WINDOW_SIZE - 7 * BLOCK_SIZE);
	node_cut(data, WINDOW_SIZE, m);
	for (uint32_t i = 0; i < n->count; i++) {
		for (uint32_t k = 0; k < m->count; k++)
			same += id_equal(&n->entries[i].id, &m->entries[k].id);
	}
	ok(same * 10 > n->count * 9,
	   "content moved by seven blocks: nine chunks in ten are found again");
}

static bool same_entries(const struct node *a, const struct node *b)
{
	for (uint32_t i = 0; i < a->count; i++) {
		if (a->entries[i].offset != b->entries[i].offset ||
		    a->entries[i].length != b->entries[i].length ||
		    a->entries[i].is_chunk != b->entries[i].is_chunk ||
		    !id_equal(&a->entries[i].id, &b->entries[i].id))
			return false;
	}
	return true;
}

static void test_random_layouts(uint8_t *data, struct node *n)
{
	CLEANUP_FREE struct node *m = malloc(sizeof(*m));
	uint8_t buf[NODE_SIZE_MAX];
	bool lawful = true, back = true, matches = true, differs = true;

	if (m == NULL)
		abort();
	for (int round = 0; round < 300; round++) {
		uint32_t length = 1 + (uint32_t)(next_byte() << 9 | next_byte() << 1 | 1) *
					      (round % 3 ? 1 : 32) % WINDOW_SIZE;
		struct err err;
		size_t size;

		memset(data, 0, length);
		for (uint32_t o = 0; o < length; o += BLOCK_SIZE) {
			if (next_byte() & 1)
				fill(data + o, length - o < BLOCK_SIZE ? length - o : BLOCK_SIZE);
		}
		node_cut(data, length, n);
		lawful &= cut_is_lawful(n, data, length);
		size = node_encode(n, buf);
		back &= node_decode(buf, size, m, &err) == 0 && m->count == n->count &&
			m->length == length && same_entries(m, n);
		matches &= node_matches(m, data, NULL);
		data[length - 1] ^= 1;
		differs &= !node_matches(m, data, NULL);
	}
	ok(lawful, "random layouts and lengths: lawful");
	ok(back, "encoded and decoded: the same");
	ok(matches, "a window matches its node");
	ok(differs, "with one bit changed it does not");
}

static void bad(const char *what, const uint8_t *good, size_t size, size_t at, uint32_t value,
		const char *word)
{
	CLEANUP_FREE struct node *n = malloc(sizeof(*n));
	uint8_t buf[NODE_SIZE_MAX + 4];
	struct err err = {0};
	struct writer w;

	if (n == NULL)
		abort();
	memcpy(buf, good, size);
	writer_init(&w, buf + at, 4);
	writer_u32(&w, value);
	ok(node_decode(buf, size, n, &err) == -EPROTO && strstr(err.msg, word) != NULL, what);
}

static void test_hostile(uint8_t *data, struct node *n)
{
	uint8_t buf[NODE_SIZE_MAX + 4];
	struct err err = {0};
	size_t size;
	bool refused = true;

	memset(data, 0, 5 * BLOCK_SIZE);
	data[2 * BLOCK_SIZE] = 1;
	node_cut(data, 4 * BLOCK_SIZE + 512, n);
	size = node_encode(n, buf);
	ok(n->count == 3 && size == 12 + 3 * 4 + 32, "zeros, a chunk, zeros");
	for (size_t i = 0; i < size; i++)
		refused &= node_decode(buf, i, n, &err) == -EPROTO;
	ok(refused, "cut off anywhere: refused");
	ok(node_decode(buf, size + 1, n, &err) == -EPROTO, "a byte too many: refused");
	bad("magic", buf, size, 0, 0, "HND1");
	bad("window of no bytes", buf, size, 4, 0, "window");
	bad("window too large", buf, size, 4, WINDOW_SIZE + 1, "window");
	bad("no entries", buf, size, 8, 0, "count");
	bad("too many entries", buf, size, 8, NODE_ENTRIES_MAX + 1, "count");
	bad("entry of no length", buf, size, 12, 0, "no length");
	bad("entry past the window", buf, size, 12, 0x7fffffff, "past");
	bad("entry not at a block's edge", buf, size, 12, 5000, "edge");
	bad("chunk too long", buf, size, 16, 0x80000000u | (CHUNK_MAX + BLOCK_SIZE), "131072");
	bad("two zero runs in a row", buf, size, 16, 4096, "second zero run");
	bad("window not filled", buf, size, 4, 4 * BLOCK_SIZE + 1024, "fill");
}

/* A processor that has AVX2 must cut where others do. */
static void test_hashes_agree(uint8_t *data)
{
	/* of "" and of one byte 'a', as xxhsum -H3 says */
	bool same = cut_hash_portable("", 0) == 0x2d06800538d394c2u &&
		    cut_hash_portable("a", 1) == 0xe6c632b61e964e1fu;

	fill(data, 2 * BLOCK_SIZE);
	for (uint32_t size = 0; size <= BLOCK_SIZE; size++) {
		const uint8_t *p = data + size % 64;

		same &= cut_hash_get()(p, size) == cut_hash_portable(p, size);
	}
	ok(same, "the hash that decides about cuts is the same on every code path");
}

int main(void)
{
	CLEANUP_FREE uint8_t *data = malloc(WINDOW_SIZE);
	CLEANUP_FREE struct node *n = malloc(sizeof(*n));

	if (data == NULL || n == NULL)
		return EXIT_FAILURE;
	test_hashes_agree(data);
	test_cut(data, n);
	test_cut_is_found_again(data, n);
	test_random_layouts(data, n);
	test_hostile(data, n);
	return done();
}
