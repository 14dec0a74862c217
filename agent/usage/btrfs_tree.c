/* btrfs_tree.c - chunks (where logical addresses are on the device), and B-trees.
 *
 * A node is checked for its checksum, and for being the one that its parent meant: address, level, generation, tree.  Keys must ascend
 * through the whole walk, so that no tree of nodes that point to one another makes it long. */
#include <inttypes.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "agent/usage/btrfs.h"
#include "agent/usage/crc32c.h"
#include "common/grow.h"

#define CHECKSUM_SIZE 32u
#define HEADER_SIZE   101u
#define ITEM_SIZE     25u
#define POINTER_SIZE  33u
#define LEVELS_MAX    8u

bool btrfs_is_whole(unsigned checksum, const uint8_t *data, size_t size)
{
	struct view v = view_of(data, size);

	if (checksum == BTRFS_XXHASH)
		return checksum_is_right(XXH64(data + CHECKSUM_SIZE, size - CHECKSUM_SIZE, 0),
					 view_le64(&v, 0));
	return checksum_is_right(crc32c(0, data + CHECKSUM_SIZE, size - CHECKSUM_SIZE),
				 view_le32(&v, 0));
}

/* The first chunk that ends after `logical`. */
static size_t find(const struct btrfs *b, uint64_t logical)
{
	size_t low = 0;
	size_t high = b->chunks_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (b->chunks[mid].logical + b->chunks[mid].length > logical) {
			high = mid;
		} else {
			low = mid + 1;
		}
	}
	return low;
}

struct btrfs_chunk *btrfs_find_chunk(struct btrfs *b, uint64_t logical)
{
	size_t i = find(b, logical);

	return i < b->chunks_len && b->chunks[i].logical <= logical ? &b->chunks[i] : NULL;
}

int btrfs_add_chunk(struct btrfs *b, const struct btrfs_chunk *c, struct err *err)
{
	size_t i = find(b, c->logical);
	struct btrfs_chunk *chunks;

	if (i < b->chunks_len && b->chunks[i].logical == c->logical &&
	    b->chunks[i].length == c->length && b->chunks[i].physical[0] == c->physical[0])
		return 0; /* from the superblock as well */
	if (i < b->chunks_len && b->chunks[i].logical < c->logical + c->length)
		return doubt(err, "two of its chunks overlap");
	chunks = grow(b->chunks, b->chunks_len, &b->chunks_cap, sizeof(*chunks));
	if (!chunks)
		return err_set(err, -ENOMEM, "out of memory");
	b->chunks = chunks;
	memmove(b->chunks + i + 1, b->chunks + i, (b->chunks_len - i) * sizeof(*b->chunks));
	b->chunks[i] = *c;
	b->chunks_len++;
	return 0;
}

static int compare(const struct btrfs_key *a, const struct btrfs_key *b)
{
	if (a->objectid != b->objectid)
		return a->objectid < b->objectid ? -1 : 1;
	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static struct btrfs_key read_key(struct view *v, size_t at)
{
	return (struct btrfs_key){view_le64(v, at), view_u8(v, at + 8), view_le64(v, at + 9)};
}

struct walk {
	struct btrfs *b;
	const struct btrfs_query *q;
	struct btrfs_key next; /* the least that the next item's key may be */
	bool is_over;	       /* no key may come after `next` */
	uint8_t *nodes;	       /* one for each level */
};

static int read_node(struct walk *w, uint64_t logical, unsigned level, uint64_t generation,
		     struct err *err)
{
	struct btrfs *b = w->b;
	const struct btrfs_chunk *c = btrfs_find_chunk(b, logical);
	uint8_t *node = w->nodes + (size_t)level * b->node_size;
	struct view v = view_of(node, b->node_size);
	int r;

	if (!c || b->node_size > c->logical + c->length - logical)
		return doubt(err, "a tree leads outside of all chunks");
	r = volume_read(b->v, node, b->node_size, c->physical[0] + (logical - c->logical), err);
	if (r < 0)
		return r;
	if (!btrfs_is_whole(b->checksum, node, b->node_size))
		return doubt(err, "the checksum of a node of tree %" PRIu64 " is wrong",
			     w->q->root.owner);
	if (view_le64(&v, 48) != logical || !view_is(&v, 32, b->fsid, 16) ||
	    view_le64(&v, 80) != generation || view_le64(&v, 88) != w->q->root.owner ||
	    view_u8(&v, 100) != level)
		return doubt(err, "a node of tree %" PRIu64 " is not the one that was meant",
			     w->q->root.owner);
	for (unsigned i = 0; w->q->marks_nodes && i < c->copies; i++)
		volume_mark(b->v, c->physical[i] + (logical - c->logical), b->node_size);
	return 0;
}

static bool follow(struct walk *w, const struct btrfs_key *key)
{
	if (w->is_over || compare(key, &w->next) < 0)
		return false;
	w->next = *key;
	if (++w->next.offset == 0 && ++w->next.type == 0)
		w->is_over = ++w->next.objectid == 0;
	return true;
}

static int walk_leaf(struct walk *w, struct err *err)
{
	struct view v = view_of(w->nodes, w->b->node_size);
	uint32_t len = view_le32(&v, 96);
	int r = 0;

	if (len > (w->b->node_size - HEADER_SIZE) / ITEM_SIZE)
		return doubt(err, "a leaf of tree %" PRIu64 " is overfull", w->q->root.owner);
	for (uint32_t i = 0; r == 0 && i < len; i++) {
		size_t at = HEADER_SIZE + (size_t)i * ITEM_SIZE;
		struct btrfs_key key = read_key(&v, at);
		uint32_t size = view_le32(&v, at + 21);
		const uint8_t *p =
			view_bytes(&v, HEADER_SIZE + (size_t)view_le32(&v, at + 17), size);
		struct view data = view_of(p, p ? size : 0);

		if (!follow(w, &key) || !p)
			return doubt(err, "a leaf of tree %" PRIu64 " is out of order",
				     w->q->root.owner);
		if (compare(&key, &w->q->from) < 0)
			continue;
		if (compare(&key, &w->q->to) > 0)
			return 0;
		r = w->q->fn(w->b, &key, &data, w->q->ctx, err);
		if (r == 0 && data.bad)
			r = doubt(err, "an item of tree %" PRIu64 " is too short",
				  w->q->root.owner);
	}
	return r;
}

static int walk_node(struct walk *w, uint64_t logical, unsigned level, uint64_t generation,
		     struct err *err)
{
	struct view v = view_of(w->nodes + (size_t)level * w->b->node_size, w->b->node_size);
	int r = read_node(w, logical, level, generation, err);
	uint32_t len;

	if (r < 0)
		return r;
	if (level == 0)
		return walk_leaf(w, err);
	len = view_le32(&v, 96);
	if (len == 0 || len > (w->b->node_size - HEADER_SIZE) / POINTER_SIZE)
		return doubt(err, "a node of tree %" PRIu64 " is overfull", w->q->root.owner);
	for (uint32_t i = 0; r == 0 && i < len; i++) {
		size_t at = HEADER_SIZE + (size_t)i * POINTER_SIZE;
		struct btrfs_key key = read_key(&v, at);
		struct btrfs_key after = i + 1 < len ? read_key(&v, at + POINTER_SIZE) : key;

		if (i + 1 < len && compare(&after, &key) <= 0)
			return doubt(err, "a node of tree %" PRIu64 " is out of order",
				     w->q->root.owner);
		if (i + 1 < len && compare(&after, &w->q->from) <= 0)
			continue;
		if (compare(&key, &w->q->to) > 0)
			break;
		if (compare(&key, &w->next) < 0 && compare(&key, &w->q->from) > 0)
			return doubt(err, "a node of tree %" PRIu64 " is out of order",
				     w->q->root.owner);
		r = walk_node(w, view_le64(&v, at + 17), level - 1, view_le64(&v, at + 25), err);
	}
	return r;
}

int btrfs_each_item(struct btrfs *b, const struct btrfs_query *q, struct err *err)
{
	struct walk w = {.b = b, .q = q};
	CLEANUP_FREE uint8_t *nodes = NULL;

	if (q->root.level >= LEVELS_MAX)
		return doubt(err, "tree %" PRIu64 " has %u levels", q->root.owner, q->root.level);
	nodes = calloc(q->root.level + 1ul, b->node_size);
	if (!nodes)
		return err_set(err, -ENOMEM, "out of memory");
	w.nodes = nodes;
	return walk_node(&w, q->root.logical, q->root.level, q->root.generation, err);
}
