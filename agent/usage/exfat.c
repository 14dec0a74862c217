/* exfat.c - exFAT: "exFAT file system specification" (Microsoft, 2019).
 *
 * A file in the root folder is the map, a bit for each cluster.  The boot region has a checksum, each entry of a folder as well, the bitmap has
 * none: so all folders are gone through, which are read quickly (exfat_walk.c). */
#include "agent/usage/exfat.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BOOT_SIZE	 512u
#define BOOT_SECTORS	 11u /* under the checksum, which fills the one after them */
#define FLAG_SECOND_FAT	 1u
#define FLAG_DIRTY	 2u
#define CLUSTERS_MAX	 0xfffffff5u
#define CLUSTER_SIZE_MAX (32u << 20)

static int exfat_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t boot[BOOT_SIZE];
	struct view b = view_of(boot, sizeof(boot));
	int r;

	if (volume_size(v) < BOOT_SIZE)
		return 0;
	r = volume_read(v, boot, sizeof(boot), 0, err);
	if (r < 0 || !view_is(&b, 3, "EXFAT   ", 8) || view_le16(&b, 510) != 0xaa55)
		return r;
	part->content = "exfat";
	(void)snprintf(part->uuid, sizeof(part->uuid), "%04X-%04X", view_le16(&b, 102),
		       view_le16(&b, 100));
	return 1;
}

static int read_boot(struct exfat *x, struct view *b, struct err *err)
{
	unsigned sector_log = view_u8(b, 108);
	unsigned cluster_log = view_u8(b, 109);
	uint64_t sectors = view_le64(b, 72);
	uint64_t table = view_le32(b, 80);
	uint64_t table_len = view_le32(b, 84);
	uint64_t heap = view_le32(b, 88);

	if (sector_log < 9 || sector_log > 12 || cluster_log > 25 - sector_log)
		return doubt(err, "its boot sector contradicts itself");
	x->sector_size = 1u << sector_log;
	x->cluster_size = x->sector_size << cluster_log;
	x->table_offset = table << sector_log;
	x->heap_offset = heap << sector_log;
	x->clusters = view_le32(b, 92);
	x->root = view_le32(b, 96);
	if (sectors > volume_size(x->v) >> sector_log)
		return doubt(err, "it is larger than the space it is in");
	if (table < 24 || heap < table + table_len || heap > sectors ||
	    (uint64_t)x->clusters << cluster_log > sectors - heap || x->clusters > CLUSTERS_MAX ||
	    (x->clusters + 2ull) * 4 > table_len << sector_log || !exfat_is_cluster(x, x->root))
		return doubt(err, "its boot sector contradicts itself");
	if (view_u8(b, 110) != 1)
		return doubt(err, "it has %u tables", view_u8(b, 110));
	if (view_u8(b, 105) != 1)
		return doubt(err, "its version is not known");
	if (view_le16(b, 106) & (FLAG_DIRTY | FLAG_SECOND_FAT))
		return doubt(err, "it was not unmounted cleanly: it is marked dirty");
	return 0;
}

/* Section 3.4: a sum over the first sectors but for three bytes that change while mounted. */
static int check_sum(const struct exfat *x, struct err *err)
{
	uint32_t size = BOOT_SECTORS * x->sector_size;
	CLEANUP_FREE uint8_t *boot = malloc(size + x->sector_size);
	struct view v = view_of(boot, size + x->sector_size);
	uint32_t sum = 0;
	int r;

	if (!boot)
		return err_set(err, -ENOMEM, "out of memory");
	r = volume_read(x->v, boot, v.size, 0, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < size; i++) {
		if (i != 106 && i != 107 && i != 112)
			sum = (sum << 31 | sum >> 1) + boot[i];
	}
	for (uint32_t at = size; at < v.size; at += 4) {
		if (!checksum_is_right(sum, view_le32(&v, at)))
			return doubt(err, "the checksum of its boot region is wrong");
	}
	return 0;
}

int exfat_next(const struct exfat *x, const struct exfat_chain *c, uint32_t *cluster,
	       struct err *err)
{
	uint8_t bytes[4];
	struct view v = view_of(bytes, sizeof(bytes));
	uint32_t n;
	int r;

	if (!exfat_is_cluster(x, *cluster))
		return doubt(err, "a chain of clusters leads outside the filesystem");
	if (c->is_contiguous) {
		uint64_t clusters = (c->size + x->cluster_size - 1) / x->cluster_size;

		*cluster = *cluster - c->first + 1 < clusters ? *cluster + 1 : 0;
		return 0;
	}
	r = volume_read(x->v, bytes, sizeof(bytes), x->table_offset + 4ull * *cluster, err);
	if (r < 0)
		return r;
	n = view_le32(&v, 0);
	if (n == UINT32_MAX) {
		*cluster = 0;
		return 0;
	}
	if (!exfat_is_cluster(x, n))
		return doubt(err, "a chain of clusters leads outside the filesystem");
	*cluster = n;
	return 0;
}

/* `size` bytes of bits, the first for cluster `first`; adds to `*used`. */
static void mark_bits(const struct exfat *x, const uint8_t *bits, uint32_t first, uint32_t count,
		      uint32_t *used)
{
	for (uint32_t i = 0; i < count;) {
		uint32_t start;

		while (i < count && !(bits[i / 8] >> i % 8 & 1))
			i++;
		start = i;
		while (i < count && bits[i / 8] >> i % 8 & 1)
			i++;
		if (i > start)
			volume_mark(x->v, exfat_place(x, first + start),
				    (uint64_t)(i - start) * x->cluster_size);
		*used += i - start;
	}
}

static int mark_bitmap(const struct exfat *x, uint32_t *ret_used, struct err *err)
{
	CLEANUP_FREE uint8_t *bits = malloc(x->cluster_size);
	struct exfat_chain chain = {0};
	uint32_t cluster;
	uint32_t done = 0;
	int r = exfat_find_bitmap(x, &chain, err);

	*ret_used = 0;
	if (!bits)
		return err_set(err, -ENOMEM, "out of memory");
	if (r == 0 && chain.size < ((uint64_t)x->clusters + 7) / 8)
		r = doubt(err, "its bitmap is too short");
	cluster = chain.first;
	while (r == 0 && done < x->clusters) {
		uint64_t in_cluster = 8ull * x->cluster_size;
		uint32_t count =
			x->clusters - done < in_cluster ? x->clusters - done : (uint32_t)in_cluster;

		if (!exfat_is_cluster(x, cluster))
			return doubt(err, "its bitmap ends early");
		r = volume_read(x->v, bits, (count + 7) / 8, exfat_place(x, cluster), err);
		if (r == 0) {
			mark_bits(x, bits, done + 2, count, ret_used);
			done += count;
			r = exfat_next(x, &chain, &cluster, err);
		}
	}
	return r;
}

static int exfat_map(struct scan *s, struct place *p, struct err *err)
{
	struct exfat x = {.v = p->volume};
	uint8_t boot[BOOT_SIZE];
	struct view b = view_of(boot, sizeof(boot));
	uint32_t used = 0;
	int r = volume_read(p->volume, boot, sizeof(boot), 0, err);

	(void)s;
	if (r == 0)
		r = read_boot(&x, &b, err);
	if (r == 0)
		r = check_sum(&x, err);
	if (r == 0)
		r = exfat_read_label(&x, &p->part, err);
	if (r == 0)
		r = mark_bitmap(&x, &used, err);
	if (r == 0)
		r = exfat_walk(&x, used, err);
	if (r < 0)
		return r;
	volume_mark(p->volume, 0, x.heap_offset);
	volume_mark(p->volume, exfat_place(&x, 2) + (uint64_t)x.clusters * x.cluster_size,
		    UINT64_MAX);
	p->part.used = x.heap_offset + (uint64_t)used * x.cluster_size;
	return 0;
}

const struct format format_exfat = {.name = "exFAT", .probe = exfat_probe, .map = exfat_map};
