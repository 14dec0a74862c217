/* medium.h - the settings area of a boot medium, docs/formats-settings.md. */
#ifndef COMMON_MEDIUM_H
#define COMMON_MEDIUM_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define MEDIUM_AREA_SIZE 65536u
#define MEDIUM_SECTOR	 2048u
/* of a line key=value in it */
#define MEDIUM_LINE_MAX 4096u

/* Byte at which the one settings area of the image in `fd` begins.  -ENOENT none (not a boot medium of Hoist, or of
 * another version), -EEXIST more than one, -EPROTO cut off at the end of the file; -errno of reading. */
int medium_find(int fd, uint64_t *ret_offset, struct err *err) MUST_CHECK;
/* An area with these settings (lines key=value).  -E2BIG when they do not fit. */
int medium_encode(const char *settings, size_t size, uint8_t ret_area[static MEDIUM_AREA_SIZE],
		  struct err *err) MUST_CHECK;
/* The settings in an area (borrowed from it; not NUL-terminated).  -EPROTO with what is wrong. */
int medium_decode(const uint8_t area[static MEDIUM_AREA_SIZE], const char **ret_settings,
		  size_t *ret_size, struct err *err) MUST_CHECK;
/* A key as the kernel line has it without "hoist.", and a value that survives the way into the live image.
 * -EINVAL with the sentence, which does not quote the value. */
int medium_check_setting(const char *key, const char *value, struct err *err) MUST_CHECK;
#endif
