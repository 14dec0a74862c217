/* collector.h - how store_gc and the rest of the store, which goes on working, agree on what stays. */
#ifndef SERVER_STORE_COLLECTOR_H
#define SERVER_STORE_COLLECTOR_H
#include <stdbool.h>
#include <stdint.h>

#include "server/store/marks.h"

/* Guarded by the store's lock.  Packs with a number beyond the marks came after gc began, and stay whole. */
struct collector {
	struct marks marks;
	uint8_t *expanded; /* a bit for each object as in marks: nodes whose chunks were marked */
	bool nodes_are_closed; /* from now on a node that is not marked is not there */
	bool is_index_bad; /* an object lies where its pack, by the list of packs, has none of its kind */
};

/* Somebody was told, or is about to be, that this object is there: it stays.  False: too late, it goes. */
static inline bool collector_keep(struct collector *c, enum pack_kind kind, const struct place *p)
{
	if (!marks_fit(&c->marks, kind, p))
		c->is_index_bad = true;
	if (!marks_covers(&c->marks, p))
		return true;
	if (kind == PACK_NODES && c->nodes_are_closed)
		return marks_has(&c->marks, p->pack, p->slot);
	(void)marks_add(&c->marks, p);
	return true;
}

/* It was entered into a pack that was there already; its chunks, if it has any, have marks. */
static inline void collector_enter(struct collector *c, const struct place *p)
{
	if (marks_covers(&c->marks, p))
		(void)marks_add(&c->marks, p);
}
#endif
