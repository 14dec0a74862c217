#include "common/index.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define MAGIC	  "HOISTIX2"
#define MAGIC_OLD "HOISTIX1"

static bool is_power_of_two(uint32_t v)
{
	return v != 0 && (v & (v - 1)) == 0;
}

int geometry_check(const struct geometry *g, struct err *err)
{
	if (!is_power_of_two(g->sector_size) || g->sector_size < 512 || g->sector_size > 4096) {
		return err_set(err, -EINVAL,
			       "a logical sector size of %u is not one of 512, 1024, 2048, 4096",
			       g->sector_size);
	}
	if (!is_power_of_two(g->physical_sector_size) || g->physical_sector_size < g->sector_size ||
	    g->physical_sector_size > 65536) {
		return err_set(err, -EINVAL,
			       "a physical sector size of %u does not go with sectors of %u",
			       g->physical_sector_size, g->sector_size);
	}
	if (g->size < DISK_SIZE_MIN || g->size > DISK_SIZE_MAX) {
		return err_set(err, -EINVAL,
			       "a disk of %" PRIu64 " bytes is not in 512 B to 64 TiB", g->size);
	}
	if (g->size % g->sector_size != 0) {
		return err_set(err, -EINVAL,
			       "a disk of %" PRIu64 " bytes is no whole number of %u-byte sectors",
			       g->size, g->sector_size);
	}
	return 0;
}

int extents_check(const struct extent *e, size_t len, uint64_t disk_size, struct err *err)
{
	uint64_t end = 0;

	if (len > EXTENTS_MAX) {
		return err_set(err, -EINVAL, "%zu unreadable extents are more than %u", len,
			       EXTENTS_MAX);
	}
	for (size_t i = 0; i < len; i++) {
		/* Apart: two that touch are one. */
		if (e[i].length == 0 || e[i].offset < end || (i > 0 && e[i].offset == end)) {
			return err_set(err, -EINVAL,
				       "unreadable extent %zu is empty or out of order", i);
		}
		if (e[i].offset > disk_size || e[i].length > disk_size - e[i].offset) {
			return err_set(err, -EINVAL, "unreadable extent %zu lies outside the disk",
				       i);
		}
		end = e[i].offset + e[i].length;
	}
	return 0;
}

void index_encode_header(const struct geometry *g, uint8_t ret[static INDEX_HEADER_SIZE])
{
	struct writer w;

	writer_init(&w, ret, INDEX_HEADER_SIZE);
	writer_bytes(&w, MAGIC, 8);
	writer_u64(&w, g->size);
	writer_u32(&w, g->sector_size);
	writer_u32(&w, g->physical_sector_size);
	writer_u32(&w, WINDOW_SIZE);
	writer_u32(&w, 0);
	writer_u64(&w, window_count(g->size));
}

int index_decode_header(const uint8_t data[static INDEX_HEADER_SIZE], struct geometry *ret,
			struct err *err)
{
	struct reader r;
	struct geometry g;
	const uint8_t *magic;
	uint32_t window, reserved;
	uint64_t count;

	reader_init(&r, data, INDEX_HEADER_SIZE);
	magic = reader_bytes(&r, 8);
	g.size = reader_u64(&r);
	g.sector_size = reader_u32(&r);
	g.physical_sector_size = reader_u32(&r);
	window = reader_u32(&r);
	reserved = reader_u32(&r);
	count = reader_u64(&r);
	if (magic != NULL && memcmp(magic, MAGIC_OLD, 8) == 0) {
		return err_set(err, -EPROTONOSUPPORT,
			       "index: made by a version before the first release (" MAGIC_OLD
			       "), which is not read any more; capture the disk again");
	}
	if (magic == NULL || memcmp(magic, MAGIC, 8) != 0)
		return err_set(err, -EPROTO, "index: does not begin with " MAGIC);
	if (geometry_check(&g, err) < 0) {
		(void)err_prefix(err, "index");
		err->code = -EPROTO;
		return -EPROTO;
	}
	if (window != WINDOW_SIZE)
		return err_set(err, -EPROTO, "index: windows of %u bytes are not known", window);
	if (reserved != 0)
		return err_set(err, -EPROTO, "index: the reserved field is not zero");
	if (count != window_count(g.size)) {
		return err_set(err, -EPROTO,
			       "index: %" PRIu64 " windows do not go with %" PRIu64 " bytes", count,
			       g.size);
	}
	*ret = g;
	return 0;
}

void index_encode_tail(const struct extent *e, size_t len, uint8_t *buf)
{
	struct writer w;

	writer_init(&w, buf, index_tail_size(len));
	writer_u32(&w, (uint32_t)len);
	writer_u32(&w, 0);
	for (size_t i = 0; i < len; i++) {
		writer_u64(&w, e[i].offset);
		writer_u64(&w, e[i].length);
	}
	assert(!w.bad);
}

int index_decode_tail(const void *data, size_t size, uint64_t disk_size,
		      struct extent **ret_extents, size_t *ret_len, struct err *err)
{
	CLEANUP_FREE struct extent *e = NULL;
	struct reader r;
	uint32_t len, reserved;

	reader_init(&r, data, size);
	len = reader_u32(&r);
	reserved = reader_u32(&r);
	if (r.bad || reserved != 0 || len > EXTENTS_MAX || r.left != (size_t)len * 16)
		return err_set(err, -EPROTO, "index: the list of unreadable extents is malformed");
	if (len > 0) {
		e = malloc(len * sizeof(*e));
		if (e == NULL)
			return err_set(err, -ENOMEM, "index: out of memory");
	}
	for (uint32_t i = 0; i < len; i++) {
		e[i].offset = reader_u64(&r);
		e[i].length = reader_u64(&r);
	}
	if (extents_check(e, len, disk_size, err) < 0) {
		(void)err_prefix(err, "index");
		err->code = -EPROTO;
		return -EPROTO;
	}
	*ret_extents = TAKE_PTR(e);
	*ret_len = len;
	return 0;
}
