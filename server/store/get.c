/* get.c - objects go out: nodes one by one, chunks in packs.
 *
 * A pack that is asked for whole goes as it is stored.  What is asked for of others is decompressed, hashed, and packed anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

#define REPACK_LEVEL 1
#define REMOVED_MAX  8 /* times that packs may go from under a request */

int store_lacks(struct store *s, enum pack_kind kind, const struct id *ids, size_t len,
		uint8_t *ret_bits, struct err *err)
{
	CLEANUP_FREE struct place *places = calloc(len + 1, sizeof(*places));
	int r;

	if (!places)
		return err_set(err, -ENOMEM, "look up objects: out of memory");
	r = kind == PACK_NODES ? objects_find_nodes(s, ids, len, places, err)
			       : objects_find(s, kind, ids, len, places, err);
	if (r == 0)
		r = checkpoint_late(s, err);
	if (r < 0)
		return r;
	memset(ret_bits, 0, (len + 7) / 8);
	for (size_t i = 0; i < len; i++)
		if (places[i].pack == 0)
			ret_bits[i / 8] |= (uint8_t)(1u << (i % 8));
	return 0;
}

/* -ENOENT; -EIO: it is in a pack that cannot be read; -EAGAIN: that can be read again. */
static int not_there(struct store *s, enum pack_kind kind, const struct id *id, struct err *err)
{
	char text[ID_TEXT_SIZE];
	int r = unreadable_blame(s, kind, id, err);

	if (r < 0)
		return r;
	id_to_text(id, text);
	return err_set(err, -ENOENT, "%s %s is not in the store",
		       kind == PACK_NODES ? "node" : "chunk", text);
}

int node_load(struct store *s, const struct id *id, const struct place *p, struct node *ret,
	      struct err *err)
{
	struct loaded *l;
	const uint8_t *data;
	int r = cache_get(s, p->pack, &l, err);

	if (r < 0)
		return r;
	r = pack_object(s, l, p->slot, id, &data, err);
	if (r == 0)
		r = node_decode(data, l->pack.entries[p->slot].length, ret, err);
	cache_put(s, l);
	return r;
}

int store_get_node(struct store *s, const struct id *id, struct node *ret, struct err *err)
{
	for (int i = 0;; i++) {
		struct place place;
		int r = objects_find(s, PACK_NODES, id, 1, &place, err);

		if (r == 0 && place.pack == 0)
			r = not_there(s, PACK_NODES, id, err);
		if (r == 0)
			r = node_load(s, id, &place, ret, err);
		if (r != -EAGAIN || i == REMOVED_MAX)
			return r;
	}
}

/* ---- chunks */

struct wanted {
	struct id id;
	struct place place;
};

struct request {
	struct store *s;
	struct wanted *wanted; /* sorted by pack and slot */
	size_t len;
	struct scratch *scratch; /* its builder gathers */
	store_emit_fn emit;
	void *arg;
	int ended; /* what emit returned, when that was < 0 */
};

static int wanted_compare(const void *a, const void *b)
{
	const struct place *x = &((const struct wanted *)a)->place;
	const struct place *y = &((const struct wanted *)b)->place;

	if (x->pack != y->pack)
		return x->pack < y->pack ? -1 : 1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Find all, sort, and drop what was asked for twice. */
static int find_once(struct store *s, const struct id *ids, size_t len, struct wanted *ret,
		     size_t *ret_len, struct err *err)
{
	CLEANUP_FREE struct place *places = calloc(len, sizeof(*places));
	size_t n = 0;
	int r;

	if (!places)
		return err_set(err, -ENOMEM, "get chunks: out of memory");
	r = objects_find(s, PACK_CHUNKS, ids, len, places, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < len; i++) {
		if (places[i].pack == 0)
			return not_there(s, PACK_CHUNKS, &ids[i], err);
		ret[i] = (struct wanted){ids[i], places[i]};
	}
	qsort(ret, len, sizeof(*ret), wanted_compare);
	for (size_t i = 0; i < len; i++)
		if (n == 0 || wanted_compare(&ret[n - 1], &ret[i]) != 0)
			ret[n++] = ret[i];
	*ret_len = n;
	return 0;
}

static int find_wanted(struct store *s, const struct id *ids, size_t len, struct wanted *ret,
		       size_t *ret_len, struct err *err)
{
	for (;;) {
		int r = find_once(s, ids, len, ret, ret_len, err);

		if (r != -EAGAIN)
			return r;
	}
}

static int emit(struct request *q, const void *data, size_t size, struct err *err)
{
	int r = q->emit(q->arg, data, size, err);

	if (r < 0)
		q->ended = r;
	return r;
}

static int flush(struct request *q, struct err *err)
{
	struct scratch *c = q->scratch;
	const uint8_t *data;
	size_t size;
	struct id id;
	int r;

	if (pack_builder_count(c->builder) == 0)
		return 0;
	r = pack_builder_encode(c->builder, c->codec, CODEC_ZSTD, REPACK_LEVEL, &data, &size, &id,
				err);
	if (r == 0)
		r = emit(q, data, size, err);
	pack_builder_reset(c->builder);
	return r;
}

static int add_chunk(struct request *q, const struct id *id, const uint8_t *data, uint32_t length,
		     struct err *err)
{
	int r;

	if (pack_builder_add(q->scratch->builder, id, data, length))
		return 0;
	r = flush(q, err);
	if (r < 0)
		return r;
	if (!pack_builder_add(q->scratch->builder, id, data, length))
		return err_set(err, -EIO, "a chunk does not fit into a pack of its own");
	return 0;
}

/* All or, when one is not what it should be, none. */
static int add_chunks(struct request *q, struct loaded *l, const struct wanted *w, size_t len,
		      struct err *err)
{
	const uint8_t *data;
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++)
		r = pack_object(q->s, l, w[i].place.slot, &w[i].id, &data, err);
	for (size_t i = 0; r == 0 && i < len; i++) {
		const struct pack_entry *e = &l->pack.entries[w[i].place.slot];

		r = add_chunk(q, &w[i].id, l->plain + e->offset, e->length, err);
	}
	return r;
}

/* Some chunks of one pack. */
static int get_some(struct request *q, const struct wanted *w, size_t len, struct err *err)
{
	struct loaded *l;
	int r = cache_get(q->s, w->place.pack, &l, err);

	if (r < 0)
		return r;
	r = add_chunks(q, l, w, len, err);
	cache_put(q->s, l);
	return r;
}

static bool is_whole(const struct loaded *l, const struct wanted *w, size_t len)
{
	if (len != l->pack.count)
		return false;
	for (size_t i = 0; i < len; i++)
		if (w[i].place.slot != i || !id_equal(&l->pack.entries[i].id, &w[i].id))
			return false;
	return true;
}

/* All chunks of one pack: as it is stored, if its bytes are still what they were. */
static int get_whole(struct request *q, const struct wanted *w, size_t len, struct err *err)
{
	struct loaded *l = NULL;
	int r = pack_load(q->s, w->place.pack, LOAD_HASH, &l, err);

	if (r < 0)
		return r;
	if (is_whole(l, w, len))
		r = emit(q, l->file, l->row.size, err);
	else
		r = get_some(q, w, len, err); /* tells what is wrong */
	loaded_free(l);
	return r;
}

/* How many from w on are of the same pack. */
static size_t group_of(const struct wanted *w, size_t len)
{
	size_t n = 1;

	while (n < len && w[n].place.pack == w->place.pack)
		n++;
	return n;
}

/* 0, or an error; *ret_done counts what was handed out (or lies in the builder). */
static int get_groups(struct request *q, size_t *ret_done, struct err *err)
{
	for (size_t i = 0; i < q->len;) {
		size_t n = group_of(&q->wanted[i], q->len - i);
		struct pack_row row;
		int r = objects_pack(q->s, q->wanted[i].place.pack, &row, err);

		if (r == 0 && row.num == 0)
			r = -EAGAIN;
		if (r == 0 && row.count == n)
			r = get_whole(q, &q->wanted[i], n, err);
		else if (r == 0)
			r = get_some(q, &q->wanted[i], n, err);
		if (r < 0)
			return r;
		i += n;
		*ret_done = i;
	}
	return 0;
}

/* Packs went away (store_gc wrote them anew, or they were lost): where are the chunks now that are still to come? */
static int find_again(struct request *q, size_t done, struct err *err)
{
	CLEANUP_FREE struct id *ids = NULL;
	size_t left = q->len - done;
	int r;

	ids = calloc(left, sizeof(*ids));
	if (!ids)
		return err_set(err, -ENOMEM, "get chunks: out of memory");
	for (size_t i = 0; i < left; i++)
		ids[i] = q->wanted[done + i].id;
	r = find_wanted(q->s, ids, left, q->wanted, &q->len, err);
	return r;
}

static int get_all(struct request *q, struct err *err)
{
	for (int i = 0;; i++) {
		size_t done = 0;
		int r = get_groups(q, &done, err);

		if (r == 0)
			return flush(q, err);
		if (r != -EAGAIN || q->ended < 0 || i == REMOVED_MAX)
			return r;
		r = find_again(q, done, err);
		if (r < 0)
			return r;
	}
}

int store_get_chunks(struct store *s, const struct id *ids, size_t len, store_emit_fn emit_fn,
		     void *arg, struct err *err)
{
	CLEANUP_FREE struct wanted *wanted = NULL;
	struct request q = {.s = s, .emit = emit_fn, .arg = arg};
	int r;

	if (len == 0)
		return 0;
	wanted = calloc(len, sizeof(*wanted));
	q.scratch = scratch_get(s);
	if (!wanted || !q.scratch || !scratch_builder(q.scratch)) {
		scratch_put(s, q.scratch);
		return err_set(err, -ENOMEM, "get chunks: out of memory");
	}
	q.wanted = wanted;
	pack_builder_reset(q.scratch->builder);
	r = find_wanted(s, ids, len, q.wanted, &q.len, err);
	if (r == 0)
		r = get_all(&q, err);
	scratch_put(s, q.scratch);
	return r;
}
