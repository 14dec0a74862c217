/* index.h - a disk's index, docs/formats.md "Disk index"; its root: root.h. */
#ifndef COMMON_INDEX_H
#define COMMON_INDEX_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/limits.h"

struct extent {
	uint64_t offset;
	uint64_t length; /* > 0 */
};

/* Windows in a row. */
struct window_range {
	uint64_t first;
	uint64_t count; /* > 0 */
};

struct geometry {
	uint64_t size; /* bytes */
	uint32_t sector_size;
	uint32_t physical_sector_size;
};

#define INDEX_HEADER_SIZE 40u

/* -EINVAL with a sentence when a size is not allowed. */
int geometry_check(const struct geometry *g, struct err *err) MUST_CHECK;
/* Ascending, apart, inside the disk, not too many: -EINVAL otherwise. */
int extents_check(const struct extent *e, size_t len, uint64_t disk_size,
		  struct err *err) MUST_CHECK;

void index_encode_header(const struct geometry *g, uint8_t ret[static INDEX_HEADER_SIZE]);
/* -EPROTO with the field. */
int index_decode_header(const uint8_t data[static INDEX_HEADER_SIZE], struct geometry *ret,
			struct err *err) MUST_CHECK;
/* Bytes of the tail (counts and extents). */
static inline size_t index_tail_size(size_t extents_len)
{
	return 8 + extents_len * 16;
}
void index_encode_tail(const struct extent *e, size_t len, uint8_t *buf);
/* Decode the tail of exactly `size` bytes; `ret_extents` is heap (NULL when none).  -EPROTO, -ENOMEM. */
int index_decode_tail(const void *data, size_t size, uint64_t disk_size,
		      struct extent **ret_extents, size_t *ret_len, struct err *err) MUST_CHECK;
#endif
