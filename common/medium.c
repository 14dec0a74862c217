#include "common/medium.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cpio.h"

#define FILES_MAX     16u
#define BLOCK	      (1u << 20)
#define MARKER_NAME   "hoist.d/HOIST-SETTINGS-1"
#define SETTINGS_NAME "hoist.d/settings"
#define MARKER_TEXT   "HOIST-SETTINGS-1 size=65536 7d6f0f5e0c1b4a3f9e2d8c5b6a790e13\n"
#define MARKER_SIZE   (sizeof(MARKER_TEXT) - 1)
#define NAME_AT	      110u /* after the header */
#define MARKER_AT     136u /* after the name, and padding */

/* ---- finding */

static bool is_marker(const uint8_t *p)
{
	return memcmp(p, "070701", 6) == 0 && memcmp(p + 54, "0000003d", 8) == 0 &&
	       memcmp(p + 94, "00000019", 8) == 0 &&
	       memcmp(p + NAME_AT, MARKER_NAME, sizeof(MARKER_NAME)) == 0 &&
	       memcmp(p + MARKER_AT, MARKER_TEXT, MARKER_SIZE) == 0;
}

ssize_t medium_read(int fd, void *buf, size_t size, uint64_t offset)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = pread(fd, (uint8_t *)buf + got, size - got, (off_t)(offset + got));

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

static int search_file(int fd, medium_marker_fn *is_it, uint8_t *buf, struct medium_search *s,
		       struct err *err)
{
	for (uint64_t at = 0;; at += BLOCK) {
		ssize_t n = medium_read(fd, buf, BLOCK, at);

		if (n < 0) {
			errno = (int)-n;
			return err_set(err, (int)n, "read at byte %llu: %m",
				       (unsigned long long)at);
		}
		for (size_t i = 0; i + MEDIUM_MARKER_SIZE <= (size_t)n; i += MEDIUM_SECTOR) {
			if (is_it(buf + i)) {
				s->offset = at + i;
				s->matches++;
			}
		}
		s->end = at + (size_t)n;
		if ((size_t)n < BLOCK)
			return 0;
	}
}

int medium_search(int fd, medium_marker_fn *is_it, struct medium_search *ret, struct err *err)
{
	uint8_t *buf = malloc(BLOCK);
	struct medium_search s = {0};
	int r = buf ? search_file(fd, is_it, buf, &s, err) : err_set(err, -ENOMEM, "out of memory");

	free(buf);
	if (r == 0)
		*ret = s;
	return r;
}

int medium_find(int fd, uint64_t *ret_offset, struct err *err)
{
	struct medium_search s = {0};
	int r = medium_search(fd, is_marker, &s, err);

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

/* Marker texts that begin in the file, wherever. */
static int count_texts(int fd, unsigned *ret, struct err *err)
{
	uint8_t *buf = malloc(BLOCK + MARKER_SIZE - 1);
	unsigned n = 0;
	int r = 0;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	for (uint64_t at = 0; r == 0; at += BLOCK) {
		ssize_t size = medium_read(fd, buf, BLOCK + MARKER_SIZE - 1, at);
		const uint8_t *p = buf;

		if (size < 0) {
			errno = (int)-size;
			r = err_set(err, (int)size, "read at byte %llu: %m",
				    (unsigned long long)at);
			break;
		}
		while ((p = memmem(p, (size_t)(buf + size - p), MARKER_TEXT, MARKER_SIZE))) {
			p++;
			n++;
		}
		if (size < (ssize_t)BLOCK)
			break;
	}
	free(buf);
	*ret = n;
	return r;
}

int medium_find_strict(int fd, uint64_t *ret_offset, struct err *err)
{
	int found = medium_find(fd, ret_offset, err), r;
	struct err why;
	unsigned texts = 0;

	if (found < 0 && found != -ENOENT)
		return found;
	r = count_texts(fd, &texts, &why);
	if (r < 0) {
		*err = why;
		return r;
	}
	if (texts > (found == 0 ? 1u : 0u)) {
		return err_set(err, -EEXIST,
			       "there is a place for settings in it that does not begin at a "
			       "multiple of %u bytes: what is in it is not seen",
			       MEDIUM_SECTOR);
	}
	return found;
}

/* ---- writing */

static void put_file(struct writer *w, const char *name, const void *data, size_t size, unsigned n)
{
	cpio_put(w, &(struct cpio_entry){name, 0100600, data, size}, n);
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
	cpio_put_trailer(&w);
	if (!w.bad)
		memcpy(ret_area, area, MEDIUM_AREA_SIZE);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	free(area);
	return w.bad ? err_set(err, -E2BIG, "settings of %zu bytes do not fit into %u", size,
			       MEDIUM_AREA_SIZE)
		     : 0;
}

/* ---- reading */

int medium_decode(const uint8_t area[static MEDIUM_AREA_SIZE], const char **ret_settings,
		  size_t *ret_size, struct err *err)
{
	struct cpio_entry e = {.name = ""}, settings = {0};
	struct reader r;

	if (!is_marker(area))
		return err_set(err, -EPROTO, "the settings area does not begin with its marker");
	reader_init(&r, area, MEDIUM_AREA_SIZE);
	for (unsigned i = 0;; i++) {
		int result = cpio_get(&r, &e, err);

		if (result < 0)
			return err_prefix(err, "the settings area");
		if (strcmp(e.name, CPIO_TRAILER) == 0)
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
