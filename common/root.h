/* root.h - the ids of groups and the root of a disk, docs/formats.md "Group and root". */
#ifndef COMMON_ROOT_H
#define COMMON_ROOT_H
#include <stddef.h>
#include <stdint.h>

#include "common/blake3.h"
#include "common/id.h"
#include "common/index.h"
#include "common/limits.h"

/* Of a group of `len` (1 to GROUP_WINDOWS) windows. */
struct id group_id(const struct id *nodes, uint32_t len);

/* The root in one pass over the disk: init, its windows or groups in order, final.  26 KiB. */
struct root_hash {
	struct blake3 h;
	uint64_t windows;		/* of the groups that are not in it yet */
	struct id group[GROUP_WINDOWS]; /* the one that was begun */
	uint32_t group_len;
};
void root_init(struct root_hash *r, const struct geometry *g);
/* The node id of the next window. */
void root_add(struct root_hash *r, const struct id *node);
/* The id of the next group: none is begun (asserted). */
void root_add_group(struct root_hash *r, const struct id *group);
/* All windows must have been added (asserted). */
struct id root_final(struct root_hash *r, const struct extent *unreadable, size_t len);
#endif
