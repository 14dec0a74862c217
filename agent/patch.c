/* patch.c - what the disk held is kept beside the copy, so that each sector that differs is known, and can be put back. */
#include "agent/patch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define PAGE 4096u
#define STEP (64u << 10)

struct place {
	struct extent named, at; /* at: the pages that it lies in */
	uint8_t *was, *now;	 /* of the disk, of the copy */
};

struct patch {
	struct blk *disk, *copy;
	int fd;
	char path[32];
	struct place places[PATCH_PLACES_MAX];
	size_t len;
};

static int copy_place(struct patch *p, const struct extent *e, struct err *err)
{
	struct place *x = &p->places[p->len];
	uint64_t end = e->offset + e->length, size = blk_size(p->disk);
	int r;

	end = end < size ? (end + PAGE - 1) / PAGE * PAGE : size;
	end = end < size ? end : size;
	x->at.offset = e->offset / PAGE * PAGE;
	if (x->at.offset >= end)
		return 0;
	x->at.length = end - x->at.offset;
	x->named = *e;
	p->len++;
	x->was = malloc(x->at.length);
	x->now = malloc(x->at.length);
	if (!x->was || !x->now)
		return err_set(err, -ENOMEM, "out of memory");
	r = blk_read(p->disk, x->was, x->at.length, x->at.offset, err);
	return r < 0 ? r : blk_write(p->copy, x->was, x->at.length, x->at.offset, err);
}

int patch_new(struct blk *disk, const struct extent *places, size_t len, struct patch **ret,
	      struct err *err)
{
	CLEANUP(patch_freep) struct patch *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	p->disk = disk;
	p->fd = memfd_create("patch", MFD_CLOEXEC);
	if (p->fd < 0 || ftruncate(p->fd, (off_t)blk_size(disk)) < 0)
		return err_set(err, -errno, "make a copy of places of '%s': %m", blk_name(disk));
	(void)snprintf(p->path, sizeof(p->path), "/proc/self/fd/%d", p->fd);
	r = blk_open_file(p->path, BLK_WRITE, 0, blk_sector_size(disk), &p->copy, err);
	for (size_t i = 0; r == 0 && i < len && i < PATCH_PLACES_MAX; i++)
		r = copy_place(p, &places[i], err);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}

void patch_free(struct patch *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->len; i++) {
		free(p->places[i].was);
		free(p->places[i].now);
	}
	blk_free(p->copy);
	if (p->fd >= 0)
		(void)close(p->fd);
	free(p);
}

const char *patch_path(const struct patch *p)
{
	return p->path;
}

struct blk *patch_copy(struct patch *p)
{
	return p->copy;
}

/* The place that `offset` lies in, or NULL; *ret_end: of it, or up to where there is none. */
static const struct place *find_place(const struct patch *p, uint64_t offset, uint64_t *ret_end)
{
	*ret_end = blk_size(p->disk);
	for (size_t i = 0; i < p->len; i++) {
		const struct extent *e = &p->places[i].at;

		if (offset >= e->offset && offset < e->offset + e->length) {
			*ret_end = e->offset + e->length;
			return &p->places[i];
		}
		if (e->offset > offset && e->offset < *ret_end)
			*ret_end = e->offset;
	}
	return NULL;
}

static bool is_named(const struct patch *p, uint64_t offset)
{
	for (size_t i = 0; i < p->len; i++) {
		const struct extent *e = &p->places[i].named;

		if (offset >= e->offset && offset < e->offset + e->length)
			return true;
	}
	return false;
}

static int stray(const struct patch *p, uint64_t at, struct err *err)
{
	return err_set(err, -EBADMSG,
		       "'%s' would be changed near byte %" PRIu64
		       ", where nothing is to be changed",
		       blk_name(p->disk), at);
}

/* The sectors of a page beside what was named: as elsewhere, zeros that were written there are nothing to the disk, and anything else is refused. */
static int clip(const struct patch *p, struct place *x, struct err *err)
{
	uint64_t step = blk_sector_size(p->disk);

	for (uint64_t at = 0; at < x->at.length; at += step) {
		if (is_named(p, x->at.offset + at) || memcmp(x->now + at, x->was + at, step) == 0)
			continue;
		if (!bytes_are_zero(x->now + at, step))
			return stray(p, x->at.offset + at, err);
		memcpy(x->now + at, x->was + at, step);
	}
	return 0;
}

/* Elsewhere there were zeros, and are. */
static int check_elsewhere(struct patch *p, struct err *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(STEP);
	uint64_t at = 0, size = blk_size(p->disk), end;
	int r = buf ? 0 : err_set(err, -ENOMEM, "out of memory");

	while (r == 0 && at < size) {
		uint64_t data = blk_hole_end(p->copy, at);

		at = data;
		if (at >= size)
			break;
		if (find_place(p, at, &end)) {
			at = end;
			continue;
		}
		end = end - at < STEP ? end : at + STEP;
		r = blk_read(p->copy, buf, end - at, at, err);
		if (r == 0 && !bytes_are_zero(buf, end - at))
			r = stray(p, at, err);
		at = end;
	}
	return r;
}

/* What differs between `is` and `shall` is written. */
static int write_place(struct patch *p, const struct place *x, const uint8_t *is,
		       const uint8_t *shall, struct err *err)
{
	uint64_t step = blk_sector_size(p->disk);
	int r = 0;

	for (uint64_t at = 0, end; r == 0 && at < x->at.length; at = end) {
		end = at;
		while (end < x->at.length && memcmp(is + end, shall + end, step) != 0)
			end += step;
		if (end > at)
			r = blk_write(p->disk, shall + at, end - at, x->at.offset + at, err);
		else
			end += step;
	}
	return r;
}

static int read_again(struct patch *p, bool as_before, struct err *err)
{
	int r = blk_drop_cache(p->disk, err);

	for (size_t i = 0; r == 0 && i < p->len; i++) {
		const struct place *x = &p->places[i];
		CLEANUP_FREE uint8_t *got = malloc(x->at.length);

		if (!got)
			return err_set(err, -ENOMEM, "out of memory");
		r = blk_read(p->disk, got, x->at.length, x->at.offset, err);
		if (r == 0 && memcmp(got, as_before ? x->was : x->now, x->at.length) != 0) {
			r = err_set(err, -EIO,
				    "'%s' does not hold what was written to it, near byte %" PRIu64,
				    blk_name(p->disk), x->at.offset);
		}
	}
	return r;
}

/* Whatever was written of `now`: all of what was there before. */
static int put_back(struct patch *p, int r, struct err *err)
{
	struct err other = {0};
	int back = 0;

	for (size_t i = 0; i < p->len; i++) {
		const struct place *x = &p->places[i];
		int b = blk_write(p->disk, x->was, x->at.length, x->at.offset, &other);

		back = back < 0 ? back : b;
	}
	if (back == 0)
		back = read_again(p, true, &other);
	if (back == 0)
		return r;
	(void)err_prefix(err, "%s, and before that", other.msg);
	err->code = -ENOTRECOVERABLE;
	return -ENOTRECOVERABLE;
}

int patch_apply(struct patch *p, struct err *err)
{
	int r = check_elsewhere(p, err);

	for (size_t i = 0; r == 0 && i < p->len; i++) {
		struct place *x = &p->places[i];

		r = blk_read(p->copy, x->now, x->at.length, x->at.offset, err);
		if (r == 0)
			r = clip(p, x, err);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < p->len; i++)
		r = write_place(p, &p->places[i], p->places[i].was, p->places[i].now, err);
	if (r == 0)
		r = read_again(p, false, err);
	return r < 0 ? put_back(p, r, err) : 0;
}
