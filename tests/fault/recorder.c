// SPDX-License-Identifier: GPL-3.0-or-later
/* recorder.so - LD_PRELOAD: writes down what a program does to the files below $RECORD_ROOT, in $RECORD_LOG, and which HTTP requests it answered
 * with success, all in one order.  tests/fault/rebuild makes from that what a power cut may leave.
 *
 * One lock is held over each operation and its record, so their order is the true one.  $RECORD_PLAIN=1: the filesystem is none of those whose syncfs
 * is relied upon.
 *
 * An acknowledged request's line ends in " begun" where its body has a member of that name: a restore is about to write.
 *
 * A record: type (1), reserved (3), inode (4, of a file; else 0), offset (8), size of data (4), size of path (4), path, data.  Types: c create, w write,
 * t truncate to offset, r rename (path, to: data), u unlink, m make folder, s sync of a file, d sync of a folder, a sync of all, k acknowledged. */
/* The C library's names of its own parameters are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_SIZE 1024
#define SESSIONS  256

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static const char *root;
static size_t root_len;
static bool is_plain;

__attribute__((constructor)) static void start(void)
{
	const char *path =
		getenv("RECORD_LOG"); /* NOLINT(concurrency-mt-unsafe): before any thread */

	root = getenv("RECORD_ROOT");		   /* NOLINT(concurrency-mt-unsafe) */
	is_plain = getenv("RECORD_PLAIN") != NULL; /* NOLINT(concurrency-mt-unsafe) */
	if (!path || !root)
		return;
	root_len = strlen(root);
	log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			      0600);
	if (log_fd < 0)
		abort();
}

static void put(const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		long n = syscall(SYS_write, log_fd, p, size);

		if (n <= 0)
			abort(); /* a record that is not whole is worse than none */
		p += n;
		size -= (size_t)n;
	}
}

static void record(char type, uint32_t inode, uint64_t offset, const char *path, const void *data,
		   size_t size)
{
	struct {
		char type, reserved[3];
		uint32_t inode;
		uint64_t offset;
		uint32_t size, path_size;
	} head = {type, {0}, inode, offset, (uint32_t)size, (uint32_t)strlen(path)};
	int before = errno;

	put(&head, sizeof(head));
	put(path, head.path_size);
	put(data, size);
	errno = before;
}

static bool is_below(const char *path)
{
	return log_fd >= 0 && strncmp(path, root, root_len) == 0 &&
	       (path[root_len] == '/' || path[root_len] == '\0');
}

static void path_of_fd(int fd, char ret[static PATH_SIZE])
{
	char link[40];
	long n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = syscall(SYS_readlinkat, AT_FDCWD, link, ret, PATH_SIZE - 1);
	ret[n < 0 ? 0 : n] = '\0';
}

/* Absolute, as far as one can tell: our programs use no links there. */
static void full_path(int dir, const char *path, char ret[static PATH_SIZE])
{
	char base[PATH_SIZE];

	if (path[0] == '/') {
		(void)snprintf(ret, PATH_SIZE, "%s", path);
		return;
	}
	if (dir == AT_FDCWD) {
		if (syscall(SYS_getcwd, base, sizeof(base)) < 0)
			base[0] = '\0';
	} else {
		path_of_fd(dir, base);
	}
	(void)snprintf(ret, PATH_SIZE, "%.500s/%.500s", base, path);
}

/* 0: no plain file below the root */
static uint32_t inode_of(int fd)
{
	char path[PATH_SIZE];
	struct stat st;

	if (log_fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	path_of_fd(fd, path);
	return is_below(path) ? (uint32_t)st.st_ino : 0;
}

/* ---- names */

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
	char full[PATH_SIZE];
	struct stat st;
	bool was_there;
	int fd;

	full_path(dir, path, full);
	if (!is_below(full) || (flags & O_ACCMODE) == O_RDONLY)
		return (int)syscall(SYS_openat, dir, path, flags, mode);
	(void)pthread_mutex_lock(&lock);
	was_there = syscall(SYS_newfstatat, AT_FDCWD, full, &st, AT_SYMLINK_NOFOLLOW) == 0;
	fd = (int)syscall(SYS_openat, dir, path, flags, mode);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (!was_there)
			record('c', (uint32_t)st.st_ino, 0, full, NULL, 0);
		else if (flags & O_TRUNC)
			record('t', (uint32_t)st.st_ino, 0, "", NULL, 0);
	}
	(void)pthread_mutex_unlock(&lock);
	return fd;
}

#define MODE_OF(flags)                                               \
	mode_t mode = 0;                                             \
	if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) { \
		va_list ap;                                          \
		va_start(ap, flags);                                 \
		mode = va_arg(ap, mode_t);                           \
		va_end(ap);                                          \
	}

int open(const char *path, int flags, ...)
{
	MODE_OF(flags)
	return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE_OF(flags)
	return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	MODE_OF(flags)
	return open_at(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
	MODE_OF(flags)
	return open_at(dir, path, flags, mode);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	char a[PATH_SIZE], b[PATH_SIZE];
	int r;

	full_path(from_dir, from, a);
	full_path(to_dir, to, b);
	(void)pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
	if (r == 0 && is_below(a))
		record('r', 0, 0, a, b, strlen(b));
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dir, const char *path, int flags)
{
	char full[PATH_SIZE];
	int r;

	full_path(dir, path, full);
	(void)pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_unlinkat, dir, path, flags);
	if (r == 0 && is_below(full))
		record('u', 0, 0, full, NULL, 0);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	char full[PATH_SIZE];
	int r;

	full_path(dir, path, full);
	(void)pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_mkdirat, dir, path, mode);
	if (r == 0 && is_below(full))
		record('m', 0, 0, full, NULL, 0);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}

/* ---- bytes */

ssize_t pwrite(int fd, const void *buf, size_t size, off_t at)
{
	uint32_t inode = inode_of(fd);
	long n;

	if (inode == 0)
		return syscall(SYS_pwrite64, fd, buf, size, at);
	(void)pthread_mutex_lock(&lock);
	n = syscall(SYS_pwrite64, fd, buf, size, at);
	if (n > 0)
		record('w', inode, (uint64_t)at, "", buf, (size_t)n);
	(void)pthread_mutex_unlock(&lock);
	return n;
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t at)
{
	return pwrite(fd, buf, size, at);
}

ssize_t write(int fd, const void *buf, size_t size)
{
	uint32_t inode = inode_of(fd);
	off_t at;
	long n;

	if (inode == 0)
		return syscall(SYS_write, fd, buf, size);
	(void)pthread_mutex_lock(&lock);
	n = syscall(SYS_write, fd, buf, size);
	at = lseek(fd, 0, SEEK_CUR);
	if (n > 0)
		record('w', inode, (uint64_t)(at - n), "", buf, (size_t)n);
	(void)pthread_mutex_unlock(&lock);
	return n;
}

int ftruncate(int fd, off_t size)
{
	uint32_t inode = inode_of(fd);
	int r;

	(void)pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_ftruncate, fd, size);
	if (r == 0 && inode != 0)
		record('t', inode, (uint64_t)size, "", NULL, 0);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

/* ---- safety */

static int sync_fd(int fd, long number)
{
	uint32_t inode = inode_of(fd);
	char path[PATH_SIZE];
	struct stat st;
	int r;

	(void)pthread_mutex_lock(&lock);
	r = (int)syscall(number, fd);
	path_of_fd(fd, path);
	if (r == 0 && inode != 0)
		record('s', inode, 0, "", NULL, 0);
	else if (r == 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && is_below(path))
		record('d', 0, 0, path, NULL, 0);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int fsync(int fd)
{
	return sync_fd(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return sync_fd(fd, SYS_fdatasync);
}

int syncfs(int fd)
{
	int r;

	(void)pthread_mutex_lock(&lock);
	r = (int)syscall(SYS_syncfs, fd);
	if (r == 0 && log_fd >= 0)
		record('a', 0, 0, "", NULL, 0);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int fstatfs(int fd, struct statfs *ret)
{
	int r = (int)syscall(SYS_fstatfs, fd, ret);

	if (r == 0 && is_plain)
		ret->f_type = 0;
	return r;
}

/* ---- answers */

/* The request that each TLS session has under way. */
static struct session {
	const void *session;
	char line[300];
} sessions[SESSIONS];

static struct session *session_of(const void *session)
{
	struct session *s = &sessions[((uintptr_t)session >> 4) % SESSIONS];

	for (unsigned i = 0; i < SESSIONS; i++, s = s == &sessions[SESSIONS - 1] ? sessions : s + 1)
		if (s->session == session || !s->session)
			return s;
	abort();
}

static bool is_request(const char *p, size_t n)
{
	static const char *const methods[] = {"GET /", "PUT /", "POST /", "DELETE /"};

	for (unsigned i = 0; i < 4; i++)
		if (n > strlen(methods[i]) && strncmp(p, methods[i], strlen(methods[i])) == 0)
			return true;
	return false;
}

ssize_t gnutls_record_recv(void *session, void *data, size_t size)
{
	static ssize_t (*inner)(void *, void *, size_t);
	const char *end;
	ssize_t n;

	if (!inner)
		*(void **)&inner = dlsym(RTLD_NEXT, "gnutls_record_recv");
	n = inner(session, data, size);
	if (n <= 0 || log_fd < 0)
		return n;
	(void)pthread_mutex_lock(&lock);
	if (is_request(data, (size_t)n)) {
		end = memchr(data, '\r', (size_t)n);
		if (end) {
			struct session *s = session_of(session);

			s->session = session;
			(void)snprintf(s->line, sizeof(s->line), "%.*s", (int)(end - (char *)data),
				       (char *)data);
		}
	}
	if (memmem(data, (size_t)n, "\"begun\":", 8)) {
		struct session *s = session_of(session);

		(void)strncat(s->line, " begun", sizeof(s->line) - strlen(s->line) - 1);
	}
	(void)pthread_mutex_unlock(&lock);
	return n;
}

ssize_t gnutls_record_send(void *session, const void *data, size_t size)
{
	static ssize_t (*inner)(void *, const void *, size_t);
	const struct session *s;

	if (!inner)
		*(void **)&inner = dlsym(RTLD_NEXT, "gnutls_record_send");
	if (log_fd >= 0 && size > 12 && memcmp(data, "HTTP/1.1 2", 10) == 0) {
		(void)pthread_mutex_lock(&lock);
		s = session_of(session);
		record('k', 0, 0, s->line, data, 12);
		(void)pthread_mutex_unlock(&lock);
	}
	return inner(session, data, size);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
