/* restore_write.c - window by window: what does the target hold already, what is lacking, fetch that, write it.
 *
 * The target is read before it is written.  So a restore over an older version, or one that was interrupted, moves only what differs, and
 * zeros are only written where something else is. A hole of a sparse file needs no reading.  A place of the target that cannot be read is
 * simply written: disks replace bad sectors then, and verification has the last word. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/restore_work.h"
#include "agent/wire.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/codec.h"
#include "common/pack.h"

/* What lies between two writes costs less time than a second one: 0.4 ms of a disk that turns, a round of it is 8. */
#define GAP_MAX (64u << 10)

/* What is to be done with an entry of the node. */
enum todo { KEEP, ZERO, FETCH, WRITE };

struct writer_state {
	struct restore *r;
	struct job *job;
	struct peer *peer;
	struct meter_clock *clock;
	struct codec_ctx *ctx;
	struct restore_piece piece;
	struct node *node;
	uint8_t *todo;	/* enum todo of each entry */
	uint8_t *buf;	/* the window: what the target holds, then what it shall hold */
	bool is_held;	/* what the target holds was read */
	uint8_t *plain; /* of one pack that does not go into the window as it is */
	struct peer_chunk *wanted;
	uint32_t wanted_len;
	uint64_t wanted_size;
	bool has_twins; /* some chunk is wanted in several places */
	uint32_t next;	/* entry behind the one that was placed last: packs mostly come in order */
	struct restore_counts counts;
};

static int oom(struct writer_state *s, struct err *err)
{
	return job_blame(
		s->job, "internal",
		err_set(err, -ENOMEM, "restore: out of memory; use fewer workers (hoist.workers)"));
}

/* A chunk is never all zero: so what is zero differs, and need not be hashed. */
static enum todo compare_entry(const struct node_entry *e, const uint8_t *held)
{
	bool is_zero = bytes_are_zero(held, e->length);
	struct id id;

	if (!e->is_chunk)
		return is_zero ? KEEP : ZERO;
	if (is_zero)
		return FETCH;
	id = id_of(held, e->length);
	return id_equal(&id, &e->id) ? KEEP : FETCH;
}

/* Fill `todo`. */
static int compare(struct writer_state *s, uint64_t w, struct err *err)
{
	struct blk *target = s->r->setup.target;
	const struct node *n = s->node;
	uint64_t offset = w * WINDOW_SIZE;
	bool is_hole = blk_is_hole(target, offset, n->length), is_unknown = false;
	struct err ignored;

	if (!is_hole) {
		restore_begin_io(s->r, s->clock);
		is_unknown = blk_read(target, s->buf, n->length, offset, &ignored) < 0;
		restore_end_io(s->r, s->clock);
		atomic_fetch_add(&s->r->bytes_read, n->length);
	}
	s->is_held = !is_hole && !is_unknown;
	for (uint32_t i = 0; i < n->count; i++) {
		const struct node_entry *e = &n->entries[i];

		if (is_hole) {
			s->todo[i] = e->is_chunk ? FETCH : KEEP;
		} else if (is_unknown) {
			s->todo[i] = e->is_chunk ? FETCH : ZERO;
		} else {
			s->todo[i] = (uint8_t)compare_entry(e, s->buf + e->offset);
		}
	}
	return job_check(s->job, err);
}

static bool is_wanted(const struct writer_state *s, const struct id *id)
{
	for (uint32_t i = 0; i < s->wanted_len; i++) {
		if (id_equal(&s->wanted[i].id, id))
			return true;
	}
	return false;
}

/* The chunks to be fetched, each once. */
static void list_wanted(struct writer_state *s, uint64_t w)
{
	s->wanted_len = 0;
	s->wanted_size = 0;
	s->has_twins = false;
	s->next = 0;
	for (uint32_t i = 0; i < s->node->count; i++) {
		const struct node_entry *e = &s->node->entries[i];

		if (s->todo[i] != FETCH)
			continue;
		if (is_wanted(s, &e->id)) {
			s->has_twins = true;
			continue;
		}
		s->wanted[s->wanted_len++] = (struct peer_chunk){w, e->id};
		s->wanted_size += e->length;
	}
}

static bool is_place_of(const struct writer_state *s, uint32_t i, const struct pack_entry *x)
{
	const struct node_entry *e = &s->node->entries[i];

	return s->todo[i] == FETCH && e->length == x->length && id_equal(&e->id, &x->id);
}

/* Put a chunk wherever it belongs.  False if it belongs nowhere (any more). */
static bool place_chunk(struct writer_state *s, const struct pack_entry *x, const uint8_t *plain)
{
	uint32_t count = s->node->count, i = s->next;
	bool placed = false;

	for (uint32_t k = 0; k < count && (!placed || s->has_twins); k++, i++) {
		i = i < count ? i : 0;
		if (!is_place_of(s, i, x))
			continue;
		memcpy(s->buf + s->node->entries[i].offset, plain + x->offset, x->length);
		s->todo[i] = WRITE;
		s->next = i + 1;
		placed = true;
	}
	return placed;
}

/* Is the body of the pack, byte for byte, a piece of the window?  Then it is decompressed where it belongs: nothing is copied. */
static bool find_place(const struct writer_state *s, const struct pack *p, uint32_t *ret_first)
{
	uint32_t first = s->next, i = 0;

	while (first < s->node->count && !is_place_of(s, first, &p->entries[0]))
		first++;
	if (s->has_twins || p->count > s->node->count - first)
		return false;
	while (i < p->count && is_place_of(s, first + i, &p->entries[i]))
		i++;
	*ret_first = first;
	return i == p->count;
}

static int decode_into(struct writer_state *s, const struct pack *p, uint8_t *to, struct err *err)
{
	int e = pack_decompress(p, s->ctx, to, err);

	return e < 0 ? e : pack_verify(p, to, err);
}

static int place_pack(struct writer_state *s, const struct pack *p, struct err *err)
{
	uint32_t first = 0;
	int e;

	if (find_place(s, p, &first)) {
		e = decode_into(s, p, s->buf + s->node->entries[first].offset, err);
		if (e == 0)
			memset(s->todo + first, WRITE, p->count);
		s->next = first + p->count;
		return e;
	}
	e = decode_into(s, p, s->plain, err);
	for (uint32_t i = 0; e == 0 && i < p->count; i++) {
		if (!place_chunk(s, &p->entries[i], s->plain))
			e = err_set(err, -EPROTO, "the server sent a chunk that was not asked for");
	}
	return e;
}

/* One pack of the answer: decoded and every chunk hashed before any is used. */
static int take_pack(struct writer_state *s, const struct peer_bytes *bytes, struct err *err)
{
	struct pack p = {0};
	int e = pack_decode(bytes->data, bytes->size, &p, err);

	if (e == 0 && (p.kind != PACK_CHUNKS || p.plain_size > s->wanted_size))
		e = err_set(err, -EPROTO, "the server sent a pack that was not asked for");
	if (e == 0)
		e = place_pack(s, &p, err);
	pack_done(&p);
	return e;
}

static int take_answer(struct writer_state *s, const struct peer_bytes *answer, struct err *err)
{
	struct reader in;
	struct peer_bytes one;
	int e = 0;

	reader_init(&in, answer->data, answer->size);
	while (e == 0 && in.left > 0) {
		e = wire_next(&in, PACK_HEADER + PACK_ENTRY + 1, PACK_SIZE_MAX, &one, err);
		if (e == 0)
			e = take_pack(s, &one, err);
	}
	for (uint32_t i = 0; e == 0 && i < s->node->count; i++) {
		if (s->todo[i] == FETCH)
			e = err_set(err, -EPROTO, "the server left out a chunk that was asked for");
	}
	if (e == -EBADMSG)
		return job_blame(s->job, "store_damaged", e);
	return e < 0 ? job_blame(s->job, "internal", e) : 0;
}

static int fetch(struct writer_state *s, uint64_t w, struct err *err)
{
	struct peer_bytes answer;
	int e;

	list_wanted(s, w);
	if (s->wanted_len == 0)
		return 0;
	e = s->peer->ops->get_chunks(s->peer, s->r->setup.disk, s->wanted, s->wanted_len,
				     wire_chunks_max(s->wanted_len, s->wanted_size), &answer, err);
	if (e < 0)
		return peer_blame(s->peer, s->job, e);
	e = take_answer(s, &answer, err);
	if (e < 0)
		return err_prefix(err, "window %" PRIu64 " of the image", w);
	s->counts.fetched += s->wanted_size;
	job_add(s->job, 0, 0, answer.size);
	return 0;
}

static void fill_gap(struct writer_state *s, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		if (s->todo[i] == ZERO)
			memset(s->buf + s->node->entries[i].offset, 0, s->node->entries[i].length);
		s->todo[i] = WRITE;
	}
}

/* A short gap between two places that are written is written through with what it holds or shall hold: one large write is sooner done than
 * two.  Not where that would fill holes of a sparse file. */
static void fill_gaps(struct writer_state *s)
{
	const struct node *n = s->node;
	bool may_have_holes = !blk_is_device(s->r->setup.target), is_after_write = false;
	uint32_t end = 0, behind = 0; /* of the last write: its place, its entry */

	for (uint32_t i = 0; s->is_held && i < n->count; i++) {
		const struct node_entry *e = &n->entries[i];

		if (s->todo[i] == KEEP && !e->is_chunk && may_have_holes)
			is_after_write = false;
		if (s->todo[i] != WRITE)
			continue;
		if (is_after_write && e->offset - end <= GAP_MAX)
			fill_gap(s, behind, i);
		is_after_write = true;
		end = e->offset + e->length;
		behind = i + 1;
	}
}

/* Neighbours with the same fate go in one piece. */
static int apply(struct writer_state *s, uint64_t w, struct err *err)
{
	struct blk *target = s->r->setup.target;
	const struct node *n = s->node;
	int e = 0;

	fill_gaps(s);
	restore_begin_io(s->r, s->clock);
	for (uint32_t i = 0, next; e == 0 && i < n->count; i = next) {
		uint32_t at = n->entries[i].offset, size;

		for (next = i + 1; next < n->count && s->todo[next] == s->todo[i];)
			next++;
		size = (next < n->count ? n->entries[next].offset : n->length) - at;
		switch ((enum todo)s->todo[i]) {
		case KEEP:
			s->counts.kept += size;
			break;
		case ZERO:
			e = blk_zero(target, w * WINDOW_SIZE + at, size, err);
			s->counts.zeroed += size;
			break;
		case WRITE:
			e = blk_write(target, s->buf + at, size, w * WINDOW_SIZE + at, err);
			s->counts.written += size;
			break;
		case FETCH:
			assert(false);
		}
	}
	restore_end_io(s->r, s->clock);
	return job_blame(s->job, e == -ESTALE ? "target_changed" : "write_error", e);
}

static int restore_window(struct writer_state *s, uint64_t w, struct err *err)
{
	int e = compare(s, w, err);

	if (e == 0)
		e = fetch(s, w, err);
	return e < 0 ? e : apply(s, w, err);
}

static int restore_piece(struct writer_state *s, struct err *err)
{
	const struct window_range *w = &s->piece.windows;
	struct peer_bytes encoding = {s->piece.node, s->piece.node_size};
	uint64_t size;
	struct id id;
	int e = restore_decode_node(s->r, w->first, &encoding, s->node, &id, err);

	if (e < 0)
		return job_blame(s->job, "internal", e);
	size = w->count * s->node->length;
	if (s->piece.is_done) {
		s->counts.kept += size;
		e = job_check(s->job, err);
	} else {
		e = restore_window(s, w->first, err);
	}
	if (e < 0)
		return e;
	(void)ledger_set(s->r->written, w, &id, NULL);
	job_add(s->job, size, node_data_bytes(s->node), 0);
	return 0;
}

static int work(struct writer_state *s, struct err *err)
{
	struct restore *r = s->r;
	int e = 0;

	while (e == 0 && !atomic_load(&r->stop)) {
		e = restore_take(r, s->peer, &s->piece, err);
		if (e <= 0)
			break;
		e = restore_piece(s, err);
	}
	(void)pthread_mutex_lock(&r->lock);
	r->counts.kept += s->counts.kept;
	r->counts.written += s->counts.written;
	r->counts.zeroed += s->counts.zeroed;
	r->counts.fetched += s->counts.fetched;
	(void)pthread_mutex_unlock(&r->lock);
	return e;
}

int restore_write_run(void *ctx, unsigned worker, struct err *err)
{
	struct restore *r = ctx;
	CLEANUP(codec_ctx_freep) struct codec_ctx *codec = codec_ctx_new();
	CLEANUP_FREE uint8_t *encoding = malloc(NODE_SIZE_MAX);
	CLEANUP_FREE struct node *node = malloc(sizeof(*node));
	CLEANUP_FREE uint8_t *todo = malloc(NODE_ENTRIES_MAX);
	CLEANUP_FREE uint8_t *buf = buffer_new(WINDOW_SIZE);
	CLEANUP_FREE uint8_t *plain = malloc(WINDOW_SIZE);
	CLEANUP_FREE struct peer_chunk *wanted = calloc(NODE_ENTRIES_MAX, sizeof(*wanted));
	struct meter_clock clock;
	struct writer_state s = {.r = r,
				 .job = r->setup.job,
				 .peer = r->setup.peers[worker],
				 .clock = &clock,
				 .ctx = codec,
				 .piece = {.node = encoding},
				 .node = node,
				 .todo = todo,
				 .buf = buf,
				 .plain = plain,
				 .wanted = wanted};
	int e;

	if (!codec || !encoding || !node || !todo || !buf || !plain || !wanted)
		return oom(&s, err);
	meter_start(&clock, &s.job->meter);
	s.peer->clock = &clock;
	e = work(&s, err);
	s.peer->clock = NULL;
	meter_stop(&clock);
	return e;
}
