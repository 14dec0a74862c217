/* btrfs.c - btrfs on one device: Documentation/dev/On-disk-format of btrfs-progs, and fs/btrfs and uapi/linux/btrfs_tree.h in Linux.
 *
 * The superblock has the first chunks, those of the chunk tree; the chunk tree has all: which pieces of the logical address space lie where on
 * the device.  The extent tree has every extent of data and metadata that is in use.  What is in no chunk, and in no extent, is free.
 *
 * Nothing is ever overwritten in place: even when the power failed, the trees that the superblock names are whole, and what they call free is
 * free.  Only a log tree (of fsync) has to be replayed, and is in no extent.  All trees have checksums; moreover the extents in a block group must add
 * up to what it says, and those of all groups to what the superblock says. */
#include "agent/usage/btrfs.h"

#include <inttypes.h>
#include <string.h>

#define SUPER_SIZE    4096u
#define SUPER_OFFSET  (64ull << 10)
#define RESERVED_SIZE (1ull << 20) /* at the start of the device, for boot loaders */
#define CHUNKS_MAX    (1u << 20)

/* Of uapi/linux/btrfs.h: all but ZONED, EXTENT_TREE_V2, RAID_STRIPE_TREE and what came later. */
#define INCOMPAT_KNOWN	       0x10fffull
#define INCOMPAT_METADATA_UUID 0x400ull
#define RO_COMPAT_KNOWN	       0xfull
#define RO_COMPAT_GROUP_TREE   0x8ull
#define FLAG_WRITTEN	       0x1ull

#define TREE_ROOT    1u
#define TREE_EXTENT  2u
#define TREE_CHUNK   3u
#define TREE_GROUP   11u
#define OBJECT_CHUNK 256u
#define KEY_ROOT     132u
#define KEY_EXTENT   168u
#define KEY_METADATA 169u
#define KEY_GROUP    192u
#define KEY_CHUNK    228u

#define PROFILES       0x7f8ull /* RAID0 .. RAID1C4 */
#define TYPE_DUP       0x20ull
#define CHUNK_ITEM_MIN 48u
#define STRIPE	       32u

static int btrfs_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t super[SUPER_SIZE];
	int r;

	if (volume_size(v) < SUPER_OFFSET + SUPER_SIZE)
		return 0;
	r = volume_read(v, super, sizeof(super), SUPER_OFFSET, err);
	if (r < 0 || memcmp(super + 64, "_BHRfS_M", 8) != 0)
		return r;
	part->content = "btrfs";
	part_set_uuid(part, super + 32);
	part_set_label(part, super + 299, 256);
	return 1;
}

/* A chunk item at `at`; `*ret_size` is how long it is. */
static int add_chunk(struct btrfs *b, uint64_t logical, struct view *v, size_t at, size_t *ret_size,
		     struct err *err)
{
	struct btrfs_chunk c = {.logical = logical, .length = view_le64(v, at)};
	uint64_t type = view_le64(v, at + 24);
	uint64_t end;

	c.copies = view_le16(v, at + 44);
	*ret_size = CHUNK_ITEM_MIN + (size_t)c.copies * STRIPE;
	if (((type & PROFILES) != 0 && (type & PROFILES) != TYPE_DUP) ||
	    c.copies != ((type & TYPE_DUP) ? 2u : 1u)) {
		return doubt(err,
			     "it has chunks of a kind (%#" PRIx64
			     ") that is not known on one device",
			     type);
	}
	if (c.length == 0 || __builtin_add_overflow(c.logical, c.length, &end))
		return doubt(err, "it has a chunk that cannot be");
	for (unsigned i = 0; i < c.copies; i++) {
		size_t stripe = at + CHUNK_ITEM_MIN + (size_t)i * STRIPE;

		c.physical[i] = view_le64(v, stripe + 8);
		if (view_le64(v, stripe) != b->devid)
			return doubt(err, "it has chunks on other devices");
		if (c.physical[i] > b->device_size || c.length > b->device_size - c.physical[i])
			return doubt(err, "it has a chunk outside of its device");
	}
	if (v->bad)
		return doubt(err, "a chunk is cut short");
	if (b->chunks_len >= CHUNKS_MAX)
		return doubt(err, "it has more than %u chunks", CHUNKS_MAX);
	return btrfs_add_chunk(b, &c, err);
}

/* The chunks in the superblock: keys and chunk items in turn. */
static int add_system_chunks(struct btrfs *b, const uint8_t *super, struct err *err)
{
	struct view s = view_of(super, SUPER_SIZE);
	size_t size = view_le32(&s, 160);
	struct view array = view_of(super + 811, size);
	size_t at = 0;

	if (size > 2048)
		return doubt(err, "its superblock contradicts itself");
	while (at < size) {
		uint64_t logical = view_le64(&array, at + 9);
		size_t n = 0;
		int r;

		if (view_u8(&array, at + 8) != KEY_CHUNK)
			return doubt(err, "its superblock contradicts itself");
		r = add_chunk(b, logical, &array, at + 17, &n, err);
		if (r < 0)
			return r;
		at += 17 + n;
	}
	return 0;
}

static int chunk_item(struct btrfs *b, const struct btrfs_key *key, struct view *data, void *ctx,
		      struct err *err)
{
	size_t size;

	(void)ctx;
	return key->type == KEY_CHUNK ? add_chunk(b, key->offset, data, 0, &size, err) : 0;
}

static int check_super(const struct btrfs *b, struct view *s, struct err *err)
{
	uint64_t incompat = view_le64(s, 188);
	uint64_t ro_compat = view_le64(s, 180);

	if (view_le16(s, 196) > BTRFS_XXHASH)
		return doubt(err, "its checksums are of a kind that is not read here");
	if (!btrfs_is_whole(b->checksum, s->p, SUPER_SIZE))
		return doubt(err, "the checksum of its superblock is wrong");
	if (view_le64(s, 48) != SUPER_OFFSET)
		return doubt(err, "its superblock is that of another place");
	if ((incompat & ~INCOMPAT_KNOWN) != 0 || (ro_compat & ~RO_COMPAT_KNOWN) != 0) {
		return doubt(err,
			     "it has features that are not known (incompat %#" PRIx64
			     ", ro_compat %#" PRIx64 ")",
			     incompat, ro_compat);
	}
	if (view_le64(s, 56) & ~FLAG_WRITTEN)
		return doubt(err, "it is in a state that is not known (flags %#" PRIx64 ")",
			     view_le64(s, 56));
	if (view_le64(s, 136) != 1)
		return doubt(err, "it is spread over %" PRIu64 " devices", view_le64(s, 136));
	if (b->node_size < 4096 || b->node_size > 65536 || (b->node_size & (b->node_size - 1)) ||
	    b->sector_size < 512 || b->sector_size > 65536 ||
	    (b->sector_size & (b->sector_size - 1)))
		return doubt(err, "its superblock contradicts itself");
	if (b->device_size > volume_size(b->v))
		return doubt(err, "it is larger than the space it is in");
	if (view_le64(s, 96) != 0 && !b->is_past_log) {
		return doubt_log(err,
				 "it was not unmounted cleanly: it has a log tree to be replayed");
	}
	return 0;
}

static void read_super(struct btrfs *b, struct view *s)
{
	b->checksum = view_le16(s, 196);
	b->node_size = view_le32(s, 148);
	b->sector_size = view_le32(s, 144);
	b->devid = view_le64(s, 201);
	b->device_size = view_le64(s, 209);
	b->generation = view_le64(s, 72);
	memcpy(b->fsid, s->p + (view_le64(s, 188) & INCOMPAT_METADATA_UUID ? 571 : 32),
	       sizeof(b->fsid));
}

static int root_item(struct btrfs *b, const struct btrfs_key *key, struct view *data, void *ctx,
		     struct err *err)
{
	struct btrfs_root *root = ctx;

	(void)b;
	(void)err;
	*root = (struct btrfs_root){
		.logical = view_le64(data, 176),
		.generation = view_le64(data, 160),
		.owner = key->objectid,
		.level = view_u8(data, 238),
	};
	return 0;
}

static int find_root(struct btrfs *b, const struct btrfs_root *roots, uint64_t tree,
		     struct btrfs_root *ret, struct err *err)
{
	struct btrfs_query q = {*roots, {tree, KEY_ROOT, 0}, {tree, KEY_ROOT, 0}, root_item, ret,
				false};
	int r;

	*ret = (struct btrfs_root){0};
	r = btrfs_each_item(b, &q, err);
	if (r == 0 && ret->owner != tree)
		r = doubt(err, "it has no tree %" PRIu64, tree);
	return r;
}

/* What is between the groups' items and the extents' goes by; both kinds may be in one tree. */
struct sums {
	uint64_t end;	 /* of the last extent */
	uint64_t groups; /* used, as all groups say */
};

static int group_item(struct btrfs *b, const struct btrfs_key *key, struct view *data,
		      struct sums *sums, struct err *err)
{
	struct btrfs_chunk *c = btrfs_find_chunk(b, key->objectid);

	if (!c || c->logical != key->objectid || c->length != key->offset || c->has_group)
		return doubt(err, "it has a block group that is no chunk");
	c->has_group = true;
	c->group_used = view_le64(data, 0);
	sums->groups += c->group_used;
	return 0;
}

static int extent_item(struct btrfs *b, const struct btrfs_key *key, struct view *data, void *ctx,
		       struct err *err)
{
	uint64_t length = key->type == KEY_METADATA ? b->node_size : key->offset;
	struct btrfs_chunk *c;
	struct sums *sums = ctx;

	if (key->type == KEY_GROUP)
		return group_item(b, key, data, sums, err);
	if (key->type != KEY_EXTENT && key->type != KEY_METADATA)
		return 0;
	c = btrfs_find_chunk(b, key->objectid);
	if (!c || length == 0 || length > c->logical + c->length - key->objectid)
		return doubt(err, "it has an extent outside of all chunks");
	if (key->objectid < sums->end)
		return doubt(err, "two of its extents overlap");
	sums->end = key->objectid + length;
	c->found += length;
	for (unsigned i = 0; i < c->copies; i++)
		volume_mark(b->v, c->physical[i] + (key->objectid - c->logical), length);
	return 0;
}

static int check_sums(const struct btrfs *b, const struct sums *sums, uint64_t used,
		      struct err *err)
{
	for (size_t i = 0; i < b->chunks_len; i++) {
		const struct btrfs_chunk *c = &b->chunks[i];

		if (!c->has_group)
			return doubt(err, "it has a chunk that is no block group");
		if (c->found != c->group_used) {
			return doubt(err,
				     "a block group has %" PRIu64
				     " bytes in extents where it says %" PRIu64,
				     c->found, c->group_used);
		}
	}
	if (sums->groups != used) {
		return doubt(err,
			     "its block groups have %" PRIu64
			     " bytes in use where its superblock says %" PRIu64,
			     sums->groups, used);
	}
	return 0;
}

static int map_extents(struct btrfs *b, struct view *s, struct err *err)
{
	const struct btrfs_key first = {0, 0, 0};
	const struct btrfs_key last = {BTRFS_KEY_MAX, UINT8_MAX, BTRFS_KEY_MAX};
	struct btrfs_root chunks = {view_le64(s, 88), view_le64(s, 164), TREE_CHUNK,
				    view_u8(s, 199)};
	struct btrfs_root roots = {view_le64(s, 80), b->generation, TREE_ROOT, view_u8(s, 198)};
	struct btrfs_query all_chunks = {chunks, first, last, chunk_item, NULL, false};
	struct sums sums = {0};
	struct btrfs_query q = {.from = first, .to = last, .fn = extent_item, .ctx = &sums};
	int r = btrfs_each_item(b, &all_chunks, err);

	if (r == 0)
		r = find_root(b, &roots, TREE_EXTENT, &q.root, err);
	if (r == 0)
		r = btrfs_each_item(b, &q, err);
	if (r == 0 && (view_le64(s, 180) & RO_COMPAT_GROUP_TREE)) {
		sums.end = 0;
		r = find_root(b, &roots, TREE_GROUP, &q.root, err);
		if (r == 0)
			r = btrfs_each_item(b, &q, err);
	}
	return r < 0 ? r : check_sums(b, &sums, view_le64(s, 120), err);
}

static void btrfs_done(struct btrfs *b)
{
	free(b->chunks);
}

static int btrfs_map(struct scan *s, struct place *p, struct err *err)
{
	CLEANUP(btrfs_done)
	struct btrfs b = {.v = p->volume, .is_past_log = s->options->is_past_log};
	uint8_t super[SUPER_SIZE];
	struct view v = view_of(super, sizeof(super));
	int r = volume_read(p->volume, super, sizeof(super), SUPER_OFFSET, err);

	if (r < 0)
		return r;
	read_super(&b, &v);
	r = check_super(&b, &v, err);
	if (r == 0)
		r = add_system_chunks(&b, super, err);
	if (r == 0)
		r = map_extents(&b, &v, err);
	if (r == 0 && b.is_past_log)
		r = btrfs_mark_log(&b, view_le64(&v, 96), view_u8(&v, 200), err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < b.chunks_len; i++)
		p->part.used += b.chunks[i].found * b.chunks[i].copies;
	volume_mark(p->volume, 0, RESERVED_SIZE);
	/* copies of the superblock at 64 MiB and 256 GiB */
	volume_mark(p->volume, 64ull << 20, SUPER_SIZE);
	volume_mark(p->volume, 256ull << 30, SUPER_SIZE);
	volume_mark(p->volume, b.device_size, UINT64_MAX);
	return 0;
}

const struct format format_btrfs = {.name = "btrfs", .probe = btrfs_probe, .map = btrfs_map};
