#include "agent/fingerprint.h"

#include <string.h>

#include "common/blake3.h"
#include "tests/lib/blk_fault.h"
#include "tests/unit/tap.h"

#define MIB (1u << 20)
#define KIB (1u << 10)

static unsigned char *make_bytes(size_t size)
{
	unsigned char *p = malloc(size ? size : 1);
	uint32_t v = 1;

	for (size_t i = 0; i < size; i++) {
		v = v * 1664525u + 1013904223u;
		p[i] = (unsigned char)(v >> 24);
	}
	return p;
}

static struct id fingerprint(const unsigned char *bytes, size_t size, const struct partition *p,
			     size_t len)
{
	unsigned char *copy = malloc(size ? size : 1);
	struct id id = {{0}};
	struct err err;
	bool zero;
	struct blk *b;

	memcpy(copy, bytes, size);
	b = blk_new_memory(copy, size, 512);
	if (fingerprint_of_disk(b, p, len, &id, &zero, &err) < 0)
		memset(&id, 0, sizeof(id));
	blk_free(b);
	return id;
}

/* docs/fingerprint.md again, by copying into one buffer: as unlike the real one as can be. */
struct text {
	unsigned char *bytes;
	size_t size;
};

static void put(struct text *t, const void *p, size_t size)
{
	t->bytes = realloc(t->bytes, t->size + size + 1);
	memcpy(t->bytes + t->size, p, size);
	t->size += size;
}

static void put_u64(struct text *t, uint64_t v)
{
	for (int i = 0; i < 8; i++, v /= 256)
		put(t, &(unsigned char){(unsigned char)(v % 256)}, 1);
}

static void put_edges(struct text *t, const unsigned char *p, size_t size, size_t head, size_t tail)
{
	if (size <= head + tail) {
		put(t, p, size);
		return;
	}
	put(t, p, head);
	put(t, p + size - tail, tail);
}

static struct id hash_of(struct text *t)
{
	struct id id;

	blake3_hash(t->bytes, t->size, id.b);
	free(t->bytes);
	return id;
}

static void test_definition(void)
{
	static const size_t sizes[] = {512,	MIB - 512,     MIB,    MIB + 512,
				       2 * MIB, 2 * MIB + 512, 5 * MIB};
	bool good = true;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		CLEANUP_FREE unsigned char *bytes = make_bytes(sizes[i]);
		struct text t = {0};
		struct id want, got = fingerprint(bytes, sizes[i], NULL, 0);

		put(&t, "hoist-fingerprint-1", 20);
		put_u64(&t, sizes[i]);
		put_edges(&t, bytes, sizes[i], MIB, MIB);
		want = hash_of(&t);
		good = good && id_equal(&want, &got);
	}
	ok(good, "a disk without partitions, of sizes around the edges");
}

static void test_partitions(void)
{
	CLEANUP_FREE unsigned char *bytes = make_bytes(6 * MIB);
	struct partition p[] = {
		{.number = 3, .offset = 4 * MIB, .size = 2 * MIB},   /* to the end */
		{.number = 1, .offset = 1 * MIB, .size = 300 * KIB}, /* head and part of the tail */
		{.number = 5, .offset = 5 * MIB, .size = 100 * MIB}, /* past the end */
		{.number = 2, .offset = 1 * MIB, .size = 2 * MIB},   /* begins where another does */
		{.number = 6, .offset = 900 * MIB, .size = 1 * MIB}, /* not on the disk at all */
	};
	struct partition q[5];
	static const unsigned order[] = {1, 3, 0, 2, 4};
	struct text t = {0};
	struct id want, got = fingerprint(bytes, 6 * MIB, p, 5);

	put(&t, "hoist-fingerprint-1", 20);
	put_u64(&t, 6 * MIB);
	put_edges(&t, bytes, 6 * MIB, MIB, MIB);
	for (size_t i = 0; i < 5; i++) {
		const struct partition *x = &p[order[i]];
		uint64_t from = x->offset < 6 * MIB ? x->offset : 6 * MIB;
		uint64_t to = x->offset + x->size < 6 * MIB ? x->offset + x->size : 6 * MIB;

		put_u64(&t, x->offset);
		put_u64(&t, x->size);
		put_edges(&t, bytes + from, to - from, 256 * KIB, 128 * KIB);
	}
	want = hash_of(&t);
	ok(id_equal(&want, &got),
	   "partitions count by offset and size, cut at the end of the disk");
	for (size_t i = 0; i < 5; i++)
		q[i] = p[4 - i];
	got = fingerprint(bytes, 6 * MIB, q, 5);
	ok(id_equal(&want, &got), "the order in which they are listed does not matter");
}

static void test_changes(void)
{
	CLEANUP_FREE unsigned char *bytes = make_bytes(8 * MIB);
	const struct partition p = {.number = 1, .offset = 2 * MIB, .size = 4 * MIB};
	struct partition other = p;
	static const size_t seen[] = {0,
				      510,
				      MIB - 1,
				      7 * MIB,
				      8 * MIB - 1,
				      2 * MIB,
				      2 * MIB + 65536 + 64,
				      2 * MIB + 256 * KIB - 1,
				      6 * MIB - 128 * KIB,
				      6 * MIB - 1};
	static const size_t unseen[] = {
		MIB,	 2 * MIB - 1, 2 * MIB + 256 * KIB, 6 * MIB - 128 * KIB - 1,
		6 * MIB, 7 * MIB - 1};
	struct id first = fingerprint(bytes, 8 * MIB, &p, 1), now;
	bool good = true;

	now = fingerprint(bytes, 8 * MIB, &p, 1);
	ok(id_equal(&first, &now), "it is the same when nothing changes");
	for (size_t i = 0; i < sizeof(seen) / sizeof(*seen); i++) {
		bytes[seen[i]] ^= 1;
		now = fingerprint(bytes, 8 * MIB, &p, 1);
		good = good && !id_equal(&first, &now);
		bytes[seen[i]] ^= 1;
	}
	ok(good, "one bit at any edge changes it");
	good = true;
	for (size_t i = 0; i < sizeof(unseen) / sizeof(*unseen); i++) {
		bytes[unseen[i]] ^= 1;
		now = fingerprint(bytes, 8 * MIB, &p, 1);
		good = good && id_equal(&first, &now);
		bytes[unseen[i]] ^= 1;
	}
	ok(good, "what lies between the edges is not read");
	now = fingerprint(bytes, 8 * MIB - 512, &p, 1);
	ok(!id_equal(&first, &now), "another size changes it");
	other.size -= 512;
	now = fingerprint(bytes, 8 * MIB, &other, 1);
	ok(!id_equal(&first, &now), "another place of a partition changes it");
	other = p;
	other.number = 7;
	now = fingerprint(bytes, 8 * MIB, &other, 1);
	ok(id_equal(&first, &now), "a partition's number is not part of it");
}

static void test_zero(void)
{
	struct err err;
	struct id id;
	bool zero = false;
	unsigned char *bytes = calloc(1, 4 * MIB);
	struct blk *b = blk_new_memory(bytes, 4 * MIB, 512);

	ok(fingerprint_of_disk(b, NULL, 0, &id, &zero, &err) == 0 && zero,
	   "a disk of zeros is seen");
	bytes[4 * MIB - 1] = 1;
	ok(fingerprint_of_disk(b, NULL, 0, &id, &zero, &err) == 0 && !zero,
	   "and the last byte counts");
	bytes[4 * MIB - 1] = 0;
	bytes[0] = 0x80;
	ok(fingerprint_of_disk(b, NULL, 0, &id, &zero, &err) == 0 && !zero,
	   "and so does the first");
	bytes[0] = 0;
	bytes[2 * MIB] = 1;
	ok(fingerprint_of_disk(b, &(struct partition){.offset = 2 * MIB, .size = MIB}, 1, &id,
			       &zero, &err) == 0 &&
		   zero,
	   "but not what partitions hold: those make a disk not empty by being there");
	blk_free(b);
}

static void test_errors(void)
{
	const struct partition p = {.number = 1, .offset = 2 * MIB, .size = MIB};
	struct blk *b = blk_fault_new(blk_new_memory(make_bytes(4 * MIB), 4 * MIB, 512),
				      &(struct blk_fault_plan){0});
	struct id id = {{0}}, untouched = {{0}};
	struct err err;
	bool zero = true, good = true;
	uint64_t reads;

	good = fingerprint_of_disk(b, &p, 1, &id, &zero, &err) == 0;
	reads = blk_fault_get_stats(b).reads;
	for (uint64_t n = 1; n <= reads; n++) {
		blk_fault_set_plan(b, &(struct blk_fault_plan){.nth = n});
		zero = true;
		id = untouched;
		good = good && fingerprint_of_disk(b, &p, 1, &id, &zero, &err) == -EIO && zero &&
		       id_equal(&id, &untouched);
	}
	ok(good && reads > 20,
	   "any read that fails fails it, and nothing is written to the result");
	blk_free(b);
}

int main(void)
{
	test_definition();
	test_partitions();
	test_changes();
	test_zero();
	test_errors();
	return done();
}
