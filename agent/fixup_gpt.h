/* fixup_gpt.h - a GPT on a disk that is larger than the one it was made for.
 *
 * UEFI specification 2.10, 5.3: the backup header stands in the last sector, and the protective MBR covers the whole disk.  Firmware
 * and installers complain of, or "repair", a table that is not so. */
#ifndef AGENT_FIXUP_GPT_H
#define AGENT_FIXUP_GPT_H
#include <stdbool.h>
#include <stdint.h>

#include "common/blk.h"

enum gpt_fixup_result {
	GPT_NONE,  /* there is no GPT: nothing to do */
	GPT_FINE,  /* it stands right already */
	GPT_MOVED, /* it does now */
};

struct gpt_fixup {
	enum gpt_fixup_result result;
	bool is_hybrid; /* the MBR lists partitions of its own and was left as it was */
	uint64_t old_backup, new_backup; /* sectors where the backup header stood and stands */
};

/* Move the backup table to the end of the disk `b` (BLK_WRITE) and set the
 * protective MBR right.  On return it is on stable storage and was read again.
 * `source_size`: the bytes at the beginning of the disk that are the image's; of these only the table's own parts are written.
 *   -EBADMSG  the table is damaged, or only its backup is there, or it is unlike those that libparted moves safely (its first part elsewhere than in sector 2, a backup within what is usable, partitions
 *             outside), or its new place would be on bytes of the image; or libparted failed: with what is wrong
 *   -ENOTRECOVERABLE  the disk failed half-way, and what was there could not be put back
 * After any error but the last the disk is as it was, in each byte. */
int fixup_gpt(struct blk *b, uint64_t source_size, struct gpt_fixup *ret,
	      struct err *err) MUST_CHECK;
#endif
