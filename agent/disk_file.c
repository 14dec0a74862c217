/* disk_file.c - plain files as disks, for machines of developers and for tests. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory.h"
#include "common/blk.h"

struct spec {
	char path[PATH_MAX];
	char name[DISK_NAME_SIZE]; /* "" : the file's */
	uint32_t sector_size;
	bool is_read_only;
};

/* One ",key=value" from the end.  1 when it was one of ours and is cut off, 0 when it belongs to the file's name. */
static int take_option(struct spec *s, const char *whole, struct err *err)
{
	char *comma = strrchr(s->path, ',');
	char *end;
	unsigned long n;

	if (!comma)
		return 0;
	if (strcmp(comma, ",ro") == 0) {
		s->is_read_only = true;
	} else if (strncmp(comma, ",name=", 6) == 0) {
		if (strlen(comma + 6) >= sizeof(s->name) || comma[6] == '\0')
			return err_set(err, -EINVAL, "--disk '%s': a name has 1 to %zu characters",
				       whole, sizeof(s->name) - 1);
		memcpy(s->name, comma + 6, strlen(comma + 6) + 1);
	} else if (strncmp(comma, ",sector=", 8) == 0) {
		errno = 0;
		n = strtoul(comma + 8, &end, 10);
		if (errno != 0 || *end || comma[8] == '\0' || n > UINT32_MAX ||
		    !blk_sector_size_is_valid((uint32_t)n)) {
			return err_set(err, -EINVAL,
				       "--disk '%s': a sector size is a power of two from 512 to "
				       "65536",
				       whole);
		}
		s->sector_size = (uint32_t)n;
	} else {
		return 0;
	}
	*comma = '\0';
	return 1;
}

static int parse_spec(const char *text, struct spec *ret, struct err *err)
{
	int r;

	*ret = (struct spec){.sector_size = BLK_SECTOR_SIZE_MIN};
	if (strlen(text) >= sizeof(ret->path))
		return err_set(err, -ENAMETOOLONG, "--disk: the name is too long");
	memcpy(ret->path, text, strlen(text) + 1);
	do {
		r = take_option(ret, text, err);
	} while (r > 0);
	if (r == 0 && ret->path[0] == '\0')
		return err_set(err, -EINVAL, "--disk '%s': which file?", text);
	return r;
}

static int check_file(const struct spec *s, struct blk **ret, struct err *err)
{
	CLEANUP(blk_freep) struct blk *b = NULL;
	int r = blk_open_file(s->path, BLK_READ, BLK_LOOK, s->sector_size, &b, err);

	if (r < 0)
		return r;
	if (blk_size(b) == 0 || blk_size(b) % blk_sector_size(b) != 0) {
		return err_set(err, -EINVAL,
			       "--disk '%s': its %" PRIu64
			       " bytes are no whole number of sectors of "
			       "%u bytes",
			       s->path, blk_size(b), blk_sector_size(b));
	}
	*ret = TAKE_PTR(b);
	return 0;
}

int disk_file_add(struct disk_list *l, const char *text, struct err *err)
{
	CLEANUP(blk_freep) struct blk *b = NULL;
	CLEANUP_FREE char *path = NULL;
	const char *base;
	struct disk *d;
	struct spec s;
	int r = parse_spec(text, &s, err);

	if (r == 0)
		r = check_file(&s, &b, err);
	if (!b)
		return r;
	path = realpath(s.path, NULL);
	if (!path)
		return err_set(err, -errno, "--disk '%s': %m", s.path);
	for (size_t i = 0; i < l->len; i++) {
		if (strcmp(l->disks[i].path, path) == 0)
			return err_set(err, -EEXIST, "--disk '%s': the same file twice", s.path);
	}
	d = disk_list_add(l);
	if (!d)
		return err_set(err, -ENOMEM, "--disk '%s': too many, or out of memory", s.path);
	base = strrchr(path, '/') + 1;
	d->kind = DISK_FILE;
	d->bus.transport = "file";
	memcpy(d->path, path, strlen(path) + 1);
	(void)text_clean(d->name, sizeof(d->name), s.name[0] ? s.name : base, PATH_MAX);
	memcpy(d->model, "file", 5);
	d->size = blk_size(b);
	d->sector_size = blk_sector_size(b);
	d->physical_sector_size = blk_physical_sector_size(b);
	d->is_read_only = s.is_read_only || access(path, W_OK) < 0;
	return 0;
}
