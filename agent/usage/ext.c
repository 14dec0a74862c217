/* ext.c - ext2, ext3 and ext4, by libext2fs: Documentation/filesystems/ext4 in Linux.
 *
 * The block bitmaps are read group by group and not as libext2fs would, all at once into memory: a large filesystem has gigabytes of
 * them.  In a group whose bitmap was never written (BLOCK_UNINIT) only metadata can be in use; the metadata of all groups is marked apart from
 * the bitmaps, so that it does not matter in which group it lies.
 *
 * A bitmap stands for clusters, which are more than a block with bigalloc.
 *
 * What must hold before the map is believed: the filesystem was unmounted cleanly and its journal is empty, every feature is known, the
 * checksums (metadata_csum; of group descriptors also uninit_bg) are right, the geometry is that of the first backup superblock, what
 * a bitmap calls free is as much as its descriptor says, and the sum is as much as the superblock says.  Where bitmaps have no checksum all
 * files are looked at as well (ext_walk.c). */
#include "agent/usage/ext.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "agent/usage/scan.h"

#define SUPER_OFFSET 1024u
#define SUPER_SIZE   1024u
#define SUPER_MAGIC  0xef53u
/* Bytes of group descriptors that libext2fs holds; 64 TiB in blocks of 4 KiB have half of it. */
#define DESCRIPTORS_MAX (64ull << 20)

/* Known, and of no consequence for what is allocated. */
#define INCOMPAT_KNOWN                                                                             \
	(EXT2_FEATURE_INCOMPAT_FILETYPE | EXT2_FEATURE_INCOMPAT_META_BG |                          \
	 EXT3_FEATURE_INCOMPAT_EXTENTS | EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_MMP | \
	 EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT4_FEATURE_INCOMPAT_EA_INODE |                          \
	 EXT4_FEATURE_INCOMPAT_CSUM_SEED | EXT4_FEATURE_INCOMPAT_LARGEDIR |                        \
	 EXT4_FEATURE_INCOMPAT_INLINE_DATA | EXT4_FEATURE_INCOMPAT_ENCRYPT |                       \
	 EXT4_FEATURE_INCOMPAT_CASEFOLD)
#define RO_COMPAT_KNOWN                                                            \
	(EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE | \
	 EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_GDT_CSUM |      \
	 EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |   \
	 EXT4_FEATURE_RO_COMPAT_QUOTA | EXT4_FEATURE_RO_COMPAT_BIGALLOC |          \
	 EXT4_FEATURE_RO_COMPAT_METADATA_CSUM | EXT4_FEATURE_RO_COMPAT_READONLY |  \
	 EXT4_FEATURE_RO_COMPAT_PROJECT | EXT4_FEATURE_RO_COMPAT_VERITY)

/* Features that ext3 does not have make it ext4, as libblkid sees it. */
#define EXT3_INCOMPAT                                                     \
	(EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_RECOVER | \
	 EXT2_FEATURE_INCOMPAT_META_BG)
#define EXT3_RO_COMPAT \
	(EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE | 4u)

static int ext_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t super[SUPER_SIZE];
	struct view s = view_of(super, sizeof(super));
	uint32_t compat, incompat, ro_compat;
	int r;

	if (volume_size(v) < SUPER_OFFSET + SUPER_SIZE)
		return 0;
	r = volume_read(v, super, sizeof(super), SUPER_OFFSET, err);
	if (r < 0)
		return r;
	if (view_le16(&s, 0x38) != SUPER_MAGIC)
		return 0;
	compat = view_le32(&s, 0x5c);
	incompat = view_le32(&s, 0x60);
	ro_compat = view_le32(&s, 0x64);
	if (incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV) {
		part->content = "jbd";
	} else if ((incompat & ~EXT3_INCOMPAT) != 0 || (ro_compat & ~EXT3_RO_COMPAT) != 0) {
		part->content = "ext4";
	} else {
		part->content = compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL ? "ext3" : "ext2";
	}
	part_set_uuid(part, super + 0x68);
	part_set_label(part, super + 0x78, 16);
	return 1;
}

/* What is in use, and how much was found free, in clusters. */
struct counts {
	ext2_filsys fs;
	struct volume *v;
	uint64_t free;
	bool is_past_log; /* nothing has to add up */
};

/* Only the log, and what the kernel does after it: the kernel can put that right. */
static int check_log(const struct ext2_super_block *s, struct err *err)
{
	if (s->s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) {
		return doubt_log(err,
				 "it was not unmounted cleanly: its journal has to be replayed");
	}
	if (s->s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT || s->s_last_orphan != 0)
		return doubt_log(err, "it was not unmounted cleanly: its orphan files have to be "
				      "removed");
	return 0;
}

static int check_features(const struct ext2_super_block *s, struct err *err)
{
	uint32_t incompat =
		s->s_feature_incompat & ~(INCOMPAT_KNOWN | EXT3_FEATURE_INCOMPAT_RECOVER);
	uint32_t ro_compat =
		s->s_feature_ro_compat & ~(RO_COMPAT_KNOWN | EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT);

	if (incompat & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV)
		return doubt(err, "it is the journal of a filesystem elsewhere");
	if (incompat != 0 || ro_compat != 0) {
		return doubt(err,
			     "it has features that are not known (incompat %#x, ro_compat %#x)",
			     incompat, ro_compat);
	}
	if (s->s_feature_compat & EXT2_FEATURE_COMPAT_EXCLUDE_BITMAP)
		return doubt(err, "it has snapshots");
	return 0;
}

static int check_state(const struct ext2_super_block *s, struct err *err)
{
	if (!(s->s_state & EXT2_VALID_FS))
		return doubt(err, "it was not unmounted cleanly");
	if (s->s_state & EXT2_ERROR_FS)
		return doubt(err, "errors were found in it, and it has not been checked since");
	if ((s->s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) && s->s_journal_inum == 0)
		return doubt(err, "its journal is on another device");
	return 0;
}

static int read_block(const struct counts *c, uint64_t block, void *buf, struct err *err)
{
	uint64_t offset;

	if (block >= ext2fs_blocks_count(c->fs->super) ||
	    __builtin_mul_overflow(block, (uint64_t)c->fs->blocksize, &offset))
		return doubt(err, "block %" PRIu64 " is outside the filesystem", block);
	return volume_read(c->v, buf, c->fs->blocksize, offset, err);
}

/* The journal's own superblock: s_start is 0 when it is empty. */
static int check_journal(const struct counts *c, void *block, struct err *err)
{
	struct view v = view_of(block, c->fs->blocksize);
	blk64_t at = 0;
	int r;

	if (!(c->fs->super->s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL))
		return 0;
	if (ext2fs_bmap2(c->fs, c->fs->super->s_journal_inum, NULL, NULL, 0, 0, NULL, &at) ||
	    at == 0)
		return doubt(err, "its journal cannot be found");
	r = read_block(c, at, block, err);
	if (r < 0)
		return r;
	if (view_be32(&v, 0) != 0xc03b3998u)
		return doubt(err, "its journal has no superblock");
	if (view_be32(&v, 0x1c) != 0 && !c->is_past_log)
		return doubt(err, "it was not unmounted cleanly: its journal is not empty");
	return 0;
}

static int check_mmp(const struct counts *c, void *block, struct err *err)
{
	struct view v = view_of(block, c->fs->blocksize);
	int r;

	if (!(c->fs->super->s_feature_incompat & EXT4_FEATURE_INCOMPAT_MMP))
		return 0;
	r = read_block(c, c->fs->super->s_mmp_block, block, err);
	if (r < 0)
		return r;
	if (view_le32(&v, 0) != 0x004d4d50u || view_le32(&v, 4) != 0xff4d4d50u)
		return doubt(err, "it is in use by a machine (multi-mount protection)");
	return 0;
}

/* The first backup must have the same geometry: without checksums nothing else tells a wrong block size from a right one. */
static int check_backup(const struct counts *c, void *block, struct err *err)
{
	static const struct {
		uint8_t at, size;
	} same[] = {{0x14, 4}, {0x18, 4}, {0x1c, 4}, {0x20, 4},
		    {0x24, 4}, {0x28, 4}, {0x38, 2}, {0x58, 2}};
	uint8_t super[SUPER_SIZE];
	dgrp_t group = 1;
	int r;

	while (group < c->fs->group_desc_count && !ext2fs_bg_has_super(c->fs, group))
		group++;
	if (group >= c->fs->group_desc_count)
		return 0;
	r = read_block(c, ext2fs_group_first_block2(c->fs, group), block, err);
	if (r == 0)
		r = volume_read(c->v, super, sizeof(super), SUPER_OFFSET, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		if (memcmp((uint8_t *)block + same[i].at, super + same[i].at, same[i].size) != 0)
			return doubt(err, "the superblock and its backup in group %u differ",
				     group);
	}
	return 0;
}

static int check_clean(const struct counts *c, struct err *err)
{
	const struct ext2_super_block *s = c->fs->super;
	CLEANUP_FREE void *block = malloc(c->fs->blocksize);
	int r = check_features(s, err);

	if (!block)
		return err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		r = check_state(s, err);
	if (r < 0)
		return r;
	if (!c->is_past_log)
		r = check_log(s, err);
	if (r < 0)
		return r;
	if (s->s_first_data_block > 1 || (c->fs->cluster_ratio_bits > 0 && s->s_first_data_block))
		return doubt(err, "its first block is number %u", s->s_first_data_block);
	r = check_journal(c, block, err);
	if (r == 0 && !c->is_past_log)
		r = check_mmp(c, block, err);
	return r == 0 ? check_backup(c, block, err) : r;
}

static void mark_blocks(const struct counts *c, uint64_t block, uint64_t count)
{
	volume_mark(c->v, block * c->fs->blocksize, count * c->fs->blocksize);
}

/* A group's copies of superblock and descriptors, its bitmaps and its inode table. */
static int mark_metadata(const struct counts *c, dgrp_t group, struct err *err)
{
	uint64_t blocks = ext2fs_blocks_count(c->fs->super);
	uint64_t table = ext2fs_inode_table_loc(c->fs, group);
	uint64_t bitmap = ext2fs_block_bitmap_loc(c->fs, group);
	uint64_t inodes = ext2fs_inode_bitmap_loc(c->fs, group);
	blk64_t super, old_desc, new_desc;
	blk_t used;

	if (bitmap >= blocks || inodes >= blocks || table >= blocks ||
	    c->fs->inode_blocks_per_group > blocks - table || bitmap == 0 || inodes == 0 ||
	    table == 0)
		return doubt(err, "group %u has metadata outside the filesystem", group);
	if (!c->is_past_log && !ext2fs_group_desc_csum_verify(c->fs, group))
		return doubt(err, "the checksum of the descriptor of group %u is wrong", group);
	mark_blocks(c, bitmap, 1);
	mark_blocks(c, inodes, 1);
	mark_blocks(c, table, c->fs->inode_blocks_per_group);
	if (ext2fs_super_and_bgd_loc2(c->fs, group, &super, &old_desc, &new_desc, &used))
		return doubt(err, "group %u cannot be understood", group);
	mark_blocks(c, super, 1);
	if (old_desc)
		mark_blocks(c, old_desc,
			    (uint64_t)c->fs->desc_blocks + c->fs->super->s_reserved_gdt_blocks);
	if (new_desc)
		mark_blocks(c, new_desc, 1);
	return 0;
}

static bool is_set(const uint8_t *bitmap, uint32_t i)
{
	return bitmap[i / 8] >> (i % 8) & 1;
}

/* Mark what the bitmap of a group calls used, and count what it calls free, both in clusters. */
static uint32_t mark_bitmap(const struct counts *c, dgrp_t group, const uint8_t *bitmap)
{
	uint64_t first = ext2fs_group_first_block2(c->fs, group);
	uint32_t bits = c->fs->cluster_ratio_bits;
	uint32_t len = EXT2FS_NUM_B2C(c->fs, (uint32_t)ext2fs_group_blocks_count(c->fs, group));
	uint32_t free = 0;

	for (uint32_t i = 0, start; i < len;) {
		start = i;
		while (i < len && !is_set(bitmap, i))
			i++;
		free += i - start;
		start = i;
		while (i < len && is_set(bitmap, i))
			i++;
		if (i > start)
			mark_blocks(c, first + ((uint64_t)start << bits),
				    (uint64_t)(i - start) << bits);
	}
	return free;
}

static int map_group(struct counts *c, dgrp_t group, uint8_t *bitmap, struct err *err)
{
	uint32_t said = ext2fs_bg_free_blocks_count(c->fs, group);
	uint32_t free;
	int r = mark_metadata(c, group, err);

	if (r < 0)
		return r;
	c->free += said;
	if (ext2fs_has_group_desc_csum(c->fs) &&
	    ext2fs_bg_flags_test(c->fs, group, EXT2_BG_BLOCK_UNINIT))
		return 0;
	r = read_block(c, ext2fs_block_bitmap_loc(c->fs, group), bitmap, err);
	if (r < 0)
		return err_prefix(err, "the block bitmap of group %u", group);
	if (!c->is_past_log &&
	    !ext2fs_block_bitmap_csum_verify(c->fs, group, (char *)bitmap,
					     (int)(c->fs->super->s_clusters_per_group / 8)))
		return doubt(err, "the checksum of the block bitmap of group %u is wrong", group);
	free = mark_bitmap(c, group, bitmap);
	if (free != said && !c->is_past_log) {
		return doubt(err,
			     "the block bitmap of group %u has %u free clusters where its "
			     "descriptor says %u",
			     group, free, said);
	}
	return 0;
}

static int map_groups(struct counts *c, struct err *err)
{
	struct ext2_super_block *s = c->fs->super;
	CLEANUP_FREE uint8_t *bitmap = malloc(c->fs->blocksize);
	int r = bitmap ? 0 : err_set(err, -ENOMEM, "out of memory");

	if (r == 0 && s->s_clusters_per_group > 8 * c->fs->blocksize)
		r = doubt(err, "its groups are larger than their bitmaps");
	for (dgrp_t g = 0; r == 0 && g < c->fs->group_desc_count; g++)
		r = map_group(c, g, bitmap, err);
	if (r == 0 && !c->is_past_log &&
	    c->free != EXT2FS_B2C(c->fs, ext2fs_free_blocks_count(s))) {
		r = doubt(err,
			  "its groups have %" PRIu64
			  " free clusters where its superblock says %llu",
			  c->free, EXT2FS_B2C(c->fs, ext2fs_free_blocks_count(s)));
	}
	return r;
}

/* Before libext2fs allocates memory by these numbers. */
static int check_size(struct volume *v, struct err *err)
{
	uint8_t super[SUPER_SIZE];
	struct view s = view_of(super, sizeof(super));
	uint32_t log_size, per_group, incompat;
	uint64_t desc_size = 32;
	uint64_t blocks;
	int r = volume_read(v, super, sizeof(super), SUPER_OFFSET, err);

	if (r < 0)
		return r;
	log_size = view_le32(&s, 0x18);
	per_group = view_le32(&s, 0x20);
	incompat = view_le32(&s, 0x60);
	blocks = view_le32(&s, 0x04);
	if (incompat & EXT4_FEATURE_INCOMPAT_64BIT) {
		blocks |= (uint64_t)view_le32(&s, 0x150) << 32;
		desc_size = view_le16(&s, 0xfe);
	}
	if (log_size > 6 || blocks > volume_size(v) >> (10 + log_size))
		return doubt(err, "it is larger than the space it is in");
	if (per_group < 256 || blocks / per_group * desc_size > DESCRIPTORS_MAX)
		return doubt(err, "it has more block groups than are possible");
	return 0;
}

static int mark_journal_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t number, blk64_t referrer,
			      int place, void *ctx)
{
	const struct counts *c = ctx;

	(void)number;
	(void)referrer;
	(void)place;
	if (*block >= ext2fs_blocks_count(fs->super))
		return BLOCK_ABORT;
	mark_blocks(c, *block, 1);
	return 0;
}

/* In use in the bitmaps as well, when they are as they should be. */
static int mark_journal(struct counts *c, struct err *err)
{
	errcode_t e = 0;

	if (c->fs->super->s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL)
		e = ext2fs_block_iterate3(c->fs, c->fs->super->s_journal_inum, BLOCK_FLAG_READ_ONLY,
					  NULL, mark_journal_block, c);
	return e ? doubt(err, "its journal cannot be read: %s", error_message(e)) : 0;
}

static void fs_freep(ext2_filsys *fs)
{
	if (*fs)
		(void)ext2fs_close_free(fs); /* nothing was changed, so nothing is written */
}

static int ext_map(struct scan *s, struct place *p, struct err *err)
{
	CLEANUP(fs_freep) ext2_filsys fs = NULL;
	struct counts c = {.v = p->volume, .is_past_log = s->options->is_past_log};
	uint64_t blocks;
	int r = check_size(p->volume, err);

	if (r == 0)
		r = ext_io_open(p->volume, &fs, err);
	if (r < 0)
		return r;
	assert(fs);
	c.fs = fs;
	r = check_clean(&c, err);
	if (r == 0)
		r = map_groups(&c, err);
	if (r == 0 && c.is_past_log)
		r = mark_journal(&c, err);
	if (r < 0)
		return r;
	blocks = ext2fs_blocks_count(fs->super);
	mark_blocks(&c, 0, fs->super->s_first_data_block);
	volume_mark(p->volume, 0, SUPER_OFFSET + SUPER_SIZE);
	volume_mark(p->volume, blocks * fs->blocksize, UINT64_MAX);
	p->part.used = (blocks - ext2fs_free_blocks_count(fs->super)) * fs->blocksize;
	if (!ext2fs_has_feature_metadata_csum(fs->super) && !c.is_past_log)
		r = ext_walk(fs, p->volume, err);
	return r;
}

const struct format format_ext = {.name = "ext", .probe = ext_probe, .map = ext_map};
