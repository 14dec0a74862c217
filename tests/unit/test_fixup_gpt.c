/* A GPT on a disk that has grown.  The tables are made here, by the UEFI specification, so that libparted judges what it did not make. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "agent/fixup_gpt.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "tests/lib/blk_fault.h"
#include "tests/unit/tap.h"

#define ENTRY 128u
#define OLD   5000u /* sectors */
#define NEW   7001u

static char path[] = "/tmp/test_fixup_gpt.XXXXXX";
static uint32_t ss, count = 128; /* entries */
static uint8_t *disk;		 /* NEW sectors */
static size_t len = NEW;	 /* of the file, in sectors */

static void load(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, disk, len * ss) != (ssize_t)(len * ss))
		abort();
	(void)close(fd);
}

static void store(void)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, disk, len * ss) != (ssize_t)(len * ss))
		abort();
	(void)close(fd);
}

static uint32_t array_sectors(void)
{
	return (count * ENTRY + ss - 1) / ss;
}

static void put_header(uint64_t my, uint64_t other, uint64_t array)
{
	uint8_t *h = disk + my * ss;
	uint8_t *entries = disk + array * ss;
	struct writer w;

	memset(h, 0, ss);
	writer_init(&w, h, 92);
	writer_bytes(&w, "EFI PART", 8);
	writer_u32(&w, 0x10000);
	writer_u32(&w, 92);
	writer_u32(&w, 0);
	writer_u32(&w, 0);
	writer_u64(&w, my);
	writer_u64(&w, other);
	writer_u64(&w, 2 + array_sectors());
	writer_u64(&w, OLD - 2 - array_sectors());
	writer_bytes(&w, "0123456789abcdef", 16);
	writer_u64(&w, array);
	writer_u32(&w, count);
	writer_u32(&w, ENTRY);
	writer_u32(&w, (uint32_t)crc32(0, entries, count * ENTRY));
	writer_init(&w, h + 16, 4);
	writer_u32(&w, (uint32_t)crc32(0, h, 92));
}

static void put_entry(uint8_t *e, uint64_t first, uint64_t last)
{
	static const uint8_t linux_data[16] = {0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
					       0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};
	struct writer w;

	writer_init(&w, e, ENTRY);
	writer_bytes(&w, linux_data, 16);
	writer_bytes(&w, "a unique number", 16);
	writer_u64(&w, first);
	writer_u64(&w, last);
	writer_u64(&w, 1ull << 60 | 4); /* attributes: read-only, legacy BIOS bootable */
	writer_bytes(&w, "r\0o\0o\0t\0", 8);
}

/* A disk of OLD sectors with boot code and a GPT, in a file of `len` sectors whose rest is not zero. */
static void make(uint32_t sector_size)
{
	uint8_t *e;
	int fd;

	ss = sector_size;
	free(disk);
	disk = calloc(NEW, ss);
	memset(disk, 0x90, 440);
	memset(disk + (size_t)3000 * ss, 0x77, ss);
	memcpy(disk + 446, (uint8_t[12]){0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1}, 12);
	memcpy(disk + 458, &(uint32_t){OLD - 1}, 4);
	memcpy(disk + 510, (uint8_t[2]){0x55, 0xaa}, 2);
	e = disk + (size_t)2 * ss;
	put_entry(e, 2048, 2999);
	put_entry(e + ENTRY, 3000, 4000);
	memcpy(disk + (size_t)(OLD - 1 - array_sectors()) * ss, e, count * ENTRY);
	put_header(1, OLD - 1, 2);
	put_header(OLD - 1, 1, OLD - 1 - array_sectors());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)(len * ss)) < 0)
		abort();
	(void)close(fd);
	store();
}

static uint64_t u64_at(size_t at)
{
	uint64_t v;

	memcpy(&v, disk + at, 8);
	return v;
}

static bool header_is_good(uint64_t my, uint64_t other)
{
	uint8_t h[92];
	uint32_t crc, entries_crc;
	uint64_t array;

	memcpy(h, disk + my * ss, 92);
	memcpy(&crc, h + 16, 4);
	memset(h + 16, 0, 4);
	memcpy(&array, h + 72, 8);
	memcpy(&entries_crc, h + 88, 4);
	return memcmp(h, "EFI PART", 8) == 0 && crc == crc32(0, h, 92) &&
	       u64_at(my * ss + 24) == my && u64_at(my * ss + 32) == other && array < NEW &&
	       entries_crc == crc32(0, disk + array * ss, count * ENTRY);
}

/* Of the file. */
static int fix(uint32_t sector_size, uint64_t source_size, struct gpt_fixup *ret, struct err *err)
{
	CLEANUP(blk_freep) struct blk *b = NULL;
	int r = blk_open_file(path, BLK_WRITE, 0, sector_size, &b, err);

	return r < 0 ? r : fixup_gpt(b, source_size, ret, err);
}

static void test_move(uint32_t sector_size)
{
	CLEANUP_FREE uint8_t *before = malloc((size_t)NEW * sector_size);
	struct gpt_fixup f = {.result = GPT_NONE};
	struct err err = {0};
	size_t last = NEW - 1;

	make(sector_size);
	memcpy(before, disk, (size_t)NEW * ss);
	printf("# sectors of %u\n", ss);
	ok(fix(ss, (uint64_t)OLD * ss, &f, &err) == 0, "fixed up");
	if (err.code)
		printf("# %s\n", err.msg);
	ok(f.result == GPT_MOVED && f.old_backup == OLD - 1 && f.new_backup == last && !f.is_hybrid,
	   "it says what it did");
	load();
	ok(header_is_good(1, last) && header_is_good(last, 1),
	   "both headers are good and name each other");
	ok(u64_at(ss + 48) == last - 1 - array_sectors(), "all space is usable");
	ok(memcmp(disk + (size_t)2 * ss, before + (size_t)2 * ss, count * ENTRY) == 0,
	   "partitions, their names, attributes and numbers are as before");
	ok(memcmp(disk + ss + 56, before + ss + 56, 16) == 0, "and so is the disk's");
	ok(memcmp(disk, before, 446) == 0, "the boot code is untouched");
	ok(disk[450] == 0xee && memcmp(disk + 458, &(uint32_t){NEW - 1}, 4) == 0,
	   "the protective MBR covers the disk");
	ok(memcmp(disk + (size_t)(2 + array_sectors()) * ss,
		  before + (size_t)(2 + array_sectors()) * ss,
		  (size_t)(OLD - 3 - 2 * array_sectors()) * ss) == 0,
	   "what lies in between is untouched");
	f.result = GPT_NONE;
	ok(fix(ss, (uint64_t)OLD * ss, &f, &err) == 0 && f.result == GPT_FINE,
	   "a second time nothing is to do");
}

/* Tables of few entries, partitions from right behind the first to right before the last, on a disk that is little or much larger. */
static void test_few(uint32_t sector_size)
{
	static const uint32_t counts[] = {4, 8, 64, 68, 72};
	static const size_t lens[] = {OLD + 2, OLD + 10, OLD + 40, NEW};

	for (size_t i = 0; i < 20; i++) {
		CLEANUP_FREE uint8_t *before = NULL;
		struct gpt_fixup f = {.result = GPT_NONE};
		struct err err = {0};
		size_t first, last;
		int r;

		count = counts[i % 5];
		len = lens[i / 5];
		make(sector_size);
		first = 2 + array_sectors();
		last = OLD - 2 - array_sectors();
		memset(disk + first * ss, 0x5a, (last - first + 1) * ss);
		put_entry(disk + (size_t)2 * ss, first, 2999);
		put_entry(disk + (size_t)2 * ss + ENTRY, 3000, last);
		memcpy(disk + (last + 1) * ss, disk + (size_t)2 * ss, count * ENTRY);
		put_header(1, OLD - 1, 2);
		put_header(OLD - 1, 1, last + 1);
		store();
		before = malloc(len * ss);
		memcpy(before, disk, len * ss);
		r = fix(ss, (uint64_t)OLD * ss, &f, &err);
		load();
		printf("# %u entries of 128 bytes, sectors of %u, %zu of them: %s\n", count, ss,
		       len, r < 0 ? err.msg : "moved");
		ok(memcmp(disk + first * ss, before + first * ss, (last - first + 1) * ss) == 0,
		   "nothing of a partition is changed");
		ok(r < 0 ? memcmp(disk, before, len * ss) == 0
			 : f.result == GPT_MOVED && header_is_good(1, len - 1) &&
				   header_is_good(len - 1, 1),
		   "it is moved, or all is as it was");
		ok(r == 0 || len < OLD + 40, "moved where there is room");
	}
	count = 128;
	len = NEW;
}

static void test_hybrid(void)
{
	struct gpt_fixup f = {.result = GPT_NONE};
	struct err err;
	uint8_t mbr[512];

	make(512);
	disk[462 + 4] = 0x83;
	memcpy(disk + 462 + 8, &(uint32_t[2]){2048, 952}, 8);
	memcpy(mbr, disk, 512);
	store();
	ok(fix(512, OLD * 512, &f, &err) == 0 && f.result == GPT_MOVED && f.is_hybrid,
	   "a hybrid MBR is recognised");
	load();
	ok(memcmp(mbr, disk, 512) == 0, "and kept");
	ok(header_is_good(1, NEW - 1) && header_is_good(NEW - 1, 1), "with a good GPT");
}

static void test_others(void)
{
	struct gpt_fixup f = {.result = GPT_MOVED};
	struct err err;
	CLEANUP_FREE uint8_t *before = malloc((size_t)NEW * 512);

	make(512);
	memset(disk + (size_t)(OLD - 1) * ss, 0, ss);
	store();
	ok(fix(512, OLD * 512, &f, &err) == 0, "a damaged backup is made anew");
	load();
	ok(header_is_good(1, NEW - 1) && header_is_good(NEW - 1, 1), "and good");

	make(512);
	disk[ss + 60] ^= 1; /* the primary's checksum is wrong now */
	store();
	memcpy(before, disk, (size_t)NEW * ss);
	ok(fix(512, OLD * 512, &f, &err) == -EBADMSG, "a damaged table is not touched");
	load();
	ok(memcmp(before, disk, (size_t)NEW * ss) == 0, "not in any byte");
	ok(strstr(err.msg, "to the disk's end:") != NULL, "and there is a sentence");
	printf("# %s\n", err.msg);

	memset(disk + ss, 0, ss);
	store();
	memcpy(before, disk, (size_t)NEW * ss);
	ok(fix(512, OLD * 512, &f, &err) == -EBADMSG && strstr(err.msg, "its backup"),
	   "one of which only the backup is left is told of");
	printf("# %s\n", err.msg);
	load();
	ok(memcmp(before, disk, (size_t)NEW * ss) == 0, "and not touched");

	disk[450] = 0x83;
	store();
	ok(fix(512, OLD * 512, &f, &err) == 0 && f.result == GPT_NONE,
	   "what is left of one on a disk with an MBR is none");
	disk[450] = 0xee;
	memset(disk + (size_t)(OLD - 1) * ss, 0, ss);
	store();
	ok(fix(512, OLD * 512, &f, &err) == 0 && f.result == GPT_NONE, "no GPT, nothing to do");
}

static void put_u64(size_t at, uint64_t v)
{
	struct writer w;

	writer_init(&w, disk + at, 8);
	writer_u64(&w, v);
}

/* Of the first header and its entries. */
static void reseal(void)
{
	uint8_t *h = disk + ss;
	struct writer w;

	writer_init(&w, h + 88, 4);
	writer_u32(&w, (uint32_t)crc32(0, disk + (size_t)2 * ss, count * ENTRY));
	writer_init(&w, h + 16, 4);
	writer_u32(&w, 0);
	writer_init(&w, h + 16, 4);
	writer_u32(&w, (uint32_t)crc32(0, h, 92));
}

/* Refused and not touched: right check sums, but what libparted must not be given: it would write where a partition is, or end the program. */
static void test_strange(void)
{
	static const struct {
		size_t at;
		uint64_t value;
		const char *what;
	} changes[] = {
		{512 + 32, 3500, "a backup among the partitions"},
		{512 + 32, NEW, "a backup behind the disk's end"},
		{512 + 72, 40, "a first table elsewhere"},
		{512 + 80, 128ull << 32, "no entries"},
		{512 + 80, 128ull << 32 | 8193, "too many"},
		{512 + 80, 64ull << 32 | 128, "entries of another size"},
		{512 + 40, 10, "usable sectors where the table is"},
		{512 + 48, OLD - 20, "and where its backup is"},
		{1024 + 32, 20, "a partition where the table is"},
		{1024 + 40, OLD - 10, "and where its backup is"},
		{1024 + 40, 2000, "a partition that ends before it begins"},
		{(size_t)(OLD - 1) * 512 + 80, 128ull << 32, "a backup of no entries"},
	};
	CLEANUP_FREE uint8_t *before = malloc((size_t)NEW * 512);

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct gpt_fixup f = {.result = GPT_NONE};
		struct err err = {0};
		int r;

		make(512);
		put_u64(changes[i].at, changes[i].value);
		reseal();
		store();
		memcpy(before, disk, (size_t)NEW * 512);
		r = fix(512, OLD * 512, &f, &err);
		load();
		ok(r == -EBADMSG && memcmp(before, disk, (size_t)NEW * 512) == 0, changes[i].what);
		printf("# %s\n", err.msg);
	}
	make(512);
	reseal();
	store();
	ok(fix(512, OLD * 512, &(struct gpt_fixup){0}, &(struct err){0}) == 0,
	   "without any of this it is moved");
}

/* The disk that the table came from went on behind it, or ended before. */
static void test_source_end(void)
{
	static const struct {
		uint64_t source, target; /* sectors */
		bool is_moved;
		const char *what;
	} cases[] = {
		{NEW - 33, NEW, true, "the new backup begins where the source ended"},
		{NEW - 32, NEW, false, "it would begin one sector before"},
		{NEW - 1, NEW, false, "the target is one sector larger"},
		{OLD + 3, OLD + 4, false, "a little of both"},
		{OLD - 1, OLD + 10, false, "the table ends behind the source"},
		{OLD, OLD + 1, true, "where the source ended with its table this is overwritten"},
	};
	CLEANUP_FREE uint8_t *before = malloc((size_t)NEW * 512);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t source = cases[i].source, kept = source > OLD ? source - OLD : 0;
		struct gpt_fixup f = {.result = GPT_NONE};
		struct err err = {0};
		int r;

		len = cases[i].target;
		make(512);
		memset(disk + (size_t)OLD * 512, 0x5a, kept * 512);
		store();
		memcpy(before, disk, len * 512);
		r = fix(512, source * 512, &f, &err);
		load();
		ok(cases[i].is_moved ? r == 0 && f.result == GPT_MOVED && header_is_good(len - 1, 1)
				     : r == -EBADMSG && memcmp(before, disk, len * 512) == 0,
		   cases[i].what);
		ok(memcmp(before + OLD * 512, disk + OLD * 512, kept * 512) == 0,
		   "what the source had behind its table is there");
		printf("# %s\n", err.msg);
	}
	len = NEW;
}

/* Each write and flush of the disk fails in turn: it is as it was; or, when it fails for good, that is said. */
static void test_half(bool is_hybrid, bool for_good)
{
	struct blk_fault_plan plan = {.ops = BLK_FAULT_WRITE | BLK_FAULT_FLUSH | BLK_FAULT_DROP,
				      .from_there = for_good};
	CLEANUP_FREE uint8_t *before = malloc((size_t)NEW * 512);
	bool all_told = true, all_back = true;
	unsigned failed = 0;

	make(512);
	if (is_hybrid)
		memcpy(disk + 462, (uint8_t[16]){[4] = 0x83, [9] = 8, [12] = 100}, 16);
	memcpy(before, disk, (size_t)NEW * 512);
	for (plan.nth = 1; plan.nth < 50; plan.nth++) {
		struct gpt_fixup f = {.result = GPT_NONE};
		struct err err = {0};
		struct blk *b;
		int r;

		plan.is_partial = plan.nth % 2;
		memcpy(disk, before, (size_t)NEW * 512);
		store();
		if (blk_open_file(path, BLK_WRITE, 0, 512, &b, &err) < 0)
			abort();
		b = blk_fault_new(b, &plan);
		r = fixup_gpt(b, OLD * 512, &f, &err);
		blk_free(b);
		load();
		if (r == 0)
			break;
		failed++;
		all_told = all_told && r == (for_good ? -ENOTRECOVERABLE : -EIO) && err.msg[0];
		all_back = all_back && memcmp(before, disk, (size_t)NEW * 512) == 0;
	}
	ok(failed >= 4 && plan.nth < 50 && all_told, "what fails half-way is told of");
	ok(for_good || all_back,
	   is_hybrid ? "and all is put back, a hybrid MBR too" : "and all is put back");
	load();
	ok(header_is_good(1, NEW - 1) && header_is_good(NEW - 1, 1),
	   "when nothing fails it is moved");
}

/* A disk that says it wrote, and did not. */
static const struct blk_ops *file_ops;
static struct blk_ops lossy_ops;
static unsigned lost;
static int lossy_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			  struct err *err)
{
	if (lost > 0 && offset >= 512 && lost-- > 0)
		return 0;
	return file_ops->write_at(b, buf, size, offset, err);
}

static void test_lost(void)
{
	struct gpt_fixup f = {.result = GPT_NONE};
	struct err err = {0};
	struct blk *b;

	make(512);
	if (blk_open_file(path, BLK_WRITE, 0, 512, &b, &err) < 0)
		abort();
	file_ops = b->ops;
	lossy_ops = *b->ops;
	lossy_ops.write_at = lossy_write_at;
	b->ops = &lossy_ops;
	lost = 1;
	ok(fixup_gpt(b, OLD * 512, &f, &err) == -EIO && strstr(err.msg, "does not hold"),
	   "what was not written is noticed");
	printf("# %s\n", err.msg);
	b->ops = file_ops;
	blk_free(b);
}

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	(void)close(fd);
	test_move(512);
	test_move(4096);
	test_few(512);
	test_few(4096);
	test_hybrid();
	test_others();
	test_strange();
	test_source_end();
	test_half(true, false);
	test_half(false, false);
	test_half(false, true);
	test_lost();
	free(disk);
	(void)unlink(path);
	return done();
}
