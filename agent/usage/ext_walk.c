/* ext_walk.c - does the map contain every block of every file?
 *
 * Bounded on any image: the blocks that files refer to are counted, and there cannot be more of them than the filesystem has. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/usage/ext.h"
#include "agent/usage/scan.h"

#define EXTENT_MAGIC	 0xf30au
#define EXTENT_SIZE	 12u
#define EXTENT_DEPTH_MAX 5u
#define INIT_MAX_LEN	 32768u /* longer: not yet written, of 32768 blocks less */
#define DIRECT_BLOCKS	 12u

struct walk {
	ext2_filsys fs;
	struct volume *v;
	uint64_t blocks; /* of the filesystem */
	uint64_t found;	 /* so many have been referred to */
	ext2_ino_t ino;
	uint8_t *levels; /* a block for each level of a tree */
};

/* File `ino` uses these. */
static int refer(struct walk *w, uint64_t block, uint64_t count, struct err *err)
{
	uint64_t size = w->fs->blocksize;

	if (block >= w->blocks || count > w->blocks - block)
		return doubt(err, "inode %u names blocks outside the filesystem", w->ino);
	w->found += count;
	if (w->found > w->blocks)
		return doubt(err, "its files use more blocks than there are");
	if (!volume_is_marked(w->v, block * size, count * size)) {
		return doubt(err,
			     "inode %u uses blocks that the block bitmap calls free (block %" PRIu64
			     ")",
			     w->ino, block);
	}
	return 0;
}

static int read_node(struct walk *w, unsigned level, uint64_t block, struct err *err)
{
	int r = refer(w, block, 1, err);

	if (r < 0)
		return r;
	return volume_read(w->v, w->levels + (size_t)level * w->fs->blocksize, w->fs->blocksize,
			   block * w->fs->blocksize, err);
}

/* A node of an extent tree of `size` bytes. */
static int walk_extents(struct walk *w, const uint8_t *node, size_t size, unsigned depth_max,
			struct err *err)
{
	struct view v = view_of(node, size);
	unsigned len = view_le16(&v, 2);
	unsigned depth = view_le16(&v, 6);
	int r = 0;

	if (view_le16(&v, 0) != EXTENT_MAGIC || depth > depth_max ||
	    (len + 1u) * EXTENT_SIZE > size)
		return doubt(err, "the extents of inode %u cannot be understood", w->ino);
	for (unsigned i = 1; r == 0 && i <= len; i++) {
		size_t at = (size_t)i * EXTENT_SIZE;

		if (depth == 0) {
			uint64_t count = view_le16(&v, at + 4);

			r = refer(w, view_le32(&v, at + 8) | (uint64_t)view_le16(&v, at + 6) << 32,
				  count > INIT_MAX_LEN ? count - INIT_MAX_LEN : count, err);
			continue;
		}
		r = read_node(w, depth - 1,
			      view_le32(&v, at + 4) | (uint64_t)view_le16(&v, at + 8) << 32, err);
		if (r == 0)
			r = walk_extents(w, w->levels + (size_t)(depth - 1) * w->fs->blocksize,
					 w->fs->blocksize, depth - 1, err);
	}
	return r;
}

/* `len` block numbers; with `level` 0 those of data, else of blocks that hold such numbers. */
static int walk_numbers(struct walk *w, const uint8_t *numbers, size_t len, unsigned level,
			struct err *err)
{
	struct view v = view_of(numbers, len * 4);
	size_t i = 0;
	int r = 0;

	while (r == 0 && i < len) {
		uint32_t block = view_le32(&v, i * 4);
		size_t n = 1;

		if (block == 0) {
			i++;
			continue;
		}
		if (level > 0) {
			r = read_node(w, level - 1, block, err);
			if (r == 0) {
				r = walk_numbers(w,
						 w->levels + (size_t)(level - 1) * w->fs->blocksize,
						 w->fs->blocksize / 4, level - 1, err);
			}
		} else {
			while (i + n < len && view_le32(&v, (i + n) * 4) == block + n)
				n++;
			r = refer(w, block, n, err);
		}
		i += n;
	}
	return r;
}

/* The block numbers in an inode as they lie on the disk. */
static int walk_blocks(struct walk *w, const uint8_t *block, struct err *err)
{
	int r = walk_numbers(w, block, DIRECT_BLOCKS, 0, err);

	for (unsigned level = 1; r == 0 && level <= 3; level++)
		r = walk_numbers(w, block + 4 * (size_t)(DIRECT_BLOCKS + level - 1), 1, level, err);
	return r;
}

static bool has_blocks(const struct walk *w, struct ext2_inode *inode)
{
	if (inode->i_links_count == 0 && w->ino >= EXT2_FIRST_INODE(w->fs->super))
		return false;
	if (inode->i_flags & EXT4_INLINE_DATA_FL)
		return false;
	if (w->ino == EXT2_BAD_INO)
		return true;
	return ext2fs_inode_has_valid_blocks2(w->fs, inode);
}

static int walk_inode(struct walk *w, struct ext2_inode *inode, struct err *err)
{
	uint64_t acl = inode->i_links_count > 0 ? ext2fs_file_acl_block(w->fs, inode) : 0;
	uint8_t block[EXT2_N_BLOCKS * 4];
	int r;

	/* Several files may share one block of attributes. */
	if (acl != 0 &&
	    (acl >= w->blocks || !volume_is_marked(w->v, acl * w->fs->blocksize, w->fs->blocksize)))
		return doubt(err, "inode %u has attributes in a block that is not in use", w->ino);
	if (!has_blocks(w, inode))
		return 0;
	/* libext2fs leaves i_block as it is on little-endian machines, and swaps it on others unless it holds extents. */
	for (size_t i = 0; i < EXT2_N_BLOCKS; i++) {
		uint32_t n = inode->i_flags & EXT4_EXTENTS_FL
				     ? inode->i_block[i]
				     : ext2fs_cpu_to_le32(inode->i_block[i]);

		memcpy(block + i * 4, &n, 4);
	}
	if (inode->i_flags & EXT4_EXTENTS_FL) {
		r = walk_extents(w, block, sizeof(block), EXTENT_DEPTH_MAX, err);
	} else {
		r = walk_blocks(w, block, err);
	}
	return r;
}

static int walk_inodes(struct walk *w, ext2_inode_scan scan, struct err *err)
{
	int r = 0;

	while (r == 0) {
		struct ext2_inode inode;
		errcode_t e = ext2fs_get_next_inode(scan, &w->ino, &inode);

		if (e)
			return doubt(err, "inode %u cannot be read: %s", w->ino, error_message(e));
		if (w->ino == 0)
			return 0;
		r = walk_inode(w, &inode, err);
	}
	return r;
}

int ext_walk(ext2_filsys fs, struct volume *v, struct err *err)
{
	struct walk w = {.fs = fs, .v = v, .blocks = ext2fs_blocks_count(fs->super)};
	CLEANUP_FREE uint8_t *levels = calloc(EXTENT_DEPTH_MAX, fs->blocksize);
	ext2_inode_scan scan;
	errcode_t e;
	int r;

	if (!levels)
		return err_set(err, -ENOMEM, "out of memory");
	w.levels = levels;
	e = ext2fs_open_inode_scan(fs, 0, &scan);
	if (e)
		return doubt(err, "its inodes cannot be read: %s", error_message(e));
	r = walk_inodes(&w, scan, err);
	ext2fs_close_inode_scan(scan);
	return r;
}
