/* medium.h - the settings area of a boot medium, docs/formats-settings.md. */
#ifndef COMMON_MEDIUM_H
#define COMMON_MEDIUM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define MEDIUM_AREA_SIZE 65536u
#define MEDIUM_SECTOR	 2048u
/* of a line key=value in it */
#define MEDIUM_LINE_MAX 4096u

/* Of a medium, the places that are overwritten in it begin at a multiple of MEDIUM_SECTOR and are known by their first bytes. */
#define MEDIUM_MARKER_SIZE 256u
typedef bool medium_marker_fn(const uint8_t sector[static MEDIUM_MARKER_SIZE]);
struct medium_search {
	uint64_t offset; /* of the last match */
	unsigned matches;
	uint64_t end; /* of the file or disk */
};
/* -errno of reading. */
int medium_search(int fd, medium_marker_fn *is_it, struct medium_search *ret,
		  struct err *err) MUST_CHECK;
/* As much as there is, up to `size`, short only at the end; or -errno. */
ssize_t medium_read(int fd, void *buf, size_t size, uint64_t offset) MUST_CHECK;

/* Byte at which the one settings area of the image in `fd` begins.  -ENOENT none (not a boot medium of Hoist, or of
 * another version), -EEXIST more than one, -EPROTO cut off at the end of the file; -errno of reading. */
int medium_find(int fd, uint64_t *ret_offset, struct err *err) MUST_CHECK;
/* The same, and -EEXIST too when there is an area that begins elsewhere than at a multiple of MEDIUM_SECTOR: a kernel that unpacks the file as an initramfs
 * finds it there, which nobody who looks for places does. */
int medium_find_strict(int fd, uint64_t *ret_offset, struct err *err) MUST_CHECK;
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
