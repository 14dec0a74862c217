/* owners.h - whose bytes of a disk are: partition, volume, filesystem, and in ext2/3/4 and NTFS the file.  For what could not be read of them. */
#ifndef AGENT_USAGE_OWNERS_H
#define AGENT_USAGE_OWNERS_H
#include <stddef.h>
#include <stdint.h>

#include "agent/extents.h"
#include "common/blk.h"
#include "common/index.h"

enum owner_kind {
	OWNER_UNKNOWN,
	OWNER_FILE,
	OWNER_DIRECTORY,
	OWNER_METADATA, /* of the filesystem, of one of its files (then with its name), or of a partition table, LVM or MD */
	OWNER_JOURNAL,
	OWNER_FREE, /* no file lies there */
};
/* "unknown", "file", ... */
const char *owner_kind_name(enum owner_kind k);

#define OWNER_NAME_SIZE 256

/* Bytes of the disk in a row that are one owner's. */
struct owner {
	uint64_t offset, length;
	enum owner_kind kind;
	uint32_t partition;	    /* of the disk's table, or 0 */
	char volume[128];	    /* "vg/lv", or "" */
	const char *content;	    /* static, as in struct usage_part; "" if nothing is known */
	char name[OWNER_NAME_SIZE]; /* path, UTF-8 without control characters; "" if it has none */
};

#define OWNERS_MAX 4096u

/* Whose are `bad`, ascending and apart, of disk `n` of `disks`?  `ret`: heap, ascending, at most OWNERS_MAX; the first extents if there are more.
 * Reads around them as usage_map does, and gives up after `limit_ms`: what is not found by then is OWNER_UNKNOWN.  As usage_map not from two threads at once.
 * -ENOMEM, -EINVAL. */
int usage_owners(struct blk *const *disks, size_t len, size_t n, const struct extents *bad,
		 uint64_t limit_ms, struct owner **ret, size_t *ret_len,
		 struct err *err) MUST_CHECK;
#endif
