/* btrfs.h - shared by the parts of the btrfs reader. */
#ifndef AGENT_USAGE_BTRFS_H
#define AGENT_USAGE_BTRFS_H
#include "agent/usage/scan.h"

#define BTRFS_CRC32C   0u
#define BTRFS_XXHASH   1u
#define BTRFS_KEY_MAX  UINT64_MAX
#define BTRFS_TREE_LOG (UINT64_MAX - 5)

/* A piece of the logical space, which is on the device once, or twice (DUP). */
struct btrfs_chunk {
	uint64_t logical, length;
	uint64_t physical[2];
	unsigned copies;
	/* Its block group: */
	bool has_group;
	uint64_t group_used; /* as the group says */
	uint64_t found;	     /* in extents */
};

struct btrfs {
	struct volume *v;
	uint32_t node_size, sector_size;
	unsigned checksum;
	uint8_t fsid[16]; /* as metadata carries it */
	uint64_t devid, device_size, generation;
	struct btrfs_chunk *chunks; /* heap; ascending and apart */
	size_t chunks_len, chunks_cap;
	bool is_past_log;
};

struct btrfs_key {
	uint64_t objectid;
	uint8_t type;
	uint64_t offset;
};

/* The root of a tree. */
struct btrfs_root {
	uint64_t logical;
	uint64_t generation;
	uint64_t owner;
	unsigned level;
};

/* What to do with an item of a leaf; `data` is its content.  Other than 0 ends the walk. */
typedef int btrfs_item_fn(struct btrfs *b, const struct btrfs_key *key, struct view *data,
			  void *ctx, struct err *err);

struct btrfs_query {
	struct btrfs_root root;
	struct btrfs_key from, to; /* both included */
	btrfs_item_fn *fn;
	void *ctx;
	bool marks_nodes; /* all copies of those on the way are in use */
};

/* Does `size` bytes with the checksum in front have the right one? */
bool btrfs_is_whole(unsigned checksum, const uint8_t *data, size_t size);
/* The chunk that has the byte, or NULL. */
struct btrfs_chunk *btrfs_find_chunk(struct btrfs *b, uint64_t logical);
/* -EUCLEAN when it overlaps another, -ENOMEM. */
int btrfs_add_chunk(struct btrfs *b, const struct btrfs_chunk *c, struct err *err) MUST_CHECK;
/* Mark the log trees that hang on `root`, 0 for none. */
int btrfs_mark_log(struct btrfs *b, uint64_t root, unsigned level, struct err *err) MUST_CHECK;
/* Call q->fn for the items, in order; each node on the way is checked.  0, or what it returned, or -EUCLEAN. */
int btrfs_each_item(struct btrfs *b, const struct btrfs_query *q, struct err *err) MUST_CHECK;
#endif
