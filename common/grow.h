/* grow.h - arrays that grow one element at a time. */
#ifndef COMMON_GROW_H
#define COMMON_GROW_H
#include <stddef.h>
#include <stdlib.h>

#define GROW_FIRST 64u

/* Room for one more than `len` elements of `size` bytes in the heap array `items` (NULL at first), which has room for `*cap`.  Returns the array, in
 * place of `items`; NULL when out of memory: `items` and `*cap` are then as they were. */
static inline void *grow(void *items, size_t len, size_t *cap, size_t size)
{
	size_t more = *cap > 0 ? *cap * 2 : GROW_FIRST;
	void *grown;

	if (len < *cap)
		return items;
	grown = reallocarray(items, more, size);
	if (grown)
		*cap = more;
	return grown;
}
#endif
