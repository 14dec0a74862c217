/* BLAKE3 on every code path of this CPU: the official vectors; all paths, all cuts and all
 * alignments give one hash; and the kernels agree where no message of a test reaches. */
#include <string.h>

#include "common/blake3.h"
#include "common/blake3_kernel.h"
#include "common/cleanup.h"
#include "tests/unit/tap.h"

#define VECTORS "tests/fixtures/blake3/hash.txt"
#define CHUNK	((size_t)BLAKE3_CHUNK_SIZE)
#define LONGEST (1024 * CHUNK + 1)
#define LEN(x)	(sizeof(x) / sizeof((x)[0]))

/* `size` bytes as in the official vectors, `shift` bytes off malloc's alignment.  Nothing is
 * allocated past them, so that ASan sees a read too far. */
static uint8_t *input_new(size_t size, size_t shift)
{
	uint8_t *memory = malloc(size + shift > 0 ? size + shift : 1);

	if (!memory)
		abort();
	for (size_t i = 0; i < size; i++)
		memory[shift + i] = (uint8_t)(i % 251);
	return memory;
}

static void hash_input(size_t size, size_t shift, uint8_t *out)
{
	CLEANUP_FREE uint8_t *memory = input_new(size, shift);

	blake3_hash(memory + shift, size, out);
}

/* `name` with the path that is being tested. */
static const char *on(enum blake3_isa isa, const char *name)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s: %s", blake3_isa_name(isa), name);
	return text;
}

static bool hex_equals(const uint8_t *hash, const char *hex)
{
	char mine[2 * BLAKE3_OUT_SIZE + 1];

	for (size_t i = 0; i < BLAKE3_OUT_SIZE; i++)
		(void)snprintf(mine + 2 * i, 3, "%02x", hash[i]);
	return strcmp(mine, hex) == 0;
}

static void test_vectors(enum blake3_isa isa)
{
	char line[256], hex[65];
	unsigned cases = 0, wrong = 0;
	FILE *f = fopen(VECTORS, "re");

	while (f && fgets(line, sizeof(line), f)) {
		uint8_t out[BLAKE3_OUT_SIZE];
		char *end;
		size_t size = strtoull(line, &end, 10);

		if (line[0] == '#')
			continue;
		if (sscanf(end, "%64s", hex) != 1)
			abort();
		hash_input(size, 0, out);
		cases++;
		if (!hex_equals(out, hex)) {
			wrong++;
			printf("# wrong hash of %zu bytes\n", size);
		}
	}
	if (f)
		(void)fclose(f);
	ok(cases == 35 && wrong == 0, on(isa, "the official vectors, all 35 of " VECTORS));
}

/* The number-th length to try, up to LONGEST: all up to three blocks, then around all chunk edges up
 * to 160 KiB, where every combination of full, half full and single lanes occurs, then a few. */
static size_t length_get(size_t number)
{
	static const size_t far[] = {256, 257, 384, 511, 512, 1000, 1024};

	if (number <= 192)
		return number;
	number -= 193;
	if (number < 160 * (size_t)3)
		return (number / 3 + 1) * CHUNK - 1 + number % 3;
	number -= 160 * (size_t)3;
	if (number < LEN(far) * 3)
		return far[number / 3] * CHUNK - 1 + number % 3;
	return SIZE_MAX;
}

/* Against the first path, which is the plainest one there is. */
static void test_lengths(enum blake3_isa isa, enum blake3_isa plain)
{
	unsigned wrong = 0;
	size_t size;

	for (size_t i = 0; (size = length_get(i)) != SIZE_MAX; i++) {
		uint8_t want[BLAKE3_OUT_SIZE], out[BLAKE3_OUT_SIZE];

		blake3_force_isa(plain);
		hash_input(size, 0, want);
		blake3_force_isa(isa);
		hash_input(size, i % 64, out);
		if (memcmp(want, out, sizeof(out)) != 0) {
			wrong++;
			printf("# wrong hash of %zu bytes\n", size);
		}
	}
	ok(wrong == 0, on(isa, "every length hashes as by the plainest path, at any alignment"));
}

static void hash_pieces(const uint8_t *in, size_t size, size_t piece, uint8_t *out)
{
	struct blake3 h;

	blake3_init(&h);
	for (size_t at = 0; at < size; at += piece)
		blake3_update(&h, in + at, size - at < piece ? size - at : piece);
	blake3_final(&h, out);
}

static void test_pieces(enum blake3_isa isa)
{
	static const size_t piece[] = {1,     63,    64,    65,	    1000,   1024,  4096,
				       16383, 16384, 16385, 131072, 131073, 200000};
	static const size_t size[] = {0,     1,	    1024,   1025,   16384,  16385,  32768,
				      32769, 40000, 131072, 131073, 300000, 1048577};
	CLEANUP_FREE uint8_t *in = input_new(LONGEST, 0);
	unsigned wrong = 0;

	for (size_t i = 0; i < LEN(size); i++) {
		uint8_t whole[BLAKE3_OUT_SIZE], pieces[BLAKE3_OUT_SIZE];

		blake3_hash(in, size[i], whole);
		for (size_t j = 0; j < LEN(piece); j++) {
			hash_pieces(in, size[i], piece[j], pieces);
			if (memcmp(whole, pieces, sizeof(whole)) != 0) {
				wrong++;
				printf("# %zu bytes in pieces of %zu\n", size[i], piece[j]);
			}
		}
	}
	ok(wrong == 0, on(isa, "pieces of any size hash as the whole"));
}

/* Final in between, at every length, must neither be wrong nor spoil what follows. */
static void test_final_continues(enum blake3_isa isa)
{
	CLEANUP_FREE uint8_t *in = input_new(LONGEST, 0);
	struct blake3 h;
	size_t at = 0, next;
	unsigned wrong = 0;

	blake3_init(&h);
	for (size_t i = 0; (next = length_get(i)) != SIZE_MAX; i++) {
		uint8_t whole[BLAKE3_OUT_SIZE], so_far[BLAKE3_OUT_SIZE];

		if (next < at)
			continue;
		blake3_update(&h, in + at, next - at);
		at = next;
		blake3_final(&h, so_far);
		blake3_hash(in, at, whole);
		wrong += memcmp(whole, so_far, sizeof(whole)) != 0;
	}
	ok(wrong == 0 && at == LONGEST, on(isa, "final may come in between"));
}

#ifndef HAVE_LIBBLAKE3

/* A chunk as plain C does it. */
static void chunk_plain(const uint8_t *in, uint64_t counter, uint8_t *cv)
{
	const struct blake3_kernel *k = blake3_kernel_get(BLAKE3_PORTABLE);

	memcpy(cv, blake3_iv_cv, BLAKE3_CV_SIZE);
	for (size_t at = 0; at < CHUNK; at += BLAKE3_BLOCK_SIZE) {
		uint32_t flags = at == 0 ? BLAKE3_CHUNK_START : 0;

		flags |= at + BLAKE3_BLOCK_SIZE == CHUNK ? BLAKE3_CHUNK_END : 0;
		k->block(cv, in + at, BLAKE3_BLOCK_SIZE, counter, flags);
	}
}

static bool lanes_equal_plain(blake3_lanes_fn *fn, uint64_t counter, size_t node_len)
{
	CLEANUP_FREE uint8_t *in = input_new(BLAKE3_LANES_MAX * CHUNK, 0);
	uint8_t cvs[(BLAKE3_LANES_MAX + 1) * BLAKE3_CV_SIZE], want[sizeof(cvs)];
	const uint8_t *lane[BLAKE3_LANES_MAX];

	memset(cvs, 0xee, sizeof(cvs));
	memset(want, 0xee, sizeof(want));
	for (size_t i = 0; i < BLAKE3_LANES_MAX; i++)
		lane[i] = in + i * CHUNK;
	for (size_t i = 0; i < node_len; i++)
		chunk_plain(lane[i], counter + i, want + i * BLAKE3_CV_SIZE);
	fn(lane, BLAKE3_CHUNKS, counter, cvs, node_len);
	return memcmp(cvs, want, sizeof(cvs)) == 0;
}

/* The number of a chunk has 64 bits; no message here is longer than 1 MiB, let alone 4 TiB. */
static void test_counter(enum blake3_isa isa)
{
	static const uint64_t counter[] = {0, 0xfffffff8, 0xffffffff, 0x123456789abcdefULL};
	const struct blake3_kernel *k = blake3_kernel_get(isa);
	unsigned wrong = 0;

	for (size_t i = 0; i < LEN(counter) * BLAKE3_LANES_MAX; i++) {
		uint64_t c = counter[i / BLAKE3_LANES_MAX];
		size_t n = i % BLAKE3_LANES_MAX + 1;

		wrong += n <= 4 && !lanes_equal_plain(k->lanes4, c, n);
		wrong += n <= 8 && k->lanes8 && !lanes_equal_plain(k->lanes8, c, n);
		wrong += k->lanes16 && !lanes_equal_plain(k->lanes16, c, n);
	}
	ok(wrong == 0, on(isa, "lanes count chunks in 64 bits and write no more than asked for"));
}

static void test_block(enum blake3_isa isa)
{
	const struct blake3_kernel *plain = blake3_kernel_get(BLAKE3_PORTABLE);
	const struct blake3_kernel *k = blake3_kernel_get(isa);
	uint8_t block[BLAKE3_BLOCK_SIZE], a[BLAKE3_CV_SIZE], b[BLAKE3_CV_SIZE];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * i + 3);
	memcpy(a, blake3_iv_cv, sizeof(a));
	memcpy(b, blake3_iv_cv, sizeof(b));
	plain->block(a, block, 0x89abcdef, 0xfedcba9876543210ULL, 0xf0e1d2c3);
	k->block(b, block, 0x89abcdef, 0xfedcba9876543210ULL, 0xf0e1d2c3);
	ok(memcmp(a, b, sizeof(a)) == 0, on(isa, "one block: all bits of counter, size and flags"));
}

#endif

static void test_isa(enum blake3_isa isa, enum blake3_isa plain)
{
	blake3_force_isa(isa);
	test_vectors(isa);
	test_lengths(isa, plain);
	test_pieces(isa);
	test_final_continues(isa);
#ifndef HAVE_LIBBLAKE3
	if (isa > BLAKE3_PORTABLE) {
		test_counter(isa);
		test_block(isa);
	}
#endif
}

int main(void)
{
	enum blake3_isa plain = BLAKE3_AUTO;

	ok(blake3_isa_supported(BLAKE3_AUTO), "there is a code path");
	for (enum blake3_isa isa = BLAKE3_AUTO + 1; isa < BLAKE3_ISA_COUNT; isa++) {
		if (!blake3_isa_supported(isa)) {
			printf("# this CPU or build has no %s\n", blake3_isa_name(isa));
			continue;
		}
		plain = plain == BLAKE3_AUTO ? isa : plain;
		test_isa(isa, plain);
	}
	ok(plain != BLAKE3_AUTO, "some path has a name");
	test_isa(BLAKE3_AUTO, plain);
	return done();
}
