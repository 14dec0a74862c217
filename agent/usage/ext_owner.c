/* ext_owner.c - whose are blocks of an ext filesystem: its groups say what is metadata, all inodes are asked for their blocks, then all directories for the names of
 * those that were found.  What cannot be read is passed over: this is for filesystems with holes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/usage/claims.h"
#include "agent/usage/ext.h"
#include "common/cleanup.h"

#define ASK_EVERY 4096u

struct asked {
	ext2_filsys fs;
	struct claims *c;
	ext2_ino_t ino; /* that is being asked */
	enum owner_kind kind;
	/* blocks in a row */
	uint64_t first, count;
	enum owner_kind run_kind;
	uint32_t steps;
};

static void claim_blocks(struct asked *a, uint64_t first, uint64_t count, enum owner_kind kind,
			 uint64_t number)
{
	uint64_t size = a->fs->blocksize, blocks = ext2fs_blocks_count(a->fs->super);

	if (first < blocks && count <= blocks - first)
		claims_add(a->c, first * size, count * size, kind, number);
}

static void claim_groups(struct asked *a)
{
	ext2_filsys fs = a->fs;

	claim_blocks(a, 0, 1, OWNER_METADATA, 0);
	for (dgrp_t g = 0; g < fs->group_desc_count && !claims_is_over(a->c); g++) {
		blk64_t super, old_desc, new_desc;
		blk_t used;

		claim_blocks(a, ext2fs_block_bitmap_loc(fs, g), 1, OWNER_METADATA, 0);
		claim_blocks(a, ext2fs_inode_bitmap_loc(fs, g), 1, OWNER_METADATA, 0);
		claim_blocks(a, ext2fs_inode_table_loc(fs, g), fs->inode_blocks_per_group,
			     OWNER_METADATA, 0);
		if (ext2fs_super_and_bgd_loc2(fs, g, &super, &old_desc, &new_desc, &used))
			continue;
		if (super)
			claim_blocks(a, super, 1, OWNER_METADATA, 0);
		if (old_desc) {
			claim_blocks(a, old_desc,
				     (uint64_t)fs->desc_blocks + fs->super->s_reserved_gdt_blocks,
				     OWNER_METADATA, 0);
		}
		if (new_desc)
			claim_blocks(a, new_desc, 1, OWNER_METADATA, 0);
	}
}

/* ---- inodes */

static void end_run(struct asked *a)
{
	if (a->count > 0)
		claim_blocks(a, a->first, a->count, a->run_kind, a->ino);
	a->count = 0;
}

static int on_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t number, blk64_t ref_block,
		    int ref_offset, void *ctx)
{
	struct asked *a = ctx;
	enum owner_kind kind = number < 0 ? OWNER_METADATA : a->kind;

	(void)fs;
	(void)ref_block;
	(void)ref_offset;
	if (a->count > 0 && (*block != a->first + a->count || kind != a->run_kind))
		end_run(a);
	if (a->count == 0) {
		a->first = *block;
		a->run_kind = kind;
	}
	a->count++;
	return ++a->steps % ASK_EVERY == 0 && claims_is_over(a->c) ? BLOCK_ABORT : 0;
}

static enum owner_kind kind_of(const struct asked *a, const struct ext2_inode *inode)
{
	if (a->ino == EXT2_JOURNAL_INO || a->ino == a->fs->super->s_journal_inum)
		return OWNER_JOURNAL;
	if (a->ino != EXT2_ROOT_INO && a->ino < EXT2_FIRST_INODE(a->fs->super))
		return OWNER_METADATA;
	return LINUX_S_ISDIR(inode->i_mode) ? OWNER_DIRECTORY : OWNER_FILE;
}

static void ask_inode(struct asked *a, struct ext2_inode *inode)
{
	uint64_t attributes = ext2fs_file_acl_block(a->fs, inode);

	if (inode->i_links_count == 0 && a->ino >= EXT2_FIRST_INODE(a->fs->super))
		return;
	if (attributes != 0)
		claim_blocks(a, attributes, 1, OWNER_METADATA, a->ino);
	if ((inode->i_flags & EXT4_INLINE_DATA_FL) || !ext2fs_inode_has_valid_blocks2(a->fs, inode))
		return;
	a->kind = kind_of(a, inode);
	if (ext2fs_block_iterate3(a->fs, a->ino, BLOCK_FLAG_READ_ONLY, NULL, on_block, a))
		a->c->is_partial = true;
	end_run(a);
}

typedef void inode_fn(struct asked *a, struct ext2_inode *inode);

static void each_inode(struct asked *a, inode_fn *fn)
{
	struct ext2_inode inode;
	ext2_inode_scan scan;
	unsigned bad = 0;

	if (ext2fs_open_inode_scan(a->fs, 0, &scan)) {
		a->c->is_partial = true;
		return;
	}
	while (!claims_is_over(a->c)) {
		errcode_t e = ext2fs_get_next_inode(scan, &a->ino, &inode);

		if (e) { /* goes on behind it; a scan that does not is left */
			a->c->is_partial = true;
			if (++bad > ASK_EVERY)
				break;
			continue;
		}
		if (a->ino == 0)
			break;
		fn(a, &inode);
	}
	ext2fs_close_inode_scan(scan);
}

/* ---- names */

static int on_entry(ext2_ino_t dir, int entry, struct ext2_dir_entry *e, int offset, int size,
		    char *buf, void *ctx)
{
	struct asked *a = ctx;
	int len = ext2fs_dirent_name_len(e);
	char *parent = NULL, path[8192];

	(void)offset;
	(void)size;
	(void)buf;
	if (entry != DIRENT_OTHER_FILE || !claims_wants_name(a->c, e->inode))
		return 0;
	if (ext2fs_get_pathname(a->fs, dir, 0, &parent)) {
		(void)snprintf(path, sizeof(path), "?/%.*s", len, e->name);
	} else {
		(void)snprintf(path, sizeof(path), "%s%s%.*s", parent,
			       strcmp(parent, "/") == 0 ? "" : "/", len, e->name);
		ext2fs_free_mem(&parent);
	}
	claims_set_name(a->c, e->inode, path);
	return ++a->steps % ASK_EVERY == 0 && claims_is_over(a->c) ? DIRENT_ABORT : 0;
}

static void ask_directory(struct asked *a, struct ext2_inode *inode)
{
	if (inode->i_links_count == 0 || !LINUX_S_ISDIR(inode->i_mode))
		return;
	(void)ext2fs_dir_iterate2(a->fs, a->ino, 0, NULL, on_entry, a);
}

/* Files without a name that can be found have a number. */
static void name_rest(struct asked *a)
{
	for (size_t i = 0; i < a->c->len; i++) {
		uint64_t number = a->c->items[i].number;
		char text[40];

		if (number == 0 || a->c->items[i].name || a->c->items[i].kind == OWNER_JOURNAL)
			continue;
		(void)snprintf(text, sizeof(text), "inode %" PRIu64, number);
		claims_set_name(a->c, number, number == EXT2_ROOT_INO ? "/" : text);
	}
}

void ext_claim(struct volume *v, struct claims *c)
{
	struct asked a = {.c = c};
	struct err ignored;

	if (ext_io_open(v, &a.fs, &ignored) < 0) {
		c->is_partial = true;
		return;
	}
	/* a file that is in its log alone may have what none has here */
	if (ext2fs_has_feature_journal_needs_recovery(a.fs->super))
		c->is_partial = true;
	claim_groups(&a);
	each_inode(&a, ask_inode);
	each_inode(&a, ask_directory);
	name_rest(&a);
	(void)ext2fs_close_free(&a.fs);
}
