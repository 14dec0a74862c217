/* The first bytes of a target come last: whenever the power goes, it is as it was, or marked, or whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/head.h"
#include "agent/probe.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

#define SIZE_MAX_ (HEAD_SIZE + (64u << 10))

static const struct marker own = {"0123456789abcdef", 3};
static uint8_t before[SIZE_MAX_], image[SIZE_MAX_];

/* A disk with a cache of its own: of what was written since the last flush, each sector is there after a power cut, or not. */
struct cut_disk {
	struct blk blk;
	uint8_t medium[SIZE_MAX_], cache[SIZE_MAX_];
	bool is_dirty[SIZE_MAX_ / 512];
	uint64_t ops, cut_at, random;
};

static struct cut_disk *of(struct blk *b)
{
	return (struct cut_disk *)b;
}

static void settle(struct cut_disk *d, bool all)
{
	uint32_t ss = d->blk.sector_size;

	for (uint64_t i = 0; i < d->blk.size / ss; i++) {
		if (d->is_dirty[i] && (all || rig_random(&d->random) >> 40 & 1))
			memcpy(d->medium + i * ss, d->cache + i * ss, ss);
		d->is_dirty[i] = false;
	}
}

static int cut_or(struct cut_disk *d, struct err *err)
{
	if (d->cut_at > 0 && ++d->ops >= d->cut_at) {
		if (d->ops == d->cut_at)
			settle(d, false);
		return err_set(err, -EIO, "no power");
	}
	return 0;
}

static int cut_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			struct err *err)
{
	struct cut_disk *d = of(b);

	if (d->cut_at == 0 || d->ops + 1 <= d->cut_at) {
		memcpy(d->cache + offset, buf, size);
		for (uint64_t i = offset / b->sector_size; i * b->sector_size < offset + size; i++)
			d->is_dirty[i] = true;
	}
	return cut_or(d, err);
}

static int cut_zero_at(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	CLEANUP_FREE void *zeros = calloc(1, size);

	return cut_write_at(b, zeros, size, offset, err);
}

static int cut_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	(void)err;
	memcpy(buf, of(b)->cache + offset, size);
	return 0;
}

static int cut_flush(struct blk *b, struct err *err)
{
	int r = cut_or(of(b), err);

	if (r == 0)
		settle(of(b), true);
	return r;
}

static int cut_drop_cache(struct blk *b, struct err *err)
{
	(void)b;
	(void)err;
	return 0;
}

static void cut_close(struct blk *b)
{
	(void)b;
}

static const struct blk_ops cut_ops = {.read_at = cut_read_at,
				       .write_at = cut_write_at,
				       .zero_at = cut_zero_at,
				       .flush = cut_flush,
				       .drop_cache = cut_drop_cache,
				       .close = cut_close};

static struct cut_disk *disk_new(const uint8_t *content, uint64_t size, uint32_t sector_size)
{
	struct cut_disk *d = calloc(1, sizeof(*d));
	struct err err;

	if (!d || blk_init(&d->blk, &cut_ops, "cut", &err) < 0)
		abort();
	d->blk.size = size;
	d->blk.sector_size = d->blk.physical_sector_size = sector_size;
	d->blk.mode = BLK_WRITE;
	memcpy(d->medium, content, size);
	memcpy(d->cache, content, size);
	return d;
}

/* As work_restore does it. */
static int restore(struct blk *target, uint64_t size, struct err *err)
{
	CLEANUP(head_freep) struct head *h = NULL;
	uint8_t got[SIZE_MAX_];
	int r = head_new(target, size, &own, &h, err);

	if (r == 0)
		r = head_mark(h, err);
	for (uint64_t at = 0; r == 0 && at < size; at += 32768) {
		uint64_t n = size - at < 32768 ? size - at : 32768;

		r = blk_write(head_blk(h), image + at, n, at, err);
	}
	if (r == 0)
		r = blk_drop_cache(head_blk(h), err);
	if (r == 0)
		r = blk_read(head_blk(h), got, size, 0, err);
	if (r == 0 && memcmp(got, image, size) != 0)
		abort();
	if (r == 0)
		r = head_place(h, err);
	return r < 0 ? r : head_release(h, err);
}

/* Of a disk after a cut. */
static bool is_in_order(const struct cut_disk *d, uint64_t size, unsigned *seen)
{
	struct marker m;

	if (marker_decode(d->medium, &m)) {
		seen[1]++;
		return strcmp(m.job, own.job) == 0 && m.disk == own.disk;
	}
	if (memcmp(d->medium, before, size) == 0) {
		seen[0]++;
		return true;
	}
	seen[2]++;
	return memcmp(d->medium, image, size) == 0;
}

static void test_cuts(uint64_t size, uint32_t sector_size)
{
	bool is_good = true, goes_on = true, tail_is_kept = true, ended = false;
	unsigned seen[3] = {0};

	for (uint64_t at = 1; at < 60 && !ended; at++) {
		for (uint64_t seed = 1; seed <= 40; seed++) {
			struct cut_disk *d = disk_new(before, SIZE_MAX_, sector_size), *again;
			struct err err;

			d->cut_at = at;
			d->random = seed;
			ended = restore(&d->blk, size, &err) == 0;
			if (ended)
				settle(d, true);
			is_good = is_good && is_in_order(d, size, seen);
			again = disk_new(d->medium, SIZE_MAX_, sector_size);
			goes_on = goes_on && restore(&again->blk, size, &err) == 0 &&
				  memcmp(again->medium, image, size) == 0;
			tail_is_kept = tail_is_kept && memcmp(again->medium + size, before + size,
							      SIZE_MAX_ - size) == 0;
			blk_free(&again->blk);
			blk_free(&d->blk);
		}
	}
	printf("# %llu bytes, sectors of %u: %u as before, %u marked, %u whole\n",
	       (unsigned long long)size, sector_size, seen[0], seen[1], seen[2]);
	ok(ended && is_good, "whenever the power goes it is as it was, or marked, or whole");
	ok(seen[0] > 0 && seen[1] > 40 && seen[2] > 0, "and all of that was seen");
	ok(goes_on && tail_is_kept, "and it can be gone on with");
}

/* What is on the disk until it is released, and who may go on with it. */
static void test_marked(void)
{
	struct cut_disk *d = disk_new(before, SIZE_MAX_, 512);
	struct marker other = own, found;
	struct head *h = NULL;
	struct err err;
	uint8_t got[HEAD_SIZE];

	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == 0 && !head_is_marked(h) &&
		   blk_read(head_blk(h), got, sizeof(got), 0, &err) == 0 &&
		   memcmp(got, before, sizeof(got)) == 0,
	   "a disk that was not begun shows what it holds");
	ok(head_mark(h, &err) == 0 && head_is_marked(h) && marker_decode(d->medium, &found) &&
		   bytes_are_zero(d->medium + MARKER_SIZE, HEAD_SIZE - MARKER_SIZE),
	   "marked, there is the marker and nothing else");
	ok(blk_read(head_blk(h), got, sizeof(got), 0, &err) == 0 &&
		   memcmp(got, before, sizeof(got)) == 0,
	   "and what it held is still known");
	ok(blk_write(head_blk(h), image, HEAD_SIZE + 12000, 0, &err) == 0 &&
		   blk_flush(&d->blk, &err) == 0 && marker_decode(d->medium, &found) &&
		   memcmp(d->medium + HEAD_SIZE, image + HEAD_SIZE, 12000) == 0 &&
		   bytes_are_zero(d->medium + MARKER_SIZE, HEAD_SIZE - MARKER_SIZE),
	   "what is written goes to the disk but for its first bytes");
	ok(blk_zero(head_blk(h), 100, HEAD_SIZE, &err) == 0 && blk_flush(&d->blk, &err) == 0 &&
		   marker_decode(d->medium, &found) && bytes_are_zero(d->medium + HEAD_SIZE, 100) &&
		   blk_read(head_blk(h), got, sizeof(got), 0, &err) == 0 &&
		   memcmp(got, image, 100) == 0 && bytes_are_zero(got + 100, HEAD_SIZE - 100),
	   "and so do zeros");
	head_free(h);
	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == 0 && head_is_marked(h) &&
		   blk_read(head_blk(h), got, sizeof(got), 0, &err) == 0 &&
		   bytes_are_zero(got, sizeof(got)),
	   "started again, the marker is known, and is no content");
	head_free(h);
	other.disk = 2;
	ok(head_new(&d->blk, SIZE_MAX_, &other, &h, &err) == 0 && !head_is_marked(h),
	   "that of another disk of the job is not its own");
	head_free(h);
	other = own;
	other.job[15] = '0';
	ok(head_new(&d->blk, SIZE_MAX_, &other, &h, &err) == 0 && !head_is_marked(h),
	   "nor that of another job");
	head_forbid(h);
	memcpy(got, d->medium, sizeof(got));
	ok(blk_write(head_blk(h), image, 512, 0, &err) == -ESTALE &&
		   blk_write(head_blk(h), image, 512, HEAD_SIZE, &err) == -ESTALE &&
		   blk_zero(head_blk(h), HEAD_SIZE, 512, &err) == -ESTALE &&
		   head_mark(h, &err) == -ESTALE && head_place(h, &err) == -ESTALE &&
		   head_release(h, &err) == -ESTALE && memcmp(got, d->cache, sizeof(got)) == 0,
	   "a disk that is only to be compared is not written to");
	memcpy(d->cache, image, SIZE_MAX_);
	head_free(h);
	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == 0 && !head_is_marked(h), "a whole one");
	head_forbid(h);
	head_allow(h);
	ok(head_mark(h, &err) == 0 && marker_decode(d->medium, &found) &&
		   blk_read(head_blk(h), got, sizeof(got), 0, &err) == 0 &&
		   memcmp(got, image, sizeof(got)) == 0,
	   "may be marked again when it has been");
	ok(head_place(h, &err) == 0 && head_release(h, &err) == 0 &&
		   memcmp(d->medium, image, HEAD_SIZE) == 0,
	   "and released");
	head_free(h);
	blk_free(&d->blk);
}

/* By what a whole disk is known that has nothing in its first sector. */
static const struct {
	uint32_t at;
	const char *name, *magic;
} whole_disks[] = {
	{4086, "swap", "SWAPSPACE2"},
	{0x7ff6, "swap, pages of 32 KiB", "SWAPSPACE2"},
	{0x8000, "JFS", "JFS1"},
	{0x8001, "ISO 9660", "CD001"},
	{0x8801, "UDF", "NSR02"},
	{0x2034, "ReiserFS 3.5", "ReIsErFs"},
	{0xfff6, "swap, pages of 64 KiB", "SWAPSPACE2"},
	{0x10000, "GFS2", "\x01\x16\x19\x70"},
	{0x10034, "ReiserFS", "ReIsEr2Fs"},
	{0x10040, "btrfs", "_BHRfS_M"},
	{0x1055c, "UFS2", "\x19\x01\x54\x19"},
};

/* Nobody mounts half of such a disk: the restore's first window is long on it. */
static void test_whole_disks(void)
{
	for (size_t i = 0; i < sizeof(whole_disks) / sizeof(*whole_disks); i++) {
		struct cut_disk *d = disk_new(before, SIZE_MAX_, 512);
		const char *magic = whole_disks[i].magic;
		uint32_t at = whole_disks[i].at;
		struct head *h = NULL;
		struct err err;
		uint8_t all[SIZE_MAX_];
		bool good;

		memcpy(all, image, sizeof(all));
		memcpy(all + at, magic, strlen(magic));
		memcpy(d->cache + at, magic, strlen(magic)); /* and such a one was there */
		good = head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == 0 && head_mark(h, &err) == 0;
		good = good && memcmp(d->medium + at, magic, strlen(magic)) != 0;
		good = good && blk_write(head_blk(h), all, sizeof(all), 0, &err) == 0 &&
		       blk_drop_cache(head_blk(h), &err) == 0 && blk_flush(&d->blk, &err) == 0;
		good = good && memcmp(d->medium + at, magic, strlen(magic)) != 0;
		ok(good, whole_disks[i].name);
		ok(head_place(h, &err) == 0 && head_release(h, &err) == 0 &&
			   memcmp(d->medium, all, sizeof(all)) == 0,
		   "is there when all is");
		head_free(h);
		blk_free(&d->blk);
	}
}

/* Marked by an agent that held back 8 KiB, with windows behind that. */
static void test_older(void)
{
	struct cut_disk *d = disk_new(image, SIZE_MAX_, 512);
	struct head *h = NULL;
	struct err err;

	memset(d->cache, 0, 8192);
	marker_encode(&own, d->cache);
	memcpy(d->medium, d->cache, 8192);
	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == 0 && head_is_marked(h) &&
		   head_mark(h, &err) == 0 &&
		   bytes_are_zero(d->medium + MARKER_SIZE, HEAD_SIZE - MARKER_SIZE),
	   "gone on with, what an older agent did not hide is hidden");
	head_free(h);
	ok(restore(&d->blk, SIZE_MAX_, &err) == 0 && memcmp(d->medium, image, SIZE_MAX_) == 0,
	   "and it becomes whole");
	blk_free(&d->blk);
}

static uint32_t bad_at;

/* A sector that a cut has torn: it cannot be read until it is written. */
static int bad_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	if (offset <= bad_at && offset + size > bad_at)
		return err_set(err, -EIO, "read at byte %u", bad_at);
	return cut_read_at(b, buf, size, offset, err);
}

static int mending_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			    struct err *err)
{
	if (offset <= bad_at && offset + size > bad_at)
		bad_at = UINT32_MAX;
	return cut_write_at(b, buf, size, offset, err);
}

static void test_torn(void)
{
	static struct blk_ops bad_ops;
	struct cut_disk *d = disk_new(before, SIZE_MAX_, 512);
	struct head *h = NULL;
	struct err err;

	bad_ops = cut_ops;
	bad_ops.read_at = bad_read_at;
	bad_ops.write_at = mending_write_at;
	d->blk.ops = &bad_ops;
	bad_at = 0x10000;
	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == -EIO && !h,
	   "what a disk holds that is not marked must be readable");
	marker_encode(&own, d->cache);
	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == 0 && head_is_marked(h),
	   "of a marked one the first sector will do");
	ok(h && blk_write(head_blk(h), image, SIZE_MAX_, 0, &err) == 0 &&
		   head_place(h, &err) == 0 && head_release(h, &err) == 0 &&
		   memcmp(d->cache, image, SIZE_MAX_) == 0,
	   "and the rest is written");
	head_free(h);
	h = NULL;
	bad_at = 0;
	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == -EIO && !h,
	   "without it nobody knows whose it is");
	blk_free(&d->blk);
}

static void test_large_sectors(void)
{
	struct cut_disk *d = disk_new(before, SIZE_MAX_, 8192);
	struct head *h = NULL;
	struct err err;

	ok(head_new(&d->blk, SIZE_MAX_, &own, &h, &err) == -EINVAL && !h,
	   "sectors larger than any image's are refused");
	blk_free(&d->blk);
}

/* The first sector is written, and reads otherwise. */
static int bent_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	int r = cut_read_at(b, buf, size, offset, err);
	struct marker m;

	if (offset == 0 && size > 20 && !marker_decode(of(b)->cache, &m))
		((uint8_t *)buf)[20] ^= 1;
	return r;
}

static void test_bent(void)
{
	static struct blk_ops bent_ops;
	struct cut_disk *d = disk_new(before, SIZE_MAX_, 512);
	struct marker m;
	struct err err;

	bent_ops = cut_ops;
	bent_ops.read_at = bent_read_at;
	d->blk.ops = &bent_ops;
	ok(restore(&d->blk, SIZE_MAX_, &err) == -EIO && strstr(err.msg, "does not hold"),
	   "a first sector that reads otherwise is noticed");
	printf("# %s\n", err.msg);
	ok(marker_decode(d->medium, &m), "and the disk is marked again");
	blk_free(&d->blk);
}

static void test_marker(void)
{
	char path[] = "/tmp/test_head.XXXXXX";
	int fd = mkstemp(path);
	uint8_t sector[MARKER_SIZE], bent[MARKER_SIZE];
	struct marker m, max = {"ffffffffffffffff", 31};
	struct disk d = {.size = SIZE_MAX_, .sector_size = 512, .kind = DISK_FILE};
	struct contents c;
	struct err err;
	bool all_found = true;

	marker_encode(&own, sector);
	ok(marker_decode(sector, &m) && strcmp(m.job, own.job) == 0 && m.disk == 3,
	   "a marker is read as it was written");
	printf("# %.82s\n", (const char *)sector);
	ok(bytes_are_zero(sector + 440, MARKER_SIZE - 440),
	   "where a boot sector has its table and its signature there are zeros");
	for (unsigned i = 0; i < MARKER_SIZE; i++) {
		memcpy(bent, sector, sizeof(bent));
		bent[i] ^= 0x80;
		all_found = all_found && !marker_decode(bent, &m);
	}
	ok(all_found, "any byte else makes it none");
	marker_encode(&max, sector);
	ok(marker_decode(sector, &m) && m.disk == 31, "the last disk there can be");
	max.disk = 32;
	marker_encode(&max, sector);
	ok(!marker_decode(sector, &m), "and none behind it");

	marker_encode(&own, sector);
	(void)snprintf(d.path, sizeof(d.path), "%s", path);
	if (fd < 0 || ftruncate(fd, SIZE_MAX_) < 0 ||
	    write(fd, sector, sizeof(sector)) != sizeof(sector))
		abort();
	ok(probe_disk(&d, &c, &err) == 0 && strcmp(c.content.type, "unfinished_restore") == 0 &&
		   strcmp(c.content.label, "job 0123456789abcdef") == 0 && !c.table_type[0] &&
		   !c.is_empty && c.has_fingerprint,
	   "the inventory says what such a disk is, and libblkid sees nothing there");
	contents_done(&c);
	/* a swap, as an MD member or a btrfs, has nothing in the first sector: swap.h, version 1 of 8 pages */
	if (pwrite(fd, "\1\0\0\0\x08", 5, 1024) != 5 || pwrite(fd, "SWAPSPACE2", 10, 4086) != 10)
		abort();
	ok(probe_disk(&d, &c, &err) == 0 && strcmp(c.content.type, "unfinished_restore") == 0 &&
		   strcmp(c.content.label, "job 0123456789abcdef") == 0 && !c.content.version[0],
	   "even if there is already what a whole disk may hold behind that sector");
	contents_done(&c);
	if (pwrite(fd, "\x55\xaa", 2, 510) != 2)
		abort();
	ok(probe_disk(&d, &c, &err) == 0 && strcmp(c.content.type, "unfinished_restore") != 0,
	   "with anything else in that sector it is none");
	contents_done(&c);
	(void)close(fd);
	(void)unlink(path);
}

int main(void)
{
	uint64_t random = 4711;

	for (unsigned i = 0; i < SIZE_MAX_; i++) {
		before[i] = (uint8_t)(rig_random(&random) >> 33);
		image[i] = (uint8_t)(rig_random(&random) >> 33);
	}
	test_marker();
	test_marked();
	test_whole_disks();
	test_older();
	test_torn();
	test_large_sectors();
	test_bent();
	test_cuts(SIZE_MAX_, 512);
	test_cuts(SIZE_MAX_, 4096);
	test_cuts(HEAD_SIZE + 512, 512);
	test_cuts(4096, 4096);
	test_cuts(512, 512);
	return done();
}
