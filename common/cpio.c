#include "common/cpio.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HEADER_SIZE   110u
#define FIELD_MODE    1u /* of the 13 numbers of a header, from 0 */
#define FIELD_SIZE    6u
#define FIELD_NAME    11u
#define NAME_MAX_SIZE 4096u /* the kernel's PATH_MAX */

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

size_t cpio_size(const struct cpio_entry *e)
{
	return padded(HEADER_SIZE + strlen(e->name) + 1) + padded(e->size);
}

void cpio_put(struct writer *w, const struct cpio_entry *e, unsigned number)
{
	static const uint8_t zeros[4] = {0};
	unsigned links = (e->mode & 0170000) == 0040000 ? 2 : 1;
	char header[HEADER_SIZE + 1];
	size_t name_size = strlen(e->name) + 1;

	if (e->size > UINT32_MAX) {
		w->bad = true;
		return;
	}
	/* ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check */
	(void)snprintf(header, sizeof(header),
		       "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", number,
		       e->mode, 0u, 0u, links, 0u, (unsigned)e->size, 0u, 0u, 0u, 0u,
		       (unsigned)name_size, 0u);
	writer_bytes(w, header, HEADER_SIZE);
	writer_bytes(w, e->name, name_size);
	writer_bytes(w, zeros, padded(HEADER_SIZE + name_size) - (HEADER_SIZE + name_size));
	writer_bytes(w, e->data, e->size);
	writer_bytes(w, zeros, padded(e->size) - e->size);
}

void cpio_put_trailer(struct writer *w)
{
	cpio_put(w, &(struct cpio_entry){.name = CPIO_TRAILER, .data = ""}, 0);
}

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

int cpio_get(struct reader *r, struct cpio_entry *ret, struct err *err)
{
	const uint8_t *header = reader_bytes(r, HEADER_SIZE), *name, *data;
	size_t name_size = 0, size = 0, mode = 0;

	if (!header || memcmp(header, "070701", 6) != 0 ||
	    !read_field(header, FIELD_NAME, &name_size) || !read_field(header, FIELD_SIZE, &size) ||
	    !read_field(header, FIELD_MODE, &mode))
		return err_set(err, -EPROTO, "there is no valid archive header");
	if (name_size < 2 || name_size > NAME_MAX_SIZE)
		return err_set(err, -EPROTO, "there is a name of impossible size");
	name = reader_bytes(r, padded(HEADER_SIZE + name_size) - HEADER_SIZE);
	data = reader_bytes(r, padded(size));
	if (!name || !data)
		return err_set(err, -EPROTO, "it ends within a file");
	if (name[name_size - 1] != '\0')
		return err_set(err, -EPROTO, "there is a name without end");
	*ret = (struct cpio_entry){(const char *)name, (unsigned)mode, data, size};
	return 0;
}
