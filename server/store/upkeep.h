/* upkeep.h - what store_verify and store_gc have in common. */
#ifndef SERVER_STORE_UPKEEP_H
#define SERVER_STORE_UPKEEP_H
#include <stddef.h>
#include <stdint.h>

#include "server/store/store.h"

#define UPKEEP_BATCH 4096u /* node ids at a time */

struct progress {
	store_progress_fn fn; /* may be NULL */
	void *arg;
	uint64_t done, total; /* bytes */
};

/* `size` bytes more are done: tells the caller.  -ECANCELED */
int progress_add(struct progress *p, uint64_t size, struct err *err) MUST_CHECK;

/* One of them at a time: waits for the other.  -ECANCELED */
int upkeep_begin(struct store *s, struct progress *p, struct err *err) MUST_CHECK;
void upkeep_end(struct store *s);

/* The node ids of a disk, `len` windows from `first` on. */
typedef int (*upkeep_nodes_fn)(void *arg, uint64_t first, const struct id *ids, size_t len,
			       struct err *err);
/* All of them, from an index that hashes to its name; `fn` < 0 ends it.  -ENOENT, -EBADMSG: of the index. */
int upkeep_each_node(struct store *s, const struct id *root, upkeep_nodes_fn fn, void *arg,
		     struct err *err) MUST_CHECK;
#endif
