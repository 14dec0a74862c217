/* manifests.c - small files under their hash, opaque here. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

#define MANIFEST_MAX  (8u << 20) /* docs/formats.md */
#define MANIFEST_TAIL ".json"

int store_put_manifest(struct store *s, const void *data, size_t size, struct id *ret_id,
		       struct err *err)
{
	char path[FILES_PATH_SIZE];
	struct id id;
	int r;

	if (size == 0 || size > MANIFEST_MAX)
		return err_set(err, -EINVAL, "a manifest of %zu bytes is not in 1..%u", size,
			       MANIFEST_MAX);
	id = id_of(data, size);
	files_path_manifest(path, &id);
	r = store_checkpoint(s, err);
	if (r == 0)
		r = files_put(&s->files, "manifests", path, data, size, err);
	if (r == 0)
		*ret_id = id;
	return r;
}

int store_get_manifest(struct store *s, const struct id *id, char **ret, size_t *ret_size,
		       struct err *err)
{
	CLEANUP_FREE char *data = NULL;
	char path[FILES_PATH_SIZE];
	struct err trouble;
	size_t size;
	struct id got;
	int r;

	files_path_manifest(path, id);
	r = files_get(&s->files, path, MANIFEST_MAX, &data, &size, err);
	if (r < 0 && r != -EFBIG)
		return r;
	if (r == 0) {
		got = id_of(data, size);
		if (id_equal(&got, id)) {
			*ret = TAKE_PTR(data);
			*ret_size = size;
			return 0;
		}
	}
	if (files_quarantine(&s->files, path, &trouble) < 0)
		return err_set(err, -EBADMSG, "manifest '%s' is damaged", path);
	return err_set(err, -EBADMSG, "manifest '%s' is damaged; it is in quarantine now", path);
}

int store_remove_manifest(struct store *s, const struct id *id, struct err *err)
{
	char path[FILES_PATH_SIZE];
	int r;

	files_path_manifest(path, id);
	r = files_remove(&s->files, path, err);
	return r < 0 ? r : files_sync_folder(&s->files, "manifests", err);
}

static bool id_of_name(const char *name, struct id *ret)
{
	char text[ID_TEXT_SIZE] = {0};

	if (strlen(name) != ID_TEXT_SIZE - 1 + strlen(MANIFEST_TAIL) ||
	    strcmp(name + ID_TEXT_SIZE - 1, MANIFEST_TAIL) != 0)
		return false;
	memcpy(text, name, ID_TEXT_SIZE - 1);
	return id_from_text(text, ret);
}

static void close_folder(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

/* The files of a folder of the store. */
typedef int (*name_fn)(void *arg, const char *name, struct err *err);
static int each_name(struct store *s, const char *path, name_fn fn, void *arg, struct err *err)
{
	CLEANUP(close_folder) DIR *folder = NULL;
	int fd = openat(s->files.fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	int r = 0;

	folder = fd < 0 ? NULL : fdopendir(fd);
	if (!folder)
		return err_set(err, -errno, "open folder '%s': %s", path, strerrordesc_np(errno));
	errno = 0;
	while (r == 0 &&
	       (e = readdir(folder))) { /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
		r = fn(arg, e->d_name, err);
		errno = 0;
	}
	if (r == 0 && errno != 0)
		return err_set(err, -errno, "read folder '%s': %s", path, strerrordesc_np(errno));
	return r;
}

struct each {
	struct store *store;
	store_manifest_fn manifest;
	store_damaged_fn damaged;
	void *arg;
};

static int one_manifest(void *arg, const char *name, struct err *err)
{
	const struct each *x = arg;
	struct id id;

	return id_of_name(name, &id) ? x->manifest(x->arg, &id, err) : 0;
}

int store_each_manifest(struct store *s, store_manifest_fn fn, void *arg, struct err *err)
{
	struct each x = {.manifest = fn, .arg = arg};

	return each_name(s, "manifests", one_manifest, &x, err);
}

static int one_damaged(void *arg, const char *name, struct err *err)
{
	const struct each *x = arg;
	CLEANUP_FREE char *data = NULL;
	char path[FILES_PATH_SIZE];
	struct err ignored;
	struct id id;
	size_t size;

	if (!id_of_name(name, &id))
		return 0;
	(void)snprintf(path, sizeof(path), "quarantine/%s", name);
	if (files_get(&x->store->files, path, MANIFEST_MAX, &data, &size, &ignored) < 0)
		return 0;
	return x->damaged(x->arg, data, size, err);
}

int store_each_damaged_manifest(struct store *s, store_damaged_fn fn, void *arg, struct err *err)
{
	struct each x = {.store = s, .damaged = fn, .arg = arg};

	return each_name(s, "quarantine", one_damaged, &x, err);
}
