/* dm.h - devices of the device mapper: <linux/dm-ioctl.h> and Documentation/admin-guide/device-mapper/ in Linux.
 *
 * By ioctl and not by libdevmapper, which waits for udev, makes nodes of its own and prints. */
#ifndef AGENT_REPLAY_DM_H
#define AGENT_REPLAY_DM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/replay/sys.h"

#define DM_SECTOR 512u

/* A table as the kernel reads it. */
struct dm_table {
	uint8_t *buf; /* heap */
	size_t size, cap;
	uint32_t targets;
	uint64_t sectors; /* so far */
	bool is_failed;	  /* out of memory: dm_create says so */
};

struct dm_device {
	const struct replay_sys *sys;
	int control; /* not owned */
	const char *name;
	const char *uuid; /* a second name, or NULL */
	bool exists;
	unsigned major, minor;
	char path[32];
};

/* `sectors` more of the device, of this target.  */
void dm_table_add(struct dm_table *t, uint64_t sectors, const char *target, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void dm_table_done(struct dm_table *t);

/* Descriptor of the control device, or negative errno. */
int dm_open(const struct replay_sys *sys, struct err *err) MUST_CHECK;
/* Make a device of that table and start it.  One of that name that nobody uses goes first.  -EBUSY if somebody does. */
int dm_create(struct dm_device *d, const struct dm_table *t, bool is_read_only,
	      struct err *err) MUST_CHECK;
/* What its only target says of itself. */
int dm_status(const struct dm_device *d, char *ret, size_t size, struct err *err) MUST_CHECK;
/* It goes when the last that has it open closes it. */
void dm_remove(struct dm_device *d);
#endif
