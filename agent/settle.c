/* settle.c - the list of disks once it is known what is on them. */
#include <stdio.h>
#include <string.h>

#include "agent/inventory.h"

/* "sda1", "nvme0n1p2": block/partitions/core.c puts a 'p' after a digit. */
static void partition_name(const struct disk *d, unsigned number, char *ret, size_t size)
{
	size_t n = strlen(d->sysname);
	bool digit = n > 0 && d->sysname[n - 1] >= '0' && d->sysname[n - 1] <= '9';

	(void)snprintf(ret, size, "%s%s%u", d->sysname, digit ? "p" : "", number);
}

static const char *raid_uuid(const struct content *c)
{
	return strcmp(c->type, "linux_raid_member") == 0 && c->uuid[0] ? c->uuid : NULL;
}

/* The UUID in the superblock of a disk or partition called `member`, or NULL. */
static const char *find_raid_uuid(const struct disk_list *l, const char *member)
{
	for (size_t i = 0; i < l->len; i++) {
		const struct disk *d = &l->disks[i];
		char name[DISK_NAME_SIZE + 12];

		if (strcmp(d->sysname, member) == 0)
			return raid_uuid(&d->contents.content);
		for (size_t j = 0; j < d->contents.partitions_len; j++) {
			const struct partition *p = &d->contents.partitions[j];

			partition_name(d, p->number, name, sizeof(name));
			if (strcmp(name, member) == 0)
				return raid_uuid(&p->content);
		}
	}
	return NULL;
}

static void name_array(const struct disk_list *l, struct disk *d)
{
	for (size_t i = 0; i < d->members.len && !d->md_uuid[0]; i++) {
		const char *uuid = find_raid_uuid(l, d->members.names[i]);

		if (uuid)
			(void)snprintf(d->md_uuid, sizeof(d->md_uuid), "%s", uuid);
	}
}

/* Can disks of this kind be reached by several ways, and is their WWN to be trusted? */
static bool may_have_paths(const struct disk *d)
{
	static const char *const transports[] = {"sas",	 "fc",	   "iscsi",  "scsi",
						 "raid", "virtio", "vmware", "hyperv"};

	if (d->kind == DISK_MD || d->kind == DISK_FILE || !d->wwn[0])
		return false;
	for (size_t i = 0; i < sizeof(transports) / sizeof(*transports); i++) {
		if (strcmp(d->bus.transport, transports[i]) == 0)
			return true;
	}
	return false;
}

static bool has_same_names(const struct disk *a, const struct disk *b)
{
	return may_have_paths(a) && may_have_paths(b) && a->size == b->size &&
	       strcmp(a->wwn, b->wwn) == 0 && strcmp(a->serial, b->serial) == 0;
}

static bool is_same_disk(const struct disk *a, const struct disk *b)
{
	return has_same_names(a, b) && a->contents.has_fingerprint && b->contents.has_fingerprint &&
	       id_equal(&a->contents.fingerprint, &b->contents.fingerprint);
}

static void join_paths(struct disk_list *l)
{
	for (size_t i = 0; i < l->len; i++) {
		struct disk *first = &l->disks[i];

		for (size_t j = i + 1; j < l->len;) {
			char text[TEXT_SIZE];

			if (!is_same_disk(first, &l->disks[j])) {
				j++;
				continue;
			}
			/* What is joined already is the disk; its further path comes to it. */
			if (l->disks[j].kind == DISK_MULTIPATH && first->kind == DISK_PLAIN) {
				struct disk other = *first;

				*first = l->disks[j];
				l->disks[j] = other;
			}
			/* One that was locked is a source, however else it is reached. */
			first->is_read_only |= l->disks[j].is_read_only;
			if (first->kind == DISK_PLAIN) {
				first->kind = DISK_MULTIPATH;
				(void)name_list_add(&first->paths, first->name);
			}
			(void)name_list_add(&first->paths, l->disks[j].name);
			(void)snprintf(text, sizeof(text), "another path to %s", first->name);
			disk_list_remove(l, j, "path", text);
		}
	}
}

static struct disk *find_readable(const struct disk_list *l, const struct disk *d)
{
	for (size_t i = 0; i < l->len && d->serial[0]; i++) {
		if (l->disks[i].contents.has_fingerprint && has_same_names(&l->disks[i], d))
			return &l->disks[i];
	}
	return NULL;
}

/* A path by which nothing can be read, to a disk that is read by another one: broken, or the one to the controller of an array that stands by.  As a disk of its own
 * it would be captured as one that is lost from end to end, and give the other another id.  It is not joined to it: what is on it is not known to be the same. */
static void drop_blind_paths(struct disk_list *l)
{
	for (size_t i = 0; i < l->len;) {
		const struct disk *d = &l->disks[i];
		struct disk *other = NULL;
		char text[TEXT_SIZE];

		if (!d->contents.has_fingerprint)
			other = find_readable(l, d);
		if (!other) {
			i++;
			continue;
		}
		(void)snprintf(text, sizeof(text),
			       "another path to %s, by which it cannot be read at present",
			       other->name);
		other->is_read_only |= d->is_read_only; /* as in join_paths() */
		disk_list_remove(l, i, "path", text);
	}
}

static const struct disk *find_same(const struct disk_list *l, const struct skipped *s)
{
	for (size_t i = 0; i < l->len && s->wwn[0] && s->serial[0]; i++) {
		if (strcmp(l->disks[i].wwn, s->wwn) == 0 &&
		    strcmp(l->disks[i].serial, s->serial) == 0)
			return &l->disks[i];
	}
	return NULL;
}

/* A path that stands by may tell who the disk is, and not how large. */
static void find_sleeping_paths(struct disk_list *l)
{
	for (size_t i = 0; i < l->skipped_len; i++) {
		struct skipped *s = &l->skipped[i];
		const struct disk *d =
			strcmp(s->reason, DISK_NO_SIZE) == 0 ? find_same(l, s) : NULL;

		if (!d)
			continue;
		s->reason = "path";
		(void)snprintf(s->text, sizeof(s->text),
			       "another path to %s, which cannot be used at present", d->name);
	}
}

void disk_list_settle(struct disk_list *l)
{
	for (size_t i = 0; i < l->len; i++) {
		if (l->disks[i].kind == DISK_MD)
			name_array(l, &l->disks[i]);
	}
	for (size_t i = 0; i < l->len;) {
		if (l->disks[i].kind != DISK_FILE && l->disks[i].contents.is_boot_medium)
			disk_list_remove(l, i, "boot_medium", "holds the live image of Hoist");
		else
			i++;
	}
	disk_list_sort(l);
	join_paths(l);
	drop_blind_paths(l);
	find_sleeping_paths(l);
	disk_list_name(l);
}
