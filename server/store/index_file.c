/* index_file.c - sealed disk indexes: written once, read in ranges. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/root.h"
#include "server/store/internal.h"
#include "server/store/partial.h"

static int write_ids(struct partial *p, struct root_hash *h, int fd, const char *path,
		     struct err *err)
{
	CLEANUP_FREE struct id *ids = calloc(PARTIAL_BATCH, sizeof(*ids));
	uint64_t windows = window_count(p->disk_size);

	if (!ids)
		return err_set(err, -ENOMEM, "write an index: out of memory");
	for (uint64_t first = 0; first < windows; first += PARTIAL_BATCH) {
		uint64_t left = windows - first;
		uint32_t count = left < PARTIAL_BATCH ? (uint32_t)left : PARTIAL_BATCH;
		int r = partial_read(p, first, count, ids, err);

		if (r == 0)
			r = files_write(&p->store->files, fd, path, ids,
					(size_t)count * sizeof(*ids), err);
		if (r < 0)
			return r;
		for (uint32_t i = 0; i < count; i++)
			root_add(h, &ids[i]);
	}
	return 0;
}

static int write_all(struct partial *p, const struct index_info *info, struct id *ret_root, int fd,
		     const char *path, struct err *err)
{
	size_t tail_size = index_tail_size(info->unreadable_len);
	CLEANUP_FREE uint8_t *tail = malloc(tail_size);
	uint8_t header[INDEX_HEADER_SIZE];
	struct root_hash hash;
	int r;

	if (!tail)
		return err_set(err, -ENOMEM, "write an index: out of memory");
	index_encode_header(&info->geometry, header);
	index_encode_tail(info->unreadable, info->unreadable_len, tail);
	root_init(&hash, &info->geometry);
	r = files_write(&p->store->files, fd, path, header, sizeof(header), err);
	if (r == 0)
		r = write_ids(p, &hash, fd, path, err);
	if (r == 0)
		r = files_write(&p->store->files, fd, path, tail, tail_size, err);
	if (r == 0)
		*ret_root = root_final(&hash, info->unreadable, info->unreadable_len);
	return r;
}

int index_file_write(struct partial *p, const struct index_info *info, const struct id *root,
		     struct id *ret_root, struct err *err)
{
	pthread_mutex_t *folder_lock = &p->store->folder_locks[root->b[0]];
	struct files *f = &p->store->files;
	char tmp[FILES_PATH_SIZE], path[FILES_PATH_SIZE];
	CLEANUP_CLOSE int fd = -1;
	struct err ignored;
	struct id got;
	int r = files_create_tmp(f, tmp, &fd, err);

	if (r < 0)
		return r;
	files_path_index(path, root);
	r = write_all(p, info, &got, fd, tmp, err);
	if (r == 0 && !id_equal(&got, root))
		r = err_set(err, -ESTALE, "the partial index was changed while it was sealed");
	if (r == 0)
		r = files_sync(f, fd, tmp, err);
	/* gc may be about to remove, or a reader to put away, an older one of this name. */
	if (r == 0) {
		(void)pthread_mutex_lock(folder_lock);
		r = files_rename(f, tmp, path, err);
		(void)pthread_mutex_unlock(folder_lock);
	}
	if (r < 0) {
		(void)!files_remove(f, tmp, &ignored); /* else the next start empties tmp/ */
		return r;
	}
	r = files_sync_folder(f, "indexes", err);
	if (r == 0)
		*ret_root = got;
	return r;
}

/* ---- reading */

struct index_file {
	struct store *store;
	pthread_mutex_t *folder_lock;
	char path[FILES_PATH_SIZE];
	int fd;
	uint64_t size;
	struct geometry geometry;
};

static void index_file_done(struct index_file *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
}

/* Unless another one was sealed in its place meanwhile. */
static int put_away(const struct index_file *f, struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(f->folder_lock);
	if (f->fd < 0 || files_is_at(&f->store->files, f->fd, f->path))
		r = files_quarantine(&f->store->files, f->path, err);
	(void)pthread_mutex_unlock(f->folder_lock);
	return r;
}

/* Nothing can be said with a damaged index: put it away, so that a capture writes it again. */
static int damaged(const struct index_file *f, const char *why, struct err *err)
{
	struct err trouble;
	char copy[sizeof(err->msg)];

	(void)snprintf(copy, sizeof(copy), "%s", why);
	if (put_away(f, &trouble) < 0)
		return err_set(err, -EBADMSG, "'%s' is damaged: %s", f->path, copy);
	return err_set(err, -EBADMSG, "'%s' is damaged: %s; it is in quarantine now", f->path,
		       copy);
}

/* Reading came to this.  One of another version is whole, and stays where it is (-EPROTONOSUPPORT). */
static int failed(const struct index_file *f, int code, struct err *err)
{
	if (code == -EPROTO || code == -ENODATA)
		return damaged(f, err->msg, err);
	return code;
}

static int index_file_open(struct index_file *f, struct store *s, const struct id *root,
			   struct err *err)
{
	uint8_t header[INDEX_HEADER_SIZE];
	int r;

	*f = (struct index_file){.store = s, .folder_lock = &s->folder_locks[root->b[0]], .fd = -1};
	files_path_index(f->path, root);
	r = files_open(&s->files, f->path, &f->fd, &f->size, err);
	if (r == 0)
		r = files_read(&s->files, f->fd, f->path, header, sizeof(header), 0, err);
	if (r == 0)
		r = index_decode_header(header, &f->geometry, err);
	return r < 0 ? failed(f, r, err) : 0;
}

static int hash_ids(const struct index_file *f, struct root_hash *h, struct err *err)
{
	CLEANUP_FREE struct id *ids = calloc(PARTIAL_BATCH, sizeof(*ids));
	uint64_t windows = window_count(f->geometry.size);

	if (!ids)
		return err_set(err, -ENOMEM, "read '%s': out of memory", f->path);
	for (uint64_t first = 0; first < windows; first += PARTIAL_BATCH) {
		uint64_t left = windows - first;
		uint32_t count = left < PARTIAL_BATCH ? (uint32_t)left : PARTIAL_BATCH;
		int r = files_read(&f->store->files, f->fd, f->path, ids, (size_t)count * ID_SIZE,
				   INDEX_HEADER_SIZE + first * ID_SIZE, err);

		if (r < 0)
			return r;
		for (uint32_t i = 0; i < count; i++)
			root_add(h, &ids[i]);
	}
	return 0;
}

static int read_tail(const struct index_file *f, struct index_info *ret, struct err *err)
{
	uint64_t at = INDEX_HEADER_SIZE + window_count(f->geometry.size) * ID_SIZE;
	CLEANUP_FREE uint8_t *tail = NULL;
	uint64_t size;
	int r;

	if (f->size < at + index_tail_size(0) || f->size > at + index_tail_size(EXTENTS_MAX))
		return err_set(err, -EPROTO, "its size does not go with its count of windows");
	size = f->size - at;
	tail = malloc(size);
	if (!tail)
		return err_set(err, -ENOMEM, "read '%s': out of memory", f->path);
	r = files_read(&f->store->files, f->fd, f->path, tail, size, at, err);
	if (r < 0)
		return r;
	return index_decode_tail(tail, size, f->geometry.size, &ret->unreadable,
				 &ret->unreadable_len, err);
}

/* All of it: does it make its root? */
static int read_info(const struct index_file *f, const struct id *root, struct index_info *ret,
		     struct err *err)
{
	struct index_info info = {.geometry = f->geometry};
	struct root_hash h;
	struct id got = {{0}};
	int r = read_tail(f, &info, err);

	root_init(&h, &f->geometry);
	if (r == 0)
		r = hash_ids(f, &h, err);
	if (r == 0) {
		got = root_final(&h, info.unreadable, info.unreadable_len);
		if (!id_equal(&got, root))
			r = err_set(err, -EPROTO, "it does not make the root that it is named by");
	}
	info.root = got;
	if (r == 0)
		*ret = info;
	else
		index_info_done(&info);
	return r < 0 ? failed(f, r, err) : 0;
}

void index_info_done(struct index_info *i)
{
	free(i->unreadable);
	*i = (struct index_info){0};
}

int store_index_info(struct store *s, const struct id *root, struct index_info *ret,
		     struct err *err)
{
	CLEANUP(index_file_done) struct index_file f;
	int r = index_file_open(&f, s, root, err);

	return r < 0 ? r : read_info(&f, root, ret, err);
}

int index_file_verify(struct store *s, const struct id *root, struct err *err)
{
	struct index_info info = {0};
	int r = store_index_info(s, root, &info, err);

	index_info_done(&info);
	return r;
}

void index_file_forget(struct store *s, const struct id *root)
{
	char path[FILES_PATH_SIZE];
	CLEANUP_CLOSE int fd = -1;
	struct err ignored;
	uint64_t size;

	files_path_index(path, root);
	if (files_open(&s->files, path, &fd, &size, &ignored) == 0)
		files_forget(&s->files, fd, path);
}

int store_index_nodes(struct store *s, const struct id *root, uint64_t first, uint32_t count,
		      struct id *ret_ids, struct err *err)
{
	CLEANUP(index_file_done) struct index_file f;
	uint64_t windows;
	int r = index_file_open(&f, s, root, err);

	if (r < 0)
		return r;
	windows = window_count(f.geometry.size);
	if (first > windows || count > windows - first) {
		return err_set(err, -EINVAL,
			       "windows %" PRIu64 " to %" PRIu64
			       " are not all inside a disk of %" PRIu64,
			       first, first + count, windows);
	}
	r = files_read(&s->files, f.fd, f.path, ret_ids, (size_t)count * ID_SIZE,
		       INDEX_HEADER_SIZE + first * ID_SIZE, err);
	return r < 0 ? failed(&f, r, err) : 0;
}
