/* xfs.h - shared by the parts of the XFS reader. */
#ifndef AGENT_USAGE_XFS_H
#define AGENT_USAGE_XFS_H
#include "agent/usage/scan.h"

struct xfs {
	struct volume *v;
	uint32_t block_size, sector_size, ag_blocks, ag_count, log_blocks;
	uint8_t ag_block_log;
	uint64_t blocks;
	uint64_t log_start;   /* as a filesystem block number: group, and block in it */
	uint8_t uuid[16];     /* as metadata carries it */
	uint8_t log_uuid[16]; /* as the log does: the superblock's own */
	bool is_v5;
	bool is_past_log; /* nothing has to add up */
};

/* Mark the log.  Is it empty: is its last record the one that unmounting writes?  0, DOUBT_LOG if it is not or cannot be told, -EUCLEAN if it is none. */
int xfs_check_log(const struct xfs *x, struct err *err) MUST_CHECK;
#endif
