/* capture_worker.c - what one thread does with the windows that it takes.
 *
 * New chunks gather in a pack, over as many windows as it takes to fill it; a full one goes to the senders (capture_sender.c) as a parcel.  A window
 * is held until all its chunks have landed, those that other workers carry too: only then its node may go out.  Waiting for that is only done when the
 * worker has no pack begun (flush_all): see flight.h. */
#include "agent/capture_worker.h"

#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/clock.h"
#include "agent/wire.h"
#include "common/blk.h"
#include "common/node.h"

#define READS_MAX      RING_DEPTH /* in flight, by all workers together: more make disks no faster */
#define PACK_AGE_MS    2000u	  /* one that does not fill is sent after that */
#define HELD_MAX       64u
#define HELD_NODES_MAX (512u << 10)
#define HELD_WAITS_MAX (8u * NODE_ENTRIES_MAX)

/* A window that waits for its chunks. */
struct held {
	struct peer_run run;
	size_t node_at; /* its encoding in node_bytes */
	size_t wait_at; /* in waits */
	uint32_t node_size;
	uint32_t wait_len;
};

/* Windows at work: one, or many that are known to be empty without reading. */
struct task {
	struct peer_run run;
	bool is_empty;
	bool is_first;	/* no pass before has taken them */
	bool is_lacked; /* the node, as far as is known */
	uint32_t node_size;
	uint32_t asked_len, wait_len;
	uint32_t lacked_bytes; /* of chunks that are this worker's to send */
};

struct capture_worker {
	struct capture *c;
	struct job *job;
	struct peer *peer;
	struct meter_clock clock;
	struct codec_ctx *ctx;
	uint8_t *buf;	   /* a window */
	struct ring *ring; /* by which it is read, or NULL */

	/* of the task */
	struct node *node;
	uint8_t *encoding; /* NODE_SIZE_MAX */
	struct id *asked;  /* chunks that are this worker's to ask for and send */
	uint8_t *lacked;   /* bits, of asked */
	struct id *waits;  /* chunks that have not landed yet */
	struct id *landed; /* room for those of asked that are there already */
	bool was_new;	   /* the window before had chunks that the server lacked */

	struct pack_builder *pack; /* being filled */
	uint32_t pack_aim;	   /* when it has so many bytes it is sent */
	uint64_t pack_ms;	   /* when the first chunk came in */
	struct id *pack_ids;	   /* what is in it */
	size_t pack_ids_len;

	struct held *held;
	size_t held_len;
	uint8_t *held_nodes;
	size_t held_nodes_size;
	struct id *held_waits;
	size_t held_waits_len;
};

size_t capture_claims_max(unsigned workers, unsigned parcels)
{
	return (size_t)workers * (NODE_ENTRIES_MAX + PARCEL_IDS_MAX) +
	       (size_t)parcels * PARCEL_IDS_MAX;
}

static void worker_done(struct capture_worker *w)
{
	codec_ctx_free(w->ctx);
	pack_builder_free(w->pack);
	ring_free(w->ring);
	free(w->buf);
	free(w->node);
	free(w->encoding);
	free(w->asked);
	free(w->lacked);
	free(w->waits);
	free(w->landed);
	free(w->pack_ids);
	free(w->held);
	free(w->held_nodes);
	free(w->held_waits);
}

static int worker_init(struct capture_worker *w, struct capture *c, unsigned worker,
		       struct err *err)
{
	*w = (struct capture_worker){.c = c, .job = c->setup->job};
	w->peer = c->setup->peers[worker];
	w->ctx = codec_ctx_new();
	w->buf = buffer_new(WINDOW_SIZE);
	if (c->setup->source->may_ring && c->setup->workers <= READS_MAX / 2)
		w->ring = ring_new(READS_MAX / c->setup->workers);
	w->node = calloc(1, sizeof(*w->node));
	w->encoding = calloc(1, NODE_SIZE_MAX);
	w->asked = calloc(NODE_ENTRIES_MAX, sizeof(*w->asked));
	w->lacked = calloc(NODE_ENTRIES_MAX / 8, 1);
	w->waits = calloc(NODE_ENTRIES_MAX, sizeof(*w->waits));
	w->landed = calloc(NODE_ENTRIES_MAX, sizeof(*w->landed));
	w->pack = pack_builder_new(PACK_CHUNKS, CAPTURE_PACK_MAX);
	w->pack_ids = calloc(PARCEL_IDS_MAX, sizeof(*w->pack_ids));
	w->held = calloc(HELD_MAX, sizeof(*w->held));
	w->held_nodes = malloc(HELD_NODES_MAX);
	w->held_waits = calloc(HELD_WAITS_MAX, sizeof(*w->held_waits));
	if (w->ctx && w->buf && w->node && w->encoding && w->asked && w->lacked && w->waits &&
	    w->landed && w->pack && w->pack_ids && w->held && w->held_nodes && w->held_waits)
		return 0;
	return job_blame(
		w->job, "internal",
		err_set(err, -ENOMEM, "capture: out of memory; use fewer workers (hoist.workers)"));
}

/* How many of these windows are empty, from the first on: so many as can be one entry of a put. */
static uint64_t count_empty(const struct capture *c, const struct window_range *w)
{
	uint64_t offset = w->first * WINDOW_SIZE, end = (w->first + w->count) * WINDOW_SIZE, n;

	if (end > c->size)
		end = c->size;
	end = source_empty_end(c->setup->source, offset, end);
	n = end == c->size ? c->windows - w->first : end / WINDOW_SIZE - w->first;
	/* a short last window has another node */
	return n > 1 && window_length(c->size, w->first + n - 1) < WINDOW_SIZE ? n - 1 : n;
}

/* Windows that were put off or leapt over keep their groups open until all else was read: for that no group has to wait. */
static int begin_windows(struct capture *c, const struct window_range *w)
{
	int r = ledger_begin(c->ledger, w);

	if (r == -EAGAIN && (c->has_leapt || rescue_is_due(c->rescue))) {
		ledger_widen(c->ledger);
		r = ledger_begin(c->ledger, w);
	}
	return r;
}

/* The next windows that are not acknowledged: empty ones, or one that is not.  0: none are left in this pass. */
static int take_windows(struct capture *c, struct task *ret, struct err *err)
{
	struct window_range w;
	uint64_t empty = 0;
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	w = capture_next(c);
	if (w.count > 0) {
		empty = count_empty(c, &w);
		w.count = empty > 0 ? empty : 1;
		r = begin_windows(c, &w);
	}
	c->is_cut_short = c->is_cut_short || r == -EAGAIN;
	if (w.count > 0 && r == 0) {
		*ret = (struct task){.run.windows = w, .is_empty = empty > 0};
		r = capture_is_first(c, w.first);
		ret->is_first = r > 0;
		capture_taken(c, &w);
		r = r < 0 ? r : 1;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (r == -EAGAIN)
		return 0; /* those that are open come first */
	return r < 0 ? job_blame(c->setup->job, "internal",
				 err_set(err, r, "capture: out of memory"))
		     : r;
}

/* 1: it was put off. */
static int read_window(struct capture_worker *w, const struct task *t, struct err *err)
{
	struct capture *c = w->c;
	uint64_t first = t->run.windows.first;
	struct outcome o = {.window = first};
	int r, later;

	if (t->is_empty)
		return 0;
	(void)meter_go(&w->clock, METER_DISK);
	later = rescue_read(c->rescue, w->ring, w->buf, first, window_length(c->size, first),
			    &o.leap, err);
	(void)meter_go(&w->clock, METER_CPU);
	o.is_put_off = later > 0;
	o.is_owed = later > 0 && t->is_first;
	r = later < 0 ? later : capture_tried(c, &o, err);
	return r < 0 ? job_blame(w->job, "read_error", r) : later;
}

/* 1: it was put off. */
static int read_and_cut(struct capture_worker *w, struct task *t, struct err *err)
{
	struct capture *c = w->c;
	uint32_t length = window_length(c->size, t->run.windows.first);
	uint64_t data;
	int r = read_window(w, t, err);

	if (r != 0)
		return r;
	if (t->is_empty)
		node_set_zero(w->node, length);
	else
		node_cut(w->buf, length, w->node);
	t->node_size = (uint32_t)node_encode(w->node, w->encoding);
	t->run.node = id_of(w->encoding, t->node_size);
	data = node_data_bytes(w->node);
	if (t->is_first) {
		(void)pthread_mutex_lock(&c->lock);
		c->data_bytes += data;
		(void)pthread_mutex_unlock(&c->lock);
		job_add(w->job, 0, data, 0);
	}
	return 0;
}

/* Window to the outbox: the server has all its chunks. */
static int put_window(struct capture_worker *w, const struct peer_run *run,
		      const struct peer_bytes *node, struct err *err)
{
	/* counted before another one may send it, be refused, and take it back */
	job_add(w->job, capture_used(w->c, &run->windows), 0, 0);
	return peer_blame(w->peer, w->job,
			  outbox_put(w->c->outbox, w->peer, w->ctx, run, node, err));
}

static int put_held(struct capture_worker *w, const struct held *h, struct err *err)
{
	struct peer_bytes node = {w->held_nodes + h->node_at, h->node_size};

	return put_window(w, &h->run, &node, err);
}

/* Move up what is left of the held ones. */
static void compact_held(struct capture_worker *w, const bool *gone)
{
	size_t len = 0, node_at = 0, wait_at = 0;

	for (size_t i = 0; i < w->held_len; i++) {
		struct held h = w->held[i];

		if (gone[i])
			continue;
		memmove(w->held_nodes + node_at, w->held_nodes + h.node_at, h.node_size);
		memmove(w->held_waits + wait_at, w->held_waits + h.wait_at,
			h.wait_len * sizeof(*w->held_waits));
		h.node_at = node_at;
		h.wait_at = wait_at;
		node_at += h.node_size;
		wait_at += h.wait_len;
		w->held[len++] = h;
	}
	w->held_len = len;
	w->held_nodes_size = node_at;
	w->held_waits_len = wait_at;
}

/* Let go of all held windows for which that is possible without waiting. */
static int release_held(struct capture_worker *w, struct err *err)
{
	bool gone[HELD_MAX] = {false}, any = false;
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->held_len; i++) {
		const struct held *h = &w->held[i];

		if (flight_is_up(w->c->flight, w->held_waits + h->wait_at, h->wait_len))
			continue;
		any = gone[i] = true;
		r = put_held(w, h, err);
	}
	if (any)
		compact_held(w, gone);
	return r;
}

static int fill_parcel(struct capture_worker *w, struct parcel *p, struct err *err)
{
	enum codec codec = w->c->setup->codec;
	int r, level = level_choose(w->c->setup->level, &w->job->meter);

	if (level == LEVEL_STORED)
		codec = CODEC_STORED;
	r = pack_builder_encode_to(w->pack, w->ctx, codec, level, p->data, &p->size, &p->pack_id,
				   err);
	/* it may have been found not worth compressing */
	p->level = p->size > pack_builder_plain_size(w->pack) ? LEVEL_STORED : level;
	memcpy(p->ids, w->pack_ids, w->pack_ids_len * sizeof(*p->ids));
	p->ids_len = w->pack_ids_len;
	return r;
}

/* To the senders with what is in the pack. */
static int ship_pack(struct capture_worker *w, struct err *err)
{
	struct parcel *p;
	int r;

	if (w->pack_ids_len == 0)
		return 0;
	(void)meter_go(&w->clock, METER_NOWHERE);
	p = parcels_get(w->c->parcels);
	(void)meter_go(&w->clock, METER_CPU);
	if (!p)
		return err_set(err, -ECANCELED, "stopped while waiting for a sender");
	r = fill_parcel(w, p, err);
	if (r < 0) {
		parcels_return(w->c->parcels, p);
		return job_blame(w->job, "internal", r);
	}
	parcels_put(w->c->parcels, p);
	pack_builder_reset(w->pack);
	w->pack_ids_len = 0;
	return 0;
}

static int add_chunk(struct capture_worker *w, const struct id *id, const uint8_t *data,
		     uint32_t length, struct err *err)
{
	int r = 0;

	if (pack_builder_plain_size(w->pack) >= w->pack_aim || w->pack_ids_len == PARCEL_IDS_MAX)
		r = ship_pack(w, err);
	if (r == 0 && !pack_builder_borrow(w->pack, id, data, length))
		r = err_set(err, -EOVERFLOW, "a chunk of %u bytes finds no room in a pack", length);
	if (r < 0)
		return r;
	if (w->pack_ids_len == 0)
		w->pack_ms = clock_ms();
	w->pack_ids[w->pack_ids_len++] = *id;
	return 0;
}

/* Send what is in the pack, then wait until all has landed: nothing is held any longer. */
static int flush_all(struct capture_worker *w, struct err *err)
{
	int r = ship_pack(w, err);

	for (size_t i = 0; r == 0 && i < w->held_len; i++) {
		const struct held *h = &w->held[i];

		(void)meter_go(&w->clock, METER_NOWHERE);
		r = flight_wait(w->c->flight, w->held_waits + h->wait_at, h->wait_len, err);
		(void)meter_go(&w->clock, METER_CPU);
		if (r == 0)
			r = put_held(w, h, err);
	}
	w->held_len = w->held_nodes_size = w->held_waits_len = 0;
	return r;
}

/* Keep the window back until its chunks have landed. */
static void hold(struct capture_worker *w, const struct task *t)
{
	struct held *h = &w->held[w->held_len++];

	*h = (struct held){t->run, w->held_nodes_size, w->held_waits_len, t->node_size,
			   t->wait_len};
	memcpy(w->held_nodes + h->node_at, w->encoding, h->node_size);
	w->held_nodes_size += h->node_size;
	memcpy(w->held_waits + h->wait_at, w->waits, h->wait_len * sizeof(*w->waits));
	w->held_waits_len += h->wait_len;
}

static int ask_for_node(struct capture_worker *w, struct task *t, struct err *err)
{
	uint8_t bit = 0;
	int r = w->peer->ops->lack(w->peer, PACK_NODES, &t->run.node, 1, &bit, err);

	if (r < 0)
		return peer_blame(w->peer, w->job, r);
	t->is_lacked = wire_bit(&bit, 0);
	if (!t->is_lacked)
		outbox_know_node(w->c->outbox, &t->run.node);
	return 0;
}

/* Whose are the window's chunks?  Those that are now this worker's go into `asked`, those of others into `waits`. */
static void claim_chunks(struct capture_worker *w, struct task *t)
{
	for (uint32_t k = 0; k < w->node->count; k++) {
		const struct node_entry *e = &w->node->entries[k];
		enum claim claim = e->is_chunk ? flight_claim(w->c->flight, &e->id) : CLAIM_KNOWN;

		if (claim == CLAIM_MINE) {
			w->asked[t->asked_len++] = e->id;
		} else if (claim == CLAIM_OTHER) {
			w->waits[t->wait_len++] = e->id;
		}
	}
}

/* Which of `asked` are to be sent: their bits in `lacked`; the others land. */
static int ask_for_chunks(struct capture_worker *w, struct task *t, struct err *err)
{
	const struct node_entry *e = w->node->entries;
	size_t landed = 0;
	int r;

	if (t->asked_len == 0)
		return 0;
	r = w->peer->ops->lack(w->peer, PACK_CHUNKS, w->asked, t->asked_len, w->lacked, err);
	if (r < 0)
		return peer_blame(w->peer, w->job, r);
	for (uint32_t i = 0; i < t->asked_len; i++, e++) {
		while (!e->is_chunk || !id_equal(&e->id, &w->asked[i]))
			e++;
		if (wire_bit(w->lacked, i)) {
			w->waits[t->wait_len++] = e->id;
			t->lacked_bytes += e->length;
		} else {
			w->landed[landed++] = e->id;
		}
	}
	flight_land(w->c->flight, w->landed, landed);
	return 0;
}

/* What does the server lack of the window?  Where it lacked chunks of the one before, its chunks are asked for at once: its node will be
 * lacking too, and a question less is a round trip less.  If it then has them all, it may well have the node. */
static int ask(struct capture_worker *w, struct task *t, struct err *err)
{
	bool is_guess = w->was_new;
	int r = 0;

	if (outbox_has_node(w->c->outbox, &t->run.node))
		return 0;
	t->is_lacked = true;
	if (!is_guess)
		r = ask_for_node(w, t, err);
	if (r == 0 && t->is_lacked) {
		claim_chunks(w, t);
		r = ask_for_chunks(w, t, err);
	}
	w->was_new = t->lacked_bytes > 0;
	if (r == 0 && is_guess && !w->was_new)
		r = ask_for_node(w, t, err);
	if (!t->is_lacked)
		t->wait_len = 0;
	return r;
}

/* Packs end where windows end if they can: who restores a window then finds its chunks in whole packs.  So what is in the pack
 * and `lacked` more are shared out evenly among as many packs as that is MiB.  False: it is so little that it waits for more. */
static bool plan_packs(struct capture_worker *w, uint32_t lacked)
{
	uint32_t size = pack_builder_plain_size(w->pack) + lacked;
	uint32_t packs = (size + PACK_PLAIN_AIM / 2) / PACK_PLAIN_AIM;

	w->pack_aim = packs > 0 ? size / packs + 1 : PACK_PLAIN_AIM;
	return packs > 0;
}

/* Pack the chunks that are lacked. */
static int pack_window(struct capture_worker *w, const struct task *t, struct err *err)
{
	const struct node_entry *e = w->node->entries;
	bool is_sent = plan_packs(w, t->lacked_bytes);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < t->asked_len; i++, e++) {
		while (!e->is_chunk || !id_equal(&e->id, &w->asked[i]))
			e++;
		if (wire_bit(w->lacked, i))
			r = add_chunk(w, &e->id, w->buf + e->offset, e->length, err);
	}
	if (r == 0 && is_sent)
		return ship_pack(w, err);
	pack_builder_own(w->pack); /* the window is read over */
	return r;
}

/* All that is to be done for a window that was read and cut. */
static int send_window(struct capture_worker *w, struct task *t, struct err *err)
{
	struct peer_bytes node = {w->encoding, t->node_size};
	int r = ask(w, t, err);

	if (r == 0 && t->lacked_bytes > 0)
		r = pack_window(w, t, err);
	if (r < 0)
		return r;
	if (t->wait_len == 0)
		return put_window(w, &t->run, t->is_lacked ? &node : NULL, err);
	hold(w, t);
	return 0;
}

/* Between two windows: let go of what can go, and see that there is room for what the next one may need. */
static int tidy(struct capture_worker *w, struct err *err)
{
	int r = 0;

	if (w->pack_ids_len > 0 && clock_ms() - w->pack_ms >= PACK_AGE_MS)
		r = ship_pack(w, err);
	if (r == 0)
		r = release_held(w, err);
	if (r == 0 &&
	    (w->held_len == HELD_MAX || w->held_nodes_size > HELD_NODES_MAX - NODE_SIZE_MAX ||
	     w->held_waits_len > HELD_WAITS_MAX - NODE_ENTRIES_MAX))
		r = flush_all(w, err);
	return r;
}

static int work(struct capture_worker *w, struct err *err)
{
	struct task t = {.is_empty = false};
	int r = 0;

	while (r == 0 && !atomic_load(&w->c->stop)) {
		r = take_windows(w->c, &t, err);
		if (r <= 0)
			break;
		r = job_check(w->job, err);
		if (r == 0)
			r = read_and_cut(w, &t, err);
		if (r == 0)
			r = send_window(w, &t, err);
		r = r > 0 ? 0 : r;
		if (r == 0)
			r = tidy(w, err);
	}
	if (r == 0 && !atomic_load(&w->c->stop))
		r = flush_all(w, err);
	if (r == 0 && !atomic_load(&w->c->stop))
		r = peer_blame(w->peer, w->job, outbox_flush(w->c->outbox, w->peer, w->ctx, err));
	return r;
}

int capture_worker_run(void *ctx, unsigned worker, struct err *err)
{
	struct capture_worker w;
	int r = worker_init(&w, ctx, worker, err);

	if (r == 0) {
		meter_start(&w.clock, &w.job->meter);
		w.peer->clock = &w.clock;
		r = work(&w, err);
		w.peer->clock = NULL;
		meter_stop(&w.clock);
	}
	worker_done(&w);
	return r;
}
