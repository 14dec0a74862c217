/* A GPT on a target that has just been written with somebody's image, which libparted is to move to the disk's end.  Whatever the table says: what
 * lies between the tables is not touched, nor what the image had behind its own.
 *
 * The input: flags (1; 1: sectors of 4,096 bytes, 2: the check sums of both headers are made right, as whoever made the image could have; the other bits, if any: by so
 * many sectors the disk is larger than the image), then the disk
 * in the form of tests/lib/image.h. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "agent/fixup_gpt.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_file.h"
#include "tests/lib/image.h"

#define DISK_MAX (4u << 20)
/* UEFI specification 2.10, 5.3.2 */
#define OFF_SIZE	12u
#define OFF_CRC		16u
#define OFF_LAST	48u
#define OFF_ENTRIES	72u
#define OFF_ENTRIES_LEN 80u
#define OFF_ENTRY_SIZE	84u
#define OFF_ENTRIES_CRC 88u
#define OFF_OTHER	32u

static uint8_t *disk; /* DISK_MAX */
static size_t disk_size;
static uint32_t sector_size;
static uint64_t source_size;

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = bytes; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

static void put_u32(uint8_t *p, uint32_t v)
{
	struct writer w;

	writer_init(&w, p, 4);
	writer_u32(&w, v);
}

/* The bytes of the table of entries that a header names, 0 if they are not all there. */
static uint64_t entries_size(const uint8_t *h)
{
	uint64_t size = get(h + OFF_ENTRIES_LEN, 4) * get(h + OFF_ENTRY_SIZE, 4);
	uint64_t at = get(h + OFF_ENTRIES, 8);

	return at <= disk_size / sector_size && size <= disk_size - at * sector_size ? size : 0;
}

static void seal(uint64_t lba)
{
	uint32_t size;
	uint8_t *h;

	if (lba >= disk_size / sector_size)
		return;
	h = disk + lba * sector_size;
	if (memcmp(h, "EFI PART", 8) != 0)
		return;
	put_u32(h + OFF_ENTRIES_CRC,
		(uint32_t)crc32(
			0, disk + get(h + OFF_ENTRIES, 8) * sector_size * (entries_size(h) > 0),
			(uInt)entries_size(h)));
	size = (uint32_t)get(h + OFF_SIZE, 4);
	put_u32(h + OFF_CRC, 0);
	if (size <= sector_size)
		put_u32(h + OFF_CRC, (uint32_t)crc32(0, h, size));
}

/* Nothing is written but sector 0, tables of so many entries behind the first header and before the last, and what was called the last header, behind all that is usable:
 * it is cleared. */
static void check_rest(const uint8_t *before)
{
	uint64_t table = get(before + sector_size + OFF_ENTRIES_LEN, 4) *
			 get(before + sector_size + OFF_ENTRY_SIZE, 4);
	uint64_t edge = (2 + (table + sector_size - 1) / sector_size) * sector_size;
	uint64_t other = get(before + sector_size + OFF_OTHER, 8);
	CLEANUP_FREE uint8_t *after = malloc(disk_size);

	if (!after || pread(fuzz_file_fd, after, disk_size, 0) != (ssize_t)disk_size)
		abort();
	if (other < disk_size / sector_size && other > get(before + sector_size + OFF_LAST, 8))
		memcpy(after + other * sector_size, before + other * sector_size, sector_size);
	if (other < source_size / sector_size &&
	    memcmp(before + (other + 1) * sector_size, after + (other + 1) * sector_size,
		   source_size - (other + 1) * sector_size) != 0)
		abort();
	if (edge < disk_size / 2 && memcmp(before + edge, after + edge, disk_size - 2 * edge) != 0)
		abort();
}

static void run(void)
{
	CLEANUP(blk_freep) struct blk *b = NULL;
	struct gpt_fixup f = {.result = GPT_NONE};
	struct err err = {0};

	fuzz_file_new(disk_size);
	fuzz_file_put(disk, disk_size, 0);
	if (blk_open_file(fuzz_file_path, BLK_WRITE, 0, sector_size, &b, &err) < 0)
		abort();
	if (fixup_gpt(b, source_size, &f, &err) < 0) {
		if (!err.msg[0])
			abort();
	} else if (f.result == GPT_MOVED && f.new_backup != disk_size / sector_size - 1) {
		abort();
	}
	check_rest(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk *disks[IMAGE_DISKS_MAX];
	size_t len = size > 1 ? image_decode(data + 1, size - 1, disks) : 0;
	struct err err;

	if (!disk)
		disk = malloc(DISK_MAX);
	if (!disk)
		abort();
	sector_size = size > 0 && data[0] & 1 ? 4096 : 512;
	disk_size = len > 0 ? blk_size(disks[0]) : 0;
	if (disk_size >= 4ull * sector_size && disk_size <= DISK_MAX &&
	    disk_size % sector_size == 0 && blk_read(disks[0], disk, disk_size, 0, &err) == 0) {
		if (data[0] & 2) {
			seal(1);
			seal(get(disk + sector_size + OFF_OTHER, 8));
		}
		source_size = (uint64_t)(data[0] >> 2) * sector_size;
		source_size =
			source_size > 0 && source_size < disk_size ? disk_size - source_size : 0;
		run();
	}
	for (size_t i = 0; i < len; i++)
		blk_free(disks[i]);
	return 0;
}
