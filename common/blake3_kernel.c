/* The compression function of BLAKE3 (section 2.2 of the paper) for every instruction set: the
 * template blake3_lanes.h (with blake3_rounds.h and blake3_block.h in it), included once for each.
 *
 * The function is 7 rounds of additions, exclusive ors and rotations of sixteen 32-bit words.
 * blake3_lanes.h puts the same word of 4, 8 or 16 nodes into one vector: nothing moves between
 * lanes but the message on its way in.  blake3_block.h, for a node that is alone, puts each row of
 * four words into a vector.  The vector types are the compiler's own (gcc and clang); which
 * instructions come out depends on the target attribute of the functions, so that one object
 * holds them all. */
#include "common/blake3_kernel.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define LE32(x) (x) & 255, (x) >> 8 & 255, (x) >> 16 & 255, (x) >> 24
const uint8_t blake3_iv_cv[BLAKE3_CV_SIZE] = {
	LE32(BLAKE3_IV0), LE32(BLAKE3_IV1), LE32(BLAKE3_IV2), LE32(BLAKE3_IV3),
	LE32(BLAKE3_IV4), LE32(BLAKE3_IV5), LE32(BLAKE3_IV6), LE32(BLAKE3_IV7),
};

/* How an instruction set rotates 32-bit elements by 16 and by 8. */
#define ROTATE_SHIFT  0 /* as it is written: two shifts and an or, or one rotation */
#define ROTATE_HALVES 1 /* by 16: swap the halves */
#define ROTATE_BYTES  2 /* shuffle the bytes */

#define PASTE_(a, b, c) a##b##_##c
#define PASTE(a, b, c)	PASTE_(a, b, c)
#define FN(name)	PASTE(name, LANES, ISA)
#define VEC		FN(vec)
/* UBSan's checks of pointers would keep clang busy for many minutes, and can find nothing that ASan
 * does not: all indices are constants, and what is not local is read by memcpy. */
#ifdef __clang__
#define UNCHECKED \
	__attribute__((no_sanitize("alignment", "null", "object-size", "pointer-overflow")))
#else
#define UNCHECKED
#endif
#define INLINE static inline __attribute__((always_inline)) UNCHECKED TARGET

#define ISA portable
#define TARGET
#define ROTATE ROTATE_SHIFT
#define LANES  1
#include "common/blake3_rounds.h"
#undef LANES
#undef ISA
#undef ROTATE

static uint32_t load_le32(const uint8_t *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return le32toh(x);
}

static void store_le32(uint8_t *p, uint32_t x)
{
	x = htole32(x);
	memcpy(p, &x, sizeof(x));
}

static void block_portable(uint8_t *cv, const uint8_t *block, uint32_t size, uint64_t counter,
			   uint32_t flags)
{
	uint32_t v[16], m[16];

	for (unsigned i = 0; i < 8; i++)
		v[i] = load_le32(cv + 4 * i);
	v[8] = BLAKE3_IV0;
	v[9] = BLAKE3_IV1;
	v[10] = BLAKE3_IV2;
	v[11] = BLAKE3_IV3;
	v[12] = (uint32_t)counter;
	v[13] = (uint32_t)(counter >> 32);
	v[14] = size;
	v[15] = flags;
	for (unsigned i = 0; i < 16; i++)
		m[i] = load_le32(block + 4 * i);
	rounds1_portable(v, m);
	for (unsigned i = 0; i < 8; i++)
		store_le32(cv + 4 * i, v[i] ^ v[i + 8]);
}

static const struct blake3_kernel kernel_portable = {.block = block_portable};

#ifdef __x86_64__ /* little-endian, and SSE2 is always there */

typedef uint32_t uint32x4 __attribute__((vector_size(16)));

#define ISA    sse2
#define ROTATE ROTATE_HALVES
#define LANES  4
#include "common/blake3_lanes.h"
#undef LANES
#undef ISA
#undef TARGET
#undef ROTATE

#define ISA    sse41
#define TARGET __attribute__((target("sse4.1")))
#define ROTATE ROTATE_BYTES
#define LANES  4
#include "common/blake3_lanes.h"
#undef LANES
#undef ISA
#undef TARGET

#define ISA    avx2
#define TARGET __attribute__((target("avx2")))
#define LANES  4
#include "common/blake3_lanes.h"
#undef LANES
#define LANES 8
#include "common/blake3_lanes.h"
#undef LANES
#undef ISA
#undef TARGET
#undef ROTATE

#define ISA    avx512
#define TARGET __attribute__((target("avx512f,avx512vl")))
#define ROTATE ROTATE_SHIFT
#define LANES  4
#include "common/blake3_lanes.h"
#undef LANES
#define LANES 8
#include "common/blake3_lanes.h"
#undef LANES
#define LANES 16
#include "common/blake3_lanes.h"
#undef LANES
#undef ISA
#undef TARGET
#undef ROTATE

static const struct blake3_kernel kernel_sse2 = {
	.block = block4_sse2,
	.lanes4 = lanes4_sse2,
};
static const struct blake3_kernel kernel_sse41 = {
	.block = block4_sse41,
	.lanes4 = lanes4_sse41,
};
static const struct blake3_kernel kernel_avx2 = {
	.block = block4_avx2,
	.lanes4 = lanes4_avx2,
	.lanes8 = lanes8_avx2,
};
static const struct blake3_kernel kernel_avx512 = {
	.block = block4_avx512,
	.lanes4 = lanes4_avx512,
	.lanes8 = lanes8_avx512,
	.lanes16 = lanes16_avx512,
};

#endif

const struct blake3_kernel *blake3_kernel_get(enum blake3_isa isa)
{
	switch (isa) {
	case BLAKE3_PORTABLE:
		return &kernel_portable;
#ifdef __x86_64__
	case BLAKE3_SSE2:
		return &kernel_sse2;
	case BLAKE3_SSE41:
		return __builtin_cpu_supports("sse4.1") ? &kernel_sse41 : NULL;
	case BLAKE3_AVX2:
		return __builtin_cpu_supports("avx2") ? &kernel_avx2 : NULL;
	case BLAKE3_AVX512:
		if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl"))
			return NULL;
		return &kernel_avx512;
#endif
	default:
		return NULL;
	}
}
