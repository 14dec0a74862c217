/* lvm.h - shared by the parts of the LVM2 reader. */
#ifndef AGENT_USAGE_LVM_H
#define AGENT_USAGE_LVM_H
#include "agent/usage/lvm_text.h"
#include "agent/usage/scan.h"

#define LVM_ID_SIZE 32u

/* What a physical volume says: the state of its place. */
struct lvm_pv {
	char id[LVM_ID_SIZE]; /* without the dashes */
	uint64_t size;	      /* bytes, as it was made */
	uint64_t data_offset; /* bytes; of its extents */
	bool has_area;	      /* for metadata that is in use; without one, only others tell of it */
	bool is_used;	      /* by a group, as its header says */
	char *text;	      /* heap; its volume group's metadata, NULL if it is in none */
	struct lvm_text metadata; /* of that text */
	uint64_t seqno;		  /* counts its changes */
	bool is_done;		  /* its group has been put together */
};

/* The section that describes the group, or NULL. */
const struct lvm_node *lvm_group_section(const struct lvm_text *t);
/* The state of a place that is a physical volume, or NULL. */
struct lvm_pv *lvm_pv_of(const struct place *p);

/* Put together the groups of all physical volumes that have been found and not been put together; their logical volumes become new
 * places. */
void lvm_assemble(struct scan *s);
#endif
