/* cpio.h - entries of a newc cpio archive, as the kernel unpacks them: Documentation/driver-api/early-userspace/buffer-format.rst.
 * "070701" and 13 fields of 8 hexadecimal digits, the name with its zero byte, zeros to a multiple of 4, the content, zeros to a multiple of 4;
 * multiples count from the start of the archive. */
#ifndef COMMON_CPIO_H
#define COMMON_CPIO_H
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/err.h"

#define CPIO_TRAILER "TRAILER!!!" /* the name of the entry that ends an archive */

struct cpio_entry {
	const char *name; /* NUL-terminated, not empty */
	unsigned mode;	  /* type and permissions */
	const void *data; /* of a symbolic link, where it leads */
	size_t size;
};

/* Bytes that it takes. */
size_t cpio_size(const struct cpio_entry *e);
/* `number`: one for each file of an archive, from 1. */
void cpio_put(struct writer *w, const struct cpio_entry *e, unsigned number);
void cpio_put_trailer(struct writer *w);
/* The next one, in place.  -EPROTO: there is none, or it goes beyond the end. */
int cpio_get(struct reader *r, struct cpio_entry *ret, struct err *err) MUST_CHECK;
#endif
