/* unreadable.c - packs that the medium did not give back.
 *
 * Such a pack is not said to be there, so that captures send its objects again, but nothing of it is forgotten: media come back.  Who asks for an
 * object of it has it tried again.  Not while store_gc runs, which makes up its mind by what is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

static bool has_bit(const struct store *s, uint32_t num)
{
	return num < s->alive_cap && (s->unreadable_bits[num / 8] >> (num % 8) & 1);
}

bool objects_pack_is_kept(const struct store *s, uint32_t num)
{
	return objects_pack_is_alive(s, num) || has_bit(s, num);
}

void unreadable_add(struct store *s, uint32_t num)
{
	if (num >= s->alive_cap || has_bit(s, num))
		return;
	s->unreadable_bits[num / 8] |= (uint8_t)(1u << (num % 8));
	s->unreadable++;
}

uint64_t unreadable_count(struct store *s)
{
	uint64_t n;

	(void)pthread_mutex_lock(&s->lock);
	n = s->unreadable;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}

/* Does the medium give its bytes?  0: those that were written; `*ret_why`: it does, and they are not. */
static int try_to_read(struct store *s, const struct pack_row *row, const char **ret_why,
		       struct err *err)
{
	CLEANUP_FREE uint8_t *data = NULL;
	struct id id;
	CLEANUP_CLOSE int fd = -1;
	char path[FILES_PATH_SIZE];
	uint64_t size = 0;
	int r;

	*ret_why = NULL;
	files_path_pack(path, &row->id);
	r = files_open(&s->files, path, &fd, &size, err);
	if (r == 0 && size == row->size) {
		data = malloc(row->size);
		r = data ? files_read(&s->files, fd, path, data, row->size, 0, err)
			 : err_set(err, -ENOMEM, "read '%s': out of memory", path);
	}
	if (r == -ENOENT || r == -ENODATA || (r == 0 && size != row->size)) {
		*ret_why = r == -ENOENT ? "it is gone" : "it has another length";
		return 0;
	}
	if (r < 0)
		return r;
	id = id_of(data, row->size);
	if (!id_equal(&id, &row->id))
		*ret_why = "its bytes do not hash to its name";
	return 0;
}

/* `is_there`: it still has a row; else it was sent again under another number. */
static int revive(struct store *s, uint32_t num, bool is_there, struct err *err)
{
	bool is_late = false;

	(void)pthread_mutex_lock(&s->lock);
	if (s->collector) {
		is_late = true;
	} else if (has_bit(s, num)) {
		s->unreadable_bits[num / 8] &= (uint8_t) ~(1u << (num % 8));
		if (is_there)
			s->alive[num / 8] |= (uint8_t)(1u << (num % 8));
		s->unreadable--;
		s->epoch++;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return is_late ? err_set(err, -EIO,
				 "pack number %" PRIu32 " can be read again, once gc has ended",
				 num)
		       : 0;
}

static int retry(struct store *s, uint32_t num, struct err *err)
{
	const char *why = NULL;
	struct pack_row row;
	struct err lost;
	int r = objects_pack_kept(s, num, NULL, &row, err);

	if (r == 0 && row.num != 0)
		r = try_to_read(s, &row, &why, err);
	if (r == 0)
		r = revive(s, num, row.num != 0, err);
	/* the usual way of a pack that is damaged, now that this is known */
	if (r == 0 && why)
		(void)!pack_lose(s, &row, why, &lost);
	return r;
}

int unreadable_has(struct store *s, const struct id *id, bool *ret, struct err *err)
{
	struct pack_row row;
	int r;

	*ret = false;
	if (unreadable_count(s) == 0)
		return 0;
	r = objects_pack_kept(s, 0, id, &row, err);
	(void)pthread_mutex_lock(&s->lock);
	*ret = r == 0 && row.num != 0 && has_bit(s, row.num);
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

/* In which that cannot be read?  0: in none. */
static int find_unreadable(struct store *s, enum pack_kind kind, const struct id *id,
			   uint32_t *ret_num, struct err *err)
{
	struct place place;
	int r = objects_find_kept(s, kind, id, &place, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&s->lock);
	*ret_num = has_bit(s, place.pack) ? place.pack : 0;
	(void)pthread_mutex_unlock(&s->lock);
	return 0;
}

int unreadable_has_object(struct store *s, enum pack_kind kind, const struct id *ids,
			  const struct place *found, size_t len, bool *ret, struct err *err)
{
	uint32_t num = 0;
	int r = 0;

	*ret = false;
	if (unreadable_count(s) == 0)
		return 0;
	for (size_t i = 0; r == 0 && num == 0 && i < len; i++)
		if (found[i].pack == 0)
			r = find_unreadable(s, kind, &ids[i], &num, err);
	*ret = num != 0;
	return r;
}

int unreadable_blame(struct store *s, enum pack_kind kind, const struct id *id, struct err *err)
{
	uint32_t num = 0;
	int r;

	if (unreadable_count(s) == 0)
		return 0;
	r = find_unreadable(s, kind, id, &num, err);
	if (r == 0 && num == 0)
		return 0;
	if (r == 0)
		r = retry(s, num, err);
	return r < 0 ? r : err_set(err, -EAGAIN, "pack number %" PRIu32 " could not be read", num);
}

int unreadable_retry(struct store *s, struct err *err)
{
	uint32_t cap;
	int r = 0;

	if (unreadable_count(s) == 0)
		return 0;
	(void)pthread_mutex_lock(&s->lock);
	cap = s->alive_cap;
	(void)pthread_mutex_unlock(&s->lock);
	for (uint32_t num = 0; num < cap; num++) {
		bool is_one;

		(void)pthread_mutex_lock(&s->lock);
		is_one = has_bit(s, num);
		(void)pthread_mutex_unlock(&s->lock);
		if (is_one && r == 0)
			r = retry(s, num, err);
	}
	return r;
}
