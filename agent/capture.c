/* capture.c - passes over the windows that the server has not acknowledged, until it seals the disk.
 *
 * `ids` holds the node id of every window, zero as long as the server has not acknowledged it.  A pass goes once over the zero ones; what the server
 * turns out to have lost becomes zero again.  So whatever happens, the next pass is the remedy, and it sends only what is lacking.
 *
 * A pass is the work of several threads (capture_worker.c), each of which does all steps for the windows it takes: while one
 * waits for the disk or for the network, the others compute. */
#include "agent/capture.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture_worker.h"
#include "agent/crew.h"

#define STUCK_PASSES_MAX 5u /* so many in a row that get nothing further */

static void stop_workers(void *ctx)
{
	struct capture *c = ctx;

	atomic_store(&c->stop, true);
	flight_abort(c->flight);
	job_interrupt(c->setup->job);
}

static void on_acknowledged(void *ctx, const struct peer_window *w)
{
	struct capture *c = ctx;

	c->ids[w->window] = w->id;
}

static void on_refused(void *ctx, const struct peer_window *w, size_t len)
{
	struct capture *c = ctx;
	uint64_t size = 0;

	for (size_t i = 0; i < len; i++)
		size += capture_window_used(c, w[i].window);
	job_take_back(c->setup->job, size);
	flight_forget(c->flight);
	job_say(c->setup->job,
		"the server lacks something that it had acknowledged: %zu windows of disk %" PRIu32
		" are read again",
		len, c->setup->disk);
}

static uint64_t count_zero(const struct capture *c)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < c->windows; i++)
		n += id_is_zero(&c->ids[i]);
	return n;
}

static int run_pass(struct capture *c, struct err *err)
{
	struct crew_work work = {capture_worker_run, stop_workers, c};

	c->next = 0;
	return crew_run(&work, c->setup->workers, err);
}

/* Passes until every window is acknowledged. */
static int send_all(struct capture *c, struct err *err)
{
	uint64_t left = count_zero(c), before;
	unsigned stuck = 0;
	int r = 0;

	while (r == 0 && left > 0) {
		r = run_pass(c, err);
		c->passes++;
		before = left;
		left = count_zero(c);
		stuck = left < before ? 0 : stuck + 1;
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

static struct id compute_root(const struct capture *c, const struct geometry *g)
{
	const struct extents *bad = &c->setup->source->unreadable;
	struct root_hash h;

	root_init(&h, g);
	for (uint64_t i = 0; i < c->windows; i++)
		root_add(&h, &c->ids[i]);
	return root_final(&h, bad->items, bad->len);
}

/* The windows that the server named are to be sent again. */
static void take_back(struct capture *c, const struct peer_finished *f)
{
	uint64_t n = 0, size = 0;

	for (size_t i = 0; i < f->missing_len; i++) {
		for (uint64_t k = 0; k < f->missing[i].count; k++) {
			uint64_t w = f->missing[i].first + k;

			size += capture_window_used(c, w);
			memset(&c->ids[w], 0, sizeof(c->ids[w]));
			n++;
		}
	}
	flight_forget(c->flight);
	outbox_forget(c->outbox);
	job_take_back(c->setup->job, size);
	job_say(c->setup->job,
		"the server misses %" PRIu64 " windows of disk %" PRIu32 ": they are read again", n,
		c->setup->disk);
}

static int finish_once(struct capture *c, const struct geometry *g, struct id *root,
		       struct peer_finished *ret, struct err *err)
{
	struct peer *peer = c->setup->peers[0];
	const struct extents *bad = &c->setup->source->unreadable;
	struct peer_finish f = {*g, {{0}}, bad->items, bad->len};

	*root = compute_root(c, g);
	f.root = *root;
	return peer_blame(peer, c->setup->job,
			  peer->ops->finish(peer, c->setup->disk, &f, ret, err));
}

static int capture_all(struct capture *c, const struct geometry *g, struct capture_result *ret,
		       struct err *err)
{
	unsigned stuck = 0;
	uint64_t missing = UINT64_MAX;
	int r;

	for (;;) {
		struct peer_finished f = {0};

		r = send_all(c, err);
		if (r == 0)
			r = finish_once(c, g, &ret->root, &f, err);
		if (r == 0 && f.missing_len > 0)
			take_back(c, &f);
		peer_finished_done(&f);
		if (r < 0 || count_zero(c) == 0)
			break;
		/* it may name more than 4,096 ranges one part after the other, but not for ever the same */
		stuck = count_zero(c) < missing ? 0 : stuck + 1;
		missing = count_zero(c);
		if (stuck == STUCK_PASSES_MAX) {
			r = err_set(err, -ESTALE,
				    "the server misses the same %" PRIu64
				    " windows however often they are sent",
				    missing);
			return job_blame(c->setup->job, "incomplete", r);
		}
	}
	return r;
}

static int check_setup(const struct capture_setup *s, const struct geometry *g, struct err *err)
{
	uint64_t need = window_count(g->size) * sizeof(struct id);
	int r = geometry_check(g, err);

	if (r < 0)
		return job_blame(s->job, "bad_request",
				 err_prefix(err, "disk '%s'", blk_name(s->source->blk)));
	if (need <= s->ids_max)
		return 0;
	r = err_set(err, -E2BIG,
		    "disk '%s' needs %" PRIu64
		    " MiB of memory for its list of windows, and only %" PRIu64
		    " MiB may be used: boot with more memory, or raise --memory (hoist.memory)",
		    blk_name(s->source->blk), (need >> 20) + 1, s->ids_max >> 20);
	return job_blame(s->job, "internal", r);
}

int capture_disk(const struct capture_setup *setup, struct capture_result *ret, struct err *err)
{
	struct blk *blk = setup->source->blk;
	struct geometry g = {blk_size(blk), blk_sector_size(blk), blk_physical_sector_size(blk)};
	struct capture c = {.setup = setup, .size = g.size};
	struct outbox_ops ops = {on_acknowledged, on_refused, &c};
	CLEANUP_FREE struct id *ids = NULL;
	CLEANUP(flight_freep) struct flight *flight = NULL;
	CLEANUP(outbox_freep) struct outbox *outbox = NULL;
	struct capture_result result = {0};
	int r = check_setup(setup, &g, err);

	if (r < 0)
		return r;
	c.windows = window_count(g.size);
	c.ids = ids = calloc(c.windows, sizeof(*ids));
	c.flight = flight = flight_new(capture_claims_max(setup->workers));
	c.outbox = outbox = outbox_new(setup->disk, setup->codec, &ops);
	if (!ids || !flight || !outbox) {
		return job_blame(
			setup->job, "internal",
			err_set(err, -ENOMEM, "capture disk '%s': out of memory", blk_name(blk)));
	}
	(void)pthread_mutex_init(&c.lock, NULL);
	job_set_disk(setup->job, setup->disk);
	r = capture_all(&c, &g, &result, err);
	(void)pthread_mutex_destroy(&c.lock);
	result.data_bytes = c.data_bytes;
	result.passes = c.passes;
	if (r == 0)
		*ret = result;
	return r;
}
