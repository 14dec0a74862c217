#include "tests/lib/image.h"

#include <assert.h>
#include <string.h>

/* Sectors by number: open addressing, at most half full. */
struct sectors {
	uint64_t *keys; /* number + 1; 0: empty */
	const uint8_t **data;
	size_t len, cap;
};

static size_t slot(const struct sectors *s, uint64_t number)
{
	size_t i = (size_t)(number * 0x9e3779b97f4a7c15ull >> 20) & (s->cap - 1);

	while (s->keys[i] != 0 && s->keys[i] != number + 1)
		i = (i + 1) & (s->cap - 1);
	return i;
}

static bool sectors_put(struct sectors *s, uint64_t number, const uint8_t *data)
{
	size_t i;

	if (s->len * 2 >= s->cap) {
		struct sectors old = *s;

		s->cap = old.cap ? old.cap * 2 : 64;
		s->keys = calloc(s->cap, sizeof(*s->keys));
		s->data = calloc(s->cap, sizeof(uint8_t *));
		if (!s->keys || !s->data)
			return false;
		for (size_t k = 0; k < old.cap; k++) {
			if (old.keys[k] == 0)
				continue;
			i = slot(s, old.keys[k] - 1);
			s->keys[i] = old.keys[k];
			s->data[i] = old.data[k];
		}
		free(old.keys);
		free(old.data);
	}
	i = slot(s, number);
	s->len += s->keys[i] == 0;
	s->keys[i] = number + 1;
	s->data[i] = data;
	return true;
}

static const uint8_t *sectors_get(const struct sectors *s, uint64_t number)
{
	size_t i = s->cap ? slot(s, number) : 0;

	return s->cap && s->keys[i] ? s->data[i] : NULL;
}

static void sectors_done(struct sectors *s)
{
	free(s->keys);
	free(s->data);
}

/* Both kinds of disk: an encoded one has no `inner`; an overlay owns the sectors that it has changed. */
struct image {
	struct blk blk;
	struct blk *inner;
	struct sectors sectors;
	struct sectors reads; /* data is of no use */
	const uint8_t *end;   /* of the encoding */
};

static const uint8_t was_read[1];

static int image_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	struct image *m = (struct image *)b;
	uint8_t *to = buf;

	if (m->inner) {
		int r = blk_read(m->inner, buf, size, offset, err);

		if (r < 0)
			return r;
	} else {
		memset(buf, 0, size);
	}
	while (size > 0) {
		uint64_t number = offset / IMAGE_SECTOR;
		size_t at = offset % IMAGE_SECTOR;
		size_t n = size < IMAGE_SECTOR - at ? size : IMAGE_SECTOR - at;
		const uint8_t *data = sectors_get(&m->sectors, number);
		/* an encoding may end inside a sector */
		size_t have = !data ? 0
			      : m->inner || m->end - data >= (ptrdiff_t)IMAGE_SECTOR
				      ? IMAGE_SECTOR
				      : (size_t)(m->end - data);

		if (at < have)
			memcpy(to, data + at, n < have - at ? n : have - at);
		if (m->inner && !sectors_put(&m->reads, number, was_read))
			return err_set(err, -ENOMEM, "out of memory");
		to += n;
		offset += n;
		size -= n;
	}
	return 0;
}

static int image_flush(struct blk *b, struct err *err)
{
	(void)b;
	(void)err;
	return 0;
}

static void image_close(struct blk *b)
{
	struct image *m = (struct image *)b;

	if (m->inner)
		image_overlay_reset(b);
	sectors_done(&m->sectors);
	sectors_done(&m->reads);
}

static const struct blk_ops image_ops = {
	.read_at = image_read_at,
	.flush = image_flush,
	.drop_cache = image_flush,
	.close = image_close,
};

static struct image *image_new(uint64_t size, uint32_t sector_size)
{
	struct image *m = calloc(1, sizeof(*m));
	struct err err;

	if (!m || blk_init(&m->blk, &image_ops, "image", &err) < 0) {
		free(m);
		return NULL;
	}
	m->blk.size = size;
	m->blk.sector_size = sector_size;
	m->blk.physical_sector_size = sector_size;
	m->blk.mode = BLK_READ;
	return m;
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

size_t image_decode(const uint8_t *data, size_t size, struct blk *ret[static IMAGE_DISKS_MAX])
{
	size_t len = size > 0 ? data[0] % IMAGE_DISKS_MAX : 0;
	const uint8_t *end = data + size;
	const uint8_t *p = data + 1;

	len = len == 0 ? IMAGE_DISKS_MAX : len;
	if (size < 1 + 4 * len)
		return 0;
	for (size_t i = 0; i < len; i++, p += 4) {
		uint64_t sectors = get_u32(p) % IMAGE_SECTORS_MAX;
		struct image *m = image_new((sectors ? sectors : 1) * IMAGE_SECTOR, 512);

		ret[i] = m ? &m->blk : NULL;
		if (!m) {
			while (i-- > 0)
				blk_free(ret[i]);
			return 0;
		}
		m->end = end;
	}
	while (end - p > 4) {
		uint32_t number = get_u32(p) & ((1u << IMAGE_DISK_SHIFT) - 1);
		size_t disk = get_u32(p) >> IMAGE_DISK_SHIFT;
		struct image *m = disk < len ? (struct image *)ret[disk] : NULL;

		p += 4;
		if (m && number < m->blk.size / IMAGE_SECTOR)
			(void)sectors_put(&m->sectors, number,
					  p); /* out of memory: a zero sector */
		p += end - p < (ptrdiff_t)IMAGE_SECTOR ? end - p : (ptrdiff_t)IMAGE_SECTOR;
	}
	return len;
}

struct blk *image_overlay_new(struct blk *inner)
{
	struct image *m = image_new(blk_size(inner), blk_sector_size(inner));

	if (m)
		m->inner = inner;
	return m ? &m->blk : NULL;
}

void image_overlay_reset(struct blk *b)
{
	struct image *m = (struct image *)b;

	for (size_t i = 0; i < m->sectors.cap; i++) {
		if (m->sectors.keys[i])
			free((void *)m->sectors.data[i]);
	}
	sectors_done(&m->sectors);
	m->sectors = (struct sectors){0};
	b->size = blk_size(m->inner);
}

void image_overlay_poke(struct blk *b, uint64_t offset, const void *bytes, size_t size)
{
	struct image *m = (struct image *)b;
	uint64_t number = offset / IMAGE_SECTOR;
	uint8_t *data = (uint8_t *)sectors_get(&m->sectors, number);
	uint64_t left = blk_size(m->inner) - number * IMAGE_SECTOR;
	struct err err;

	assert(offset < blk_size(b) && offset % IMAGE_SECTOR + size <= IMAGE_SECTOR);
	if (!data) {
		data = calloc(1, IMAGE_SECTOR);
		if (!data ||
		    blk_read(m->inner, data, left < IMAGE_SECTOR ? left : IMAGE_SECTOR,
			     number * IMAGE_SECTOR, &err) < 0 ||
		    !sectors_put(&m->sectors, number, data))
			abort();
	}
	memcpy(data + offset % IMAGE_SECTOR, bytes, size);
}

void image_overlay_cut(struct blk *b, uint64_t size)
{
	assert(size > 0 && size <= blk_size(b));
	b->size = size;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a;
	const uint64_t *y = b;

	return *x < *y ? -1 : *x > *y;
}

uint64_t *image_overlay_reads(struct blk *b, size_t *ret_len)
{
	const struct image *m = (const struct image *)b;
	uint64_t *list = malloc((m->reads.len + 1) * sizeof(*list));
	size_t len = 0;

	for (size_t i = 0; list && i < m->reads.cap; i++) {
		if (m->reads.keys[i])
			list[len++] = m->reads.keys[i] - 1;
	}
	if (list && len > 0)
		qsort(list, len, sizeof(*list), compare);
	*ret_len = len;
	return list;
}
