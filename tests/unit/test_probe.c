/* Probing: of real contents in files, and the time-out. */
#include "agent/probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/blk.h"
#include "tests/unit/tap.h"

static char dir[] = "/var/tmp/hoist-test-probe-XXXXXX";
static char path[64];

static struct disk make_disk(uint64_t size)
{
	struct disk d = {.kind = DISK_FILE, .size = size, .sector_size = 512};
	FILE *f = fopen(path, "we");

	if (!f || ftruncate(fileno(f), (off_t)size) < 0 || fclose(f) != 0)
		abort();
	(void)snprintf(d.path, sizeof(d.path), "%s", path);
	return d;
}

static void put(uint64_t offset, const void *bytes, size_t size)
{
	struct blk *b = NULL;
	struct err err;

	if (blk_open_file(path, BLK_WRITE, 0, 0, &b, &err) < 0 ||
	    blk_write(b, bytes, size, offset, &err) < 0)
		abort();
	blk_free(b);
}

/* An MBR with one primary and one extended partition, the latter with a logical one. */
static void put_mbr(void)
{
	static const unsigned char mbr[] = {
		0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8,  0, 0, 0, 8,  0, 0, /* 2048, 2048 */
		0,    0, 0, 0, 0x05, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, /* 4096, 4096 */
	};
	static const unsigned char ebr[] = {0, 0, 0, 0, 0x82, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0};
	static const unsigned char magic[] = {0x55, 0xaa};
	static const unsigned char disk_id[] = {0x4c, 0x3d, 0x2e, 0x1f};

	put(440, disk_id, 4);
	put(446, mbr, sizeof(mbr));
	put(510, magic, 2);
	put(4096 * 512 + 446, ebr, sizeof(ebr));
	put(4096 * 512 + 510, magic, 2);
}

static void test_empty(void)
{
	struct disk d = make_disk(8 << 20);
	struct contents c = {0};
	struct err err = {0};
	static const unsigned char swap[] = "SWAPSPACE2";

	ok(probe_disk(&d, &c, &err) == 0 && c.is_empty && c.has_fingerprint && !c.table_type[0] &&
		   !c.content.type[0] && !c.error[0],
	   "an empty disk is empty");
	contents_done(&c);
	put((8 << 20) - 1, "x", 1);
	ok(probe_disk(&d, &c, &err) == 0 && !c.is_empty, "one byte at its end, and it is not");
	contents_done(&c);
	d = make_disk(8 << 20);
	put(4096 - 10, swap, 10);
	put(1024, (const unsigned char[]){1, 0, 0, 0, 0xff, 7}, 6);
	ok(probe_disk(&d, &c, &err) == 0 && !c.is_empty && strcmp(c.content.type, "swap") == 0 &&
		   strcmp(c.content.usage, "other") == 0,
	   "the whole disk can hold something");
	contents_done(&c);
}

static void test_table(void)
{
	struct disk d = make_disk(8 << 20);
	struct contents c = {0};
	struct err err = {0};

	put_mbr();
	ok(probe_disk(&d, &c, &err) == 0 && strcmp(c.table_type, "dos") == 0 &&
		   strcmp(c.table_uuid, "1f2e3d4c") == 0 && c.partitions_len == 3 && !c.is_empty,
	   "an MBR");
	if (c.partitions_len == 3) {
		const struct partition *p = c.partitions;

		ok(p[0].number == 1 && p[0].offset == 1 << 20 && p[0].size == 1 << 20 &&
			   p[0].is_bootable && !p[0].is_extended && strcmp(p[0].type, "0x83") == 0,
		   "its primary partition");
		ok(p[1].is_extended && p[1].number == 2 && !p[1].content.type[0],
		   "its extended partition");
		ok(p[2].number == 5 && p[2].offset == 6144 * 512 && p[2].size == 1024 * 512,
		   "the logical one within");
	}
	contents_done(&c);
	d = make_disk(3 << 20);
	put_mbr();
	ok(probe_disk(&d, &c, &err) == 0 &&
		   strstr(c.error, "does not lie inside the disk") != NULL && c.has_fingerprint,
	   "a table that says more than there is is mentioned");
	contents_done(&c);
}

static void test_boot_medium(void)
{
	static const char pvd[] = "\1CD001\1\0                                HOIST_0_1_0     ";
	static const unsigned char entry[] = {0x80, 0, 1, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 8, 0, 0};
	static const unsigned char sectors[] = {0, 2, 0, 0, 0, 0, 2, 0}, other[] = {1, 0, 0, 0};
	struct disk d = make_disk(3 << 20);
	struct contents c = {0};
	struct err err = {0};

	put(446, entry, sizeof(entry));
	put(32768, pvd, sizeof(pvd) - 1);
	put(32768 + 80, sectors, sizeof(sectors));
	ok(probe_disk(&d, &c, &err) == 0 && c.is_boot_medium,
	   "our own ISO is known by its volume id");
	contents_done(&c);
	put(32768 + 40, "OTHER", 5);
	ok(probe_disk(&d, &c, &err) == 0 && !c.is_boot_medium, "another one is not");
	contents_done(&c);
	put(32768 + 40, "HOIST", 5);
	put(32769, "X", 1);
	ok(probe_disk(&d, &c, &err) == 0 && !c.is_boot_medium, "nor is what is no ISO");
	contents_done(&c);
	put(32769, "C", 1);
	put(446 + 8, other, sizeof(other));
	ok(probe_disk(&d, &c, &err) == 0 && !c.is_boot_medium,
	   "nor a disk that was one, and was partitioned since (a GPT)");
	contents_done(&c);
	put_mbr();
	ok(probe_disk(&d, &c, &err) == 0 && !c.is_boot_medium, "(an MBR)");
	contents_done(&c);
}

static void test_errors(void)
{
	struct disk d = make_disk(1 << 20);
	struct contents c = {0};
	struct err err = {0};

	d.size = 2 << 20;
	ok(probe_disk(&d, &c, &err) == -ESTALE &&
		   strstr(err.msg, "has 1048576 bytes, but 2097152 were expected") != NULL,
	   "a size that is not the one expected is refused");
	(void)snprintf(d.path, sizeof(d.path), "/nonexistent");
	ok(probe_disk(&d, &c, &err) == -ENOENT, "no such file");
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

/* A disk that hangs (size 1) until the test lets it go, one that fails (2), and one that answers. */
static int double_probe(const struct disk *d, struct contents *ret, struct err *err)
{
	*ret = (struct contents){0};
	if (d->size == 1) {
		(void)pthread_mutex_lock(&gate);
		(void)pthread_mutex_unlock(&gate);
		ret->partitions = calloc(1, sizeof(*ret->partitions)); /* the job must free it */
		ret->partitions_len = 1;
		return 0;
	}
	if (d->size == 2)
		return err_set(err, -EIO, "read: broken\x1b");
	ret->is_empty = true;
	return 0;
}

static void test_timeout(void)
{
	struct disk_list l = {0};

	for (uint64_t i = 1; i <= 3; i++)
		disk_list_add(&l)->size = i;
	(void)pthread_mutex_lock(&gate);
	probe_disks(&l, double_probe, 100);
	ok(strcmp(l.disks[0].contents.error, "the disk did not answer within 1 seconds") == 0 &&
		   !l.disks[0].contents.is_empty,
	   "a disk that hangs is left behind, and is not empty");
	ok(strcmp(l.disks[1].contents.error, "read: broken\uFFFD") == 0, "one that fails says why");
	ok(l.disks[2].contents.is_empty && !l.disks[2].contents.error[0],
	   "one that answers is not held up");
	disk_list_done(&l);
	(void)pthread_mutex_unlock(&gate);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/disk", dir);
	test_empty();
	test_table();
	test_boot_medium();
	test_errors();
	test_timeout();
	(void)unlink(path);
	(void)rmdir(dir);
	return done();
}
