/* cut_hash.h - XXH3-64 (seed 0) of a block, which decides where chunks end; docs/formats.md "How a window is cut". */
#ifndef COMMON_CUT_HASH_H
#define COMMON_CUT_HASH_H
#include <stddef.h>
#include <stdint.h>

typedef uint64_t cut_hash_fn(const void *data, size_t size);

/* For this processor; all give the same. */
cut_hash_fn *cut_hash_get(void);

cut_hash_fn cut_hash_portable;
/* Only where the processor has AVX2; the portable one where the build has no such thing. */
cut_hash_fn cut_hash_avx2;
#endif
