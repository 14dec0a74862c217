/* blake3.h - BLAKE3-256, the hash that names chunks, nodes, indexes and roots.
 *
 * Hash mode with 32 bytes of output, as in "BLAKE3: one function, fast everywhere" (O'Connor,
 * Aumasson, Neves, Wilcox-O'Hearn; version 2021-11-05).  Keyed mode, key derivation and longer
 * output have no user here.
 *
 * All functions are safe from several threads (each with its own struct blake3), do not allocate
 * and cannot fail.  They need up to 24 KiB of stack. */
#ifndef COMMON_BLAKE3_H
#define COMMON_BLAKE3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef HAVE_LIBBLAKE3
#include <blake3.h>
#endif

#define BLAKE3_OUT_SIZE 32 /* bytes */

/* A hash under way, about 18 KiB; read and written by blake3_init, _update and _final alone.
 * It owns nothing: there is no blake3_done. */
struct blake3 {
#ifdef HAVE_LIBBLAKE3
	blake3_hasher hasher;
#else
	uint64_t chunk_count;	/* chunks whose chaining values are in `stack` */
	size_t stack_len;	/* chaining values in `stack`, the leftmost subtree first */
	size_t buf_size;	/* bytes in `buf`; > 0 once anything was hashed */
	uint8_t stack[54][32];	/* 2^64 bytes are 2^54 chunks: a subtree for each bit */
	uint8_t buf[16 * 1024]; /* the last input: the end of a message is hashed differently */
#endif
};

/* The hash of `size` bytes at `data` (NULL if size is 0).  The fast way for what is in memory. */
void blake3_hash(const void *data, size_t size, uint8_t out[static BLAKE3_OUT_SIZE]);

/* The same for input that comes in pieces, cut anywhere: init, update as often as needed, final.
 * Final changes nothing: more updates and another final may follow. */
void blake3_init(struct blake3 *h);
void blake3_update(struct blake3 *h, const void *data, size_t size);
void blake3_final(const struct blake3 *h, uint8_t out[static BLAKE3_OUT_SIZE]);

/* The code paths, for tests and benchmarks only: programs leave the choice to the CPU. */
enum blake3_isa {
	BLAKE3_AUTO,	 /* the best that this CPU has */
	BLAKE3_PORTABLE, /* plain C, one node at a time */
	BLAKE3_SSE2,	 /* 4 nodes at a time */
	BLAKE3_SSE41,	 /* 4, with byte shuffles */
	BLAKE3_AVX2,	 /* up to 8 */
	BLAKE3_AVX512,	 /* up to 16 */
	BLAKE3_LIBRARY,	 /* libblake3, which chooses for itself; there are no others then */
	BLAKE3_ISA_COUNT,
};

/* "auto", "portable", "sse2", ...: static, never NULL. */
const char *blake3_isa_name(enum blake3_isa isa);
bool blake3_isa_supported(enum blake3_isa isa);
/* Use `isa`, which must be supported, in all threads from now on. */
void blake3_force_isa(enum blake3_isa isa);

#endif
