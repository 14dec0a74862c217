#include "agent/sysroot.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "common/text.h"

int sysroot_open(const char *dir, struct sysroot *ret, struct err *err)
{
	struct sysroot r = {.is_live = dir == NULL};

	if (dir && !realpath(dir, r.path))
		return err_set(err, -errno, "open the sysroot '%s': %m", dir);
	r.fd = open(dir ? r.path : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r.fd < 0)
		return err_set(err, -errno, "open the sysroot '%s': %m", dir ? dir : "/");
	*ret = r;
	if (!sysroot_exists(ret, "sys/block")) {
		sysroot_done(ret);
		return err_set(err, -ENOENT, "'%s' has no sys/block: is /sys mounted there?",
			       dir ? dir : "/");
	}
	return 0;
}

void sysroot_done(struct sysroot *r)
{
	if (r->fd > 0)
		(void)close(r->fd);
	r->fd = -1;
}

static int open_in_root(const struct sysroot *r, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

	if (!(flags &
	      O_PATH)) /* a FIFO in a dump must not be waited for; O_PATH allows no such flag */
		how.flags |= O_NONBLOCK | O_NOCTTY;

	return (int)syscall(SYS_openat2, r->fd, path, &how, sizeof(how));
}

#define FORMAT_PATH(path, fmt)                                             \
	do {                                                               \
		va_list ap_;                                               \
		va_start(ap_, fmt);                                        \
		(path)[0] = '\0';                                          \
		if (vsnprintf((path), sizeof(path), fmt, ap_) >= PATH_MAX) \
			(path)[0] = '\0'; /* "" is no file: not there */   \
		va_end(ap_);                                               \
	} while (0)

static ssize_t read_file(const struct sysroot *r, void *buf, size_t size, const char *path)
{
	CLEANUP_CLOSE int fd = open_in_root(r, path, O_RDONLY);
	size_t done = 0;
	ssize_t n;

	if (fd < 0)
		return -1;
	do {
		n = read(fd, (char *)buf + done, size - done);
		if (n > 0)
			done += (size_t)n;
	} while ((n > 0 && done < size) || (n < 0 && errno == EINTR));
	return n < 0 && done == 0 ? -1 : (ssize_t)done;
}

ssize_t sysroot_read(const struct sysroot *r, void *buf, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX];

	FORMAT_PATH(path, fmt);
	return read_file(r, buf, size, path);
}

bool sysroot_text(const struct sysroot *r, char *ret, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX], buf[4096];
	ssize_t n;

	FORMAT_PATH(path, fmt);
	n = read_file(r, buf, sizeof(buf), path);
	return text_clean(ret, size, buf, n < 0 ? 0 : (size_t)n) > 0;
}

bool sysroot_u64(const struct sysroot *r, uint64_t *ret, const char *fmt, ...)
{
	char path[PATH_MAX], buf[64], *end;
	ssize_t n;
	uint64_t v;

	FORMAT_PATH(path, fmt);
	n = read_file(r, buf, sizeof(buf) - 1, path);
	if (n <= 0 || buf[0] < '0' || buf[0] > '9')
		return false;
	buf[n] = '\0';
	errno = 0;
	v = strtoull(buf, &end, 10);
	if (errno != 0 || (*end != '\n' && *end != '\0'))
		return false;
	*ret = v;
	return true;
}

bool sysroot_exists(const struct sysroot *r, const char *fmt, ...)
{
	char path[PATH_MAX];

	FORMAT_PATH(path, fmt);
	CLEANUP_CLOSE int fd = open_in_root(r, path, O_PATH);
	return fd >= 0;
}

/* The text of a link; false when it is none. */
static bool read_link(const struct sysroot *r, char ret[static PATH_MAX], const char *path)
{
	CLEANUP_CLOSE int fd = open_in_root(r, path, O_PATH | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", ret, PATH_MAX - 1);

	if (n <= 0)
		return false;
	ret[n] = '\0';
	return true;
}

/* Remove "." and ".." and empty parts, in place; ".." above the root stays in the root. */
static void normalise(char *path)
{
	char *out = path, *save = NULL;

	for (char *part = strtok_r(path, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		size_t len = strlen(part);

		if (strcmp(part, ".") == 0)
			continue;
		if (strcmp(part, "..") == 0) {
			while (out > path && *--out != '/')
				;
			continue;
		}
		if (out > path)
			*out++ = '/';
		memmove(out, part, len);
		out += len;
	}
	*out = '\0';
}

bool sysroot_follow(const struct sysroot *r, char ret[static PATH_MAX], const char *fmt, ...)
{
	char path[PATH_MAX], link[PATH_MAX], *slash;
	int n;

	FORMAT_PATH(path, fmt);
	if (!read_link(r, link, path))
		return false;
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	n = snprintf(ret, PATH_MAX, "%s/%s", link[0] == '/' || !slash ? "" : path, link);
	if (n >= PATH_MAX)
		return false;
	normalise(ret);
	return true;
}

bool sysroot_link_name(const struct sysroot *r, char *ret, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX], link[PATH_MAX];
	const char *slash;

	FORMAT_PATH(path, fmt);
	ret[0] = '\0';
	if (!read_link(r, link, path))
		return false;
	slash = strrchr(link, '/');
	slash = slash ? slash + 1 : link;
	return text_clean(ret, size, slash, strlen(slash)) > 0;
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

bool name_list_add(struct name_list *l, const char *name)
{
	char **grown;

	if (l->len == l->room) {
		grown = reallocarray(l->names, l->room * 2 + 4, sizeof(*grown));
		if (!grown)
			return false;
		l->names = grown;
		l->room = l->room * 2 + 4;
	}
	l->names[l->len] = strdup(name);
	if (!l->names[l->len])
		return false;
	l->len++;
	return true;
}

void sysroot_list(const struct sysroot *r, struct name_list *ret, const char *fmt, ...)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;
	int fd;

	*ret = (struct name_list){0};
	FORMAT_PATH(path, fmt);
	fd = open_in_root(r, path, O_RDONLY | O_DIRECTORY);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		cleanup_close(&fd);
		return;
	}
	/* Not shared with another thread: readdir is safe. */
	while (ret->len < SYSROOT_LIST_MAX && (e = readdir(dir))) { // NOLINT(concurrency-mt-unsafe)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    !name_list_add(ret, e->d_name))
			break;
	}
	(void)closedir(dir);
	if (ret->len > 1)
		qsort(ret->names, ret->len, sizeof(*ret->names), by_name);
}

void name_list_unique(struct name_list *l)
{
	size_t kept = 0;

	if (l->len > 1)
		qsort(l->names, l->len, sizeof(*l->names), by_name);
	for (size_t i = 0; i < l->len; i++) {
		if (kept > 0 && strcmp(l->names[kept - 1], l->names[i]) == 0)
			free(l->names[i]);
		else
			l->names[kept++] = l->names[i];
	}
	l->len = kept;
}

void name_list_done(struct name_list *l)
{
	for (size_t i = 0; i < l->len; i++)
		free(l->names[i]);
	free(l->names);
	*l = (struct name_list){0};
}
