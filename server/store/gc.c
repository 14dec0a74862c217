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
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"
#include "server/store/partial.h"

static void gc_done(struct gc *g)
{
	marks_done(&g->collector.marks);
	free(g->collector.expanded);
	free(g->needed);
	free(g->roots);
	gc_lost_done(&g->lost);
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
	g->needed = calloc(c->marks.first[c->marks.len] / 8 + 1, 1);
	if (!c->expanded || !g->needed)
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

static int run(struct gc *g, store_roots_fn roots, void *arg, struct err *err)
{
	struct err ignored;
	int r;

	(void)pthread_mutex_lock(&g->s->lock);
	g->bad_rows = g->s->bad_rows;
	(void)pthread_mutex_unlock(&g->s->lock);
	(void)!unreadable_retry(g->s, &ignored); /* the next line says what is left */
	r = gc_check_readable(g, err);
	if (r == 0)
		r = gc_check_index(g, err);
	if (r == 0)
		r = begin(g, err);
	if (r == 0)
		r = gc_mark(g, roots, arg, err);
	if (r == 0)
		r = gc_sweep(g, err);
	end(g);
	return r;
}

int store_gc(struct store *s, store_roots_fn roots, store_progress_fn fn, void *arg,
	     struct gc_result *ret, struct err *err)
{
	CLEANUP(gc_done) struct gc g = {.s = s, .progress = {.fn = fn, .arg = arg}};
	int r;

	*ret = (struct gc_result){0};
	r = upkeep_begin(s, &g.progress, err);
	if (r < 0)
		return r;
	r = run(&g, roots, arg, err);
	upkeep_end(s);
	*ret = g.result;
	return r < 0 ? err_prefix(err, "gc") : 0;
}
