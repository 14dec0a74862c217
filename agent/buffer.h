/* buffer.h - large memory for transfers. */
#ifndef AGENT_BUFFER_H
#define AGENT_BUFFER_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BUFFER_ALIGN (2u << 20) /* of a huge page, and enough for O_DIRECT */

/* `size` is a multiple of BUFFER_ALIGN.  In huge pages where there are some: what passes through once is then not slowed down by
 * looking up its pages, which costs the more on a virtual machine.  NULL: out of memory.  To be free()d. */
static inline uint8_t *buffer_new(size_t size)
{
	uint8_t *p = aligned_alloc(BUFFER_ALIGN, size);

	if (p)
		(void)madvise(p, size, MADV_HUGEPAGE); /* a wish */
	return p;
}
#endif
