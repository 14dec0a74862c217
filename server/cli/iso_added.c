/* An archive is not put on the medium as it is: it is read by libarchive, and what is of use is written anew.  So whatever form it had, the kernel
 * gets the one form that it knows, and nothing can replace a part of the live image. */
#include "server/cli/iso_added.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/cpio.h"
#include "common/text.h"
#include "server/cli/iso_archive.h"
#include "server/cli/print.h"

#define STEP	    512u /* each archive starts at a multiple of it */
#define LEVEL	    19
#define NAME_FORMAT "hoist.d/added-%u"
#define PACKED_MAX  (2ull * ISO_ARCHIVE_SIZE_MAX)

/* ---- writing */

/* An archive that is written, or without `w` only measured. */
struct sink {
	struct writer *w;
	size_t size;
	unsigned number;
};

static void emit(struct sink *k, const struct cpio_entry *e)
{
	k->size += cpio_size(e);
	k->number++;
	if (k->w)
		cpio_put(k->w, e, k->number);
}

/* The folders of a path that those of the path before it do not have. */
static void emit_folders(struct sink *k, const char *path, const char *before)
{
	char folder[ISO_ARCHIVE_PATH_SIZE];

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		size_t n = (size_t)(p - path);

		if (strncmp(path, before, n + 1) == 0)
			continue;
		memcpy(folder, path, n);
		folder[n] = '\0';
		emit(k, &(struct cpio_entry){folder, 0040755, "", 0});
	}
}

static size_t emit_set(const struct iso_archive *s, struct writer *w)
{
	struct sink k = {.w = w};

	for (size_t i = 0; i < s->len; i++) {
		const struct iso_archive_file *f = &s->files[i];

		emit_folders(&k, f->path, i ? s->files[i - 1].path : "");
		emit(&k, &(struct cpio_entry){f->path, f->mode, f->data, f->size});
	}
	emit(&k, &(struct cpio_entry){.name = CPIO_TRAILER, .data = ""});
	return k.size;
}

static int compress_set(const struct iso_archive *s, uint8_t **ret, size_t *ret_size,
			struct err *err)
{
	size_t size = emit_set(s, NULL), bound = ZSTD_compressBound(size);
	CLEANUP_FREE uint8_t *plain = malloc(size), *packed = malloc(bound);
	struct writer w;

	if (!plain || !packed)
		return err_set(err, -ENOMEM, "out of memory");
	writer_init(&w, plain, size);
	(void)emit_set(s, &w);
	size = ZSTD_compress(packed, bound, plain, w.size, LEVEL);
	if (w.bad || ZSTD_isError(size))
		return err_set(err, -EIO, "it cannot be compressed");
	*ret = TAKE_PTR(packed);
	*ret_size = size;
	return 0;
}

static char *listing(const struct iso_archive *s, const char *path, size_t packed)
{
	const char *slash = strrchr(path, '/');
	char *text = NULL, name[256];
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	slash = slash ? slash + 1 : path;
	(void)text_clean(name, sizeof(name), slash, strlen(slash));
	(void)fprintf(f, "name=%s\npacked=%zu\n", name, packed);
	for (size_t i = 0; i < s->len; i++)
		(void)fprintf(f, "file=%zu %s\n", s->files[i].size, s->files[i].path);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static size_t stepped(size_t n)
{
	return (n + STEP - 1) / STEP * STEP;
}

static int put_both(const struct iso_archive *s, const char *path, unsigned number,
		    const uint8_t *packed, size_t packed_size, uint8_t **ret, size_t *ret_size,
		    struct err *err)
{
	CLEANUP_FREE char *text = listing(s, path, packed_size);
	CLEANUP_FREE uint8_t *out = NULL;
	struct cpio_entry e, end = {.name = CPIO_TRAILER, .data = ""};
	char name[32];
	struct writer w;
	size_t head;

	if (!text || !packed)
		return err_set(err, -ENOMEM, "out of memory");
	(void)snprintf(name, sizeof(name), NAME_FORMAT, number);
	e = (struct cpio_entry){name, 0100644, text, strlen(text)};
	head = stepped(cpio_size(&e) + cpio_size(&end));
	out = calloc(1, head + stepped(packed_size));
	if (!out)
		return err_set(err, -ENOMEM, "out of memory");
	writer_init(&w, out, head);
	cpio_put(&w, &e, 1);
	cpio_put_trailer(&w);
	memcpy(out + head, packed, packed_size);
	*ret = TAKE_PTR(out);
	*ret_size = head + stepped(packed_size);
	return 0;
}

int added_pack(const char *path, const char *release, unsigned number, uint8_t **ret,
	       size_t *ret_size, struct err *err)
{
	CLEANUP(iso_archive_done) struct iso_archive s = {.release = release};
	CLEANUP_FREE uint8_t *packed = NULL;
	size_t size = 0;
	int r = iso_archive_read(path, &s, err);

	if (r == 0)
		r = compress_set(&s, &packed, &size, err);
	if (r == 0)
		r = put_both(&s, path, number, packed, size, ret, ret_size, err);
	return r < 0 ? err_prefix(err, "'%s'", path) : 0;
}

/* ---- reading back */

/* The number that the text begins with; `ret_end`: what follows it. */
static bool parse_size(const char *text, uint64_t max, uint64_t *ret, const char **ret_end)
{
	char *end;
	unsigned long long v;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno != 0 || v > max)
		return false;
	*ret = v;
	*ret_end = end;
	return true;
}

static int parse_line(const char *line, json_t *one)
{
	json_t *files = json_object_get(one, "files");
	const char *rest;
	uint64_t size;

	if (text_begins(line, "name="))
		return json_object_set_new(one, "name", json_string(line + strlen("name=")));
	if (text_begins(line, "packed=") &&
	    parse_size(line + strlen("packed="), PACKED_MAX, &size, &rest) && *rest == '\0')
		return json_object_set_new(one, "packed", json_integer((json_int_t)size));
	if (text_begins(line, "file=") &&
	    parse_size(line + strlen("file="), INT64_MAX, &size, &rest) && *rest == ' ') {
		return json_array_append_new(
			files, json_pack("{s:s, s:I}", "path", rest + 1, "size", (json_int_t)size));
	}
	return -1;
}

static int parse_listing(const char *text, size_t size, json_t *one, struct err *err)
{
	CLEANUP_FREE char *copy = strndup(text, size);
	char *save = NULL;
	int r = 0;

	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	for (char *p = strtok_r(copy, "\n", &save); r == 0 && p; p = strtok_r(NULL, "\n", &save))
		r = parse_line(p, one);
	if (r < 0 || !json_object_get(one, "name") || !json_object_get(one, "packed"))
		r = err_set(err, -EPROTO, "the list of what was added is damaged");
	return r;
}

/* One archive at `data`; `ret_used`: with its frame. */
static int list_one(const uint8_t *data, size_t size, unsigned number, json_t *one,
		    size_t *ret_used, struct err *err)
{
	struct cpio_entry e, end;
	char name[32];
	struct reader in;
	uint64_t used;
	int r;

	reader_init(&in, data, size);
	r = cpio_get(&in, &e, err);
	if (r == 0)
		r = cpio_get(&in, &end, err);
	(void)snprintf(name, sizeof(name), NAME_FORMAT, number);
	if (r == 0 && (strcmp(e.name, name) != 0 || strcmp(end.name, CPIO_TRAILER) != 0))
		r = err_set(err, -EPROTO, "an archive is not where it should be");
	if (r == 0)
		r = parse_listing(e.data, e.size, one, err);
	if (r < 0)
		return r;
	used = stepped(size - in.left) +
	       stepped((size_t)json_integer_value(json_object_get(one, "packed")));
	if (used > size)
		return err_set(err, -EPROTO, "an archive is cut off");
	*ret_used = used;
	return 0;
}

int added_list(const uint8_t *data, size_t size, unsigned first, json_t *ret, struct err *err)
{
	for (unsigned number = first; size > 0; number++) {
		CLEANUP_JSON json_t *one = json_pack("{s:[]}", "files");
		size_t used = 0;
		int r = number > ADDED_MAX ? err_set(err, -EPROTO,
						     "there are more than %u archives", ADDED_MAX)
					   : list_one(data, size, number, one, &used, err);

		if (r < 0)
			return err_prefix(err, "the added archives");
		if (json_array_append(ret, one) < 0)
			return err_set(err, -ENOMEM, "out of memory");
		data += used;
		size -= used;
	}
	return 0;
}

void added_done(struct added *a)
{
	free(a->data);
	json_decref(a->list);
}

int added_read(int fd, const struct iso_place *p, struct added *a, struct err *err)
{
	int r = iso_place_read(fd, p, &a->data, &a->size, err);

	a->list = json_array();
	return r == 0 ? added_list(a->data, a->size, 1, a->list, err) : r;
}

int added_append(struct added *a, const char *path, const char *release, struct err *err)
{
	CLEANUP_FREE uint8_t *more = NULL;
	uint8_t *grown;
	size_t size = 0, len = json_array_size(a->list);
	int r;

	if (len >= ADDED_MAX)
		return err_set(err, -E2BIG, "'%s': there are %u archives on it already", path,
			       ADDED_MAX);
	r = added_pack(path, release, (unsigned)len + 1, &more, &size, err);
	if (r < 0 || !more)
		return r;
	grown = realloc(a->data, a->size + size);
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	a->data = grown;
	memcpy(a->data + a->size, more, size);
	a->size += size;
	return added_list(more, size, (unsigned)len + 1, a->list, err);
}

void added_print(const json_t *list)
{
	json_t *one, *file;
	size_t i, j;

	json_array_foreach(list, i, one)
	{
		json_array_foreach(json_object_get(one, "files"), j, file)
		{
			print_line(stdout, "added %s: %s (%" PRIu64 " bytes)",
				   json_text(one, "name"), json_text(file, "path"),
				   json_number(file, "size"));
		}
	}
}
