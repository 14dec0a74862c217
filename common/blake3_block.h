/* blake3_block.h - template: one compression on its own, a row of the state in each vector.
 *
 * Included by blake3_lanes.h if LANES == 4; little-endian CPUs only.  Defines the function block (blake3_block_fn). */

/* One step of four G functions on the columns, x and y being their message words. */
INLINE void FN(rows)(VEC row[4], VEC x, VEC y)
{
	row[0] = row[0] + x + row[1];
	row[3] = FN(rotr16)(row[3] ^ row[0]);
	row[2] += row[3];
	row[1] = FN(rotr)(row[1] ^ row[2], 12);
	row[0] = row[0] + y + row[1];
	row[3] = FN(rotr8)(row[3] ^ row[0]);
	row[2] += row[3];
	row[1] = FN(rotr)(row[1] ^ row[2], 7);
}

/* m: words 0 2 4 6, 1 3 5 7 for the columns; 14 8 10 12, 15 9 11 13 for the diagonals.  To make
 * columns of the diagonals all rows but the second are turned, since that is the one that is ready
 * last: G number 4 + i is in element i + 1 then, and so are its words. */
INLINE void FN(row_round)(VEC row[4], const VEC m[4])
{
	FN(rows)(row, m[0], m[1]);
	row[0] = __builtin_shufflevector(row[0], row[0], 3, 0, 1, 2);
	row[2] = __builtin_shufflevector(row[2], row[2], 1, 2, 3, 0);
	row[3] = __builtin_shufflevector(row[3], row[3], 2, 3, 0, 1);
	FN(rows)(row, m[2], m[3]);
	row[0] = __builtin_shufflevector(row[0], row[0], 1, 2, 3, 0);
	row[2] = __builtin_shufflevector(row[2], row[2], 3, 0, 1, 2);
	row[3] = __builtin_shufflevector(row[3], row[3], 2, 3, 0, 1);
}

/* Table 2 in that arrangement: the words of the next round are
 * 2 3 7 4, 6 10 0 13; 15 1 12 9, 8 11 5 14. */
INLINE void FN(row_permute)(VEC m[4])
{
	VEC w10_13 = __builtin_shufflevector(m[2], m[3], 2, 7, -1, -1);
	VEC w1_12 = __builtin_shufflevector(m[1], m[2], 0, 7, -1, -1);
	VEC w11_5 = __builtin_shufflevector(m[3], m[1], 2, 6, -1, -1);
	VEC next[4] = {
		__builtin_shufflevector(m[0], m[1], 1, 5, 7, 2),
		__builtin_shufflevector(m[0], w10_13, 3, 4, 0, 5),
		__builtin_shufflevector(m[3], w1_12, 0, 4, 5, 1),
		__builtin_shufflevector(m[2], w11_5, 1, 4, 5, 0),
	};

	m[0] = next[0];
	m[1] = next[1];
	m[2] = next[2];
	m[3] = next[3];
}

static UNCHECKED TARGET void FN(block)(uint8_t *cv, const uint8_t *block, uint32_t size,
				       uint64_t counter, uint32_t flags)
{
	VEC row[4], m[4], b[4];

	row[0] = FN(load4)(cv);
	row[1] = FN(load4)(cv + 16);
	row[2] = (VEC){BLAKE3_IV0, BLAKE3_IV1, BLAKE3_IV2, BLAKE3_IV3};
	row[3] = (VEC){(uint32_t)counter, (uint32_t)(counter >> 32), size, flags};
	b[0] = FN(load4)(block);
	b[1] = FN(load4)(block + 16);
	b[2] = FN(load4)(block + 32);
	b[3] = FN(load4)(block + 48);
	m[0] = __builtin_shufflevector(b[0], b[1], 0, 2, 4, 6);
	m[1] = __builtin_shufflevector(b[0], b[1], 1, 3, 5, 7);
	m[2] = __builtin_shufflevector(b[2], b[3], 6, 0, 2, 4);
	m[3] = __builtin_shufflevector(b[2], b[3], 7, 1, 3, 5);
	FN(row_round)(row, m);
	FN(row_permute)(m);
	FN(row_round)(row, m);
	FN(row_permute)(m);
	FN(row_round)(row, m);
	FN(row_permute)(m);
	FN(row_round)(row, m);
	FN(row_permute)(m);
	FN(row_round)(row, m);
	FN(row_permute)(m);
	FN(row_round)(row, m);
	FN(row_permute)(m);
	FN(row_round)(row, m);
	row[0] ^= row[2];
	row[1] ^= row[3];
	/* Halves, as they are loaded by the next call: a wider load would wait for both stores. */
	memcpy(cv, &row[0], sizeof(row[0]));
	memcpy(cv + 16, &row[1], sizeof(row[1]));
}
