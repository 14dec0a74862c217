/* verify.c - is an image still what it was?
 *
 * First the nodes, in disk order; each marks its chunks.  Then every pack with a marked chunk is read and hashed whole.  What
 * turns out damaged goes into quarantine at that moment.  If anything did, a second walk over the nodes tells which parts of the disk
 * are affected, and it is looked whether packs that the object index does not know have it.  Packs and index come from the medium, past the page cache.  Nodes that lost a chunk stay in the index, but the store, suspicious now, does not say that
 * they are there (objects_find_nodes). */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"
#include "server/store/marks.h"
#include "server/store/upkeep.h"

#define LINES_MAX 1000u /* of the report; the rest is counted */

struct verifying {
	struct store *s;
	struct progress progress;
	struct marks marks;
	struct node *node;
	struct id *chunks; /* NODE_ENTRIES_MAX of these and the next */
	struct place *places;
	bool is_damaged;
	struct id *lost; /* objects, with repetitions */
	size_t lost_len, lost_cap;
	char *text; /* of the report */
	size_t text_size;
	FILE *report;
	uint64_t lines;
};

static void verifying_done(struct verifying *v)
{
	marks_done(&v->marks);
	free(v->node);
	free(v->chunks);
	free(v->places);
	free(v->lost);
	if (v->report)
		(void)fclose(v->report); /* memory */
	free(v->text);
}

static int verifying_init(struct verifying *v, struct err *err)
{
	v->node = malloc(sizeof(*v->node));
	v->chunks = calloc(NODE_ENTRIES_MAX, sizeof(*v->chunks));
	v->places = calloc(UPKEEP_BATCH, sizeof(*v->places));
	v->report = open_memstream(&v->text, &v->text_size);
	if (!v->node || !v->chunks || !v->places || !v->report)
		return err_set(err, -ENOMEM, "verify: out of memory");
	return marks_init(&v->marks, v->s, err);
}

__attribute__((format(printf, 2, 3))) static void report(struct verifying *v, const char *fmt, ...)
{
	va_list ap;

	if (v->lines++ >= LINES_MAX)
		return;
	va_start(ap, fmt);
	(void)vfprintf(v->report, fmt, ap); /* a lack of memory shows at the end */
	va_end(ap);
	(void)fputc('\n', v->report);
}

static int lose(struct verifying *v, const struct id *id, struct err *err)
{
	if (v->lost_len == v->lost_cap) {
		size_t cap = v->lost_cap ? v->lost_cap * 2 : 64;
		struct id *p = reallocarray(v->lost, cap, sizeof(*p));

		if (!p)
			return err_set(err, -ENOMEM, "verify: out of memory");
		v->lost = p;
		v->lost_cap = cap;
	}
	v->lost[v->lost_len++] = *id;
	return 0;
}

/* Is this what damage looks like (and not a failure of ours)?  Then note it and go on. */
static int note_damage(struct verifying *v, int r, const struct err *err)
{
	if (r != -EBADMSG && r != -EIO && r != -EAGAIN)
		return r;
	v->is_damaged = true;
	if (r != -EAGAIN) /* somebody else found it and put it away */
		report(v, "%s", err->msg);
	return 0;
}

/* ---- first walk */

static size_t chunks_of(const struct node *n, struct id *ret)
{
	size_t len = 0;

	for (uint32_t i = 0; i < n->count; i++)
		if (n->entries[i].is_chunk)
			ret[len++] = n->entries[i].id;
	return len;
}

static int mark_chunks(struct verifying *v, struct err *err)
{
	CLEANUP_FREE struct place *places = calloc(NODE_ENTRIES_MAX, sizeof(*places));
	size_t len = chunks_of(v->node, v->chunks);
	bool lost = false;
	int r;

	if (!places)
		return err_set(err, -ENOMEM, "verify: out of memory");
	r = objects_find(v->s, PACK_CHUNKS, v->chunks, len, places, err);
	for (size_t i = 0; r == 0 && i < len; i++) {
		if (places[i].pack == 0)
			lost = v->is_damaged = true;
		else if (marks_covers(&v->marks, &places[i]))
			(void)marks_add(&v->marks, &places[i]);
		/* else it came after we began, and was hashed then */
	}
	if (lost) { /* the node is no longer said to be there, so that it comes again with its chunks */
		(void)pthread_mutex_lock(&v->s->lock);
		objects_note_loss(v->s);
		(void)pthread_mutex_unlock(&v->s->lock);
	}
	return r;
}

static int look_at_nodes(void *arg, uint64_t first, const struct id *ids, size_t len,
			 struct err *err)
{
	struct verifying *v = arg;
	int r = objects_find(v->s, PACK_NODES, ids, len, v->places, err);

	(void)first;
	for (size_t i = 0; r == 0 && i < len; i++) {
		const struct place *p = &v->places[i];

		if (p->pack == 0) {
			v->is_damaged = true;
			continue;
		}
		if (marks_covers(&v->marks, p) && !marks_add(&v->marks, p))
			continue; /* windows that are alike share a node */
		r = node_load(v->s, &ids[i], p, v->node, err);
		r = r == 0 ? mark_chunks(v, err) : note_damage(v, r, err);
		if (r == 0)
			r = progress_add(&v->progress, 0, err);
	}
	return r;
}

/* ---- packs */

/* Does the index lead to where the pack has its objects? */
static int check_places(struct verifying *v, const struct loaded *l, struct err *err)
{
	CLEANUP_FREE struct id *ids = calloc(l->pack.count, sizeof(*ids));
	CLEANUP_FREE struct place *places = calloc(l->pack.count, sizeof(*places));
	char path[FILES_PATH_SIZE];
	int r;

	if (!ids || !places)
		return err_set(err, -ENOMEM, "verify: out of memory");
	for (uint32_t i = 0; i < l->pack.count; i++)
		ids[i] = l->pack.entries[i].id;
	r = objects_find(v->s, l->pack.kind, ids, l->pack.count, places, err);
	files_path_pack(path, &l->row.id);
	for (uint32_t i = 0; r == 0 && i < l->pack.count; i++) {
		if (!marks_has(&v->marks, l->row.num, i) || places[i].pack > l->row.num)
			continue; /* (or sent again since) */
		if (places[i].pack == 0) {
			v->is_damaged = true; /* somebody else found it damaged just now */
			continue;
		}
		if (places[i].pack != l->row.num || places[i].slot != i ||
		    places[i].length != l->pack.entries[i].length) {
			return err_set(err, -EUCLEAN,
				       "the object index is damaged: it does not go with '%s'; "
				       "start with --rebuild-index",
				       path);
		}
	}
	return r;
}

static int check_pack(struct verifying *v, uint32_t num, struct err *err)
{
	struct loaded *l = NULL;
	int r = pack_load(v->s, num, LOAD_ALL, &l, err);

	if (r == 0)
		r = check_places(v, l, err);
	loaded_free(l);
	r = note_damage(v, r, err);
	return r < 0 ? r : progress_add(&v->progress, v->marks.sizes[num], err);
}

static int check_packs(struct verifying *v, struct err *err)
{
	const struct marks *m = &v->marks;
	int r = 0;

	for (uint32_t i = 0; i < m->len; i++)
		v->progress.total += m->bytes[i] > 0 ? m->sizes[i] : 0;
	for (uint32_t i = 0; r == 0 && i < m->len; i++)
		if (m->bytes[i] > 0)
			r = check_pack(v, i, err);
	return r;
}

/* ---- second walk */

static int report_chunks(struct verifying *v, uint64_t start, struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < v->node->count; i++) {
		const struct node_entry *e = &v->node->entries[i];
		struct place place = {0};
		char text[ID_TEXT_SIZE];

		if (!e->is_chunk)
			continue;
		r = objects_find(v->s, PACK_CHUNKS, &e->id, 1, &place, err);
		if (r < 0 || (place.pack != 0 && place.length == e->length))
			continue;
		id_to_text(&e->id, text);
		report(v, "the disk's bytes %" PRIu64 " to %" PRIu64 ": chunk %s is lost",
		       start + e->offset, start + e->offset + e->length - 1, text);
		r = lose(v, &e->id, err);
	}
	return r;
}

static int report_node(struct verifying *v, uint64_t window, const struct id *id,
		       const struct place *p, struct err *err)
{
	uint64_t start = window * WINDOW_SIZE;
	char text[ID_TEXT_SIZE];
	int r = p->pack == 0 ? -ENOENT : node_load(v->s, id, p, v->node, err);

	if (r == 0)
		return report_chunks(v, start, err);
	if (r != -ENOENT && r != -EBADMSG && r != -EIO && r != -EAGAIN)
		return r;
	id_to_text(id, text);
	report(v, "the disk's bytes %" PRIu64 " to %" PRIu64 ": node %s is lost", start,
	       start + WINDOW_SIZE - 1, text);
	return lose(v, id, err);
}

static int report_nodes(void *arg, uint64_t first, const struct id *ids, size_t len,
			struct err *err)
{
	struct verifying *v = arg;
	int r = objects_find(v->s, PACK_NODES, ids, len, v->places, err);

	for (size_t i = 0; r == 0 && i < len; i++) {
		r = report_node(v, first + i, &ids[i], &v->places[i], err);
		if (r == 0)
			r = progress_add(&v->progress, 0, err);
	}
	return r;
}

static int id_compare(const void *a, const void *b)
{
	return memcmp(a, b, ID_SIZE);
}

static void sort_lost(struct verifying *v)
{
	if (v->lost_len > 0)
		qsort(v->lost, v->lost_len, sizeof(*v->lost), id_compare);
}

static uint64_t count_lost(struct verifying *v)
{
	uint64_t n = 0;

	sort_lost(v);
	for (size_t i = 0; i < v->lost_len; i++)
		n += i == 0 || !id_equal(&v->lost[i - 1], &v->lost[i]);
	return n;
}

/* ---- is it the index that has lost it? */

static bool has_lost(const struct verifying *v, const struct id *id, const void *data, size_t size)
{
	struct id got = id_of(data, size);
	struct pack pack = {0};
	struct err ignored;
	bool found = false;

	if (!id_equal(&got, id) || pack_decode(data, size, &pack, &ignored) < 0)
		return false;
	for (uint32_t i = 0; i < pack.count && !found; i++)
		found = bsearch(&pack.entries[i].id, v->lost, v->lost_len, ID_SIZE, id_compare);
	pack_done(&pack);
	return found;
}

static int look_into_unlisted(void *arg, const struct id *id, struct err *err)
{
	struct verifying *v = arg;
	pthread_mutex_t *folder_lock = &v->s->folder_locks[id->b[0]];
	CLEANUP_FREE char *data = NULL;
	char path[FILES_PATH_SIZE];
	struct pack_row row;
	struct err ignored;
	size_t size;
	int r = progress_add(&v->progress, 0, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(folder_lock); /* not one that is just coming */
	r = objects_pack_kept(v->s, 0, id, &row, err);
	(void)pthread_mutex_unlock(folder_lock);
	if (r < 0 || row.num != 0)
		return r;
	files_path_pack(path, id);
	if (files_get(&v->s->files, path, PACK_SIZE_MAX, &data, &size, &ignored) < 0 ||
	    !has_lost(v, id, data, size))
		return 0;
	return err_set(err, -EUCLEAN,
		       "the object index is damaged: '%s', which is whole and has something that "
		       "seems lost, is not in it; start with --rebuild-index",
		       path);
}

/* ---- the whole */

static int walk(struct verifying *v, const struct id *root, struct err *err)
{
	int r;

	index_file_forget(v->s, root);
	r = upkeep_each_node(v->s, root, look_at_nodes, v, err);
	if (r == -ENOENT || r == -EBADMSG) { /* of the index: nothing more can be said */
		report(v, "%s", err->msg);
		return lose(v, root, err);
	}
	if (r == 0)
		r = check_packs(v, err);
	if (r == 0 && v->is_damaged)
		r = upkeep_each_node(v->s, root, report_nodes, v, err);
	if (r == 0 && v->lost_len > 0) {
		sort_lost(v);
		r = packs_each(v->s, look_into_unlisted, v, err);
	}
	return r;
}

static int finish(struct verifying *v, uint64_t *ret_damaged, char **ret_damage, struct err *err)
{
	int bad;

	if (v->lines > LINES_MAX)
		(void)fprintf(v->report, "and %" PRIu64 " lines more\n", v->lines - LINES_MAX);
	bad = ferror(v->report);
	bad = fclose(v->report) != 0 || bad;
	v->report = NULL;
	if (bad)
		return err_set(err, -ENOMEM, "verify: out of memory");
	*ret_damaged = count_lost(v);
	*ret_damage = v->lines > 0 ? TAKE_PTR(v->text) : NULL;
	return 0;
}

int store_verify(struct store *s, const struct id *root, store_progress_fn fn, void *arg,
		 uint64_t *ret_damaged, char **ret_damage, struct err *err)
{
	CLEANUP(verifying_done) struct verifying v = {.s = s, .progress = {.fn = fn, .arg = arg}};
	struct err ignored;
	int r = upkeep_begin(s, &v.progress, err);

	if (r < 0)
		return r;
	(void)!unreadable_retry(s, &ignored); /* what cannot be read is damage here */
	r = store_checkpoint(s, err);
	if (r == 0)
		r = verifying_init(&v, err);
	if (r == 0) {
		cache_clear(s); /* memory is not what is in question */
		r = walk(&v, root, err);
	}
	if (r == 0)
		r = store_checkpoint(s, err); /* the losses */
	upkeep_end(s);
	return r < 0 ? r : finish(&v, ret_damaged, ret_damage, err);
}
