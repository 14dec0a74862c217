/* blake3_lanes.h - template: the chaining values of LANES nodes side by side.
 *
 * Included by blake3_kernel.c, which sets what blake3_rounds.h asks for; LANES > 1, little-endian
 * CPUs only.  Defines the function lanes (blake3_lanes_fn) and, if LANES == 4, the function block
 * (blake3_block_fn).  Element l of every vector belongs to node l.
 *
 * The message comes in by 128 bits: a vector takes four words from each of the nodes l, l + 4,
 * l + 8, ...; four such vectors, l = 0..3, are then transposed as 4x4 words within each 128 bits,
 * and element l of the result is node l again.  Wider transposes would need shuffles across
 * 128 bits, which are slow and compete for one port. */

#include "common/blake3_rounds.h"

INLINE uint32x4 FN(load4)(const uint8_t *p)
{
	uint32x4 x;

	memcpy(&x, p, sizeof(x));
	return x;
}

#if LANES == 4
#include "common/blake3_block.h"
#endif

typedef uint64_t FN(pairs) __attribute__((vector_size(4 * LANES)));

/* __builtin_shufflevector: interleave the low or high words, or 64-bit pairs, of each 128 bits. */
#if LANES == 4
#define LOW_WORDS  0, 4, 1, 5
#define HIGH_WORDS 2, 6, 3, 7
#define LOW_PAIRS  0, 2
#define HIGH_PAIRS 1, 3
#elif LANES == 8
#define LOW_WORDS  0, 8, 1, 9, 4, 12, 5, 13
#define HIGH_WORDS 2, 10, 3, 11, 6, 14, 7, 15
#define LOW_PAIRS  0, 4, 2, 6
#define HIGH_PAIRS 1, 5, 3, 7
#else
#define LOW_WORDS  0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_WORDS 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOW_PAIRS  0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_PAIRS 1, 9, 3, 11, 5, 13, 7, 15
#endif

INLINE void FN(transpose)(VEC x[4])
{
	FN(pairs) low01 = (FN(pairs))__builtin_shufflevector(x[0], x[1], LOW_WORDS);
	FN(pairs) high01 = (FN(pairs))__builtin_shufflevector(x[0], x[1], HIGH_WORDS);
	FN(pairs) low23 = (FN(pairs))__builtin_shufflevector(x[2], x[3], LOW_WORDS);
	FN(pairs) high23 = (FN(pairs))__builtin_shufflevector(x[2], x[3], HIGH_WORDS);

	x[0] = (VEC)__builtin_shufflevector(low01, low23, LOW_PAIRS);
	x[1] = (VEC)__builtin_shufflevector(low01, low23, HIGH_PAIRS);
	x[2] = (VEC)__builtin_shufflevector(high01, high23, LOW_PAIRS);
	x[3] = (VEC)__builtin_shufflevector(high01, high23, HIGH_PAIRS);
}

#undef LOW_WORDS
#undef HIGH_WORDS
#undef LOW_PAIRS
#undef HIGH_PAIRS

/* Four words from each of the nodes 0, 4, 8, ...  By intrinsics: of what the vector types can say,
 * gcc 12 makes shuffles of registers, which wait for the one port that the transpose needs too. */
INLINE VEC FN(load)(const uint8_t *const *in, size_t offset)
{
#if LANES == 4
	return FN(load4)(in[0] + offset);
#elif LANES == 8
	__m256i x = _mm256_castsi128_si256((__m128i)FN(load4)(in[0] + offset));

	return (VEC)_mm256_inserti128_si256(x, (__m128i)FN(load4)(in[4] + offset), 1);
#else
	__m512i x = _mm512_castsi128_si512((__m128i)FN(load4)(in[0] + offset));

	x = _mm512_inserti32x4(x, (__m128i)FN(load4)(in[4] + offset), 1);
	x = _mm512_inserti32x4(x, (__m128i)FN(load4)(in[8] + offset), 2);
	return (VEC)_mm512_inserti32x4(x, (__m128i)FN(load4)(in[12] + offset), 3);
#endif
}

/* Words offset / 4 to offset / 4 + 3 of every node. */
INLINE void FN(load_words)(VEC x[4], const uint8_t *const *in, size_t offset)
{
	x[0] = FN(load)(in, offset);
	x[1] = FN(load)(in + 1, offset);
	x[2] = FN(load)(in + 2, offset);
	x[3] = FN(load)(in + 3, offset);
	FN(transpose)(x);
}

INLINE VEC FN(splat)(uint32_t word)
{
	return word - (VEC){0};
}

/* Writes the first node_len of the LANES chaining values in h. */
INLINE void FN(store_cvs)(VEC h[8], uint8_t *cvs, size_t node_len)
{
	FN(transpose)(h);
	FN(transpose)(h + 4);
#define STORE(l)                                                                                \
	if ((l) < node_len) {                                                                   \
		memcpy(cvs + (l)*32, (const uint8_t *)&h[(l) % 4] + (l) / 4 * 16, 16);          \
		memcpy(cvs + (l)*32 + 16, (const uint8_t *)&h[4 + (l) % 4] + (l) / 4 * 16, 16); \
	}
#define STORE4(l) STORE(l) STORE((l) + 1) STORE((l) + 2) STORE((l) + 3)
	STORE4(0)
#if LANES >= 8
	STORE4(4)
#endif
#if LANES >= 16
	STORE4(8)
	STORE4(12)
#endif
#undef STORE
#undef STORE4
}

INLINE void FN(compress)(VEC h[8], VEC m[16], const VEC counter[2], uint32_t flags)
{
	VEC v[16] = {
		h[0],
		h[1],
		h[2],
		h[3],
		h[4],
		h[5],
		h[6],
		h[7],
		FN(splat)(BLAKE3_IV0),
		FN(splat)(BLAKE3_IV1),
		FN(splat)(BLAKE3_IV2),
		FN(splat)(BLAKE3_IV3),
		counter[0],
		counter[1],
		FN(splat)(BLAKE3_BLOCK_SIZE),
		FN(splat)(flags),
	};

	FN(rounds)(v, m);
	h[0] = v[0] ^ v[8];
	h[1] = v[1] ^ v[9];
	h[2] = v[2] ^ v[10];
	h[3] = v[3] ^ v[11];
	h[4] = v[4] ^ v[12];
	h[5] = v[5] ^ v[13];
	h[6] = v[6] ^ v[14];
	h[7] = v[7] ^ v[15];
}

static UNCHECKED TARGET void FN(lanes)(const uint8_t *const *in, enum blake3_nodes nodes,
				       uint64_t counter, uint8_t *cvs, size_t node_len)
{
	static const uint32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	bool chunks = nodes == BLAKE3_CHUNKS;
	size_t size = chunks ? BLAKE3_CHUNK_SIZE : BLAKE3_BLOCK_SIZE;
	uint32_t flags = chunks ? BLAKE3_CHUNK_START : BLAKE3_PARENT;
	VEC count[2] = {FN(splat)((uint32_t)counter), FN(splat)((uint32_t)(counter >> 32))};
	VEC m[16], h[8] = {
			   FN(splat)(BLAKE3_IV0), FN(splat)(BLAKE3_IV1), FN(splat)(BLAKE3_IV2),
			   FN(splat)(BLAKE3_IV3), FN(splat)(BLAKE3_IV4), FN(splat)(BLAKE3_IV5),
			   FN(splat)(BLAKE3_IV6), FN(splat)(BLAKE3_IV7),
		   };

	if (chunks) {
		VEC number;

		memcpy(&number, numbers, sizeof(number));
		count[0] += number;
		count[1] -= (VEC)(count[0] < number); /* true is -1: the carry */
	}
	for (size_t offset = 0; offset < size; offset += BLAKE3_BLOCK_SIZE) {
		FN(load_words)(m, in, offset);
		FN(load_words)(m + 4, in, offset + 16);
		FN(load_words)(m + 8, in, offset + 32);
		FN(load_words)(m + 12, in, offset + 48);
		if (chunks && offset == BLAKE3_CHUNK_SIZE - BLAKE3_BLOCK_SIZE)
			flags |= BLAKE3_CHUNK_END;
		FN(compress)(h, m, count, flags);
		flags = 0;
	}
	FN(store_cvs)(h, cvs, node_len);
}
