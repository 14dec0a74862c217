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

	if (d->kind == DISK_MD || d->kind == DISK_FILE || !d->wwn[0] ||
	    !d->contents.has_fingerprint)
		return false;
	for (size_t i = 0; i < sizeof(transports) / sizeof(*transports); i++) {
		if (strcmp(d->bus.transport, transports[i]) == 0)
			return true;
	}
	return false;
}

static bool is_same_disk(const struct disk *a, const struct disk *b)
{
	return may_have_paths(a) && may_have_paths(b) && a->size == b->size &&
	       strcmp(a->wwn, b->wwn) == 0 && strcmp(a->serial, b->serial) == 0 &&
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
	disk_list_name(l);
}
