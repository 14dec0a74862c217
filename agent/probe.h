/* probe.h - what is on a disk: libblkid's view, the fingerprint, and whether it is our own boot medium.  Only ever reads. */
#ifndef AGENT_PROBE_H
#define AGENT_PROBE_H
#include "agent/disk.h"
#include "common/err.h"

/* Look at the block device or file of `d` (path, size, sector_size are used).  What is wrong with what was found, or with reading some of it,
 * goes to ret->error; an error is returned when nothing could be looked at.  `ret` is written in both cases and must be given to
 * contents_done.  May block for as long as the device does. */
int probe_disk(const struct disk *d, struct contents *ret, struct err *err) MUST_CHECK;

typedef int probe_fn(const struct disk *d, struct contents *ret, struct err *err);

/* Fill in the contents of all disks, side by side, each by `probe` in a thread of its own.  A disk that has not answered after
 * `timeout_ms` gets an error instead; its thread is left to itself (one that hangs in the kernel cannot be ended). */
void probe_disks(struct disk_list *l, probe_fn *probe, unsigned timeout_ms);

#define PROBE_TIMEOUT_MS 60000u
#endif
