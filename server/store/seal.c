/* seal.c - a partial index becomes a disk's index: every node is looked up, the root computed, the file written. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/root.h"
#include "server/store/internal.h"
#include "server/store/partial.h"
#include "server/store/upkeep.h"

struct sealing {
	struct partial *p;
	struct root_hash hash;
	uint64_t data_bytes;
	struct window_range *missing; /* MISSING_MAX */
	size_t missing_len;
	struct id *ids; /* PARTIAL_BATCH of these and the next */
	struct place *places;
};

static void sealing_done(struct sealing *x)
{
	free(x->missing);
	free(x->ids);
	free(x->places);
}

/* False: no more ranges can be named. */
static bool add_missing(struct sealing *x, uint64_t window)
{
	struct window_range *last = x->missing_len ? &x->missing[x->missing_len - 1] : NULL;

	if (last && last->first + last->count == window) {
		last->count++;
		return true;
	}
	assert(x->missing);
	if (x->missing_len == MISSING_MAX)
		return false;
	x->missing[x->missing_len++] = (struct window_range){window, 1};
	return true;
}

/* 1: no more ranges can be named. */
static int look_at_batch(struct sealing *x, uint64_t first, uint32_t count, struct err *err)
{
	int r = partial_read(x->p, first, count, x->ids, err);

	if (r == 0)
		r = objects_find_nodes(x->p->store, x->ids, count, x->places, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < count; i++) {
		const struct place *place = &x->places[i];
		uint32_t length = window_length(x->p->disk_size, first + i);

		if (place->pack == 0 || place->window != length) {
			if (!add_missing(x, first + i))
				return 1;
		}
		x->data_bytes += place->data;
		root_add(&x->hash, &x->ids[i]);
	}
	return 0;
}

static int sealing_init(struct sealing *x, const struct geometry *g, struct err *err)
{
	x->missing = calloc(MISSING_MAX, sizeof(*x->missing));
	x->ids = calloc(PARTIAL_BATCH, sizeof(*x->ids));
	x->places = calloc(PARTIAL_BATCH, sizeof(*x->places));
	if (!x->missing || !x->ids || !x->places)
		return err_set(err, -ENOMEM, "seal an index: out of memory");
	root_init(&x->hash, g);
	return 0;
}

static int look_at_all(struct sealing *x, struct err *err)
{
	uint64_t windows = window_count(x->p->disk_size);

	for (uint64_t first = 0; first < windows; first += PARTIAL_BATCH) {
		uint64_t left = windows - first;
		uint32_t count = left < PARTIAL_BATCH ? (uint32_t)left : PARTIAL_BATCH;
		int r = look_at_batch(x, first, count, err);

		if (r != 0)
			return r < 0 ? r : 0;
	}
	return 0;
}

static int check_info(const struct partial *p, const struct index_info *info, struct err *err)
{
	const struct geometry *g = &info->geometry;
	int r = geometry_check(g, err);

	if (r == 0 && g->size != p->disk_size) {
		r = err_set(err, -EINVAL,
			    "the disk has %" PRIu64
			    " bytes, its partial index was begun for %" PRIu64,
			    g->size, p->disk_size);
	}
	return r < 0 ? r : extents_check(info->unreadable, info->unreadable_len, g->size, err);
}

static int write_sealed(struct sealing *x, const struct index_info *info, const struct id *expected,
			struct id *ret_root, struct err *err)
{
	struct id root = root_final(&x->hash, info->unreadable, info->unreadable_len);
	int r;

	if (!id_equal(&root, expected))
		return err_set(err, -ESTALE,
			       "the root of the index is not the one that was announced");
	r = partial_note_sealed(x->p, &root, err); /* first: gc must not come between */
	return r < 0 ? r : index_file_write(x->p, info, &root, ret_root, err);
}

void seal_result_done(struct seal_result *r)
{
	free(r->missing);
	*r = (struct seal_result){0};
}

int partial_seal(struct partial *p, const struct index_info *info, const struct id *expected,
		 struct seal_result *ret, struct err *err)
{
	CLEANUP(sealing_done) struct sealing x = {.p = p};
	struct id root = {{0}};
	int r = check_info(p, info, err);

	if (r == 0)
		r = store_checkpoint(p->store, err);
	if (r == 0)
		r = sealing_init(&x, &info->geometry, err);
	if (r == 0)
		r = look_at_all(&x, err);
	if (r == 0 && x.missing_len == 0)
		r = write_sealed(&x, info, expected, &root, err);
	if (r < 0)
		return r;
	*ret = (struct seal_result){.missing_len = x.missing_len, .root = root};
	if (x.missing_len > 0)
		ret->missing = TAKE_PTR(x.missing);
	else
		ret->data_bytes = x.data_bytes;
	return 0;
}

/* ---- later */

struct rechecking {
	struct store *s;
	struct place *places; /* UPKEEP_BATCH */
};

static int recheck_batch(void *arg, uint64_t first, const struct id *ids, size_t len,
			 struct err *err)
{
	struct rechecking *x = arg;
	int r = objects_find_nodes(x->s, ids, len, x->places, err);

	for (size_t i = 0; r == 0 && i < len; i++) {
		if (x->places[i].pack == 0) {
			r = err_set(err, -ENODATA,
				    "the node of window %" PRIu64
				    " is not there any more, or a chunk of it",
				    first + i);
		}
	}
	return r;
}

/* What is there now may have come only a moment ago.  It counts once a checkpoint has made it durable and nothing was dropped in between. */
int store_index_check(struct store *s, const struct id *root, struct err *err)
{
	CLEANUP_FREE struct place *places = calloc(UPKEEP_BATCH, sizeof(*places));
	struct rechecking x = {s, places};
	uint64_t durable, dropped, before;
	int r = 0;

	if (!places)
		return err_set(err, -ENOMEM, "look at an index: out of memory");
	store_count_checkpoints(s, &durable, &dropped);
	do {
		before = dropped;
		r = upkeep_each_node(s, root, recheck_batch, &x, err);
		if (r == 0)
			r = store_checkpoint(s, err);
		store_count_checkpoints(s, &durable, &dropped);
	} while (r == 0 && dropped != before);
	return r;
}
