#include "agent/head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define HEAD_PAGE 4096u	      /* what a file has room for at one time; no sector is larger */
#define HEAD_STEP (16u << 10) /* of what is read again: the stack is not ours alone */

struct head {
	struct blk blk; /* what others see */
	struct blk *target;
	uint32_t size;	 /* of what is held back */
	uint32_t sector; /* its first part, written last */
	struct marker marker;
	bool is_marked, is_forbidden;
	uint8_t bytes[HEAD_SIZE];
};

static struct head *head_of(struct blk *b)
{
	return (struct head *)b;
}

/* How many of the bytes from `offset` on are held back. */
static uint64_t held(const struct head *h, uint64_t offset, uint64_t size)
{
	uint64_t left = offset < h->size ? h->size - offset : 0;

	return left < size ? left : size;
}

static int head_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	struct head *h = head_of(b);
	size_t n = held(h, offset, size);

	if (n > 0)
		memcpy(buf, h->bytes + offset, n);
	return blk_read(h->target, (uint8_t *)buf + n, size - n, offset + n, err);
}

static int check_allowed(const struct head *h, struct err *err)
{
	if (!h->is_forbidden)
		return 0;
	return err_set(err, -ESTALE, "'%s' is not to be written to", blk_name(h->target));
}

static int head_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			 struct err *err)
{
	struct head *h = head_of(b);
	size_t n = held(h, offset, size);
	int r = check_allowed(h, err);

	if (r < 0)
		return r;
	if (n > 0)
		memcpy(h->bytes + offset, buf, n);
	return blk_write(h->target, (const uint8_t *)buf + n, size - n, offset + n, err);
}

static int head_zero_at(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	struct head *h = head_of(b);
	uint64_t n = held(h, offset, size);
	int r = check_allowed(h, err);

	if (r < 0)
		return r;
	if (n > 0)
		memset(h->bytes + offset, 0, n);
	return blk_zero(h->target, offset + n, size - n, err);
}

static int head_flush(struct blk *b, struct err *err)
{
	return blk_flush(head_of(b)->target, err);
}

static int head_drop_cache(struct blk *b, struct err *err)
{
	return blk_drop_cache(head_of(b)->target, err);
}

static uint64_t head_hole_end(struct blk *b, uint64_t offset)
{
	const struct head *h = head_of(b);

	return offset < h->size ? offset : blk_hole_end(h->target, offset);
}

static void head_close(struct blk *b)
{
	(void)b; /* the target is not ours */
}

static const struct blk_ops ops = {
	.read_at = head_read_at,
	.write_at = head_write_at,
	.zero_at = head_zero_at,
	.flush = head_flush,
	.drop_cache = head_drop_cache,
	.hole_end = head_hole_end,
	.close = head_close,
};

int head_new(struct blk *target, uint64_t size, const struct marker *m, struct head **ret,
	     struct err *err)
{
	CLEANUP(head_freep) struct head *h = calloc(1, sizeof(*h));
	struct marker found;
	int r;

	if (!h)
		return err_set(err, -ENOMEM, "out of memory");
	h->blk = *target;
	h->blk.name = NULL;
	r = blk_init(&h->blk, &ops, blk_name(target), err);
	if (r < 0)
		return r;
	if (blk_sector_size(target) > HEAD_PAGE) {
		return err_set(
			err, -EINVAL,
			"'%s' has sectors of %u bytes, more than %u: restore onto another disk",
			blk_name(target), blk_sector_size(target), HEAD_PAGE);
	}
	h->target = target;
	h->size = size < HEAD_SIZE ? (uint32_t)size : HEAD_SIZE;
	h->sector = blk_sector_size(target) < h->size ? blk_sector_size(target) : h->size;
	h->marker = *m;
	/* of a marked one no more than that matters, and the rest is written, whatever it reads as */
	r = blk_read(target, h->bytes, h->sector, 0, err);
	if (r < 0)
		return r;
	h->is_marked = marker_decode(h->bytes, &found) && found.disk == m->disk &&
		       strcmp(found.job, m->job) == 0;
	if (h->is_marked)
		memset(h->bytes, 0, h->size);
	else
		r = blk_read(target, h->bytes, h->size, 0, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

void head_free(struct head *h)
{
	if (h)
		blk_free(&h->blk);
}

struct blk *head_blk(struct head *h)
{
	return &h->blk;
}

bool head_is_marked(const struct head *h)
{
	return h->is_marked;
}

void head_forbid(struct head *h)
{
	h->is_forbidden = true;
}

void head_allow(struct head *h)
{
	h->is_forbidden = false;
}

/* The first sector of a marked disk. */
static int write_marker(struct head *h, struct err *err)
{
	uint8_t sector[HEAD_PAGE] = {0};
	int r;

	marker_encode(&h->marker, sector);
	r = blk_write(h->target, sector, h->sector, 0, err);
	return r < 0 ? r : blk_flush(h->target, err);
}

int head_mark(struct head *h, struct err *err)
{
	int r = check_allowed(h, err);

	if (r == 0)
		r = write_marker(h, err);
	if (r == 0 && h->size > h->sector)
		r = blk_zero(h->target, h->sector, h->size - h->sector, err);
	if (r == 0)
		r = blk_flush(h->target, err);
	h->is_marked = h->is_marked || r == 0;
	return r < 0 ? err_prefix(err, "mark the target as not complete") : 0;
}

/* Is that on the medium? */
static int check_held(struct head *h, uint32_t from, struct err *err)
{
	uint8_t got[HEAD_STEP];
	int r = blk_drop_cache(h->target, err);

	for (uint32_t at = 0, end; r == 0 && at < h->size; at = end) {
		uint32_t first = at < from ? from : at;

		end = h->size - at < HEAD_STEP ? h->size : at + HEAD_STEP;
		r = blk_read(h->target, got, end - at, at, err);
		if (r == 0 && first < end &&
		    memcmp(got + (first - at), h->bytes + first, end - first) != 0) {
			r = err_set(
				err, -EIO,
				"'%s' does not hold what was written to it, in its first %u bytes",
				blk_name(h->target), end);
		}
	}
	return r;
}

static uint32_t page_end(const struct head *h, uint32_t at)
{
	uint32_t end = (at / HEAD_PAGE + 1) * HEAD_PAGE;

	return end < h->size ? end : h->size;
}

int head_place(struct head *h, struct err *err)
{
	int r = check_allowed(h, err);

	/* by pages, so that a file has room for none that is free */
	for (uint32_t at = h->sector, end; r == 0 && at < h->size; at = end) {
		bool is_zero = bytes_are_zero(h->bytes + at, page_end(h, at) - at);

		end = page_end(h, at);
		while (end < h->size &&
		       bytes_are_zero(h->bytes + end, page_end(h, end) - end) == is_zero)
			end = page_end(h, end);
		if (is_zero)
			r = blk_zero(h->target, at, end - at, err);
		else
			r = blk_write(h->target, h->bytes + at, end - at, at, err);
	}
	return r < 0 ? r : check_held(h, h->sector, err);
}

int head_release(struct head *h, struct err *err)
{
	struct err ignored;
	int r = check_allowed(h, err);

	if (r < 0)
		return r;
	/* all of it, so that a file gets its hole back */
	if (bytes_are_zero(h->bytes, h->size))
		r = blk_zero(h->target, 0, h->size, err);
	else
		r = blk_write(h->target, h->bytes, h->sector, 0, err);
	if (r == 0)
		r = check_held(h, 0, err);
	if (r < 0)
		(void)!write_marker(h, &ignored);
	h->is_marked = r < 0;
	return r;
}
