/* fat.h - shared by the parts of the FAT12/16/32 reader. */
#ifndef AGENT_USAGE_FAT_H
#define AGENT_USAGE_FAT_H
#include "agent/usage/scan.h"

struct fat {
	struct volume *v;
	unsigned bits; /* of an entry: 12, 16, 32 */
	uint32_t sector_size, cluster_size;
	uint32_t fats;	       /* copies of the table */
	uint64_t table_offset; /* bytes, of the first copy */
	uint64_t table_size;   /* bytes of one */
	uint64_t root_offset;  /* of the root directory before the clusters; FAT12/16 */
	uint32_t root_size;    /* bytes of it; 0 for FAT32 */
	uint32_t root_cluster; /* FAT32 */
	uint64_t data_offset;  /* of cluster 2 */
	uint32_t clusters;     /* numbered from 2 */
	uint32_t media;
	uint8_t state; /* of the boot sector */
};

/* Entry `n` (0..clusters + 1) of the first table, without the bits that are reserved. */
int fat_entry(const struct fat *f, uint32_t n, uint32_t *ret, struct err *err) MUST_CHECK;
/* The last entry of a chain is this or more; one less is a bad cluster. */
static inline uint32_t fat_end(const struct fat *f)
{
	return f->bits == 12 ? 0xff8 : f->bits == 16 ? 0xfff8 : 0x0ffffff8;
}

/* Go through all folders: each file must have a chain of clusters as long as its size.  `used` is how many clusters the table calls used. */
int fat_walk(const struct fat *f, uint32_t used, struct err *err) MUST_CHECK;
#endif
