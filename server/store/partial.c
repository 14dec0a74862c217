/* partial.c - the index of a disk that is being captured: a file of node ids, one for each window, zeros where none is
 * known yet.  What is in it is never relied upon: sealing looks up every node.
 *
 * The list holds what is open, and what was closed and not made durable since. */
#include "server/store/partial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

#define KEY_MAX	    200u
#define SEALED_KEPT 64u /* of one partial: a machine has no more connections */

static bool key_is_valid(const char *key)
{
	size_t len = strlen(key);

	return len > 0 && len <= KEY_MAX && key[0] != '.' &&
	       strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") ==
		       len;
}

/* The key may come from a peer by way of the caller: its characters keep it inside the folder. */
static int make_name(char ret[static PARTIAL_NAME_SIZE], const char *key, struct err *err)
{
	if (!key_is_valid(key))
		return err_set(err, -EINVAL, "'%.64s' is no key of a partial index", key);
	(void)snprintf(ret, PARTIAL_NAME_SIZE, "%s" PARTIAL_TAIL, key);
	return 0;
}

static int fail(const struct partial *p, int code, const char *verb, struct err *err)
{
	return err_set(err, -files_code(code), "%s '%s/%s" PARTIAL_TAIL "': %s", verb,
		       p->store->jobs_name, p->key, strerrordesc_np(code));
}

static uint64_t file_size(uint64_t disk_size)
{
	return window_count(disk_size) * ID_SIZE;
}

static void partial_free(struct partial *p)
{
	if (p && p->fd >= 0)
		(void)close(p->fd); /* synced before, or removed */
	free(p);
}

static void partial_freep(struct partial **p)
{
	partial_free(*p);
}

static struct partial **find_in_list(struct store *s, const char *key)
{
	struct partial **at = &s->partials;

	while (*at && strcmp((*at)->key, key) != 0)
		at = &(*at)->next;
	return at;
}

/* Free what is neither open, nor waits for a checkpoint, nor is in use by one.  With the lock. */
static void sweep_list(struct store *s)
{
	struct partial **at = &s->partials;

	while (*at) {
		struct partial *p = *at;

		if (p->is_open || p->users > 0 || atomic_load(&p->is_dirty)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		partial_free(p);
	}
}

static int open_file(struct partial *p, const char *name, struct err *err)
{
	struct stat st;

	p->fd = openat(p->store->jobs_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (p->fd < 0 || fstat(p->fd, &st) < 0)
		return fail(p, errno, "open", err);
	/* A shorter one is what a power cut left before the first sync: some of the writes, not the room that was made for all. */
	if ((uint64_t)st.st_size > file_size(p->disk_size)) {
		return err_set(err, -EINVAL,
			       "'%s/%s' was begun for a disk of another size (%" PRIu64
			       " windows, not %" PRIu64 ")",
			       p->store->jobs_name, name, (uint64_t)st.st_size / ID_SIZE,
			       window_count(p->disk_size));
	}
	if (ftruncate(p->fd, (off_t)file_size(p->disk_size)) < 0)
		return fail(p, errno, "make room in", err);
	return 0;
}

/* Enter `*p` into the list and take it, or find the one that is there already: closed, or it is an error. */
static int enter_list(struct store *s, struct partial **p, struct partial **ret, struct err *err)
{
	struct partial *old;
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	old = *find_in_list(s, (*p)->key);
	if (old && old->is_open) {
		r = err_set(err, -EBUSY, "the partial index '%s' is open already", old->key);
	} else if (old && old->disk_size != (*p)->disk_size) {
		r = err_set(err, -EINVAL, "the partial index '%s' is of a disk of another size",
			    old->key);
	} else if (!old) {
		(*p)->next = s->partials;
		s->partials = old = TAKE_PTR(*p);
	}
	if (r == 0) {
		old->is_open = true;
		*ret = old;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

int partial_open(struct store *s, const char *key, uint64_t disk_size, struct partial **ret,
		 struct err *err)
{
	CLEANUP(partial_freep) struct partial *p = NULL;
	char name[PARTIAL_NAME_SIZE];
	int r = make_name(name, key, err);

	if (r < 0)
		return r;
	if (disk_size < DISK_SIZE_MIN || disk_size > DISK_SIZE_MAX) {
		return err_set(err, -EINVAL, "a disk of %" PRIu64 " bytes is not possible",
			       disk_size);
	}
	p = calloc(1, sizeof(*p) + strlen(key) + 1);
	if (!p)
		return err_set(err, -ENOMEM, "open partial index '%s': out of memory", key);
	p->store = s;
	p->disk_size = disk_size;
	p->fd = -1;
	memcpy(p->key, key, strlen(key) + 1);
	r = open_file(p, name, err);
	return r < 0 ? r : enter_list(s, &p, ret, err);
}

void partial_close(struct partial *p)
{
	struct store *s;

	if (!p)
		return;
	s = p->store;
	(void)pthread_mutex_lock(&s->lock);
	p->is_open = false;
	sweep_list(s);
	(void)pthread_mutex_unlock(&s->lock);
}

void partials_forget_sealed(struct store *s)
{
	struct sealed **at = &s->sealed;

	while (*at) {
		struct sealed *x = *at;

		if (!x->is_over) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		free(x);
	}
}

void partial_remove(struct store *s, const char *key)
{
	char name[PARTIAL_NAME_SIZE];
	struct partial *p;
	struct err ignored;

	if (make_name(name, key, &ignored) < 0)
		return;
	(void)unlinkat(s->jobs_fd, name,
		       0); /* should it stay, gc keeps a little more than it must */
	(void)pthread_mutex_lock(&s->lock);
	p = *find_in_list(s, key);
	if (p)
		atomic_store(&p->is_dirty, false);
	for (struct sealed *x = s->sealed; x; x = x->next)
		x->is_over = x->is_over || strcmp(x->key, key) == 0;
	if (!s->collector)
		partials_forget_sealed(s);
	sweep_list(s);
	(void)pthread_mutex_unlock(&s->lock);
}

/* Does the node go with all windows of the run?  `place`: where it is. */
static int check_run(const struct partial *p, const struct window_range *w,
		     const struct place *place, struct err *err)
{
	uint64_t windows = window_count(p->disk_size), last = w->first + w->count - 1;

	if (place->pack == 0)
		return err_set(err, -ENODATA, "the node of window %" PRIu64 " is not there",
			       w->first);
	/* all windows but the last of a disk have the same length */
	if (place->window == window_length(p->disk_size, w->first) &&
	    (last < windows - 1 || place->window == window_length(p->disk_size, last)))
		return 0;
	return err_set(err, -EINVAL,
		       "the node of window %" PRIu64 " is for %" PRIu32 " bytes, not for %" PRIu32,
		       last, place->window, window_length(p->disk_size, last));
}

static int write_run(struct partial *p, const struct window_range *w, const struct id *node,
		     struct err *err)
{
	struct id ids[WINDOWS_RUN_MAX];
	size_t size = (size_t)w->count * ID_SIZE;
	ssize_t n;

	for (uint64_t i = 0; i < w->count; i++)
		ids[i] = *node;
	n = pwrite(p->fd, ids, size, (off_t)(w->first * ID_SIZE));
	if (n != (ssize_t)size)
		return fail(p, n < 0 ? errno : ENOSPC, "write", err);
	return 0;
}

int partial_set(struct partial *p, const struct window_range *windows, const struct id *nodes,
		size_t len, struct err *err)
{
	CLEANUP_FREE struct place *places = calloc(len + 1, sizeof(*places));
	int r = atomic_load(&p->failure);

	if (r < 0)
		return fail(p, -r, "write", err);
	if (!places)
		return err_set(err, -ENOMEM, "set windows: out of memory");
	for (size_t i = 0; i < len; i++) {
		const struct window_range *w = &windows[i];
		uint64_t all = window_count(p->disk_size);

		if (w->first >= all || w->count > all - w->first)
			return err_set(err, -EINVAL, "window %" PRIu64 " is outside the disk",
				       w->first >= all ? w->first : all);
		if (w->count == 0 || w->count > WINDOWS_RUN_MAX)
			return err_set(err, -EINVAL, "%" PRIu64 " windows in one entry", w->count);
	}
	r = objects_find_nodes(p->store, nodes, len, places, err);
	for (size_t i = 0; r == 0 && i < len; i++)
		r = check_run(p, &windows[i], &places[i], err);
	if (r == 0)
		r = checkpoint_late(p->store, err);
	for (size_t i = 0; r == 0 && i < len; i++)
		r = write_run(p, &windows[i], &nodes[i], err);
	atomic_store(&p->is_dirty,
		     true); /* after the write: a checkpoint clears it before it syncs */
	return r;
}

int partial_read(struct partial *p, uint64_t first, uint32_t count, struct id *ret, struct err *err)
{
	size_t size = (size_t)count * ID_SIZE, done = 0;

	while (done < size) {
		ssize_t n = pread(p->fd, (char *)ret + done, size - done,
				  (off_t)(first * ID_SIZE + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(p, n < 0 ? errno : EIO, "read", err);
		done += (size_t)n;
	}
	return 0;
}

/* Nobody seals one disk so often at one time, and nobody needs what was sealed before: it is not to become more for ever.  With the lock. */
static void end_older(struct store *s, const char *key)
{
	unsigned n = 0;

	for (struct sealed *x = s->sealed; x; x = x->next) {
		if (strcmp(x->key, key) == 0 && n++ >= SEALED_KEPT)
			x->is_over = true;
	}
	if (!s->collector)
		partials_forget_sealed(s);
}

int partial_note_sealed(struct partial *p, const struct id *root, struct err *err)
{
	struct sealed *x = malloc(sizeof(*x) + strlen(p->key) + 1);

	if (!x)
		return err_set(err, -ENOMEM, "seal an index: out of memory");
	x->root = *root;
	x->is_over = false;
	memcpy(x->key, p->key, strlen(p->key) + 1);
	(void)pthread_mutex_lock(&p->store->lock);
	x->next = p->store->sealed;
	p->store->sealed = x;
	end_older(p->store, p->key);
	(void)pthread_mutex_unlock(&p->store->lock);
	return 0;
}

/* ---- durability */

/* What the file holds after a failed sync is anybody's guess: it becomes as if nothing had been set, so that
 * all is asked for again. */
static void reset_file(struct partial *p)
{
	if (ftruncate(p->fd, 0) < 0 || ftruncate(p->fd, (off_t)file_size(p->disk_size)) < 0)
		atomic_store(&p->failure, -errno);
}

static int sync_one(struct partial *p, struct err *err)
{
	int r = files_check(&p->store->files, FILE_SYNC, p->key, err);

	if (r == 0 && fdatasync(p->fd) < 0)
		r = fail(p, errno, "sync", err);
	if (r < 0)
		reset_file(p);
	return r;
}

/* One that wants to be synced and was not in this round, or NULL. */
static struct partial *take_dirty(struct store *s, uint64_t round)
{
	struct partial *p;

	(void)pthread_mutex_lock(&s->lock);
	for (p = s->partials; p; p = p->next)
		if (p->round != round && atomic_exchange(&p->is_dirty, false))
			break;
	if (p) {
		p->users++;
		p->round = round;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return p;
}

int partials_sync(struct store *s, struct err *err)
{
	struct partial *p;
	uint64_t round = ++s->partial_round;
	bool is_any = false;
	int r = 0;

	while (r == 0 && (p = take_dirty(s, round))) {
		is_any = true;
		r = sync_one(p, err);
		(void)pthread_mutex_lock(&s->lock);
		p->users--;
		sweep_list(s);
		(void)pthread_mutex_unlock(&s->lock);
	}
	if (r == 0 && is_any && fsync(s->jobs_fd) < 0)
		r = err_set(err, -errno, "sync folder '%s': %s", s->jobs_name,
			    strerrordesc_np(errno));
	return r;
}

/* ---- for gc */

static int each_id_of(struct store *s, const char *name, partial_ids_fn fn, void *arg,
		      struct id *buf, struct err *err)
{
	CLEANUP_CLOSE int fd = openat(s->jobs_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = 0;

	if (fd < 0 && errno == ENOENT)
		return 0; /* removed meanwhile */
	for (uint64_t at = 0; r == 0;) {
		size_t len = 0;
		ssize_t n = fd < 0 ? -1 : pread(fd, buf, PARTIAL_BATCH * ID_SIZE, (off_t)at);

		if (n < 0)
			return err_set(err, -errno, "read '%s/%s': %s", s->jobs_name, name,
				       strerrordesc_np(errno));
		if (n < ID_SIZE)
			return 0;
		at += (uint64_t)n - (uint64_t)n % ID_SIZE;
		for (size_t i = 0; i < (size_t)n / ID_SIZE; i++)
			if (!id_is_zero(&buf[i]))
				buf[len++] = buf[i];
		if (len > 0)
			r = fn(arg, buf, len, err);
	}
	return r;
}

static bool is_partial_name(const char *name)
{
	size_t len = strlen(name), tail = strlen(PARTIAL_TAIL);

	return len > tail && strcmp(name + len - tail, PARTIAL_TAIL) == 0;
}

static void close_folder(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

int partials_each_id(struct store *s, partial_ids_fn fn, void *arg, struct err *err)
{
	CLEANUP_FREE struct id *buf = calloc(PARTIAL_BATCH, sizeof(*buf));
	CLEANUP(close_folder) DIR *d = NULL;
	int fd = openat(s->jobs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	int r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return err_set(err, -errno, "open folder '%s': %s", s->jobs_name,
			       strerrordesc_np(errno));
	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	errno = 0;
	while (r == 0 && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (is_partial_name(e->d_name))
			r = each_id_of(s, e->d_name, fn, arg, buf, err);
		errno = 0;
	}
	if (r == 0 && errno != 0)
		return err_set(err, -errno, "read folder '%s': %s", s->jobs_name,
			       strerrordesc_np(errno));
	return r;
}

void partials_done(struct store *s)
{
	while (s->partials) {
		struct partial *p = s->partials;

		s->partials = p->next;
		partial_free(p);
	}
	while (s->sealed) {
		struct sealed *x = s->sealed;

		s->sealed = x->next;
		free(x);
	}
}
