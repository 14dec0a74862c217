/* fat_walk.c - do the folders of a FAT filesystem agree with its table and its geometry?
 *
 * With a wrong cluster size the chains of files have the wrong length, with a wrong start of the clusters the folders' own entries (".") name other
 * clusters than they lie in.  Bounded on any image: no more clusters are looked at than are used, as none belongs to two chains. */
#include <inttypes.h>
#include <string.h>

#include "agent/usage/fat.h"
#include "common/grow.h"

#define ENTRY	     32u
#define ATTR_VOLUME  0x08u
#define ATTR_FOLDER  0x10u
#define ATTR_LONG    0x0fu
#define NAME_END     0x00u
#define NAME_DELETED 0xe5u

struct walk {
	const struct fat *f;
	uint32_t used;
	uint32_t found;	   /* clusters in chains so far */
	uint32_t *folders; /* heap; first clusters of those still to be read */
	size_t len, cap;
	uint8_t *cluster; /* of a folder */
};

static int push(struct walk *w, uint32_t folder, struct err *err)
{
	uint32_t *folders;

	if (folder == 0)
		return doubt(err, "a folder lies nowhere");
	folders = grow(w->folders, w->len, &w->cap, sizeof(*folders));
	if (!folders)
		return err_set(err, -ENOMEM, "out of memory");
	w->folders = folders;
	w->folders[w->len++] = folder;
	return 0;
}

/* From a cluster to the next; `*cluster` is 0 at the end. */
static int next(struct walk *w, uint32_t *cluster, struct err *err)
{
	const struct fat *f = w->f;
	uint32_t entry = 0;
	int r;

	if (*cluster < 2 || *cluster >= f->clusters + 2)
		return doubt(err, "a chain of clusters leads outside the filesystem");
	if (++w->found > w->used)
		return doubt(err, "its files use more clusters than its table calls used");
	r = fat_entry(f, *cluster, &entry, err);
	if (r < 0)
		return r;
	if (entry == 0 || entry == fat_end(f) - 1)
		return doubt(err, "a chain of clusters leads to one that is %s",
			     entry == 0 ? "free" : "bad");
	*cluster = entry >= fat_end(f) ? 0 : entry;
	return 0;
}

static int walk_file(struct walk *w, uint32_t first, uint32_t size, struct err *err)
{
	uint64_t want = ((uint64_t)size + w->f->cluster_size - 1) / w->f->cluster_size;
	uint64_t len = 0;
	uint32_t cluster = first;
	int r = 0;

	while (r == 0 && cluster != 0) {
		r = next(w, &cluster, err);
		len++;
	}
	if (r == 0 && len != want && size != 0)
		r = doubt(err, "a file of %u bytes has %" PRIu64 " clusters of %u bytes", size, len,
			  w->f->cluster_size);
	return r;
}

/* An entry of the folder that begins in cluster `self` (0: the root).  1 at the last one. */
static int walk_entry(struct walk *w, const uint8_t *entry, uint32_t self, struct err *err)
{
	struct view v = view_of(entry, ENTRY);
	uint32_t attr = view_u8(&v, 11);
	uint32_t first = view_le16(&v, 26);

	if (w->f->bits == 32)
		first |= (uint32_t)view_le16(&v, 20) << 16;
	if (entry[0] == NAME_END)
		return 1;
	if (entry[0] == NAME_DELETED || (attr & 0x3f) == ATTR_LONG)
		return 0;
	if (view_is(&v, 0, "..         ", 11))
		return 0;
	if (view_is(&v, 0, ".          ", 11)) {
		return first == self ? 0
				     : doubt(err, "a folder does not lie where it says it does");
	}
	if (entry[0] < 0x20 && entry[0] != 0x05)
		return doubt(err, "a folder contains something else");
	if (attr & ATTR_VOLUME)
		return 0;
	if (attr & ATTR_FOLDER)
		return push(w, first, err);
	return walk_file(w, first, view_le32(&v, 28), err);
}

static int walk_entries(struct walk *w, const uint8_t *entries, uint32_t size, uint32_t self,
			struct err *err)
{
	int r = 0;

	for (uint32_t at = 0; r == 0 && at < size; at += ENTRY)
		r = walk_entry(w, entries + at, self, err);
	return r;
}

/* The folder that begins in that cluster; `is_root` has no entry for itself. */
static int walk_folder(struct walk *w, uint32_t first, bool is_root, struct err *err)
{
	const struct fat *f = w->f;
	uint32_t cluster = first;
	bool is_first = true;
	bool is_over = false;
	int r = 0;

	while (r == 0 && cluster != 0) {
		uint64_t at = f->data_offset + (uint64_t)(cluster - 2) * f->cluster_size;

		r = next(w, &cluster, err);
		if (r < 0 || is_over)
			continue;
		r = volume_read(f->v, w->cluster, f->cluster_size, at, err);
		if (r == 0 && is_first && !is_root && memcmp(w->cluster, ".          ", 11) != 0)
			r = doubt(err, "a folder does not begin like one");
		if (r == 0)
			r = walk_entries(w, w->cluster, f->cluster_size, first, err);
		is_first = false;
		is_over = r == 1;
		r = r > 0 ? 0 : r;
	}
	return r;
}

static int walk_fixed_root(struct walk *w, struct err *err)
{
	const struct fat *f = w->f;
	CLEANUP_FREE uint8_t *root = malloc(f->root_size);
	int r;

	if (!root)
		return err_set(err, -ENOMEM, "out of memory");
	r = volume_read(f->v, root, f->root_size, f->root_offset, err);
	if (r == 0)
		r = walk_entries(w, root, f->root_size, 0, err);
	return r < 0 ? r : 0;
}

int fat_walk(const struct fat *f, uint32_t used, struct err *err)
{
	struct walk w = {.f = f, .used = used};
	CLEANUP_FREE uint8_t *cluster = malloc(f->cluster_size);
	int r;

	if (!cluster)
		return err_set(err, -ENOMEM, "out of memory");
	w.cluster = cluster;
	if (f->bits != 32) {
		r = walk_fixed_root(&w, err);
	} else if (f->root_cluster == 0) {
		r = doubt(err, "it has no root folder");
	} else {
		r = walk_folder(&w, f->root_cluster, true, err);
	}
	while (r == 0 && w.len > 0)
		r = walk_folder(&w, w.folders[--w.len], false, err);
	free(w.folders);
	return r;
}
