/* store.c - opening and closing, and what does not belong elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "server/store/internal.h"
#include "server/store/workers.h"

#define FORMAT	     "hoist-store 1\n"
#define CACHE_SIZE   (64u << 20)
#define INTERVAL_MS  5000
#define PACKS_MAX    256
#define SCRATCH_KEEP 16
#define ROWS	     1024

/* ---- scratch */

static void scratch_free(struct scratch *c)
{
	if (!c)
		return;
	codec_ctx_free(c->codec);
	pack_builder_free(c->builder);
	free(c->plain);
	free(c);
}

static size_t scratch_size(const struct scratch *c)
{
	return sizeof(*c) + c->plain_size + codec_ctx_memory(c->codec) +
	       (c->builder ? pack_builder_memory(c->builder) : 0);
}

struct scratch *scratch_get(struct store *s)
{
	struct scratch *c;

	(void)pthread_mutex_lock(&s->scratch_lock);
	c = s->scratch;
	if (c)
		s->scratch = c->next;
	(void)pthread_mutex_unlock(&s->scratch_lock);
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->codec = codec_ctx_new();
	if (!c->codec) {
		scratch_free(c);
		return NULL;
	}
	return c;
}

void scratch_put(struct store *s, struct scratch *c)
{
	size_t n = 0;

	if (!c)
		return;
	(void)pthread_mutex_lock(&s->scratch_lock);
	for (const struct scratch *i = s->scratch; i; i = i->next)
		n++;
	if (n < SCRATCH_KEEP) {
		c->next = s->scratch;
		s->scratch = c;
		c = NULL;
	}
	(void)pthread_mutex_unlock(&s->scratch_lock);
	scratch_free(c);
}

uint8_t *scratch_plain(struct scratch *c, size_t size)
{
	if (size > c->plain_size) {
		free(c->plain);
		c->plain = malloc(size);
		c->plain_size = c->plain ? size : 0;
	}
	return c->plain;
}

struct pack_builder *scratch_builder(struct scratch *c)
{
	if (!c->builder)
		c->builder = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_AIM);
	return c->builder;
}

/* ---- opening */

static int make_folders(struct store *s, struct err *err)
{
	static const char *const names[] = {"packs", "indexes", "manifests", "quarantine", "tmp"};
	char path[STORE_FOLDER_SIZE];
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		r = files_make_folder(&s->files, names[i], err);
	for (unsigned i = 0; r == 0 && i < STORE_FOLDERS; i++) {
		store_folder_path(path, i);
		r = files_make_folder(&s->files, path, err);
	}
	if (r == 0)
		r = files_sync_folder(&s->files, "packs", err);
	return r < 0 ? r : files_sync_folder(&s->files, ".", err);
}

static void close_folder(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* Call `fn` for each name in a folder of the store; a folder that is not there is empty. */
static int each_name(struct store *s, const char *path,
		     int (*fn)(struct store *s, const char *path, const char *name,
			       struct err *err),
		     struct err *err)
{
	CLEANUP(close_folder) DIR *d = NULL;
	struct dirent *e;
	int fd = openat(s->files.fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0 && errno == ENOENT)
		return 0;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return err_set(err, -errno, "open folder '%s/%s': %s", s->files.name, path,
			       strerrordesc_np(errno));
	while (r == 0 && (e = readdir(d))) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fn(s, path, e->d_name, err);
	return r;
}

static int remove_name(struct store *s, const char *path, const char *name, struct err *err)
{
	char full[FILES_PATH_SIZE];

	if (snprintf(full, sizeof(full), "%s/%s", path, name) >= (int)sizeof(full))
		return 0; /* not one that we made */
	return files_remove(&s->files, full, err);
}

static int refuse_name(struct store *s, const char *path, const char *name, struct err *err)
{
	return err_set(err, -EPROTO,
		       "'%s' holds '%s/%s' but has no file 'format': it is no store of Hoist, or a "
		       "damaged one",
		       s->files.name, path, name);
}

static int check_no_packs(struct store *s, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < STORE_FOLDERS; i++) {
		char path[STORE_FOLDER_SIZE];

		store_folder_path(path, i);
		r = each_name(s, path, refuse_name, err);
	}
	return r < 0 ? r : each_name(s, "manifests", refuse_name, err);
}

/* A store says what it is; a folder without that becomes one only if there is nothing in it to lose. */
static int check_format(struct store *s, bool *ret_is_new, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	int r = files_get(&s->files, "format", 256, &text, &size, err);

	*ret_is_new = r == -ENOENT;
	if (r == -ENOENT)
		return check_no_packs(s, err);
	if (r == 0 && strcmp(text, FORMAT) != 0) {
		r = err_set(err, -EPROTO,
			    "'%s/format' does not say 'hoist-store 1': it is no store of Hoist, or "
			    "one of a later version",
			    s->files.name);
	}
	return r == -EFBIG ? -EPROTO : r;
}

static int lock_store(struct store *s, struct err *err)
{
	s->lock_fd = openat(s->files.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (s->lock_fd < 0)
		return err_set(err, -errno, "open '%s/lock': %s", s->files.name,
			       strerrordesc_np(errno));
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(err, -EBUSY, "another server has the store '%s' open",
				       s->files.name);
		return err_set(err, -errno, "lock '%s/lock': %s", s->files.name,
			       strerrordesc_np(errno));
	}
	return 0;
}

static int make_folder(const char *path, struct err *err)
{
	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return err_set(err, -errno, "make folder '%s': %s", path, strerrordesc_np(errno));
	return 0;
}

static int open_folders(struct store *s, const char *dir, char **ret_db, struct err *err)
{
	CLEANUP_FREE char *store = NULL;
	int r = 0;

	if (asprintf(&store, "%s/store", dir) < 0 || asprintf(&s->jobs_name, "%s/jobs", dir) < 0 ||
	    asprintf(ret_db, "%s/store/objects.db", dir) < 0)
		return err_set(err, -ENOMEM, "open a store: out of memory");
	r = make_folder(dir, err);
	if (r == 0)
		r = make_folder(store, err);
	if (r == 0)
		r = make_folder(s->jobs_name, err);
	if (r == 0)
		r = files_init(&s->files, store, s->options.fault, s->options.fault_arg, err);
	if (r < 0)
		return r;
	s->jobs_fd = open(s->jobs_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->jobs_fd < 0)
		return err_set(err, -errno, "open folder '%s': %s", s->jobs_name,
			       strerrordesc_np(errno));
	return lock_store(s, err);
}

static int prepare_folders(struct store *s, struct err *err)
{
	bool is_new;
	int r = check_format(s, &is_new, err);

	if (r == 0)
		r = make_folders(s, err);
	if (r == 0)
		r = each_name(s, "tmp", remove_name, err);
	if (r == 0 && is_new)
		r = files_put(&s->files, ".", "format", FORMAT, strlen(FORMAT), err);
	return r;
}

/* ---- the index */

static int load_packs(struct store *s, struct db_reader *reader, struct err *err)
{
	CLEANUP_FREE struct pack_row *rows = malloc(ROWS * sizeof(*rows));
	uint32_t from = 1;
	size_t n = ROWS;

	if (!rows)
		return err_set(err, -ENOMEM, "out of memory");
	while (n == ROWS) {
		int r = db_packs_from(reader, from, rows, ROWS, &n, err);

		for (size_t i = 0; r == 0 && i < n; i++) {
			r = objects_set_alive(s, rows[i].num, err);
			s->stat.packs++;
			s->stat.objects += rows[i].count;
			s->stat.bytes += rows[i].size;
			from = rows[i].num + 1;
		}
		if (r < 0)
			return r;
	}
	if (s->next_pack < from)
		s->next_pack = from;
	return 0;
}

static int write_clean(struct store *s, bool clean, struct err *err)
{
	int r = db_begin(&s->db, err);

	if (r == 0)
		r = db_set_meta(&s->db, DB_CLEAN, clean, err);
	if (r == 0)
		r = db_set_meta(&s->db, DB_MAKING, s->is_making_index, err);
	if (r == 0)
		r = db_set_meta(&s->db, DB_BAD, s->is_index_bad, err);
	if (r == 0)
		r = files_check(&s->files, FILE_COMMIT, "objects.db", err);
	if (r == 0)
		r = db_commit(&s->db, err);
	if (r < 0)
		db_rollback(&s->db);
	return r;
}

static int open_index(struct store *s, const char *path, struct err *err)
{
	uint64_t clean = 0, next = 0, suspect = 0, making = 0, bad = 0;
	struct db_reader *reader;
	int r = s->options.rebuild ? db_remove(path, err) : 0;

	if (r == 0)
		r = db_open(&s->db, path, err);
	if (r == 0)
		r = db_get_meta(&s->db, DB_CLEAN, &clean, err);
	if (r == 0)
		r = db_get_meta(&s->db, DB_NEXT_PACK, &next, err);
	if (r == 0)
		r = db_get_meta(&s->db, DB_SUSPECT, &suspect, err);
	if (r == 0)
		r = db_get_meta(&s->db, DB_MAKING, &making, err);
	if (r == 0)
		r = db_get_meta(&s->db, DB_BAD, &bad, err);
	if (r < 0)
		return r;
	s->is_making_index = making == 1 || next == 0; /* each checkpoint writes the next number */
	s->start.clean = clean == 1;
	s->is_index_bad = bad == 1;
	s->is_suspect = s->is_suspect_saved = suspect == 1;
	s->next_pack = next < 1 ? 1 : (uint32_t)next;
	r = db_reader_get(&s->db, &reader, err);
	if (r < 0)
		return r;
	r = load_packs(s, reader, err);
	db_reader_put(&s->db, reader);
	if (r == 0)
		r = recent_load(s, err);
	s->start.index_is_bad = s->is_index_bad;
	/* Also that: a merge forgets the damaged rows, and nothing else would tell the next start of them. */
	return r < 0 ? r : write_clean(s, false, err);
}

/* ---- the whole */

static void init_locks(struct store *s)
{

	(void)pthread_mutex_init(&s->write_lock, NULL);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_mutex_init(&s->scratch_lock, NULL);
	for (unsigned i = 0; i < STORE_FOLDERS; i++)
		(void)pthread_mutex_init(&s->folder_locks[i], NULL);
	cond_init(&s->wake);
	cond_init(&s->upkeep_over);
	(void)pthread_cond_init(&s->room, NULL);
}

static void store_free(struct store *s)
{
	if (!s)
		return;
	workers_stop(s->workers);
	checkpoint_stop(s);
	partials_done(s);
	db_done(&s->db);
	generation_done(&s->previous);
	generation_done(&s->current);
	generation_done(&s->recent);
	cache_free(s->cache);
	while (s->scratch) {
		struct scratch *c = s->scratch;

		s->scratch = c->next;
		scratch_free(c);
	}
	files_done(&s->files);
	if (s->jobs_fd >= 0)
		(void)close(s->jobs_fd);
	if (s->lock_fd >= 0)
		(void)close(s->lock_fd); /* and so unlocked: last of all */
	free(s->jobs_name);
	free(s->alive);
	free(s->unreadable_bits);
	free(s->dropped);
	free(s);
}

static void store_freep(struct store **s)
{
	store_free(*s);
}

static struct store *store_new(const struct store_options *o)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->options = *o;
	s->files.fd = s->jobs_fd = s->lock_fd = -1;
	init_locks(s);
	s->cache = cache_new(CACHE_SIZE);
	if (!s->cache || getrandom(&s->seed, sizeof(s->seed), 0) != sizeof(s->seed)) {
		store_free(s);
		return NULL;
	}
	return s;
}

static int recover(struct store *s, struct err *err)
{
	int r = 0;

	s->is_recovering = true;
	r = checkpoint_start(s, err);
	if (r == 0 && !s->start.clean)
		r = recover_packs(s, err);
	s->is_recovering = false;
	if (r == 0 && s->is_making_index) {
		s->is_making_index = false;
		r = write_clean(s, false, err);
	}
	return r;
}

int store_open_options(const char *dir, const struct store_options *o, struct store **ret,
		       struct err *err)
{
	CLEANUP(store_freep) struct store *s = store_new(o);
	CLEANUP_FREE char *db = NULL;
	int r;

	if (!s)
		return err_set(err, -ENOMEM, "open a store: out of memory");
	r = open_folders(s, dir, &db, err);
	if (r == 0)
		r = prepare_folders(s, err);
	if (r == 0)
		r = open_index(s, db, err);
	if (r == 0)
		r = recover(s, err);
	if (r == 0)
		r = workers_start(0, &s->workers, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

int store_open(const char *dir, bool rebuild, struct store **ret, struct err *err)
{
	const struct store_options o = {
		.rebuild = rebuild, .interval_ms = INTERVAL_MS, .packs_max = PACKS_MAX};

	return store_open_options(dir, &o, ret, err);
}

void store_close(struct store *s)
{
	struct err err;

	if (!s)
		return;
	checkpoint_stop(s);
	/* Whatever fails here, the next start looks at the packs again. */
	if (store_checkpoint(s, &err) == 0 && !s->must_compare)
		(void)!write_clean(s, true, &err);
	store_free(s);
}

const struct store_start *store_start(const struct store *s)
{
	return &s->start;
}

int store_stat(struct store *s, struct store_stat *ret, struct err *err)
{
	struct statvfs v;

	if (fstatvfs(s->files.fd, &v) < 0)
		return err_set(err, -errno, "ask for the free space of '%s': %s", s->files.name,
			       strerrordesc_np(errno));
	(void)pthread_mutex_lock(&s->lock);
	*ret = s->stat;
	(void)pthread_mutex_unlock(&s->lock);
	ret->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	return 0;
}

void store_memory(struct store *s, struct store_memory *ret)
{
	*ret = (struct store_memory){.packs = cache_memory(s),
				     .index = (uint64_t)sqlite3_memory_used()};
	(void)pthread_mutex_lock(&s->lock);
	ret->recent = generation_memory(&s->current) + generation_memory(&s->previous) +
		      generation_memory(&s->recent);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_mutex_lock(&s->scratch_lock);
	for (const struct scratch *c = s->scratch; c; c = c->next)
		ret->working += scratch_size(c);
	(void)pthread_mutex_unlock(&s->scratch_lock);
}
