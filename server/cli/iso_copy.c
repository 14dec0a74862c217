/* The copy shares the blocks of the original where the filesystem can. */
#include "server/cli/iso_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#undef BLOCK_SIZE /* linux/fs.h has one, common/limits.h another */
#include "common/cleanup.h"
#include "common/medium.h"
#include "server/cli/iso_area.h"
#include "server/cli/iso_place.h"

#define COPY_BLOCK (1u << 20)

int iso_open(const char *path, int flags, int *ret, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat st;

	/* before it is opened: nobody may ever write into a pipe */
	if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
		return err_set(err, -EIO, "open '%s': it is neither a file nor a disk", path);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "open '%s': %m", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EIO, "open '%s': it is neither a file nor a disk", path);
	*ret = take_fd(&fd);
	return 0;
}

static int copy_by_hand(int in, int out, struct err *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(COPY_BLOCK);
	uint64_t at = 0;
	ssize_t n;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	while ((n = pread(in, buf, COPY_BLOCK, (off_t)at)) != 0) {
		int r = n < 0 ? -errno : write_full(out, buf, (size_t)n, at);

		if (r == -EINTR)
			continue;
		if (r < 0) {
			errno = -r;
			return err_set(err, r, "copy at byte %llu: %m", (unsigned long long)at);
		}
		at += (size_t)n;
	}
	return 0;
}

static int copy_file(int in, int out, struct err *err)
{
	loff_t from = 0, to = 0;
	ssize_t n;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	while ((n = copy_file_range(in, &from, out, &to, 1u << 30, 0)) > 0)
		;
	if (n == 0 && from > 0)
		return 0;
	return copy_by_hand(in, out, err); /* other filesystems, disks, old kernels */
}

void iso_copy_done(struct iso_copy *copy)
{
	cleanup_close(&copy->fd);
	if (copy->path)
		(void)unlink(copy->path);
	free(copy->path);
}

/* "hoist.iso", or "folder/file". */
static int download(struct ctx *c, struct iso_copy *copy, struct err *err)
{
	const char *name = c->o.download, *slash = strchr(name, '/');
	CLEANUP_FREE char *folder = slash ? strndup(name, (size_t)(slash - name)) : NULL;
	char path[PATH_SIZE];
	int r;

	if (folder)
		path_make(path, "/v1/media/%s/%s", folder, slash + 1);
	else
		path_make(path, "/v1/media/%s", name);
	r = api_download(c, path, copy->fd, err);
	if (r == 0)
		r = iso_check_whole(copy->fd, err);
	return r < 0 ? r : medium_find(copy->fd, &copy->offset, err);
}

static int fill_copy(const char *in_path, struct iso_copy *copy, struct err *err)
{
	CLEANUP_CLOSE int in = -1;
	int r = iso_open(in_path, O_RDONLY, &in, err);

	if (r < 0)
		return r;
	r = copy->has_settings ? medium_find(in, &copy->offset, err) : 0;
	if (r == 0)
		r = copy_file(in, copy->fd, err);
	if (r == 0) /* the copy: the original may have changed meanwhile */
		r = iso_check_whole(copy->fd, err);
	return r < 0 ? err_prefix(err, "'%s'", in_path) : 0;
}

int iso_copy_begin(struct ctx *c, struct iso_copy *copy, struct err *err)
{
	struct stat st;

	if (stat(c->o.out, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, -EEXIST, "write '%s': it is there and not a regular file",
			       c->o.out);
	if (asprintf(&copy->path, "%s.XXXXXX", c->o.out) < 0) {
		copy->path = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	copy->fd = mkostemp(copy->path, O_CLOEXEC); /* mode 0600 */
	if (copy->fd < 0) {
		int r = err_set(err, -errno, "write '%s': %m", c->o.out);

		free(TAKE_PTR(copy->path));
		return r;
	}
	if (!c->o.download)
		return fill_copy(c->o.in, copy, err);
	if (download(c, copy, err) < 0)
		return err_prefix(err, "'%s' of the server", c->o.download);
	return 0;
}

int iso_copy_finish(const struct ctx *c, struct iso_copy *copy, const json_t *settings,
		    struct err *err)
{
	int r = copy->has_settings ? iso_area_write(copy->fd, copy->offset, settings, err) : 0;

	if (r == 0 && fsync(copy->fd) < 0)
		r = err_set(err, -errno, "write '%s': %m", c->o.out);
	if (r < 0)
		return r;
	if (rename(copy->path, c->o.out) < 0)
		return err_set(err, -errno, "write '%s': %m", c->o.out);
	free(TAKE_PTR(copy->path));
	return 0;
}
