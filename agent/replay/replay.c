/* replay.c - the order of things: a device that is the filesystem, a copy above it, the kernel's replay, the map; once for the answer, once more
 * to try it out.
 *
 * Why the map before the replay counts as well: after its log the kernel works off what it finds half done (orphan files of ext, unlinked
 * inodes of XFS), reading blocks that are free afterwards.  They were in use before, and their being so was on the disk or else is in
 * the log. */
#include "agent/replay/replay.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "agent/replay/dm.h"
#include "agent/replay/klog.h"
#include "agent/replay/store.h"

#define CHUNK_SECTORS 8u /* what a copy is made by */
#define BTRFS_CONTROL "/dev/btrfs-control"

/* By which driver, with which options besides `ro`; those without a value are flags.  No option keeps the log from being replayed. */
static const struct driver {
	const char *content, *type;
	const char *options[2][2];
} drivers[] = {
	/* not what the filesystem itself wants done about errors, which may be a panic */
	{"ext2", "ext4", {{"errors", "remount-ro"}}},
	{"ext3", "ext4", {{"errors", "remount-ro"}}},
	{"ext4", "ext4", {{"errors", "remount-ro"}}},
	/* a twin may be mounted; quotas change nothing that is allocated */
	{"xfs", "xfs", {{"nouuid", NULL}, {"noquota", NULL}}},
	{"btrfs", "btrfs", {{NULL, NULL}}},
};

struct run {
	const struct replay *setup;
	const struct replay_sys *sys;
	const struct usage_unclean *u;
	const struct driver *driver;
	int control, log; /* -1: none */
	struct dm_device origin;
};

static void say(const struct run *x, const char *what)
{
	const struct usage_piece *p = &x->u->pieces[0];
	char line[300];

	if (!x->setup->say)
		return;
	(void)snprintf(line, sizeof(line), "%s %s at byte %" PRIu64 " of '%.100s'", what,
		       x->u->content, p->offset, blk_name(p->disk));
	x->setup->say(x->setup->say_ctx, line);
}

static int check_pieces(const struct usage_unclean *u, struct err *err)
{
	for (size_t i = 0; i < u->pieces_len; i++) {
		const struct usage_piece *p = &u->pieces[i];

		if (!p->disk->is_device)
			return err_set(err, -ENOTBLK, "'%s' is not a block device",
				       blk_name(p->disk));
		if (!blk_is_locked(p->disk))
			return err_set(err, -EPERM, "'%s' is not locked read-only",
				       blk_name(p->disk));
		if (p->offset % u->sector_size != 0 || p->length % u->sector_size != 0)
			return err_set(err, -EINVAL, "it does not begin and end at sectors");
	}
	return 0;
}

static int find_driver(struct run *x, struct err *err)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (strcmp(drivers[i].content, x->u->content) == 0)
			x->driver = &drivers[i];
	}
	return x->driver ? 0
			 : err_set(err, -EOPNOTSUPP, "there is no replay for %s", x->u->content);
}

/* All of the filesystem, from the disks that it lies on. */
static int make_origin(struct run *x, struct err *err)
{
	CLEANUP(dm_table_done) struct dm_table t = {0};

	for (size_t i = 0; i < x->u->pieces_len; i++) {
		const struct usage_piece *p = &x->u->pieces[i];
		unsigned major, minor;
		int r = x->sys->number(blk_name(p->disk), &major, &minor);

		if (r < 0)
			return err_set(err, r, "'%s' is no block device: %s", blk_name(p->disk),
				       strerrordesc_np(-r));
		dm_table_add(&t, p->length / DM_SECTOR, "linear", "%u:%u %" PRIu64, major, minor,
			     p->offset / DM_SECTOR);
	}
	return dm_create(&x->origin, &t, true, err);
}

/* The filesystem as it will be after a restore: zeros where nothing is in use. */
static int make_rehearsal(struct run *x, const struct runs *used, struct dm_device *d,
			  struct err *err)
{
	CLEANUP(dm_table_done) struct dm_table t = {0};
	uint64_t end = 0;

	for (size_t i = 0; i < used->len; i++) {
		const struct extent *e = &used->items[i];

		if (e->offset > end)
			dm_table_add(&t, (e->offset - end) / DM_SECTOR, "zero", "%s", "");
		dm_table_add(&t, e->length / DM_SECTOR, "linear", "%u:%u %" PRIu64, x->origin.major,
			     x->origin.minor, e->offset / DM_SECTOR);
		end = e->offset + e->length;
	}
	if (end < x->u->size)
		dm_table_add(&t, (x->u->size - end) / DM_SECTOR, "zero", "%s", "");
	return dm_create(d, &t, true, err);
}

/* btrfs remembers every device that it has seen, by the filesystem's UUID: ours would stand in the way of the next. */
static void forget(const struct run *x, const char *path)
{
	struct btrfs_ioctl_vol_args args = {0};
	int fd;

	if (strcmp(x->driver->type, "btrfs") != 0)
		return;
	(void)snprintf(args.name, sizeof(args.name), "%s", path);
	fd = x->sys->open(BTRFS_CONTROL, O_RDWR);
	if (fd < 0)
		return;
	(void)x->sys->ioctl(fd, BTRFS_IOC_FORGET_DEV, &args);
	(void)x->sys->close(fd);
}

static int configure(const struct run *x, int fd, const char *path)
{
	int r = x->sys->fsconfig(fd, FSCONFIG_SET_STRING, "source", path);

	if (r == 0)
		r = x->sys->fsconfig(fd, FSCONFIG_SET_FLAG, "ro", NULL);
	for (size_t i = 0; r == 0 && i < 2 && x->driver->options[i][0]; i++) {
		const char *value = x->driver->options[i][1];

		r = x->sys->fsconfig(fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
				     x->driver->options[i][0], value);
	}
	return r < 0 ? r : x->sys->fsconfig(fd, FSCONFIG_CMD_CREATE, NULL, NULL);
}

/* Have the kernel's driver come up on the device, which replays the log, and go down again. */
static int bring_up(const struct run *x, const char *path, struct err *err)
{
	int fd = x->sys->fsopen(x->driver->type);
	int r;

	if (fd < 0)
		return err_set(err, fd, "this kernel has no %s: %s", x->driver->type,
			       strerrordesc_np(-fd));
	forget(x, path);
	r = configure(x, fd, path);
	(void)x->sys->close(fd);
	forget(x, path);
	return r < 0 ? err_set(err, r, "the kernel does not mount it: %s", strerrordesc_np(-r)) : 0;
}

/* Put into `ret` what our own reader says of the device. */
static int read_map(const struct run *x, const char *path, bool is_past_log, struct runs *ret,
		    struct err *err)
{
	const struct usage_options options = {.is_past_log = is_past_log};
	CLEANUP(blk_freep) struct blk *blk = NULL;
	CLEANUP(usage_map_done) struct usage_map m = {0};
	uint64_t mask = x->u->sector_size - 1;
	int r = x->sys->open_blk(path, &blk, err);

	if (r == 0 && blk_size(blk) != x->u->size)
		r = err_set(err, -EPROTO, "its copy has %" PRIu64 " bytes, not %" PRIu64,
			    blk_size(blk), x->u->size);
	if (r == 0)
		r = usage_map_with(&blk, 1, &options, &m, err);
	if (r < 0)
		return r;
	if (m.partitions_len != 1 || m.partitions[0].how != USAGE_MAP || m.partitions[0].number) {
		return err_set(err, -EUCLEAN, "its map cannot be read %s: %s",
			       is_past_log ? "as it lies on the disk" : "then",
			       m.partitions_len > 0 ? m.partitions[0].why : "it is something else");
	}
	for (size_t i = 0; i < m.extents_len; i++) {
		uint64_t start = m.extents[i].offset & ~mask;
		uint64_t end = (m.extents[i].offset + m.extents[i].length + mask) & ~mask;

		runs_add(ret, start, end - start);
	}
	runs_sort(ret);
	return ret->is_failed ? err_set(err, -ENOMEM, "out of memory") : 0;
}

/* Did the copy hold all that was written, and has the kernel nothing to say against it? */
static int check_copy(const struct run *x, const struct dm_device *copy,
		      const struct dm_device *below, uint64_t limit, struct err *err)
{
	const char *const names[] = {strrchr(copy->path, '/') + 1, strrchr(below->path, '/') + 1,
				     strrchr(x->origin.path, '/') + 1};
	char status[128];
	int r = dm_status(copy, status, sizeof(status), err);

	if (r < 0)
		return r;
	/* sectors in use / all, or a word */
	if (!isdigit((unsigned char)status[0])) {
		return err_set(err, -ENOSPC,
			       "its copy did not hold what was written to it: the limit is %" PRIu64
			       " MiB of memory (%s)",
			       limit >> 20, status);
	}
	return klog_check(x->sys, x->log, names, 3, err);
}

/* Replay on a copy of `below`, and take the map.  Whatever the mount says: that the copy was too small, or what the kernel has to say, is the
 * better reason. */
static int replay_on(const struct run *x, const struct dm_device *below, struct runs *ret,
		     struct err *err)
{
	CLEANUP(dm_table_done) struct dm_table t = {0};
	struct dm_device copy = {.sys = x->sys, .control = x->control, .name = "hoist-replay-copy"};
	struct store store = {.file = -1, .loop = -1};
	struct err better;
	uint64_t limit = 0;
	int r = store_limit(x->sys, x->u->size, x->setup->memory_max, &limit, err);

	if (r == 0)
		r = store_init(&store, x->sys, limit, err);
	if (r < 0)
		return r;
	dm_table_add(&t, x->u->size / DM_SECTOR, "snapshot", "%u:%u %u:%u N %u", below->major,
		     below->minor, store.major, store.minor, CHUNK_SECTORS);
	r = dm_create(&copy, &t, false, err);
	if (r == 0) {
		r = bring_up(x, copy.path, err);
		if (check_copy(x, &copy, below, limit, &better) < 0) {
			*err = better;
			r = better.code;
		}
		if (r == 0)
			r = read_map(x, copy.path, false, ret, err);
		if (r == 0)
			r = check_copy(x, &copy, below, limit, err);
	}
	dm_remove(&copy);
	store_done(&store);
	return r;
}

static bool is_same(const struct runs *a, const struct runs *b)
{
	return a->len == b->len &&
	       (a->len == 0 || memcmp(a->items, b->items, a->len * sizeof(*a->items)) == 0);
}

/* What was restored from `used` must replay as the source does. */
static int rehearse(struct run *x, const struct runs *used, const struct runs *after,
		    struct err *err)
{
	CLEANUP(runs_done) struct runs again;
	struct dm_device d = {
		.sys = x->sys, .control = x->control, .name = "hoist-replay-rehearsal"};
	int r;

	runs_init(&again, USAGE_REPLAY_RUNS_MAX);
	r = make_rehearsal(x, used, &d, err);
	if (r == 0)
		r = replay_on(x, &d, &again, err);
	dm_remove(&d);
	if (r < 0)
		return err_prefix(err, "tried on what would be captured");
	if (!is_same(after, &again))
		return err_set(err, -EUCLEAN, "what would be captured has another map afterwards");
	return 0;
}

static int find_used(struct run *x, struct runs *ret, struct err *err)
{
	CLEANUP(runs_done) struct runs after;
	int r;

	runs_init(&after, USAGE_REPLAY_RUNS_MAX);
	say(x, "replaying, on a copy in memory, the log of");
	r = replay_on(x, &x->origin, &after, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < after.len; i++)
		runs_add(ret, after.items[i].offset, after.items[i].length);
	r = read_map(x, x->origin.path, true, ret, err);
	if (r < 0)
		return r;
	say(x, "trying the same on what would be captured of");
	return rehearse(x, ret, &after, err);
}

int replay_run(void *ctx, const struct usage_unclean *u, struct runs *ret, struct err *err)
{
	const struct replay *setup = ctx;
	struct run x = {
		.setup = setup,
		.sys = setup->sys ? setup->sys : &replay_sys_real,
		.u = u,
		.log = -1,
	};
	int r = find_driver(&x, err);

	if (r == 0)
		r = check_pieces(u, err);
	if (r == 0)
		r = x.control = dm_open(x.sys, err);
	if (r < 0)
		return r;
	x.origin = (struct dm_device){
		.sys = x.sys, .control = x.control, .name = "hoist-replay-origin"};
	x.log = x.sys->log_open();
	if (x.log < 0) {
		r = err_set(err, x.log, "the kernel's log cannot be read: %s",
			    strerrordesc_np(-x.log));
	} else {
		r = make_origin(&x, err);
	}
	if (r >= 0)
		r = find_used(&x, ret, err);
	dm_remove(&x.origin);
	if (x.log >= 0)
		(void)x.sys->close(x.log);
	(void)x.sys->close(x.control);
	return r;
}
