/* lvm_group.h - shared by the parts that make logical volumes of LVM2's metadata. */
#ifndef AGENT_USAGE_LVM_GROUP_H
#define AGENT_USAGE_LVM_GROUP_H
#include "agent/usage/lvm.h"

#define LVM_SECTOR 512u /* the unit of sizes in the text */

/* A physical volume as the group's text describes it. */
struct lvm_member {
	const struct lvm_node *node;
	struct place *place; /* NULL: not there */
	uint64_t start;	     /* bytes, of its extents */
	uint64_t extents;
};

/* Extents of a member that belong to a logical volume. */
struct lvm_claim {
	size_t member;
	uint64_t first, len;
};

struct lvm_group {
	struct scan *s;
	const struct lvm_text *t;
	const struct lvm_node *vg; /* its section */
	char name[64];
	uint64_t extent_size; /* bytes */
	unsigned depth;
	uint32_t sector_size;
	struct lvm_member *members; /* heap */
	size_t members_len;
	struct lvm_claim *claims; /* heap */
	size_t claims_len, claims_cap;
	const struct lvm_node *
		*parts; /* heap; strings that name what volumes are made of, sorted */
	size_t parts_len, parts_cap;
};

/* Collect the names of which logical volumes in the section `lvs` are made: g->parts.  -ENOMEM; -EUCLEAN. */
int lvm_collect_parts(struct lvm_group *g, const struct lvm_node *lvs, struct err *err) MUST_CHECK;
/* The logical volume of that section becomes a place, if it has extents of its own; these become claims.  -EUCLEAN when it cannot be understood,
 * -ENOMEM. */
int lvm_add_volume(struct lvm_group *g, const struct lvm_node *lv, struct err *err) MUST_CHECK;
#endif
