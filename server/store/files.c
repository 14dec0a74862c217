#include "server/store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/cleanup.h"

#define FOLDER_MODE 0750
#define FILE_MODE   0640

#define WRITE_AND_WAIT \
	(SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)

#define RESERVE_MAX  (512ull << 20)
#define RESERVE_PART 32 /* of a small filesystem */

/* Others may do nothing then and say that it went well: FUSE does. */
static bool can_sync_whole(int fd)
{
	struct statfs s;

	if (fstatfs(fd, &s) < 0)
		return false;
	return s.f_type == EXT4_SUPER_MAGIC || s.f_type == XFS_SUPER_MAGIC ||
	       s.f_type == BTRFS_SUPER_MAGIC;
}

int files_init(struct files *f, const char *dir, files_fault_fn fault, void *fault_arg,
	       struct err *err)
{
	*f = (struct files){.fd = -1, .fault = fault, .fault_arg = fault_arg};
	f->name = strdup(dir);
	if (!f->name)
		return err_set(err, -ENOMEM, "open '%s': out of memory", dir);
	f->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->fd < 0) {
		int code = -errno;

		files_done(f);
		return err_set(err, code, "open folder '%s': %s", dir, strerrordesc_np(-code));
	}
	f->is_synced_whole = can_sync_whole(f->fd);
	return 0;
}

void files_done(struct files *f)
{
	if (f->name && f->fd >= 0)
		(void)close(f->fd);
	free(f->name);
	*f = (struct files){.fd = -1};
}

void files_path_pack(char ret[static FILES_PATH_SIZE], const struct id *id)
{
	char text[ID_TEXT_SIZE];

	id_to_text(id, text);
	(void)snprintf(ret, FILES_PATH_SIZE, "packs/%.2s/%s", text, text);
}

void files_path_index(char ret[static FILES_PATH_SIZE], const struct id *root)
{
	char text[ID_TEXT_SIZE];

	id_to_text(root, text);
	(void)snprintf(ret, FILES_PATH_SIZE, "indexes/%s", text);
}

void files_path_manifest(char ret[static FILES_PATH_SIZE], const struct id *id)
{
	char text[ID_TEXT_SIZE];

	id_to_text(id, text);
	(void)snprintf(ret, FILES_PATH_SIZE, "manifests/%s.json", text);
}

/* By the first two a filesystem says that it does not believe its own metadata (ext4, XFS: EFSBADCRC, EFSCORRUPTED), by the third XFS that the medium did not give
 * them.  In the store they are words for files and rows that were read and are not right: of this nothing was read, and it may come back. */
int files_code(int code)
{
	switch (code) {
	case EBADMSG:
	case EUCLEAN:
	case ENODATA:
	case ESTALE: /* NFS: its server was started again */
		return EIO;
	case EDQUOT: /* btrfs, ZFS, XFS: of the folder's quota */
		return ENOSPC;
	default:
		return code;
	}
}

static int fail(const struct files *f, int code, const char *verb, const char *path,
		struct err *err)
{
	return err_set(err, -files_code(code), "%s '%s/%s': %s", verb, f->name, path,
		       strerrordesc_np(code));
}

int files_check(const struct files *f, enum file_op op, const char *path, struct err *err)
{
	static const char *const verbs[] = {"read",   "write",	"sync",	 "sync folder",
					    "rename", "remove", "commit"};
	int r = f->fault ? f->fault(f->fault_arg, op, path) : 0;

	return r < 0 ? fail(f, -r, verbs[op], path, err) : 0;
}

int files_check_room(const struct files *f, size_t size, struct err *err)
{
	uint64_t free_bytes, reserve;
	struct statvfs v;

	if (fstatvfs(f->fd, &v) < 0)
		return fail(f, errno, "ask for the free space of", ".", err);
	free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	reserve = (uint64_t)v.f_blocks * v.f_frsize / RESERVE_PART;
	if (reserve > RESERVE_MAX)
		reserve = RESERVE_MAX;
	if (free_bytes >= reserve + size)
		return 0;
	return err_set(err, -ENOSPC,
		       "No space left: '%s' has %" PRIu64 " bytes free, of which the store keeps "
		       "%" PRIu64 " for its upkeep",
		       f->name, free_bytes, reserve);
}

int files_make_folder(const struct files *f, const char *path, struct err *err)
{
	if (mkdirat(f->fd, path, FOLDER_MODE) < 0 && errno != EEXIST)
		return fail(f, errno, "make folder", path, err);
	return 0;
}

int files_create_tmp(struct files *f, char ret_path[static FILES_PATH_SIZE], int *ret_fd,
		     struct err *err)
{
	uint64_t n = atomic_fetch_add(&f->next_tmp, 1);
	int fd, r;

	(void)snprintf(ret_path, FILES_PATH_SIZE, "tmp/%" PRIu64, n);
	r = files_check(f, FILE_WRITE, ret_path, err);
	if (r < 0)
		return r;
	fd = openat(f->fd, ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
	if (fd < 0)
		return fail(f, errno, "create", ret_path, err);
	*ret_fd = fd;
	return 0;
}

int files_write(const struct files *f, int fd, const char *path, const void *data, size_t size,
		struct err *err)
{
	const char *p = data;
	int r = files_check(f, FILE_WRITE, path, err);

	if (r < 0)
		return r;
	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(f, errno, "write", path, err);
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int files_sync(const struct files *f, int fd, const char *path, struct err *err)
{
	int r = files_check(f, FILE_SYNC, path, err);

	if (r < 0)
		return r;
	if (fdatasync(fd) < 0)
		return fail(f, errno, "sync", path, err);
	return 0;
}

int files_sync_folder(const struct files *f, const char *path, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	int r = files_check(f, FILE_SYNC_FOLDER, path, err);

	if (r < 0)
		return r;
	fd = openat(f->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(f, errno, "open folder", path, err);
	if (fsync(fd) < 0)
		return fail(f, errno, "sync folder", path, err);
	return 0;
}

/* The data alone, and the errors of writing it, which syncfs would not tell apart. */
int files_sync_data(const struct files *f, int fd, const char *path, struct err *err)
{
	int r;

	if (!f->is_synced_whole)
		return files_sync(f, fd, path, err);
	r = files_check(f, FILE_SYNC, path, err);
	if (r < 0)
		return r;
	if (sync_file_range(fd, 0, 0, WRITE_AND_WAIT) < 0)
		return fail(f, errno, "sync", path, err);
	return 0;
}

int files_sync_all(const struct files *f, const char *const *folders, size_t len, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < len; i++) {
		r = f->is_synced_whole ? files_check(f, FILE_SYNC_FOLDER, folders[i], err)
				       : files_sync_folder(f, folders[i], err);
	}
	if (r < 0 || !f->is_synced_whole)
		return r;
	return syncfs(f->fd) < 0 ? fail(f, errno, "sync", "packs", err) : 0;
}

int files_rename(const struct files *f, const char *from, const char *to, struct err *err)
{
	int r = files_check(f, FILE_RENAME, to, err);

	if (r < 0)
		return r;
	if (renameat(f->fd, from, f->fd, to) < 0)
		return fail(f, errno, "rename to", to, err);
	return 0;
}

bool files_is_at(const struct files *f, int fd, const char *path)
{
	struct stat open_one, named;

	return fstat(fd, &open_one) == 0 &&
	       fstatat(f->fd, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

int files_remove(const struct files *f, const char *path, struct err *err)
{
	int r = files_check(f, FILE_REMOVE, path, err);

	if (r < 0)
		return r;
	if (unlinkat(f->fd, path, 0) < 0 && errno != ENOENT)
		return fail(f, errno, "remove", path, err);
	return 0;
}

int files_put(struct files *f, const char *folder, const char *path, const void *data, size_t size,
	      struct err *err)
{
	char tmp[FILES_PATH_SIZE];
	CLEANUP_CLOSE int fd = -1;
	struct err ignored;
	int r = files_create_tmp(f, tmp, &fd, err);

	if (r < 0)
		return r;
	r = files_write(f, fd, tmp, data, size, err);
	if (r == 0)
		r = files_sync(f, fd, tmp, err);
	if (r == 0)
		r = files_rename(f, tmp, path, err);
	if (r < 0) {
		(void)!files_remove(f, tmp, &ignored); /* else the next start empties tmp/ */
		return r;
	}
	return files_sync_folder(f, folder, err);
}

int files_open(const struct files *f, const char *path, int *ret_fd, uint64_t *ret_size,
	       struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat st;
	int r = files_check(f, FILE_READ, path, err);

	if (r < 0)
		return r;
	fd = openat(f->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(f, errno, "open", path, err);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -ENODATA, "'%s/%s' is no plain file", f->name, path);
	*ret_size = (uint64_t)st.st_size;
	*ret_fd = take_fd(&fd);
	return 0;
}

void files_forget(const struct files *f, int fd, const char *path)
{
	if (f->fault)
		(void)f->fault(f->fault_arg, FILE_FORGET, path);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* advice */
}

int files_read(const struct files *f, int fd, const char *path, void *buf, size_t size,
	       uint64_t offset, struct err *err)
{
	char *p = buf;

	while (size > 0) {
		ssize_t n = pread(fd, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(f, errno, "read", path, err);
		if (n == 0)
			return err_set(err, -ENODATA, "'%s/%s' ends early", f->name, path);
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int files_get(const struct files *f, const char *path, size_t max, char **ret, size_t *ret_size,
	      struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_FREE char *data = NULL;
	uint64_t size = 0;
	int r = files_open(f, path, &fd, &size, err);

	if (r < 0)
		return r;
	if (size > max)
		return fail(f, EFBIG, "read", path, err);
	data = malloc(size + 1);
	if (!data)
		return fail(f, ENOMEM, "read", path, err);
	r = files_read(f, fd, path, data, size, 0, err);
	if (r < 0)
		return r;
	data[size] = '\0';
	*ret = TAKE_PTR(data);
	*ret_size = size;
	return 0;
}

int files_quarantine(const struct files *f, const char *path, struct err *err)
{
	const char *name = strrchr(path, '/');
	char to[FILES_PATH_SIZE];

	name = name ? name + 1 : path;
	(void)snprintf(to, sizeof(to), "quarantine/%s", name);
	for (unsigned n = 1; n < 1000 && faccessat(f->fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0; n++)
		(void)snprintf(to, sizeof(to), "quarantine/%s.%u", name, n);
	return files_rename(f, path, to, err);
}
