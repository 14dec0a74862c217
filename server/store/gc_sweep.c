/* gc_sweep.c - the removing half of store_gc; the order is explained in gc.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/gc.h"
#include "server/store/internal.h"

#define REMOVE_BATCH 1024u /* packs between two checkpoints */

/* ---- rows */

/* With the store's lock: shall this row go? */
static bool is_stale(const struct gc *g, enum pack_kind kind, const struct db_object *o)
{
	const struct marks *m = &g->collector.marks;
	const struct place p = {.pack = o->pack, .slot = o->slot};

	if (kind == PACK_NODES && marks_covers(m, &p))
		return !marks_has(m, p.pack, p.slot);
	/* Packs that could not be read are not alive either, but may be again. */
	return !objects_pack_is_alive(g->s, o->pack) && g->s->unreadable == 0;
}

/* With write_lock held. */
static int drop_rows(struct gc *g, enum pack_kind kind, const struct db_object *rows, size_t len,
		     struct err *err)
{
	struct db *db = &g->s->db;
	int r = db_begin(db, err);

	for (size_t i = 0; r == 0 && i < len; i++)
		r = db_drop_object(db, kind, &rows[i].id, rows[i].pack, err);
	if (r == 0)
		r = files_check(&g->s->files, FILE_COMMIT, "objects.db", err);
	if (r == 0)
		r = db_commit(db, err);
	if (r < 0)
		db_rollback(db);
	return r;
}

/* With write_lock held, so that no checkpoint enters a row anew between the look at it and its end. */
static int sweep_batch(struct gc *g, enum pack_kind kind, struct db_object *rows, size_t len,
		       uint64_t *ret_dropped, struct err *err)
{
	size_t stale = 0;

	(void)pthread_mutex_lock(&g->s->lock);
	for (size_t i = 0; i < len; i++)
		if (is_stale(g, kind, &rows[i]))
			rows[stale++] = rows[i];
	(void)pthread_mutex_unlock(&g->s->lock);
	*ret_dropped += stale;
	return stale > 0 ? drop_rows(g, kind, rows, stale, err) : 0;
}

static int read_rows(struct gc *g, enum pack_kind kind, const struct id *after,
		     struct db_object *rows, size_t *ret_len, struct err *err)
{
	struct db_reader *reader;
	int r = db_reader_get(&g->s->db, &reader, err);

	if (r < 0)
		return r;
	r = db_objects_from(reader, kind, after, rows, UPKEEP_BATCH, ret_len, err);
	db_reader_put(&g->s->db, reader);
	return r;
}

static int sweep_rows(struct gc *g, enum pack_kind kind, uint64_t *ret_dropped, struct err *err)
{
	CLEANUP_FREE struct db_object *rows = calloc(UPKEEP_BATCH, sizeof(*rows));
	struct id after = {{0}};
	size_t n = UPKEEP_BATCH;
	int r = 0;

	if (!rows)
		return err_set(err, -ENOMEM, "out of memory");
	while (r == 0 && n == UPKEEP_BATCH) {
		r = read_rows(g, kind, &after, rows, &n, err);
		if (r < 0 || n == 0)
			break;
		after = rows[n - 1].id;
		(void)pthread_mutex_lock(&g->s->write_lock);
		r = sweep_batch(g, kind, rows, n, ret_dropped, err);
		(void)pthread_mutex_unlock(&g->s->write_lock);
		if (r == 0)
			r = progress_add(&g->progress, 0, err);
	}
	return r;
}

/* ---- packs */

/* The rows of those that are to go, after they were taken out of the index in memory. */
static int take_out(struct gc *g, const struct gc_doomed *doomed, size_t len,
		    struct pack_row *ret_rows, size_t *ret_len, struct err *err)
{
	struct store *s = g->s;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		struct pack_row row;
		int r = objects_pack(s, doomed[i].num, &row, err);

		if (r < 0)
			return r;
		if (row.num != 0)
			ret_rows[n++] = row;
	}
	*ret_len = 0;
	(void)pthread_mutex_lock(&s->lock);
	for (size_t i = 0, j = 0; j < n; i++) {
		const struct pack_row *row = &ret_rows[j];

		if (doomed[i].num != row->num)
			continue;
		j++;
		if (!objects_pack_is_alive(s, row->num) ||
		    g->collector.marks.bytes[row->num] != doomed[i].bytes)
			continue;
		objects_clear_alive(s, row->num);
		objects_drop_pack(s, row);
		if (row->kind == PACK_CHUNKS) /* nodes were counted with their rows */
			g->result.objects_removed += row->count - doomed[i].kept;
		ret_rows[(*ret_len)++] = *row;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

int gc_remove_packs(struct gc *g, const struct gc_doomed *doomed, size_t len, uint64_t *ret_removed,
		    struct err *err)
{
	CLEANUP_FREE struct pack_row *rows = calloc(len + 1, sizeof(*rows));
	size_t n = 0;
	int r;

	if (!rows)
		return err_set(err, -ENOMEM, "out of memory");
	r = take_out(g, doomed, len, rows, &n, err);
	if (r == 0)
		r = store_checkpoint(g->s, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = pack_remove_unlisted(g->s, &rows[i].id, err);
		g->result.bytes_freed += rows[i].size;
	}
	*ret_removed += n;
	if (r < 0) { /* files that nobody knows of: the next start does, and the next gc then */
		(void)pthread_mutex_lock(&g->s->lock);
		g->s->must_compare = true;
		(void)pthread_mutex_unlock(&g->s->lock);
	}
	return r;
}

static int remove_unused(struct gc *g, struct err *err)
{
	const struct marks *m = &g->collector.marks;
	CLEANUP_FREE struct gc_doomed *doomed = calloc(REMOVE_BATCH, sizeof(*doomed));
	size_t n = 0;
	int r = 0;

	if (!doomed)
		return err_set(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; r == 0 && i < m->len; i++) {
		uint32_t bytes;

		if (m->kinds[i] == 0)
			continue;
		(void)pthread_mutex_lock(&g->s->lock);
		bytes = m->bytes[i];
		(void)pthread_mutex_unlock(&g->s->lock);
		if (bytes == 0) {
			doomed[n++] = (struct gc_doomed){.num = i};
		}
		if (n == REMOVE_BATCH) {
			r = gc_remove_packs(g, doomed, n, &g->result.packs_removed, err);
			n = 0;
		}
		if (r == 0)
			r = progress_add(&g->progress, m->kinds[i] == PACK_CHUNKS ? m->sizes[i] : 0,
					 err);
	}
	return r < 0 || n == 0 ? r : gc_remove_packs(g, doomed, n, &g->result.packs_removed, err);
}

/* ---- indexes */

static bool is_in_use(struct gc *g, const struct id *root)
{
	bool found = false;

	for (size_t i = 0; i < g->roots_len && !found; i++)
		found = id_equal(&g->roots[i].id, root);
	(void)pthread_mutex_lock(&g->s->lock);
	for (const struct sealed *x = g->s->sealed; x && !found; x = x->next)
		found = id_equal(&x->root, root);
	(void)pthread_mutex_unlock(&g->s->lock);
	return found;
}

static void close_folder(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* With the folder lock of its root, as it comes into place: one that is sealed between the look and the removal would be gone. */
static int remove_index(struct gc *g, const struct id *root, struct err *err)
{
	pthread_mutex_t *folder_lock = &g->s->folder_locks[root->b[0]];
	char path[FILES_PATH_SIZE];
	int r = 0;

	files_path_index(path, root);
	(void)pthread_mutex_lock(folder_lock);
	if (!is_in_use(g, root))
		r = files_remove(&g->s->files, path, err);
	(void)pthread_mutex_unlock(folder_lock);
	return r;
}

static int remove_indexes(struct gc *g, struct err *err)
{
	CLEANUP(close_folder) DIR *d = NULL;
	int fd = openat(g->s->files.fd, "indexes", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	int r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return err_set(err, -errno, "open folder 'indexes': %s", strerrordesc_np(errno));
	errno = 0;
	while (r == 0 && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		struct id root;

		if (id_from_text(e->d_name, &root))
			r = remove_index(g, &root, err);
		errno = 0;
	}
	if (r == 0 && errno != 0)
		return err_set(err, -errno, "read folder 'indexes': %s", strerrordesc_np(errno));
	return r;
}

/* ---- the whole */

/* All nodes that are left were looked at, and have their chunks.  These may have come since the last checkpoint, so
 * that one first. */
static int lift_suspicion(struct gc *g, struct err *err)
{
	struct store *s = g->s;
	int r = store_checkpoint(s, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&s->lock);
	if (s->losses == g->losses)
		s->is_suspect = false;
	(void)pthread_mutex_unlock(&s->lock);
	return store_checkpoint(s, err);
}

static int check_damaged(const struct gc *g, struct err *err)
{
	char more[48] = "";

	if (g->damaged_len == 0)
		return 0;
	if (g->damaged_len > 1)
		(void)snprintf(more, sizeof(more), " (and %" PRIu64 " packs more)",
			       g->damaged_len - 1);
	return err_set(err, g->damaged.code,
		       "what nobody needs was removed, but of what is in use %.300s%s; verify the "
		       "images, which says what of them is lost",
		       g->damaged.msg, more);
}

int gc_sweep(struct gc *g, struct err *err)
{
	uint64_t rows = 0;
	int r = sweep_rows(g, PACK_NODES, &g->result.objects_removed, err);

	if (r == 0)
		r = remove_unused(g, err);
	if (r == 0)
		r = gc_rewrite(g, err);
	if (r == 0 && g->result.packs_removed + g->result.packs_rewritten > 0)
		r = sweep_rows(g, PACK_CHUNKS, &rows, err);
	if (r == 0)
		r = remove_indexes(g, err);
	if (r == 0)
		r = lift_suspicion(g, err);
	return r < 0 ? r : check_damaged(g, err);
}
