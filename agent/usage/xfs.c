/* xfs.c - XFS versions 4 and 5: "XFS Algorithms & Data Structures", 3rd edition, and fs/xfs/libxfs/xfs_format.h in Linux.
 *
 * Each allocation group has two B-trees of its free extents, one by place and one by length.  What is not in them is in use: headers, the
 * trees' own blocks, inodes, the log, and files; save the trees' reserve of empty blocks (AGFL).  Both trees are read and must hold the same extents; so a wrong one
 * is also noticed in version 4, which has no checksums. */
#include "agent/usage/xfs.h"

#include <inttypes.h>
#include <string.h>

#include "agent/usage/crc32c.h"

#define SUPER_SIZE 512u
#define LEVELS_MAX 9u
#define FAULTS_MAX 1000u /* of one group, past the log */

/* xfs_format.h: of what is known, nothing changes how free space is written down. */
#define INCOMPAT_KNOWN \
	0xefu /* FTYPE SPINODES META_UUID BIGTIME NREXT64 EXCHRANGE PARENT; not NEEDSREPAIR */
#define INCOMPAT_NEEDSREPAIR 0x10u
#define INCOMPAT_META_UUID   0x04u
#define RO_COMPAT_KNOWN	     0x0fu /* FINOBT RMAPBT REFLINK INOBTCNT */

static int xfs_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t super[SUPER_SIZE];
	int r;

	if (volume_size(v) < SUPER_SIZE)
		return 0;
	r = volume_read(v, super, sizeof(super), 0, err);
	if (r < 0 || memcmp(super, "XFSB", 4) != 0)
		return r;
	part->content = "xfs";
	part_set_uuid(part, super + 32);
	part_set_label(part, super + 108, 12);
	return 1;
}

static bool is_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static int check_geometry(const struct xfs *x, struct err *err)
{
	if (!is_power_of_two(x->block_size) || x->block_size < 512 || x->block_size > 65536 ||
	    !is_power_of_two(x->sector_size) || x->sector_size < 512 ||
	    x->sector_size > x->block_size || x->ag_blocks < 64 || x->ag_count == 0 ||
	    x->ag_block_log > 31 || (1ull << x->ag_block_log) < x->ag_blocks ||
	    (1ull << x->ag_block_log) >= 2ull * x->ag_blocks ||
	    x->blocks > (uint64_t)x->ag_blocks * x->ag_count ||
	    x->blocks <= (uint64_t)x->ag_blocks * (x->ag_count - 1))
		return doubt(err, "its superblock contradicts itself");
	if (x->blocks > volume_size(x->v) / x->block_size)
		return doubt(err, "it is larger than the space it is in");
	return 0;
}

static int check_features(const struct xfs *x, struct view *s, struct err *err)
{
	uint32_t incompat = x->is_v5 ? view_be32(s, 216) : 0;
	uint32_t ro_compat = x->is_v5 ? view_be32(s, 212) : 0;

	if (incompat & INCOMPAT_NEEDSREPAIR)
		return doubt(err, "it is marked as in need of repair");
	if ((incompat & ~INCOMPAT_KNOWN) != 0 || (ro_compat & ~RO_COMPAT_KNOWN) != 0) {
		return doubt(err,
			     "it has features that are not known (incompat %#x, ro_compat %#x)",
			     incompat, ro_compat);
	}
	if (view_be64(s, 16) != 0 || view_be64(s, 24) != 0)
		return doubt(err, "it has a real-time section");
	if (view_u8(s, 126) != 0)
		return doubt(err, "it is being made");
	if (x->log_start == 0)
		return doubt(err, "its log is on another device");
	if (x->is_v5 && view_be32(s, 220) != 0 && !x->is_past_log) {
		return doubt_log(err,
				 "it was not unmounted cleanly: its log uses features of its own");
	}
	return 0;
}

static int read_super(struct xfs *x, struct err *err)
{
	uint8_t super[SUPER_SIZE];
	struct view s = view_of(super, sizeof(super));
	int r = volume_read(x->v, super, sizeof(super), 0, err);

	if (r < 0)
		return r;
	x->is_v5 = (view_be16(&s, 100) & 15) == 5;
	if (!x->is_v5 && (view_be16(&s, 100) & 15) != 4)
		return doubt(err, "its version is %u", view_be16(&s, 100) & 15);
	x->block_size = view_be32(&s, 4);
	x->blocks = view_be64(&s, 8);
	x->log_start = view_be64(&s, 48);
	x->ag_blocks = view_be32(&s, 84);
	x->ag_count = view_be32(&s, 88);
	x->log_blocks = view_be32(&s, 96);
	x->sector_size = view_be16(&s, 102);
	x->ag_block_log = view_u8(&s, 124);
	memcpy(x->uuid, super + (x->is_v5 && (view_be32(&s, 216) & INCOMPAT_META_UUID) ? 248 : 32),
	       sizeof(x->uuid));
	memcpy(x->log_uuid, super + 32, sizeof(x->log_uuid));
	r = check_geometry(x, err);
	return r < 0 ? r : check_features(x, &s, err);
}

/* Checksum of a header in a sector of its own, or of a block. */
static bool is_whole(const struct xfs *x, const uint8_t *data, uint32_t size, uint32_t crc_at)
{
	struct view v = view_of(data, size);

	return !x->is_v5 ||
	       checksum_is_right(crc32c_without(data, size, crc_at), view_le32(&v, crc_at));
}

/* The superblock's checksum, and that the copy in the second group has the same geometry. */
static int check_super(const struct xfs *x, struct err *err)
{
	static const struct {
		uint8_t at, size;
	} same[] = {{0, 8}, {32, 24}, {84, 4}, {96, 4}, {102, 2}, {120, 5}};
	CLEANUP_FREE uint8_t *super = malloc(2ull * x->sector_size);
	uint8_t *copy;
	int r;

	if (!super)
		return err_set(err, -ENOMEM, "out of memory");
	copy = super + x->sector_size;
	r = volume_read(x->v, super, x->sector_size, 0, err);
	if (r < 0)
		return r;
	if (!is_whole(x, super, x->sector_size, 224))
		return doubt(err, "the checksum of its superblock is wrong");
	if (x->ag_count == 1)
		return 0;
	r = volume_read(x->v, copy, x->sector_size, (uint64_t)x->ag_blocks * x->block_size, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		if (memcmp(super + same[i].at, copy + same[i].at, same[i].size) != 0)
			return doubt(err, "its superblock and the copy in group 1 differ");
	}
	return 0;
}

/* Blocks that the trees of a group keep in reserve for themselves (AGFL): in neither tree, and of no content. */
#define RESERVE_MAX 1024u
struct reserve {
	uint32_t blocks[RESERVE_MAX]; /* ascending */
	uint32_t len;
};

/* What one of the two trees of a group holds. */
struct tree {
	const struct xfs *x;
	uint32_t group, length; /* number and blocks of the group */
	const struct reserve *reserve;
	bool is_by_place;    /* and marks what is between */
	uint32_t next;	     /* by place: where the next may begin; by length: its least length */
	uint64_t free, hash; /* sums over all extents */
	uint32_t longest;
	uint32_t blocks; /* of the tree itself */
	uint32_t faults; /* passed over: past the log */
};

/* Such that the sum over a set of extents tells it from another. */
static uint64_t mix(uint32_t start, uint32_t len)
{
	uint64_t h = ((uint64_t)start << 32 | len) * 0x9e3779b97f4a7c15ull;

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

/* Blocks of the group that are in no tree: in use but for the reserve. */
static void mark_between(const struct tree *t, uint32_t from, uint32_t to)
{
	uint64_t first = (uint64_t)t->group * t->x->ag_blocks;
	uint64_t bs = t->x->block_size;

	for (uint32_t i = 0; i < t->reserve->len && t->reserve->blocks[i] < to; i++) {
		uint32_t block = t->reserve->blocks[i];

		if (block < from)
			continue;
		volume_mark(t->x->v, (first + from) * bs, (block - from) * bs);
		from = block + 1;
	}
	volume_mark(t->x->v, (first + from) * bs, (to - from) * bs);
}

static int add_extent(struct tree *t, uint32_t start, uint32_t len, struct err *err)
{
	if (len == 0 || start >= t->length || len > t->length - start)
		return doubt(err, "group %u has free space outside itself", t->group);
	if (t->is_by_place ? start < t->next : len < t->next)
		return doubt(err, "the free space of group %u is out of order", t->group);
	if (t->is_by_place) {
		mark_between(t, t->next, start);
		t->next = start + len;
	} else {
		t->next = len;
	}
	t->free += len;
	t->hash += mix(start, len);
	t->longest = len > t->longest ? len : t->longest;
	return 0;
}

static int check_block(const struct tree *t, const uint8_t *block, uint32_t number, unsigned level,
		       struct err *err)
{
	const struct xfs *x = t->x;
	struct view v = view_of(block, x->block_size);
	const char *magic = t->is_by_place ? x->is_v5 ? "AB3B" : "ABTB"
			    : x->is_v5	   ? "AB3C"
					   : "ABTC";
	uint64_t place = ((uint64_t)t->group * x->ag_blocks + number) * (x->block_size / 512);

	if (!view_is(&v, 0, magic, 4) || view_be16(&v, 4) != level)
		return doubt(err, "group %u: a block of its free space is something else",
			     t->group);
	if (!is_whole(x, block, x->block_size, 52))
		return doubt(err, "group %u: the checksum of a block of its free space is wrong",
			     t->group);
	if (x->is_v5 && (view_be64(&v, 16) != place || !view_is(&v, 32, x->uuid, 16) ||
			 view_be32(&v, 48) != t->group)) {
		return doubt(err, "group %u: a block of its free space belongs elsewhere",
			     t->group);
	}
	return 0;
}

/* Past the log, what cannot be right is passed over, a number of times: free is only what can be. */
static bool pass_over(struct tree *t, int r)
{
	return r == -EUCLEAN && t->x->is_past_log && ++t->faults <= FAULTS_MAX;
}

/* Block `number` of the group, and all beneath it; `level` is 0 for leaves. */
static int walk(struct tree *t, uint32_t number, unsigned level, struct err *err)
{
	const struct xfs *x = t->x;
	CLEANUP_FREE uint8_t *block = malloc(x->block_size);
	struct view v = view_of(block, x->block_size);
	uint32_t header = x->is_v5 ? 56 : 16;
	uint32_t max = (x->block_size - header) / (level > 0 ? 12 : 8);
	uint32_t len;
	int r;

	if (!block)
		return err_set(err, -ENOMEM, "out of memory");
	if (number >= t->length || ++t->blocks > t->length)
		return doubt(err, "the free space of group %u is outside it", t->group);
	r = volume_read(x->v, block, x->block_size,
			((uint64_t)t->group * x->ag_blocks + number) * x->block_size, err);
	if (r == 0)
		r = check_block(t, block, number, level, err);
	if (r < 0)
		return r;
	len = view_be16(&v, 6);
	if (len > max)
		return doubt(err, "group %u: a block of its free space is overfull", t->group);
	for (uint32_t i = 0; r == 0 && i < len; i++) {
		if (level == 0) {
			r = add_extent(t, view_be32(&v, header + i * 8),
				       view_be32(&v, header + i * 8 + 4), err);
		} else {
			r = walk(t, view_be32(&v, header + max * 8 + i * 4), level - 1, err);
		}
		if (pass_over(t, r))
			r = 0;
	}
	return r;
}

static int walk_tree(struct tree *t, uint32_t root, uint32_t levels, struct err *err)
{
	if (levels == 0 || levels > LEVELS_MAX)
		return doubt(err, "the free space of group %u has %u levels", t->group, levels);
	return walk(t, root, levels - 1, err);
}

static int check_group(const struct xfs *x, const uint8_t *agf, uint32_t group, uint32_t length,
		       struct err *err)
{
	struct view v = view_of(agf, x->sector_size);

	if (!view_is(&v, 0, "XAGF", 4) || view_be32(&v, 4) != 1 || view_be32(&v, 8) != group ||
	    view_be32(&v, 12) != length)
		return doubt(err, "the header of group %u contradicts the superblock", group);
	if (!is_whole(x, agf, x->sector_size, 216) || (x->is_v5 && !view_is(&v, 64, x->uuid, 16)))
		return doubt(err, "the checksum of the header of group %u is wrong", group);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a;
	const uint32_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* Only with a checksum is it believed, and when its ring is as the header says; otherwise it counts as in use. */
static int read_reserve(const struct xfs *x, uint32_t group, struct view *agf, struct reserve *ret,
			struct err *err)
{
	CLEANUP_FREE uint8_t *agfl = malloc(x->sector_size);
	uint64_t at = (uint64_t)group * x->ag_blocks * x->block_size + 3ull * x->sector_size;
	struct view v = view_of(agfl, x->sector_size);
	uint32_t size = (x->sector_size - 36) / 4;
	uint32_t first = view_be32(agf, 40);
	uint32_t count = view_be32(agf, 48);
	int r;

	ret->len = 0;
	if (!agfl)
		return err_set(err, -ENOMEM, "out of memory");
	if (!x->is_v5 || count == 0 || count > size || count > RESERVE_MAX || first >= size ||
	    view_be32(agf, 44) != (first + count - 1) % size)
		return 0;
	r = volume_read(x->v, agfl, x->sector_size, at, err);
	if (r < 0)
		return r;
	if (!view_is(&v, 0, "XAFL", 4) || view_be32(&v, 4) != group ||
	    !view_is(&v, 8, x->uuid, 16) || !is_whole(x, agfl, x->sector_size, 32))
		return doubt(err, "the list of reserved blocks of group %u is damaged", group);
	for (uint32_t i = 0; i < count; i++)
		ret->blocks[i] = view_be32(&v, 36 + 4 * ((first + i) % size));
	ret->len = count;
	qsort(ret->blocks, count, sizeof(ret->blocks[0]), compare);
	return 0;
}

/* Mark what is not free in the tree by place, such as it is.  Of trees written at different times each block is whole, but not all fit together. */
static int map_group_past_log(const struct xfs *x, uint32_t group, const uint8_t *agf,
			      uint32_t length, struct err *err)
{
	const struct reserve none = {.len = 0};
	struct tree place = {x, group, length, &none, true, 0, 0, 0, 0, 0, 0};
	struct view v = view_of(agf, x->sector_size);
	int r = check_group(x, agf, group, length, err);

	if (r == 0)
		r = walk_tree(&place, view_be32(&v, 16), view_be32(&v, 28), err);
	mark_between(&place, place.next, length);
	return r == -EUCLEAN ? 0 : r;
}

/* Mark what is in use in a group; `ret_free` is how many blocks are not. */
static int map_group(const struct xfs *x, uint32_t group, uint64_t *ret_free, struct err *err)
{
	uint64_t first = (uint64_t)group * x->ag_blocks;
	uint32_t length =
		x->blocks - first < x->ag_blocks ? (uint32_t)(x->blocks - first) : x->ag_blocks;
	CLEANUP_FREE uint8_t *agf = malloc(x->sector_size);
	struct view v = view_of(agf, x->sector_size);
	struct reserve reserve = {.len = 0};
	struct tree place = {x, group, length, &reserve, true, 0, 0, 0, 0, 0, 0};
	struct tree size = {x, group, length, &reserve, false, 0, 0, 0, 0, 0, 0};
	int r;

	if (!agf)
		return err_set(err, -ENOMEM, "out of memory");
	r = volume_read(x->v, agf, x->sector_size, first * x->block_size + x->sector_size, err);
	if (r == 0 && x->is_past_log) {
		*ret_free = 0;
		return map_group_past_log(x, group, agf, length, err);
	}
	if (r == 0)
		r = check_group(x, agf, group, length, err);
	if (r == 0)
		r = read_reserve(x, group, &v, &reserve, err);
	if (r == 0)
		r = walk_tree(&place, view_be32(&v, 16), view_be32(&v, 28), err);
	if (r == 0)
		r = walk_tree(&size, view_be32(&v, 20), view_be32(&v, 32), err);
	if (r < 0)
		return r;
	mark_between(&place, place.next, length);
	if (place.free != size.free || place.hash != size.hash || place.free != view_be32(&v, 52) ||
	    place.longest != view_be32(&v, 56)) {
		return doubt(err, "the free space of group %u does not add up", group);
	}
	*ret_free = place.free + reserve.len;
	return 0;
}

static int xfs_map(struct scan *s, struct place *p, struct err *err)
{
	struct xfs x = {.v = p->volume, .is_past_log = s->options->is_past_log};
	uint64_t free = 0;
	int r = read_super(&x, err);

	if (r == 0)
		r = check_super(&x, err);
	if (r == 0)
		r = xfs_check_log(&x, err);
	if (r == DOUBT_LOG && x.is_past_log)
		r = 0;
	for (uint32_t group = 0; r == 0 && group < x.ag_count; group++) {
		uint64_t n = 0;

		r = map_group(&x, group, &n, err);
		if (r == 0)
			free += n;
	}
	if (r < 0)
		return r;
	volume_mark(p->volume, x.blocks * x.block_size, UINT64_MAX);
	p->part.used = (x.blocks - free) * x.block_size;
	return 0;
}

const struct format format_xfs = {.name = "XFS", .probe = xfs_probe, .map = xfs_map};
