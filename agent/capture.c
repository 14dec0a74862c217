/* capture.c - passes over the windows that the server has not acknowledged, until it seals the disk.
 *
 * The ledger says which windows those are.  A pass goes once over them; what the server turns out to have lost becomes unknown again, and with it its
 * whole group, whose node ids are no longer there: it is read again, but only what is lacking is sent.  So whatever happens, the next pass is the
 * remedy.  A pass also ends early when the ledger has no room for another group: the next one begins with those that are open.  Not on a sick disk:
 * there groups are open until all else has been read, and the ledger is widened instead.
 *
 * A pass is the work of several threads (capture_worker.c), each of which reads, cuts, asks and packs the windows it takes: while one waits for the
 * disk or for an answer, the others compute.  The packs go through a bounded store (parcels.h) to threads that only send (capture_sender.c), so that the
 * wire is busy while all compute, and that all wait when it is the wire that is slow.  These live as long as the capture of the disk. */
#include "agent/capture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture_worker.h"
#include "agent/crew.h"

#define STUCK_PASSES_MAX 5u /* so many in a row that get nothing further */
/* One is being filled while another one is on its way. */
#define PARCELS_PER_WORKER 2u
/* Of a worker besides: its window (4 MiB), a pack before it is compressed (1.6), nodes held back, two connections; measured. */
#define WORKER_MEMORY (13u << 19)
#define PARCEL_MEMORY (3u << 19)

uint64_t capture_worker_memory(enum codec codec, int level)
{
	return WORKER_MEMORY + PARCELS_PER_WORKER * PARCEL_MEMORY +
	       codec_memory(codec, level, CAPTURE_PACK_MAX);
}

static void stop_all(void *ctx)
{
	struct capture *c = ctx;

	atomic_store(&c->stop, true);
	flight_abort(c->flight);
	parcels_close(c->parcels);
	job_interrupt(c->setup->job);
}

static void on_acknowledged(void *ctx, const struct peer_run *w)
{
	struct capture *c = ctx;

	(void)ledger_set(c->ledger, &w->windows, &w->node, NULL);
}

static void on_refused(void *ctx, const struct peer_run *w, size_t len)
{
	struct capture *c = ctx;
	uint64_t size = 0, n = 0;

	for (size_t i = 0; i < len; i++) {
		size += capture_used(c, &w[i].windows);
		n += w[i].windows.count;
	}
	job_take_back(c->setup->job, size);
	flight_forget(c->flight);
	job_say(c->setup->job,
		"the server lacks something that it had acknowledged: %" PRIu64
		" windows of disk %" PRIu32 " are read again",
		n, c->setup->disk);
}

/* ---- what is taken, and what is put off */

static struct window_range next_backward(struct capture *c)
{
	while (c->gaps_left > 0) {
		const struct extent *gap = &c->gaps.items[c->gaps_left - 1];

		if (c->next * WINDOW_SIZE > gap->offset)
			return (struct window_range){c->next - 1, 1};
		c->gaps_left--;
		if (c->gaps_left > 0)
			c->next = (gap[-1].offset + gap[-1].length) / WINDOW_SIZE;
	}
	return (struct window_range){0, 0};
}

struct window_range capture_next(struct capture *c)
{
	struct window_range w;

	if (c->is_backward)
		return next_backward(c);
	do {
		w = ledger_unknown(c->ledger, c->next);
		if (w.count == 0)
			break;
		rescue_skip(c->rescue, &w);
		c->next = w.first;
	} while (w.count == 0);
	return w;
}

void capture_taken(struct capture *c, const struct window_range *w)
{
	uint64_t end = w->first + w->count;

	c->next = c->is_backward ? w->first : end;
	c->seen = end > c->seen ? end : c->seen;
}

int capture_is_first(struct capture *c, uint64_t w)
{
	uint64_t offset = w * WINDOW_SIZE;
	size_t i;

	if (w >= c->seen)
		return 1;
	i = extents_find(&c->owed, offset);
	if (i == c->owed.len || c->owed.items[i].offset > offset)
		return 0;
	return extents_remove(&c->owed, offset, WINDOW_SIZE) < 0 ? -ENOMEM : 1;
}

/* The lock is held. */
static int leap_forward(struct capture *c, uint64_t leap)
{
	uint64_t to = c->windows - c->next < leap ? c->windows : c->next + leap;
	int r = 0;

	if (to > c->seen) {
		uint64_t from = c->next > c->seen ? c->next : c->seen;

		r = extents_add(&c->owed, from * WINDOW_SIZE, (to - from) * WINDOW_SIZE);
		c->seen = to;
	}
	c->has_leapt = c->has_leapt || to > c->next;
	c->next = to;
	return r;
}

/* The rest of the gap that the window is in is left, if it is not done already.  The lock is held. */
static void leave_gap(struct capture *c, uint64_t w)
{
	const struct extent *gap;

	if (c->gaps_left == 0)
		return;
	gap = &c->gaps.items[c->gaps_left - 1];
	if (w * WINDOW_SIZE < gap->offset || w * WINDOW_SIZE >= gap->offset + gap->length)
		return;
	c->has_leapt = c->has_leapt || c->next * WINDOW_SIZE > gap->offset;
	c->next = gap->offset / WINDOW_SIZE;
}

int capture_tried(struct capture *c, const struct outcome *o, struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (o->is_owed)
		r = extents_add(&c->owed, o->window * WINDOW_SIZE, WINDOW_SIZE);
	else if (o->is_put_off)
		r = rescue_again(c->rescue, o->window);
	if (c->is_backward && o->is_put_off)
		leave_gap(c, o->window);
	else if (r == 0 && !c->is_backward)
		r = leap_forward(c, o->leap);
	(void)pthread_mutex_unlock(&c->lock);
	return r < 0 ? err_set(err, r, "capture: out of memory") : 0;
}

/* All that is left is not tried any more. */
static int put_off_rest(struct capture *c, struct err *err)
{
	struct window_range w = ledger_unknown(c->ledger, 0);
	int r = 0;

	for (; r == 0 && w.count > 0; w = ledger_unknown(c->ledger, w.first + w.count))
		r = rescue_put_off(c->rescue, &w);
	return r < 0 ? job_blame(c->setup->job, "internal",
				 err_set(err, r, "capture: out of memory"))
		     : 0;
}

/* The time is over, and at the front of all that was leapt over nothing can be read any more: one look at it from behind. */
static int turn_backward(struct capture *c, struct err *err)
{
	struct window_range w;
	int r = 0;

	extents_done(&c->gaps);
	c->gaps = (struct extents){0};
	c->next = 0;
	for (w = capture_next(c); r == 0 && w.count > 0; w = capture_next(c)) {
		r = extents_add(&c->gaps, w.first * WINDOW_SIZE, w.count * WINDOW_SIZE);
		c->next = w.first + w.count;
	}
	c->is_backward = true;
	return r < 0 ? job_blame(c->setup->job, "internal",
				 err_set(err, r, "capture: out of memory"))
		     : 1;
}

/* A pass has ended, and not all is done; did it get anything further?  1: there is reason for another one; 0: what is left the server refused. */
static int prepare_pass(struct capture *c, bool got_on, struct err *err)
{
	bool was_backward = c->is_backward;
	int r = 0;

	c->is_backward = false;
	if (got_on && c->is_cut_short)
		return 1;
	if (c->has_leapt && !was_backward &&
	    (got_on || !rescue_is_over(c->rescue) || rescue_has_saved(c->rescue)))
		return 1;
	if (c->has_leapt && !c->is_cut_short && !was_backward)
		return turn_backward(c, err);
	if (c->has_leapt && !c->is_cut_short)
		r = put_off_rest(c, err);
	if (r < 0 || !rescue_is_due(c->rescue))
		return r;
	r = rescue_work(c->rescue, err);
	return r < 0 ? r : 1;
}

/* ---- passes */

static int run_pass(struct capture *c, struct err *err)
{
	struct crew_work work = {capture_worker_run, stop_all, c, 1};
	int r;

	c->gaps_left = c->gaps.len;
	c->next = 0;
	if (c->is_backward && c->gaps_left > 0) {
		const struct extent *last = &c->gaps.items[c->gaps_left - 1];

		c->next = (last->offset + last->length) / WINDOW_SIZE;
	}
	c->is_cut_short = false;
	c->has_leapt = false;
	r = crew_run(&work, c->setup->workers, err);
	if (r == 0 && atomic_load(&c->stop))
		r = err_set(err, -ECANCELED, "stopped, since a pack could not be sent");
	return r;
}

/* Passes until every window is acknowledged. */
static int send_all(struct capture *c, struct err *err)
{
	uint64_t left = ledger_left(c->ledger), before;
	unsigned stuck = 0;
	int r = 0;

	while (r == 0 && left > 0) {
		r = run_pass(c, err);
		before = left;
		left = ledger_left(c->ledger);
		if (r == 0 && left > 0)
			r = prepare_pass(c, left < before, err);
		c->passes += left == 0 || r == 0;
		/* r > 0: no refusal, but none is made good by it */
		stuck = left < before ? 0 : r > 0 ? stuck : stuck + 1;
		r = r > 0 ? 0 : r;
		if (r == 0 && stuck == STUCK_PASSES_MAX) {
			r = err_set(err, -ESTALE,
				    "the server has refused the same %" PRIu64
				    " windows %u times: it loses what it acknowledges",
				    left, stuck);
			r = job_blame(c->setup->job, "incomplete", r);
		}
	}
	return r;
}

/* The windows that the server named are to be sent again, and those of their groups with them. */
static void take_back(struct capture *c, const struct peer_finished *f)
{
	uint64_t n = 0, size = 0;

	for (size_t i = 0; i < f->missing_len; i++) {
		const struct window_range *m = &f->missing[i];

		for (uint64_t g = m->first / GROUP_WINDOWS;
		     g <= (m->first + m->count - 1) / GROUP_WINDOWS; g++) {
			struct window_range w = {g * GROUP_WINDOWS, group_length(c->size, g)};

			if (ledger_reopen(c->ledger, g))
				size += capture_used(c, &w);
		}
		n += m->count;
	}
	flight_forget(c->flight);
	outbox_forget(c->outbox);
	job_take_back(c->setup->job, size);
	job_say(c->setup->job,
		"the server misses %" PRIu64 " windows of disk %" PRIu32 ": %" PRIu64
		" are read again",
		n, c->setup->disk, ledger_left(c->ledger));
}

static int finish_once(struct capture *c, struct peer_finished *ret, struct err *err)
{
	struct peer *peer = c->setup->peers[0];
	const struct extents *bad = &c->setup->source->unreadable;
	struct peer_finish f = {c->geometry, {{0}}, bad->items, bad->len};

	c->root = f.root = ledger_root(c->ledger, &c->geometry, bad->items, bad->len);
	return peer_blame(peer, c->setup->job,
			  peer->ops->finish(peer, c->setup->disk, &f, ret, err));
}

static int capture_all(struct capture *c, struct err *err)
{
	unsigned stuck = 0;
	uint64_t reached = 0; /* before it nothing was missing */
	int r;

	for (;;) {
		struct peer_finished f = {0};

		r = send_all(c, err);
		if (r == 0)
			r = finish_once(c, &f, err);
		if (r == 0 && f.missing_len > 0) {
			/* it may name more than 4,096 ranges one part after the other, but not for ever the same */
			stuck = f.missing[0].first > reached ? 0 : stuck + 1;
			if (f.missing[0].first > reached)
				reached = f.missing[0].first;
			take_back(c, &f);
		}
		peer_finished_done(&f);
		if (r < 0 || ledger_left(c->ledger) == 0)
			break;
		if (stuck == STUCK_PASSES_MAX) {
			r = err_set(err, -ESTALE,
				    "the server misses window %" PRIu64 " of disk %" PRIu32
				    " however often it is sent",
				    reached, c->setup->disk);
			return job_blame(c->setup->job, "incomplete", r);
		}
	}
	return r;
}

/* struct crew_work: number 0 has the passes made, the others send what these pack. */
static int run(void *ctx, unsigned number, struct err *err)
{
	struct capture *c = ctx;
	int r;

	if (number > 0)
		return capture_sender_run(c, number - 1, err);
	r = capture_all(c, err);
	parcels_close(c->parcels);
	return r;
}

static int run_all(struct capture *c, struct err *err)
{
	struct crew_work work = {run, stop_all, c, 2};
	int r;

	(void)pthread_mutex_init(&c->lock, NULL);
	r = crew_run(&work, 1 + capture_senders(c->setup->workers), err);
	(void)pthread_mutex_destroy(&c->lock);
	return job_blame(c->setup->job, "internal", r);
}

static int check_setup(const struct capture_setup *s, const struct geometry *g, struct err *err)
{
	int r = geometry_check(g, err);

	if (r < 0)
		r = err_prefix(err, "disk '%s'", blk_name(s->source->blk));
	return job_blame(s->job, "bad_request", r);
}

int capture_disk(const struct capture_setup *setup, struct capture_result *ret, struct err *err)
{
	struct blk *blk = setup->source->blk;
	unsigned parcels_len = setup->workers * PARCELS_PER_WORKER;
	struct capture c = {
		.setup = setup,
		.geometry = {blk_size(blk), blk_sector_size(blk), blk_physical_sector_size(blk)},
		.size = blk_size(blk),
	};
	struct outbox_ops ops = {on_acknowledged, on_refused, &c};
	CLEANUP(ledger_freep) struct ledger *ledger = NULL;
	CLEANUP(flight_freep) struct flight *flight = NULL;
	CLEANUP(outbox_freep) struct outbox *outbox = NULL;
	CLEANUP(parcels_freep) struct parcels *parcels = NULL;
	CLEANUP(rescue_freep) struct rescue *rescue = NULL;
	int r = check_setup(setup, &c.geometry, err);

	if (r < 0)
		return r;
	c.windows = window_count(c.size);
	c.ledger = ledger = ledger_new(c.size);
	c.flight = flight = flight_new(capture_claims_max(setup->workers, parcels_len));
	c.outbox = outbox = outbox_new(setup->disk, setup->codec, &ops);
	c.parcels = parcels = parcels_new(parcels_len, CAPTURE_PARCEL_MAX);
	c.rescue = rescue = rescue_new(setup->source, setup->job, &setup->rescue);
	if (!ledger || !flight || !outbox || !parcels || !rescue) {
		return job_blame(
			setup->job, "internal",
			err_set(err, -ENOMEM, "capture disk '%s': out of memory", blk_name(blk)));
	}
	job_set_disk(setup->job, setup->disk);
	r = run_all(&c, err);
	extents_done(&c.owed);
	extents_done(&c.gaps);
	if (r == 0)
		*ret = (struct capture_result){c.root, c.data_bytes, c.passes};
	return r;
}
