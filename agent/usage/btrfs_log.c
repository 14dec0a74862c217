/* btrfs_log.c - the log trees of fsync: in use, and in no extent.  fs/btrfs/tree-log.c in Linux.
 *
 * The superblock names a tree of their roots, one for each subvolume; its generation is that of the transaction which never ended.  What files
 * got since is not looked for here: it is in extents when the log has been replayed. */
#include "agent/usage/btrfs.h"

#define KEY_ROOT 132u

static const struct btrfs_key first = {0, 0, 0};
static const struct btrfs_key last = {BTRFS_KEY_MAX, UINT8_MAX, BTRFS_KEY_MAX};

static int any_item(struct btrfs *b, const struct btrfs_key *key, struct view *data, void *ctx,
		    struct err *err)
{
	(void)b;
	(void)key;
	(void)data;
	(void)ctx;
	(void)err;
	return 0;
}

static int log_item(struct btrfs *b, const struct btrfs_key *key, struct view *data, void *ctx,
		    struct err *err)
{
	struct btrfs_query q = {
		.root = {view_le64(data, 176), view_le64(data, 160), key->objectid,
			 view_u8(data, 238)},
		.from = first,
		.to = last,
		.fn = any_item,
		.marks_nodes = true,
	};

	(void)ctx;
	return key->type == KEY_ROOT ? btrfs_each_item(b, &q, err) : 0;
}

int btrfs_mark_log(struct btrfs *b, uint64_t root, unsigned level, struct err *err)
{
	struct btrfs_query q = {
		.root = {root, b->generation + 1, BTRFS_TREE_LOG, level},
		.from = first,
		.to = last,
		.fn = log_item,
		.marks_nodes = true,
	};

	return root == 0 ? 0 : btrfs_each_item(b, &q, err);
}
