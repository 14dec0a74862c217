/* restore.c - a pass of writing, the root, and a pass of reading again, each the work of several threads. */
#include "agent/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "agent/crew.h"
#include "agent/restore_work.h"
#include "common/cleanup.h"

static void stop_workers(void *ctx)
{
	struct restore *r = ctx;

	atomic_store(&r->stop, true);
	job_interrupt(r->setup.job);
}

uint32_t restore_take(struct restore *r, uint32_t max, uint64_t *ret_first)
{
	uint64_t share, left;
	uint32_t n;

	(void)pthread_mutex_lock(&r->lock);
	left = r->windows - r->next;
	share = left / (4 * r->setup.workers) + 1;
	n = share < max ? (uint32_t)share : max;
	n = left < n ? (uint32_t)left : n;
	*ret_first = r->next;
	r->next += n;
	(void)pthread_mutex_unlock(&r->lock);
	return n;
}

int restore_decode_node(const struct restore *r, uint64_t w, const struct peer_bytes *data,
			struct node *ret, struct id *ret_id, struct err *err)
{
	int e = node_decode(data->data, data->size, ret, err);

	if (e < 0)
		return err_prefix(err, "window %" PRIu64, w);
	if (ret->length != window_length(r->size, w)) {
		return err_set(err, -EPROTO,
			       "window %" PRIu64 " has a node of %" PRIu32
			       " bytes, and should have one of %" PRIu32,
			       w, ret->length, window_length(r->size, w));
	}
	*ret_id = id_of(data->data, data->size);
	return 0;
}

static int check(const struct restore_setup *s, struct err *err)
{
	uint64_t need = window_count(s->order->source.size) * sizeof(struct id);
	int r = geometry_check(&s->order->source, err);

	if (r < 0)
		return job_blame(s->job, "bad_request", r);
	if (blk_size(s->target) < s->order->source.size) {
		r = err_set(err, -ENOSPC,
			    "target '%s' has %" PRIu64 " bytes, and %" PRIu64 " are needed",
			    blk_name(s->target), blk_size(s->target), s->order->source.size);
		return job_blame(s->job, "target_too_small", r);
	}
	if (need <= s->ids_max)
		return 0;
	r = err_set(err, -E2BIG,
		    "the image of disk '%s' needs %" PRIu64
		    " MiB of memory for its list of windows, and only %" PRIu64
		    " MiB may be used: boot with more memory, or raise --memory (hoist.memory)",
		    s->order->source_disk, (need >> 20) + 1, s->ids_max >> 20);
	return job_blame(s->job, "internal", r);
}

int restore_new(const struct restore_setup *setup, struct restore **ret, struct err *err)
{
	CLEANUP(restore_freep) struct restore *r = NULL;
	int e = check(setup, err);

	if (e < 0)
		return e;
	r = calloc(1, sizeof(*r));
	if (r) {
		(void)pthread_mutex_init(&r->lock, NULL);
		r->setup = *setup;
		r->size = setup->order->source.size;
		r->windows = window_count(r->size);
		r->ids = calloc(r->windows, sizeof(*r->ids));
	}
	if (!r || !r->ids)
		return job_blame(setup->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	*ret = TAKE_PTR(r);
	return 0;
}

void restore_free(struct restore *r)
{
	if (!r)
		return;
	free(r->ids);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

/* All nodes were seen: are they those of the image that was ordered? */
static int check_root(const struct restore *r, struct err *err)
{
	const struct order_disk *o = r->setup.order;
	struct root_hash h;
	struct id root;
	char want[ID_TEXT_SIZE], got[ID_TEXT_SIZE];

	root_init(&h, &o->source);
	for (uint64_t i = 0; i < r->windows; i++)
		root_add(&h, &r->ids[i]);
	root = root_final(&h, o->unreadable, o->unreadable_len);
	if (id_equal(&root, &o->root))
		return 0;
	id_to_text(&o->root, want);
	id_to_text(&root, got);
	return job_blame(
		r->setup.job, "verify_failed",
		err_set(err, -EBADMSG,
			"what the server sent is not the image that was ordered: its root is "
			"%s, and should be %s",
			got, want));
}

static int run_pass(struct restore *r, int (*run)(void *ctx, unsigned worker, struct err *err),
		    struct err *err)
{
	struct crew_work work = {run, stop_workers, r};

	r->next = 0;
	atomic_store(&r->stop, false);
	job_set_disk(r->setup.job, r->setup.disk);
	return crew_run(&work, r->setup.workers, err);
}

int restore_write(struct restore *r, struct restore_counts *ret, struct err *err)
{
	int e;

	r->counts = (struct restore_counts){0};
	e = run_pass(r, restore_write_run, err);
	if (e == 0)
		e = job_blame(r->setup.job, "write_error", blk_flush(r->setup.target, err));
	if (e == 0)
		e = check_root(r, err);
	if (e == 0)
		*ret = r->counts;
	return e;
}

int restore_verify(struct restore *r, struct err *err)
{
	int e = job_blame(r->setup.job, "write_error", blk_drop_cache(r->setup.target, err));

	return e < 0 ? e : run_pass(r, restore_verify_run, err);
}
