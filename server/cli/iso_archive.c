#include "server/cli/iso_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/text.h"

#define READ_BLOCK (64u << 10)

void iso_archive_done(struct iso_archive *s)
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

/* ---- what is taken, and where it goes */

enum fate { TAKEN, LEFT_OUT, REFUSED };

/* Of what is no folder: not "..", nor names that say nothing or too much, or that a list cannot show as they are. */
static bool is_sound(const char *path)
{
	size_t len = strlen(path);
	char copy[ISO_ARCHIVE_PATH_SIZE];
	char *save = NULL;

	if (len == 0 || len >= sizeof(copy))
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)path[i] <= ' ' || path[i] == 0x7f)
			return false;
	}
	(void)text_clean(copy, sizeof(copy), path, len);
	if (strcmp(copy, path) != 0 || strstr(path, "//") || path[len - 1] == '/')
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
	while (text_begins(path, "./") || path[0] == '/')
		path += path[0] == '/' ? 1 : 2;
	return text_begins(path, "usr/lib/") ? path + strlen("usr/") : path;
}

static bool is_module(const char *path)
{
	return text_ends(path, ".ko") || text_ends(path, ".ko.xz") || text_ends(path, ".ko.zst");
}

static enum fate fate_of_module(const struct iso_archive *s, const char *path, mode_t type,
				char ret[static ISO_ARCHIVE_PATH_SIZE], struct err *err)
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
		(void)snprintf(ret, ISO_ARCHIVE_PATH_SIZE, "lib/modules/%s/updates/%s", s->release,
			       name);
		return TAKEN;
	}
	/* what depmod and the build of a kernel leave there */
	if (text_begins(name, "modules.") || strcmp(name, "build") == 0 ||
	    strcmp(name, "source") == 0)
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

	if (!target || target[0] == '\0' || target[0] == '/' ||
	    strlen(target) >= ISO_ARCHIVE_PATH_SIZE)
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

static enum fate fate_of(const struct iso_archive *s, struct archive_entry *e,
			 char ret[static ISO_ARCHIVE_PATH_SIZE], struct err *err)
{
	const char *path = archive_entry_pathname(e);
	mode_t type = archive_entry_filetype(e);

	if (type == 0 && archive_entry_hardlink(e))
		type = S_IFREG; /* tar does not say of what kind it is */
	path = path ? plain_path(path) : "";
	if (S_ISDIR(type) || text_begins(path, "usr/share/"))
		return LEFT_OUT;
	if (!is_sound(path)) {
		(void)err_set(err, -EINVAL, "there is a file with an impossible name in it");
		return REFUSED;
	}
	if (text_begins(path, "lib/modules/"))
		return fate_of_module(s, path, type, ret, err);
	if (text_begins(path, "lib/firmware/") && !text_begins(path, "lib/firmware/hoist/")) {
		if (S_ISREG(type) ||
		    (S_ISLNK(type) && is_link_sound(path, archive_entry_symlink(e)))) {
			(void)snprintf(ret, ISO_ARCHIVE_PATH_SIZE, "%s", path);
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

static struct iso_archive_file *find_file(const struct iso_archive *s, const char *path)
{
	for (size_t i = 0; i < s->len; i++) {
		if (strcmp(s->files[i].path, path) == 0)
			return &s->files[i];
	}
	return NULL;
}

static int add_size(struct iso_archive *s, size_t size, struct err *err)
{
	s->size += size;
	if (s->size > ISO_ARCHIVE_SIZE_MAX)
		return err_set(err, -E2BIG, "there are more than %u MiB in it",
			       ISO_ARCHIVE_SIZE_MAX >> 20);
	return 0;
}

static int read_data(struct archive *a, struct iso_archive *s, struct iso_archive_file *f,
		     struct err *err)
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
static int check_module(const struct iso_archive_file *f, const char *release, struct err *err)
{
	static const char key[] = "vermagic=";
	const uint8_t *at = NULL;
	size_t left, n = strlen(release);

	if (!text_ends(f->path, ".ko"))
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
static int copy_data(struct iso_archive *s, struct iso_archive_file *to,
		     const struct iso_archive_file *from, struct err *err)
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
static int share_data(struct iso_archive *s, size_t i, struct err *err)
{
	struct iso_archive_file *f = &s->files[i], *first = &s->files[f->first];
	int r = 0;

	if (f->size == 0 && first->size > 0)
		return copy_data(s, f, first, err);
	for (size_t j = 0; r == 0 && f->size > 0 && j < i; j++) {
		if (s->files[j].first == f->first && s->files[j].size == 0)
			r = copy_data(s, &s->files[j], f, err);
	}
	return r;
}

static int read_content(struct archive *a, struct archive_entry *e, struct iso_archive *s,
			struct iso_archive_file *f, struct err *err)
{
	const char *target = archive_entry_symlink(e);

	if (archive_entry_filetype(e) != AE_IFLNK)
		return read_data(a, s, f, err);
	f->mode = 0120777;
	f->size = strlen(target);
	f->data = (uint8_t *)strdup(target);
	return f->data ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int take_entry(struct archive *a, struct archive_entry *e, struct iso_archive *s,
		      const char *path, struct err *err)
{
	const char *link = archive_entry_hardlink(e);
	struct iso_archive_file *grown, *first = NULL;
	size_t i = s->len;
	int r;

	if (find_file(s, path))
		return err_set(err, -EINVAL, "'%s' is in it twice", path);
	if (s->len >= ISO_ARCHIVE_FILES)
		return err_set(err, -E2BIG, "there are more than %u files in it",
			       ISO_ARCHIVE_FILES);
	grown = reallocarray(s->files, s->len + 1, sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	s->files = grown;
	if (link && (first = find_file(s, plain_path(link))))
		link = NULL;
	if (link)
		return err_set(err, -EINVAL, "'%s' is a link to what was not taken", path);
	s->files[s->len++] = (struct iso_archive_file){.path = strdup(path), .mode = 0100644};
	if (!s->files[i].path)
		return err_set(err, -ENOMEM, "out of memory");
	s->files[i].first = first ? first->first : i;
	r = read_content(a, e, s, &s->files[i], err);
	if (r == 0)
		r = share_data(s, i, err);
	return r == 0 && text_begins(path, "lib/modules/")
		       ? check_module(&s->files[i], s->release, err)
		       : r;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct iso_archive_file *)a)->path,
		      ((const struct iso_archive_file *)b)->path);
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

int iso_archive_read(const char *path, struct iso_archive *s, struct err *err)
{
	CLEANUP(archive_done) struct archive *a = archive_read_new();
	struct archive_entry *e;
	int n = a ? take_forms(a, err) : err_set(err, -ENOMEM, "out of memory");

	if (n < 0)
		return n;
	if (archive_read_open_filename(a, path, READ_BLOCK) != ARCHIVE_OK)
		return err_set(err, -EIO, "%s", archive_error_string(a));
	while ((n = archive_read_next_header(a, &e)) == ARCHIVE_OK) {
		char place[ISO_ARCHIVE_PATH_SIZE];
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
