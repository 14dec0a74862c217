/* node.h - what a window is made of, docs/formats.md "Node". */
#ifndef COMMON_NODE_H
#define COMMON_NODE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/limits.h"

struct node_entry {
	struct id id;	 /* of the chunk; all zero for a zero run */
	uint32_t offset; /* in the window */
	uint32_t length;
	bool is_chunk;
};

struct node {
	uint32_t length; /* of the window */
	uint32_t count;
	struct node_entry entries[NODE_ENTRIES_MAX]; /* about 44 KiB: not for small stacks */
};

/* Encode; `buf` holds NODE_SIZE_MAX.  Returns the size.  The node is valid (our own). */
size_t node_encode(const struct node *n, uint8_t *buf);
/* Decode and validate all that the format demands.  -EPROTO with the field. */
int node_decode(const void *data, size_t size, struct node *ret, struct err *err) MUST_CHECK;
/* Bytes of chunks in it. */
uint64_t node_data_bytes(const struct node *n);

/* A window of `length` bytes that is all zeros, as node_cut would give it. */
void node_set_zero(struct node *ret, uint32_t length);
/* Cut a window of `length` bytes at `data` (docs/formats.md "How a window is cut") and hash its chunks. */
void node_cut(const void *data, uint32_t length, struct node *ret);
/* The same without hashing: the ids are zero. */
void node_cut_only(const void *data, uint32_t length, struct node *ret);
/* Does `data` (n->length bytes) hold what the node says?  Uses the node's own cut, whatever rule made it.
 * `ret_bad` (may be NULL): number of the first entry that differs. */
bool node_matches(const struct node *n, const void *data, uint32_t *ret_bad);
#endif
