#include "server/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int sync_dir(const char *dir, struct err *err)
{
	CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set(err, -errno, "sync the directory '%s': %m", dir);
	return 0;
}

int file_write_private(const char *dir, const char *name, const void *data, size_t size,
		       struct err *err)
{
	char path[PATH_MAX], tmp[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    snprintf(tmp, sizeof(tmp), "%s/.%s.tmp", dir, name) >= (int)sizeof(tmp))
		return err_set(err, -ENAMETOOLONG, "write '%s/%s': the name is too long", dir,
			       name);
	(void)unlink(tmp); /* of a server that was killed here */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "create '%s': %m", tmp);
	r = write_all(fd, data, size);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(take_fd(&fd)) < 0 && r == 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(tmp);
		errno = -r;
		return err_set(err, r, "write '%s': %m", path);
	}
	return sync_dir(dir, err);
}

int file_read_private(const char *dir, const char *name, size_t max, char **ret, size_t *ret_size,
		      struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_FREE char *buf = NULL;
	char path[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return err_set(err, -ENAMETOOLONG, "read '%s/%s': the name is too long", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "read '%s': %m", path);
	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "read '%s': %m", path);
	if (st.st_mode & 077) {
		return err_set(
			err, -EPERM,
			"'%s' holds a secret and may be read by others (mode %04o): chmod 600 it",
			path, (unsigned)st.st_mode & 07777);
	}
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		return err_set(err, -EFBIG, "read '%s': more than %zu bytes", path, max);
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return err_set(err, -ENOMEM, "read '%s': out of memory", path);
	n = read(fd, buf, (size_t)st.st_size);
	if (n < 0 || n != st.st_size)
		return err_set(err, n < 0 ? -errno : -EIO, "read '%s': %s", path,
			       n < 0 ? "the read failed" : "it became shorter");
	buf[n] = '\0';
	*ret = TAKE_PTR(buf);
	*ret_size = (size_t)n;
	return 0;
}
