#include "agent/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/locks.h"
#include "agent/machine.h"
#include "agent/multipath.h"
#include "common/cleanup.h"

static void say_line(void *ctx, const char *line)
{
	console_line(ctx, line);
}

/* In the live image the machine is ours: what is one disk is made one device. */
static int join_paths(const struct config *c, struct console *console,
		      const struct inventory_options *o, struct inventory *i, struct err *err)
{
	if (!c->image || o->disks_len > 0 ||
	    multipath_join(&replay_sys_real, &i->disks, say_line, console) == 0)
		return 0;
	inventory_done(i);
	return inventory_collect(o, i, err);
}

uint64_t look_for_devices(void)
{
	CLEANUP(sysroot_done) struct sysroot r = {.fd = -1};
	CLEANUP_NAMES struct name_list l = {0};
	uint64_t sum = 14695981039346656037u; /* FNV-1a */
	struct err err;

	if (sysroot_open(NULL, &r, &err) < 0)
		return 0;
	sysroot_list(&r, &l, "sys/block");
	for (size_t i = 0; i < l.len; i++) {
		if (strncmp(l.names[i], "dm-", 3) == 0 || strncmp(l.names[i], "loop", 4) == 0)
			continue;
		for (const char *p = l.names[i];; p++) {
			sum = (sum ^ (uint8_t)*p) * 1099511628211u;
			if (!*p)
				break;
		}
	}
	return hardware_is_settled(&r) ? sum : ~sum;
}

int look_around(const struct config *c, struct console *console, struct inventory **ret,
		uint64_t *ret_devices, struct err *err)
{
	struct inventory_options o = {
		.id = c->id,
		.disks = c->disks.items,
		.disks_len = c->disks.len,
	};
	struct inventory *i = calloc(1, sizeof(*i));
	uint64_t devices = look_for_devices();
	struct err unlocked;
	int r = i ? inventory_collect(&o, i, err) : err_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = join_paths(c, console, &o, i, err);
	if (r == 0 && locks_apply(c->locks, &i->disks, &unlocked) < 0)
		console_say(console, "%s; %s", unlocked.msg, locks_consequence(c->locks));
	if (r < 0) {
		free(i);
		return r;
	}
	*ret_devices = devices;
	*ret = i;
	return 0;
}
