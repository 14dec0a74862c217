/* The target "multipath" of Documentation/admin-guide/device-mapper/: each path is a group of its own, and the next group is taken only when all of
 * the one before have failed.  That is right for every kind of storage: none is asked over two controllers at a time.  With no path left, reading fails
 * rather than waits for ever: a job says so and is resumed.
 *
 * Native multipath of NVMe needs none of this, the kernel hides those paths by itself. */
#include "agent/multipath.h"

#include <stdio.h>
#include <string.h>

#include "agent/replay/dm.h"

#define PARAMS_SIZE 1000u

static int describe(const struct replay_sys *sys, const struct disk *d, struct dm_table *t,
		    size_t *ret_paths, struct err *err)
{
	char params[PARAMS_SIZE] = "", path[sizeof("/dev/") + DISK_NAME_SIZE];
	size_t used = 0, n = d->paths.len;

	if (n > MULTIPATH_PATHS_MAX)
		n = MULTIPATH_PATHS_MAX;
	for (size_t i = 0; i < n; i++) {
		unsigned major, minor;
		int r;

		(void)snprintf(path, sizeof(path), "/dev/%s", d->paths.names[i]);
		r = sys->number(path, &major, &minor);
		if (r < 0)
			return err_set(err, r, "'%s': %s", path, strerrordesc_np(-r));
		/* selector, its arguments, paths, arguments of each, the path, requests before the next is asked */
		used += (size_t)snprintf(params + used, sizeof(params) - used,
					 " round-robin 0 1 1 %u:%u 1", major, minor);
		if (used >= sizeof(params))
			return err_set(err, -E2BIG, "it has too many paths");
	}
	/* no features, no handler of our own, the groups, the first of them */
	dm_table_add(t, d->size / DM_SECTOR, "multipath", "0 0 %zu 1%s", n, params);
	*ret_paths = n;
	return 0;
}

static int join(const struct replay_sys *sys, const struct disk *d, size_t *ret_paths,
		struct err *err)
{
	char name[128], uuid[129];
	struct dm_device device = {.sys = sys, .name = name, .uuid = uuid};
	struct dm_table table = {0};
	int r;

	(void)snprintf(name, sizeof(name), "hoist-%.100s", d->id);
	/* by this the kernel's users know what kind of device it is */
	(void)snprintf(uuid, sizeof(uuid), "mpath-%.100s", d->wwn);
	r = device.control = dm_open(sys, err);
	if (r < 0)
		return r;
	r = describe(sys, d, &table, ret_paths, err);
	if (r == 0)
		r = dm_create(&device, &table, false, err);
	dm_table_done(&table);
	(void)sys->close(device.control);
	return r;
}

unsigned multipath_join(const struct replay_sys *sys, const struct disk_list *l,
			void (*say)(void *ctx, const char *line), void *say_ctx)
{
	unsigned made = 0;

	for (size_t i = 0; i < l->len; i++) {
		const struct disk *d = &l->disks[i];
		char line[sizeof(((struct err *)NULL)->msg) + 2 * DISK_ID_SIZE];
		size_t paths = 0;
		struct err err;

		/* the name of a multipath device that runs is not among its paths */
		if (d->kind != DISK_MULTIPATH || d->paths.len < 2 ||
		    strcmp(d->paths.names[0], d->name) != 0)
			continue;
		/* A device over it would not have its lock. */
		if (d->is_read_only) {
			(void)snprintf(
				line, sizeof(line),
				"%zu paths lead to the disk %s, which is read-only: only %s is used",
				d->paths.len, d->id, d->name);
			say(say_ctx, line);
			continue;
		}
		if (join(sys, d, &paths, &err) == 0) {
			made++;
			(void)snprintf(line, sizeof(line),
				       "%zu paths lead to the disk %s: they are used as one", paths,
				       d->id);
		} else {
			(void)snprintf(line, sizeof(line),
				       "%zu paths lead to the disk %s and cannot be joined (%s): "
				       "only %s is used",
				       d->paths.len, d->id, err.msg, d->name);
		}
		say(say_ctx, line);
	}
	return made;
}
