/* ntfs_walk.c - does the bitmap contain every cluster of every file?
 *
 * All records of $MFT are read in a row, those that continue others included; each tells of its own runs of clusters, so that lists of
 * attributes need not be followed. */
#include "agent/usage/ntfs.h"

#include <inttypes.h>
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/mst.h>

#define READ_SIZE  (256u << 10)
#define TYPE_END   0xffffffffu
#define HEADER_MIN 24u /* of an attribute */
#define IN_USE	   1u

struct walk {
	ntfs_volume *vol;
	uint64_t clusters; /* of the filesystem */
	uint64_t record, base;
	uint32_t type;
	bool is_tolerant, is_partial;
	ntfs_run_fn *fn;
	void *ctx;
};

/* A signed little-endian number of 0..8 bytes. */
static int64_t get_signed(struct view *v, size_t at, size_t size)
{
	uint64_t n = view_le(v, at, size);

	if (size > 0 && size < 8 && n >> (8 * size - 1))
		n |= UINT64_MAX << (8 * size);
	return (int64_t)n;
}

static int refer(struct walk *w, int64_t cluster, uint64_t count, struct err *err)
{
	uint64_t first = (uint64_t)cluster;
	struct ntfs_run run = {w->record, w->base, w->type, first, count};

	if (cluster < 0 || first >= w->clusters || count > w->clusters - first)
		return doubt(err, "file %" PRIu64 " names clusters outside the filesystem",
			     w->record);
	return w->fn(w->ctx, &run, err);
}

/* Mapping pairs: a byte with the sizes of two numbers, the length of a run and its distance from the one before; without the second it is a hole. */
static int walk_runs(struct walk *w, struct view *attr, size_t at, struct err *err)
{
	int64_t cluster = 0;
	int r = 0;

	for (;;) {
		uint8_t sizes = view_u8(attr, at);
		size_t length_size = sizes & 15;
		size_t offset_size = sizes >> 4;
		int64_t length = get_signed(attr, at + 1, length_size > 8 ? 8 : length_size);
		int64_t delta =
			get_signed(attr, at + 1 + length_size, offset_size > 8 ? 8 : offset_size);

		if (attr->bad || length_size > 8 || offset_size > 8)
			return doubt(err, "the clusters of file %" PRIu64 " cannot be understood",
				     w->record);
		if (sizes == 0)
			return 0;
		if (length_size == 0 || length <= 0 ||
		    __builtin_add_overflow(cluster, delta, &cluster))
			return doubt(err, "the clusters of file %" PRIu64 " cannot be understood",
				     w->record);
		if (offset_size > 0)
			r = refer(w, cluster, (uint64_t)length, err);
		if (r < 0)
			return r;
		at += 1 + length_size + offset_size;
	}
}

static int walk_record(struct walk *w, const uint8_t *record, uint32_t size, struct err *err)
{
	struct view v = view_of(record, size);
	uint32_t in_use = view_le32(&v, 0x18);
	uint32_t at = view_le16(&v, 0x14);

	if (in_use > size)
		return doubt(err, "file record %" PRIu64 " is damaged", w->record);
	w->base = view_le64(&v, 0x20) & 0xffffffffffffu;
	w->base = w->base == 0 ? w->record : w->base;
	v.size = in_use;
	while (view_le32(&v, at) != TYPE_END) {
		uint32_t length = view_le32(&v, at + 4);
		const uint8_t *p = view_bytes(&v, at, length);
		struct view attr = view_of(p, length);
		int r = 0;

		if (v.bad || length < HEADER_MIN || length % 8 != 0)
			return doubt(err, "file record %" PRIu64 " is damaged", w->record);
		w->type = view_le32(&attr, 0);
		if (view_u8(&attr, 8) != 0)
			r = walk_runs(w, &attr, view_le16(&attr, 0x20), err);
		if (r < 0)
			return r;
		at += length;
	}
	return v.bad ? doubt(err, "file record %" PRIu64 " is damaged", w->record) : 0;
}

static int is_in_use(struct walk *w, bool *ret, struct err *err)
{
	uint8_t byte;

	if (ntfs_attr_pread(w->vol->mftbmp_na, (s64)(w->record / 8), 1, &byte) != 1)
		return doubt(err, "the bitmap of its file table cannot be read");
	*ret = byte >> w->record % 8 & 1;
	return 0;
}

/* A record as it was read. */
static int look_strictly(struct walk *w, uint8_t *record, struct err *err)
{
	uint32_t size = w->vol->mft_record_size;
	struct view v = view_of(record, size);
	bool in_use = false;
	int r;

	if (view_is(&v, 0, "FILE", 4)) {
		if (!(view_le16(&v, 0x16) & IN_USE))
			return 0;
		if (ntfs_mst_post_read_fixup((NTFS_RECORD *)record, size) < 0)
			return doubt(err, "file record %" PRIu64 " is torn", w->record);
		return walk_record(w, record, size, err);
	}
	r = is_in_use(w, &in_use, err);
	if (r == 0 && in_use)
		r = doubt(err, "file record %" PRIu64 " is damaged", w->record);
	return r;
}

static int look(struct walk *w, uint8_t *record, struct err *err)
{
	int r = look_strictly(w, record, err);

	if (r != -EUCLEAN || !w->is_tolerant)
		return r;
	w->is_partial = true;
	return 0;
}

static int read_records(struct walk *w, uint8_t *buf, uint64_t n, struct err *err)
{
	uint32_t one = w->vol->mft_record_size;
	s64 size = (s64)(n * one);

	if (ntfs_attr_pread(w->vol->mft_na, (s64)(w->record * one), size, buf) == size)
		return 0;
	if (!w->is_tolerant)
		return doubt(err, "its file table cannot be read: %s", strerrordesc_np(errno));
	w->is_partial = true;
	for (uint64_t i = 0; i < n; i++) { /* one by one */
		if (ntfs_attr_pread(w->vol->mft_na, (s64)((w->record + i) * one), one,
				    buf + i * one) != one)
			memset(buf + i * one, 0, one);
	}
	return 0;
}

int ntfs_each_run(ntfs_volume *vol, ntfs_over_fn *is_over, ntfs_run_fn *fn, void *ctx,
		  bool *ret_partial, struct err *err)
{
	struct walk w = {.vol = vol,
			 .clusters = (uint64_t)vol->nr_clusters,
			 .is_tolerant = is_over != NULL,
			 .fn = fn,
			 .ctx = ctx};
	uint64_t records = (uint64_t)vol->mft_na->initialized_size / vol->mft_record_size;
	uint32_t at_once = READ_SIZE / vol->mft_record_size;
	CLEANUP_FREE uint8_t *buf = aligned_alloc(4096, READ_SIZE);
	int r = 0;

	if (!buf || at_once == 0)
		return err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && w.record < records) {
		uint64_t n = records - w.record < at_once ? records - w.record : at_once;

		if (is_over && is_over(ctx)) {
			w.is_partial = true;
			break;
		}
		r = read_records(&w, buf, n, err);
		for (uint64_t i = 0; r == 0 && i < n; i++, w.record++)
			r = look(&w, buf + i * vol->mft_record_size, err);
	}
	*ret_partial = w.is_partial;
	return r;
}

/* ---- is the bitmap right? */

struct check {
	struct volume *v;
	uint64_t cluster_size;
	uint64_t used;	/* by the bitmap */
	uint64_t found; /* so many are in files */
};

static int check_run(void *ctx, const struct ntfs_run *run, struct err *err)
{
	struct check *c = ctx;

	c->found += run->count;
	if (c->found > c->used)
		return doubt(err, "its files use more clusters than the bitmap calls used");
	if (!volume_is_marked(c->v, run->cluster * c->cluster_size, run->count * c->cluster_size)) {
		return doubt(err,
			     "file %" PRIu64
			     " uses clusters that the bitmap calls free (cluster %" PRIu64 ")",
			     run->record, run->cluster);
	}
	return 0;
}

int ntfs_walk(ntfs_volume *vol, struct volume *v, uint64_t used, struct err *err)
{
	struct check c = {v, vol->cluster_size, used, 0};
	uint64_t records = (uint64_t)vol->mft_na->initialized_size / vol->mft_record_size;
	bool ignored;

	if (records > used * vol->cluster_size / vol->mft_record_size)
		return doubt(err, "its file table is larger than all that is used");
	return ntfs_each_run(vol, NULL, check_run, &c, &ignored, err);
}
