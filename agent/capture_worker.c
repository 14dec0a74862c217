/* capture_worker.c - what one thread does with the windows that it takes.
 *
 * New chunks gather in a pack, over as many batches as it takes to fill it.  A window whose chunks are not all at the server yet is
 * held: until the pack that has its last own chunk is acknowledged, and until other workers have landed those that they carry.  Only then
 * its node may go out.  Waiting for others is only done with an empty pack (flush_all, between batches): see flight.h. */
#include "agent/capture_worker.h"

#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/clock.h"
#include "agent/wire.h"
#include "common/blk.h"
#include "common/node.h"

#define BATCH_WINDOWS  1u /* two are no cheaper, and take 4 MiB more of memory a worker */
#define BATCH_CHUNKS   (BATCH_WINDOWS * NODE_ENTRIES_MAX)
#define READS_MAX      RING_DEPTH /* in flight, by all workers together: more make disks no faster */
#define PACK_ROOM      (PACK_PLAIN_AIM + PACK_PLAIN_AIM / 2 + CHUNK_MAX)
#define PACK_IDS_MAX   1024u /* chunks of 4 KiB in it, and to spare */
#define HELD_MAX       64u
#define HELD_NODES_MAX (512u << 10)
#define HELD_WAITS_MAX (4u * BATCH_CHUNKS)
#define HELD_AGE_MS    2000u

/* A window that waits for its chunks. */
struct held {
	struct peer_run run;
	size_t node_at; /* its encoding in node_bytes */
	uint32_t node_size;
	uint64_t pack;	/* the pack that has to be acknowledged first; 0: none */
	size_t wait_at; /* in waits */
	size_t wait_len;
};

struct batch {
	uint64_t first;
	uint32_t count;
	bool is_empty; /* known without reading; then these may be many windows */
	bool is_first; /* no pass before has taken them */
	struct peer_run runs[BATCH_WINDOWS];
	uint32_t node_sizes[BATCH_WINDOWS];
	bool is_lacked[BATCH_WINDOWS]; /* its node */
	size_t wait_at[BATCH_WINDOWS]; /* in batch_waits */
	size_t wait_len[BATCH_WINDOWS];
};

struct capture_worker {
	struct capture *c;
	struct job *job;
	struct peer *peer;
	struct meter_clock clock;
	struct codec_ctx *ctx;
	uint8_t *buf;		/* a batch of windows */
	struct ring *ring;	/* by which it is read, or NULL */
	struct node *nodes;	/* theirs */
	uint8_t *encodings;	/* of those, NODE_SIZE_MAX apart */
	struct id *asked;	/* chunks that are this worker's to ask for and send */
	uint8_t *lacked;	/* bits, of asked */
	struct id *batch_waits; /* chunks of the batch that others carry */

	struct pack_builder *pack; /* being filled */
	uint32_t pack_aim;	   /* when it has so many bytes it is sent */
	uint64_t pack_number;	   /* its number, from 1 */
	struct id *pack_ids;	   /* what is in it */
	size_t pack_ids_len;

	struct held *held;
	size_t held_len;
	uint64_t held_ms; /* when the first of them came in */
	uint8_t *node_bytes;
	size_t node_bytes_size;
	struct id *waits;
	size_t waits_len;
};

size_t capture_claims_max(unsigned workers)
{
	return (size_t)workers * (BATCH_CHUNKS + PACK_IDS_MAX);
}

static void worker_done(struct capture_worker *w)
{
	codec_ctx_free(w->ctx);
	pack_builder_free(w->pack);
	ring_free(w->ring);
	free(w->buf);
	free(w->nodes);
	free(w->encodings);
	free(w->asked);
	free(w->lacked);
	free(w->batch_waits);
	free(w->pack_ids);
	free(w->held);
	free(w->node_bytes);
	free(w->waits);
}

static int worker_init(struct capture_worker *w, struct capture *c, unsigned worker,
		       struct err *err)
{
	*w = (struct capture_worker){.c = c, .job = c->setup->job, .pack_number = 1};
	w->peer = c->setup->peers[worker];
	w->ctx = codec_ctx_new();
	w->buf = buffer_new((size_t)BATCH_WINDOWS * WINDOW_SIZE);
	if (c->setup->source->may_ring && c->setup->workers <= READS_MAX / 2)
		w->ring = ring_new(READS_MAX / c->setup->workers);
	w->nodes = calloc(BATCH_WINDOWS, sizeof(*w->nodes));
	w->encodings = calloc(BATCH_WINDOWS, NODE_SIZE_MAX);
	w->asked = calloc(BATCH_CHUNKS, sizeof(*w->asked));
	w->lacked = calloc(BATCH_CHUNKS / 8, 1);
	w->batch_waits = calloc(BATCH_CHUNKS, sizeof(*w->batch_waits));
	w->pack = pack_builder_new(PACK_CHUNKS, PACK_ROOM);
	w->pack_ids = calloc(PACK_IDS_MAX, sizeof(*w->pack_ids));
	w->held = calloc(HELD_MAX, sizeof(*w->held));
	w->node_bytes = malloc(HELD_NODES_MAX);
	w->waits = calloc(HELD_WAITS_MAX, sizeof(*w->waits));
	if (w->ctx && w->buf && w->nodes && w->encodings && w->asked && w->lacked &&
	    w->batch_waits && w->pack && w->pack_ids && w->held && w->node_bytes && w->waits)
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

/* The next windows that are not acknowledged: empty ones, or one that is not.  0: none are left in this pass. */
static int take_batch(struct capture *c, struct batch *ret, struct err *err)
{
	struct window_range w;
	uint64_t empty = 0;
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	w = ledger_unknown(c->ledger, c->next);
	if (w.count > 0) {
		empty = count_empty(c, &w);
		w.count = empty > 0 ? empty : 1;
		r = ledger_begin(c->ledger, &w);
	}
	c->is_cut_short = c->is_cut_short || r == -EAGAIN;
	if (w.count > 0 && r == 0) {
		*ret = (struct batch){.first = w.first,
				      .count = 1,
				      .is_empty = empty > 0,
				      .is_first = w.first >= c->seen,
				      .runs[0].windows = w};
		c->next = w.first + w.count;
		c->seen = c->next > c->seen ? c->next : c->seen;
		r = 1;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (r == -EAGAIN)
		return 0; /* those that are open come first */
	return r < 0 ? job_blame(c->setup->job, "internal",
				 err_set(err, r, "capture: out of memory"))
		     : r;
}

static int read_and_cut(struct capture_worker *w, struct batch *b, struct err *err)
{
	struct capture *c = w->c;
	uint64_t offset = b->first * WINDOW_SIZE;
	uint64_t left = c->size - offset, data = 0;
	uint32_t size = b->count * WINDOW_SIZE;
	int r = 0;

	if (left < size)
		size = (uint32_t)left;
	if (!b->is_empty) {
		(void)meter_go(&w->clock, METER_DISK);
		r = source_read(c->setup->source, w->ring, w->buf, offset, size, err);
		(void)meter_go(&w->clock, METER_CPU);
	}
	if (r < 0)
		return job_blame(w->job, "read_error", r);
	for (uint32_t i = 0; i < b->count; i++) {
		uint8_t *encoding = w->encodings + (size_t)i * NODE_SIZE_MAX;
		uint32_t length = window_length(c->size, b->first + i);

		if (!b->is_empty)
			node_cut(w->buf + (size_t)i * WINDOW_SIZE, length, &w->nodes[i]);
		else
			node_set_zero(&w->nodes[i], length);
		b->node_sizes[i] = (uint32_t)node_encode(&w->nodes[i], encoding);
		b->runs[i].node = id_of(encoding, b->node_sizes[i]);
		data += node_data_bytes(&w->nodes[i]);
	}
	if (b->is_first) {
		(void)pthread_mutex_lock(&c->lock);
		c->data_bytes += data;
		(void)pthread_mutex_unlock(&c->lock);
		job_add(w->job, 0, data, 0);
	}
	return 0;
}

static int ask_for_nodes(struct capture_worker *w, struct batch *b, struct err *err)
{
	struct id ids[BATCH_WINDOWS];
	uint32_t numbers[BATCH_WINDOWS], len = 0;
	uint8_t bits[(BATCH_WINDOWS + 7) / 8];
	int r = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		if (outbox_has_node(w->c->outbox, &b->runs[i].node))
			continue;
		numbers[len] = i;
		ids[len++] = b->runs[i].node;
	}
	if (len > 0) {
		r = w->peer->ops->lack(w->peer, PACK_NODES, ids, len, bits, err);
		r = peer_blame(w->peer, w->job, r);
	}
	for (uint32_t i = 0; r == 0 && i < len; i++) {
		if (wire_bit(bits, i)) {
			b->is_lacked[numbers[i]] = true;
		} else {
			outbox_know_node(w->c->outbox, &ids[i]);
		}
	}
	return r;
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
	struct peer_bytes node = {w->node_bytes + h->node_at, h->node_size};

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
		memmove(w->node_bytes + node_at, w->node_bytes + h.node_at, h.node_size);
		memmove(w->waits + wait_at, w->waits + h.wait_at, h.wait_len * sizeof(*w->waits));
		h.node_at = node_at;
		h.wait_at = wait_at;
		node_at += h.node_size;
		wait_at += h.wait_len;
		w->held[len++] = h;
	}
	w->held_len = len;
	w->node_bytes_size = node_at;
	w->waits_len = wait_at;
}

/* Let go of all held windows for which that is possible without waiting. */
static int release_held(struct capture_worker *w, struct err *err)
{
	bool gone[HELD_MAX] = {false};
	int r = 0;

	for (size_t i = 0; r == 0 && i < w->held_len; i++) {
		const struct held *h = &w->held[i];

		if (h->pack >= w->pack_number ||
		    flight_is_up(w->c->flight, w->waits + h->wait_at, h->wait_len))
			continue;
		gone[i] = true;
		r = put_held(w, h, err);
	}
	compact_held(w, gone);
	return r;
}

static int send_pack(struct capture_worker *w, struct err *err)
{
	enum codec codec = w->c->setup->codec;
	struct level *control = w->c->setup->level;
	const uint8_t *data;
	size_t size;
	struct id id;
	int r, level;

	if (w->pack_ids_len == 0)
		return 0;
	level = level_choose(control, &w->job->meter);
	if (level == LEVEL_STORED)
		codec = CODEC_STORED;
	r = pack_builder_encode(w->pack, w->ctx, codec, level, &data, &size, &id, err);
	if (r == 0)
		r = w->peer->ops->put_pack(w->peer, &id, data, size, err);
	if (r < 0)
		return peer_blame(w->peer, w->job, r);
	for (size_t i = 0; i < w->pack_ids_len; i++)
		flight_land(w->c->flight, &w->pack_ids[i]);
	job_add(w->job, 0, 0, size);
	/* it may have been found not worth compressing */
	level_count(control, size > pack_builder_plain_size(w->pack) ? LEVEL_STORED : level, size);
	pack_builder_reset(w->pack);
	w->pack_ids_len = 0;
	w->pack_number++;
	return release_held(w, err);
}

static int add_chunk(struct capture_worker *w, const struct id *id, const uint8_t *data,
		     uint32_t length, struct err *err)
{
	int r = 0;

	if (pack_builder_plain_size(w->pack) >= w->pack_aim || w->pack_ids_len == PACK_IDS_MAX)
		r = send_pack(w, err);
	if (r == 0 && !pack_builder_borrow(w->pack, id, data, length))
		r = err_set(err, -EOVERFLOW, "a chunk of %u bytes finds no room in a pack", length);
	if (r == 0)
		w->pack_ids[w->pack_ids_len++] = *id;
	return r;
}

/* Send what is left in the pack, then wait for the others: nothing is held any longer. */
static int flush_all(struct capture_worker *w, struct err *err)
{
	bool gone[HELD_MAX];
	int r = send_pack(w, err);

	for (size_t i = 0; r == 0 && i < w->held_len; i++) {
		const struct held *h = &w->held[i];

		(void)meter_go(&w->clock, METER_NOWHERE);
		r = flight_wait(w->c->flight, w->waits + h->wait_at, h->wait_len, err);
		(void)meter_go(&w->clock, METER_CPU);
		if (r == 0)
			r = put_held(w, h, err);
	}
	memset(gone, true, sizeof(gone));
	compact_held(w, gone);
	return r;
}

/* Keep a window back until pack number `pack` is acknowledged and its waits have landed. */
static void hold(struct capture_worker *w, const struct batch *b, uint32_t i, uint64_t pack)
{
	struct held *h = &w->held[w->held_len];

	if (w->held_len++ == 0)
		w->held_ms = clock_ms();
	*h = (struct held){b->runs[i], w->node_bytes_size, b->node_sizes[i],
			   pack,       w->waits_len,	   b->wait_len[i]};
	memcpy(w->node_bytes + h->node_at, w->encodings + (size_t)i * NODE_SIZE_MAX, h->node_size);
	w->node_bytes_size += h->node_size;
	memcpy(w->waits + h->wait_at, w->batch_waits + b->wait_at[i],
	       h->wait_len * sizeof(*w->waits));
	w->waits_len += h->wait_len;
}

/* Whose are the chunks of the lacked windows?  Returns how many of them are now this worker's, in `asked`, in the order of the windows. */
static size_t claim_chunks(struct capture_worker *w, struct batch *b)
{
	size_t len = 0, waits = 0;

	for (uint32_t i = 0; i < b->count; i++) {
		const struct node *n = &w->nodes[i];

		b->wait_at[i] = waits;
		for (uint32_t k = 0; b->is_lacked[i] && k < n->count; k++) {
			const struct id *id = &n->entries[k].id;
			enum claim claim = n->entries[k].is_chunk ? flight_claim(w->c->flight, id)
								  : CLAIM_KNOWN;

			if (claim == CLAIM_MINE) {
				w->asked[len++] = *id;
			} else if (claim == CLAIM_OTHER) {
				w->batch_waits[waits++] = *id;
			}
		}
		b->wait_len[i] = waits - b->wait_at[i];
	}
	return len;
}

static int ask_for_chunks(struct capture_worker *w, size_t len, struct err *err)
{
	int r;

	if (len == 0)
		return 0;
	r = w->peer->ops->lack(w->peer, PACK_CHUNKS, w->asked, len, w->lacked, err);
	if (r < 0)
		return peer_blame(w->peer, w->job, r);
	for (size_t i = 0; i < len; i++) {
		if (!wire_bit(w->lacked, i))
			flight_land(w->c->flight, &w->asked[i]);
	}
	return 0;
}

/* Of the chunks of window `i` that are asked for from `at` on. */
static uint32_t lacked_bytes(const struct capture_worker *w, uint32_t i, size_t len, size_t at)
{
	const struct node *n = &w->nodes[i];
	uint32_t sum = 0;

	for (uint32_t k = 0; at < len && k < n->count; k++) {
		const struct node_entry *e = &n->entries[k];

		if (e->is_chunk && id_equal(&e->id, &w->asked[at]) && wire_bit(w->lacked, at++))
			sum += e->length;
	}
	return sum;
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

/* Pack those chunks of window `i` that are asked for from `*at` on and lacked.  *ret_pack: the last pack that one went into, else 0. */
static int pack_window(struct capture_worker *w, uint32_t i, size_t len, size_t *at,
		       uint64_t *ret_pack, struct err *err)
{
	const struct node *n = &w->nodes[i];
	const uint8_t *data = w->buf + (size_t)i * WINDOW_SIZE;
	bool is_sent = plan_packs(w, lacked_bytes(w, i, len, *at));
	int r = 0;

	*ret_pack = 0;
	for (uint32_t k = 0; r == 0 && *at < len && k < n->count; k++) {
		const struct node_entry *e = &n->entries[k];

		if (!e->is_chunk || !id_equal(&e->id, &w->asked[*at]))
			continue;
		if (wire_bit(w->lacked, (*at)++)) {
			r = add_chunk(w, &e->id, data + e->offset, e->length, err);
			*ret_pack = w->pack_number;
		}
	}
	if (r == 0 && is_sent)
		return send_pack(w, err);
	pack_builder_own(w->pack); /* the window is read over */
	return r;
}

/* All that is to be done for the windows of a batch that was read and cut. */
static int send_batch(struct capture_worker *w, struct batch *b, struct err *err)
{
	size_t len = 0, at = 0;
	int r = ask_for_nodes(w, b, err);

	if (r == 0) {
		len = claim_chunks(w, b);
		r = ask_for_chunks(w, len, err);
	}
	for (uint32_t i = 0; r == 0 && i < b->count; i++) {
		struct peer_bytes node = {w->encodings + (size_t)i * NODE_SIZE_MAX,
					  b->node_sizes[i]};
		uint64_t pack = 0;

		if (b->is_lacked[i])
			r = pack_window(w, i, len, &at, &pack, err);
		if (r < 0)
			break;
		if (pack >= w->pack_number || b->wait_len[i] > 0) {
			hold(w, b, i, pack);
		} else {
			r = put_window(w, &b->runs[i], b->is_lacked[i] ? &node : NULL, err);
		}
	}
	return r;
}

/* Before the next batch: is there room for what it may hold, and has nothing been held for too long? */
static bool is_flush_due(const struct capture_worker *w)
{
	return w->held_len > HELD_MAX - BATCH_WINDOWS ||
	       w->node_bytes_size > HELD_NODES_MAX - BATCH_WINDOWS * NODE_SIZE_MAX ||
	       w->waits_len > HELD_WAITS_MAX - BATCH_CHUNKS ||
	       (w->held_len > 0 && clock_ms() - w->held_ms >= HELD_AGE_MS);
}

static int work(struct capture_worker *w, struct err *err)
{
	struct batch b = {.count = 0};
	int r = 0;

	while (r == 0 && !atomic_load(&w->c->stop)) {
		r = take_batch(w->c, &b, err);
		if (r <= 0)
			break;
		r = job_check(w->job, err);
		if (r == 0)
			r = read_and_cut(w, &b, err);
		if (r == 0)
			r = send_batch(w, &b, err);
		if (r == 0 && is_flush_due(w))
			r = flush_all(w, err);
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
