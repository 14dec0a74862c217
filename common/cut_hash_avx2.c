/* This file is compiled for AVX2 (Makefile), and xxhash.h chooses by that.  Nothing in it may run before the processor was asked. */
#include "common/cut_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t cut_hash_avx2(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}
