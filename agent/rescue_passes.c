/* rescue_passes.c - the order in which GNU ddrescue has shown that most is saved soonest, from the state of each sector:
 *
 * 1. copy: in pieces of 64 KiB; where one fails, ever larger steps ahead, then backwards through what was leapt over.  2. trim: what failed is read
 * sector by sector from its front until one fails, and from its back.  3. scrape: every sector between.  4. retry: the bad ones, back and forth.
 *
 * Each pass goes over all windows before the next, harder one begins. */
#include <inttypes.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/rescue_work.h"

#define PIECE_SIZE 65536u
#define LEAP_MAX   (1u << 20)

struct pass {
	struct rescue *r;
	struct patient *p;
};

/* May this window still be tried?  What was read once costs little to read again, and would else be lost by the server's fault. */
static bool has_time(const struct pass *x)
{
	if (x->p->was_read)
		return true;
	return x->p->used_ms < x->r->options.area_ms && x->r->total_ms < x->r->batch_end_ms;
}

static void set(struct patient *p, uint32_t first, uint32_t count, enum sector state)
{
	memset(p->state + first, state, count);
}

/* Bytes of them, and of the windows that come after them, that were not read yet. */
static uint64_t count_left(const struct rescue *r, struct patient *const *p, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++) {
		for (uint32_t k = 0; k < p[i]->sectors; k++)
			n += p[i]->state[k] != SECTOR_DONE && p[i]->state[k] != SECTOR_LOST;
	}
	return n * r->sector_size + extents_bytes(&r->sick);
}

/* Read sectors.  1: they are there; 0: they are not, and get the state `failed`. */
static int try_sectors(const struct pass *x, uint32_t first, uint32_t count, enum sector failed,
		       struct err *err)
{
	struct rescue *r = x->r;
	struct patient *p = x->p;
	uint64_t at = (uint64_t)first * r->sector_size, start_ms = clock_ms(), before = r->total_ms;
	uint64_t size = (uint64_t)count * r->sector_size;
	int e = job_check(r->job, err);

	if (e < 0)
		return e;
	size = size < p->size - at ? size : p->size - at;
	e = source_read_sectors(r->source, p->buf + at, p->offset + at, (uint32_t)size, err);
	if (e < 0)
		return job_blame(r->job, "disk_gone", e);
	if (e == 0) {
		set(p, first, count, SECTOR_DONE);
		(void)rescue_note_success(r, p->offset + at, start_ms, true);
	} else {
		set(p, first, count, failed);
		p->was_read = false;
		e = rescue_note_failure(r, p->offset + at, start_ms, err);
		if (e < 0)
			return e;
		e = SOURCE_SICK;
	}
	p->used_ms += r->total_ms - before;
	job_take_sick(r->job, e == 0 ? size : 0);
	return e == 0;
}

/* ---- 1. */

static uint32_t piece_end(const struct pass *x, uint32_t i)
{
	uint32_t in_piece = PIECE_SIZE / x->r->sector_size, end = i + 1;

	while (end < x->p->sectors && end % in_piece != 0 && x->p->state[end] == SECTOR_UNTRIED)
		end++;
	return end;
}

static int copy_forward(const struct pass *x, struct err *err)
{
	uint32_t piece = PIECE_SIZE / x->r->sector_size, leap = 0, i = 0;
	int e = 0;

	while (e >= 0 && i < x->p->sectors && has_time(x)) {
		uint32_t end;

		if (x->p->state[i] != SECTOR_UNTRIED) {
			i++;
			continue;
		}
		end = piece_end(x, i);
		e = try_sectors(x, i, end - i, SECTOR_UNTRIMMED, err);
		leap = e > 0 ? 0 : leap == 0 ? piece : leap * 2;
		leap = leap > LEAP_MAX / x->r->sector_size ? LEAP_MAX / x->r->sector_size : leap;
		i = end + leap;
	}
	return e < 0 ? e : 0;
}

static int copy_backward(const struct pass *x, struct err *err)
{
	uint32_t in_piece = PIECE_SIZE / x->r->sector_size, end = x->p->sectors;
	int e = 0;

	while (e >= 0 && end > 0 && has_time(x)) {
		uint32_t i = end - 1;

		if (x->p->state[i] != SECTOR_UNTRIED) {
			end--;
			continue;
		}
		while (i > 0 && i % in_piece != 0 && x->p->state[i - 1] == SECTOR_UNTRIED)
			i--;
		e = try_sectors(x, i, end - i, SECTOR_UNTRIMMED, err);
		end = i;
	}
	return e < 0 ? e : 0;
}

/* ---- 2. */

/* The run of sectors in state `s` from *first on. */
static bool next_run(const struct patient *p, enum sector s, uint32_t *first, uint32_t *ret_end)
{
	while (*first < p->sectors && p->state[*first] != s)
		++*first;
	for (*ret_end = *first; *ret_end < p->sectors && p->state[*ret_end] == s;)
		++*ret_end;
	return *first < p->sectors;
}

static int trim_run(const struct pass *x, uint32_t first, uint32_t end, struct err *err)
{
	int e = 1;

	while (e > 0 && first < end && has_time(x))
		e = try_sectors(x, first++, 1, SECTOR_BAD, err);
	if (e >= 0)
		e = 1;
	while (e > 0 && first < end && has_time(x))
		e = try_sectors(x, --end, 1, SECTOR_BAD, err);
	if (e >= 0 && first < end && has_time(x))
		set(x->p, first, end - first, SECTOR_UNSCRAPED);
	return e < 0 ? e : 0;
}

static int trim(const struct pass *x, struct err *err)
{
	uint32_t first = 0, end;
	int e = 0;

	for (; e == 0 && has_time(x) && next_run(x->p, SECTOR_UNTRIMMED, &first, &end); first = end)
		e = trim_run(x, first, end, err);
	return e;
}

/* ---- 3. and 4. */

static int each_sector(const struct pass *x, enum sector s, bool backward, struct err *err)
{
	int e = 0;

	for (uint32_t n = 0; e >= 0 && n < x->p->sectors && has_time(x); n++) {
		uint32_t i = backward ? x->p->sectors - 1 - n : n;

		if (x->p->state[i] == s)
			e = try_sectors(x, i, 1, SECTOR_BAD, err);
	}
	return e < 0 ? e : 0;
}

static int scrape(const struct pass *x, struct err *err)
{
	return each_sector(x, SECTOR_UNSCRAPED, false, err);
}

static int retry_forward(const struct pass *x, struct err *err)
{
	return each_sector(x, SECTOR_BAD, false, err);
}

static int retry_backward(const struct pass *x, struct err *err)
{
	return each_sector(x, SECTOR_BAD, true, err);
}

/* ---- all */

typedef int pass_fn(const struct pass *x, struct err *err);

static int each_patient(struct rescue *r, struct patient *const *p, size_t len, pass_fn *pass,
			struct err *err)
{
	int e = 0;

	for (size_t i = 0; e == 0 && i < len; i++) {
		struct pass x = {r, p[i]};

		e = pass(&x, err);
	}
	return e;
}

int rescue_passes(struct rescue *r, struct patient *const *p, size_t len, struct err *err)
{
	static const struct {
		enum rescue_pass name;
		pass_fn *pass;
	} passes[] = {{RESCUE_COPY, copy_forward},
		      {RESCUE_COPY, copy_backward},
		      {RESCUE_TRIM, trim},
		      {RESCUE_SCRAPE, scrape}};
	int e = 0;

	for (size_t i = 0; e == 0 && i < sizeof(passes) / sizeof(*passes); i++) {
		job_set_rescue(r->job, passes[i].name, count_left(r, p, len));
		e = each_patient(r, p, len, passes[i].pass, err);
	}
	for (unsigned i = 0; e == 0 && i < r->options.retries; i++) {
		job_set_rescue(r->job, RESCUE_RETRY, count_left(r, p, len));
		e = each_patient(r, p, len, i % 2 ? retry_forward : retry_backward, err);
	}
	job_set_rescue(r->job, RESCUE_NONE, extents_bytes(&r->sick));
	return e;
}
