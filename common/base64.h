/* base64.h - RFC 4648 section 4. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* With padding and NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* `ret` has room for BASE64_SIZE(size). */
void base64_encode(const uint8_t *data, size_t size, char *ret);
/* The one encoding of some bytes and nothing else: padded, no blanks, unused bits zero.  The number of bytes; -EINVAL, -E2BIG when they do not fit
 * into `max`. */
ssize_t base64_decode(const char *text, size_t len, uint8_t *ret, size_t max);
#endif
