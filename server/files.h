/* files.h - small private files of the data directory. */
#ifndef SERVER_FILES_H
#define SERVER_FILES_H
#include <stddef.h>

#include "common/err.h"

/* Write DIR/NAME with mode 0600 so that it is either as before or whole, and durable on return.  Negative errno of what failed. */
int file_write_private(const char *dir, const char *name, const void *data, size_t size,
		       struct err *err) MUST_CHECK;
/* Read DIR/NAME, at most `max` bytes, NUL-terminated heap.  -ENOENT when it is not there, -EFBIG, -EPERM when others than its owner
 * may read it. */
int file_read_private(const char *dir, const char *name, size_t max, char **ret, size_t *ret_size,
		      struct err *err) MUST_CHECK;
#endif
