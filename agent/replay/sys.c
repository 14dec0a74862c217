#include "agent/replay/sys.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int sys_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int sys_close(int fd)
{
	return close(fd) < 0 ? -errno : 0;
}

static int sys_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int sys_make_node(const char *path, unsigned major, unsigned minor)
{
	char dir[64];
	const char *slash = strrchr(path, '/');

	if (access(path, F_OK) == 0)
		return 0;
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (mknod(path, S_IFCHR | 0600, makedev(major, minor)) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int sys_number(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	*ret_major = major(st.st_rdev);
	*ret_minor = minor(st.st_rdev);
	return 0;
}

static int sys_memory_file(uint64_t size)
{
	CLEANUP_CLOSE int fd = memfd_create("hoist-replay", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return -errno;
	return take_fd(&fd);
}

/* proc(5): MemAvailable, in KiB. */
static int sys_memory_free(uint64_t *ret)
{
	char text[1024];
	CLEANUP_CLOSE int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *line;
	char *end;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	line = strstr(text, "MemAvailable:");
	if (!line)
		return -ENODATA;
	*ret = (uint64_t)strtoull(line + strlen("MemAvailable:"), &end, 10) << 10;
	return strncmp(end, " kB", 3) == 0 ? 0 : -ENODATA;
}

static int sys_fsopen(const char *type)
{
	int fd = fsopen(type, FSOPEN_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int sys_fsconfig(int fd, unsigned command, const char *key, const char *value)
{
	return fsconfig(fd, command, key, value, 0) < 0 ? -errno : 0;
}

static int sys_log_open(void)
{
	CLEANUP_CLOSE int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0)
		return -errno;
	return take_fd(&fd);
}

static ssize_t sys_log_read(int fd, char *buf, size_t size)
{
	ssize_t n = read(fd, buf, size);

	if (n < 0 && errno == EAGAIN)
		return 0;
	return n < 0 ? -errno : n;
}

static int sys_open_blk(const char *path, struct blk **ret, struct err *err)
{
	return blk_open_file(path, BLK_READ, BLK_LOOK, 0, ret, err);
}

const struct replay_sys replay_sys_real = {
	.open = sys_open,
	.close = sys_close,
	.ioctl = sys_ioctl,
	.make_node = sys_make_node,
	.number = sys_number,
	.memory_file = sys_memory_file,
	.memory_free = sys_memory_free,
	.fsopen = sys_fsopen,
	.fsconfig = sys_fsconfig,
	.log_open = sys_log_open,
	.log_read = sys_log_read,
	.open_blk = sys_open_blk,
};
