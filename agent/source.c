/* source.c - pieces of 1 MiB; short gaps between used places are read through, since a request costs more than they do. */
#include "agent/source.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "agent/clock.h"
#include "common/limits.h"

#define PIECE_SIZE (1u << 20)
/* Reading through gaps up to that is cheaper than another request (docs/performance.md), ... */
#define GAP_SIZE	(256u << 10)
#define GAP_SIZE_SERIAL (1u << 20) /* ... where a head has to move: 8 ms at 150 MB/s are 1.2 MB */

void source_init(struct source *s, struct blk *blk, const struct used *used, bool is_serial)
{
	memset(s, 0, sizeof(*s));
	s->blk = blk;
	s->may_ring = true;
	s->used = used;
	s->is_serial = is_serial;
	s->gap_size = is_serial ? GAP_SIZE_SERIAL : GAP_SIZE;
	(void)pthread_mutex_init(&s->serial_lock, NULL);
	(void)pthread_mutex_init(&s->lock, NULL);
}

void source_done(struct source *s)
{
	extents_done(&s->unreadable);
	(void)pthread_mutex_destroy(&s->serial_lock);
	(void)pthread_mutex_destroy(&s->lock);
}

/* Errors that say "this place", not "this disk" or "this program". */
static bool is_bad_place(int r)
{
	switch (-r) {
	case EIO:
	case EREMOTEIO:
	case EILSEQ:
	case ENODATA:
	case ENOLINK:
	case ETIMEDOUT:
	case EAGAIN:
		return true;
	default:
		return false;
	}
}

static void count_read(struct source *s, int r, uint32_t size, bool by_ring)
{
	(void)pthread_mutex_lock(&s->lock);
	if (r == 0) {
		s->bytes_read += size;
		s->bytes_ring += by_ring ? size : 0;
	} else {
		s->errors++;
	}
	(void)pthread_mutex_unlock(&s->lock);
}

/* One read of the device, counted. */
static int read_once(struct source *s, uint8_t *buf, uint64_t offset, uint32_t size,
		     struct err *err)
{
	int r = blk_read(s->blk, buf, size, offset, err);

	count_read(s, r, size, false);
	return r;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The lock is held. */
static int list_unreadable(struct source *s, uint64_t offset, uint64_t end)
{
	const struct used *u = s->used;
	int r = 0;

	for (size_t i = used_find(u, offset); r == 0 && i < u->len && u->extents[i].offset < end;
	     i++) {
		uint64_t from = u->extents[i].offset > offset ? u->extents[i].offset : offset;
		uint64_t to = least_of(u->extents[i].offset + u->extents[i].length, end);

		r = extents_add(&s->unreadable, from, to - from);
	}
	return r;
}

int source_give_up(struct source *s, uint64_t offset, uint64_t size, struct err *err)
{
	size_t len;
	int r;

	(void)pthread_mutex_lock(&s->lock);
	r = list_unreadable(s, offset, offset + size);
	len = s->unreadable.len;
	(void)pthread_mutex_unlock(&s->lock);
	if (r < 0)
		return err_set(err, r, "read '%s': out of memory", blk_name(s->blk));
	if (len > EXTENTS_MAX) {
		return err_set(err, -EFBIG,
			       "read '%s': more than %u unreadable places, which is more than an "
			       "image can list",
			       blk_name(s->blk), EXTENTS_MAX);
	}
	return 0;
}

int source_read_sectors(struct source *s, void *buf, uint64_t offset, uint32_t size,
			struct err *err)
{
	int r;

	if (s->is_serial)
		(void)pthread_mutex_lock(&s->serial_lock);
	r = blk_read_sectors(s->blk, buf, size, offset, err);
	if (s->is_serial)
		(void)pthread_mutex_unlock(&s->serial_lock);
	count_read(s, r, size, false);
	return is_bad_place(r) ? SOURCE_SICK : r;
}

static int read_piece(struct source *s, uint8_t *buf, uint64_t offset, uint32_t size,
		      struct err *err)
{
	int r = read_once(s, buf, offset, size, err);

	return is_bad_place(r) ? SOURCE_SICK : r;
}

/* Pieces that wait to be read together. */
struct batch {
	struct source *s;
	struct ring *ring; /* or NULL */
	struct ring_read reads[RING_DEPTH];
	unsigned len;
};

static int end_piece(struct batch *b, const struct ring_read *x, struct err *err)
{
	struct source *s = b->s;

	if (x->result == RING_LEFT)
		return read_piece(s, x->buf, x->offset, x->size, err);
	count_read(s, x->result, x->size, true);
	if (x->result < 0) {
		(void)err_set(err, x->result, "read '%s' at byte %" PRIu64 ": %s", blk_name(s->blk),
			      x->offset, strerrordesc_np(-x->result));
	}
	return is_bad_place(x->result) ? SOURCE_SICK : x->result;
}

/* All have ended before what went wrong with any of them is looked at. */
static int read_batch(struct batch *b, struct err *err)
{
	int r = 0;

	if (b->len > 0)
		ring_do(b->ring, b->reads, b->len);
	for (unsigned i = 0; r == 0 && i < b->len; i++)
		r = end_piece(b, &b->reads[i], err);
	b->len = 0;
	return r;
}

static int add_piece(struct batch *b, uint8_t *buf, uint64_t offset, uint32_t size, struct err *err)
{
	int fd = b->ring ? blk_direct_fd(b->s->blk, buf, size, offset) : -1;

	if (fd < 0)
		return read_piece(b->s, buf, offset, size, err);
	b->reads[b->len++] = (struct ring_read){buf, offset, size, fd, RING_LEFT};
	return b->len == ring_depth(b->ring) ? read_batch(b, err) : 0;
}

/* Where the used run that begins in extent `*ret_i` at or after `offset` ends, short gaps included; at most at `end`.  *ret_i: the
 * extent behind. */
static uint64_t run_end(const struct source *s, size_t *ret_i, uint64_t end)
{
	const struct used *u = s->used;
	size_t i = *ret_i;
	uint64_t to = least_of(u->extents[i].offset + u->extents[i].length, end);

	for (i++; i < u->len && to < end && u->extents[i].offset < end &&
		  u->extents[i].offset - to <= s->gap_size;
	     i++)
		to = least_of(u->extents[i].offset + u->extents[i].length, end);
	*ret_i = i;
	return to;
}

/* Zero what lies between the used places of a range that was read whole. */
static void zero_gaps(const struct used *u, uint8_t *buf, uint64_t offset, uint64_t end)
{
	uint64_t at = offset;

	for (size_t i = used_find(u, offset); at < end; i++) {
		uint64_t from = i < u->len ? least_of(u->extents[i].offset, end) : end;

		if (from > at)
			memset(buf + (at - offset), 0, (size_t)(from - at));
		if (i == u->len)
			break;
		at = u->extents[i].offset + u->extents[i].length;
	}
}

/* A range of which something is in use; widened to what O_DIRECT likes. */
static int read_run(struct batch *b, uint8_t *buf, uint64_t offset, uint64_t end, struct err *err)
{
	int r = 0;

	while (r == 0 && offset < end) {
		uint32_t n = (uint32_t)least_of(end - offset, PIECE_SIZE - offset % PIECE_SIZE);

		r = add_piece(b, buf, offset, n, err);
		buf += n;
		offset += n;
	}
	return r;
}

void source_zero_free(const struct source *s, uint8_t *buf, uint64_t offset, uint32_t size)
{
	zero_gaps(s->used, buf, offset, offset + size);
}

static int read_used(struct source *s, struct ring *ring, uint8_t *buf, uint64_t offset,
		     uint64_t end, struct err *err)
{
	struct batch b = {.s = s, .ring = ring};
	const struct used *u = s->used;
	uint64_t at = offset;
	int r = 0;

	for (size_t i = used_find(u, offset); r == 0 && at < end;) {
		uint64_t from = i < u->len ? least_of(u->extents[i].offset, end) : end;
		uint64_t to;

		/* whole units, for O_DIRECT */
		from = from < end ? from / BLK_DIRECT_ALIGN * BLK_DIRECT_ALIGN : from;
		if (from > at)
			memset(buf + (at - offset), 0, (size_t)(from - at));
		at = from > at ? from : at;
		if (at == end)
			break;
		to = run_end(s, &i, end);
		to = least_of((to + BLK_DIRECT_ALIGN - 1) / BLK_DIRECT_ALIGN * BLK_DIRECT_ALIGN,
			      end);
		r = read_run(&b, buf + (at - offset), at, to, err);
		at = to;
	}
	if (r == 0)
		r = read_batch(&b, err);
	if (r == 0)
		zero_gaps(u, buf, offset, end);
	return r;
}

uint64_t source_empty_end(const struct source *s, uint64_t offset, uint64_t end)
{
	const struct used *u = s->used;
	uint64_t at = offset;

	while (at < end) {
		size_t i = used_find(u, at);
		uint64_t from = i < u->len ? u->extents[i].offset : end;

		if (from >= end)
			return end;
		if (from < at)
			from = at;
		at = blk_hole_end(s->blk, from);
		if (at <= from)
			return from;
	}
	return end;
}

int source_read(struct source *s, struct ring *ring, void *buf, uint64_t offset, uint32_t size,
		uint64_t *ret_start_ms, struct err *err)
{
	int r;

	assert(offset % BLK_DIRECT_ALIGN == 0);
	if (s->is_serial)
		(void)pthread_mutex_lock(&s->serial_lock);
	*ret_start_ms = clock_ms();
	r = read_used(s, ring, buf, offset, offset + size, err);
	if (s->is_serial)
		(void)pthread_mutex_unlock(&s->serial_lock);
	return r;
}
