/* struct blk on a real block device: a loop device, where this machine lets us have one. */
#include "common/blk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include "agent/locks.h"
#include "tests/unit/tap.h"

#define SIZE ((4u << 20) + 4096u)

static char dir[] = "/var/tmp/hoist-test-blkdev-XXXXXX";
static char path[64], loop[32];

/* The loop device over a file of SIZE bytes with 4096-byte sectors; -1: this machine has none for us. */
static int loop_setup(void)
{
	CLEANUP_CLOSE int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	CLEANUP_CLOSE int back = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CLEANUP_CLOSE int fd = -1;
	struct loop_config config = {.block_size = 4096};
	int n;

	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	if (control < 0 || back < 0 || ftruncate(back, SIZE) < 0)
		return -1;
	config.fd = (unsigned)back;
	for (int tries = 0; tries < 20; tries++) { /* another may take it first */
		n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0)
			return -1;
		(void)snprintf(loop, sizeof(loop), "/dev/loop%d", n);
		fd = open(loop, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
			return take_fd(&fd);
		cleanup_close(&fd);
		fd = -1;
	}
	return -1;
}

static int is_read_only(void)
{
	CLEANUP_CLOSE int fd = open(loop, O_RDONLY | O_CLOEXEC);
	int ro = -1;

	return ioctl(fd, BLKROGET, &ro) < 0 ? -1 : ro;
}

static void unlock(void)
{
	CLEANUP_CLOSE int fd = open(loop, O_RDONLY | O_CLOEXEC);
	const int off = 0;

	(void)ioctl(fd, BLKROSET, &off);
}

static void test_shape(void)
{
	struct err err = {0};
	struct blk *b = NULL;

	ok(blk_open_file(loop, BLK_READ, BLK_LOOK | BLK_DIRECT, 512, &b, &err) == 0 &&
		   blk_size(b) == SIZE,
	   "size");
	ok(b && blk_sector_size(b) == 4096 && blk_physical_sector_size(b) == 4096,
	   "sector sizes are the device's, not what plain files get");
	ok(b && !blk_is_locked(b), "BLK_LOOK leaves the device writable");
	blk_free(b);
}

static void test_target(void)
{
	static unsigned char buf[SIZE], got[SIZE];
	struct blk_counters before, after;
	struct err err = {0};
	struct blk *b = NULL, *other = NULL;

	memset(buf, 0x5a, SIZE);
	ok(blk_open_file(loop, BLK_WRITE, BLK_DIRECT, 0, &b, &err) == 0, "open for writing");
	ok(blk_open_file(loop, BLK_WRITE, 0, 0, &other, &err) == -EBUSY && other == NULL &&
		   strstr(err.msg, "in use") != NULL,
	   "a second writer is refused");
	ok(blk_read_counters(b, &before, &err) == 0, "counters before");
	ok(blk_write(b, buf, SIZE, 0, &err) == 0 && blk_flush(b, &err) == 0, "write it all");
	ok(blk_read_counters(b, &after, &err) == 0 &&
		   after.sectors_written - before.sectors_written == SIZE / 512,
	   "the counters tell of every sector written");
	memset(buf + 1000, 0, 3000000);
	ok(blk_zero(b, 1000, 3000000, &err) == 0 && blk_drop_cache(b, &err) == 0 &&
		   blk_read(b, got, SIZE, 0, &err) == 0 && memcmp(got, buf, SIZE) == 0,
	   "zero an unaligned range");
	blk_free(b);
}

static void write_list(const char *list, const char *text)
{
	FILE *f = fopen(list, "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

/* It is in use, so it is no target. */
static void test_lift_busy(void)
{
	CLEANUP_CLOSE int other = open(loop, O_RDONLY | O_EXCL | O_CLOEXEC), fd = -1;
	const int on = 1;
	struct blk *b = NULL;
	struct err err;

	fd = open(loop, O_RDONLY | O_CLOEXEC);
	ok(other >= 0 && fd >= 0 && ioctl(fd, BLKROSET, &on) == 0 &&
		   blk_open_file(loop, BLK_WRITE, BLK_LIFT_READ_ONLY, 0, &b, &err) == -EBUSY && !b,
	   "one in use is refused");
	ok(is_read_only() == 1, "and its lock was not lifted for good");
	unlock();
}

/* A live image that lets people in locks what it sees, and gives back what is to be a target. */
static void test_locks(void)
{
	static struct disk disks[2];
	struct disk_list all = {.disks = disks, .len = 2};
	struct err err = {0};
	struct blk *b = NULL;
	char list[64];

	(void)snprintf(list, sizeof(list), "%s/locks", dir);
	disks[0].kind = DISK_PLAIN;
	(void)snprintf(disks[0].path, sizeof(disks[0].path), "%s", loop);
	disks[1].kind = DISK_PLAIN;
	(void)snprintf(disks[1].path, sizeof(disks[1].path), "%s/gone", dir);
	ok(locks_apply(NULL, &all, &err) == 0 && is_read_only() == 0,
	   "nobody is let in: nothing is locked");
	ok(!locks_are_all(list), "no list yet");
	(void)snprintf(disks[1].path, sizeof(disks[1].path), "/dev/null");
	ok(locks_apply(list, &all, &err) < 0 && !locks_are_all(list) &&
		   strstr(locks_consequence(list), "lets nobody in before"),
	   "one that cannot be locked: nobody is let in");
	unlock();
	(void)unlink(list);
	(void)snprintf(disks[1].path, sizeof(disks[1].path), "%s/gone", dir);
	ok(locks_apply(list, &all, &err) == 0 && is_read_only() == 1 && !disks[0].is_read_only &&
		   locks_are_all(list),
	   "locked, not called so; a disk that is gone is no matter");
	disks[0].is_read_only = true; /* as sysfs says from now on */
	ok(locks_apply(list, &all, &err) == 0 && is_read_only() == 1 && !disks[0].is_read_only,
	   "seen again: ours");
	(void)snprintf(disks[1].path, sizeof(disks[1].path), "/dev/null");
	ok(locks_apply(list, &all, &err) < 0 && locks_are_all(list) &&
		   strstr(locks_consequence(list), "all the same"),
	   "one that comes later and cannot be locked: SSH waits for it no more, and nobody says so");
	(void)snprintf(disks[1].path, sizeof(disks[1].path), "%s/gone", dir);
	ok(blk_open_file(loop, BLK_WRITE, BLK_LIFT_READ_ONLY, 0, &b, &err) == 0 &&
		   is_read_only() == 0,
	   "a restore lifts it");
	ok(locks_apply(list, &all, &err) == 0 && is_read_only() == 0,
	   "and is not disturbed when the disks are looked at again");
	ok(blk_lock_again(b, &err) == 0 && is_read_only() == 1 && blk_lock_again(b, &err) == 0,
	   "it is put back when the target turns out to be another");
	blk_free(b);
	b = NULL;
	unlock();
	ok(blk_open_file(loop, BLK_WRITE, BLK_LIFT_READ_ONLY, 0, &b, &err) == 0 &&
		   blk_lock_again(b, &err) == 0 && is_read_only() == 0,
	   "what was not lifted is not put back");
	blk_free(b);
	b = NULL;
	ok(locks_apply(list, &all, &err) == 0, "looked at again");
	test_lift_busy();
	ok(blk_open_file(loop, BLK_READ, 0, 0, &b, &err) == 0 &&
		   locks_keep(list, &disks[0], &err) == 0,
	   "captured");
	blk_free(b);
	disks[0].is_read_only = true;
	ok(locks_apply(list, &all, &err) == 0 && disks[0].is_read_only,
	   "a source stays locked, and is called so");
	unlock();
	disks[0].is_read_only = false; /* as sysfs says then */
	ok(locks_apply(list, &all, &err) == 0 && is_read_only() == 1 && disks[0].is_read_only,
	   "also when somebody has lifted its lock");
	unlock();
	disks[0].is_read_only = false;
	(void)snprintf(disks[0].id, sizeof(disks[0].id), "wwn:naa.5000c5000000beef");
	write_list(list, "source-id wwn:naa.5000c5000000beef\nall\n");
	ok(locks_apply(list, &all, &err) == 0 && is_read_only() == 1 && disks[0].is_read_only,
	   "or it went away and came back");
	unlock();
	disks[0].is_read_only = false;
	write_list(list, "source-id wwn:naa.5000c5000000beef0\nsou"); /* no room for more */
	ok(locks_keep(list, &disks[0], &err) == 0 && locks_apply(list, &all, &err) == 0 &&
		   is_read_only() == 1 && disks[0].is_read_only,
	   "a line behind half a line counts");
	ok(truncate(list, 1 << 16) == 0 && locks_apply(list, &all, &err) < 0,
	   "a list that is not read to its end is not believed");
	ok(locks_apply("/proc/nowhere", &all, &err) < 0 && strstr(err.msg, "/proc/nowhere"),
	   "a list that cannot be written");
	(void)unlink(list);
	unlock();
}

/* Two devices stand for two paths to one disk. */
static void test_lock_paths(void)
{
	static struct disk disk;
	struct disk_list all = {.disks = &disk, .len = 1};
	struct err err = {0};
	char list[64], first[sizeof(loop)], back[sizeof(path)];
	CLEANUP_CLOSE int second = -1;

	(void)snprintf(list, sizeof(list), "%s/locks", dir);
	memcpy(first, loop, sizeof(loop));
	memcpy(back, path, sizeof(path));
	(void)snprintf(path, sizeof(path), "%s/second", dir);
	second = loop_setup();
	disk.kind = DISK_MULTIPATH;
	(void)snprintf(disk.path, sizeof(disk.path), "%s", first);
	ok(second >= 0 && locks_keep(list, &disk, &err) == 0, "captured by one of its paths");
	(void)snprintf(disk.path, sizeof(disk.path), "%s", loop);
	(void)name_list_add(&disk.paths, strrchr(first, '/') + 1);
	(void)name_list_add(&disk.paths, strrchr(loop, '/') + 1);
	ok(locks_apply(list, &all, &err) == 0 && is_read_only() == 1 && disk.is_read_only,
	   "it is a source by the other too");
	unlock();
	name_list_done(&disk.paths);
	(void)unlink(list);
	(void)unlink(path);
	memcpy(loop, first, sizeof(loop));
	memcpy(path, back, sizeof(path));
}

static void test_lock(void)
{
	unsigned char page[4096];
	struct blk_counters before, after;
	struct err err = {0};
	struct blk *b = NULL, *w = NULL;

	ok(blk_open_file(loop, BLK_READ, 0, 0, &b, &err) == 0 && blk_is_locked(b),
	   "a source is set read-only");
	ok(blk_read_counters(b, &before, &err) == 0 && blk_read(b, page, 4096, 4096, &err) == 0 &&
		   page[0] == 0 && blk_drop_cache(b, &err) == 0 &&
		   blk_read_counters(b, &after, &err) == 0 && before.writes == after.writes,
	   "and read without a write being counted");
	ok(blk_open_file(loop, BLK_WRITE, 0, 0, &w, &err) < 0 && w == NULL,
	   "a locked source is not opened for writing");
	printf("# %s\n", err.msg);
	blk_free(b);
	ok(blk_open_file(loop, BLK_WRITE, 0, 0, &w, &err) < 0 && w == NULL,
	   "even after it was closed");
	ok(blk_open_file(loop, BLK_WRITE, BLK_LIFT_READ_ONLY, 0, &w, &err) == 0 &&
		   blk_write(w, page, 4096, 0, &err) == 0 && blk_flush(w, &err) == 0,
	   "unless the caller lifts the lock");
	blk_free(w);
}

int main(void)
{
	int fd;

	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/disk", dir);
	fd = loop_setup();
	if (fd < 0) {
		printf("1..0 # SKIP no loop devices here: %m\n");
	} else {
		test_shape();
		test_target();
		test_locks();
		test_lock_paths();
		test_lock();
		(void)close(fd); /* the device goes with its last user */
	}
	(void)unlink(path);
	(void)rmdir(dir);
	return fd < 0 ? EXIT_SUCCESS : done();
}
