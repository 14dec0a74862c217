/* rescue.c - which windows are put off, and what was saved of them. */
#include "agent/rescue.h"

#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/rescue_work.h"
#include "common/cleanup.h"
#include "common/limits.h"

#define LEAP_MAX      64u		/* windows: 256 MiB */
#define FINE_LIST_MAX (EXTENTS_MAX / 2) /* up to so many places, down to a sector ... */
#define COARSE_MIN    65536u		/* ... beyond, not smaller than that */

void rescue_options_init(struct rescue_options *o)
{
	*o = (struct rescue_options){.total_ms = RESCUE_TIME_S * 1000u,
				     .area_ms = RESCUE_AREA_TIME_S * 1000u,
				     .retries = RESCUE_RETRIES,
				     .windows = 1};
}

struct rescue *rescue_new(struct source *source, struct job *job,
			  const struct rescue_options *options)
{
	struct rescue *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->source = source;
	r->job = job;
	r->options = *options;
	r->sector_size = blk_sector_size(source->blk);
	r->random = 1;
	r->patients = calloc(options->windows, sizeof(*r->patients));
	if (!r->patients) {
		free(r);
		return NULL;
	}
	(void)pthread_mutex_init(&r->lock, NULL);
	return r;
}

static void patient_done(struct patient *p)
{
	free(p->buf);
	free(p->state);
	*p = (struct patient){0};
}

void rescue_free(struct rescue *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->options.windows; i++)
		patient_done(&r->patients[i]);
	free(r->patients);
	extents_done(&r->sick);
	extents_done(&r->again);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
}

/* ---- sweeps */

void rescue_skip(struct rescue *r, struct window_range *w)
{
	uint64_t from = w->first * WINDOW_SIZE, end = (w->first + w->count) * WINDOW_SIZE;
	size_t i = 0;

	(void)pthread_mutex_lock(&r->lock);
	i = extents_find(&r->sick, from);
	if (i < r->sick.len && r->sick.items[i].offset <= from) {
		from = r->sick.items[i].offset + r->sick.items[i].length;
		i++;
	}
	if (i < r->sick.len && r->sick.items[i].offset < end)
		end = r->sick.items[i].offset;
	(void)pthread_mutex_unlock(&r->lock);
	from = (from + WINDOW_SIZE - 1) / WINDOW_SIZE;
	end = end / WINDOW_SIZE;
	*w = (struct window_range){from, end > from ? end - from : 0};
}

int rescue_put_off(struct rescue *r, const struct window_range *w)
{
	int e;

	(void)pthread_mutex_lock(&r->lock);
	e = extents_add(&r->sick, w->first * WINDOW_SIZE, w->count * WINDOW_SIZE);
	(void)pthread_mutex_unlock(&r->lock);
	return e;
}

int rescue_again(struct rescue *r, uint64_t w)
{
	int e;

	(void)pthread_mutex_lock(&r->lock);
	e = extents_add(&r->again, w * WINDOW_SIZE, WINDOW_SIZE);
	(void)pthread_mutex_unlock(&r->lock);
	return e;
}

bool rescue_is_due(struct rescue *r)
{
	bool due;

	(void)pthread_mutex_lock(&r->lock);
	due = r->sick.len > 0;
	(void)pthread_mutex_unlock(&r->lock);
	return due;
}

bool rescue_has_saved(struct rescue *r)
{
	bool has_saved;

	(void)pthread_mutex_lock(&r->lock);
	has_saved = r->waiting > 0;
	(void)pthread_mutex_unlock(&r->lock);
	return has_saved;
}

bool rescue_is_over(struct rescue *r)
{
	bool over;

	(void)pthread_mutex_lock(&r->lock);
	over = r->total_ms >= r->options.total_ms;
	(void)pthread_mutex_unlock(&r->lock);
	return over;
}

/* What was saved of a window; true if it was worked on. */
static bool take_patient(struct rescue *r, uint8_t *buf, uint64_t offset, uint32_t size)
{
	bool found = false;

	(void)pthread_mutex_lock(&r->lock);
	for (size_t i = 0; r->waiting > 0 && !found && i < r->options.windows; i++) {
		struct patient *p = &r->patients[i];

		if (!p->buf || p->offset != offset)
			continue;
		memcpy(buf, p->buf, size);
		patient_done(p);
		r->waiting--;
		found = true;
	}
	(void)pthread_mutex_unlock(&r->lock);
	return found;
}

/* Was something of it given up already?  It is not tried again. */
static bool is_known_sick(struct rescue *r, uint64_t offset, uint32_t size)
{
	struct source *s = r->source;
	bool is_sick;
	size_t i;

	(void)pthread_mutex_lock(&s->lock);
	i = extents_find(&s->unreadable, offset);
	is_sick = i < s->unreadable.len && s->unreadable.items[i].offset < offset + size;
	(void)pthread_mutex_unlock(&s->lock);
	return is_sick;
}

/* In a row of failures ever more is leapt over.  A slow window is no failure, but what comes behind it can wait, too. */
static uint64_t grow_leap(struct rescue *r, bool is_bad)
{
	uint64_t leap;

	(void)pthread_mutex_lock(&r->lock);
	leap = is_bad ? r->leap : 0;
	if (is_bad)
		r->leap = r->leap == 0 ? 1 : r->leap < LEAP_MAX ? r->leap * 2 : LEAP_MAX;
	else
		r->leap = 0;
	(void)pthread_mutex_unlock(&r->lock);
	return leap;
}

int rescue_read(struct rescue *r, struct ring *ring, uint8_t *buf, uint64_t w, uint32_t size,
		uint64_t *ret_leap, struct err *err)
{
	uint64_t offset = w * WINDOW_SIZE, start_ms;
	struct err why;
	int e;

	*ret_leap = 0;
	if (take_patient(r, buf, offset, size))
		return 0;
	if (!is_known_sick(r, offset, size)) {
		size_t i = used_find(r->source->used, offset);

		e = source_read(r->source, ring, buf, offset, size, &start_ms, &why);
		if (e == 0) {
			uint64_t at = i < r->source->used->len ? r->source->used->extents[i].offset
							       : offset;

			*ret_leap = grow_leap(r, rescue_note_success(r, at > offset ? at : offset,
								     start_ms, false));
			return 0;
		}
		if (e < 0) {
			*err = why;
			return job_blame(r->job,
					 e == -ENODEV || e == -ENXIO || e == -ENOMEDIUM
						 ? "disk_gone"
						 : "read_error",
					 e);
		}
		e = rescue_note_failure(r, offset, start_ms, err);
		if (e < 0)
			return e;
		*ret_leap = grow_leap(r, true);
	}
	e = rescue_put_off(r, &(struct window_range){w, 1});
	if (e < 0)
		return job_blame(r->job, "internal", err_set(err, e, "rescue: out of memory"));
	job_add_sick(r->job, size);
	return RESCUE_LATER;
}

/* ---- the windows put off */

/* What is in use of it is to be tried, by whole sectors; what was given up before is not. */
static void set_states(const struct rescue *r, struct patient *p)
{
	const struct used *u = r->source->used;
	const struct extents *lost = &r->source->unreadable;
	uint64_t end = p->offset + p->size;

	for (size_t i = used_find(u, p->offset); i < u->len && u->extents[i].offset < end; i++) {
		uint64_t from = u->extents[i].offset, to = from + u->extents[i].length;

		from = (from > p->offset ? from - p->offset : 0) / r->sector_size;
		to = ((to < end ? to : end) - p->offset + r->sector_size - 1) / r->sector_size;
		memset(p->state + from, SECTOR_UNTRIED, to - from);
	}
	for (size_t i = extents_find(lost, p->offset); i < lost->len && lost->items[i].offset < end;
	     i++) {
		uint64_t from = lost->items[i].offset, to = from + lost->items[i].length;

		from = (from > p->offset ? from - p->offset : 0) / r->sector_size;
		to = ((to < end ? to : end) - p->offset + r->sector_size - 1) / r->sector_size;
		memset(p->state + from, SECTOR_LOST, to - from);
	}
}

static int admit(struct rescue *r, struct patient *p, uint64_t offset)
{
	uint64_t left = blk_size(r->source->blk) - offset;
	size_t i = extents_find(&r->again, offset);

	p->was_read = i < r->again.len && r->again.items[i].offset <= offset;
	p->offset = offset;
	p->size = left < WINDOW_SIZE ? (uint32_t)left : WINDOW_SIZE;
	p->sectors = (p->size + r->sector_size - 1) / r->sector_size;
	p->buf = buffer_new(WINDOW_SIZE);
	p->state = calloc(p->sectors, 1);
	if (!p->buf || !p->state) {
		patient_done(p);
		return -ENOMEM;
	}
	memset(p->buf, 0, WINDOW_SIZE);
	set_states(r, p);
	return 0;
}

/* The first of those put off, into free places, if there are any.  Memory for one must be there; with less than for all, fewer are taken. */
static int admit_all(struct rescue *r, struct patient **ret, size_t *ret_len, struct err *err)
{
	size_t len = 0;

	for (size_t i = 0; i < r->options.windows && r->sick.len > 0; i++) {
		uint64_t offset = r->sick.items[0].offset;

		if (r->patients[i].buf)
			continue;
		if (admit(r, &r->patients[i], offset) < 0)
			break;
		if (extents_remove(&r->sick, offset, WINDOW_SIZE) < 0)
			break;
		ret[len++] = &r->patients[i];
		r->waiting++;
	}
	*ret_len = len;
	return len > 0 || r->waiting > 0
		       ? 0
		       : job_blame(r->job, "internal",
				   err_set(err, -ENOMEM, "rescue: out of memory"));
}

/* Sectors from `*first` on that could not be read, in a row; false when there are none. */
static bool next_lost(const struct patient *p, uint32_t *first, uint32_t *ret_end)
{
	while (*first < p->sectors && p->state[*first] == SECTOR_DONE)
		++*first;
	for (*ret_end = *first; *ret_end < p->sectors && p->state[*ret_end] != SECTOR_DONE;)
		++*ret_end;
	return *first < p->sectors;
}

/* Write down what is lost of a window, and make it zeros. */
static int discharge(struct rescue *r, struct patient *p, struct err *err)
{
	uint32_t first = 0, end;
	int e = 0;

	for (; e == 0 && next_lost(p, &first, &end); first = end) {
		uint64_t from = (uint64_t)first * r->sector_size;
		uint64_t to = (uint64_t)end * r->sector_size;

		if (r->source->unreadable.len >= FINE_LIST_MAX) {
			from = from / COARSE_MIN * COARSE_MIN;
			to = (to + COARSE_MIN - 1) / COARSE_MIN * COARSE_MIN;
		}
		to = to < p->size ? to : p->size;
		memset(p->buf + from, 0, to - from);
		e = source_give_up(r->source, p->offset + from, to - from, err);
	}
	source_zero_free(r->source, p->buf, p->offset, p->size);
	return job_blame(r->job, "read_error", e);
}

/* Was anything lost that was not before?  And where first? */
static bool has_lost(const struct rescue *r, struct patient *const *p, size_t len,
		     uint64_t *ret_offset)
{
	for (size_t i = 0; i < len; i++) {
		for (uint32_t k = 0; k < p[i]->sectors; k++) {
			if (p[i]->state[k] == SECTOR_DONE || p[i]->state[k] == SECTOR_LOST)
				continue;
			*ret_offset = p[i]->offset + (uint64_t)k * r->sector_size;
			return true;
		}
	}
	return false;
}

static int work_on(struct rescue *r, struct patient *const *p, size_t len, struct err *err)
{
	uint64_t offset = 0, before = extents_bytes(&r->source->unreadable);
	int e = rescue_passes(r, p, len, err);

	if (e == 0 && has_lost(r, p, len, &offset))
		e = rescue_check_alive(r, offset, err);
	for (size_t i = 0; e == 0 && i < len; i++)
		e = discharge(r, p[i], err);
	job_add_unreadable(r->job, extents_bytes(&r->source->unreadable) - before);
	return e;
}

int rescue_work(struct rescue *r, struct err *err)
{
	CLEANUP_FREE struct patient **p = calloc(r->options.windows, sizeof(struct patient *));
	uint64_t windows = extents_bytes(&r->sick) / WINDOW_SIZE, left;
	struct meter_clock clock;
	size_t len = 0;
	int e;

	if (!p)
		return job_blame(r->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	e = admit_all(r, p, &len, err);
	if (e < 0 || len == 0)
		return e;
	/* what is left of the time is shared out evenly */
	left = r->options.total_ms > r->total_ms ? r->options.total_ms - r->total_ms : 0;
	r->batch_end_ms = r->total_ms + left / windows * len + left % windows * len / windows;
	meter_start(&clock, &r->job->meter);
	(void)meter_go(&clock, METER_DISK);
	e = work_on(r, p, len, err);
	meter_stop(&clock);
	return e;
}
