/* blake3_kernel.h - between the tree (blake3.c) and the compression function (blake3_kernel.c).
 * Private to these two.  Constants: the BLAKE3 paper, section 2. */
#ifndef COMMON_BLAKE3_KERNEL_H
#define COMMON_BLAKE3_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "common/blake3.h"

#define BLAKE3_BLOCK_SIZE 64   /* bytes that one compression takes in */
#define BLAKE3_CHUNK_SIZE 1024 /* bytes of a leaf of the tree */
#define BLAKE3_CV_SIZE	  32   /* bytes of a chaining value, always in little-endian words */
#define BLAKE3_LANES_MAX  16

/* Table 1: the initialisation vector. */
#define BLAKE3_IV0 0x6a09e667U
#define BLAKE3_IV1 0xbb67ae85U
#define BLAKE3_IV2 0x3c6ef372U
#define BLAKE3_IV3 0xa54ff53aU
#define BLAKE3_IV4 0x510e527fU
#define BLAKE3_IV5 0x9b05688cU
#define BLAKE3_IV6 0x1f83d9abU
#define BLAKE3_IV7 0x5be0cd19U

/* Table 3: domain separation flags. */
#define BLAKE3_CHUNK_START (1U << 0) /* the first block of a chunk */
#define BLAKE3_CHUNK_END   (1U << 1) /* the last block of a chunk */
#define BLAKE3_PARENT	   (1U << 2)
#define BLAKE3_ROOT	   (1U << 3)

enum blake3_nodes {
	BLAKE3_CHUNKS,	/* whole chunks: BLAKE3_CHUNK_SIZE bytes each */
	BLAKE3_PARENTS, /* one block each: the chaining values of two children */
};

/* The chaining values of `node_len` nodes side by side, 1 <= node_len <= the function's lanes;
 * none of them is the root.  `in` has a pointer for every lane; lanes past node_len are computed
 * and dropped, let them point at any node.  `counter` is the number of the first chunk, 0 for
 * parents.  Writes node_len * BLAKE3_CV_SIZE bytes to `cvs` when all input was read, so that `cvs`
 * may lie within the input. */
typedef void blake3_lanes_fn(const uint8_t *const *in, enum blake3_nodes nodes, uint64_t counter,
			     uint8_t *cvs, size_t node_len);

/* One compression: `block` (BLAKE3_BLOCK_SIZE bytes, of which `size` count and the rest are 0) into
 * the chaining value `cv`, which becomes the output. */
typedef void blake3_block_fn(uint8_t *cv, const uint8_t *block, uint32_t size, uint64_t counter,
			     uint32_t flags);

struct blake3_kernel {
	blake3_block_fn *block;
	blake3_lanes_fn *lanes4, *lanes8, *lanes16; /* NULL: none so wide */
};

/* The chaining value that every chunk and parent starts from: the IV. */
extern const uint8_t blake3_iv_cv[BLAKE3_CV_SIZE];

/* The kernel for `isa` (not BLAKE3_AUTO), static; NULL if the CPU or the build has none. */
const struct blake3_kernel *blake3_kernel_get(enum blake3_isa isa);

#endif
