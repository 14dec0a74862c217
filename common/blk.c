/* blk.c - range checks, dispatch, and the disk in memory. */
#include "common/blk.h"

#include <inttypes.h>
#include <string.h>

static int check_range(const struct blk *b, const char *verb, uint64_t size, uint64_t offset,
		       struct err *err)
{
	if (offset <= b->size && size <= b->size - offset)
		return 0;
	return err_set(err, -ERANGE,
		       "%s '%s': %" PRIu64 " bytes at byte %" PRIu64 " are not inside its %" PRIu64
		       " bytes",
		       verb, b->name, size, offset, b->size);
}

static int check_writable(const struct blk *b, const char *verb, struct err *err)
{
	if (b->mode == BLK_WRITE)
		return 0;
	return err_set(err, -EROFS, "%s '%s': it was opened for reading only", verb, b->name);
}

int blk_init(struct blk *b, const struct blk_ops *ops, const char *name, struct err *err)
{
	b->ops = ops;
	b->name = strdup(name);
	if (!b->name)
		return err_set(err, -ENOMEM, "open '%s': out of memory", name);
	return 0;
}

int blk_read(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	int r = check_range(b, "read", size, offset, err);

	if (r < 0 || size == 0)
		return r;
	return b->ops->read_at(b, buf, size, offset, err);
}

int blk_read_sectors(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	int r = check_range(b, "read", size, offset, err);

	if (r < 0 || size == 0)
		return r;
	return (b->ops->read_sectors ? b->ops->read_sectors : b->ops->read_at)(b, buf, size, offset,
									       err);
}

int blk_direct_fd(struct blk *b, const void *buf, size_t size, uint64_t offset)
{
	struct err ignored;

	if (!b->ops->direct_fd || size == 0 || check_range(b, "read", size, offset, &ignored) < 0)
		return -1;
	return b->ops->direct_fd(b, buf, size, offset);
}

int blk_write(struct blk *b, const void *buf, size_t size, uint64_t offset, struct err *err)
{
	int r = check_writable(b, "write", err);

	if (r == 0)
		r = check_range(b, "write", size, offset, err);
	if (r < 0 || size == 0)
		return r;
	return b->ops->write_at(b, buf, size, offset, err);
}

int blk_zero(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	int r = check_writable(b, "zero", err);

	if (r == 0)
		r = check_range(b, "zero", size, offset, err);
	if (r < 0 || size == 0)
		return r;
	return b->ops->zero_at(b, offset, size, err);
}

int blk_flush(struct blk *b, struct err *err)
{
	if (b->mode != BLK_WRITE)
		return 0;
	return b->ops->flush(b, err);
}

int blk_drop_cache(struct blk *b, struct err *err)
{
	int r = blk_flush(b, err);

	return r < 0 ? r : b->ops->drop_cache(b, err);
}

bool blk_is_hole(struct blk *b, uint64_t offset, uint64_t size)
{
	struct err err;

	if (!b->ops->hole_end || check_range(b, "look at", size, offset, &err) < 0)
		return false;
	return size == 0 || blk_hole_end(b, offset) >= offset + size;
}

uint64_t blk_hole_end(struct blk *b, uint64_t offset)
{
	if (!b->ops->hole_end || offset >= b->size)
		return offset;
	return b->ops->hole_end(b, offset);
}

void blk_free(struct blk *b)
{
	if (!b)
		return;
	b->ops->close(b);
	free(b->name);
	free(b);
}

struct blk_memory {
	struct blk blk;
	unsigned char *buf;
};

static int memory_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	(void)err;
	memcpy(buf, ((struct blk_memory *)b)->buf + offset, size);
	return 0;
}

static int memory_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			   struct err *err)
{
	(void)err;
	memcpy(((struct blk_memory *)b)->buf + offset, buf, size);
	return 0;
}

static int memory_zero_at(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	(void)err;
	memset(((struct blk_memory *)b)->buf + offset, 0, size);
	return 0;
}

static int memory_flush(struct blk *b, struct err *err)
{
	(void)b;
	(void)err;
	return 0;
}

static void memory_close(struct blk *b)
{
	free(((struct blk_memory *)b)->buf);
}

static const struct blk_ops memory_ops = {
	.read_at = memory_read_at,
	.write_at = memory_write_at,
	.zero_at = memory_zero_at,
	.flush = memory_flush,
	.drop_cache = memory_flush,
	.close = memory_close,
};

struct blk *blk_new_memory(void *take_buf, uint64_t size, uint32_t sector_size)
{
	struct blk_memory *m = calloc(1, sizeof(*m));
	struct err err;

	if (sector_size == 0)
		sector_size = BLK_SECTOR_SIZE_MIN;
	if (!m || !blk_sector_size_is_valid(sector_size) ||
	    blk_init(&m->blk, &memory_ops, "memory", &err) < 0) {
		free(m);
		free(take_buf);
		return NULL;
	}
	m->blk.size = size;
	m->blk.sector_size = sector_size;
	m->blk.physical_sector_size = sector_size;
	m->blk.mode = BLK_WRITE;
	m->buf = take_buf;
	return &m->blk;
}
