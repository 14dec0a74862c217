/* multipath.h - several ways to one disk become one device of the device mapper, so that a way that fails in the middle of a job does not fail the job. */
#ifndef AGENT_MULTIPATH_H
#define AGENT_MULTIPATH_H
#include "agent/disk.h"
#include "agent/replay/sys.h"

#define MULTIPATH_PATHS_MAX 16u

/* For each disk of the list that is known by several paths and not yet one device (docs/inventory.md), make that device; where it cannot be made
 * the first path goes on standing for the disk.  Nothing is read or written.  Returns how many were made: then the disks are to be listed anew.
 * `say` gets a sentence for each. */
unsigned multipath_join(const struct replay_sys *sys, const struct disk_list *l,
			void (*say)(void *ctx, const char *line), void *say_ctx);
#endif
