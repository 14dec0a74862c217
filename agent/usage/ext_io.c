/* ext_io.c - an I/O manager of libext2fs over a volume.
 *
 * libext2fs opens by name and hands the manager nothing else, so the volume that is being opened waits in a variable of the thread.
 * Everything that would write fails. */
#include "agent/usage/ext_io.h"

#include <string.h>

#include "agent/usage/scan.h"

static _Thread_local struct volume *opening;

static errcode_t io_open(const char *name, int flags, io_channel *ret);

static errcode_t io_close(io_channel c)
{
	if (--c->refcount > 0)
		return 0;
	free(c->name);
	free(c);
	return 0;
}

static errcode_t io_set_blksize(io_channel c, int size)
{
	c->block_size = size;
	return 0;
}

/* `count` blocks, or -count bytes. */
static errcode_t io_read64(io_channel c, unsigned long long block, int count, void *data)
{
	uint64_t size =
		count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * (unsigned)c->block_size;
	uint64_t offset;
	struct err err;

	if (__builtin_mul_overflow(block, (uint64_t)c->block_size, &offset))
		return EXT2_ET_BAD_BLOCK_NUM;
	if (volume_read(c->private_data, data, size, offset, &err) == 0)
		return 0;
	return err.code == -ERANGE ? EXT2_ET_SHORT_READ : -err.code;
}

static errcode_t io_read(io_channel c, unsigned long block, int count, void *data)
{
	return io_read64(c, block, count, data);
}

static errcode_t io_write(io_channel c, unsigned long block, int count, const void *data)
{
	(void)c;
	(void)block;
	(void)count;
	(void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t io_write64(io_channel c, unsigned long long block, int count, const void *data)
{
	(void)c;
	(void)block;
	(void)count;
	(void)data;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t io_flush(io_channel c)
{
	(void)c;
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "volume",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read,
	.write_blk = io_write,
	.flush = io_flush,
	.read_blk64 = io_read64,
	.write_blk64 = io_write64,
};

static errcode_t io_open(const char *name, int flags, io_channel *ret)
{
	io_channel c = calloc(1, sizeof(*c));

	if (!c)
		return EXT2_ET_NO_MEMORY;
	c->name = strdup(name);
	if (!c->name || (flags & IO_FLAG_RW)) {
		free(c->name);
		free(c);
		return flags & IO_FLAG_RW ? EXT2_ET_RO_FILSYS : EXT2_ET_NO_MEMORY;
	}
	c->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	c->manager = &manager;
	c->block_size = 1024;
	c->refcount = 1;
	c->private_data = opening;
	*ret = c;
	return 0;
}

int ext_io_open(struct volume *v, ext2_filsys *ret, struct err *err)
{
	errcode_t e;

	initialize_ext2_error_table();
	opening = v;
	e = ext2fs_open2("volume", NULL, EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP, 0, 0, &manager,
			 ret);
	opening = NULL;
	return e ? doubt(err, "libext2fs: %s", error_message(e)) : 0;
}
