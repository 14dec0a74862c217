#include "agent/guard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "agent/clock.h"

#define FAILURES_MAX 32u
#define FAILURES_MS  60000u

struct guard {
	struct blk blk;
	struct blk *inner; /* not owned, nor: */
	struct job *job;
	const struct extents *bad;
	unsigned failures;
	uint64_t failures_ms;
};

static bool touches(const struct extents *bad, uint64_t offset, size_t size)
{
	size_t i = bad ? extents_find(bad, offset) : 0;

	return bad && i < bad->len && bad->items[i].offset < offset + size;
}

static int guard_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	struct guard *g = (struct guard *)b;
	uint64_t start_ms = clock_ms();
	int r;

	if (job_is_stopped(g->job))
		return err_set(err, -ECANCELED, "the job was stopped");
	if (touches(g->bad, offset, size)) {
		return err_set(err, -EIO, "read '%s' at byte %" PRIu64 ": known to be unreadable",
			       b->name, offset);
	}
	if (g->failures >= FAILURES_MAX || g->failures_ms >= FAILURES_MS) {
		return err_set(err, -EIO, "too many places of '%s' cannot be read to look further",
			       b->name);
	}
	r = blk_read(g->inner, buf, size, offset, err);
	if (r < 0) {
		g->failures++;
		g->failures_ms += clock_ms() - start_ms;
	} else {
		job_add_looked(g->job, size);
	}
	return r;
}

static uint64_t guard_hole_end(struct blk *b, uint64_t offset)
{
	return blk_hole_end(((struct guard *)b)->inner, offset);
}

static void guard_close(struct blk *b)
{
	(void)b;
}

static const struct blk_ops guard_ops = {
	.read_at = guard_read_at,
	.hole_end = guard_hole_end,
	.close = guard_close,
};

struct blk *guard_new(struct job *job, struct blk *inner, const struct extents *bad,
		      struct err *err)
{
	struct guard *g = calloc(1, sizeof(*g));

	if (!g) {
		(void)err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	g->inner = inner;
	g->job = job;
	g->bad = bad;
	g->blk.size = blk_size(inner);
	g->blk.sector_size = blk_sector_size(inner);
	g->blk.physical_sector_size = blk_physical_sector_size(inner);
	g->blk.mode = BLK_READ;
	g->blk.is_device = inner->is_device;
	g->blk.is_locked = inner->is_locked;
	if (blk_init(&g->blk, &guard_ops, blk_name(inner), err) < 0) {
		free(g);
		return NULL;
	}
	return &g->blk;
}
