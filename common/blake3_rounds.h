/* blake3_rounds.h - template: the seven rounds of BLAKE3 on LANES states at once.
 *
 * Included by blake3_kernel.c for each width and instruction set.  It sets LANES (1, 4, 8, 16), ISA
 * (ends the names), TARGET (the attribute of the functions) and ROTATE.  Defines the type VEC,
 * LANES words of 32 bits, and the function rounds.  Names are those of the paper: v is the state,
 * four rows of four words; m the message block. */

#if LANES == 1
typedef uint32_t VEC;
#else
typedef uint32_t VEC __attribute__((vector_size(4 * LANES)));
#endif

INLINE VEC FN(rotr)(VEC x, unsigned bits)
{
	return x >> bits | x << (32 - bits);
}

#if ROTATE == ROTATE_BYTES

typedef uint8_t FN(bytes) __attribute__((vector_size(4 * LANES)));

#define ROTR16_BYTES(i)	    (i) + 2, (i) + 3, (i), (i) + 1
#define ROTR8_BYTES(i)	    (i) + 1, (i) + 2, (i) + 3, (i)
#define VEC4_BYTES(word, i) word(i), word((i) + 4), word((i) + 8), word((i) + 12)
#if LANES == 4
#define VEC_BYTES(word) VEC4_BYTES(word, 0)
#else
#define VEC_BYTES(word) VEC4_BYTES(word, 0), VEC4_BYTES(word, 16)
#endif

INLINE VEC FN(rotr16)(VEC x)
{
	FN(bytes) b = (FN(bytes))x;

	return (VEC)__builtin_shufflevector(b, b, VEC_BYTES(ROTR16_BYTES));
}

INLINE VEC FN(rotr8)(VEC x)
{
	FN(bytes) b = (FN(bytes))x;

	return (VEC)__builtin_shufflevector(b, b, VEC_BYTES(ROTR8_BYTES));
}

#undef VEC_BYTES
#else

#if ROTATE == ROTATE_HALVES
INLINE VEC FN(rotr16)(VEC x)
{
	typedef uint16_t halves __attribute__((vector_size(16)));
	halves b = (halves)x;

	return (VEC)__builtin_shufflevector(b, b, 1, 0, 3, 2, 5, 4, 7, 6);
}
#else
INLINE VEC FN(rotr16)(VEC x)
{
	return FN(rotr)(x, 16);
}
#endif

INLINE VEC FN(rotr8)(VEC x)
{
	return FN(rotr)(x, 8);
}

#endif

/* One step of four G functions at a time, on the columns of v: four chains of operations that do
 * not wait for each other.  Column i takes m[2i] and m[2i+1]. */
#define COLUMNS(step)                           \
	do {                                    \
		step(0) step(1) step(2) step(3) \
	} while (0)
#define STEP_A0(i) v[i] = v[i] + m[2 * (i)] + v[4 + (i)];
#define STEP_A1(i) v[i] = v[i] + m[2 * (i) + 1] + v[4 + (i)];
#define STEP_B0(i) v[4 + (i)] = FN(rotr)(v[4 + (i)] ^ v[8 + (i)], 12);
#define STEP_B1(i) v[4 + (i)] = FN(rotr)(v[4 + (i)] ^ v[8 + (i)], 7);
#define STEP_C(i)  v[8 + (i)] += v[12 + (i)];
#define STEP_D0(i) v[12 + (i)] = FN(rotr16)(v[12 + (i)] ^ v[i]);
#define STEP_D1(i) v[12 + (i)] = FN(rotr8)(v[12 + (i)] ^ v[i]);

INLINE void FN(columns)(VEC v[16], const VEC m[8])
{
	COLUMNS(STEP_A0);
	COLUMNS(STEP_D0);
	COLUMNS(STEP_C);
	COLUMNS(STEP_B0);
	COLUMNS(STEP_A1);
	COLUMNS(STEP_D1);
	COLUMNS(STEP_C);
	COLUMNS(STEP_B1);
}

/* Turn a row by one word to the left.  The words are variables of their own once all is inlined:
 * this and the permutation of m rename them and move nothing. */
INLINE void FN(turn)(VEC row[4])
{
	VEC t = row[0];

	row[0] = row[1];
	row[1] = row[2];
	row[2] = row[3];
	row[3] = t;
}

/* The diagonals are the columns once row i is turned by i. */
INLINE void FN(round)(VEC v[16], const VEC m[16])
{
	FN(columns)(v, m);
	FN(turn)(v + 4);
	FN(turn)(v + 8);
	FN(turn)(v + 8);
	FN(turn)(v + 12);
	FN(turn)(v + 12);
	FN(turn)(v + 12);
	FN(columns)(v, m + 8);
	FN(turn)(v + 4);
	FN(turn)(v + 4);
	FN(turn)(v + 4);
	FN(turn)(v + 8);
	FN(turn)(v + 8);
	FN(turn)(v + 12);
}

/* Table 2, m'[i] = m[P(i)], which is two cycles of eight words. */
INLINE void FN(permute)(VEC m[16])
{
	VEC t = m[0];

	m[0] = m[2];
	m[2] = m[3];
	m[3] = m[10];
	m[10] = m[12];
	m[12] = m[9];
	m[9] = m[11];
	m[11] = m[5];
	m[5] = t;
	t = m[1];
	m[1] = m[6];
	m[6] = m[4];
	m[4] = m[7];
	m[7] = m[13];
	m[13] = m[14];
	m[14] = m[15];
	m[15] = m[8];
	m[8] = t;
}

INLINE void FN(rounds)(VEC v[16], VEC m[16])
{
	FN(round)(v, m);
	FN(permute)(m);
	FN(round)(v, m);
	FN(permute)(m);
	FN(round)(v, m);
	FN(permute)(m);
	FN(round)(v, m);
	FN(permute)(m);
	FN(round)(v, m);
	FN(permute)(m);
	FN(round)(v, m);
	FN(permute)(m);
	FN(round)(v, m);
}
