/* partial.h - partial indexes, as the store's own parts see them. */
#ifndef SERVER_STORE_PARTIAL_H
#define SERVER_STORE_PARTIAL_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/store/store.h"

#define PARTIAL_TAIL	  ".partial"
#define PARTIAL_NAME_SIZE 256
#define PARTIAL_BATCH	  4096u /* windows read at a time */

struct partial {
	struct partial *next;
	struct store *store;
	uint64_t disk_size;
	int fd;
	atomic_bool is_dirty;
	atomic_int failure; /* negative errno: the file is of no use any more */
	bool is_open;	    /* the store's lock guards this and the next */
	unsigned users;	    /* checkpoints that sync it */
	uint64_t round;	    /* the last one that did; write_lock */
	char key[];
};

/* Node ids of `count` windows from `first` on. */
int partial_read(struct partial *p, uint64_t first, uint32_t count, struct id *ret,
		 struct err *err) MUST_CHECK;
/* Remember that this root belongs to the partial, until that is removed. */
int partial_note_sealed(struct partial *p, const struct id *root, struct err *err) MUST_CHECK;

/* Every node id in every partial, open or not, in batches; `fn` < 0 ends it. */
typedef int (*partial_ids_fn)(void *arg, const struct id *ids, size_t len, struct err *err);
int partials_each_id(struct store *s, partial_ids_fn fn, void *arg, struct err *err) MUST_CHECK;
/* Of what was sealed, forget what is over.  With the store's lock. */
void partials_forget_sealed(struct store *s);
#endif
