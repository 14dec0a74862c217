/* fat.c - FAT12, FAT16 and FAT32: "Microsoft Extensible Firmware Initiative FAT32 File System Specification", version 1.03.
 *
 * The file allocation table is the map: an entry that is not zero is a cluster in use (bad ones too: they are left as they are).  Nothing in the format
 * has a checksum.  So the copies of the table must be equal, the boot sector of FAT32 must be like its backup, and the folders must make sense with the
 * geometry that the boot sector claims (fat_walk.c). */
#include "agent/usage/fat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BOOT_SIZE    512u
#define CHUNK	     49152u /* bytes of a table at a time: whole entries of all three kinds */
#define FAT12_MAX    4084u  /* clusters */
#define FAT16_MAX    65524u
#define FAT32_MAX    0x0ffffff4u
#define STATE_DIRTY  1u
#define NOT_MIRRORED 0x80u

static bool is_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

/* Has a boot sector the shape of FAT's?  Those of NTFS and exFAT have no tables and no reserved sectors. */
static bool is_fat(struct view *b)
{
	uint32_t sector_size = view_le16(b, 0x0b);
	uint32_t media = view_u8(b, 0x15);

	return view_le16(b, 510) == 0xaa55 && (view_u8(b, 0) == 0xeb || view_u8(b, 0) == 0xe9) &&
	       is_power_of_two(sector_size) && sector_size >= 512 && sector_size <= 4096 &&
	       is_power_of_two(view_u8(b, 0x0d)) && view_le16(b, 0x0e) > 0 &&
	       view_u8(b, 0x10) >= 1 && view_u8(b, 0x10) <= 4 && (media == 0xf0 || media >= 0xf8) &&
	       (view_le16(b, 0x16) != 0 || view_le32(b, 0x24) != 0) &&
	       (view_le16(b, 0x13) != 0 || view_le32(b, 0x20) != 0);
}

static bool is_fat32(struct view *b)
{
	return view_le16(b, 0x16) == 0;
}

static int fat_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t boot[BOOT_SIZE];
	struct view b = view_of(boot, sizeof(boot));
	size_t extended;
	int r;

	if (volume_size(v) < BOOT_SIZE)
		return 0;
	r = volume_read(v, boot, sizeof(boot), 0, err);
	if (r < 0 || !is_fat(&b))
		return r;
	part->content = "vfat";
	extended = is_fat32(&b) ? 0x42 : 0x26;
	if (view_u8(&b, extended) == 0x29 || view_u8(&b, extended) == 0x28) {
		(void)snprintf(part->uuid, sizeof(part->uuid), "%04X-%04X",
			       view_le16(&b, extended + 3), view_le16(&b, extended + 1));
	}
	if (view_u8(&b, extended) == 0x29 && !view_is(&b, extended + 5, "NO NAME    ", 11))
		part_set_label(part, boot + extended + 5, 11);
	return 1;
}

/* Of FAT12 and FAT16 hard disks and floppies; others are rare enough to be taken for damage. */
static bool is_usual_root(uint32_t entries)
{
	return entries == 512 || entries == 112 || entries == 224 || entries == 240;
}

static int read_geometry(struct fat *f, struct view *b, struct err *err)
{
	uint64_t sectors = view_le16(b, 0x13) ? view_le16(b, 0x13) : view_le32(b, 0x20);
	uint64_t reserved = view_le16(b, 0x0e);
	uint64_t table = is_fat32(b) ? view_le32(b, 0x24) : view_le16(b, 0x16);
	uint32_t root_entries = view_le16(b, 0x11);
	uint64_t per_cluster = view_u8(b, 0x0d);
	uint64_t before, clusters;

	f->sector_size = view_le16(b, 0x0b);
	f->cluster_size = (uint32_t)per_cluster * f->sector_size;
	f->fats = view_u8(b, 0x10);
	f->table_offset = reserved * f->sector_size;
	f->table_size = table * f->sector_size;
	f->root_offset = f->table_offset + f->fats * f->table_size;
	f->root_size = root_entries * 32;
	f->data_offset = f->root_offset + f->root_size;
	f->media = view_u8(b, 0x15);
	before = f->data_offset / f->sector_size;
	if (per_cluster == 0 || f->root_size % f->sector_size != 0 ||
	    sectors <= before + per_cluster)
		return doubt(err, "its boot sector contradicts itself");
	if (sectors > volume_size(f->v) / f->sector_size)
		return doubt(err, "it is larger than the space it is in");
	clusters = (sectors - before) / per_cluster;
	f->bits = is_fat32(b) ? 32 : clusters <= FAT12_MAX ? 12 : 16;
	f->root_cluster = view_le32(b, 0x2c);
	f->state = view_u8(b, is_fat32(b) ? 0x41 : 0x25);
	if (clusters > (f->bits == 32 ? FAT32_MAX : FAT16_MAX) ||
	    (clusters + 2) * f->bits > f->table_size * 8)
		return doubt(err, "its table does not match its size");
	if (f->bits == 32 ? root_entries != 0 : !is_usual_root(root_entries))
		return doubt(err, "its root folder has %u entries", root_entries);
	f->clusters = (uint32_t)clusters;
	return 0;
}

/* FAT32 only: the others have no backup. */
static int check_backup(const struct fat *f, struct view *b, struct err *err)
{
	uint64_t backup = view_le16(b, 0x32);
	uint8_t boot[BOOT_SIZE];
	int r;

	if (view_le16(b, 0x28) & NOT_MIRRORED)
		return doubt(err, "it uses one of its tables only");
	if (view_le16(b, 0x2a) != 0)
		return doubt(err, "its version is not known");
	if (backup == 0 || backup >= view_le16(b, 0x0e))
		return doubt(err, "it has no backup of its boot sector");
	r = volume_read(f->v, boot, sizeof(boot), backup * f->sector_size, err);
	if (r < 0)
		return r;
	if (memcmp(boot + 0x0b, b->p + 0x0b, 0x30 - 0x0b) != 0)
		return doubt(err, "its boot sector and the backup of it differ");
	return 0;
}

static int read_boot(struct fat *f, struct err *err)
{
	uint8_t boot[BOOT_SIZE];
	struct view b = view_of(boot, sizeof(boot));
	int r = volume_read(f->v, boot, sizeof(boot), 0, err);

	if (r == 0)
		r = read_geometry(f, &b, err);
	if (r == 0 && f->bits == 32)
		r = check_backup(f, &b, err);
	return r;
}

int fat_entry(const struct fat *f, uint32_t n, uint32_t *ret, struct err *err)
{
	uint8_t bytes[4] = {0};
	struct view v = view_of(bytes, sizeof(bytes));
	uint64_t at = f->bits == 12 ? n + n / 2 : (uint64_t)n * (f->bits / 8);
	int r = volume_read(f->v, bytes, f->bits == 32 ? 4 : 2, f->table_offset + at, err);

	if (r < 0)
		return r;
	if (f->bits == 12) {
		*ret = n % 2 ? view_le16(&v, 0) >> 4 : view_le16(&v, 0) & 0xfff;
	} else {
		*ret = f->bits == 16 ? view_le16(&v, 0) : view_le32(&v, 0) & 0x0fffffff;
	}
	return 0;
}

/* The first two entries stand for no cluster: the first repeats the media byte, the second says whether all was well. */
static int check_clean(const struct fat *f, struct err *err)
{
	uint32_t first = 0;
	uint32_t second = 0;
	uint32_t clean = f->bits == 16 ? 0x8000 : f->bits == 32 ? 0x08000000 : 0;
	int r = fat_entry(f, 0, &first, err);

	if (r == 0)
		r = fat_entry(f, 1, &second, err);
	if (r < 0)
		return r;
	if ((first & 0xff) != f->media)
		return doubt(err, "its table does not begin like one");
	if ((f->state & STATE_DIRTY) || (second & clean) != clean)
		return doubt(err, "it was not unmounted cleanly: it is marked dirty");
	if ((second & clean / 2) != clean / 2)
		return doubt(err, "errors were met on it, and it has not been checked since");
	return 0;
}

static uint32_t entry_of(const struct fat *f, struct view *v, uint32_t i)
{
	if (f->bits == 12) {
		uint32_t n = view_le16(v, i + i / 2);

		return i % 2 ? n >> 4 : n & 0xfff;
	}
	return f->bits == 16 ? view_le16(v, 2 * (size_t)i)
			     : view_le32(v, 4 * (size_t)i) & 0x0fffffff;
}

/* Mark what `count` entries from number `first` on call used, and count it. */
static uint32_t mark_entries(const struct fat *f, const uint8_t *table, uint32_t first,
			     uint32_t count)
{
	/* a 12-bit entry at the end is read with half a byte of the next */
	struct view v = view_of(table, CHUNK + 1);
	uint32_t used = 0;

	for (uint32_t i = first < 2 ? 2 - first : 0; i < count; i++) {
		uint32_t start = i;

		while (i < count && entry_of(f, &v, i) != 0)
			i++;
		used += i - start;
		volume_mark(f->v, f->data_offset + (uint64_t)(first + start - 2) * f->cluster_size,
			    (uint64_t)(i - start) * f->cluster_size);
	}
	return used;
}

/* All copies of the table in step: they must be equal. */
static int mark_table(const struct fat *f, uint32_t *ret_used, struct err *err)
{
	uint32_t per_chunk = CHUNK * 8 / f->bits;
	CLEANUP_FREE uint8_t *table = calloc(2, CHUNK + 1);
	uint8_t *copy = table ? table + CHUNK + 1 : NULL;
	uint32_t end = f->clusters + 2;
	int r = 0;

	*ret_used = 0;
	if (!table)
		return err_set(err, -ENOMEM, "out of memory");
	for (uint32_t first = 0; first < end; first += per_chunk) {
		uint64_t at = (uint64_t)first * f->bits / 8;
		uint32_t count = end - first < per_chunk ? end - first : per_chunk;
		size_t size = ((size_t)count * f->bits + 7) / 8;

		r = volume_read(f->v, table, size, f->table_offset + at, err);
		for (uint32_t i = 1; r == 0 && i < f->fats; i++) {
			r = volume_read(f->v, copy, size, f->table_offset + i * f->table_size + at,
					err);
			if (r == 0 && memcmp(table, copy, size) != 0)
				r = doubt(err, "the copies of its table differ");
		}
		if (r < 0)
			return r;
		*ret_used += mark_entries(f, table, first, count);
	}
	return 0;
}

static int fat_map(struct scan *s, struct place *p, struct err *err)
{
	struct fat f = {.v = p->volume};
	uint32_t used = 0;
	int r = read_boot(&f, err);

	(void)s;
	if (r == 0)
		r = check_clean(&f, err);
	if (r == 0)
		r = mark_table(&f, &used, err);
	if (r == 0)
		r = fat_walk(&f, used, err);
	if (r < 0)
		return r;
	volume_mark(p->volume, 0, f.data_offset);
	volume_mark(p->volume, f.data_offset + (uint64_t)f.clusters * f.cluster_size, UINT64_MAX);
	p->part.used = f.data_offset + (uint64_t)used * f.cluster_size;
	return 0;
}

const struct format format_fat = {.name = "FAT", .probe = fat_probe, .map = fat_map};
