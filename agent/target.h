/* target.h - is this disk the one that the operator meant, and may it be overwritten?  docs/protocol.md "restore". */
#ifndef AGENT_TARGET_H
#define AGENT_TARGET_H
#include "agent/disk.h"
#include "agent/job.h"
#include "common/blk.h"
#include "common/message.h"

/* `d` is what is there now, freshly looked at; NULL: no disk has the ordered id.  0, or a negative errno with the sentence and the job's
 * code: disk_missing, target_too_small, sector_size, target_changed, target_holds_data, write_error (read-only).
 * The content of one that was begun is not looked at. */
int target_check(const struct disk *d, const struct order_disk *o, struct job *job,
		 struct err *err) MUST_CHECK;
/* Would target_check have passed its content if it had not been begun? */
bool target_is_as_ordered(const struct disk *d, const struct order_disk *o);

/* Once it is open, and nobody else's: is it still the disk that was looked at, by its shape, by its content?  target_changed. */
int target_check_shape(const struct disk *d, const struct blk *b, struct job *job,
		       struct err *err) MUST_CHECK;
int target_check_again(const struct disk *d, struct blk *b, const struct order_disk *o,
		       struct job *job, struct err *err) MUST_CHECK;
#endif
