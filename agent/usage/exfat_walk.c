/* exfat_walk.c - folders of exFAT, and whether everything in them lies in clusters that the bitmap calls used.
 *
 * Entries of 32 bytes come in sets: a primary one, which says how many secondary ones follow and has a checksum over all of them.  Whatever has
 * clusters has them in the same place of a secondary entry, so that sets of an unknown kind are looked at just the same.
 * Bounded on any image: no more clusters are looked at than are used, as none belongs to two chains. */
#include <inttypes.h>
#include <string.h>

#include "agent/usage/exfat.h"
#include "common/grow.h"

#define ENTRY	       32u
#define SET_MAX	       256u /* entries: the count is a byte */
#define ENTRY_END      0x00u
#define ENTRY_IN_USE   0x80u
#define ENTRY_BITMAP   0x81u
#define ENTRY_UPCASE   0x82u
#define ENTRY_LABEL    0x83u
#define ENTRY_FILE     0x85u
#define BENIGN	       0x20u
#define SECONDARY      0x40u
#define FLAG_ALLOCATED 1u
#define FLAG_NO_TABLE  2u
#define ATTR_FOLDER    0x10u

struct folder {
	const struct exfat *x;
	struct exfat_chain chain;
	uint32_t cluster; /* 0: at its end */
	uint32_t at;	  /* in the cluster */
	uint32_t clusters;
};

static struct folder folder_open(const struct exfat *x, struct exfat_chain chain)
{
	return (struct folder){.x = x, .chain = chain, .cluster = chain.first};
}

static struct folder root_open(const struct exfat *x)
{
	return folder_open(x, (struct exfat_chain){.first = x->root});
}

/* The next entry.  1, or 0 at the end of the folder. */
static int folder_next(struct folder *f, uint8_t entry[static ENTRY], struct err *err)
{
	int r;

	if (f->cluster == 0)
		return 0;
	if (!exfat_is_cluster(f->x, f->cluster) || f->clusters >= f->x->clusters)
		return doubt(err, "a folder leads outside the filesystem");
	r = volume_read(f->x->v, entry, ENTRY, exfat_place(f->x, f->cluster) + f->at, err);
	if (r < 0)
		return r;
	if (entry[0] == ENTRY_END) {
		f->cluster = 0;
		return 0;
	}
	f->at += ENTRY;
	if (f->at < f->x->cluster_size)
		return 1;
	f->at = 0;
	f->clusters++;
	r = exfat_next(f->x, &f->chain, &f->cluster, err);
	return r < 0 ? r : 1;
}

int exfat_find_bitmap(const struct exfat *x, struct exfat_chain *ret, struct err *err)
{
	struct folder f = root_open(x);
	uint8_t entry[ENTRY];
	struct view v = view_of(entry, sizeof(entry));
	unsigned found = 0;
	int r;

	while ((r = folder_next(&f, entry, err)) > 0) {
		if (entry[0] != ENTRY_BITMAP)
			continue;
		found++;
		*ret = (struct exfat_chain){.first = view_le32(&v, 20), .size = view_le64(&v, 24)};
	}
	if (r == 0 && found != 1)
		r = doubt(err, "it has %u bitmaps", found);
	return r;
}

int exfat_read_label(const struct exfat *x, struct usage_part *part, struct err *err)
{
	struct folder f = root_open(x);
	uint8_t entry[ENTRY];
	int r;

	while ((r = folder_next(&f, entry, err)) > 0) {
		if (entry[0] == ENTRY_LABEL && entry[1] <= 11)
			part_set_label_utf16(part, entry + 2, entry[1]);
	}
	return r;
}

struct walk {
	const struct exfat *x;
	uint32_t used;
	uint64_t found;		     /* clusters so far */
	struct exfat_chain *folders; /* heap; still to be read */
	size_t len, cap;
	uint8_t set[SET_MAX * ENTRY];
};

static int push(struct walk *w, struct exfat_chain chain, struct err *err)
{
	struct exfat_chain *folders = grow(w->folders, w->len, &w->cap, sizeof(*folders));

	if (!folders)
		return err_set(err, -ENOMEM, "out of memory");
	w->folders = folders;
	w->folders[w->len++] = chain;
	return 0;
}

/* `count` clusters from `first` on belong to something. */
static int refer(struct walk *w, uint32_t first, uint64_t count, struct err *err)
{
	const struct exfat *x = w->x;

	if (!exfat_is_cluster(x, first) || count > x->clusters - (first - 2))
		return doubt(err, "a file lies outside the filesystem");
	w->found += count;
	if (w->found > w->used)
		return doubt(err, "its files use more clusters than its bitmap calls used");
	if (!volume_is_marked(x->v, exfat_place(x, first), count * x->cluster_size))
		return doubt(err, "a file uses clusters that the bitmap calls free (cluster %u)",
			     first);
	return 0;
}

static int walk_chain(struct walk *w, const struct exfat_chain *c, struct err *err)
{
	uint64_t clusters = (c->size + w->x->cluster_size - 1) / w->x->cluster_size;
	uint32_t cluster = c->first;
	uint64_t len = 0;
	int r = 0;

	if (c->size > (uint64_t)w->x->clusters * w->x->cluster_size)
		return doubt(err, "a file is larger than the filesystem");
	if (c->is_contiguous)
		return refer(w, c->first, clusters, err);
	while (r == 0 && cluster != 0) {
		r = refer(w, cluster, 1, err);
		if (r == 0)
			r = exfat_next(w->x, c, &cluster, err);
		len++;
	}
	if (r == 0 && c->size != 0 && len != clusters)
		r = doubt(err, "a file of %" PRIu64 " bytes has %" PRIu64 " clusters of %u bytes",
			  c->size, len, w->x->cluster_size);
	return r;
}

static uint16_t set_checksum(const uint8_t *set, size_t size)
{
	uint16_t sum = 0;

	for (size_t i = 0; i < size; i++) {
		if (i != 2 && i != 3)
			sum = (uint16_t)((sum << 15 | sum >> 1) + set[i]);
	}
	return sum;
}

/* A secondary entry; `is_folder` if what it describes has entries itself. */
static int walk_secondary(struct walk *w, const uint8_t *entry, bool is_folder, struct err *err)
{
	struct view v = view_of(entry, ENTRY);
	unsigned flags = view_u8(&v, 1);
	struct exfat_chain c = {
		.first = view_le32(&v, 20),
		.size = view_le64(&v, 24),
		.is_contiguous = flags & FLAG_NO_TABLE,
	};
	int r;

	if (!(flags & FLAG_ALLOCATED) || c.first == 0 || c.size == 0)
		return is_folder ? doubt(err, "a folder lies nowhere") : 0;
	r = walk_chain(w, &c, err);
	return r == 0 && is_folder ? push(w, c, err) : r;
}

/* The set of which the first entry has been read into w->set. */
static int walk_set(struct walk *w, struct folder *f, struct err *err)
{
	struct view v = view_of(w->set, sizeof(w->set));
	size_t count = 1 + (size_t)w->set[1];
	bool is_folder = w->set[0] == ENTRY_FILE && (view_le16(&v, 4) & ATTR_FOLDER);
	int r = 0;

	for (size_t i = 1; i < count; i++) {
		uint8_t *entry = w->set + i * ENTRY;

		r = folder_next(f, entry, err);
		if (r < 0)
			return r;
		if (r == 0 || (entry[0] & (ENTRY_IN_USE | SECONDARY)) != (ENTRY_IN_USE | SECONDARY))
			return doubt(err, "a folder contains something else");
	}
	if (!checksum_is_right(set_checksum(w->set, count * ENTRY), view_le16(&v, 2)))
		return doubt(err, "the checksum of an entry in a folder is wrong");
	r = 0;
	for (size_t i = 1; r == 0 && i < count; i++)
		r = walk_secondary(w, w->set + i * ENTRY, is_folder && i == 1, err);
	return r;
}

static int walk_entry(struct walk *w, struct folder *f, struct err *err)
{
	struct view v = view_of(w->set, ENTRY);
	struct exfat_chain c = {.first = view_le32(&v, 20), .size = view_le64(&v, 24)};

	if (!(w->set[0] & ENTRY_IN_USE) || w->set[0] == ENTRY_LABEL)
		return 0;
	if (w->set[0] == ENTRY_BITMAP || w->set[0] == ENTRY_UPCASE)
		return walk_chain(w, &c, err);
	if ((w->set[0] & SECONDARY) || (w->set[0] != ENTRY_FILE && !(w->set[0] & BENIGN)))
		return doubt(err, "a folder contains something that is not known");
	return walk_set(w, f, err);
}

static int walk_folder(struct walk *w, struct folder f, struct err *err)
{
	int r;

	while ((r = folder_next(&f, w->set, err)) > 0) {
		r = walk_entry(w, &f, err);
		if (r < 0)
			return r;
	}
	return r;
}

int exfat_walk(const struct exfat *x, uint32_t used, struct err *err)
{
	struct exfat_chain root = {.first = x->root};
	CLEANUP_FREE struct walk *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_set(err, -ENOMEM, "out of memory");
	w->x = x;
	w->used = used;
	r = walk_chain(w, &root, err);
	if (r == 0)
		r = walk_folder(w, root_open(x), err);
	while (r == 0 && w->len > 0)
		r = walk_folder(w, folder_open(x, w->folders[--w->len]), err);
	free(w->folders);
	return r;
}
