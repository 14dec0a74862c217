/* target.h - is this disk the one that the operator meant, and may it be overwritten?  docs/protocol.md "restore". */
#ifndef AGENT_TARGET_H
#define AGENT_TARGET_H
#include "agent/disk.h"
#include "agent/job.h"
#include "common/message.h"

/* `d` is what is there now, freshly looked at; NULL: no disk has the ordered id.  0, or a negative errno with the sentence and the job's
 * code: disk_missing, target_too_small, sector_size, target_changed, target_holds_data, write_error (read-only). */
int target_check(const struct disk *d, const struct order_disk *o, struct job *job,
		 struct err *err) MUST_CHECK;
#endif
