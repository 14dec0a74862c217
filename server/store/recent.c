/* recent.c - objects that checkpoints covered, but that are not in the tables of objects.db yet.
 *
 * Ids are evenly spread: in a large table each new object has a page to itself, so that entering a few thousand every few seconds writes
 * more pages than there are bytes in packs.  Objects are therefore written one after the other first (and kept in memory),
 * and merged into the tables by the hundred thousand, in the order of their ids. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "server/store/internal.h"

#define RECENT_MAX  (1u << 18)			  /* objects before they are merged */
#define RECORD_SIZE (1u + ID_SIZE + 5u * 4u + 2u) /* kind, id, place, sum */
#define BLOB_LEN    8192u			  /* objects in a row */
#define MERGE_LEN   32768u /* objects in a transaction: a range of ids, so that the WAL stays small */

static void write_record(struct writer *w, const struct fresh_object *o)
{
	writer_u8(w, (uint8_t)o->kind);
	writer_bytes(w, o->id.b, ID_SIZE);
	writer_u32(w, o->place.pack);
	writer_u32(w, o->place.slot);
	writer_u32(w, o->place.length);
	writer_u32(w, o->place.window);
	writer_u32(w, o->place.data);
	writer_u16(w, db_place_sum(o->kind, &o->id, &o->place));
}

/* False: the blob has no more.  *ret_bad: the record is damaged, and not to be used. */
static bool read_record(struct reader *r, struct fresh_object *ret, bool *ret_bad)
{
	const uint8_t *id;
	uint16_t sum;

	ret->kind = reader_u8(r) == PACK_NODES ? PACK_NODES : PACK_CHUNKS;
	id = reader_bytes(r, ID_SIZE);
	ret->place.pack = reader_u32(r);
	ret->place.slot = reader_u32(r);
	ret->place.length = reader_u32(r);
	ret->place.window = reader_u32(r);
	ret->place.data = reader_u32(r);
	sum = reader_u16(r);
	if (r->bad)
		return false;
	memcpy(ret->id.b, id, ID_SIZE);
	*ret_bad = sum != db_place_sum(ret->kind, &ret->id, &ret->place);
	return true;
}

int recent_write(struct store *s, const struct fresh_object *const *objects, size_t len,
		 struct err *err)
{
	CLEANUP_FREE uint8_t *buf = malloc((size_t)BLOB_LEN * RECORD_SIZE);
	int r = buf ? 0 : err_set(err, -ENOMEM, "make a checkpoint: out of memory");

	for (size_t i = 0; r == 0 && i < len;) {
		struct writer w;

		writer_init(&w, buf, (size_t)BLOB_LEN * RECORD_SIZE);
		for (size_t n = 0; n < BLOB_LEN && i < len; n++)
			write_record(&w, objects[i++]);
		r = db_add_recent(&s->db, buf, w.size, err);
	}
	return r;
}

static int load_blob(void *arg, const void *data, size_t size, struct err *err)
{
	struct store *s = arg;
	struct fresh_object o;
	struct reader reader;
	bool is_bad, is_any_bad = size % RECORD_SIZE != 0;
	int r = 0;

	reader_init(&reader, data, size);
	(void)pthread_mutex_lock(&s->lock);
	r = generation_reserve(&s->recent, size / RECORD_SIZE, s->seed, err);
	while (r == 0 && read_record(&reader, &o, &is_bad)) {
		if (is_bad) {
			is_any_bad = true;
		} else if (objects_pack_is_alive(s, o.place.pack)) {
			generation_add(&s->recent, s->seed, &o);
		}
	}
	if (is_any_bad) {
		s->is_index_bad = true;
		objects_note_loss(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

int recent_load(struct store *s, struct err *err)
{
	return db_each_recent(&s->db, load_blob, s, err);
}

/* ---- merging */

static int object_compare(const void *a, const void *b)
{
	return memcmp((*(const struct fresh_object *const *)a)->id.b,
		      (*(const struct fresh_object *const *)b)->id.b, ID_SIZE);
}

static int merge_range(struct store *s, const struct fresh_object *const *objects, size_t len,
		       bool is_last, struct err *err)
{
	int r = db_begin(&s->db, err);

	for (size_t i = 0; r == 0 && i < len; i++)
		r = db_add_object(&s->db, objects[i]->kind, &objects[i]->id, &objects[i]->place,
				  err);
	if (r == 0 && is_last)
		r = db_clear_recent(&s->db, err);
	if (r == 0)
		r = files_check(&s->files, FILE_COMMIT, "objects.db", err);
	if (r == 0)
		r = db_commit(&s->db, err);
	if (r < 0)
		db_rollback(&s->db);
	return r;
}

/* Those that count, sorted.  The table does not change while write_lock is held. */
static size_t collect(struct store *s, const struct fresh_object **ret)
{
	size_t n = 0;

	(void)pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->recent.cap; i++)
		if (objects_pack_is_kept(s, s->recent.table[i].place.pack))
			ret[n++] = &s->recent.table[i];
	(void)pthread_mutex_unlock(&s->lock);
	if (n > 0)
		qsort(ret, n, sizeof(*ret), object_compare);
	return n;
}

int recent_merge(struct store *s, bool all, struct err *err)
{
	size_t max = s->options.recent_max ? s->options.recent_max : RECENT_MAX;
	CLEANUP_FREE const struct fresh_object **objects = NULL;
	size_t len, done = 0;
	int r = 0;

	if (s->recent.len == 0 || (!all && s->recent.len < max))
		return 0;
	objects = calloc(s->recent.len, sizeof(struct fresh_object *));
	if (!objects)
		return err_set(err, -ENOMEM, "merge the object index: out of memory");
	len = collect(s, objects);
	do {
		size_t n = len - done < MERGE_LEN ? len - done : MERGE_LEN;

		r = merge_range(s, objects + done, n, done + n == len, err);
		done += n;
	} while (r == 0 && done < len);
	if (r < 0)
		return err_prefix(err, "merge the object index");
	(void)pthread_mutex_lock(&s->lock);
	generation_done(&s->recent);
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}
