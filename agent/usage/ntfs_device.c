/* ntfs_device.c - device operations of libntfs-3g over a volume.  Everything that would write fails. */
#include "agent/usage/ntfs.h"

#include <fcntl.h>
#include <ntfs-3g/logging.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* NOLINT(bugprone-reserved-identifier) */
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

struct state {
	struct volume *v;
	uint64_t position;
};

static int device_open(struct ntfs_device *dev, int flags)
{
	if ((flags & O_ACCMODE) != O_RDONLY) {
		errno = EROFS;
		return -1;
	}
	NDevSetOpen(dev);
	NDevSetReadOnly(dev);
	return 0;
}

static int device_close(struct ntfs_device *dev)
{
	NDevClearOpen(dev);
	return 0;
}

static s64 device_seek(struct ntfs_device *dev, s64 offset, int whence)
{
	struct state *s = dev->d_private;
	uint64_t from = whence == SEEK_SET   ? 0
			: whence == SEEK_CUR ? s->position
					     : volume_size(s->v);
	uint64_t to;

	if (__builtin_add_overflow(from, offset, &to) || to > volume_size(s->v)) {
		errno = EINVAL;
		return -1;
	}
	s->position = to;
	return (s64)to;
}

static s64 device_pread(struct ntfs_device *dev, void *buf, s64 count, s64 offset)
{
	struct state *s = dev->d_private;
	struct err err;

	if (count < 0 || offset < 0) {
		errno = EINVAL;
		return -1;
	}
	if ((uint64_t)offset >= volume_size(s->v))
		return 0;
	if ((uint64_t)count > volume_size(s->v) - (uint64_t)offset)
		count = (s64)(volume_size(s->v) - (uint64_t)offset);
	if (volume_read(s->v, buf, (size_t)count, (uint64_t)offset, &err) < 0) {
		errno = -err.code;
		return -1;
	}
	return count;
}

static s64 device_read(struct ntfs_device *dev, void *buf, s64 count)
{
	struct state *s = dev->d_private;
	s64 n = device_pread(dev, buf, count, (s64)s->position);

	if (n > 0)
		s->position += (uint64_t)n;
	return n;
}

static s64 device_write(struct ntfs_device *dev, const void *buf, s64 count)
{
	(void)dev;
	(void)buf;
	(void)count;
	errno = EROFS;
	return -1;
}

static s64 device_pwrite(struct ntfs_device *dev, const void *buf, s64 count, s64 offset)
{
	(void)offset;
	return device_write(dev, buf, count);
}

static int device_sync(struct ntfs_device *dev)
{
	(void)dev;
	return 0;
}

static int device_stat(struct ntfs_device *dev, struct stat *st)
{
	struct state *s = dev->d_private;

	*st = (struct stat){.st_mode = S_IFREG, .st_size = (off_t)volume_size(s->v)};
	return 0;
}

static int device_ioctl(struct ntfs_device *dev, unsigned long request, void *argp)
{
	(void)dev;
	(void)request;
	(void)argp;
	errno = ENOTTY;
	return -1;
}

static struct ntfs_device_operations operations = {
	.open = device_open,
	.close = device_close,
	.seek = device_seek,
	.read = device_read,
	.write = device_write,
	.pread = device_pread,
	.pwrite = device_pwrite,
	.sync = device_sync,
	.stat = device_stat,
	.ioctl = device_ioctl,
};

/* libntfs-3g leaks an inode (1 KiB) of some damaged volumes that it refuses: not ours, and soon over. */
static ntfs_volume *mount_leaky(struct ntfs_device *dev)
{
	ntfs_volume *vol;

#ifdef __SANITIZE_ADDRESS__
	__lsan_disable();
#endif
	vol = ntfs_device_mount(dev, NTFS_MNT_RDONLY | NTFS_MNT_FORENSIC);
#ifdef __SANITIZE_ADDRESS__
	__lsan_enable();
#endif
	return vol;
}

int ntfs_device_open(struct volume *v, ntfs_volume **ret, struct err *err)
{
	struct state *s = calloc(1, sizeof(*s));
	struct ntfs_device *dev;
	ntfs_volume *vol;

	if (!s)
		return err_set(err, -ENOMEM, "out of memory");
	ntfs_log_set_handler(ntfs_log_handler_null);
	s->v = v;
	dev = ntfs_device_alloc("volume", 0, &operations, s);
	if (!dev) {
		free(s);
		return err_set(err, -ENOMEM, "out of memory");
	}
	vol = mount_leaky(dev);
	if (!vol) {
		int code = errno;

		NDevClearOpen(dev);
		(void)ntfs_device_free(dev);
		free(s);
		return doubt(err, "libntfs-3g: %s",
			     code ? strerrordesc_np(code) : "it cannot be understood");
	}
	*ret = vol;
	return 0;
}

void ntfs_volume_close(ntfs_volume *vol)
{
	struct state *s = vol ? vol->dev->d_private : NULL;

	if (vol)
		(void)ntfs_umount(vol, FALSE); /* nothing was changed, so nothing is written */
	free(s);
}
