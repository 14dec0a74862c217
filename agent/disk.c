#include "agent/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_PART_MAX 60u

const char *disk_kind_name(enum disk_kind k)
{
	static const char *const names[] = {"disk", "multipath", "md", "file"};

	return names[k];
}

void contents_done(struct contents *c)
{
	free(c->partitions);
	*c = (struct contents){0};
}

static void disk_done(struct disk *d)
{
	name_list_done(&d->paths);
	name_list_done(&d->members);
	name_list_done(&d->used_by);
	contents_done(&d->contents);
}

void disk_list_done(struct disk_list *l)
{
	for (size_t i = 0; i < l->len; i++)
		disk_done(&l->disks[i]);
	free(l->disks);
	free(l->skipped);
	*l = (struct disk_list){0};
}

struct disk *disk_list_add(struct disk_list *l)
{
	struct disk *grown;

	if (l->len >= DEVICES_MAX)
		return NULL;
	grown = reallocarray(l->disks, l->len + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	l->disks = grown;
	grown += l->len++;
	*grown = (struct disk){.rotational = -1};
	grown->bus.transport = "other";
	return grown;
}

struct skipped *disk_list_skip(struct disk_list *l, const char *name, const char *reason,
			       const char *fmt, ...)
{
	struct skipped *grown;
	char text[sizeof(grown->text) * 2];
	va_list ap;

	if (l->skipped_len >= DEVICES_MAX)
		return NULL;
	grown = reallocarray(l->skipped, l->skipped_len + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	l->skipped = grown;
	grown += l->skipped_len++;
	*grown = (struct skipped){.reason = reason};
	(void)text_clean(grown->name, sizeof(grown->name), name, strlen(name));
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)text_clean(grown->text, sizeof(grown->text), text, strlen(text));
	return grown;
}

void disk_list_remove(struct disk_list *l, size_t i, const char *reason, const char *text)
{
	(void)disk_list_skip(l, l->disks[i].name, reason, "%s", text);
	disk_done(&l->disks[i]);
	l->len--;
	memmove(&l->disks[i], &l->disks[i + 1], (l->len - i) * sizeof(*l->disks));
}

/* Append at most `max` characters of `part`, what is not allowed as '_', runs of that as one. */
static void id_append(char id[static DISK_ID_SIZE], const char *part, size_t max)
{
	size_t n = strlen(id);
	bool under = false;

	for (; *part && max > 0 && n + 1 < DISK_ID_SIZE; part++) {
		bool plain = (*part >= 'a' && *part <= 'z') || (*part >= 'A' && *part <= 'Z') ||
			     (*part >= '0' && *part <= '9') || strchr(":._-", *part);

		if (!plain && under)
			continue;
		under = !plain;
		id[n++] = *(plain ? part : "_");
		max--;
	}
	id[n] = '\0';
}

/* A serial number that says nothing: empty, or one character repeated. */
static bool is_serial_sane(const char *serial)
{
	return serial[0] != '\0' && serial[strspn(serial, (char[]){serial[0], '\0'})] != '\0';
}

static void disk_name(struct disk *d)
{
	char namespace[24] = "";

	if (d->nsid > 1) /* model and serial number are the controller's */
		(void)snprintf(namespace, sizeof(namespace), ":ns%u", d->nsid);
	if (d->kind == DISK_FILE) {
		id_append(d->id, "file:", 5);
		id_append(d->id, d->name, ID_PART_MAX);
	} else if (d->kind == DISK_MD) {
		id_append(d->id, "md:", 3);
		id_append(d->id, d->md_uuid[0] ? d->md_uuid : d->name, ID_PART_MAX);
	} else if (d->wwn[0]) {
		id_append(d->id, "wwn:", 4);
		id_append(d->id, d->wwn, ID_PART_MAX);
	} else if (is_serial_sane(d->serial)) {
		id_append(d->id, "serial:", 7);
		id_append(d->id, d->model, ID_PART_MAX);
		id_append(d->id, d->model[0] ? ":" : "", 1);
		id_append(d->id, d->serial, ID_PART_MAX - 14);
		id_append(d->id, namespace, 14);
	} else {
		id_append(d->id, "path:", 5);
		id_append(d->id, d->bus.path[0] ? d->bus.path : d->device, DISK_ID_SIZE);
	}
}

static bool is_taken(const struct disk_list *l, size_t self)
{
	for (size_t i = 0; i < l->len; i++) {
		if (i != self && strcmp(l->disks[i].id, l->disks[self].id) == 0)
			return true;
	}
	return false;
}

/* Give all disks whose id is another's too a tail that tells them apart: first found, then written, so that all of them get one. */
static void disk_list_tell_apart(struct disk_list *l, const char *(*tail)(const struct disk *d))
{
	bool taken[DEVICES_MAX];

	for (size_t i = 0; i < l->len; i++)
		taken[i] = is_taken(l, i);
	for (size_t i = 0; i < l->len; i++) {
		const char *t = tail(&l->disks[i]);
		size_t room = strlen(t) + 4;

		if (!taken[i] || !t[0])
			continue;
		if (room > DISK_ID_SIZE / 2)
			room = DISK_ID_SIZE / 2;
		if (strlen(l->disks[i].id) > DISK_ID_SIZE - 1 - room)
			l->disks[i].id[DISK_ID_SIZE - 1 - room] = '\0';
		id_append(l->disks[i].id, ".at.", 4);
		id_append(l->disks[i].id, t, DISK_ID_SIZE);
	}
}

static const char *tail_of_path(const struct disk *d)
{
	return d->bus.path;
}

static const char *tail_of_name(const struct disk *d)
{
	return d->kind == DISK_FILE ? d->path : d->name;
}

void disk_list_name(struct disk_list *l)
{
	for (size_t i = 0; i < l->len; i++) {
		l->disks[i].id[0] = '\0';
		disk_name(&l->disks[i]);
	}
	disk_list_tell_apart(l, tail_of_path);
	disk_list_tell_apart(l, tail_of_name);
}

static unsigned rank(const struct disk *d)
{
	if (d->kind == DISK_FILE || d->kind == DISK_MD)
		return 2;
	return d->is_removable || d->bus.is_usb ? 1 : 0;
}

static int by_place(const void *pa, const void *pb)
{
	const struct disk *a = pa, *b = pb;
	int r;

	if (rank(a) != rank(b))
		return rank(a) < rank(b) ? -1 : 1;
	if (a->kind == DISK_FILE && b->kind == DISK_FILE)
		return 0;
	/* A place before none. */
	r = (a->bus.path[0] == '\0') - (b->bus.path[0] == '\0');
	if (r == 0)
		r = strverscmp(a->bus.path, b->bus.path);
	return r != 0 ? r : strverscmp(a->name, b->name);
}

/* Stable, because files stay in the order in which they were given. */
void disk_list_sort(struct disk_list *l)
{
	for (size_t i = 1; i < l->len; i++) {
		for (size_t j = i; j > 0 && by_place(&l->disks[j - 1], &l->disks[j]) > 0; j--) {
			struct disk t = l->disks[j];

			l->disks[j] = l->disks[j - 1];
			l->disks[j - 1] = t;
		}
	}
}

int disk_check_opened(const struct disk *d, const struct blk *b, struct err *err)
{
	if (d->seq != 0 && blk_disk_seq(b) != 0 && d->seq != blk_disk_seq(b)) {
		return err_set(
			err, -ESTALE,
			"'%s' was %s, and another disk has just come up there: order the job again",
			d->id, d->path);
	}
	if (blk_size(b) == d->size && blk_sector_size(b) == d->sector_size)
		return 0;
	return err_set(err, -ESTALE,
		       "'%s' (%s) has just changed: it has %" PRIu64 " bytes in sectors of %" PRIu32
		       ", and had %" PRIu64 " in sectors of %" PRIu32
		       ": look at the disk, then order the job again",
		       d->id, d->path, blk_size(b), blk_sector_size(b), d->size, d->sector_size);
}
