/* gc.h - one run of store_gc. */
#ifndef SERVER_STORE_GC_H
#define SERVER_STORE_GC_H
#include <stddef.h>
#include <stdint.h>

#include "common/node.h"
#include "server/store/collector.h"
#include "server/store/store.h"
#include "server/store/upkeep.h"

struct gc {
	struct store *s;
	struct progress progress;
	struct collector collector;
	struct gc_result result;
	struct gc_root *roots; /* in use */
	size_t roots_len;
	const struct gc_root *root; /* whose nodes are marked now */
	struct id lost_node;	    /* of a root that may lack nothing; or zero */
	uint8_t *
		needed; /* a bit for each object as in the marks: nodes that must have all their chunks */
	struct id *fresh; /* nodes that no checkpoint covered at the beginning */
	size_t fresh_len;
	struct place *incomplete; /* nodes in use that lack a chunk */
	size_t incomplete_len;
	uint64_t losses, bad_rows; /* the store's, at the beginning */
	struct node *node;
	struct place *places; /* UPKEEP_BATCH */
};

/* Is it known what is in use?  -EIO, -EUCLEAN */
int gc_check_readable(struct gc *g, struct err *err) MUST_CHECK;
int gc_check_index(struct gc *g, struct err *err) MUST_CHECK;
/* Mark what is in use, and close the nodes: gc_mark.c. */
int gc_mark(struct gc *g, store_roots_fn roots, void *arg, struct err *err) MUST_CHECK;
/* The nodes are closed and all that is in use is marked: remove the rest. */
int gc_sweep(struct gc *g, struct err *err) MUST_CHECK;
/* Packs of which little is used: gc_rewrite.c. */
int gc_rewrite(struct gc *g, struct err *err) MUST_CHECK;
/* Take packs out of the index that have `bytes` of marked objects (and no more since), durably, then remove their files. */
struct gc_doomed {
	uint32_t num;
	uint32_t bytes;
	uint32_t kept; /* objects that are elsewhere now */
};
int gc_remove_packs(struct gc *g, const struct gc_doomed *doomed, size_t len, uint64_t *ret_removed,
		    struct err *err) MUST_CHECK;
#endif
