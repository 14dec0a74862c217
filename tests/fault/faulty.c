// SPDX-License-Identifier: GPL-3.0-or-later
/* faulty.so - LD_PRELOAD: files that fail and a clock that is wrong, as the rules in the file $FAULTY say; they may change while the program runs.
 *
 *	read PART FROM TO		reads of files whose path contains PART fail with EIO where they touch bytes FROM..TO-1
 *	short PART			such reads return less than was asked for, as they may
 *	write PART FROM TO		writes fail with EIO
 *	full PART			writes fail with ENOSPC
 *	sync PART			fsync, fdatasync, sync_file_range and syncfs fail with EIO
 *	hang PART			reads and syncs take until this rule is gone
 *	clock SECONDS			the time of day is so much later
 *
 * One rule a line.  When one of them has acted there is a file $FAULTY.hits. */
/* The C library's names of its own parameters are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define RULES 16

struct rule {
	char what[8], part[200];
	uint64_t from, to;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over what follows */
static struct rule rules[RULES];
static unsigned rules_len;
static struct timespec loaded;
static uint64_t loaded_inode;
static bool told; /* since they were loaded */

static long next_size(size_t size)
{
	static unsigned turn;

	return (long)(1 + (size - 1) / (2 + __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % 3));
}

static void parse(char *text)
{
	char *rest = NULL;

	rules_len = 0;
	for (char *l = strtok_r(text, "\n", &rest);
	     l && rules_len < RULES; /* NOLINT(concurrency-mt-unsafe) */
	     l = strtok_r(NULL, "\n", &rest)) {
		struct rule *r = &rules[rules_len];

		*r = (struct rule){.to = UINT64_MAX};
		/* NOLINTNEXTLINE(cert-err34-c): what does not fit stays what it is */
		if (sscanf(l, "%7s %199s %lu %lu", r->what, r->part, &r->from, &r->to) >= 2)
			rules_len++;
	}
}

/* With the lock.  By system calls of its own: libc's are ours here. */
static void reload(void)
{
	const char *path = getenv("FAULTY"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
	char text[4096];
	struct stat st;
	long n;
	int fd;

	if (!path || syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0) != 0)
		return;
	if (loaded_inode == st.st_ino && loaded.tv_sec == st.st_mtim.tv_sec &&
	    loaded.tv_nsec == st.st_mtim.tv_nsec)
		return;
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : syscall(SYS_read, fd, text, sizeof(text) - 1);
	if (n >= 0) {
		text[n] = '\0';
		parse(text);
		told = false;
		loaded_inode = st.st_ino;
		loaded = st.st_mtim;
	}
	if (fd >= 0)
		(void)syscall(SYS_close, fd);
}

/* With the lock. */
static void tell(void)
{
	const char *path = getenv("FAULTY"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
	char hits[512];
	int fd;

	if (told || !path)
		return;
	told = true;
	(void)snprintf(hits, sizeof(hits), "%s.hits", path);
	fd = (int)syscall(SYS_openat, AT_FDCWD, hits, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)syscall(SYS_close, fd);
}

static bool find(const char *what, const char *path, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < rules_len; i++) {
		const struct rule *r = &rules[i];

		if (strcmp(r->what, what) == 0 && strstr(path, r->part) && from < r->to &&
		    to > r->from)
			return true;
	}
	return false;
}

/* Is there a rule for this descriptor's file? */
static bool is_hit(const char *what, int fd, uint64_t from, uint64_t to)
{
	int before = errno;
	bool hit = false;
	char link[40], path[512];
	long n;

	(void)pthread_mutex_lock(&lock);
	reload();
	if (rules_len > 0) {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof(path) - 1);
		path[n < 0 ? 0 : n] = '\0';
		hit = find(what, path, from, to);
		if (hit)
			tell();
	}
	(void)pthread_mutex_unlock(&lock);
	errno = before;
	return hit;
}

static void hang(int fd)
{
	const struct timespec pause = {.tv_nsec = 20000000};

	while (is_hit("hang", fd, 0, 1))
		(void)syscall(SYS_nanosleep, &pause, NULL);
}

static ssize_t fail(int code)
{
	errno = code;
	return -1;
}

static uint64_t where(int fd)
{
	off_t at = lseek(fd, 0, SEEK_CUR);

	return at < 0 ? 0 : (uint64_t)at;
}

/* ---- what is read and written */

#define PAGE ((size_t)4096)

/* Past the page cache a disk gives whole sectors only, short or not. */
static size_t allowed(int fd, size_t size)
{
	bool is_direct = fcntl(fd, F_GETFL) & O_DIRECT;
	size_t least = is_direct ? PAGE : 512, n;

	if (size <= least || !is_hit("short", fd, 0, 1))
		return size;
	n = (size_t)next_size(size);
	if (is_direct)
		n -= n % PAGE;
	return n < least ? least : n;
}

ssize_t pread(int fd, void *buf, size_t size, off_t at)
{
	hang(fd);
	if (is_hit("read", fd, (uint64_t)at, (uint64_t)at + size))
		return fail(EIO);
	return syscall(SYS_pread64, fd, buf, allowed(fd, size), at);
}

ssize_t pread64(int fd, void *buf, size_t size, off64_t at)
{
	return pread(fd, buf, size, at);
}

/* What pread is with _FORTIFY_SOURCE. */
ssize_t __pread64_chk(int fd, void *buf, size_t size, off64_t at, size_t room) /* NOLINT */
{
	if (size > room)
		abort();
	return pread(fd, buf, size, at);
}

ssize_t pwrite(int fd, const void *buf, size_t size, off_t at)
{
	if (is_hit("write", fd, (uint64_t)at, (uint64_t)at + size))
		return fail(EIO);
	if (is_hit("full", fd, 0, 1))
		return fail(ENOSPC);
	return syscall(SYS_pwrite64, fd, buf, size, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t size, off64_t at)
{
	return pwrite(fd, buf, size, at);
}

ssize_t write(int fd, const void *buf, size_t size)
{
	uint64_t at = where(fd);

	if (is_hit("write", fd, at, at + size))
		return fail(EIO);
	if (is_hit("full", fd, 0, 1))
		return fail(ENOSPC);
	return syscall(SYS_write, fd, buf, size);
}

int fsync(int fd)
{
	hang(fd);
	return (int)(is_hit("sync", fd, 0, 1) ? fail(EIO) : syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
	hang(fd);
	return (int)(is_hit("sync", fd, 0, 1) ? fail(EIO) : syscall(SYS_fdatasync, fd));
}

int syncfs(int fd)
{
	return (int)(is_hit("sync", fd, 0, 1) ? fail(EIO) : syscall(SYS_syncfs, fd));
}

int sync_file_range(int fd, off64_t at, off64_t size, unsigned flags)
{
	return (int)(is_hit("sync", fd, 0, 1) ? fail(EIO)
					      : syscall(SYS_sync_file_range, fd, at, size, flags));
}

/* ---- the time of day */

static time_t later(void)
{
	time_t seconds = 0;

	(void)pthread_mutex_lock(&lock);
	reload();
	for (unsigned i = 0; i < rules_len; i++)
		if (strcmp(rules[i].what, "clock") == 0)
			seconds = strtol(rules[i].part, NULL, 10);
	if (seconds)
		tell();
	(void)pthread_mutex_unlock(&lock);
	return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = (int)syscall(SYS_clock_gettime, clock, ret);

	if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		ret->tv_sec += later();
	return r;
}

time_t time(time_t *ret)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (ret)
		*ret = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *ret, void *zone)
{
	struct timespec now = {0};

	(void)zone;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	*ret = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return 0;
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
