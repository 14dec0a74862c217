/* checkpoint.c - what was taken in becomes durable: the packs, their folders, one transaction.
 *
 * When a sync fails, nobody knows any more what of the files is on the disk: the kernel has marked the pages clean, and asking again would
 * be answered with success.  So everything that no checkpoint covered is dropped: taken out of the index and removed, to be asked
 * for again.  All of it, not only the failed pack: nodes that came later rely on chunks that came before.  When only
 * the transaction fails, the packs are safe; it is tried again with the next checkpoint. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

/* ---- sync */

static int sync_folders(struct store *s, const bool *touched, struct err *err)
{
	char paths[STORE_FOLDERS][STORE_FOLDER_SIZE];
	const char *folders[STORE_FOLDERS];
	size_t len = 0;

	for (unsigned i = 0; i < STORE_FOLDERS; i++) {
		if (!touched[i])
			continue;
		store_folder_path(paths[i], i);
		folders[len++] = paths[i];
	}
	return len > 0 ? files_sync_all(&s->files, folders, len, err) : 0;
}

/* With write_lock held nobody changes s->previous. */
static int sync_packs(struct store *s, struct err *err)
{
	struct generation *g = &s->previous;
	bool touched[STORE_FOLDERS] = {false};

	/* All at once to the disk, then wait for each. */
	for (size_t i = 0; i < g->packs_len; i++)
		if (!g->packs[i].is_synced)
			(void)sync_file_range(g->packs[i].fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	for (size_t i = 0; i < g->packs_len; i++) {
		char path[FILES_PATH_SIZE];
		int r;

		if (g->packs[i].is_synced)
			continue;
		files_path_pack(path, &g->packs[i].row.id);
		r = files_sync_data(&s->files, g->packs[i].fd, path, err);
		if (r < 0)
			return r;
		touched[g->packs[i].row.id.b[0]] = true;
	}
	return sync_folders(s, touched, err);
}

/* ---- commit */

/* What goes into the transaction. */
struct batch {
	const struct fresh_object **objects;
	const struct pack_row **packs;
	size_t objects_len, packs_len;
	uint32_t *dropped; /* taken from the store */
	size_t dropped_len;
	uint32_t next_pack;
	bool is_suspect;
};

static void batch_done(struct batch *b)
{
	free(b->objects);
	free(b->packs);
	free(b->dropped);
}

static int batch_init(struct store *s, struct batch *b, struct err *err)
{
	const struct generation *g = &s->previous;
	int r;

	*b = (struct batch){0};
	b->objects = calloc(g->len + 1, sizeof(struct fresh_object *));
	b->packs = calloc(g->packs_len + 1, sizeof(struct pack_row *));
	if (!b->objects || !b->packs)
		return err_set(err, -ENOMEM, "make a checkpoint: out of memory");
	(void)pthread_mutex_lock(&s->lock);
	r = generation_reserve(&s->recent, g->len, s->seed,
			       err); /* nothing may fail after the commit */
	for (size_t i = 0; i < g->packs_len; i++)
		if (objects_pack_is_kept(s, g->packs[i].row.num))
			b->packs[b->packs_len++] = &g->packs[i].row;
	for (size_t i = 0; i < g->cap; i++)
		if (objects_pack_is_kept(s, g->table[i].place.pack))
			b->objects[b->objects_len++] = &g->table[i];
	b->dropped = s->dropped;
	b->dropped_len = s->dropped_len;
	s->dropped = NULL;
	s->dropped_len = s->dropped_cap = 0;
	b->next_pack = s->next_pack;
	b->is_suspect = s->is_suspect;
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

static int write_batch(struct store *s, const struct batch *b, struct err *err)
{
	int r = db_begin(&s->db, err);

	for (size_t i = 0; r == 0 && i < b->dropped_len; i++)
		r = db_drop_pack(&s->db, b->dropped[i], err);
	for (size_t i = 0; r == 0 && i < b->packs_len; i++)
		r = db_add_pack(&s->db, b->packs[i], err);
	if (r == 0)
		r = recent_write(s, b->objects, b->objects_len, err);
	if (r == 0)
		r = db_set_meta(&s->db, DB_NEXT_PACK, b->next_pack, err);
	if (r == 0)
		r = db_set_meta(&s->db, DB_SUSPECT, b->is_suspect, err);
	if (r == 0)
		r = files_check(&s->files, FILE_COMMIT, "objects.db", err);
	if (r == 0)
		r = db_commit(&s->db, err);
	if (r < 0)
		db_rollback(&s->db);
	return r;
}

/* The rows that were not dropped wait for the next checkpoint. */
static void give_back_dropped(struct store *s, struct batch *b)
{
	size_t len = s->dropped_len + b->dropped_len;
	uint32_t *p = len > 0 ? reallocarray(s->dropped, len, sizeof(*p)) : NULL;

	if (!p) {
		s->must_compare = s->must_compare || b->dropped_len > 0;
		return;
	}
	for (size_t i = 0; i < b->dropped_len; i++)
		p[s->dropped_len + i] = b->dropped[i];
	s->dropped = p;
	s->dropped_len = s->dropped_cap = len;
}

static int commit(struct store *s, struct err *err)
{
	CLEANUP(batch_done) struct batch b;
	int r = batch_init(s, &b, err);

	if (r == 0)
		r = write_batch(s, &b, err);
	if (r < 0) {
		(void)pthread_mutex_lock(&s->lock);
		give_back_dropped(s, &b);
		(void)pthread_mutex_unlock(&s->lock);
		return r;
	}
	(void)pthread_mutex_lock(&s->lock);
	s->is_suspect_saved = b.is_suspect;
	s->durable++;
	generation_absorb(&s->recent, &s->previous, s->seed);
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

/* ---- failures */

/* Take all that no checkpoint covered out of the index, and remove it. */
static void drop_fresh(struct store *s)
{
	struct generation gone[2];
	struct err ignored;

	(void)pthread_mutex_lock(&s->lock);
	gone[0] = s->previous;
	gone[1] = s->current;
	s->previous = s->current = (struct generation){0};
	for (int g = 0; g < 2; g++) {
		for (size_t i = 0; i < gone[g].packs_len; i++) {
			const struct pack_row *p = &gone[g].packs[i].row;

			if (!objects_pack_is_alive(s, p->num))
				continue;
			objects_clear_alive(s, p->num);
			s->stat.packs--;
			s->stat.objects -= p->count;
			s->stat.bytes -= p->size;
		}
	}
	s->epoch++;
	s->losses++;
	s->drops++;
	(void)pthread_mutex_unlock(&s->lock);
	for (int g = 0; g < 2; g++) {
		/* At a start they are not ours to remove: the next one looks at them again, as it does at what cannot be
		 * removed now. */
		for (size_t i = 0; !s->is_recovering && i < gone[g].packs_len; i++)
			(void)!pack_remove_unlisted(s, &gone[g].packs[i].row.id, &ignored);
		generation_done(&gone[g]);
	}
	s->must_compare = true;
}

/* The packs are durable; their rows wait for the next checkpoint. */
static int keep_fresh(struct store *s)
{
	struct err err;
	int r;

	(void)pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->previous.packs_len; i++)
		s->previous.packs[i].is_synced = true;
	r = generation_merge(&s->previous, &s->current, s->seed, &err);
	if (r == 0) {
		s->current = s->previous;
		s->previous = (struct generation){0};
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

static int make(struct store *s, struct err *err)
{
	bool is_due;
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	is_due = s->current.packs_len > 0 || s->current.len > 0 || s->dropped_len > 0 ||
		 s->is_suspect != s->is_suspect_saved;
	s->previous = s->current;
	s->current = (struct generation){0};
	s->is_due = false;
	(void)pthread_mutex_unlock(&s->lock);
	if (is_due) {
		r = sync_packs(s, err);
		if (r < 0) {
			drop_fresh(s);
		} else {
			r = commit(s, err);
			if (r < 0 && keep_fresh(s) < 0)
				drop_fresh(s);
			else if (r == 0)
				r = recent_merge(s, false, err);
		}
	}
	(void)pthread_cond_broadcast(&s->room);
	return r;
}

int store_checkpoint(struct store *s, struct err *err)
{
	struct err second = {0};
	int r, r2;

	(void)pthread_mutex_lock(&s->write_lock);
	r = make(s, err);
	r2 = partials_sync(s, &second);
	(void)pthread_mutex_unlock(&s->write_lock);
	if (r == 0 && r2 < 0) {
		*err = second;
		r = r2;
	}
	return r < 0 ? err_prefix(err, "checkpoint") : 0;
}

int checkpoint_late(struct store *s, struct err *err)
{
	bool has_late;

	(void)pthread_mutex_lock(&s->lock);
	has_late = s->current.has_late || s->previous.has_late;
	(void)pthread_mutex_unlock(&s->lock);
	return has_late ? store_checkpoint(s, err) : 0;
}

void store_count_checkpoints(struct store *s, uint64_t *ret_durable, uint64_t *ret_dropped)
{
	(void)pthread_mutex_lock(&s->lock);
	*ret_durable = s->durable;
	*ret_dropped = s->drops;
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- the thread */

void checkpoint_notice(struct store *s)
{
	if (s->current.packs_len >= s->options.packs_max && !s->is_due) {
		s->is_due = true;
		(void)pthread_cond_signal(&s->wake);
	}
}

static void wait_until_due(struct store *s)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += s->options.interval_ms / 1000;
	end.tv_nsec += (long)(s->options.interval_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	while (!s->is_due && !s->is_stopping)
		if (pthread_cond_timedwait(&s->wake, &s->lock, &end) == ETIMEDOUT)
			return;
}

static void *checkpoint_thread(void *arg)
{
	struct store *s = arg;
	struct err err;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->is_stopping) {
		wait_until_due(s);
		if (s->is_stopping)
			break;
		(void)pthread_mutex_unlock(&s->lock);
		err = (struct err){0};
		(void)!store_checkpoint(s, &err); /* told by checkpoint_make_room */
		(void)pthread_mutex_lock(&s->lock);
		if (err.code < 0)
			s->failure = err;
		(void)pthread_cond_broadcast(&s->room);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

int checkpoint_start(struct store *s, struct err *err)
{
	int r;

	if (s->options.no_thread)
		return 0;
	r = pthread_create(&s->thread, NULL, checkpoint_thread, s);
	if (r != 0)
		return err_set(err, -r, "start the checkpoint thread: %s", strerrordesc_np(r));
	s->has_thread = true;
	return 0;
}

void checkpoint_stop(struct store *s)
{
	if (!s->has_thread)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->is_stopping = true;
	(void)pthread_cond_broadcast(&s->wake);
	(void)pthread_cond_broadcast(&s->room);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->thread, NULL);
	s->has_thread = false;
}

int checkpoint_make_room(struct store *s, struct err *err)
{
	size_t max = 2 * (size_t)s->options.packs_max;
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	while (s->has_thread && !s->is_stopping && s->failure.code == 0 &&
	       s->current.packs_len >= max)
		(void)pthread_cond_wait(&s->room, &s->lock);
	if (s->failure.code < 0) {
		*err = s->failure;
		s->failure = (struct err){0};
		r = err->code;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}
