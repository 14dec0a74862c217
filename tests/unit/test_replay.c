/* test_replay.c - the replay on a copy, with a system that only pretends: what is asked of the kernel, what is said when it refuses, and that nothing is
 * left behind whichever call fails.  The devices read as small ext4 filesystems that mke2fs has made. */
#include "agent/replay/replay.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <spawn.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent/replay/dm.h"
#include "agent/replay/klog.h"
#include "agent/replay/store.h"
#include "agent/replay/sys.h"
#include "tests/unit/tap.h"

#define SIZE	(8ull << 20)
#define DEVICES 8
#define TABLES	8

static char dir[] = "/tmp/test_replay.XXXXXX";

enum op { OP_NONE, OP_CLOSE, OP_REMOVE, OP_FORGET, OP_OPEN_BTRFS, OP_OTHER };

/* The kernel that we pretend to be. */
static struct fake {
	unsigned calls, fail_at; /* the number of the call that fails, from 1; 0: none */
	int fail_with;
	enum op failed;
	struct {
		char name[128];
		bool exists, busy;
	} devices[DEVICES];
	unsigned fds;		    /* open */
	char tables[TABLES][16384]; /* as loaded, one target a line */
	bool read_only[TABLES];
	unsigned tables_len;
	char mounts[4096];
	char log[4][200];
	unsigned log_len, log_at;
	int log_error, get_free_error, busy_loops, mount_error;
	uint64_t memory, memory_file;
	const char *status;
	const char *images[DEVICES]; /* of which file each device is made */
} fake;

static int enter(enum op op)
{
	if (++fake.calls != fake.fail_at)
		return 0;
	fake.failed = op;
	return fake.fail_with;
}

static int fake_open(const char *path, int flags)
{
	int r = enter(strcmp(path, "/dev/btrfs-control") == 0 ? OP_OPEN_BTRFS : OP_OTHER);

	(void)flags;
	if (r == 0)
		fake.fds++;
	return r < 0 ? r : 100;
}

static int fake_close(int fd)
{
	(void)fd;
	fake.fds--; /* close(2) closes whatever it says */
	return enter(OP_CLOSE);
}

static int find(const char *name)
{
	for (int i = 0; i < DEVICES; i++) {
		if (fake.devices[i].exists && strcmp(fake.devices[i].name, name) == 0)
			return i;
	}
	return -1;
}

static int dev_create(struct dm_ioctl *q)
{
	int i = 0;

	if (find(q->name) >= 0)
		return -EBUSY;
	while (fake.devices[i].exists)
		i++;
	(void)snprintf(fake.devices[i].name, sizeof(fake.devices[i].name), "%s", q->name);
	fake.devices[i].exists = true;
	q->dev = 254u << 8 | (unsigned)i;
	return 0;
}

static int dev_remove(const struct dm_ioctl *q)
{
	int i = find(q->name);

	if (i < 0)
		return -ENXIO;
	if (fake.devices[i].busy)
		return -EBUSY;
	fake.devices[i].exists = false;
	return 0;
}

static int table_load(const struct dm_ioctl *q)
{
	const uint8_t *at = (const uint8_t *)q + q->data_start;
	char *text = fake.tables[fake.tables_len];
	size_t len = 0;

	if (find(q->name) < 0)
		return -ENXIO;
	for (uint32_t i = 0; i < q->target_count; i++) {
		struct dm_target_spec spec;

		memcpy(&spec, at, sizeof(spec));
		len += (size_t)snprintf(text + len, sizeof(fake.tables[0]) - len,
					"%llu %llu %s %s\n", (unsigned long long)spec.sector_start,
					(unsigned long long)spec.length, spec.target_type,
					(const char *)at + sizeof(spec));
		at += spec.next;
	}
	if (at > (const uint8_t *)q + q->data_size)
		return -EFAULT;
	fake.read_only[fake.tables_len++] = q->flags & DM_READONLY_FLAG;
	return 0;
}

static int table_status(struct dm_ioctl *q)
{
	struct dm_target_spec spec = {0};

	q->data_start = sizeof(*q);
	q->target_count = 1;
	memcpy((uint8_t *)q + q->data_start, &spec, sizeof(spec));
	(void)snprintf((char *)q + q->data_start + sizeof(spec), 100, "%s", fake.status);
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	int r = enter(request == DM_DEV_REMOVE		? OP_REMOVE
		      : request == BTRFS_IOC_FORGET_DEV ? OP_FORGET
							: OP_OTHER);

	(void)fd;
	if (r < 0)
		return r;
	switch (request) {
	case DM_DEV_CREATE:
		return dev_create(arg);
	case DM_DEV_REMOVE:
		return dev_remove(arg);
	case DM_TABLE_LOAD:
		return table_load(arg);
	case DM_TABLE_STATUS:
		return table_status(arg);
	case LOOP_CTL_GET_FREE:
		return fake.get_free_error ? fake.get_free_error : 3;
	case LOOP_CONFIGURE:
		return fake.busy_loops-- > 0 ? -EBUSY : 0;
	default:
		return 0;
	}
}

static int fake_make_node(const char *path, unsigned major, unsigned minor)
{
	(void)path;
	(void)major;
	(void)minor;
	return enter(OP_OTHER);
}

static int fake_number(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
	*ret_major = strncmp(path, "/dev/loop", 9) == 0 ? 7 : 8;
	*ret_minor = 16;
	return enter(OP_OTHER);
}

static int fake_memory_file(uint64_t size)
{
	fake.memory_file = size;
	return fake_open("", 0);
}

static int fake_memory_free(uint64_t *ret)
{
	*ret = fake.memory;
	return enter(OP_OTHER);
}

static int fake_fsopen(const char *type)
{
	size_t len = strlen(fake.mounts);

	(void)snprintf(fake.mounts + len, sizeof(fake.mounts) - len, "%s:", type);
	return fake_open("", 0);
}

static int fake_fsconfig(int fd, unsigned command, const char *key, const char *value)
{
	size_t len = strlen(fake.mounts);
	int r = enter(OP_OTHER);

	(void)fd;
	if (command == FSCONFIG_CMD_CREATE) {
		(void)snprintf(fake.mounts + len, sizeof(fake.mounts) - len, "\n");
		return r < 0 ? r : fake.mount_error;
	}
	(void)snprintf(fake.mounts + len, sizeof(fake.mounts) - len, " %s%s%s", key,
		       value ? "=" : "", value ? value : "");
	return r;
}

static int fake_log_open(void)
{
	return fake_open("", 0);
}

static ssize_t fake_log_read(int fd, char *buf, size_t size)
{
	int r = enter(OP_OTHER);

	(void)fd;
	if (r < 0)
		return r;
	if (fake.log_error)
		return fake.log_error;
	if (fake.log_at == fake.log_len)
		return 0;
	return snprintf(buf, size, "%s", fake.log[fake.log_at++]);
}

static int fake_open_blk(const char *path, struct blk **ret, struct err *err)
{
	char file[100];
	long i = strtol(path + strlen("/dev/dm-"), NULL, 10);
	int r = enter(OP_OTHER);

	if (r < 0)
		return err_set(err, r, "read '%s': refused", path);
	(void)snprintf(file, sizeof(file), "%s/%s", dir, fake.images[i]);
	return blk_open_file(file, BLK_READ, 0, 0, ret, err);
}

static const struct replay_sys fake_sys = {
	.open = fake_open,
	.close = fake_close,
	.ioctl = fake_ioctl,
	.make_node = fake_make_node,
	.number = fake_number,
	.memory_file = fake_memory_file,
	.memory_free = fake_memory_free,
	.fsopen = fake_fsopen,
	.fsconfig = fake_fsconfig,
	.log_open = fake_log_open,
	.log_read = fake_log_read,
	.open_blk = fake_open_blk,
};

static void reset(void)
{
	fake = (struct fake){.fail_with = -EIO, .memory = 1ull << 30, .status = "24/262144 0"};
	fake.images[0] = "before";
	fake.images[1] = "after";
	/* the second copy is device 2: the one that is tried out is device 1 then */
	fake.images[2] = "after";
}

/* The source: a partition at 1 MiB of a disk. */
static struct blk *disk;
static struct usage_piece piece;
static struct usage_unclean unclean;

static int run(struct runs *runs, struct err *err)
{
	struct replay setup = {.sys = &fake_sys};

	*err = (struct err){0};
	runs_init(runs, USAGE_REPLAY_RUNS_MAX);
	return replay_run(&setup, &unclean, runs, err);
}

static unsigned devices_left(void)
{
	unsigned n = 0;

	for (int i = 0; i < DEVICES; i++)
		n += fake.devices[i].exists;
	return n;
}

/* It is refused with that in the message, and nothing is left. */
static bool refuses(const char *part)
{
	CLEANUP(runs_done) struct runs runs;
	struct err err;
	int r = run(&runs, &err);

	if (r < 0 && err.code == r && strstr(err.msg, part) && fake.fds == 0 && devices_left() == 0)
		return true;
	printf("# %d '%s', %u descriptors, %u devices\n", r, err.msg, fake.fds, devices_left());
	return false;
}

static uint64_t sectors_of(const char *table, const char *target)
{
	uint64_t start, length, end = 0, sum = 0;
	size_t n = strlen(target);
	char *p;

	for (const char *line = table; *line; line = strchr(line, '\n') + 1) {
		start = strtoull(line, &p, 10);
		length = strtoull(p, &p, 10);
		if (*p != ' ' || start != end)
			return 0;
		end = start + length;
		sum += strncmp(p + 1, target, n) == 0 && p[1 + n] == ' ' ? length : 0;
	}
	return end == SIZE / 512 ? sum : 0;
}

static void test_done(void)
{
	CLEANUP(runs_done) struct runs runs;
	struct err err;
	uint64_t sum = 0;

	reset();
	if (!ok(run(&runs, &err) == 0, "a replay"))
		printf("# %s\n", err.msg);
	for (size_t i = 0; i < runs.len; i++)
		sum += runs.items[i].length;
	ok(sum > (1u << 20) && sum < SIZE, "something is in use, not all");
	ok(fake.tables_len == 4, "four devices");
	ok(strcmp(fake.tables[0], "0 16384 linear 8:16 2048\n") == 0 && fake.read_only[0],
	   "the source is read-only, from its place on the disk");
	ok(strcmp(fake.tables[1], "0 16384 snapshot 254:0 7:16 N 8\n") == 0 && !fake.read_only[1],
	   "a copy of it");
	ok(sectors_of(fake.tables[2], "linear") * 512 == sum && fake.read_only[2],
	   "what is tried out is what is in use");
	ok(sectors_of(fake.tables[2], "zero") * 512 == SIZE - sum, "and zeros elsewhere");
	ok(strncmp(fake.tables[3], "0 16384 snapshot 254:1 7:16 N 8", 31) == 0, "a copy of that");
	ok(strcmp(fake.mounts, "ext4: source=/dev/dm-1 ro errors=remount-ro\n"
			       "ext4: source=/dev/dm-2 ro errors=remount-ro\n") == 0,
	   "the kernel replays on both copies, read-only");
	ok(fake.memory_file == SIZE + REPLAY_MEMORY_MIN, "no more memory than it can need");
	ok(fake.fds == 0 && devices_left() == 0, "nothing is left");
}

/* Both maps count: "before" has a file where "after" has none, and the other way round. */
static void test_union(void)
{
	CLEANUP(runs_done) struct runs both;
	CLEANUP(runs_done) struct runs before;
	CLEANUP(runs_done) struct runs after;
	struct err err;
	bool covers = true, more_than_before, more_than_after;

	reset();
	(void)!run(&both, &err);
	reset();
	fake.images[1] = fake.images[2] = "before";
	(void)!run(&before, &err);
	reset();
	fake.images[0] = "after";
	(void)!run(&after, &err);
	for (size_t i = 0; i < before.len; i++)
		covers &= runs_cover(&both, before.items[i].offset, before.items[i].length);
	for (size_t i = 0; i < after.len; i++)
		covers &= runs_cover(&both, after.items[i].offset, after.items[i].length);
	more_than_before = runs_overlap(&both, 0, SIZE) > runs_overlap(&before, 0, SIZE);
	more_than_after = runs_overlap(&both, 0, SIZE) > runs_overlap(&after, 0, SIZE);
	ok(covers && before.len > 0 && after.len > 0, "both maps are in use");
	ok(more_than_before && more_than_after, "and neither alone is all");
}

static void test_drivers(void)
{
	CLEANUP(runs_done) struct runs runs;
	struct err err;

	reset();
	unclean.content = "xfs";
	(void)!run(&runs, &err);
	ok(strstr(fake.mounts, "xfs: source=/dev/dm-1 ro nouuid noquota\n"), "how XFS is mounted");
	runs_done(&runs);
	reset();
	unclean.content = "btrfs";
	(void)!run(&runs, &err);
	ok(strstr(fake.mounts, "btrfs: source=/dev/dm-1 ro\n"), "how btrfs is mounted");
	ok(!strstr(fake.mounts, "noload") && !strstr(fake.mounts, "norecovery"), "with the log");
	reset();
	unclean.content = "ntfs";
	ok(refuses("there is no replay for ntfs"), "no driver");
	unclean.content = "ext4";
}

static void test_refusals(void)
{
	reset();
	disk->is_device = false;
	ok(refuses("not a block device"), "a plain file");
	disk->is_device = true;
	disk->is_locked = false;
	ok(refuses("not locked read-only"), "a disk that others may write to");
	disk->is_locked = true;
	piece.offset++;
	ok(refuses("begin and end at sectors"), "not at sectors");
	piece.offset--;
	fake.memory = 4 * (REPLAY_MEMORY_MIN >> 1);
	unclean.size = 1ull << 40;
	ok(refuses("too little memory"), "too little memory");
	unclean.size = SIZE;
	reset();
	fake.status = "Invalid";
	ok(refuses("did not hold what was written"), "the copy overflows");
	reset();
	fake.mount_error = -ENOSPC;
	ok(refuses("the kernel does not mount it"), "the mount fails");
	reset();
	fake.mount_error = -EIO;
	fake.status = "Overflow";
	ok(refuses("did not hold what was written"), "the mount fails since the copy overflows");
	reset();
	(void)strcpy(fake.log[0], "6,1,2,-;EXT4-fs (dm-1): recovery complete\n");
	(void)strcpy(fake.log[1],
		     "2,2,3,-;EXT4-fs error (device dm-1): ext4_x: \x1b bad\n SUB=x\n");
	fake.log_len = 2;
	ok(refuses("found a fault: EXT4-fs error (device dm-1): ext4_x: "),
	   "the kernel says errors");
	reset();
	fake.log_error = -EPIPE;
	ok(refuses("more than its log holds"), "the kernel says too much");
	reset();
	fake.images[2] = "before";
	ok(refuses("has another map afterwards"), "what would be captured replays otherwise");
	reset();
	fake.images[1] = "empty";
	ok(refuses("its map cannot be read then"), "after the replay there is no map");
	reset();
	fake.images[0] = "empty";
	ok(refuses("as it lies on the disk"), "before it there is none");
	reset();
	fake.images[1] = "short";
	ok(refuses("bytes, not"), "the copy has another size");
	reset();
	fake.get_free_error = -ENOSPC;
	ok(refuses("no device for a copy in memory"), "no loop device");
	reset();
	fake.busy_loops = 100;
	ok(refuses("no device for a copy in memory"), "all are taken by others");
}

static void test_others(void)
{
	CLEANUP(runs_done) struct runs runs;
	struct err err;

	reset();
	fake.busy_loops = 2;
	ok(run(&runs, &err) == 0, "a loop device that somebody else takes first");
	runs_done(&runs);
	reset();
	(void)strcpy(fake.devices[0].name, "hoist-replay-origin");
	fake.devices[0].exists = true;
	ok(run(&runs, &err) == 0 && devices_left() == 0, "what a dead one left goes");
	runs_done(&runs);
	reset();
	(void)strcpy(fake.devices[0].name, "hoist-replay-origin");
	fake.devices[0].exists = fake.devices[0].busy = true;
	ok(run(&runs, &err) == -EBUSY && strstr(err.msg, "is there already and in use"),
	   "what a living one uses does not");
	ok(devices_left() == 1 && fake.fds == 0, "and stays");
}

/* Every call fails in turn. */
static void test_faults(const char *content)
{
	unsigned n = 0, bad = 0;
	bool is_over = false;

	unclean.content = content;
	while (!is_over && n < 1000) {
		CLEANUP(runs_done) struct runs runs;
		struct err err;
		unsigned left;
		int r;

		reset();
		fake.fail_at = ++n;
		r = run(&runs, &err);
		is_over = fake.failed == OP_NONE;
		left = fake.failed == OP_REMOVE ? 0 : devices_left();
		/* only what tidies up may fail unnoticed */
		if ((fake.failed == OP_OTHER && (r >= 0 || err.msg[0] == '\0')) || fake.fds != 0 ||
		    left != 0) {
			printf("# call %u (%d): %d '%s', %u descriptors, %u devices\n", n,
			       (int)fake.failed, r, err.msg, fake.fds, left);
			bad++;
		}
	}
	ok(bad == 0 && n > 40 && n < 1000, content);
	printf("# %u calls\n", n - 1);
	unclean.content = "ext4";
}

static void test_klog(void)
{
	struct {
		const char *record;
		bool is_fault;
	} cases[] = {
		{"3,1,2,-;XFS (dm-1): log mount/recovery failed: error -5\n", true},
		{"1,1,2,-;XFS (dm-1): Metadata CRC error detected\n", true},
		{"4,1,2,-;EXT4-fs warning (device dm-1): x\n", false},
		{"3,1,2,-;XFS (dm-12): log mount/recovery failed\n", false},
		{"3,1,2,-;XFS (dm-12): not dm-1 alone\n", true},
		{"3,1,2,-;XFS (xdm-1): x\n", false},
		{"3,1,2,-;XFS (sda1): x\n", false},
		{"11,1,2,-;EXT4-fs error (device dm-1): said by a program\n", false},
		{"3,1,2,-;JBD2: IO error -5 recovering block 3 in log\n", true},
		{"3,1,2,-;device-mapper: snapshots: Invalidating snapshot\n", true},
		{"3,1,2,-", false},
		{"", false},
	};
	bool all = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char record[100];

		(void)snprintf(record, sizeof(record), "%s", cases[i].record);
		if (klog_is_fault(record, "dm-1") != cases[i].is_fault) {
			printf("# %s\n", cases[i].record);
			all = false;
		}
	}
	ok(all, "faults in the kernel's log");
}

static void test_limit(void)
{
	uint64_t limit = 0;
	struct err err;

	reset();
	ok(store_limit(&fake_sys, 1ull << 40, 0, &limit, &err) == 0 && limit == 256u << 20,
	   "a quarter of what is free");
	ok(store_limit(&fake_sys, 1ull << 40, 100u << 20, &limit, &err) == 0 && limit == 100u << 20,
	   "or what was set");
	ok(store_limit(&fake_sys, 1ull << 40, 1u << 20, &limit, &err) == -ENOMEM, "not too little");
	fake.memory = 0;
	ok(store_limit(&fake_sys, 1ull << 40, 0, &limit, &err) == -ENOMEM, "no memory");
}

static bool spawn(const char *const *argv)
{
	int status = -1;
	pid_t pid;

	return posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) == 0 &&
	       waitpid(pid, &status, 0) == pid && status == 0;
}

/* A filesystem with `files` (a folder) on it; or nothing, for NULL. */
static void make_image(const char *name, const char *files, const char *size)
{
	char path[100];
	const char *const argv[] = {"mke2fs", "-q",	"-F", "-t",  "ext4", "-b", "1024",
				    "-J",     "size=1", "-d", files, path,   size, NULL};

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!files) {
		int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

		if (fd < 0 || ftruncate(fd, (off_t)SIZE) < 0 || close(fd) < 0)
			abort();
	} else if (!spawn(argv)) {
		printf("Bail out! mke2fs does not work\n");
		exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): one thread */
	}
}

static void make_file(const char *path, size_t size)
{
	FILE *f = fopen(path, "w");

	for (size_t i = 0; f && i < size; i++)
		(void)putc('a' + (int)(i % 26), f);
	if (!f || fclose(f) != 0)
		abort();
}

static void remove_file(const char *name, const char *command)
{
	char path[100];
	const char *const argv[] = {"debugfs", "-w", "-R", command, path, NULL};

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (!spawn(argv))
		abort();
}

static void make_images(void)
{
	char few[60], many[60], path[100];

	if (!mkdtemp(dir))
		abort();
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	(void)setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
	(void)snprintf(few, sizeof(few), "%s/few", dir);
	(void)snprintf(many, sizeof(many), "%s/many", dir);
	if (mkdir(few, 0700) < 0 || mkdir(many, 0700) < 0)
		abort();
	(void)snprintf(path, sizeof(path), "%s/one", few);
	make_file(path, 300000);
	(void)snprintf(path, sizeof(path), "%s/one", many);
	make_file(path, 300000);
	(void)snprintf(path, sizeof(path), "%s/two", many);
	make_file(path, 300000);
	make_image("before", many, "8M");
	remove_file("before", "rm one");
	make_image("after", few, "8M");
	make_image("short", few, "7M");
	make_image("empty", NULL, NULL);
}

static void remove_images(void)
{
	const char *const argv[] = {"rm", "-rf", dir, NULL};

	(void)spawn(argv);
}

int main(void)
{
	make_images();
	disk = blk_new_memory(calloc(1, 4096), 4096, 512);
	if (!disk)
		abort();
	disk->is_device = disk->is_locked = true;
	piece = (struct usage_piece){disk, 1 << 20, SIZE};
	unclean = (struct usage_unclean){"ext4", SIZE, 512, &piece, 1};
	test_done();
	test_union();
	test_drivers();
	test_refusals();
	test_others();
	test_faults("ext4");
	test_faults("xfs");
	test_faults("btrfs");
	test_klog();
	test_limit();
	blk_free(disk);
	remove_images();
	return done();
}
