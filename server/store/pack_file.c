/* pack_file.c - packs in the folder: read with all that can be wrong with a file, and taken away when it is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

void loaded_free(struct loaded *l)
{
	if (!l)
		return;
	pack_done(&l->pack);
	free(l->file);
	free(l->plain);
	free(l->checked);
	free(l);
}

static void loaded_freep(struct loaded **l)
{
	loaded_free(*l);
}

/* Take the pack out of the index in memory.  False: it was not in it any more. */
static bool forget(struct store *s, const struct pack_row *row, bool for_good)
{
	bool was_alive;

	(void)pthread_mutex_lock(&s->lock);
	was_alive = objects_pack_is_alive(s, row->num);
	if (was_alive) {
		objects_clear_alive(s, row->num);
		s->losses++;
		if (for_good)
			objects_drop_pack(s, row);
		else
			unreadable_add(s, row->num);
		if (row->kind == PACK_CHUNKS)
			s->is_suspect = true;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return was_alive;
}

int pack_lose(struct store *s, const struct pack_row *row, const char *why, struct err *err)
{
	pthread_mutex_t *folder_lock = &s->folder_locks[row->id.b[0]];
	char path[FILES_PATH_SIZE];
	struct err trouble = {0};
	bool was_alive;
	int r = 0;

	files_path_pack(path, &row->id);
	(void)pthread_mutex_lock(folder_lock);
	was_alive = forget(s, row, true);
	if (was_alive)
		r = files_quarantine(&s->files, path, &trouble);
	(void)pthread_mutex_unlock(folder_lock);
	if (!was_alive)
		return err_set(err, -EAGAIN, "'%s' was removed meanwhile", path);
	if (r == -ENOENT)
		return err_set(err, -EBADMSG, "'%s' is not there any more", path);
	if (r < 0)
		return err_set(err, -EBADMSG, "'%s' is damaged: %s; and putting it away failed: %s",
			       path, why, trouble.msg);
	return err_set(err, -EBADMSG, "'%s' is damaged: %s; it is in quarantine now", path, why);
}

/* What reading it came to, other than success. */
static int read_failed(struct store *s, const struct pack_row *row, int code, struct err *err)
{
	char why[sizeof(err->msg)];

	switch (code) {
	case -ENOENT:
	case -ENODATA:
		(void)memcpy(why, err->msg, sizeof(why));
		return pack_lose(s, row, why, err);
	case -EIO:
		/* The medium may come back: the file stays where it is, only nobody is told that it is there. */
		if (!forget(s, row, false))
			return -EAGAIN;
		return -EIO;
	default:
		return code;
	}
}

static int read_file(struct store *s, const struct pack_row *row, bool from_medium, uint8_t **ret,
		     struct err *err)
{
	CLEANUP_FREE uint8_t *data = NULL;
	CLEANUP_CLOSE int fd = -1;
	char path[FILES_PATH_SIZE];
	uint64_t size = 0;
	int r;

	files_path_pack(path, &row->id);
	r = files_open(&s->files, path, &fd, &size, err);
	if (r == 0 && from_medium)
		files_forget(&s->files, fd, path);
	if (r == 0 && size != row->size) {
		r = err_set(err, -ENODATA, "it is %" PRIu64 " bytes long, not %" PRIu32, size,
			    row->size);
	}
	if (r == 0) {
		data = malloc(row->size);
		r = data ? files_read(&s->files, fd, path, data, row->size, 0, err)
			 : err_set(err, -ENOMEM, "read '%s': out of memory", path);
	}
	if (r < 0)
		return read_failed(s, row, r, err);
	*ret = TAKE_PTR(data);
	return 0;
}

/* A sentence of the codecs becomes that of the loss; -ENOMEM stays what it is. */
static int lose_for(struct store *s, const struct pack_row *row, int code, struct err *err)
{
	char why[sizeof(err->msg)];

	if (code == -ENOMEM)
		return code;
	memcpy(why, err->msg, sizeof(why));
	return pack_lose(s, row, why, err);
}

static int decompress(struct store *s, struct loaded *l, struct err *err)
{
	struct scratch *c = scratch_get(s);
	int r;

	l->plain = malloc(l->row.plain);
	l->checked = calloc((l->row.count + 7) / 8, 1);
	if (!c || !l->plain || !l->checked)
		r = err_set(err, -ENOMEM, "decompress a pack: out of memory");
	else
		r = pack_decompress(&l->pack, c->codec, l->plain, err);
	scratch_put(s, c);
	return r < 0 ? lose_for(s, &l->row, r, err) : 0;
}

static int decode(struct store *s, struct loaded *l, enum load_how how, struct err *err)
{
	struct id id;
	int r;

	if (how == LOAD_HASH || how == LOAD_ALL) {
		id = id_of(l->file, l->row.size);
		if (!id_equal(&id, &l->row.id))
			return pack_lose(s, &l->row, "its bytes do not hash to its name", err);
	}
	r = pack_decode(l->file, l->row.size, &l->pack, err);
	if (r < 0)
		return lose_for(s, &l->row, r, err);
	if (l->pack.kind != l->row.kind || l->pack.count != l->row.count ||
	    l->pack.plain_size != l->row.plain)
		return pack_lose(s, &l->row, "it is another pack than the index says", err);
	return 0;
}

int pack_load(struct store *s, uint32_t num, enum load_how how, struct loaded **ret,
	      struct err *err)
{
	CLEANUP(loaded_freep) struct loaded *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_set(err, -ENOMEM, "read a pack: out of memory");
	r = objects_pack(s, num, &l->row, err);
	if (r == 0 && l->row.num == 0)
		r = err_set(err, -EAGAIN, "pack number %" PRIu32 " was removed meanwhile", num);
	if (r == 0)
		r = read_file(s, &l->row, how == LOAD_ALL, &l->file, err);
	if (r == 0)
		r = decode(s, l, how, err);
	if (r == 0 && (how == LOAD_PLAIN || how == LOAD_ALL))
		r = decompress(s, l, err);
	if (r == 0 && how == LOAD_ALL) {
		r = pack_verify(&l->pack, l->plain, err);
		if (r < 0)
			return lose_for(s, &l->row, r, err);
		memset(l->checked, 0xff, (l->row.count + 7) / 8);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

/* The table does not have the object where the index says: one of the two is wrong, the pack's hash tells which. */
static int blame(struct store *s, const struct loaded *l, const struct id *id, struct err *err)
{
	CLEANUP(loaded_freep) struct loaded *again = NULL;
	char text[ID_TEXT_SIZE], path[FILES_PATH_SIZE];
	int r = pack_load(s, l->row.num, LOAD_HASH, &again, err);

	if (r < 0)
		return r;
	id_to_text(id, text);
	files_path_pack(path, &l->row.id);
	return err_set(err, -EUCLEAN,
		       "the object index is damaged: %s is not in '%s', whose hash is right; "
		       "start with --rebuild-index",
		       text, path);
}

int pack_object(struct store *s, struct loaded *l, uint32_t slot, const struct id *id,
		const uint8_t **ret, struct err *err)
{
	const struct pack_entry *e = &l->pack.entries[slot];
	uint8_t bit = (uint8_t)(1u << (slot % 8));

	if (slot >= l->pack.count || !id_equal(&e->id, id))
		return blame(s, l, id, err);
	if (!(__atomic_load_n(&l->checked[slot / 8], __ATOMIC_RELAXED) & bit)) {
		struct id got = id_of(l->plain + e->offset, e->length);

		if (!id_equal(&got, id)) {
			return pack_lose(s, &l->row, "an object does not hash to its id", err);
		}
		(void)__atomic_fetch_or(&l->checked[slot / 8], bit, __ATOMIC_RELAXED);
	}
	*ret = l->plain + e->offset;
	return 0;
}

/* ---- all of them */

static void close_folder(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int each_in_folder(struct store *s, unsigned folder, pack_id_fn fn, void *arg,
			  struct err *err)
{
	CLEANUP(close_folder) DIR *d = NULL;
	char path[STORE_FOLDER_SIZE];
	struct dirent *e;
	int fd, r = 0;

	store_folder_path(path, folder);
	fd = openat(s->files.fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return err_set(err, -errno, "open folder '%s': %s", path, strerrordesc_np(errno));
	errno = 0;
	while (r == 0 && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		struct id id;

		/* what is not a pack of ours is in nobody's way */
		if (id_from_text(e->d_name, &id) && id.b[0] == folder)
			r = fn(arg, &id, err);
		errno = 0;
	}
	if (r == 0 && errno != 0)
		return err_set(err, -errno, "read folder '%s': %s", path, strerrordesc_np(errno));
	return r;
}

int packs_each(struct store *s, pack_id_fn fn, void *arg, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < STORE_FOLDERS; i++)
		r = each_in_folder(s, i, fn, arg, err);
	return r;
}
