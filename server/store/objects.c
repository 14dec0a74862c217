/* objects.c - where is an object? */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/collector.h"
#include "server/store/internal.h"

#define ALIVE_STEP   (1u << 16) /* packs by which the bitmap grows */
#define RETRIES	     8
#define PACK_NUM_MAX (UINT32_MAX - 1)

bool objects_pack_is_alive(const struct store *s, uint32_t num)
{
	return num < s->alive_cap && (s->alive[num / 8] >> (num % 8) & 1);
}

static int grow_bits(uint8_t **bits, uint32_t old_cap, uint32_t cap, struct err *err)
{
	uint8_t *p = realloc(*bits, cap / 8);

	if (!p)
		return err_set(err, -ENOMEM, "out of memory for the list of packs");
	memset(p + old_cap / 8, 0, (cap - old_cap) / 8);
	*bits = p;
	return 0;
}

int objects_set_alive(struct store *s, uint32_t num, struct err *err)
{
	if (num >= PACK_NUM_MAX)
		return err_set(err, -ENOSPC, "the store has used up its pack numbers");
	if (num >= s->alive_cap) {
		uint32_t cap = num - num % ALIVE_STEP + ALIVE_STEP;
		int r = grow_bits(&s->alive, s->alive_cap, cap, err);

		if (r == 0)
			r = grow_bits(&s->unreadable_bits, s->alive_cap, cap, err);
		if (r < 0)
			return r;
		s->alive_cap = cap;
	}
	s->alive[num / 8] |= (uint8_t)(1u << (num % 8));
	return 0;
}

void objects_clear_alive(struct store *s, uint32_t num)
{
	if (objects_pack_is_alive(s, num))
		s->alive[num / 8] &= (uint8_t) ~(1u << (num % 8));
	s->epoch++;
}

void objects_drop_pack(struct store *s, const struct pack_row *row)
{
	s->stat.packs--;
	s->stat.objects -= row->count;
	s->stat.bytes -= row->size;
	if (s->dropped_len == s->dropped_cap) {
		size_t cap = s->dropped_cap ? s->dropped_cap * 2 : 256;
		uint32_t *p = reallocarray(s->dropped, cap, sizeof(*p));

		if (!p) {
			s->must_compare = true; /* the row stays behind: the next start finds out */
			return;
		}
		s->dropped = p;
		s->dropped_cap = cap;
	}
	s->dropped[s->dropped_len++] = row->num;
}

void objects_note_loss(struct store *s)
{
	s->losses++;
	s->is_suspect = true;
}

uint64_t objects_epoch(struct store *s)
{
	uint64_t epoch;

	(void)pthread_mutex_lock(&s->lock);
	epoch = s->epoch;
	(void)pthread_mutex_unlock(&s->lock);
	return epoch;
}

static const struct fresh_object *find_fresh(const struct store *s, enum pack_kind kind,
					     const struct id *id)
{
	const struct fresh_object *o = generation_find(&s->current, s->seed, kind, id);

	if (!o)
		o = generation_find(&s->previous, s->seed, kind, id);
	return o ? o : generation_find(&s->recent, s->seed, kind, id);
}

/* The one before is the same: empty windows are alike. */
static bool is_repeated(const struct id *ids, size_t i)
{
	return i > 0 && id_equal(&ids[i], &ids[i - 1]);
}

/* What is in memory; returns how many are not. */
static size_t find_in_memory(struct store *s, enum pack_kind kind, const struct id *ids, size_t len,
			     struct place *ret)
{
	size_t missing = 0;

	for (size_t i = 0; i < len; i++) {
		const struct fresh_object *o = NULL;

		if (is_repeated(ids, i)) {
			ret[i] = ret[i - 1];
		} else {
			o = find_fresh(s, kind, &ids[i]);
			ret[i] = o ? o->place : (struct place){0};
		}
		missing += ret[i].pack == 0;
	}
	return missing;
}

static int find_in_db(struct store *s, enum pack_kind kind, const struct id *ids, size_t len,
		      struct place *ret, struct err *err)
{
	struct db_reader *reader;
	bool is_bad = false;
	int r = files_check(&s->files, FILE_LOOK_UP, "objects.db", err);

	if (r < 0)
		return r;
	r = db_reader_get(&s->db, &reader, err);
	if (r < 0)
		return r;
	r = db_reader_begin(reader, err);
	for (size_t i = 0; r >= 0 && i < len; i++) {
		if (ret[i].pack == 0 && is_repeated(ids, i))
			ret[i] = ret[i - 1];
		else if (ret[i].pack == 0)
			r = db_find(reader, kind, &ids[i], &ret[i], err);
		is_bad = is_bad || r > 0;
	}
	db_reader_end(reader);
	db_reader_put(&s->db, reader);
	if (is_bad) {
		(void)pthread_mutex_lock(&s->lock);
		s->bad_rows++;
		objects_note_loss(s);
		(void)pthread_mutex_unlock(&s->lock);
	}
	return r < 0 ? r : 0;
}

/* Take back what is in a pack that is gone; returns how many are not there.  What stays is safe from store_gc. */
static size_t settle(struct store *s, enum pack_kind kind, size_t len, struct place *ret)
{
	size_t lacking = 0;

	for (size_t i = 0; i < len; i++) {
		if (ret[i].pack != 0 &&
		    (!objects_pack_is_alive(s, ret[i].pack) ||
		     (s->collector && !collector_keep(s->collector, kind, &ret[i]))))
			ret[i].pack = 0;
		lacking += ret[i].pack == 0;
	}
	return lacking;
}

int objects_find(struct store *s, enum pack_kind kind, const struct id *ids, size_t len,
		 struct place *ret, struct err *err)
{
	for (int i = 0;; i++) {
		uint64_t epoch;
		size_t missing, lacking;
		bool is_settled;
		int r;

		(void)pthread_mutex_lock(&s->lock);
		epoch = s->epoch;
		missing = find_in_memory(s, kind, ids, len, ret);
		(void)pthread_mutex_unlock(&s->lock);
		if (missing > 0) {
			r = find_in_db(s, kind, ids, len, ret, err);
			if (r < 0)
				return r;
		}
		(void)pthread_mutex_lock(&s->lock);
		lacking = settle(s, kind, len, ret);
		/* A pack that went away since may have been written anew: its objects are elsewhere.  They may have been in neither place
		 * when we looked there: not yet in memory, and no longer in the tables, as long as the new rows are not merged into these. */
		is_settled = lacking == 0 || epoch == s->epoch || i == RETRIES;
		(void)pthread_mutex_unlock(&s->lock);
		if (is_settled)
			return 0;
	}
}

int objects_find_kept(struct store *s, enum pack_kind kind, const struct id *id, struct place *ret,
		      struct err *err)
{
	size_t missing;

	(void)pthread_mutex_lock(&s->lock);
	missing = find_in_memory(s, kind, id, 1, ret);
	(void)pthread_mutex_unlock(&s->lock);
	return missing > 0 ? find_in_db(s, kind, id, 1, ret, err) : 0;
}

static bool pack_in_memory(struct store *s, uint32_t num, const struct id *id, struct pack_row *ret)
{
	const struct fresh_pack *p;

	(void)pthread_mutex_lock(&s->lock);
	p = id ? generation_pack_by_id(&s->current, id) : generation_pack(&s->current, num);
	if (!p)
		p = id ? generation_pack_by_id(&s->previous, id)
		       : generation_pack(&s->previous, num);
	if (p)
		*ret = p->row;
	(void)pthread_mutex_unlock(&s->lock);
	return p;
}

/* ---- packs */

/* By its id, or by its number if that is NULL; alive or not. */
static int look_up_pack(struct store *s, uint32_t num, const struct id *id, struct pack_row *ret,
			struct err *err)
{
	struct db_reader *reader;
	int r;

	if (pack_in_memory(s, num, id, ret))
		return 0;
	r = db_reader_get(&s->db, &reader, err);
	if (r < 0)
		return r;
	r = id ? db_pack_by_id(reader, id, ret, err) : db_pack_by_num(reader, num, ret, err);
	db_reader_put(&s->db, reader);
	return r;
}

static int find_pack(struct store *s, uint32_t num, const struct id *id, struct pack_row *ret,
		     struct err *err)
{
	int r = look_up_pack(s, num, id, ret, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&s->lock);
	if (!objects_pack_is_alive(s, ret->num))
		ret->num = 0;
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

int objects_pack(struct store *s, uint32_t num, struct pack_row *ret, struct err *err)
{
	return find_pack(s, num, NULL, ret, err);
}

int objects_pack_kept(struct store *s, uint32_t num, const struct id *id, struct pack_row *ret,
		      struct err *err)
{
	return look_up_pack(s, num, id, ret, err);
}

int objects_pack_by_id(struct store *s, const struct id *id, struct pack_row *ret, struct err *err)
{
	return find_pack(s, 0, id, ret, err);
}

/* ---- nodes and their chunks */

struct node_chunks {
	struct id ids[NODE_ENTRIES_MAX];
	uint32_t lengths[NODE_ENTRIES_MAX];
	struct place places[NODE_ENTRIES_MAX];
};

int objects_check_node(struct store *s, const struct node *n, struct err *err)
{
	CLEANUP_FREE struct node_chunks *c = calloc(1, sizeof(*c));
	size_t len = 0;
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n->count; i++) {
		if (!n->entries[i].is_chunk)
			continue;
		c->ids[len] = n->entries[i].id;
		c->lengths[len++] = n->entries[i].length;
	}
	r = objects_find(s, PACK_CHUNKS, c->ids, len, c->places, err);
	for (size_t i = 0; r == 0 && i < len; i++) {
		char text[ID_TEXT_SIZE];

		if (c->places[i].pack != 0 && c->places[i].length == c->lengths[i])
			continue;
		id_to_text(&c->ids[i], text);
		if (c->places[i].pack == 0)
			return err_set(err, -ENODATA, "chunk %s is not in the store", text);
		return err_set(err, -ENODATA,
			       "chunk %s is %" PRIu32 " bytes long, not %" PRIu32 " bytes", text,
			       c->places[i].length, c->lengths[i]);
	}
	return r;
}

static int recheck_nodes(struct store *s, const struct id *ids, struct place *places, size_t len,
			 struct err *err)
{
	CLEANUP_FREE struct node *n = NULL;
	bool is_suspect;

	(void)pthread_mutex_lock(&s->lock);
	is_suspect = s->is_suspect;
	(void)pthread_mutex_unlock(&s->lock);
	if (!is_suspect)
		return 0;
	n = malloc(sizeof(*n));
	if (!n)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < len; i++) {
		int r;

		if (places[i].pack == 0)
			continue;
		if (is_repeated(ids, i)) {
			places[i] = places[i - 1];
			continue;
		}
		r = node_load(s, &ids[i], &places[i], n, err);
		if (r == 0)
			r = objects_check_node(s, n, err);
		if (r == -ENODATA || r == -EBADMSG || r == -EAGAIN)
			places[i].pack = 0;
		else if (r < 0)
			return r;
	}
	return 0;
}

int objects_find_nodes(struct store *s, const struct id *ids, size_t len, struct place *ret,
		       struct err *err)
{
	int r = objects_find(s, PACK_NODES, ids, len, ret, err);

	return r < 0 ? r : recheck_nodes(s, ids, ret, len, err);
}
