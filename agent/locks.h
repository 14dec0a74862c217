/* locks.h - the read-only locks (BLKROSET) of a live image that lets people in by SSH: there, every disk is locked as soon as it is seen, and not a source
 * alone when it is read, so that nobody writes to one by mistake.  Root can lift a lock; a restore lifts that of its target, and sets it again if it does not write there.
 *
 * The list is a file of lines, to which is only appended: "lock N" (locked here; N is BLKGETDISKSEQ, which no two disks have in common as long as the machine
 * runs), "source N" and "source-id ID" (captured since; the disk's id, where it is more than a place, knows it after it went away and came back), and "all"
 * once every disk that was there was locked. */
#ifndef AGENT_LOCKS_H
#define AGENT_LOCKS_H
#include <stdbool.h>

#include "agent/disk.h"
#include "common/err.h"

/* Where the live image has the list: lib/hoist/ssh waits for its "all". */
#define LOCKS_IMAGE_PATH "/run/hoist/locks"

/* Locks what is not in the list and not read-only.  A disk that was locked for this reason alone is not called read-only: it may become a target.  `list` NULL:
 * nothing is done.  A source is locked again, should somebody have lifted that.  On error (the first is told) the other disks are locked all the same: -errno
 * of the disk or the list, -EFBIG when the list has become too long, -ENOMEM. */
int locks_apply(const char *list, struct disk_list *disks, struct err *err) MUST_CHECK;
/* Was every disk that was there locked at once, at any time since the machine started? */
bool locks_are_all(const char *list);
/* After locks_apply() failed: what that means for those with a key, as a clause. */
const char *locks_consequence(const char *list);
/* The disk is a source now, and called read-only until the machine restarts.  `list` NULL: nothing is done.  Errors as above; it is not to be read then. */
int locks_keep(const char *list, const struct disk *d, struct err *err) MUST_CHECK;
#endif
