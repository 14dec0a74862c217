/* restore.c - a pass of writing, the root, and a pass of reading again, each the work of several threads.
 *
 * The list of node ids is never held: a ledger makes group ids of them while they pass. */
#include "agent/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/crew.h"
#include "agent/restore_work.h"
#include "agent/wire.h"
#include "common/cleanup.h"

static void stop_workers(void *ctx)
{
	struct restore *r = ctx;

	atomic_store(&r->stop, true);
	job_interrupt(r->setup.job);
}

void restore_begin_io(struct restore *r, struct meter_clock *clock)
{
	(void)meter_go(clock, METER_DISK);
	if (r->setup.is_serial)
		(void)pthread_mutex_lock(&r->target_lock);
}

void restore_end_io(struct restore *r, struct meter_clock *clock)
{
	if (r->setup.is_serial)
		(void)pthread_mutex_unlock(&r->target_lock);
	(void)meter_go(clock, METER_CPU);
}

uint64_t restore_holes(const struct restore *r, uint64_t first, uint64_t max)
{
	uint64_t end = blk_hole_end(r->setup.target, first * WINDOW_SIZE);
	uint64_t to = end >= r->size ? r->windows : end / WINDOW_SIZE;
	uint64_t n = to > first ? to - first : 0, in_group = GROUP_WINDOWS - first % GROUP_WINDOWS;

	n = n < in_group ? n : in_group;
	return n < max ? n : max;
}

static int get_nodes(struct restore *r, struct peer *peer, struct err *err)
{
	struct restore_plan *p = &r->plan;
	uint64_t left = r->windows - p->next;
	struct peer_bytes all;
	int e = peer->ops->get_nodes(peer, r->setup.disk, p->next,
				     left < NODES_ASK_MAX ? (uint32_t)left : NODES_ASK_MAX, &all,
				     err);

	if (e < 0)
		return peer_blame(peer, r->setup.job, e);
	if (all.size > WIRE_NODES_MAX) {
		return job_blame(
			r->setup.job, "internal",
			err_set(err, -EPROTO, "the server sent more nodes than were asked for"));
	}
	memcpy(p->bytes, all.data, all.size);
	reader_init(&p->in, p->bytes, all.size);
	job_add(r->setup.job, 0, 0, all.size);
	return 0;
}

static bool is_zero_node(const struct peer_bytes *data, uint32_t length)
{
	struct reader r;

	reader_init(&r, data->data, data->size);
	(void)reader_u64(&r); /* magic, length */
	return reader_u32(&r) == 1 && reader_u32(&r) == length && !r.bad;
}

/* The next node, and how many windows it is for; a short last one is none of them. */
static int next_node(struct restore *r, struct err *err)
{
	struct restore_plan *p = &r->plan;
	int e = wire_next_node(&p->in, r->windows - p->next, &p->left, &p->node, err);

	if (e == 0 &&
	    window_length(r->size, p->next + p->left - 1) != window_length(r->size, p->next)) {
		e = err_set(err, -EPROTO,
			    "the server's answer has one node for windows of different size");
	}
	if (e < 0) { /* nobody is to take what was half read */
		p->left = 0;
		atomic_store(&r->stop, true);
	}
	return job_blame(r->setup.job, "internal", e);
}

/* With the plan's lock. */
static int take(struct restore *r, struct peer *peer, struct restore_piece *ret, struct err *err)
{
	struct restore_plan *p = &r->plan;
	uint64_t holes = 0;
	int e = 0;

	if (atomic_load(&r->stop) || (p->left == 0 && p->next == r->windows))
		return 0;
	if (p->left == 0 && p->in.left == 0)
		e = get_nodes(r, peer, err);
	if (e == 0 && p->left == 0)
		e = next_node(r, err);
	if (e < 0)
		return e;
	if (is_zero_node(&p->node, window_length(r->size, p->next)))
		holes = restore_holes(r, p->next, p->left);
	ret->windows = (struct window_range){p->next, holes > 0 ? holes : 1};
	ret->is_done = holes > 0;
	ret->node_size = p->node.size;
	memcpy(ret->node, p->node.data, p->node.size);
	p->next += ret->windows.count;
	p->left -= (uint32_t)ret->windows.count;
	e = ledger_begin(r->written, &ret->windows);
	if (e == 0)
		return 1;
	return job_blame(r->setup.job, "internal", err_set(err, e, "restore: out of memory"));
}

int restore_take(struct restore *r, struct peer *peer, struct restore_piece *ret, struct err *err)
{
	/* whoever asks meanwhile is held up by the server */
	enum meter_place was = meter_go(peer->clock, METER_NOWHERE);
	int e;

	(void)pthread_mutex_lock(&r->plan.lock);
	(void)meter_go(peer->clock, was);
	e = take(r, peer, ret, err);
	(void)pthread_mutex_unlock(&r->plan.lock);
	return e;
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
	int r = geometry_check(&s->order->source, err);

	if (r < 0)
		return job_blame(s->job, "bad_request", r);
	if (blk_size(s->target) < s->order->source.size) {
		r = err_set(err, -ENOSPC,
			    "target '%s' has %" PRIu64 " bytes, and %" PRIu64 " are needed",
			    blk_name(s->target), blk_size(s->target), s->order->source.size);
		return job_blame(s->job, "target_too_small", r);
	}
	return 0;
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
		(void)pthread_mutex_init(&r->plan.lock, NULL);
		(void)pthread_mutex_init(&r->target_lock, NULL);
		r->setup = *setup;
		r->size = setup->order->source.size;
		r->windows = window_count(r->size);
		r->plan.bytes = malloc(WIRE_NODES_MAX);
	}
	if (!r || !r->plan.bytes)
		return job_blame(setup->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	*ret = TAKE_PTR(r);
	return 0;
}

void restore_free(struct restore *r)
{
	if (!r)
		return;
	ledger_free(r->written);
	ledger_free(r->read);
	free(r->plan.bytes);
	(void)pthread_mutex_destroy(&r->plan.lock);
	(void)pthread_mutex_destroy(&r->target_lock);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

/* All nodes were seen, and are in `l`: are they those of the image that was ordered? */
static int check_root(const struct restore *r, struct ledger *l, const char *what,
		      struct id *ret_root, struct err *err)
{
	const struct order_disk *o = r->setup.order;
	struct id root = ledger_root(l, &o->source, o->unreadable, o->unreadable_len);
	char want[ID_TEXT_SIZE], got[ID_TEXT_SIZE];

	if (id_equal(&root, &o->root)) {
		*ret_root = root;
		return 0;
	}
	id_to_text(&o->root, want);
	id_to_text(&root, got);
	return job_blame(
		r->setup.job, "verify_failed",
		err_set(err, -EBADMSG,
			"%s is not the image that was ordered: its root is %s, and should be %s",
			what, got, want));
}

static int run_pass(struct restore *r, int (*run)(void *ctx, unsigned worker, struct err *err),
		    struct ledger **ledger, struct err *err)
{
	struct crew_work work = {run, stop_workers, r, 1};

	ledger_free(*ledger);
	*ledger = ledger_new(r->size);
	if (!*ledger)
		return job_blame(r->setup.job, "internal", err_set(err, -ENOMEM, "out of memory"));
	r->next = 0;
	r->plan.next = 0;
	r->plan.left = 0;
	reader_init(&r->plan.in, r->plan.bytes, 0);
	atomic_store(&r->stop, false);
	job_set_disk(r->setup.job, r->setup.disk);
	return crew_run(&work, r->setup.workers, err);
}

int restore_write(struct restore *r, struct restore_counts *ret, struct err *err)
{
	struct id root;
	int e;

	r->counts = (struct restore_counts){0};
	e = run_pass(r, restore_write_run, &r->written, err);
	if (e == 0)
		e = job_blame(r->setup.job, "write_error", blk_flush(r->setup.target, err));
	if (e == 0)
		e = check_root(r, r->written, "what the server sent", &root, err);
	if (e == 0)
		*ret = r->counts;
	return e;
}

int restore_verify(struct restore *r, struct id *ret_root, struct err *err)
{
	int e = job_blame(r->setup.job, "write_error", blk_drop_cache(r->setup.target, err));

	if (e == 0)
		e = run_pass(r, restore_verify_run, &r->read, err);
	if (e == 0)
		e = check_root(r, r->read, "what was read again from the target", ret_root, err);
	ledger_free(r->read);
	r->read = NULL;
	return e;
}

uint64_t restore_bytes_read(const struct restore *r)
{
	return atomic_load(&r->bytes_read);
}
