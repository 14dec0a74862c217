/* exfat.h - shared by the parts of the exFAT reader. */
#ifndef AGENT_USAGE_EXFAT_H
#define AGENT_USAGE_EXFAT_H
#include "agent/usage/scan.h"

struct exfat {
	struct volume *v;
	uint32_t sector_size, cluster_size;
	uint64_t table_offset; /* of the FAT */
	uint64_t heap_offset;  /* of cluster 2 */
	uint32_t clusters;     /* numbered from 2 */
	uint32_t root;	       /* first cluster of the root folder */
};

/* Where something lies: so many bytes from that cluster on, one after the other or by the FAT.  With size 0 the FAT's end is the end. */
struct exfat_chain {
	uint32_t first;
	uint64_t size;
	bool is_contiguous;
};

/* The allocation bitmap, as the root folder names it.  -EUCLEAN when there is not exactly one. */
int exfat_find_bitmap(const struct exfat *x, struct exfat_chain *ret, struct err *err) MUST_CHECK;
/* The label is in the root folder. */
int exfat_read_label(const struct exfat *x, struct usage_part *part, struct err *err) MUST_CHECK;
/* To the next cluster of a chain, of which `*cluster` is the present one; 0 at its end. */
int exfat_next(const struct exfat *x, const struct exfat_chain *c, uint32_t *cluster,
	       struct err *err) MUST_CHECK;
/* Go through all folders: everything in them must be marked.  `used` is how many clusters are. */
int exfat_walk(const struct exfat *x, uint32_t used, struct err *err) MUST_CHECK;

static inline uint64_t exfat_place(const struct exfat *x, uint32_t cluster)
{
	return x->heap_offset + (uint64_t)(cluster - 2) * x->cluster_size;
}
static inline bool exfat_is_cluster(const struct exfat *x, uint32_t cluster)
{
	return cluster >= 2 && cluster - 2 < x->clusters;
}
#endif
