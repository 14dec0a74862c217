/* An archive is not put on the medium as it is: it is read by libarchive, and what is of use is written anew.  So whatever form it had, the kernel
 * gets the one form that it knows, and nothing can replace a part of the live image. */
#include "server/cli/iso_added.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zstd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/cpio.h"
#include "common/text.h"
#include "server/cli/print.h"

#define STEP	    512u /* each archive starts at a multiple of it */
#define LEVEL	    19
#define READ_BLOCK  (64u << 10)
#define NAME_FORMAT "hoist.d/added-%u"
#define PACKED_MAX  (2ull * ADDED_SIZE_MAX)
#define PATH_LONG   512u

struct added_file {
	char *path; /* in the live image */
	unsigned mode;
	uint8_t *data; /* of a link, where it leads */
	size_t size;
	size_t first; /* of the hard links to one file, its index; else its own */
};

struct added_set {
	struct added_file *files; /* heap */
	size_t len;
	uint64_t size;
	const char *release; /* not owned */
};

static void set_done(struct added_set *s)
{
	for (size_t i = 0; i < s->len; i++) {
		free(s->files[i].path);
		free(s->files[i].data);
	}
	free(s->files);
}

static void archive_done(struct archive **a)
{
	if (*a)
		(void)archive_read_free(*a);
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);

	return n > m && strcmp(text + n - m, with) == 0;
}

/* ---- what is taken, and where it goes */

enum fate { TAKEN, LEFT_OUT, REFUSED };

/* Not "..", nor names that say nothing or too much, or that a list cannot show as they are. */
static bool is_sound(const char *path)
{
	size_t len = strlen(path);
	char copy[PATH_LONG];
	char *save = NULL;

	if (len == 0 || len >= sizeof(copy))
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)path[i] <= ' ' || path[i] == 0x7f)
			return false;
	}
	(void)text_clean(copy, sizeof(copy), path, len);
	if (strcmp(copy, path) != 0 || strstr(path, "//"))
		return false;
	for (char *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (strcmp(p, "..") == 0 || strcmp(p, ".") == 0 || strlen(p) > NAME_MAX)
			return false;
	}
	return true;
}

/* Without "./", "/" and "usr/" before it. */
static const char *plain_path(const char *path)
{
	while (begins(path, "./") || path[0] == '/')
		path += path[0] == '/' ? 1 : 2;
	return begins(path, "usr/lib/") ? path + strlen("usr/") : path;
}

static bool is_module(const char *path)
{
	return ends(path, ".ko") || ends(path, ".ko.xz") || ends(path, ".ko.zst");
}

static enum fate fate_of_module(const struct added_set *s, const char *path, mode_t type,
				char ret[static PATH_LONG], struct err *err)
{
	const char *rest = path + strlen("lib/modules/"), *slash = strchr(rest, '/');
	const char *name = strrchr(path, '/') + 1;

	if (slash && S_ISREG(type) && is_module(path)) {
		size_t n = (size_t)(slash - rest);

		if (n != strlen(s->release) || memcmp(rest, s->release, n) != 0) {
			(void)err_set(err, -EINVAL,
				      "'%s' is a module for the kernel %.*s, and this medium has "
				      "%s",
				      path, (int)n, rest, s->release);
			return REFUSED;
		}
		(void)snprintf(ret, PATH_LONG, "lib/modules/%s/updates/%s", s->release, name);
		return TAKEN;
	}
	/* what depmod and the build of a kernel leave there */
	if (begins(name, "modules.") || strcmp(name, "build") == 0 || strcmp(name, "source") == 0)
		return LEFT_OUT;
	(void)err_set(err, -EINVAL, "'%s' is no module that the live image can load", path);
	return REFUSED;
}

/* A link may lead to a file of the same tree; ".." is where it begins, if at all, so that no other link can lead it elsewhere. */
static bool is_link_sound(const char *path, const char *target)
{
	int depth = -3; /* "lib", "firmware" and the link itself */
	bool named = false;
	const char *p;

	if (!target || target[0] == '\0' || target[0] == '/' || strlen(target) >= PATH_LONG)
		return false;
	for (p = path; p; p = strchr(p + 1, '/'))
		depth++;
	for (p = target; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && memcmp(p, "..", 2) == 0) {
			depth--;
			if (named)
				return false;
		} else if (n > 0 && !(n == 1 && *p == '.')) {
			depth++;
			named = true;
		}
		if (depth < 0)
			return false;
		p += n + (p[n] == '/');
	}
	return true;
}

static enum fate fate_of(const struct added_set *s, struct archive_entry *e,
			 char ret[static PATH_LONG], struct err *err)
{
	const char *path = archive_entry_pathname(e);
	mode_t type = archive_entry_filetype(e);

	if (type == 0 && archive_entry_hardlink(e))
		type = S_IFREG; /* tar does not say of what kind it is */
	path = path ? plain_path(path) : "";
	if (S_ISDIR(type) || begins(path, "usr/share/"))
		return LEFT_OUT;
	if (!is_sound(path)) {
		(void)err_set(err, -EINVAL, "there is a file with an impossible name in it");
		return REFUSED;
	}
	if (begins(path, "lib/modules/"))
		return fate_of_module(s, path, type, ret, err);
	if (begins(path, "lib/firmware/") && !begins(path, "lib/firmware/hoist/")) {
		if (S_ISREG(type) ||
		    (S_ISLNK(type) && is_link_sound(path, archive_entry_symlink(e)))) {
			(void)snprintf(ret, PATH_LONG, "%s", path);
			return TAKEN;
		}
		(void)err_set(err, -EINVAL, "'%s' is neither a file nor a link to one", path);
		return REFUSED;
	}
	(void)err_set(err, -EINVAL,
		      "'%s' would replace a part of Hoist, or be of no use to it: an archive may "
		      "hold lib/firmware, and lib/modules/%s",
		      path, s->release);
	return REFUSED;
}

/* ---- reading */

static struct added_file *find_file(const struct added_set *s, const char *path)
{
	for (size_t i = 0; i < s->len; i++) {
		if (strcmp(s->files[i].path, path) == 0)
			return &s->files[i];
	}
	return NULL;
}

static int add_size(struct added_set *s, size_t size, struct err *err)
{
	s->size += size;
	if (s->size > ADDED_SIZE_MAX)
		return err_set(err, -E2BIG, "there are more than %u MiB in it",
			       ADDED_SIZE_MAX >> 20);
	return 0;
}

static int read_data(struct archive *a, struct added_set *s, struct added_file *f, struct err *err)
{
	size_t room = 0;

	for (;;) {
		la_ssize_t n;
		int r;

		if (f->size + READ_BLOCK > room) {
			uint8_t *grown;

			room = room ? 2 * room : READ_BLOCK;
			grown = realloc(f->data, room);
			if (!grown)
				return err_set(err, -ENOMEM, "out of memory");
			f->data = grown;
		}
		n = archive_read_data(a, f->data + f->size, READ_BLOCK);
		if (n < 0)
			return err_set(err, -EIO, "%s", archive_error_string(a));
		if (n == 0) {
			uint8_t *fitted = realloc(f->data, f->size + 1);

			f->data = fitted ? fitted : f->data;
			return 0;
		}
		f->size += (size_t)n;
		r = add_size(s, (size_t)n, err);
		if (r < 0)
			return r;
	}
}

/* The kernel says what it was made for: "vermagic=6.1.0-56-amd64 SMP ..." in an uncompressed module. */
static int check_module(const struct added_file *f, const char *release, struct err *err)
{
	static const char key[] = "vermagic=";
	const uint8_t *at = NULL;
	size_t left, n = strlen(release);

	if (!ends(f->path, ".ko"))
		return 0;
	if (f->data && f->size > 4 &&
	    memcmp(f->data,
		   "\x7f"
		   "ELF",
		   4) == 0)
		at = memmem(f->data, f->size, key, strlen(key));
	if (!at)
		return err_set(err, -EINVAL, "'%s' is not a kernel module", f->path);
	at += strlen(key);
	left = f->size - (size_t)(at - f->data);
	if (left <= n || memcmp(at, release, n) != 0 || at[n] != ' ')
		return err_set(err, -EINVAL, "'%s' was not built for the kernel of this medium, %s",
			       f->path, release);
	return 0;
}

/* It counts again: a few bytes of an archive could stand for any number of copies. */
static int copy_data(struct added_set *s, struct added_file *to, const struct added_file *from,
		     struct err *err)
{
	uint8_t *copy;
	int r = add_size(s, from->size, err);

	if (r < 0)
		return r;
	copy = malloc(from->size + 1);
	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	memcpy(copy, from->data, from->size);
	free(to->data);
	to->data = copy;
	to->size = from->size;
	return 0;
}

/* Of several hard links cpio gives the last one the content, tar the first. */
static int share_data(struct added_set *s, size_t i, struct err *err)
{
	struct added_file *f = &s->files[i], *first = &s->files[f->first];
	int r = 0;

	if (f->size == 0 && first->size > 0)
		return copy_data(s, f, first, err);
	for (size_t j = 0; r == 0 && f->size > 0 && j < i; j++) {
		if (s->files[j].first == f->first && s->files[j].size == 0)
			r = copy_data(s, &s->files[j], f, err);
	}
	return r;
}

static int read_content(struct archive *a, struct archive_entry *e, struct added_set *s,
			struct added_file *f, struct err *err)
{
	const char *target = archive_entry_symlink(e);

	if (archive_entry_filetype(e) != AE_IFLNK)
		return read_data(a, s, f, err);
	f->mode = 0120777;
	f->size = strlen(target);
	f->data = (uint8_t *)strdup(target);
	return f->data ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int take_entry(struct archive *a, struct archive_entry *e, struct added_set *s,
		      const char *path, struct err *err)
{
	const char *link = archive_entry_hardlink(e);
	struct added_file *grown, *first = NULL;
	size_t i = s->len;
	int r;

	if (find_file(s, path))
		return err_set(err, -EINVAL, "'%s' is in it twice", path);
	if (s->len >= ADDED_FILES)
		return err_set(err, -E2BIG, "there are more than %u files in it", ADDED_FILES);
	grown = reallocarray(s->files, s->len + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	s->files = grown;
	if (link && (first = find_file(s, plain_path(link))))
		link = NULL;
	if (link)
		return err_set(err, -EINVAL, "'%s' is a link to what was not taken", path);
	s->files[s->len++] = (struct added_file){.path = strdup(path), .mode = 0100644};
	if (!s->files[i].path)
		return err_set(err, -ENOMEM, "out of memory");
	s->files[i].first = first ? first->first : i;
	r = read_content(a, e, s, &s->files[i], err);
	if (r == 0)
		r = share_data(s, i, err);
	return r == 0 && begins(path, "lib/modules/") ? check_module(&s->files[i], s->release, err)
						      : r;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct added_file *)a)->path, ((const struct added_file *)b)->path);
}

/* What libarchive has in itself.  For some other forms it would start a program, which an archive is not to choose. */
static int take_forms(struct archive *a, struct err *err)
{
	static int (*const forms[])(struct archive *) = {
		archive_read_support_filter_bzip2, archive_read_support_filter_compress,
		archive_read_support_filter_gzip,  archive_read_support_filter_lz4,
		archive_read_support_filter_lzip,  archive_read_support_filter_lzma,
		archive_read_support_filter_rpm,   archive_read_support_filter_xz,
		archive_read_support_filter_zstd,  archive_read_support_format_cpio,
		archive_read_support_format_tar,
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (forms[i](a) != ARCHIVE_OK)
			return err_set(err, -ENOSYS, "this system's libarchive is incomplete: %s",
				       archive_error_string(a));
	}
	return 0;
}

static int read_set(const char *path, struct added_set *s, struct err *err)
{
	CLEANUP(archive_done) struct archive *a = archive_read_new();
	struct archive_entry *e;
	int n = a ? take_forms(a, err) : err_set(err, -ENOMEM, "out of memory");

	if (n < 0)
		return n;
	if (archive_read_open_filename(a, path, READ_BLOCK) != ARCHIVE_OK)
		return err_set(err, -EIO, "%s", archive_error_string(a));
	while ((n = archive_read_next_header(a, &e)) == ARCHIVE_OK) {
		char place[PATH_LONG];
		enum fate fate = fate_of(s, e, place, err);
		int r = fate == REFUSED ? err->code
			: fate == TAKEN ? take_entry(a, e, s, place, err)
					: 0;

		if (r < 0)
			return r;
	}
	if (n != ARCHIVE_EOF)
		return err_set(err, -EIO, "%s", archive_error_string(a));
	if (s->len == 0)
		return err_set(err, -EINVAL, "there is neither a module nor firmware in it");
	qsort(s->files, s->len, sizeof(*s->files), by_path);
	return 0;
}

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
	char folder[PATH_LONG];

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		size_t n = (size_t)(p - path);

		if (strncmp(path, before, n + 1) == 0)
			continue;
		memcpy(folder, path, n);
		folder[n] = '\0';
		emit(k, &(struct cpio_entry){folder, 0040755, "", 0});
	}
}

static size_t emit_set(const struct added_set *s, struct writer *w)
{
	struct sink k = {.w = w};

	for (size_t i = 0; i < s->len; i++) {
		const struct added_file *f = &s->files[i];

		emit_folders(&k, f->path, i ? s->files[i - 1].path : "");
		emit(&k, &(struct cpio_entry){f->path, f->mode, f->data, f->size});
	}
	emit(&k, &(struct cpio_entry){.name = CPIO_TRAILER, .data = ""});
	return k.size;
}

static int compress_set(const struct added_set *s, uint8_t **ret, size_t *ret_size, struct err *err)
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

static char *listing(const struct added_set *s, const char *path, size_t packed)
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

static int put_both(const struct added_set *s, const char *path, unsigned number,
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
	CLEANUP(set_done) struct added_set s = {.release = release};
	CLEANUP_FREE uint8_t *packed = NULL;
	size_t size = 0;
	int r = read_set(path, &s, err);

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

	if (begins(line, "name="))
		return json_object_set_new(one, "name", json_string(line + strlen("name=")));
	if (begins(line, "packed=") &&
	    parse_size(line + strlen("packed="), PACKED_MAX, &size, &rest) && *rest == '\0')
		return json_object_set_new(one, "packed", json_integer((json_int_t)size));
	if (begins(line, "file=") && parse_size(line + strlen("file="), INT64_MAX, &size, &rest) &&
	    *rest == ' ') {
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
