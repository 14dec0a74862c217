#include "common/cut_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t cut_hash_portable(const void *data, size_t size)
{
	return XXH3_64bits(data, size);
}

cut_hash_fn *cut_hash_get(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return cut_hash_avx2;
#endif
	return cut_hash_portable;
}
