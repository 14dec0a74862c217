/* gc.c - what nobody needs goes.
 *
 * Captures go on meanwhile.  They and we meet in the collector (collector.h): whoever is told that an object is there, marks it.  The order
 * of things keeps the promise that a node that is there has all its chunks:
 *   1. mark what the partial indexes and the roots name: nodes, and by them chunks;
 *   2. close the nodes: from here on a node without a mark is not there, so no more of the old ones get marks;
 *   3. mark the chunks of nodes that were marked until then; drop the other nodes from the index, durably;
 *   4. only then, pack by pack: no marks - it goes; few - what is marked is written anew, and when that is durable it goes.  A mark may still come
 *      until the moment the pack is taken out of the index, and keeps it.
 * A pack's file is removed after the index has forgotten it: killed in between, the next start takes it in again. */
#include "server/store/gc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"
#include "server/store/partial.h"

static void gc_done(struct gc *g)
{
	marks_done(&g->collector.marks);
	free(g->collector.expanded);
	free(g->roots);
	free(g->fresh);
	free(g->incomplete);
	free(g->node);
	free(g->places);
}

/* ---- beginning */

/* Nodes that no checkpoint covers when the collector is put in place: they are looked at like marked ones, since whoever
 * put them looked at their chunks before there was anything to mark them in. */
static int note_fresh_nodes(struct gc *g, struct err *err)
{
	const struct generation *c = &g->s->current;

	g->fresh = calloc(c->len + 1, sizeof(*g->fresh));
	if (!g->fresh)
		return err_set(err, -ENOMEM, "gc: out of memory");
	for (size_t i = 0; i < c->cap; i++)
		if (c->table[i].place.pack != 0 && c->table[i].kind == PACK_NODES)
			g->fresh[g->fresh_len++] = c->table[i].id;
	return 0;
}

/* With write_lock held: nothing moves from memory into objects.db while the marks are made for what is in there. */
static int install(struct gc *g, struct err *err)
{
	struct collector *c = &g->collector;
	struct store *s = g->s;
	int r = recent_merge(s, true, err); /* rows are going to be swept from the tables */

	if (r == 0)
		r = marks_init(&c->marks, s, err);
	if (r < 0)
		return r;
	c->expanded = calloc(c->marks.first[c->marks.len] / 8 + 1, 1);
	if (!c->expanded)
		return err_set(err, -ENOMEM, "gc: out of memory");
	(void)pthread_mutex_lock(&s->lock);
	r = note_fresh_nodes(g, err);
	if (r == 0) {
		s->collector = c;
		s->epoch++; /* who is about to put a node looks at its chunks again, and marks them */
		g->losses = s->losses;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

static int begin(struct gc *g, struct err *err)
{
	int r;

	g->node = malloc(sizeof(*g->node));
	g->places = calloc(UPKEEP_BATCH, sizeof(*g->places));
	if (!g->node || !g->places)
		return err_set(err, -ENOMEM, "gc: out of memory");
	r = store_checkpoint(g->s, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&g->s->write_lock);
	r = install(g, err);
	(void)pthread_mutex_unlock(&g->s->write_lock);
	for (uint32_t i = 0; r == 0 && i < g->collector.marks.len; i++)
		g->progress.total += g->collector.marks.sizes[i];
	return r;
}

static void end(struct gc *g)
{
	(void)pthread_mutex_lock(&g->s->lock);
	g->s->collector = NULL;
	partials_forget_sealed(g->s);
	(void)pthread_mutex_unlock(&g->s->lock);
}

/* ---- marking */

/* Looking them up marks them: see objects_find. */
static int mark_nodes(struct gc *g, const struct id *ids, size_t len, struct err *err)
{
	int r = objects_find(g->s, PACK_NODES, ids, len, g->places, err);

	return r < 0 ? r : progress_add(&g->progress, 0, err);
}

static int mark_of_root(void *arg, uint64_t first, const struct id *ids, size_t len,
			struct err *err)
{
	(void)first;
	return mark_nodes(arg, ids, len, err);
}

static int mark_of_partial(void *arg, const struct id *ids, size_t len, struct err *err)
{
	return mark_nodes(arg, ids, len, err);
}

static int mark_roots(struct gc *g, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < g->roots_len; i++) {
		char text[ID_TEXT_SIZE];

		r = upkeep_each_node(g->s, &g->roots[i], mark_of_root, g, err);
		if (r < 0 && r != -ECANCELED) {
			id_to_text(&g->roots[i], text);
			return err_prefix(
				err,
				"nothing was removed, since the index %s, which is in use, "
				"could not be read",
				text);
		}
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
		if (r == -ENODATA)
			r = note_incomplete(g, l->row.num, slots[i], e->length, err);
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
	if (r == -EAGAIN)
		return 0; /* somebody else found it damaged */
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

/* What lies in a pack that cannot be read has no marks: nobody may take it for unused. */
static int check_readable(struct gc *g, struct err *err)
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

/* Partials before the roots are asked for: one that is gone when we look is named by the caller's roots. */
static int mark_all(struct gc *g, store_roots_fn roots, void *arg, struct err *err)
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
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&g->s->lock);
	g->collector.nodes_are_closed = true;
	(void)pthread_mutex_unlock(&g->s->lock);
	r = expand(g, err);
	if (r == 0)
		r = check_readable(g, err);
	unmark_incomplete(g);
	return r;
}

static int run(struct gc *g, store_roots_fn roots, void *arg, struct err *err)
{
	struct err ignored;
	int r;

	(void)!unreadable_retry(g->s, &ignored); /* the next line says what is left */
	r = check_readable(g, err);
	if (r == 0)
		r = begin(g, err);
	if (r == 0)
		r = mark_all(g, roots, arg, err);
	if (r == 0)
		r = gc_sweep(g, err);
	end(g);
	return r;
}

int store_gc(struct store *s, store_roots_fn roots, store_progress_fn fn, void *arg,
	     struct gc_result *ret, struct err *err)
{
	CLEANUP(gc_done) struct gc g = {.s = s, .progress = {.fn = fn, .arg = arg}};
	int r = upkeep_begin(s, &g.progress, err);

	if (r < 0)
		return r;
	r = run(&g, roots, arg, err);
	upkeep_end(s);
	if (r == 0)
		*ret = g.result;
	return r < 0 ? err_prefix(err, "gc") : 0;
}
