/* mbr.c - the partition table of the PC's BIOS, with logical partitions as Linux and Windows read them: each in its own small table (EBR) whose
 * first entry is relative to that EBR and whose second names the next EBR relative to the extended partition.  Linux takes partitions from the third and
 * fourth too, where no tool puts any: they have to be empty. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/scan.h"
#include "agent/usage/table.h"
#include "common/bytes.h"

#define TYPE_PREP    0x41u
#define TYPE_DYNAMIC 0x42u
#define TYPE_RAID    0xfdu
#define LOGICAL_MAX  256u
#define CODE_SIZE    446u /* boot code, identifier of the disk */

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static bool is_empty(const struct mbr_entry *e)
{
	return e->type == 0 && e->sectors == 0;
}

static int add_primary(struct table *t, const uint8_t *mbr, unsigned i, uint32_t sector_size,
		       struct err *err)
{
	struct mbr_entry m = mbr_entry(mbr, i);
	struct table_entry e = {
		.number = i + 1,
		.offset = (uint64_t)m.lba * sector_size,
		.size = (uint64_t)m.sectors * sector_size,
		.is_extended = is_extended(m.type),
		.is_boot = m.type == TYPE_PREP,
		.is_raid = m.type == TYPE_RAID,
	};

	if (is_empty(&m))
		return 0;
	if (m.type == 0 || m.sectors == 0)
		return doubt(err, "entry %u of the partition table is half empty", i + 1);
	if (m.type == TYPE_DYNAMIC)
		return doubt(err, "it is a Windows dynamic disk");
	if (m.lba == 0)
		return doubt(err, "partition %u contains the partition table", i + 1);
	return table_add(t, &e, err);
}

/* One link of the chain, `ebr` sectors into the extended partition: its logical partition, and where the next link is (0: none). */
static int add_logical(struct volume *v, struct table *t, const struct table_entry *extended,
		       uint64_t *ebr, struct err *err)
{
	uint32_t sector_size = v->blk.sector_size;
	uint64_t at = extended->offset + *ebr * sector_size;
	struct table_entry e = {.number = 5};
	struct mbr_entry m, next, third, fourth;
	uint8_t sector[512];
	int r = volume_read(v, sector, sizeof(sector), at, err);

	if (r < 0)
		return r;
	if (sector[510] != 0x55 || sector[511] != 0xaa)
		return doubt(err, "a link in the chain of logical partitions is broken");
	for (size_t i = 0; i < t->len; i++)
		e.number += t->entries[i].number >= 5;
	m = mbr_entry(sector, 0);
	next = mbr_entry(sector, 1);
	third = mbr_entry(sector, 2);
	fourth = mbr_entry(sector, 3);
	if (!is_empty(&third) || !is_empty(&fourth))
		return doubt(err, "a link in the chain of logical partitions names several");
	if ((m.type == 0) != (m.sectors == 0) || (next.type == 0) != (next.sectors == 0) ||
	    (next.type != 0 && !is_extended(next.type)))
		return doubt(err, "a link in the chain of logical partitions is damaged");
	e.offset = at + (uint64_t)m.lba * sector_size;
	e.size = (uint64_t)m.sectors * sector_size;
	e.is_raid = m.type == TYPE_RAID;
	if (m.type != 0) {
		if (m.lba == 0 || is_extended(m.type))
			return doubt(err, "logical partition %u cannot be", e.number);
		r = table_add(t, &e, err);
		/* Boot loaders may be between the link and its partition. */
		if (r == 0) {
			r = table_add_own(
				t, at,
				e.offset - at < USAGE_GAP_MAX ? e.offset - at : USAGE_GAP_MAX, err);
		}
	} else {
		r = table_add_own(t, at, sector_size, err);
	}
	*ebr = next.type != 0 ? next.lba : 0;
	if (r == 0 && *ebr == 0 && next.type != 0)
		r = doubt(err, "the chain of logical partitions does not end");
	return r;
}

static int add_logicals(struct volume *v, struct table *t, const struct table_entry *extended,
			struct err *err)
{
	uint64_t ebr = 0;

	for (unsigned i = 0; i < LOGICAL_MAX; i++) {
		int r;

		if ((ebr + 1) * v->blk.sector_size > extended->size)
			return doubt(err,
				     "the chain of logical partitions leaves the extended one");
		r = add_logical(v, t, extended, &ebr, err);
		if (r < 0)
			return r;
		if (ebr == 0)
			return 0;
	}
	return doubt(err, "the chain of logical partitions does not end");
}

static int compare(const void *a, const void *b)
{
	const struct table_entry *x = a;
	const struct table_entry *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return y->is_extended - x->is_extended;
}

static uint64_t end_of(const struct table_entry *e)
{
	return e->offset + e->size;
}

/* Primary ones apart; logical ones apart, inside the extended one, and off the links of the chain. */
static int check_places(const struct table *t, const struct table_entry *extended, struct err *err)
{
	const struct table_entry *last[2] = {NULL, NULL};

	for (size_t i = 0; i < t->len; i++) {
		const struct table_entry *e = &t->entries[i];
		bool is_logical = e->number >= 5;
		const struct table_entry *before = last[is_logical];

		if (before && e->offset < end_of(before))
			return doubt(err, "partitions %u and %u overlap", before->number,
				     e->number);
		if (is_logical && (e->offset < extended->offset || end_of(e) > end_of(extended)))
			return doubt(err, "logical partition %u is not inside the extended one",
				     e->number);
		for (size_t k = 0; is_logical && k < t->own_len; k++) {
			if (t->own[k].offset < end_of(e) &&
			    t->own[k].offset + t->own[k].length > e->offset)
				return doubt(err, "logical partition %u contains part of the table",
					     e->number);
		}
		last[is_logical] = e;
	}
	return 0;
}

/* The first disk of a stripe set shows the table of the whole set.  To read the set's partitions from one of its disks would be to believe headers whose
 * content is elsewhere; so none of such a table is believed. */
static int check_ends(const struct table *t, const struct volume *v, struct err *err)
{
	for (size_t i = 0; i < t->len; i++) {
		if (end_of(&t->entries[i]) > volume_size(v)) {
			return doubt(err,
				     "partition %u reaches past the end of the disk: the partition "
				     "table may be that of an array, or of a larger disk",
				     t->entries[i].number);
		}
	}
	return 0;
}

static int find_extended(const struct table *t, struct table_entry *ret, bool *ret_has,
			 struct err *err)
{
	for (size_t i = 0; i < t->len; i++) {
		if (!t->entries[i].is_extended)
			continue;
		if (*ret_has)
			return doubt(err, "there are two extended partitions");
		*ret = t->entries[i];
		*ret_has = true;
	}
	return 0;
}

int mbr_read(struct volume *v, const uint8_t *mbr, struct table *ret, struct err *err)
{
	CLEANUP(table_done) struct table t = {.name = "dos", .is_sane = true};
	struct table_entry extended = {0};
	bool has_extended = false;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < 4; i++)
		r = add_primary(&t, mbr, i, v->blk.sector_size, err);
	if (r == 0)
		r = find_extended(&t, &extended, &has_extended, err);
	if (r == 0 && has_extended)
		r = add_logicals(v, &t, &extended, err);
	if (r < 0)
		return r;
	assert(t.entries); /* an MBR without partitions is none, see table_read */
	qsort(t.entries, t.len, sizeof(*t.entries), compare);
	r = check_places(&t, &extended, err);
	if (r == 0)
		r = check_ends(&t, v, err);
	if (r < 0)
		return r;
	if (bytes_are_zero(mbr, CODE_SIZE)) {
		t.is_sane = false;
		(void)snprintf(t.why, sizeof(t.why),
			       "it has neither boot code nor an identifier, like a link in the "
			       "chain of logical partitions");
	}
	*ret = t;
	t = (struct table){0};
	return 1;
}
