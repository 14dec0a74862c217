/* blk_fault.c - the plan decides before the inner disk is asked; one lock over plan and counts, none over the transfers. */
#include "tests/lib/blk_fault.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct blk_fault {
	struct blk blk;
	struct blk *inner;
	pthread_mutex_t lock; /* over what follows */
	struct blk_fault_plan plan;
	struct blk_fault_stats stats;
	uint64_t counted;
	uint64_t written;
};

/* What is to become of one operation. */
struct verdict {
	int code;      /* 0: it succeeds */
	uint64_t size; /* bytes to carry out first */
	uint64_t at;   /* where it fails */
	unsigned ms;   /* after so long */
};

static struct blk_fault *fault_of(struct blk *b)
{
	return (struct blk_fault *)b;
}

static void count(struct blk_fault *f, unsigned op)
{
	f->stats.reads += op == BLK_FAULT_READ;
	f->stats.writes += op == BLK_FAULT_WRITE;
	f->stats.zeros += op == BLK_FAULT_ZERO;
	f->stats.flushes += op == BLK_FAULT_FLUSH;
	f->stats.drops += op == BLK_FAULT_DROP;
}

static bool is_nth(struct blk_fault *f, unsigned op)
{
	const struct blk_fault_plan *p = &f->plan;

	if (p->nth == 0 || !(op & (p->ops ? p->ops : BLK_FAULT_ALL)))
		return false;
	f->counted++;
	return f->counted == p->nth || (p->from_there && f->counted > p->nth);
}

static void judge_bad(struct blk_fault_plan *p, uint64_t size, uint64_t offset, struct verdict *v)
{
	unsigned first = p->bad_len;

	for (unsigned i = 0; i < p->bad_len; i++) {
		uint64_t from = p->bad[i].offset > offset ? p->bad[i].offset : offset;
		uint64_t to = p->bad[i].offset + p->bad[i].size;

		if (to > offset + size)
			to = offset + size;
		if (from >= to || (v->code != 0 && v->at <= from))
			continue;
		*v = (struct verdict){-EIO, from - offset, from, p->bad_ms};
		first = i;
	}
	if (first < p->bad_len && p->bad[first].fails > 0 && --p->bad[first].fails == 0)
		p->bad[first].size = 0;
}

static struct verdict judge(struct blk_fault *f, unsigned op, uint64_t size, uint64_t offset)
{
	struct blk_fault_plan *p = &f->plan;
	bool writes = op == BLK_FAULT_WRITE || op == BLK_FAULT_ZERO;
	struct verdict v = {0, size, offset, 0};

	(void)pthread_mutex_lock(&f->lock);
	count(f, op);
	if (is_nth(f, op)) {
		v = (struct verdict){p->code ? p->code : -EIO, p->is_partial ? size / 2 : 0,
				     offset + (p->is_partial ? size / 2 : 0), 0};
	} else if (op == BLK_FAULT_READ || (writes && p->bad_writes)) {
		judge_bad(p, size, offset, &v);
	}
	if (writes && p->write_space > 0 && v.size > p->write_space - f->written) {
		v.code = -ENOSPC;
		v.size = p->write_space - f->written;
		v.at = offset + v.size;
	}
	if (writes)
		f->written += v.size;
	if (v.code == 0) {
		f->stats.read_size += op == BLK_FAULT_READ ? size : 0;
		f->stats.write_size += op == BLK_FAULT_WRITE ? size : 0;
		f->stats.zero_size += op == BLK_FAULT_ZERO ? size : 0;
	}
	(void)pthread_mutex_unlock(&f->lock);
	return v;
}

static int report(struct blk *b, const char *verb, const struct verdict *v, struct err *err)
{
	if (v->code == 0)
		return 0;
	return err_set(err, v->code, "%s '%s' at byte %" PRIu64 ": %s (as planned)", verb, b->name,
		       v->at, strerrordesc_np(-v->code));
}

static int fault_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	struct verdict v = judge(fault_of(b), BLK_FAULT_READ, size, offset);
	int r = blk_read(fault_of(b)->inner, buf, (size_t)v.size, offset, err);

	if (v.ms > 0)
		(void)nanosleep(&(struct timespec){v.ms / 1000, v.ms % 1000 * 1000000L}, NULL);
	return r < 0 ? r : report(b, "read", &v, err);
}

static int fault_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			  struct err *err)
{
	struct verdict v = judge(fault_of(b), BLK_FAULT_WRITE, size, offset);
	int r = blk_write(fault_of(b)->inner, buf, (size_t)v.size, offset, err);

	return r < 0 ? r : report(b, "write", &v, err);
}

static int fault_zero_at(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	struct verdict v = judge(fault_of(b), BLK_FAULT_ZERO, size, offset);
	int r = blk_zero(fault_of(b)->inner, offset, v.size, err);

	return r < 0 ? r : report(b, "zero", &v, err);
}

static int fault_flush(struct blk *b, struct err *err)
{
	struct verdict v = judge(fault_of(b), BLK_FAULT_FLUSH, 0, 0);

	return v.code == 0 ? blk_flush(fault_of(b)->inner, err) : report(b, "flush", &v, err);
}

static int fault_drop_cache(struct blk *b, struct err *err)
{
	struct verdict v = judge(fault_of(b), BLK_FAULT_DROP, 0, 0);

	return v.code == 0 ? blk_drop_cache(fault_of(b)->inner, err)
			   : report(b, "drop the cache of", &v, err);
}

static void fault_close(struct blk *b)
{
	blk_free(fault_of(b)->inner);
	(void)pthread_mutex_destroy(&fault_of(b)->lock);
}

static const struct blk_ops fault_ops = {
	.read_at = fault_read_at,
	.write_at = fault_write_at,
	.zero_at = fault_zero_at,
	.flush = fault_flush,
	.drop_cache = fault_drop_cache,
	.close = fault_close,
};

struct blk *blk_fault_new(struct blk *take_inner, const struct blk_fault_plan *plan)
{
	struct blk_fault *f = calloc(1, sizeof(*f));
	struct err err;

	if (!f || !take_inner || blk_init(&f->blk, &fault_ops, take_inner->name, &err) < 0) {
		free(f);
		blk_free(take_inner);
		return NULL;
	}
	f->blk.size = take_inner->size;
	f->blk.sector_size = take_inner->sector_size;
	f->blk.physical_sector_size = take_inner->physical_sector_size;
	f->blk.mode = take_inner->mode;
	f->blk.is_device = take_inner->is_device;
	f->blk.is_locked = take_inner->is_locked;
	f->inner = take_inner;
	f->plan = *plan;
	(void)pthread_mutex_init(&f->lock, NULL);
	return &f->blk;
}

void blk_fault_set_plan(struct blk *b, const struct blk_fault_plan *plan)
{
	struct blk_fault *f = fault_of(b);

	(void)pthread_mutex_lock(&f->lock);
	f->plan = *plan;
	f->counted = 0;
	f->written = 0;
	(void)pthread_mutex_unlock(&f->lock);
}

struct blk_fault_stats blk_fault_get_stats(struct blk *b)
{
	struct blk_fault *f = fault_of(b);
	struct blk_fault_stats stats;

	(void)pthread_mutex_lock(&f->lock);
	stats = f->stats;
	(void)pthread_mutex_unlock(&f->lock);
	return stats;
}
