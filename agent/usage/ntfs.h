/* ntfs.h - shared by the parts of the NTFS reader. */
#ifndef AGENT_USAGE_NTFS_H
#define AGENT_USAGE_NTFS_H
/* libntfs-3g's headers leave these to whoever includes them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include <ntfs-3g/device.h>
#include <ntfs-3g/volume.h>

#include "agent/usage/scan.h"

/* Mount (in libntfs-3g's sense: read its system files) what is on `v`, for reading only; `v` must outlive it.  -EUCLEAN with what libntfs-3g says. */
int ntfs_device_open(struct volume *v, ntfs_volume **ret, struct err *err) MUST_CHECK;
void ntfs_volume_close(ntfs_volume *vol);
static inline void ntfs_volume_closep(ntfs_volume **vol)
{
	ntfs_volume_close(*vol);
}

/* Clusters in a row that a file record names; `cluster` and `count` are inside the filesystem. */
struct ntfs_run {
	uint64_t record; /* the one that names them, ... */
	uint64_t base;	 /* ... and the one that it continues, or itself */
	uint32_t type;	 /* of the attribute */
	uint64_t cluster, count;
};
typedef int ntfs_run_fn(void *ctx, const struct ntfs_run *run, struct err *err);
/* Is it enough? */
typedef bool ntfs_over_fn(void *ctx);
/* Call `fn` for all of them, in order.  With `is_over` damage is passed over: *ret_partial says that there was some, or that `is_over` ended it, which
 * is asked now and then, however little can be read.  An error of `fn` ends it. */
int ntfs_each_run(ntfs_volume *vol, ntfs_over_fn *is_over, ntfs_run_fn *fn, void *ctx,
		  bool *ret_partial, struct err *err) MUST_CHECK;

/* -EUCLEAN, in words, when what is on the disk is not all: it is dirty, its log has to be replayed, or a Windows sleeps. */
int ntfs_check_clean(ntfs_volume *vol, struct err *err) MUST_CHECK;
/* -EUCLEAN, in words, when there are shadow copies, or what may be some. */
int ntfs_check_shadows(struct volume *v, struct err *err) MUST_CHECK;

/* The bitmap has been marked, and `used` clusters with it; it has no checksum.  So go through all file records: clusters of a file that the bitmap
 * calls free show that the bitmap is wrong.  0 when there are none. */
int ntfs_walk(ntfs_volume *vol, struct volume *v, uint64_t used, struct err *err) MUST_CHECK;
#endif
