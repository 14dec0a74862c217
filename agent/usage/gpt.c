/* gpt.c - the GUID partition table, UEFI 2.10 section 5.3.
 *
 * Both copies are read.  Two good ones that agree make the table sane.  With one good copy its partitions are believed (it has a
 * checksum), but not that nothing is outside them.  Two good copies that disagree are believed in nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "agent/usage/scan.h"
#include "agent/usage/table.h"

#define HEADER_MIN	 92u
#define ENTRIES_SIZE_MAX (1u << 20)
#define ENTRY_SIZE_MIN	 128u
#define ENTRY_SIZE_MAX	 4096u

struct gpt {
	uint64_t lba, alternate, first_usable, last_usable, entries_lba;
	uint32_t entries_len, entry_size, entries_crc;
	uint8_t guid[16];
	uint8_t *entries; /* heap */
};

static void gpt_done(struct gpt *g)
{
	free(g->entries);
}

static uint64_t gpt_entries_size(const struct gpt *g)
{
	return (uint64_t)g->entries_len * g->entry_size;
}

static uint64_t sectors_of(const struct volume *v)
{
	return volume_size(v) / v->blk.sector_size;
}

static bool header_is_whole(uint8_t *header, uint32_t sector_size)
{
	struct view v = view_of(header, sector_size);
	uint32_t size = view_le32(&v, 12);
	uint32_t crc = view_le32(&v, 16);

	if (!view_is(&v, 0, "EFI PART", 8) || size < HEADER_MIN || size > sector_size)
		return false;
	memset(header + 16, 0, 4);
	return checksum_is_right(crc32(0, header, size), crc);
}

static bool header_is_valid(const struct gpt *g, uint64_t lba, uint64_t sectors)
{
	return g->lba == lba && g->alternate < sectors && g->first_usable <= g->last_usable &&
	       g->last_usable < sectors && g->entry_size >= ENTRY_SIZE_MIN &&
	       g->entry_size <= ENTRY_SIZE_MAX && (g->entry_size & (g->entry_size - 1)) == 0 &&
	       g->entries_len > 0 && gpt_entries_size(g) <= ENTRIES_SIZE_MAX &&
	       g->entries_lba > 0 && g->entries_lba < sectors;
}

/* The copy whose header is in sector `lba`.  False, with the reason in `err`, when it is none. */
static bool load(struct volume *vol, uint64_t lba, struct gpt *g, struct err *err)
{
	uint32_t sector_size = vol->blk.sector_size;
	CLEANUP_FREE uint8_t *header = malloc(sector_size);
	struct view v = view_of(header, sector_size);

	if (!header)
		return err_set(err, -ENOMEM, "out of memory") == 0;
	if (volume_read(vol, header, sector_size, lba * sector_size, err) < 0)
		return false;
	if (!header_is_whole(header, sector_size))
		return doubt(err, "its header is not whole") == 0;
	*g = (struct gpt){
		.lba = view_le64(&v, 24),
		.alternate = view_le64(&v, 32),
		.first_usable = view_le64(&v, 40),
		.last_usable = view_le64(&v, 48),
		.entries_lba = view_le64(&v, 72),
		.entries_len = view_le32(&v, 80),
		.entry_size = view_le32(&v, 84),
		.entries_crc = view_le32(&v, 88),
	};
	memcpy(g->guid, header + 56, sizeof(g->guid));
	if (!header_is_valid(g, lba, sectors_of(vol)))
		return doubt(err, "its header names sectors that cannot be") == 0;
	g->entries = malloc(gpt_entries_size(g));
	if (!g->entries)
		return err_set(err, -ENOMEM, "out of memory") == 0;
	if (volume_read(vol, g->entries, gpt_entries_size(g), g->entries_lba * sector_size, err) <
	    0)
		return false;
	if (!checksum_is_right(crc32(0, g->entries, (uInt)gpt_entries_size(g)), g->entries_crc))
		return doubt(err, "the checksum of its entries is wrong") == 0;
	return true;
}

static bool are_same(const struct gpt *a, const struct gpt *b)
{
	return a->entries && b->entries && a->first_usable == b->first_usable &&
	       a->last_usable == b->last_usable && memcmp(a->guid, b->guid, sizeof(a->guid)) == 0 &&
	       gpt_entries_size(a) == gpt_entries_size(b) &&
	       memcmp(a->entries, b->entries, gpt_entries_size(a)) == 0;
}

/* Types that decide by themselves; in the byte order of the disk. */
static const struct {
	uint8_t guid[16];
	bool is_boot, is_raid;
	const char *raw_why; /* of the partition */
	const char *doubt;   /* of the whole disk */
} types[] = {
	{{0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e, 0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46,
	  0x49},
	 .is_boot = true},
	{{0x1a, 0x2e, 0x1a, 0x9e, 0x12, 0xc6, 0x16, 0x43, 0xaa, 0x26, 0x8b, 0x49, 0x52, 0x1e, 0x5a,
	  0x8b},
	 .is_boot = true}, /* PReP */
	{{0x0f, 0x88, 0x9d, 0xa1, 0xfc, 0x05, 0x3b, 0x4d, 0xa0, 0x06, 0x74, 0x3f, 0x0f, 0x84, 0x91,
	  0x1e},
	 .is_raid = true},
	{{0x8f, 0xaf, 0x5c, 0xe7, 0x80, 0xf6, 0xee, 0x4c, 0xaf, 0xa3, 0xb0, 0x01, 0xe5, 0x6e, 0xfc,
	  0x2d},
	 .raw_why = "it belongs to Windows Storage Spaces"},
	{{0xaa, 0xc8, 0x08, 0x58, 0x8f, 0x7e, 0xe0, 0x42, 0x85, 0xd2, 0xe1, 0xe9, 0x04, 0x34, 0xcf,
	  0xb3},
	 .doubt = "it is a Windows dynamic disk"},
	{{0xa0, 0x60, 0x9b, 0xaf, 0x31, 0x14, 0x62, 0x4f, 0xbc, 0x68, 0x33, 0x11, 0x71, 0x4a, 0x69,
	  0xad},
	 .doubt = "it is a Windows dynamic disk"},
};

static int add_entry(struct table *t, const struct gpt *g, uint32_t i, uint32_t sector_size,
		     struct err *err)
{
	struct view v = view_of(g->entries + (size_t)i * g->entry_size, g->entry_size);
	uint64_t first = view_le64(&v, 32);
	uint64_t last = view_le64(&v, 40);
	struct table_entry e = {.number = i + 1};

	if (view_le64(&v, 0) == 0 && view_le64(&v, 8) == 0)
		return 0;
	if (first < g->first_usable || last > g->last_usable || first > last)
		return doubt(err, "partition %u of the GPT is not inside its limits", i + 1);
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		if (!view_is(&v, 0, types[k].guid, 16))
			continue;
		if (types[k].doubt)
			return doubt(err, "%s", types[k].doubt);
		e.is_boot = types[k].is_boot;
		e.is_raid = types[k].is_raid;
		e.raw_why = types[k].raw_why;
	}
	e.offset = first * sector_size;
	e.size = (last - first + 1) * sector_size;
	return table_add(t, &e, err);
}

static int compare(const void *a, const void *b)
{
	const struct table_entry *x = a;
	const struct table_entry *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int add_entries(struct table *t, const struct gpt *g, uint32_t sector_size, struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < g->entries_len; i++)
		r = add_entry(t, g, i, sector_size, err);
	if (r < 0 || !t->entries)
		return r;
	qsort(t->entries, t->len, sizeof(*t->entries), compare);
	for (size_t i = 1; i < t->len; i++) {
		if (t->entries[i].offset - t->entries[i - 1].offset < t->entries[i - 1].size) {
			return doubt(err, "partitions %u and %u of the GPT overlap",
				     t->entries[i - 1].number, t->entries[i].number);
		}
	}
	return 0;
}

/* A hybrid MBR may only repeat what the GPT says. */
static int check_hybrid(const struct table *t, const uint8_t *mbr, uint32_t sector_size,
			struct err *err)
{
	for (unsigned i = 0; i < 4; i++) {
		struct mbr_entry m = mbr_entry(mbr, i);
		bool is_known = m.type == 0xee || m.type == 0 || m.sectors == 0;

		for (size_t k = 0; !is_known && k < t->len; k++) {
			is_known = t->entries[k].offset == (uint64_t)m.lba * sector_size &&
				   t->entries[k].size == (uint64_t)m.sectors * sector_size;
		}
		if (!is_known) {
			return doubt(
				err,
				"the MBR before the GPT names a partition that the GPT does not");
		}
	}
	return 0;
}

static bool places_are_sane(const struct gpt *first, const struct gpt *second, uint64_t sectors,
			    uint32_t sector_size)
{
	uint64_t len = (gpt_entries_size(first) + sector_size - 1) / sector_size;

	return first->alternate == second->lba && second->alternate == first->lba &&
	       second->lba == sectors - 1 && first->entries_lba > first->lba &&
	       first->entries_lba + len <= first->first_usable &&
	       second->entries_lba > second->last_usable &&
	       second->entries_lba + len <= second->lba;
}

static int own_copy(struct table *t, const struct gpt *g, uint32_t sector_size, struct err *err)
{
	int r = table_add_own(t, g->lba * sector_size, sector_size, err);

	return r < 0 ? r : table_add_own(t, g->entries_lba * sector_size, gpt_entries_size(g), err);
}

int gpt_read(struct volume *v, const uint8_t *mbr, struct table *ret, struct err *err)
{
	CLEANUP(gpt_done) struct gpt first = {0};
	CLEANUP(gpt_done) struct gpt second = {0};
	CLEANUP(table_done) struct table t = {.name = "gpt"};
	uint64_t sectors = sectors_of(v);
	struct err first_err, second_err = {0};
	bool has_first = sectors > 2 && load(v, 1, &first, &first_err);
	bool has_second = sectors > 2 &&
			  load(v, has_first ? first.alternate : sectors - 1, &second, &second_err);
	const struct gpt *g = has_first ? &first : &second;
	int r;

	if (!has_first && !has_second)
		return doubt(err, "the MBR says that there is a GPT, and neither copy can be used");
	if (has_first && has_second && !are_same(&first, &second))
		return doubt(err, "the two copies of the GPT differ");
	r = add_entries(&t, g, v->blk.sector_size, err);
	if (r == 0)
		r = check_hybrid(&t, mbr, v->blk.sector_size, err);
	if (r == 0 && has_first)
		r = own_copy(&t, &first, v->blk.sector_size, err);
	if (r == 0 && has_second)
		r = own_copy(&t, &second, v->blk.sector_size, err);
	if (r < 0)
		return r;
	if (!has_first || !has_second) {
		(void)snprintf(t.why, sizeof(t.why), "the %s GPT cannot be used: %.100s",
			       has_first ? "backup" : "primary",
			       has_first ? second_err.msg : first_err.msg);
	} else if (!places_are_sane(&first, &second, sectors, v->blk.sector_size)) {
		(void)snprintf(t.why, sizeof(t.why),
			       "the backup GPT is not at the end of the disk");
	} else {
		t.is_sane = true;
	}
	*ret = t;
	t = (struct table){0};
	return 1;
}
