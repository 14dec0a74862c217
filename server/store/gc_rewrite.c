/* gc_rewrite.c - packs of which less than half is used: what is used is written anew, then they go.
 *
 * Not a must: when the disk is too full for it, or an object turns out damaged, what could not be done is left for the next
 * time. */
#include <errno.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "server/store/gc.h"
#include "server/store/internal.h"

#define LEVEL	    3
#define BATCH_PACKS 1024u	 /* old ones between two checkpoints */
#define BATCH_PLAIN (256u << 20) /* and bytes of new ones */

struct rewriting {
	struct gc *g;
	enum pack_kind kind;
	struct pack_builder *builder;
	struct codec_ctx *codec;
	struct gc_doomed *doomed; /* BATCH_PACKS: whose used objects were handed to the builder */
	size_t len;
	uint64_t plain;	 /* bytes since the last checkpoint */
	uint64_t losses; /* the store's, before any of these was written anew */
	uint32_t *slots; /* PACK_COUNT_MAX */
};

static void rewriting_done(struct rewriting *w)
{
	pack_builder_free(w->builder);
	codec_ctx_free(w->codec);
	free(w->doomed);
	free(w->slots);
}

static int flush(struct rewriting *w, struct err *err)
{
	const uint8_t *data;
	size_t size;
	struct id id;
	int r;

	if (pack_builder_count(w->builder) == 0)
		return 0;
	w->plain += pack_builder_plain_size(w->builder);
	r = pack_builder_encode(w->builder, w->codec, CODEC_ZSTD, LEVEL, &data, &size, &id, err);
	if (r == 0)
		r = put_instead(w->g->s, &id, data, size, err);
	pack_builder_reset(w->builder);
	return r;
}

static uint64_t losses(struct store *s)
{
	uint64_t n;

	(void)pthread_mutex_lock(&s->lock);
	n = s->losses;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}

static void begin_batch(struct rewriting *w)
{
	w->len = 0;
	w->plain = 0;
	w->losses = losses(w->g->s);
}

/* What was written becomes durable, then the old packs go.  Unless something was lost meanwhile: a checkpoint of somebody else may have failed and dropped what
 * was written here, and then ours, of what came later, says nothing about that. */
static int settle(struct rewriting *w, struct err *err)
{
	int r = flush(w, err);

	if (r == 0)
		r = store_checkpoint(w->g->s, err);
	if (r == 0 && losses(w->g->s) == w->losses)
		r = gc_remove_packs(w->g, w->doomed, w->len, &w->g->result.packs_rewritten, err);
	begin_batch(w);
	return r;
}

static int add_object(struct rewriting *w, struct loaded *l, uint32_t slot, struct err *err)
{
	const struct pack_entry *e = &l->pack.entries[slot];
	const uint8_t *data;
	int r = pack_object(w->g->s, l, slot, &e->id, &data, err);

	if (r < 0 || pack_builder_add(w->builder, &e->id, data, e->length))
		return r;
	r = flush(w, err);
	if (r < 0)
		return r;
	if (!pack_builder_add(w->builder, &e->id, data, e->length))
		return err_set(err, -EIO, "an object does not fit into a pack of its own");
	return 0;
}

/* The objects that are used now; more of them later keep the pack. */
static size_t take_used(struct rewriting *w, uint32_t num, struct gc_doomed *ret)
{
	const struct marks *m = &w->g->collector.marks;
	uint32_t count = marks_count(m, num);
	size_t n = 0;

	(void)pthread_mutex_lock(&w->g->s->lock);
	for (uint32_t i = 0; i < count; i++)
		if (marks_has(m, num, i))
			w->slots[n++] = i;
	*ret = (struct gc_doomed){num, m->bytes[num], (uint32_t)n};
	(void)pthread_mutex_unlock(&w->g->s->lock);
	return n;
}

/* The rest can be done without it. */
static void note_damaged(struct gc *g, const struct err *why)
{
	if (g->damaged_len++ == 0)
		g->damaged = *why;
}

static int rewrite_pack(struct rewriting *w, uint32_t num, struct err *err)
{
	struct loaded *l = NULL;
	struct gc_doomed doomed;
	size_t n;
	int r = pack_load(w->g->s, num, LOAD_ALL, &l, err);

	if (r == -EBADMSG || r == -EIO)
		note_damaged(w->g, err);
	if (r == -EAGAIN || r == -EBADMSG || r == -EIO)
		return 0; /* found damaged, by somebody else or just now */
	if (r < 0)
		return r;
	n = take_used(w, num, &doomed);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_object(w, l, w->slots[i], err);
	loaded_free(l);
	if (r == 0)
		w->doomed[w->len++] = doomed;
	if (r == 0 && (w->len == BATCH_PACKS || w->plain >= BATCH_PLAIN))
		r = settle(w, err);
	return r;
}

static bool is_wasteful(struct gc *g, enum pack_kind kind, uint32_t num)
{
	const struct marks *m = &g->collector.marks;
	bool is;

	if (m->kinds[num] != kind)
		return false;
	(void)pthread_mutex_lock(&g->s->lock);
	is = m->bytes[num] > 0 && m->bytes[num] < m->plain[num] / 2 &&
	     objects_pack_is_alive(g->s, num);
	(void)pthread_mutex_unlock(&g->s->lock);
	return is;
}

static int rewrite_kind(struct gc *g, enum pack_kind kind, struct err *err)
{
	CLEANUP(rewriting_done) struct rewriting w = {.g = g, .kind = kind};
	int r = 0;

	w.builder = pack_builder_new(kind, PACK_PLAIN_AIM);
	w.codec = codec_ctx_new();
	w.doomed = calloc(BATCH_PACKS, sizeof(*w.doomed));
	w.slots = calloc(PACK_COUNT_MAX, sizeof(*w.slots));
	if (!w.builder || !w.codec || !w.doomed || !w.slots)
		return err_set(err, -ENOMEM, "out of memory");
	begin_batch(&w);
	for (uint32_t i = 0; r == 0 && i < g->collector.marks.len; i++) {
		if (!is_wasteful(g, kind, i))
			continue;
		r = rewrite_pack(&w, i, err);
		if (r == 0)
			r = progress_add(&g->progress, 0, err);
	}
	return r < 0 ? r : settle(&w, err);
}

int gc_rewrite(struct gc *g, struct err *err)
{
	int r = rewrite_kind(g, PACK_CHUNKS, err);

	if (r == 0)
		r = rewrite_kind(g, PACK_NODES, err);
	/* Too full to write, or a node lost a chunk meanwhile: next time. */
	return r == -ENOSPC || r == -ENODATA ? 0 : r;
}
