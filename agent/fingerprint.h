/* fingerprint.h - docs/fingerprint.md. */
#ifndef AGENT_FINGERPRINT_H
#define AGENT_FINGERPRINT_H
#include "agent/disk.h"
#include "common/blk.h"
#include "common/err.h"
#include "common/id.h"

/* `parts` in any order, as libblkid lists them.  *ret_is_zero: the first and last MiB hold nothing but zeros.  Errors are blk_read's, and
 * -ENOMEM. */
int fingerprint_of_disk(struct blk *b, const struct partition *parts, size_t len, struct id *ret,
			bool *ret_is_zero, struct err *err) MUST_CHECK;
#endif
