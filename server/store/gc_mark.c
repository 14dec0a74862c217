/* gc_mark.c - the marking half of store_gc; the order is explained in gc.c.
 *
 * An index that has lost a row looks like a store that has lost an object, and only the first can be mended.  So nothing is removed while a root that is
 * not known to be damaged lacks anything, nor when a row was seen to be wrong. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/gc.h"
#include "server/store/internal.h"
#include "server/store/partial.h"

/* ---- may anything be removed? */

/* What lies in a pack that cannot be read has no marks: nobody may take it for unused. */
int gc_check_readable(struct gc *g, struct err *err)
{
	uint64_t n = unreadable_count(g->s);

	if (n == 0)
		return 0;
	return err_set(err, -EIO,
		       "nothing was removed: %" PRIu64
		       " packs cannot be read, so what is in use is "
		       "not known; see to the storage",
		       n);
}

/* Nor for lost what the index only does not find any more. */
int gc_check_index(struct gc *g, struct err *err)
{
	bool is_bad;

	(void)pthread_mutex_lock(&g->s->lock);
	is_bad = g->s->is_index_bad || g->s->bad_rows != g->bad_rows || g->collector.is_index_bad;
	(void)pthread_mutex_unlock(&g->s->lock);
	if (!is_bad)
		return 0;
	return err_set(err, -EUCLEAN,
		       "nothing was removed: the object index is damaged, so what is in use is not "
		       "known; start the server with --rebuild-index");
}

/* ---- marking */

/* Looking them up marks them: see objects_find. */
static int mark_nodes(struct gc *g, const struct id *ids, size_t len, struct err *err)
{
	int r = objects_find(g->s, PACK_NODES, ids, len, g->places, err);

	return r < 0 ? r : progress_add(&g->progress, 0, err);
}

/* By a root that must not lack anything. */
static void set_needed(struct gc *g, const struct place *p)
{
	uint64_t bit = g->collector.marks.first[p->pack] + p->slot;

	g->needed[bit / 8] |= (uint8_t)(1u << (bit % 8));
}

static bool is_needed(const struct gc *g, uint32_t pack, uint32_t slot)
{
	uint64_t bit = g->collector.marks.first[pack] + slot;

	return g->needed[bit / 8] >> (bit % 8) & 1;
}

static bool is_any_needed(const struct gc *g, uint32_t pack, const uint32_t *slots, size_t len)
{
	bool is_any = false;

	for (size_t i = 0; i < len && !is_any; i++)
		is_any = is_needed(g, pack, slots[i]);
	return is_any;
}

static int mark_of_root(void *arg, uint64_t first, const struct id *ids, size_t len,
			struct err *err)
{
	struct gc *g = arg;
	int r = mark_nodes(g, ids, len, err);

	(void)first;
	for (size_t i = 0; r == 0 && !g->root->may_lack && i < len; i++) {
		if (marks_covers(&g->collector.marks, &g->places[i]))
			set_needed(g, &g->places[i]);
		else if (g->places[i].pack == 0)
			r = gc_lose_node(g, &ids[i], err);
	}
	return r;
}

static int mark_of_partial(void *arg, const struct id *ids, size_t len, struct err *err)
{
	return mark_nodes(arg, ids, len, err);
}

static int mark_root(struct gc *g, struct err *err)
{
	char text[ID_TEXT_SIZE];
	struct err why;
	int r = upkeep_each_node(g->s, &g->root->id, mark_of_root, g, &why);

	if (r == -ENOENT && g->root->may_lack_index)
		return 0;
	if (r == -ENOENT || r == -EBADMSG)
		return gc_lose_index(g, &why, err);
	if (r < 0)
		*err = why;
	if (r == 0 || r == -ECANCELED)
		return r;
	id_to_text(&g->root->id, text);
	return err_prefix(err,
			  "nothing was removed, since the index %s, which is in use, could not be "
			  "read",
			  text);
}

static int mark_roots(struct gc *g, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->roots_len; i++) {
		g->root = &g->roots[i];
		r = mark_root(g, err);
	}
	return r;
}

/* ---- chunks of marked nodes */

static int note_incomplete(struct gc *g, uint32_t pack, uint32_t slot, uint32_t length,
			   struct err *err)
{
	struct place *p = reallocarray(g->incomplete, g->incomplete_len + 1, sizeof(*p));

	if (!p)
		return err_set(err, -ENOMEM, "gc: out of memory");
	g->incomplete = p;
	p[g->incomplete_len++] = (struct place){.pack = pack, .slot = slot, .length = length};
	return 0;
}

/* The marked nodes of a pack that were not expanded yet; they count as expanded from now on. */
static size_t take_unexpanded(struct gc *g, uint32_t pack, uint32_t *ret_slots)
{
	struct collector *c = &g->collector;
	uint32_t count = marks_count(&c->marks, pack);
	size_t n = 0;

	(void)pthread_mutex_lock(&g->s->lock);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t bit = c->marks.first[pack] + i;
		uint8_t mask = (uint8_t)(1u << (bit % 8));

		if (!marks_has(&c->marks, pack, i) || (c->expanded[bit / 8] & mask))
			continue;
		c->expanded[bit / 8] |= mask;
		ret_slots[n++] = i;
	}
	(void)pthread_mutex_unlock(&g->s->lock);
	return n;
}

static int expand_slots(struct gc *g, struct loaded *l, const uint32_t *slots, size_t len,
			struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		const struct pack_entry *e = &l->pack.entries[slots[i]];
		const uint8_t *data;

		r = pack_object(g->s, l, slots[i], &e->id, &data, err);
		if (r == 0)
			r = node_decode(data, e->length, g->node, err);
		if (r == 0)
			r = objects_check_node(g->s, g->node, err); /* which marks the chunks */
		if (r != -ENODATA)
			continue;
		r = note_incomplete(g, l->row.num, slots[i], e->length, err);
		if (r == 0 && is_needed(g, l->row.num, slots[i]))
			r = gc_lose_node(g, &e->id, err);
	}
	return r;
}

static int expand_pack(struct gc *g, uint32_t pack, bool *ret_any, struct err *err)
{
	uint32_t slots[PACK_COUNT_MAX];
	struct loaded *l = NULL;
	size_t len = take_unexpanded(g, pack, slots);
	int r;

	if (len == 0)
		return 0;
	*ret_any = true;
	r = pack_load(g->s, pack, LOAD_PLAIN, &l, err);
	if (r == 0)
		r = expand_slots(g, l, slots, len, err);
	loaded_free(l);
	if (r == -EAGAIN && !is_any_needed(g, pack, slots, len))
		return 0; /* somebody else found it damaged */
	if (r == -EAGAIN)
		r = err_set(err, -EBADMSG, "somebody else found them damaged just now");
	if (r == -EBADMSG || r == -EIO)
		return err_prefix(err, "nothing was removed, since nodes in use could not be read");
	return r < 0 ? r : progress_add(&g->progress, g->collector.marks.sizes[pack], err);
}

static int expand(struct gc *g, struct err *err)
{
	const struct marks *m = &g->collector.marks;
	bool is_any = true;
	int r = 0;

	while (r == 0 && is_any) {
		is_any = false;
		for (uint32_t i = 0; r == 0 && i < m->len; i++)
			if (m->kinds[i] == PACK_NODES)
				r = expand_pack(g, i, &is_any, err);
	}
	return r;
}

static int expand_fresh(struct gc *g, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->fresh_len; i++) {
		r = store_get_node(g->s, &g->fresh[i], g->node, err);
		if (r == 0)
			r = objects_check_node(g->s, g->node, err);
		if (r == -ENOENT || r == -EBADMSG || r == -ENODATA)
			r = 0; /* it went with a checkpoint that failed, or was found damaged */
	}
	return r;
}

/* Nodes in use that lack a chunk are of no use: the next capture sends them again. */
static void unmark_incomplete(struct gc *g)
{
	(void)pthread_mutex_lock(&g->s->lock);
	for (size_t i = 0; i < g->incomplete_len; i++)
		marks_remove(&g->collector.marks, &g->incomplete[i]);
	(void)pthread_mutex_unlock(&g->s->lock);
}

/* Partials before the roots are asked for: one that is gone when we look is named by the caller's roots. */
int gc_mark(struct gc *g, store_roots_fn roots, void *arg, struct err *err)
{
	int r = partials_each_id(g->s, mark_of_partial, g, err);

	if (r == 0)
		r = roots(arg, &g->roots, &g->roots_len, err);
	if (r == 0)
		r = mark_roots(g, err);
	if (r == 0)
		r = expand(g, err);
	if (r == 0)
		r = expand_fresh(g, err);
	if (r == 0)
		r = gc_check_lost(g, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&g->s->lock);
	g->collector.nodes_are_closed = true;
	(void)pthread_mutex_unlock(&g->s->lock);
	r = expand(g, err);
	if (r == 0)
		r = gc_check_lost(g, err);
	if (r == 0)
		r = gc_check_readable(g, err);
	if (r == 0)
		r = gc_check_index(g, err);
	unmark_incomplete(g);
	return r;
}
