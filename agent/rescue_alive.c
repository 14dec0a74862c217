/* rescue_alive.c - how reads ended: the time that they take, and whether the disk is alive.
 *
 * Time: only what reads take that fail, or that are slow in the passes, is counted, that of several at the same time once, and of each no more than READ_MS_MAX:
 * a machine that was suspended in the middle of one has not tried for hours.
 *
 * Life: after FAILURES_ASK failures in a row, and after ever twice as many, and when a rescue has lost something, a few of the places that were read
 * well are read again.  If none can be, this is no disk with bad places.  If none was ever read well, places all over it are tried. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/rescue_work.h"
#include "common/cleanup.h"

#define READ_MS_MAX  (5u * 60000u)
#define FAILURES_ASK 16u
#define ASK_ALL	     24u

static uint64_t next_random(struct rescue *r)
{
	r->random = r->random * 6364136223846793005u + 1442695040888963407u;
	return r->random >> 33;
}

/* A read of one sector: those beside it may be bad. */
static int read_somewhere(struct rescue *r, uint64_t offset, struct err *err)
{
	uint64_t size = blk_size(r->source->blk), left;
	CLEANUP_FREE uint8_t *page = aligned_alloc(BLK_DIRECT_ALIGN, BLK_SECTOR_SIZE_MAX);
	uint32_t unit = r->sector_size;

	if (!page)
		return err_set(err, -ENOMEM, "out of memory");
	offset -= offset % unit;
	left = size - offset;
	return source_read_sectors(r->source, page, offset, left < unit ? (uint32_t)left : unit,
				   err);
}

/* 0: it can be read; SOURCE_SICK: nowhere. */
static int ask_good(struct rescue *r, struct err *err)
{
	uint64_t places[RESCUE_GOOD];
	size_t len;
	int e = SOURCE_SICK;

	(void)pthread_mutex_lock(&r->lock);
	len = r->good_len < RESCUE_GOOD ? r->good_len : RESCUE_GOOD;
	memcpy(places, r->good, len * sizeof(*places));
	(void)pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; e == SOURCE_SICK && i < len; i++)
		e = read_somewhere(r, places[i], err);
	return e;
}

static int ask_all(struct rescue *r, struct err *err)
{
	const struct used *u = r->source->used;
	uint64_t size = blk_size(r->source->blk);
	int e = SOURCE_SICK;

	for (uint64_t i = 0; e == SOURCE_SICK && i < ASK_ALL; i++) {
		uint64_t at = size / ASK_ALL * i;
		size_t n = used_find(u, at);

		e = job_check(r->job, err);
		if (e == 0 && n < u->len && u->extents[n].offset > at)
			at = u->extents[n].offset;
		if (e == 0)
			e = n < u->len ? read_somewhere(r, at, err) : SOURCE_SICK;
	}
	return e;
}

static int say_dead(const struct rescue *r, uint64_t offset, const struct err *why, struct err *err)
{
	int e = err_set(err, -ENXIO,
			"disk '%s' does not answer any more: at byte %" PRIu64
			" it failed, and then where it could be read before (%.160s)",
			blk_name(r->source->blk), offset, why->msg);

	return job_blame(r->job, "disk_gone", e);
}

int rescue_check_alive(struct rescue *r, uint64_t offset, struct err *err)
{
	struct err why = {0};
	bool was_read;
	int e = r->options.check ? r->options.check(r->options.ctx, err) : 0;

	if (e < 0)
		return job_blame(r->job, "disk_gone", e);
	(void)pthread_mutex_lock(&r->lock);
	was_read = r->good_len > 0;
	(void)pthread_mutex_unlock(&r->lock);
	e = was_read ? ask_good(r, &why) : ask_all(r, &why);
	if (e == SOURCE_SICK && was_read)
		return say_dead(r, offset, &why, err);
	if (e == SOURCE_SICK) {
		e = err_set(err, -EIO,
			    "nothing of disk '%s' can be read, wherever it is tried (%.200s)",
			    blk_name(r->source->blk), why.msg);
		return job_blame(r->job, "read_error", e);
	}
	if (e < 0) {
		*err = why;
		return job_blame(r->job, "disk_gone", e);
	}
	return 0;
}

/* The lock is held. */
static void count_time(struct rescue *r, uint64_t start_ms, uint64_t end_ms)
{
	uint64_t from = start_ms > r->counted_ms ? start_ms : r->counted_ms, ms;

	if (from >= end_ms)
		return;
	ms = end_ms - from;
	r->total_ms += ms < READ_MS_MAX ? ms : READ_MS_MAX;
	r->counted_ms = end_ms;
}

int rescue_note_failure(struct rescue *r, uint64_t offset, uint64_t start_ms, struct err *err)
{
	uint64_t end_ms = clock_ms();
	bool is_first, is_due;
	unsigned n;

	(void)pthread_mutex_lock(&r->lock);
	is_first = !r->is_sick;
	r->is_sick = true;
	n = ++r->failures;
	count_time(r, start_ms, end_ms);
	(void)pthread_mutex_unlock(&r->lock);
	if (is_first && r->options.on_sick)
		r->options.on_sick(r->options.ctx);
	job_count_error(r->job);
	is_due = n >= FAILURES_ASK && (n & (n - 1)) == 0;
	return is_due ? rescue_check_alive(r, offset, err) : 0;
}

bool rescue_note_success(struct rescue *r, uint64_t offset, uint64_t start_ms, bool is_saving)
{
	uint64_t i, end_ms = clock_ms();
	bool is_slow = end_ms - start_ms > RESCUE_SLOW_MS;

	(void)pthread_mutex_lock(&r->lock);
	r->failures = 0;
	if (is_slow && is_saving)
		count_time(r, start_ms, end_ms);
	i = r->good_len < RESCUE_GOOD ? r->good_len : next_random(r) % (r->good_len + 1);
	if (i < RESCUE_GOOD)
		r->good[i] = offset;
	r->good_len++;
	(void)pthread_mutex_unlock(&r->lock);
	return is_slow;
}
