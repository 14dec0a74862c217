/* gc.h - one run of store_gc. */
#ifndef SERVER_STORE_GC_H
#define SERVER_STORE_GC_H
#include <stddef.h>
#include <stdint.h>

#include "common/node.h"
#include "server/store/collector.h"
#include "server/store/store.h"
#include "server/store/upkeep.h"

/* Gathered, so that all of it is said at once. */
struct gc_lost {
	struct id *
		nodes; /* that are not there, or of which a chunk is not; with repetitions, and no more than GC_LOST_MAX */
	size_t nodes_len, nodes_cap;
	uint8_t *flaws; /* of each root; NULL: of none */
#define GC_LOST_NODES 1u
#define GC_LOST_INDEX 2u
	struct err index; /* what became of the first index */
};

struct gc {
	struct store *s;
	struct progress progress;
	struct collector collector;
	struct gc_result result;
	struct gc_root *roots; /* in use */
	size_t roots_len;
	const struct gc_root *root; /* whose nodes are marked now */
	struct gc_lost lost;	    /* of roots that may lack nothing */
	uint8_t *
		needed; /* a bit for each object as in the marks: nodes that must have all their chunks */
	struct id *fresh; /* nodes that no checkpoint covered at the beginning */
	size_t fresh_len;
	struct place *incomplete; /* nodes in use that lack a chunk */
	size_t incomplete_len;
	uint64_t losses, bad_rows; /* the store's, at the beginning */
	struct err
		damaged; /* the first pack in use that turned out damaged, or cannot be read, when it was to be written anew */
	uint64_t damaged_len;
	struct node *node;
	struct place *places; /* UPKEEP_BATCH */
};

/* Is it known what is in use?  -EIO, -EUCLEAN */
int gc_check_readable(struct gc *g, struct err *err) MUST_CHECK;
int gc_check_index(struct gc *g, struct err *err) MUST_CHECK;
/* gc_lost.c: g->root needs it, or, of a node, some root. */
int gc_lose_node(struct gc *g, const struct id *node, struct err *err) MUST_CHECK;
int gc_lose_index(struct gc *g, const struct err *why, struct err *err) MUST_CHECK;
/* Has any been lost?  -EBADMSG: nothing may be removed, and whose it is */
int gc_check_lost(struct gc *g, struct err *err) MUST_CHECK;
void gc_lost_done(struct gc_lost *l);
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
