/* The area is a newc cpio archive, so that the kernel unpacks it without knowing of Hoist: "070701" and 13 fields of 8
 * hexadecimal digits, the name with its zero byte, zeros to a multiple of 4, the content, zeros to a multiple of 4. */
#include "common/medium.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"

#define HEADER_SIZE   110u
#define FIELD_SIZE    6u /* of the 13 numbers of a header, from 0: */
#define FIELD_NAME    11u
#define FILES_MAX     16u
#define BLOCK	      (1u << 20)
#define MARKER_NAME   "hoist.d/HOIST-SETTINGS-1"
#define SETTINGS_NAME "hoist.d/settings"
#define TRAILER	      "TRAILER!!!"
#define MARKER_TEXT   "HOIST-SETTINGS-1 size=65536 7d6f0f5e0c1b4a3f9e2d8c5b6a790e13\n"
#define MARKER_SIZE   (sizeof(MARKER_TEXT) - 1)
#define MARKER_AT     136u /* after the header, the name, and padding */

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* ---- finding */

static bool is_marker(const uint8_t *p)
{
	return memcmp(p, "070701", 6) == 0 && memcmp(p + 54, "0000003d", 8) == 0 &&
	       memcmp(p + 94, "00000019", 8) == 0 &&
	       memcmp(p + HEADER_SIZE, MARKER_NAME, sizeof(MARKER_NAME)) == 0 &&
	       memcmp(p + MARKER_AT, MARKER_TEXT, MARKER_SIZE) == 0;
}

/* As much as there is, up to `size`; short only at the end. */
static ssize_t read_full(int fd, uint8_t *buf, size_t size, uint64_t offset)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = pread(fd, buf + got, size - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

struct search {
	uint64_t offset; /* of the last match */
	unsigned matches;
	uint64_t end; /* of the file, at last */
};

static int search_file(int fd, uint8_t *buf, struct search *s, struct err *err)
{
	for (uint64_t at = 0;; at += BLOCK) {
		ssize_t n = read_full(fd, buf, BLOCK, at);

		if (n < 0) {
			errno = (int)-n;
			return err_set(err, (int)n, "read at byte %llu: %m",
				       (unsigned long long)at);
		}
		for (size_t i = 0; i + MARKER_AT + MARKER_SIZE <= (size_t)n; i += MEDIUM_SECTOR) {
			if (is_marker(buf + i)) {
				s->offset = at + i;
				s->matches++;
			}
		}
		s->end = at + (size_t)n;
		if ((size_t)n < BLOCK)
			return 0;
	}
}

int medium_find(int fd, uint64_t *ret_offset, struct err *err)
{
	uint8_t *buf = malloc(BLOCK);
	struct search s = {0};
	int r = buf ? search_file(fd, buf, &s, err) : err_set(err, -ENOMEM, "out of memory");

	free(buf);
	if (r < 0)
		return r;
	if (s.matches == 0) {
		return err_set(err, -ENOENT,
			       "there is no place for settings in it: it is not a boot medium of "
			       "Hoist");
	}
	if (s.matches > 1)
		return err_set(err, -EEXIST, "there is more than one place for settings in it (%u)",
			       s.matches);
	if (s.end - s.offset < MEDIUM_AREA_SIZE)
		return err_set(err, -EPROTO, "it is cut off within its place for settings");
	*ret_offset = s.offset;
	return 0;
}

/* ---- writing */

static void put_file(struct writer *w, const char *name, const void *data, size_t size, unsigned n)
{
	static const uint8_t zeros[4] = {0};
	bool is_trailer = strcmp(name, TRAILER) == 0;
	unsigned mode = is_trailer ? 0 : 0100600;
	char header[HEADER_SIZE + 1];
	size_t name_size = strlen(name) + 1;

	/* ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check */
	(void)snprintf(header, sizeof(header),
		       "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", n, mode, 0u,
		       0u, 1u, 0u, (unsigned)size, 0u, 0u, 0u, 0u, (unsigned)name_size, 0u);
	writer_bytes(w, header, HEADER_SIZE);
	writer_bytes(w, name, name_size);
	writer_bytes(w, zeros, padded(HEADER_SIZE + name_size) - (HEADER_SIZE + name_size));
	writer_bytes(w, data, size);
	writer_bytes(w, zeros, padded(size) - size);
}

int medium_encode(const char *settings, size_t size, uint8_t ret_area[static MEDIUM_AREA_SIZE],
		  struct err *err)
{
	uint8_t *area = calloc(1, MEDIUM_AREA_SIZE);
	struct writer w;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	writer_init(&w, area, MEDIUM_AREA_SIZE);
	put_file(&w, MARKER_NAME, MARKER_TEXT, MARKER_SIZE, 1);
	put_file(&w, SETTINGS_NAME, settings, size, 2);
	put_file(&w, TRAILER, "", 0, 0);
	if (!w.bad)
		memcpy(ret_area, area, MEDIUM_AREA_SIZE);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	free(area);
	return w.bad ? err_set(err, -E2BIG, "settings of %zu bytes do not fit into %u", size,
			       MEDIUM_AREA_SIZE)
		     : 0;
}

/* ---- reading */

struct entry {
	const char *name; /* NUL-terminated within the area */
	const uint8_t *data;
	size_t size;
};

static bool read_field(const uint8_t *header, unsigned field, size_t *ret)
{
	size_t v = 0;

	for (unsigned i = 0; i < 8; i++) {
		uint8_t c = header[6 + 8 * field + i];
		const char *digits = "0123456789abcdef0123456789ABCDEF";
		const char *at = c ? strchr(digits, c) : NULL;

		if (!at)
			return false;
		v = v << 4 | (size_t)(at - digits) % 16;
	}
	*ret = v;
	return true;
}

static int read_entry(struct reader *r, struct entry *ret, struct err *err)
{
	const uint8_t *header = reader_bytes(r, HEADER_SIZE), *name, *data;
	size_t name_size = 0, size = 0;

	if (!header || memcmp(header, "070701", 6) != 0 ||
	    !read_field(header, FIELD_NAME, &name_size) || !read_field(header, FIELD_SIZE, &size))
		return err_set(err, -EPROTO, "the settings area holds no valid archive header");
	if (name_size < 2 || name_size > MEDIUM_AREA_SIZE || size > MEDIUM_AREA_SIZE)
		return err_set(err, -EPROTO, "the settings area holds a file of impossible size");
	name = reader_bytes(r, padded(HEADER_SIZE + name_size) - HEADER_SIZE);
	data = reader_bytes(r, padded(size));
	if (!name || !data)
		return err_set(err, -EPROTO, "the settings area ends within a file");
	if (name[name_size - 1] != '\0')
		return err_set(err, -EPROTO, "the settings area holds a name without end");
	*ret = (struct entry){(const char *)name, data, size};
	return 0;
}

int medium_decode(const uint8_t area[static MEDIUM_AREA_SIZE], const char **ret_settings,
		  size_t *ret_size, struct err *err)
{
	struct entry e = {.name = ""}, settings = {0};
	struct reader r;

	if (!is_marker(area))
		return err_set(err, -EPROTO, "the settings area does not begin with its marker");
	reader_init(&r, area, MEDIUM_AREA_SIZE);
	for (unsigned i = 0;; i++) {
		int result = read_entry(&r, &e, err);

		if (result < 0)
			return result;
		if (strcmp(e.name, TRAILER) == 0)
			break;
		if (i == FILES_MAX)
			return err_set(err, -EPROTO, "the settings area holds more than %u files",
				       FILES_MAX);
		if (strcmp(e.name, SETTINGS_NAME) == 0)
			settings = e;
	}
	if (!settings.name)
		return err_set(err, -EPROTO, "the settings area holds no file " SETTINGS_NAME);
	if (!bytes_are_zero(r.p, r.left))
		return err_set(err, -EPROTO, "the settings area is not zero behind its archive");
	*ret_settings = (const char *)settings.data;
	*ret_size = settings.size;
	return 0;
}

/* ---- lines */

int medium_check_setting(const char *key, const char *value, struct err *err)
{
	size_t len = strlen(key), size = strlen(value);

	if (len == 0 || len > 64 || strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-") != len ||
	    strchr("-0123456789", key[0])) {
		return err_set(
			err, -EINVAL,
			"'%.80s' is not the name of a setting: those are lower-case letters, "
			"digits and '-'",
			key);
	}
	if (len + 1 + size > MEDIUM_LINE_MAX)
		return err_set(err, -EINVAL, "%s: the value is too long", key);
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return err_set(err, -EINVAL, "%s: the value holds a control character",
				       key);
	}
	if (size && (value[0] == ' ' || value[size - 1] == ' '))
		return err_set(err, -EINVAL, "%s: the value begins or ends with a blank", key);
	return 0;
}
