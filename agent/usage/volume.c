/* volume.c - reading and marking through the layers.
 *
 * Stripes: the bytes of area j below the volume's byte x are one consecutive range of the area, whatever the stripe size (area_pos).
 * So a range of the volume is one range of each area, and marking costs the same for a block and for a terabyte. */
#include "agent/usage/volume.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define TORN_MAX 4096u /* ranges */

static struct volume *volume_of(struct blk *b)
{
	return (struct volume *)b;
}

static size_t find_segment(const struct volume *v, uint64_t offset)
{
	size_t low = 0;
	size_t high = v->segments_len;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (v->segments[mid].at <= offset) {
			low = mid;
		} else {
			high = mid;
		}
	}
	return low;
}

/* Has the copy other bytes?  One that cannot be read has not. */
static bool is_other(struct volume *on, const uint8_t *bytes, size_t size, uint64_t offset)
{
	uint8_t copy[4096];
	struct err err;

	for (size_t at = 0, n; at < size; at += n) {
		n = size - at < sizeof(copy) ? size - at : sizeof(copy);
		if (volume_read(on, copy, n, offset + at, &err) == 0 &&
		    memcmp(copy, bytes + at, n) != 0)
			return true;
	}
	return false;
}

/* From the first copy that can be read, if all others are the same; 1 at a glance if they are not. */
static int read_area(struct volume *v, const struct segment *s, uint32_t stripe, void *buf,
		     size_t size, uint64_t offset, struct err *err)
{
	const struct area *areas = s->areas + (size_t)stripe * s->mirrors;
	const struct glance *glance = v->glance && v->glance->is_on ? v->glance : NULL;
	uint32_t first = glance ? glance->copy % s->mirrors : 0;
	int r = err_set(err, -ENXIO, "it lies on a disk that is not there");

	for (uint32_t i = 0; i < s->mirrors; i++) {
		const struct area *a = &areas[(first + i) % s->mirrors];

		if (!a->on)
			continue;
		if (r < 0) {
			r = volume_read(a->on, buf, size, a->offset + offset, err);
		} else if (is_other(a->on, buf, size, a->offset + offset)) {
			if (glance)
				return 1;
			v->is_torn = true;
			return err_set(err, -EUCLEAN,
				       "its copies differ, as those of a mirror do not");
		}
	}
	return r;
}

static int composed_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	struct volume *v = volume_of(b);
	uint8_t *to = buf;
	size_t i = find_segment(v, offset);

	while (size > 0) {
		const struct segment *s = &v->segments[i];
		uint64_t at = offset - s->at;
		uint64_t n = s->length - at;
		uint64_t in_area = at;
		uint32_t stripe = 0;
		int r;

		if (s->stripes > 1) {
			uint64_t number = at / s->stripe_size;

			stripe = (uint32_t)(number % s->stripes);
			in_area = number / s->stripes * s->stripe_size + at % s->stripe_size;
			n = s->stripe_size - at % s->stripe_size;
		}
		if (n > size)
			n = size;
		r = read_area(v, s, stripe, to, (size_t)n, in_area, err);
		if (r < 0)
			return err_prefix(err, "%s at byte %" PRIu64, v->blk.name, offset);
		if (r > 0) {
			v->glance->is_torn = true;
			runs_add(&v->torn, offset, n);
		}
		to += n;
		size -= (size_t)n;
		offset += n;
		i += offset - s->at == s->length;
	}
	return 0;
}

static void composed_close(struct blk *b)
{
	segments_free(volume_of(b)->segments, volume_of(b)->segments_len);
	runs_done(&volume_of(b)->torn);
}

static int disk_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	return cache_read(volume_of(b)->cache, volume_of(b)->disk, buf, size, offset, err);
}

static void disk_close(struct blk *b)
{
	runs_done(&volume_of(b)->runs);
}

/* No writing: of mode BLK_READ, so that blk.c refuses before it comes here. */
static const struct blk_ops disk_ops = {.read_at = disk_read_at, .close = disk_close};
static const struct blk_ops composed_ops = {.read_at = composed_read_at, .close = composed_close};

int volume_new_disk(struct blk *disk, struct cache *cache, size_t runs_max, struct volume **ret,
		    struct err *err)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (!v || blk_init(&v->blk, &disk_ops, blk_name(disk), err) < 0) {
		free(v);
		return err_set(err, -ENOMEM, "map '%s': out of memory", blk_name(disk));
	}
	v->blk.size = blk_size(disk);
	v->blk.sector_size = blk_sector_size(disk);
	v->blk.physical_sector_size = blk_physical_sector_size(disk);
	v->disk = disk;
	v->cache = cache;
	runs_init(&v->runs, runs_max);
	*ret = v;
	return 0;
}

static void inherit_guest(struct volume *v, const struct segment *s)
{
	for (size_t i = 0; i < (size_t)s->stripes * s->mirrors; i++) {
		if (s->areas[i].on && s->areas[i].on->guest)
			v->guest = s->areas[i].on->guest;
	}
}

int volume_new_composed(const char *name, uint32_t sector_size, struct segment *take_segments,
			size_t len, struct volume **ret, struct err *err)
{
	struct volume *v = calloc(1, sizeof(*v));

	if (!v || blk_init(&v->blk, &composed_ops, name, err) < 0) {
		free(v);
		segments_free(take_segments, len);
		return err_set(err, -ENOMEM, "map '%s': out of memory", name);
	}
	v->segments = take_segments;
	v->segments_len = len;
	for (size_t i = 0; i < len; i++) {
		assert(take_segments[i].at == v->blk.size && take_segments[i].length > 0);
		v->blk.size += take_segments[i].length;
		inherit_guest(v, &take_segments[i]);
	}
	v->blk.sector_size = sector_size;
	v->blk.physical_sector_size = sector_size;
	*ret = v;
	return 0;
}

int volume_new_slice(const char *name, struct volume *on, uint64_t offset, uint64_t size,
		     struct volume **ret, struct err *err)
{
	struct segment *s = calloc(1, sizeof(*s));
	struct area *a = calloc(1, sizeof(*a));

	assert(size > 0 && offset <= volume_size(on) && size <= volume_size(on) - offset);
	if (!s || !a) {
		free(s);
		free(a);
		return err_set(err, -ENOMEM, "map '%s': out of memory", name);
	}
	*a = (struct area){on, offset};
	*s = (struct segment){.length = size, .stripes = 1, .mirrors = 1, .areas = a};
	return volume_new_composed(name, on->blk.sector_size, s, 1, ret, err);
}

void volume_free(struct volume *v)
{
	if (v)
		blk_free(&v->blk);
}

void segments_free(struct segment *s, size_t len)
{
	for (size_t i = 0; s && i < len; i++)
		free(s[i].areas);
	free(s);
}

int volume_read(struct volume *v, void *buf, size_t size, uint64_t offset, struct err *err)
{
	return blk_read(&v->blk, buf, size, offset, err);
}

void volume_set_glance(struct volume *v, struct glance *g)
{
	assert(v->segments_len == 1);
	if (v->segments[0].mirrors > GLANCE_COPIES_MAX)
		return;
	if (v->segments[0].mirrors > g->copies)
		g->copies = v->segments[0].mirrors;
	runs_init(&v->torn, TORN_MAX);
	v->glance = g;
}

void volume_see_torn(struct volume *v)
{
	v->is_on_torn = v->torn.len > 0 || v->torn.is_failed;
	for (size_t i = 0; i < v->segments_len; i++) {
		const struct segment *s = &v->segments[i];

		for (size_t k = 0; k < (size_t)s->stripes * s->mirrors; k++)
			v->is_on_torn |= s->areas[k].on && s->areas[k].on->is_on_torn;
	}
}

struct pieces {
	struct usage_piece *items;
	size_t len, max;
};

static int add_piece(struct pieces *p, struct blk *disk, uint64_t offset, uint64_t length,
		     struct err *err)
{
	struct usage_piece *last = p->len > 0 ? &p->items[p->len - 1] : NULL;

	if (last && last->disk == disk && last->offset + last->length == offset) {
		last->length += length;
		return 0;
	}
	if (p->len == p->max)
		return err_set(err, -E2BIG, "it lies in more than %zu pieces", p->max);
	p->items[p->len++] = (struct usage_piece){disk, offset, length};
	return 0;
}

/* The depth of recursion is that of the layers. */
static int find_pieces(const struct volume *v, uint64_t offset, uint64_t length, struct pieces *p,
		       struct err *err)
{
	int r = 0;

	if (v->disk)
		return add_piece(p, v->disk, offset, length, err);
	for (size_t i = find_segment(v, offset); r == 0 && length > 0; i++) {
		const struct segment *s = &v->segments[i];

		while (r == 0 && length > 0 && offset - s->at < s->length) {
			uint64_t at = offset - s->at;
			uint64_t n = s->length - at;
			uint32_t stripe = 0;
			const struct area *a;

			if (s->stripes > 1) {
				n = s->stripe_size - at % s->stripe_size;
				stripe = (uint32_t)(at / s->stripe_size % s->stripes);
				at = at / s->stripe_size / s->stripes * s->stripe_size +
				     at % s->stripe_size;
			}
			if (n > length)
				n = length;
			a = s->areas + (size_t)stripe * s->mirrors;
			for (uint32_t j = 1; !a->on && j < s->mirrors; j++)
				a++;
			if (!a->on)
				return err_set(err, -ENXIO, "it lies on a disk that is not there");
			r = find_pieces(a->on, a->offset + at, n, p, err);
			offset += n;
			length -= n;
		}
	}
	return r;
}

int volume_find_pieces(const struct volume *v, struct usage_piece *ret, size_t max, size_t *ret_len,
		       struct err *err)
{
	struct pieces p = {ret, 0, max};
	int r = find_pieces(v, 0, volume_size(v), &p, err);

	if (r == 0)
		*ret_len = p.len;
	return r;
}

/* What to do with a range of a disk. */
typedef bool range_fn(struct volume *disk, uint64_t offset, uint64_t length, void *ctx);

/* Bytes of area `stripe` that lie below the segment's byte `x`. */
static uint64_t area_pos(const struct segment *s, uint32_t stripe, uint64_t x)
{
	uint64_t row, rest;

	if (s->stripes == 1)
		return x;
	row = s->stripe_size * s->stripes;
	rest = x % row;
	if (rest <= s->stripe_size * stripe) {
		rest = 0;
	} else {
		rest -= s->stripe_size * stripe;
	}
	return x / row * s->stripe_size + (rest < s->stripe_size ? rest : s->stripe_size);
}

/* Call `fn` for what the range is on the disks, until it returns false.  The range is inside the volume.  The depth of recursion is that of
 * the layers, which scan.c limits. */
static bool each_range(struct volume *v, uint64_t offset, uint64_t length, range_fn *fn, void *ctx)
{
	uint64_t end = offset + length;

	if (v->disk)
		return fn(v, offset, length, ctx);
	for (size_t i = find_segment(v, offset); i < v->segments_len; i++) {
		const struct segment *s = &v->segments[i];
		uint64_t from = offset > s->at ? offset - s->at : 0;
		uint64_t to = end - s->at < s->length ? end - s->at : s->length;

		if (s->at >= end)
			break;
		for (size_t j = 0; j < (size_t)s->stripes * s->mirrors; j++) {
			const struct area *a = &s->areas[j];
			uint64_t low = area_pos(s, (uint32_t)(j / s->mirrors), from);
			uint64_t high = area_pos(s, (uint32_t)(j / s->mirrors), to);

			if (a->on && low < high &&
			    !each_range(a->on, a->offset + low, high - low, fn, ctx))
				return false;
		}
	}
	return true;
}

static bool range_mark(struct volume *disk, uint64_t offset, uint64_t length, void *ctx)
{
	(void)ctx;
	runs_add(&disk->runs, offset, length);
	return true;
}

static bool range_is_marked(struct volume *disk, uint64_t offset, uint64_t length, void *ctx)
{
	(void)ctx;
	return runs_cover(&disk->runs, offset, length);
}

struct copied {
	const struct volume *disk;
	uint64_t sum;
};

static bool range_copied(struct volume *disk, uint64_t offset, uint64_t length, void *ctx)
{
	struct copied *c = ctx;

	if (!c->disk || c->disk == disk)
		c->sum += runs_overlap(&disk->runs, offset, length);
	return true;
}

void volume_mark(struct volume *v, uint64_t offset, uint64_t length)
{
	if (offset >= volume_size(v))
		return;
	if (length > volume_size(v) - offset)
		length = volume_size(v) - offset;
	if (length > 0)
		(void)each_range(v, offset, length, range_mark, NULL);
}

void volume_mark_all(struct volume *v)
{
	volume_mark(v, 0, volume_size(v));
}

static bool range_is_free(struct volume *disk, uint64_t offset, uint64_t length, void *ctx)
{
	(void)ctx;
	return runs_overlap(&disk->runs, offset, length) == 0;
}

bool volume_is_torn_in_use(struct volume *v)
{
	runs_sort(&v->torn);
	for (size_t i = 0; i < v->torn.len; i++) {
		const struct extent *e = &v->torn.items[i];

		if (!each_range(v, e->offset, e->length, range_is_free, NULL))
			return true;
	}
	return v->torn.is_failed;
}

bool volume_is_marked(struct volume *v, uint64_t offset, uint64_t length)
{
	if (offset > volume_size(v) || length > volume_size(v) - offset)
		return false;
	return length == 0 || each_range(v, offset, length, range_is_marked, NULL);
}

uint64_t volume_copied(struct volume *v, const struct volume *disk)
{
	struct copied c = {disk, 0};

	if (volume_size(v) > 0)
		(void)each_range(v, 0, volume_size(v), range_copied, &c);
	return c.sum;
}

static bool range_is_elsewhere(struct volume *disk, uint64_t offset, uint64_t length, void *ctx)
{
	(void)offset;
	(void)length;
	return disk != ctx;
}

bool volume_touches(struct volume *v, const struct volume *disk)
{
	return volume_size(v) > 0 &&
	       !each_range(v, 0, volume_size(v), range_is_elsewhere, (void *)disk);
}
