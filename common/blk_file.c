/* blk_file.c - block devices and plain files as disks.
 *
 * Two descriptors on the same thing: `fd` goes through the page cache, `direct_fd` (-1 without BLK_DIRECT) past it.  A direct transfer
 * is only ever made of whole BLK_DIRECT_ALIGN units (or the logical sector, if that is more), which is also the page size
 * or a multiple of it: so the buffered ends of an unaligned transfer never share a page with a direct one, and a concurrent
 * read-modify-write of a page cannot undo a neighbour's direct write.  The kernel keeps both views coherent.
 *
 * Locking a source: BLKROSET is a property of the device, not of our descriptor, and outlives it.  That is wanted (a captured disk stays
 * locked until the machine restarts), and is why BLK_LOOK and BLK_LIFT_READ_ONLY exist.
 */
#include "common/blk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define IO_MAX \
	(64u << 20) /* most bytes in one system call, so that a slow device answers now and then */
#define BOUNCE_MAX (1u << 20)
#define ZERO_MAX   (1ull << 30)

struct blk_file {
	struct blk blk;
	int fd;
	int direct_fd;
	uint32_t align; /* of direct transfers */
	dev_t rdev;	/* block devices */
};

struct io {
	unsigned char *buf;
	size_t size;
	uint64_t offset;
	bool is_write;
};

static struct blk_file *file_of(struct blk *b)
{
	return (struct blk_file *)b;
}

static int io_error(const struct blk_file *f, const struct io *io, size_t done, int code,
		    struct err *err)
{
	const char *verb = io->is_write ? "write" : "read";

	if (code == 0) {
		return err_set(err, -EIO,
			       "%s '%s' at byte %" PRIu64 ": it ends there, and had %" PRIu64
			       " bytes when it was opened",
			       verb, f->blk.name, io->offset + done, f->blk.size);
	}
	return err_set(err, -code, "%s '%s' at byte %" PRIu64 ": %s", verb, f->blk.name,
		       io->offset + done, strerrordesc_np(code));
}

/* The whole of `io` through one descriptor. */
static int transfer_all(const struct blk_file *f, int fd, const struct io *io, struct err *err)
{
	size_t done = 0;

	while (done < io->size) {
		size_t n = io->size - done < IO_MAX ? io->size - done : IO_MAX;
		off_t at = (off_t)(io->offset + done);
		ssize_t r;

		if (io->is_write) {
			r = pwrite(fd, io->buf + done, n, at);
		} else {
			r = pread(fd, io->buf + done, n, at);
		}
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return io_error(f, io, done, r < 0 ? errno : 0, err);
		done += (size_t)r;
	}
	return 0;
}

/* An aligned range, from or to memory that is not: by way of memory that is. */
static int transfer_bounced(const struct blk_file *f, const struct io *io, struct err *err)
{
	size_t cap = io->size < BOUNCE_MAX ? io->size : BOUNCE_MAX;
	CLEANUP_FREE unsigned char *bounce =
		aligned_alloc(f->align, (cap + f->align - 1) / f->align * f->align);
	size_t done = 0;
	int r = 0;

	if (!bounce) {
		return err_set(err, -ENOMEM, "%s '%s': out of memory",
			       io->is_write ? "write" : "read", f->blk.name);
	}
	while (r == 0 && done < io->size) {
		size_t n = io->size - done < cap ? io->size - done : cap;
		struct io part = {bounce, n, io->offset + done, io->is_write};

		if (io->is_write)
			memcpy(bounce, io->buf + done, n);
		r = transfer_all(f, f->direct_fd, &part, err);
		if (r == 0 && !io->is_write)
			memcpy(io->buf + done, bounce, n);
		done += n;
	}
	return r;
}

static int transfer_direct(const struct blk_file *f, const struct io *io, struct err *err)
{
	if (((uintptr_t)io->buf & (f->align - 1)) != 0)
		return transfer_bounced(f, io, err);
	return transfer_all(f, f->direct_fd, io, err);
}

/* Split into an unaligned head, an aligned middle and an unaligned tail. */
static int transfer(const struct blk_file *f, const struct io *io, struct err *err)
{
	uint64_t mask = f->align - 1;
	uint64_t end = io->offset + io->size;
	uint64_t first = (io->offset + mask) & ~mask;
	uint64_t last = end & ~mask;
	struct io head, middle, tail;
	int r;

	if (f->direct_fd < 0 || first >= last)
		return transfer_all(f, f->fd, io, err);
	head = (struct io){io->buf, (size_t)(first - io->offset), io->offset, io->is_write};
	middle = (struct io){io->buf + head.size, (size_t)(last - first), first, io->is_write};
	tail = (struct io){middle.buf + middle.size, (size_t)(end - last), last, io->is_write};
	r = transfer_all(f, f->fd, &head, err);
	if (r == 0)
		r = transfer_direct(f, &middle, err);
	if (r == 0)
		r = transfer_all(f, f->fd, &tail, err);
	return r;
}

static int file_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	struct io io = {buf, size, offset, false};

	return transfer(file_of(b), &io, err);
}

/* Direct reads need no more than the sector's alignment, which keeps neighbours out of it; the page cache would read whole pages.  The rule
 * of BLK_DIRECT_ALIGN at the head of this file is about writers, of which there is none here.  A file on a filesystem with larger blocks refuses. */
static int file_read_sectors(struct blk *b, void *buf, size_t size, uint64_t offset,
			     struct err *err)
{
	const struct blk_file *f = file_of(b);
	struct io io = {buf, size, offset, false};
	int r = -EINVAL;

	if (f->direct_fd >= 0 && b->mode == BLK_READ &&
	    ((size | offset) & (b->sector_size - 1)) == 0) {
		if (((uintptr_t)buf & (b->sector_size - 1)) == 0)
			r = transfer_all(f, f->direct_fd, &io, err);
		else
			r = transfer_bounced(f, &io, err);
	}
	return r == -EINVAL ? transfer(f, &io, err) : r;
}

static int file_direct_fd(struct blk *b, const void *buf, size_t size, uint64_t offset)
{
	const struct blk_file *f = file_of(b);

	return (((uintptr_t)buf | size | offset) & (f->align - 1)) == 0 ? f->direct_fd : -1;
}

static int file_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			 struct err *err)
{
	struct io io = {(unsigned char *)buf, size, offset, true};

	return transfer(file_of(b), &io, err);
}

static int write_zeros(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	size_t cap = size < BOUNCE_MAX ? (size_t)size : BOUNCE_MAX;
	CLEANUP_FREE void *zeros = NULL;
	int r = 0;

	if (posix_memalign(&zeros, file_of(b)->align, cap) != 0)
		return err_set(err, -ENOMEM, "zero '%s': out of memory", b->name);
	memset(zeros, 0, cap);
	while (r == 0 && size > 0) {
		size_t n = size < cap ? (size_t)size : cap;

		r = file_write_at(b, zeros, n, offset, err);
		offset += n;
		size -= n;
	}
	return r;
}

/* Let kernel or device do it.  Aligned ranges only.  0, or a negative errno after which the range must be written. */
static int zero_offloaded(const struct blk_file *f, uint64_t offset, uint64_t size)
{
	/* Punching gives the space back and fails unless zeros are then read; BLKZEROOUT keeps the space. */
	int r = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			  (off_t)size);

	if (r < 0 && f->blk.is_device) {
		uint64_t range[2] = {offset, size};

		r = ioctl(f->fd, BLKZEROOUT, range);
	}
	return r < 0 ? -errno : 0;
}

static int file_zero_at(struct blk *b, uint64_t offset, uint64_t size, struct err *err)
{
	const struct blk_file *f = file_of(b);
	uint64_t mask = f->align - 1;
	uint64_t end = offset + size;
	uint64_t first = (offset + mask) & ~mask;
	uint64_t last = end & ~mask;
	int r = 0;

	if (first >= last)
		return write_zeros(b, offset, size, err);
	if (first > offset)
		r = write_zeros(b, offset, first - offset, err);
	while (r == 0 && first < last) {
		uint64_t n = last - first < ZERO_MAX ? last - first : ZERO_MAX;

		if (zero_offloaded(f, first, n) < 0)
			r = write_zeros(b, first, n, err);
		first += n;
	}
	if (r == 0 && last < end)
		r = write_zeros(b, last, end - last, err);
	return r;
}

static int file_flush(struct blk *b, struct err *err)
{
	if (fsync(file_of(b)->fd) < 0)
		return err_set(err, -errno, "flush '%s': %m", b->name);
	return 0;
}

static int file_drop_cache(struct blk *b, struct err *err)
{
	const struct blk_file *f = file_of(b);
	int r;

	/* BLKFLSBUF wants privilege; for a reader without it the advice below must do. */
	if (b->is_device && ioctl(f->fd, BLKFLSBUF, 0) < 0 && errno != EACCES && errno != EPERM)
		return err_set(err, -errno, "drop the cache of '%s': %m", b->name);
	r = posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (r != 0)
		return err_set(err, -r, "drop the cache of '%s': %s", b->name, strerrordesc_np(r));
	return 0;
}

/* Filesystems whose word on holes is good.  A wrong one makes zeros of data, on both sides alike, so that nothing later can notice; of others that has
 * been seen (ZFS, with fresh data). */
static bool tells_holes(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
		fs.f_type == BTRFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC);
}

/* The descriptor's own place moves, but nothing reads from there. */
static uint64_t file_hole_end(struct blk *b, uint64_t offset)
{
	off_t data;

	if (b->is_device || b->size > INT64_MAX || !tells_holes(file_of(b)->fd))
		return offset; /* a device has no holes that it could tell of */
	data = lseek(file_of(b)->fd, (off_t)offset, SEEK_DATA);
	/* ENXIO: no data up to the end, if the file still reaches that far */
	if (data < 0 && errno == ENXIO && lseek(file_of(b)->fd, 0, SEEK_END) >= (off_t)b->size)
		return b->size;
	if (data < (off_t)offset)
		return offset;
	return (uint64_t)data < b->size ? (uint64_t)data : b->size;
}

static void file_close(struct blk *b)
{
	struct blk_file *f = file_of(b);

	if (f->direct_fd >= 0)
		(void)close(f->direct_fd);
	if (f->fd >= 0)
		(void)close(f->fd); /* what mattered was flushed, and checked there */
}

static const struct blk_ops file_ops = {
	.read_at = file_read_at,
	.write_at = file_write_at,
	.zero_at = file_zero_at,
	.flush = file_flush,
	.drop_cache = file_drop_cache,
	.direct_fd = file_direct_fd,
	.read_sectors = file_read_sectors,
	.hole_end = file_hole_end,
	.close = file_close,
};

static int get_is_read_only(int fd)
{
	int ro = 0;

	return ioctl(fd, BLKROGET, &ro) == 0 && ro != 0;
}

/* The kernel's read-only switch: set it on a source, and see that a target's is off. */
static int set_lock(struct blk_file *f, unsigned flags, struct err *err)
{
	const int on = 1;
	const int off = 0;

	if (f->blk.mode == BLK_READ && !(flags & BLK_LOOK) && ioctl(f->fd, BLKROSET, &on) < 0 &&
	    errno != EACCES && errno != EPERM)
		return err_set(err, -errno, "set '%s' read-only: %m", f->blk.name);
	if (f->blk.mode == BLK_WRITE && (flags & BLK_LIFT_READ_ONLY) && get_is_read_only(f->fd)) {
		if (ioctl(f->fd, BLKROSET, &off) < 0)
			return err_set(err, -errno, "lift the read-only lock of '%s': %m",
				       f->blk.name);
		f->blk.is_lifted = true;
	}
	f->blk.is_locked = get_is_read_only(f->fd);
	if (f->blk.mode == BLK_WRITE && f->blk.is_locked) {
		return err_set(
			err, -EROFS,
			"open '%s' for writing: it is read-only (write protection, or locked "
			"since it was read as a source)",
			f->blk.name);
	}
	return 0;
}

static int init_device(struct blk_file *f, const struct stat *st, unsigned flags, struct err *err)
{
	int sector_size = 0;
	unsigned physical = 0;
	__u64 seq = 0;

	f->blk.is_device = true;
	if (ioctl(f->fd, BLKGETDISKSEQ, &seq) == 0)
		f->blk.seq = seq;
	f->rdev = st->st_rdev;
	if (ioctl(f->fd, BLKGETSIZE64, &f->blk.size) < 0)
		return err_set(err, -errno, "get the size of '%s': %m", f->blk.name);
	if (ioctl(f->fd, BLKSSZGET, &sector_size) < 0 || ioctl(f->fd, BLKPBSZGET, &physical) < 0)
		return err_set(err, -errno, "get the sector size of '%s': %m", f->blk.name);
	f->blk.sector_size = (uint32_t)sector_size;
	if (!blk_sector_size_is_valid(f->blk.sector_size)) {
		return err_set(err, -ENOTSUP, "open '%s': sectors of %d bytes are not supported",
			       f->blk.name, sector_size);
	}
	f->blk.physical_sector_size = blk_as_physical_sector_size(physical, f->blk.sector_size);
	return set_lock(f, flags, err);
}

static int init_plain(struct blk_file *f, const struct stat *st, uint32_t sector_size,
		      struct err *err)
{
	if (sector_size == 0)
		sector_size = BLK_SECTOR_SIZE_MIN;
	if (!blk_sector_size_is_valid(sector_size)) {
		return err_set(err, -EINVAL,
			       "open '%s': a sector size of %u is not a power of two from 512 to "
			       "65536",
			       f->blk.name, sector_size);
	}
	f->blk.size = (uint64_t)st->st_size;
	f->blk.sector_size = sector_size;
	f->blk.physical_sector_size = sector_size;
	return 0;
}

/* Opening a lifted lock for writing fails in some drivers while it is set (sd: EROFS): so lift it through a read-only descriptor first. */
static bool lift_lock_early(const char *path)
{
	const int off = 0;
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	/* a failure shows when the device is opened */
	return fd >= 0 && get_is_read_only(fd) && ioctl(fd, BLKROSET, &off) == 0;
}

/* The device itself, unless it could not be opened: then whatever has its name. */
static int lock_again(struct blk_file *f, struct err *err)
{
	CLEANUP_CLOSE int other = -1;
	const int on = 1;
	int fd;

	if (!f->blk.is_lifted)
		return 0;
	if (f->fd < 0)
		other = open(f->blk.name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	fd = f->fd < 0 ? other : f->fd;
	if (fd < 0 || ioctl(fd, BLKROSET, &on) < 0)
		return err_set(err, -errno, "set '%s' read-only again: %m", f->blk.name);
	f->blk.is_lifted = false;
	f->blk.is_locked = true;
	return 0;
}

int blk_lock_again(struct blk *b, struct err *err)
{
	return b->ops == &file_ops ? lock_again(file_of(b), err) : 0;
}

static int open_fd(struct blk_file *f, const struct stat *st, unsigned flags, struct err *err)
{
	int how = O_CLOEXEC | O_NOCTTY;

	if (f->blk.mode == BLK_WRITE) {
		how |= O_RDWR | (S_ISBLK(st->st_mode) ? O_EXCL : 0);
		if (S_ISBLK(st->st_mode) && (flags & BLK_LIFT_READ_ONLY))
			f->blk.is_lifted = lift_lock_early(f->blk.name);
	} else {
		how |= O_RDONLY;
	}
	f->fd = open(f->blk.name, how);
	if (f->fd < 0 && errno == EBUSY) {
		return err_set(err, -EBUSY,
			       "open '%s' for writing: it is in use (mounted, or part of a volume)",
			       f->blk.name);
	}
	if (f->fd < 0) {
		return err_set(err, -errno, "open '%s'%s: %m", f->blk.name,
			       f->blk.mode == BLK_WRITE ? " for writing" : "");
	}
	if (!(flags & BLK_DIRECT))
		return 0;
	/* The claim above is enough; a second O_EXCL would be our own too, but says nothing more. */
	f->direct_fd = open(f->blk.name, (how & ~O_EXCL) | O_DIRECT);
	if (f->direct_fd < 0 && errno != EINVAL)
		return err_set(err, -errno, "open '%s' past the page cache: %m", f->blk.name);
	return 0;
}

/* Some filesystems accept O_DIRECT and then refuse every such transfer: find out now, and do without. */
static void probe_direct(struct blk_file *f)
{
	CLEANUP_FREE void *page = aligned_alloc(f->align, f->align);

	if (f->direct_fd < 0 ||
	    (page && (pread(f->direct_fd, page, f->align, 0) >= 0 || errno != EINVAL)))
		return;
	(void)close(f->direct_fd);
	f->direct_fd = -1;
}

static int file_init(struct blk_file *f, const char *path, unsigned flags, uint32_t sector_size,
		     struct err *err)
{
	struct stat st, st_direct;
	int r = blk_init(&f->blk, &file_ops, path, err);

	if (r < 0)
		return r;
	/* Before opening: to open a FIFO or a tape is to wait, or to move it. */
	if (stat(path, &st) < 0)
		return err_set(err, -errno, "open '%s': %m", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -ENOTBLK, "open '%s': neither a disk nor a plain file", path);
	r = open_fd(f, &st, flags, err);
	if (r < 0)
		return r;
	if (fstat(f->fd, &st) < 0)
		return err_set(err, -errno, "look at '%s': %m", path);
	if (f->direct_fd >= 0 && (fstat(f->direct_fd, &st_direct) < 0 ||
				  st_direct.st_ino != st.st_ino || st_direct.st_dev != st.st_dev))
		return err_set(err, -ESTALE, "open '%s': it was replaced meanwhile", path);
	if (S_ISBLK(st.st_mode)) {
		r = init_device(f, &st, flags, err);
	} else if (S_ISREG(st.st_mode)) {
		r = init_plain(f, &st, sector_size, err);
	} else {
		r = err_set(err, -ENOTBLK, "open '%s': neither a disk nor a plain file", path);
	}
	f->align = f->blk.sector_size > BLK_DIRECT_ALIGN ? f->blk.sector_size : BLK_DIRECT_ALIGN;
	if (r == 0)
		probe_direct(f);
	return r;
}

int blk_open_file(const char *path, enum blk_mode mode, unsigned flags, uint32_t sector_size,
		  struct blk **ret, struct err *err)
{
	struct blk_file *f = calloc(1, sizeof(*f));
	CLEANUP(blk_freep) struct blk *b = f ? &f->blk : NULL;
	struct err ignored;
	int r;

	if (!f)
		return err_set(err, -ENOMEM, "open '%s': out of memory", path);
	f->blk.ops = &file_ops; /* from here on blk_free works */
	f->blk.mode = mode;
	f->fd = -1;
	f->direct_fd = -1;
	r = file_init(f, path, flags, sector_size, err);
	if (r == 0)
		*ret = TAKE_PTR(b);
	else
		(void)!lock_again(f, &ignored);
	return r;
}

int blk_parse_counters(const char *text, struct blk_counters *ret)
{
	uint64_t v[17] = {0};
	int n = 0;
	char *end;

	for (; n < 17; n++, text = end) {
		text += strspn(text, " \t");
		if (*text < '0' || *text > '9')
			break;
		errno = 0;
		v[n] = strtoull(text, &end, 10);
		if (errno != 0)
			return -EBADMSG;
	}
	if (n < 11 || (*text != '\n' && *text != ' ' && *text != '\0'))
		return -EBADMSG;
	*ret = (struct blk_counters){
		.reads = v[0],
		.sectors_read = v[2],
		.writes = v[4],
		.sectors_written = v[6],
		.discards = n >= 15 ? v[11] : 0,
		.sectors_discarded = n >= 15 ? v[13] : 0,
		.flushes = n >= 17 ? v[15] : 0,
	};
	return 0;
}

int blk_read_counters(struct blk *b, struct blk_counters *ret, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	char path[64], text[512];
	ssize_t n;

	if (b->ops != &file_ops || !b->is_device) {
		return err_set(err, -EOPNOTSUPP, "'%s' is no block device and has no counters",
			       b->name);
	}
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(file_of(b)->rdev),
		       minor(file_of(b)->rdev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return err_set(err, -errno, "read the counters of '%s' (%s): %m", b->name, path);
	text[n] = '\0';
	if (blk_parse_counters(text, ret) < 0) {
		return err_set(err, -EBADMSG, "read the counters of '%s' (%s): not understood",
			       b->name, path);
	}
	return 0;
}
