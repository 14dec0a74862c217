/* recover.c - after an unclean end: what is in packs/ and what the index says are compared.
 *
 * What is in the index was durable before it came there, so only what is not in it is looked into.  Chunks come first, since a
 * node counts only with all its chunks.  Everything is taken in as if a peer had sent it, and made durable again: after a kill the files may be
 * in memory only.  But it is read from the medium as far as the kernel takes it for written: that the medium did not take it is told once, to the start whose
 * sync fails, and the next one would find the right bytes in memory and nothing left to sync.
 *
 * While the index itself is made anew, nothing says which packs images rely on: then no file is removed, one that cannot be read ends the start, and nodes
 * are taken in even if chunks are missing, which may come back or be sent again. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

#define THREADS_MAX 16
#define ROWS	    1024

struct id_list {
	struct id *ids;
	size_t len, cap;
};

static int list_add(struct id_list *l, const struct id *id, struct err *err)
{
	if (l->len == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 1024;
		struct id *p = reallocarray(l->ids, cap, sizeof(*p));

		if (!p)
			return err_set(err, -ENOMEM, "out of memory for the list of packs");
		l->ids = p;
		l->cap = cap;
	}
	l->ids[l->len++] = *id;
	return 0;
}

struct recovery {
	struct store *s;
	uint8_t *seen; /* a bit for each pack number in the index */
	struct id_list unlisted, nodes;
	/* the workers */
	const struct id_list *work;
	bool is_second_pass;
	atomic_size_t next;
	pthread_mutex_t lock; /* guards the rest, the store's start and `nodes` */
	struct err failure;
};

static void recovery_done(struct recovery *v)
{
	free(v->seen);
	free(v->unlisted.ids);
	free(v->nodes.ids);
	(void)pthread_mutex_destroy(&v->lock);
}

/* ---- comparing */

static int look_at_pack(void *arg, const struct id *id, struct err *err)
{
	struct recovery *v = arg;
	struct pack_row row;
	int r = objects_pack_by_id(v->s, id, &row, err);

	if (r < 0)
		return r;
	if (row.num == 0)
		return list_add(&v->unlisted, id, err);
	v->seen[row.num / 8] |= (uint8_t)(1u << (row.num % 8));
	return 0;
}

/* Packs that are in the index and not in the folder: take them out. */
static int drop_lost(struct recovery *v, struct db_reader *reader, struct err *err)
{
	CLEANUP_FREE struct pack_row *rows = malloc(ROWS * sizeof(*rows));
	struct store *s = v->s;
	uint32_t from = 1;
	size_t n = ROWS;

	if (!rows)
		return err_set(err, -ENOMEM, "out of memory");
	while (n == ROWS) {
		int r = db_packs_from(reader, from, rows, ROWS, &n, err);

		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			struct err ignored;

			from = rows[i].num + 1;
			if (v->seen[rows[i].num / 8] >> (rows[i].num % 8) & 1)
				continue;
			(void)!pack_lose(s, &rows[i], "it is gone", &ignored);
			s->start.lost++;
		}
	}
	return 0;
}

static int compare(struct recovery *v, struct err *err)
{
	struct db_reader *reader = NULL;
	int r = packs_each(v->s, look_at_pack, v, err);

	if (r == 0)
		r = db_reader_get(&v->s->db, &reader, err);
	if (r < 0)
		return r;
	r = drop_lost(v, reader, err);
	db_reader_put(&v->s->db, reader);
	return r;
}

/* ---- taking in */

static void count(struct recovery *v, uint64_t *counter)
{
	(void)pthread_mutex_lock(&v->lock);
	++*counter;
	(void)pthread_mutex_unlock(&v->lock);
}

static bool is_node_pack(const char *data, size_t size)
{
	return size > 4 && data[4] == PACK_NODES;
}

static int put_off(struct recovery *v, const struct id *id, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&v->lock);
	r = list_add(&v->nodes, id, err);
	(void)pthread_mutex_unlock(&v->lock);
	return r;
}

/* It came after the last checkpoint, so that nobody was told that it is here; unless there is no index to say so. */
static int give_up_unread(struct recovery *v, const char *path, struct err *err)
{
	struct err why = *err;

	if (v->s->is_making_index) {
		return err_set(
			err, -EIO,
			"%.400s; the index cannot be made without it: when its disk does not "
			"give it back, move that file away and start again",
			why.msg);
	}
	count(v, &v->s->start.quarantined);
	return files_quarantine(&v->s->files, path, err);
}

static int read_from_medium(struct store *s, const char *path, char **ret, size_t *ret_size,
			    struct err *err)
{
	CLEANUP_FREE char *data = NULL;
	CLEANUP_CLOSE int fd = -1;
	uint64_t size = 0;
	int r = files_open(&s->files, path, &fd, &size, err);

	if (r < 0)
		return r;
	if (size > PACK_SIZE_MAX)
		return err_set(err, -EFBIG, "'%s' is too large for a pack", path);
	data = malloc(size + 1);
	if (!data)
		return err_set(err, -ENOMEM, "read '%s': out of memory", path);
	files_forget(&s->files, fd, path);
	r = files_read(&s->files, fd, path, data, size, 0, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(data);
	*ret_size = size;
	return 0;
}

static int take_in_one(struct recovery *v, const struct id *id, struct err *err)
{
	CLEANUP_FREE char *data = NULL;
	struct store *s = v->s;
	char path[FILES_PATH_SIZE];
	size_t size = 0;
	int r;

	files_path_pack(path, id);
	r = read_from_medium(s, path, &data, &size, err);
	if (r == -EIO)
		return give_up_unread(v, path, err);
	if (r == 0 && !v->is_second_pass && is_node_pack(data, size))
		return put_off(v, id, err);
	if (r == 0)
		r = put_existing(s, id, data, size, err);
	switch (r) {
	case 0:
		count(v, &s->start.taken_in);
		return 0;
	case -ENODATA:
		count(v, &s->start.dropped);
		return pack_remove_unlisted(s, id, err);
	case -EBADMSG:
	case -EFBIG:
		count(v, &s->start.quarantined);
		return files_quarantine(&s->files, path, err);
	default:
		return r;
	}
}

static void *work(void *arg)
{
	struct recovery *v = arg;
	struct err err = {0};

	for (;;) {
		size_t i = atomic_fetch_add(&v->next, 1);
		bool is_over;
		int r = 0;

		if (i < v->work->len)
			r = take_in_one(v, &v->work->ids[i], &err);
		(void)pthread_mutex_lock(&v->lock);
		if (r < 0 && v->failure.code == 0)
			v->failure = err;
		is_over = i >= v->work->len || v->failure.code < 0;
		(void)pthread_mutex_unlock(&v->lock);
		if (is_over)
			return NULL;
	}
}

/* One pass, with as many threads as there are processors: hashing is what it spends its time on. */
static int take_in(struct recovery *v, const struct id_list *list, struct err *err)
{
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	size_t len = 0, want = cpus < 1 ? 1 : cpus > THREADS_MAX ? THREADS_MAX : (size_t)cpus;

	v->work = list;
	atomic_store(&v->next, 0);
	while (len + 1 < want && len + 1 < list->len &&
	       pthread_create(&threads[len], NULL, work, v) == 0)
		len++;
	(void)work(v);
	for (size_t i = 0; i < len; i++)
		(void)pthread_join(threads[i], NULL);
	if (v->failure.code == 0)
		return 0;
	*err = v->failure;
	return err->code;
}

int recover_packs(struct store *s, struct err *err)
{
	CLEANUP(recovery_done) struct recovery v = {.s = s};
	int r;

	(void)pthread_mutex_init(&v.lock, NULL);
	v.seen = calloc(s->next_pack / 8 + 1, 1);
	r = v.seen ? compare(&v, err)
		   : err_set(err, -ENOMEM, "out of memory for the list of packs");
	if (r == 0)
		r = take_in(&v, &v.unlisted, err);
	v.is_second_pass = true;
	if (r == 0)
		r = take_in(&v, &v.nodes, err);
	if (r == 0)
		r = store_checkpoint(s, err);
	return r < 0 ? err_prefix(err, "look through the packs") : 0;
}
