/* table.c - is there a partition table, and whose?
 *
 * A boot sector of a filesystem ends in 55 AA like an MBR, and may have zeros where an MBR has its entries.  So a sector without a single
 * entry is no table; nor is one with entries that no partitioning tool writes (a flag other than 0 and 80h). */
#include "agent/usage/table.h"

#include <string.h>

#include "agent/usage/scan.h"

#define MBR_ENTRIES   446u
#define MBR_SIGNATURE 510u
#define MBR_TYPE_GPT  0xeeu

void table_done(struct table *t)
{
	free(t->entries);
	free(t->own);
	*t = (struct table){0};
}

struct mbr_entry mbr_entry(const uint8_t *sector, unsigned i)
{
	struct view v = view_of(sector + MBR_ENTRIES + 16u * i, 16);

	return (struct mbr_entry){
		.flag = view_u8(&v, 0),
		.type = view_u8(&v, 4),
		.lba = view_le32(&v, 8),
		.sectors = view_le32(&v, 12),
	};
}

int table_add(struct table *t, const struct table_entry *e, struct err *err)
{
	struct table_entry *entries;

	if (t->len >= TABLE_ENTRIES_MAX)
		return err_set(err, -E2BIG, "more than %u partitions", TABLE_ENTRIES_MAX);
	entries = reallocarray(t->entries, t->len + 1, sizeof(*entries));
	if (!entries)
		return err_set(err, -ENOMEM, "out of memory");
	t->entries = entries;
	t->entries[t->len++] = *e;
	return 0;
}

int table_add_own(struct table *t, uint64_t offset, uint64_t length, struct err *err)
{
	struct extent *own = reallocarray(t->own, t->own_len + 1, sizeof(*own));

	if (!own)
		return err_set(err, -ENOMEM, "out of memory");
	t->own = own;
	t->own[t->own_len++] = (struct extent){offset, length};
	return 0;
}

/* Is there a GPT header where sectors of that size would have it? */
static int has_gpt_header(struct volume *v, uint32_t sector_size, bool *ret, struct err *err)
{
	char signature[8];
	int r;

	*ret = false;
	if (volume_size(v) < 2ull * sector_size)
		return 0;
	r = volume_read(v, signature, sizeof(signature), sector_size, err);
	*ret = r == 0 && memcmp(signature, "EFI PART", 8) == 0;
	return r;
}

enum mbr_kind { MBR_NONE, MBR_DOS, MBR_PROTECTIVE };

static enum mbr_kind mbr_classify(const uint8_t *sector)
{
	unsigned used = 0;
	unsigned gpt = 0;

	if (sector[MBR_SIGNATURE] != 0x55 || sector[MBR_SIGNATURE + 1] != 0xaa)
		return MBR_NONE;
	for (unsigned i = 0; i < 4; i++) {
		struct mbr_entry e = mbr_entry(sector, i);

		if ((e.flag & 0x7f) != 0)
			return MBR_NONE;
		used += e.type != 0 && e.sectors != 0;
		gpt += e.type == MBR_TYPE_GPT;
	}
	if (gpt > 0)
		return MBR_PROTECTIVE;
	return used > 0 ? MBR_DOS : MBR_NONE;
}

int table_read(struct volume *v, struct table *ret, struct err *err)
{
	uint32_t sector_size = v->blk.sector_size;
	uint8_t mbr[512];
	bool is_gpt = false;
	bool is_other = false;
	enum mbr_kind kind;
	int r;

	*ret = (struct table){0};
	if (volume_size(v) < sizeof(mbr))
		return 0;
	r = volume_read(v, mbr, sizeof(mbr), 0, err);
	if (r == 0)
		r = has_gpt_header(v, sector_size, &is_gpt, err);
	if (r == 0)
		r = has_gpt_header(v, sector_size == 512 ? 4096 : 512, &is_other, err);
	if (r < 0)
		return r;
	kind = mbr_classify(mbr);
	if (kind == MBR_PROTECTIVE) {
		if (is_other && !is_gpt) {
			return doubt(err,
				     "the partition table (GPT) was made for sectors of %u bytes",
				     sector_size == 512 ? 4096 : 512);
		}
		return gpt_read(v, mbr, ret, err);
	}
	if (is_gpt) {
		return doubt(err, "there is a GPT, and %s",
			     kind == MBR_DOS ? "an MBR that names other partitions"
					     : "no protective MBR before it");
	}
	return kind == MBR_DOS ? mbr_read(v, mbr, ret, err) : 0;
}
