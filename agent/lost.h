/* lost.h - what of a disk could not be read, for the report of a capture: each place, and whose it is. */
#ifndef AGENT_LOST_H
#define AGENT_LOST_H
#include "agent/extents.h"
#include "agent/job.h"
#include "common/blk.h"
#include "common/json.h"

#define LOST_PLACES_MAX 1000u /* in the report of a job */

/* `bad` are the unreadable extents of disk `n` of `disks`, the disks of the job: volumes may lie on several.  The array of PLACEs
 * (docs/protocol.md, "Reports"), of which `*room` is the most; what is used of that is taken off, and what found no room is counted in
 * *ret_left_out.  Looks into the filesystems, around what is bad, for a limited time.  NULL: out of memory. */
json_t *lost_report(struct job *job, struct blk *const *disks, size_t len, size_t n,
		    const struct extents *bad, size_t *room, size_t *ret_left_out) MUST_CHECK;
#endif
