/* guard.h - a disk that gives up soon: for looking at filesystems, which nobody waits an hour for.
 *
 * Reads have a limit in failures and in the time that these take, beyond which all fail; so do all when the job is stopped. */
#ifndef AGENT_GUARD_H
#define AGENT_GUARD_H
#include "agent/extents.h"
#include "agent/job.h"
#include "common/blk.h"

/* `inner` must outlive it and is only read.  Reads that touch `bad` (or NULL) fail without being tried, which counts for nothing.  NULL: -ENOMEM in `err`. */
struct blk *guard_new(struct job *job, struct blk *inner, const struct extents *bad,
		      struct err *err) MUST_CHECK;
#endif
