/* sick_disk.h - what is done about one real disk of a capture that turns out to have bad places: the other half of rescue.h. */
#ifndef AGENT_SICK_DISK_H
#define AGENT_SICK_DISK_H
#include "agent/disk.h"
#include "agent/rescue.h"
#include "agent/timeouts.h"
#include "common/message.h"

struct sick_disk {
	struct job *job;
	const struct disk *disk;
	const struct blk *blk; /* it, as it was opened */
	bool is_image;	       /* the live image: nobody else uses the disk */
	struct timeouts timeouts;
};

/* Options for its rescue: the order's limits, `windows` in memory, and this as their ctx. */
void sick_disk_options(struct sick_disk *s, const struct order *o, size_t windows,
		       struct rescue_options *ret);
/* Does the kernel not talk to a disk any more that is in this state (sdev_states in drivers/scsi/scsi_sysfs.c, nvme_sysfs_show_state in
 * drivers/nvme/host/sysfs.c)?  Not so while a controller is reset or connected anew: that passes. */
bool sick_disk_is_dead(const char *state);
/* Is it still there, as large as it was, and does the kernel still talk to it?  -ENODEV and others, with the sentence. */
int sick_disk_check(const struct sick_disk *s, struct err *err) MUST_CHECK;
/* The capture has ended, however: what was lowered is as it was. */
void sick_disk_done(struct sick_disk *s);
#endif
