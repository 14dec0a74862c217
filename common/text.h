/* text.h - bytes that a device, a disk or a peer calls text, made fit for JSON, logs and screens. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H
#include <stdbool.h>
#include <stddef.h>

#define TEXT_SIZE 257 /* for what docs/inventory.md calls text: 256 bytes and NUL */

/* Write `src` (up to `size` bytes or its first NUL) to `ret` as valid UTF-8, trimmed of white space.  Whatever is not valid, and every control,
 * invisible or direction-changing character, becomes U+FFFD; runs of white space become one space.  Cut before the first character that does not
 * fit; always NUL-terminated.  Returns the length.  `ret_size` >= 1; `ret` and `src` do not overlap. */
size_t text_clean(char *ret, size_t ret_size, const void *src, size_t size);

bool text_begins(const char *text, const char *with);
/* With something before it. */
bool text_ends(const char *text, const char *with);
#endif
