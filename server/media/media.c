/* Where the settings of a file are is found by reading all of it (common/medium.h), once: the places are remembered by what stat(2) says of a file. */
#include "server/media/media.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/medium.h"
#include "common/medium_settings.h"
#include "server/api_error.h"

#define PLACES MEDIA_LISTED_MAX
#define NAME_CHARS                                             \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
	"0123456789._+-"

/* Where the settings of one file are. */
struct place {
	struct stat st;
	bool there;
	uint64_t offset;
};

struct media {
	int fd;
	pthread_mutex_t searching; /* one file at a time: it reads all of it */
	pthread_mutex_t lock;	   /* what follows */
	struct place places[PLACES];
	unsigned next;
};

struct media_file {
	int fd;
	uint64_t size;
	bool takes_settings;
	uint64_t offset; /* of the area */
	uint8_t area[MEDIUM_AREA_SIZE];
};

int media_open(const char *dir, struct media **ret, struct err *err)
{
	CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct media *m;

	if (fd < 0)
		return err_set(err, -errno, "open the folder of boot media '%s': %m", dir);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(err, -ENOMEM, "out of memory");
	m->fd = take_fd(&fd);
	(void)pthread_mutex_init(&m->searching, NULL);
	(void)pthread_mutex_init(&m->lock, NULL);
	*ret = m;
	return 0;
}

void media_close(struct media *m)
{
	if (!m)
		return;
	(void)close(m->fd);
	(void)pthread_mutex_destroy(&m->lock);
	(void)pthread_mutex_destroy(&m->searching);
	free(m);
}

static bool name_is_good(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= MEDIA_NAME_MAX && name[0] != '.' && strspn(name, NAME_CHARS) == n;
}

/* ---- where the settings are */

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool recall(struct media *m, const struct stat *st, struct place *ret)
{
	bool found = false;

	(void)pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < PLACES && !found; i++) {
		found = is_same(&m->places[i].st, st);
		if (found)
			*ret = m->places[i];
	}
	(void)pthread_mutex_unlock(&m->lock);
	return found;
}

static void remember(struct media *m, const struct place *place)
{
	(void)pthread_mutex_lock(&m->lock);
	m->places[m->next++ % PLACES] = *place;
	(void)pthread_mutex_unlock(&m->lock);
}

/* Whatever its name: there may be a token in it. */
static int find_place(struct media *m, int fd, const char *name, const struct stat *st,
		      struct place *ret, struct err *err)
{
	struct place place = {.st = *st};
	int r = 0;

	(void)pthread_mutex_lock(&m->searching);
	if (!recall(m, st, &place)) {
		r = medium_find_strict(fd, &place.offset, err);
		place.there = r == 0;
		if (r == -ENOENT)
			r = 0;
		if (r == 0)
			remember(m, &place);
	}
	(void)pthread_mutex_unlock(&m->searching);
	if (r < 0)
		return err_prefix(err, "'%s'", name);
	*ret = place;
	return 0;
}

/* ---- files */

/* A regular file of the folder `dir_fd`.  -ENOENT for what is none; a pipe is not waited for. */
static int open_regular(int dir_fd, const char *name, int *ret_fd, struct stat *ret_st,
			struct err *err)
{
	CLEANUP_CLOSE int fd = -1;

	if (name_is_good(name))
		fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	else
		errno = ENOENT;
	if (fd < 0 && errno != ENOENT)
		return err_set(err, -errno, "open the boot file '%s': %m", name);
	if (fd < 0 || fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode) || ret_st->st_size == 0)
		return err_set(err, -ENOENT, "there is no boot file '%.128s'", name);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_folder(struct media *m, const char *folder)
{
	if (!folder)
		return openat(m->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!name_is_good(folder)) {
		errno = ENOENT;
		return -1;
	}
	return openat(m->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int read_area(struct media_file *f, struct err *err)
{
	size_t got = 0;

	while (got < MEDIUM_AREA_SIZE) {
		ssize_t n = pread(f->fd, f->area + got, MEDIUM_AREA_SIZE - got,
				  (off_t)(f->offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			return err_set(err, n < 0 ? -errno : -EIO,
				       "read the settings of a boot file: %s",
				       n < 0 ? strerrordesc_np(errno) : "it ends before them");
		}
		got += (size_t)n;
	}
	return 0;
}

int media_file_open(struct media *m, const char *folder, const char *name, struct media_file **ret,
		    struct err *err)
{
	CLEANUP_CLOSE int dir_fd = open_folder(m, folder), fd = -1;
	struct place place = {.there = false};
	struct stat st = {0};
	struct media_file *f;
	int r = dir_fd < 0 ? err_set(err, -ENOENT, "there is no such folder of boot files")
			   : open_regular(dir_fd, name, &fd, &st, err);

	if (r == -ENOENT)
		r = err->code = API_NOT_FOUND;
	if (r == 0)
		r = find_place(m, fd, name, &st, &place, err);
	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return err_set(err, -ENOMEM, "out of memory");
	f->fd = take_fd(&fd);
	f->size = (uint64_t)st.st_size;
	f->takes_settings = place.there;
	f->offset = place.offset;
	r = f->takes_settings ? read_area(f, err) : 0;
	if (r < 0) {
		media_file_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void media_file_free(void *file)
{
	struct media_file *f = file;

	if (!f)
		return;
	(void)close(f->fd);
	explicit_bzero(f->area, sizeof(f->area));
	free(f);
}

uint64_t media_file_size(const struct media_file *f)
{
	return f->size;
}

bool media_file_takes_settings(const struct media_file *f)
{
	return f->takes_settings;
}

int media_file_settings(const struct media_file *f, json_t *settings, struct err *err)
{
	const char *text;
	size_t size;
	int r;

	if (!f->takes_settings)
		return 0;
	r = medium_decode(f->area, &text, &size, err);
	return r < 0 ? r : medium_settings_parse(text, size, settings, err);
}

int media_file_set(struct media_file *f, const json_t *settings, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int r = medium_settings_text(settings, &text, &size, err);

	if (r == 0)
		r = medium_encode(text, size, f->area, err);
	if (text)
		explicit_bzero(text, size);
	return r;
}

ssize_t media_file_read(void *file, uint64_t at, char *buf, size_t max)
{
	const struct media_file *f = file;
	uint64_t end = f->offset + MEDIUM_AREA_SIZE;

	if (f->takes_settings && at >= f->offset && at < end) {
		size_t n = end - at < max ? (size_t)(end - at) : max;

		memcpy(buf, f->area + (at - f->offset), n);
		return (ssize_t)n;
	}
	if (f->takes_settings && at < f->offset && f->offset - at < max)
		max = (size_t)(f->offset - at);
	return pread(f->fd, buf, max, (off_t)at);
}

/* ---- the list */

struct listing {
	struct media *media;
	int (*fn)(void *arg, const char *name, uint64_t size, bool takes_settings);
	void *arg;
	unsigned count;
};

static int list_file(struct listing *l, int dir_fd, const char *folder, const char *name,
		     struct err *err)
{
	char path[2 * MEDIA_NAME_MAX + 2];
	CLEANUP_CLOSE int fd = -1;
	struct place place = {.there = false};
	struct stat st = {0};
	struct err ignored;
	int r;

	if (l->count == MEDIA_LISTED_MAX || open_regular(dir_fd, name, &fd, &st, &ignored) < 0)
		return 0;
	l->count++;
	r = find_place(l->media, fd, name, &st, &place, err);
	if (r < 0 && r != -EEXIST) /* that one is listed, and whoever asks for it is told */
		return r;
	(void)snprintf(path, sizeof(path), "%s%s%s", folder ? folder : "", folder ? "/" : "", name);
	r = l->fn(l->arg, path, (uint64_t)st.st_size, place.there);
	return r < 0 ? err_set(err, r, "list the boot files: out of memory") : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char ***names)
{
	for (char **p = *names; p && *p; p++)
		free(*p);
	free(*names);
}

/* The good names of a folder in order, ended by NULL, heap. */
static int read_names(int dir_fd, char ***ret, size_t *ret_len, struct err *err)
{
	CLEANUP(free_names) char **names = calloc(MEDIA_LISTED_MAX + 1, sizeof(*names));
	int copy = fcntl(dir_fd, F_DUPFD_CLOEXEC, 0);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *e;
	size_t n = 0;

	if (!dir && copy >= 0)
		(void)close(copy);
	if (!dir || !names) {
		if (dir)
			(void)closedir(dir);
		return err_set(err, -ENOMEM, "list the boot files: out of memory");
	}
	while (n < MEDIA_LISTED_MAX && (e = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe) */
		if (name_is_good(e->d_name) && (names[n] = strdup(e->d_name)))
			n++;
	}
	(void)closedir(dir);
	qsort(names, n, sizeof(*names), by_name);
	*ret = TAKE_PTR(names);
	*ret_len = n;
	return 0;
}

static int list_folder(struct listing *l, const char *folder, struct err *err)
{
	CLEANUP_CLOSE int fd = open_folder(l->media, folder);
	CLEANUP(free_names) char **names = NULL;
	struct stat st;
	size_t len = 0;
	int r = fd < 0 ? 0 : read_names(fd, &names, &len, err);

	for (size_t i = 0; r == 0 && i < len; i++) {
		bool is_folder = fstatat(fd, names[i], &st, 0) == 0 && S_ISDIR(st.st_mode);

		if (!is_folder)
			r = list_file(l, fd, folder, names[i], err);
		else if (!folder)
			r = list_folder(l, names[i], err);
	}
	return r;
}

int media_each(struct media *m,
	       int (*fn)(void *arg, const char *name, uint64_t size, bool takes_settings),
	       void *arg, struct err *err)
{
	struct listing l = {.media = m, .fn = fn, .arg = arg};

	return list_folder(&l, NULL, err);
}
