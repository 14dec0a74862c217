/* enumerate.c - /sys/block, one verdict each.  The rules stand in a table in the order of docs/inventory.md: the first that has an
 * opinion decides, and a device that none objects to is a disk. */
#include "agent/enumerate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct look {
	const struct sysroot *root;
	struct disk_list *list;
	char sysname[DISK_NAME_SIZE];
	char name[DISK_NAME_SIZE];
	char dir[PATH_MAX];    /* its folder, canonical */
	char device[PATH_MAX]; /* that of the device behind it, or "" */
	char bus[32];	       /* subsystem of that, or "" */
	uint64_t size;
	enum disk_kind kind;
};

enum verdict { GO_ON, IS_DISK, IS_SKIPPED };

static enum verdict skip(const struct look *l, const char *reason, const char *text)
{
	(void)disk_list_skip(l->list, l->name, reason, "%s", text);
	return IS_SKIPPED;
}

static bool is_set(const struct look *l, const char *attribute)
{
	uint64_t v = 0;

	return sysroot_u64(l->root, &v, "%s/%s", l->dir, attribute) && v != 0;
}

static bool is_multipath_map(const struct sysroot *r, const char *sysname)
{
	char uuid[TEXT_SIZE];

	return sysroot_text(r, uuid, sizeof(uuid), "sys/block/%s/dm/uuid", sysname) &&
	       strncmp(uuid, "mpath-", 6) == 0;
}

static enum verdict rule_path(struct look *l)
{
	CLEANUP_NAMES struct name_list holders = {0};

	if (is_set(l, "hidden"))
		return skip(l, "path", "one of several paths that the kernel joins");
	sysroot_list(l->root, &holders, "%s/holders", l->dir);
	for (size_t i = 0; i < holders.len; i++) {
		char text[TEXT_SIZE];

		if (!is_multipath_map(l->root, holders.names[i]))
			continue;
		(void)snprintf(text, sizeof(text), "a path to %.64s", holders.names[i]);
		return skip(l, "path", text);
	}
	return GO_ON;
}

static enum verdict rule_dm(struct look *l)
{
	char uuid[TEXT_SIZE], name[128], text[TEXT_SIZE];
	const char *what = "device-mapper volume";

	if (!sysroot_exists(l->root, "%s/dm", l->dir))
		return GO_ON;
	if (is_multipath_map(l->root, l->sysname)) {
		l->kind = DISK_MULTIPATH;
		return l->size > 0 ? IS_DISK : GO_ON;
	}
	(void)sysroot_text(l->root, uuid, sizeof(uuid), "%s/dm/uuid", l->dir);
	(void)sysroot_text(l->root, name, sizeof(name), "%s/dm/name", l->dir);
	if (strncmp(uuid, "LVM-", 4) == 0)
		what = "LVM logical volume";
	else if (strncmp(uuid, "CRYPT-", 6) == 0)
		what = "decrypted volume";
	else if (strncmp(uuid, "part", 4) == 0)
		what = "partition of a multipath disk";
	(void)snprintf(text, sizeof(text), "%s %s", what, name);
	return skip(l, "volume", text);
}

static enum verdict rule_md(struct look *l)
{
	char state[32];

	if (!sysroot_exists(l->root, "%s/md", l->dir))
		return GO_ON;
	(void)sysroot_text(l->root, state, sizeof(state), "%s/md/array_state", l->dir);
	if (l->size == 0 || strcmp(state, "clear") == 0 || strcmp(state, "inactive") == 0)
		return skip(l, "inactive", "MD array that is not running, or a container");
	l->kind = DISK_MD;
	return IS_DISK;
}

static enum verdict rule_virtual(struct look *l)
{
	static const char *const boring[] = {"loop", "ram", "zram"};

	if (l->device[0])
		return GO_ON;
	if (sysroot_exists(l->root, "%s/pid", l->dir) && l->size > 0)
		return IS_DISK; /* a connected network block device */
	for (size_t i = 0; i < sizeof(boring) / sizeof(*boring); i++) {
		if (strncmp(l->sysname, boring[i], strlen(boring[i])) == 0)
			return IS_SKIPPED;
	}
	if (l->size == 0)
		return IS_SKIPPED;
	return skip(l, "virtual", "no device behind it");
}

static enum verdict rule_area(struct look *l)
{
	char text[TEXT_SIZE];
	const char *parent;

	if (strcmp(l->bus, "block") != 0)
		return GO_ON;
	parent = strrchr(l->device, '/');
	(void)snprintf(text, sizeof(text), "an area of %.64s apart from its disk",
		       parent ? parent + 1 : "");
	return skip(l, "area", text);
}

static enum verdict rule_scsi_type(struct look *l)
{
	uint64_t type;
	char text[TEXT_SIZE];

	if (strcmp(l->bus, "scsi") != 0 || !sysroot_u64(l->root, &type, "%s/type", l->device))
		return GO_ON;
	if (type == 5)
		return skip(l, "optical", "CD or DVD drive");
	/* scsi/scsi_proto.h: TYPE_DISK, TYPE_MOD, TYPE_RBC, TYPE_ZBC */
	if (type == 0 || type == 7 || type == 14 || type == 20)
		return GO_ON;
	(void)snprintf(text, sizeof(text), "SCSI device of type %u", (unsigned)type);
	return skip(l, "type", text);
}

static enum verdict rule_driver(struct look *l)
{
	char driver[64];

	(void)sysroot_link_name(l->root, driver, sizeof(driver), "%s/driver", l->device);
	if (strcmp(driver, "floppy") == 0)
		return skip(l, "floppy", "floppy drive");
	if (strcmp(l->bus, "mtd") == 0)
		return skip(l, "flash", "raw flash memory");
	if (strcmp(l->bus, "xen") == 0 && is_set(l, "ro") && is_set(l, "removable"))
		return skip(l, "optical", "virtual CD drive");
	return GO_ON;
}

bool vpd_serial(const void *page, size_t size, char *ret, size_t ret_size)
{
	const uint8_t *p = page;
	size_t len;

	if (size < 4 || p[1] != 0x80)
		return false;
	len = (size_t)p[2] << 8 | p[3];
	return text_clean(ret, ret_size, p + 4, len < size - 4 ? len : size - 4) > 0;
}

bool vpd_ata_model(const void *page, size_t size, char *ret, size_t ret_size)
{
	/* IDENTIFY DEVICE data from byte 60; its words 27 to 46 are the model, the first character in each word's high byte */
	const size_t at = 60 + 27 * 2, len = 40;
	const uint8_t *p = page;
	char swapped[40];

	if (size < at + len || p[1] != 0x89)
		return false;
	for (size_t i = 0; i < len; i++)
		swapped[i] = (char)p[at + (i ^ 1)];
	return text_clean(ret, ret_size, swapped, len) > 0;
}

static void find_model(const struct look *l, struct disk *d)
{
	uint8_t page[1024];
	char vendor[64] = "", model[160] = "";
	ssize_t n = sysroot_read(l->root, page, sizeof(page), "%s/vpd_pg89", l->device);
	const char *file = strcmp(l->bus, "mmc") == 0	? "name"
			   : strcmp(l->bus, "ccw") == 0 ? "devtype"
							: "model";

	if (n > 0 && vpd_ata_model(page, (size_t)n, d->model, sizeof(d->model)))
		return;
	/* A PCI or virtio device's `vendor` is a number, and it has no model. */
	if (sysroot_text(l->root, model, sizeof(model), "%s/%s", l->device, file))
		(void)sysroot_text(l->root, vendor, sizeof(vendor), "%s/vendor", l->device);
	if (strcmp(vendor, "ATA") == 0 || strncmp(vendor, "0x", 2) == 0)
		vendor[0] = '\0';
	(void)snprintf(d->model, sizeof(d->model), "%s%s%s", vendor, vendor[0] ? " " : "", model);
}

/* The serial number of the USB device that this one is behind, for bridges that have none in SCSI. */
static void find_usb_serial(const struct look *l, struct disk *d)
{
	char path[PATH_MAX], *slash;

	(void)snprintf(path, sizeof(path), "%s", l->device);
	while ((slash = strrchr(path, '/'))) {
		*slash = '\0';
		if (!sysroot_exists(l->root, "%s/idVendor", path))
			continue;
		(void)sysroot_text(l->root, d->serial, sizeof(d->serial), "%s/serial", path);
		return;
	}
}

static void find_serial(const struct look *l, struct disk *d)
{
	uint8_t page[512];
	ssize_t n = sysroot_read(l->root, page, sizeof(page), "%s/vpd_pg80", l->device);

	if ((n > 0 && vpd_serial(page, (size_t)n, d->serial, sizeof(d->serial))) ||
	    sysroot_text(l->root, d->serial, sizeof(d->serial), "%s/serial", l->dir) ||
	    sysroot_text(l->root, d->serial, sizeof(d->serial), "%s/serial", l->device) ||
	    sysroot_text(l->root, d->serial, sizeof(d->serial), "%s/unique_id", l->device) ||
	    sysroot_text(l->root, d->serial, sizeof(d->serial), "%s/uid", l->device))
		return;
	if (d->bus.is_usb)
		find_usb_serial(l, d);
}

static void find_wwn(const struct look *l, struct disk *d)
{
	static const char *const kinds[] = {"naa.", "eui.", "uuid."};
	char wwid[TEXT_SIZE];

	if (!sysroot_text(l->root, wwid, sizeof(wwid), "%s/wwid", l->device) &&
	    !sysroot_text(l->root, wwid, sizeof(wwid), "%s/wwid", l->dir))
		return;
	/* Others ("t10.", "nvme.") are made of model and serial number, which we have. */
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strncmp(wwid, kinds[i], strlen(kinds[i])) == 0)
			(void)snprintf(d->wwn, sizeof(d->wwn), "%s", wwid);
	}
}

static void find_identity(const struct look *l, struct disk *d)
{
	uint64_t nsid;

	if (sysroot_u64(l->root, &nsid, "%s/nsid", l->dir) && nsid <= UINT32_MAX)
		d->nsid = (unsigned)nsid;
	find_model(l, d);
	find_serial(l, d);
	find_wwn(l, d);
}

static const char *or_dash(const char *text)
{
	return text[0] ? text : "-";
}

/* A disk that tells nothing of its size is there all the same: it has died, or its sectors are of a size that Linux does not read.  Whoever looks for it is to
 * know which it is. */
static enum verdict rule_size(struct look *l)
{
	struct disk d = {.rotational = -1};
	struct skipped *s;

	if (l->size > 0)
		return IS_DISK;
	if (is_set(l, "removable"))
		return skip(l, "no_medium", "no medium in it");
	buspath_find(l->root, l->dir, &d.bus);
	find_identity(l, &d);
	/* where arrays of EMC have no LUN 0 for a machine */
	if (strcmp(d.model, "DGC LUNZ") == 0)
		return skip(l, "type", "an array's place holder, no disk");
	s = disk_list_skip(
		l->list, l->name, DISK_NO_SIZE,
		"its size is zero, or makes no sense (%.80s, serial number %.50s, at %.60s)",
		or_dash(d.model), or_dash(d.serial), or_dash(d.bus.path));
	if (s) {
		memcpy(s->serial, d.serial, sizeof(s->serial));
		memcpy(s->wwn, d.wwn, sizeof(s->wwn));
	}
	return IS_SKIPPED;
}

static enum verdict (*const rules[])(struct look *l) = {
	rule_path, rule_dm,	   rule_md,	rule_virtual,
	rule_area, rule_scsi_type, rule_driver, rule_size,
};

/* The identity of a multipath disk is that of any of its paths. */
static void find_identity_of_paths(const struct look *l, struct disk *d)
{
	struct buspath bus;
	struct look path = *l;

	for (size_t i = 0; i < d->paths.len && !d->wwn[0]; i++) {
		if (!sysroot_follow(l->root, path.dir, "sys/block/%s", d->paths.names[i]) ||
		    !sysroot_follow(l->root, path.device, "%s/device", path.dir))
			continue;
		find_identity(&path, d);
		buspath_find(l->root, path.dir, &bus);
		if (bus.transport)
			d->bus.transport = bus.transport;
	}
}

static void find_users(const struct look *l, struct disk *d)
{
	CLEANUP_NAMES struct name_list entries = {0};

	sysroot_list(l->root, &d->used_by, "%s/holders", l->dir);
	sysroot_list(l->root, &entries, "%s", l->dir);
	for (size_t i = 0; i < entries.len; i++) {
		CLEANUP_NAMES struct name_list more = {0};

		if (!sysroot_exists(l->root, "%s/%s/partition", l->dir, entries.names[i]))
			continue;
		sysroot_list(l->root, &more, "%s/%s/holders", l->dir, entries.names[i]);
		for (size_t j = 0; j < more.len; j++)
			(void)name_list_add(&d->used_by, more.names[j]);
	}
	name_list_unique(&d->used_by);
}

static void find_shape(const struct look *l, struct disk *d)
{
	char type[16];
	uint64_t v;

	d->size = l->size;
	if (sysroot_u64(l->root, &v, "%s/diskseq", l->dir))
		d->seq = v;
	d->sector_size = 512;
	if (sysroot_u64(l->root, &v, "%s/queue/logical_block_size", l->dir) && v <= UINT32_MAX)
		d->sector_size = (uint32_t)v;
	d->physical_sector_size = d->sector_size;
	if (sysroot_u64(l->root, &v, "%s/queue/physical_block_size", l->dir) && v <= UINT32_MAX &&
	    v > d->sector_size)
		d->physical_sector_size = (uint32_t)v;
	if (sysroot_u64(l->root, &v, "%s/queue/rotational", l->dir))
		d->rotational = v != 0;
	d->is_read_only = is_set(l, "ro");
	/* An SD card is not called removable, because its driver would then have to lock it in. */
	d->is_removable = is_set(l, "removable") ||
			  (sysroot_text(l->root, type, sizeof(type), "%s/type", l->device) &&
			   strcmp(l->bus, "mmc") == 0 && strcmp(type, "SD") == 0);
}

static int add_disk(const struct look *l, struct err *err)
{
	struct disk *d = disk_list_add(l->list);

	if (!d) {
		return err_set(err, l->list->len >= DEVICES_MAX ? -E2BIG : -ENOMEM,
			       "list the disks: %s at %s",
			       l->list->len >= DEVICES_MAX ? "there are too many" : "out of memory",
			       l->name);
	}
	memcpy(d->name, l->name, sizeof(d->name));
	memcpy(d->sysname, l->sysname, sizeof(d->sysname));
	memcpy(d->device, l->dir, sizeof(d->device));
	d->kind = l->kind;
	if (snprintf(d->path, sizeof(d->path), "%s/dev/%s", l->root->path, l->name) >=
	    (int)sizeof(d->path))
		d->path[0] = '\0';
	buspath_find(l->root, l->dir, &d->bus);
	if (!d->bus.transport)
		d->bus.transport = d->kind == DISK_MD ? "md" : l->device[0] ? "other" : "nbd";
	find_shape(l, d);
	find_users(l, d);
	if (d->kind == DISK_MULTIPATH) {
		sysroot_list(l->root, &d->paths, "%s/slaves", l->dir);
		find_identity_of_paths(l, d);
	} else if (d->kind == DISK_MD) {
		sysroot_list(l->root, &d->members, "%s/slaves", l->dir);
		(void)sysroot_text(l->root, d->md_uuid, sizeof(d->md_uuid), "%s/md/uuid", l->dir);
	} else {
		find_identity(l, d);
	}
	return 0;
}

static int look_at(const struct sysroot *r, const char *sysname, struct disk_list *list,
		   struct err *err)
{
	struct look l = {.root = r, .list = list};
	enum verdict v = GO_ON;
	uint64_t sectors = 0;

	if (strlen(sysname) >= sizeof(l.sysname) ||
	    !sysroot_follow(r, l.dir, "sys/block/%s", sysname))
		return 0; /* not made by a kernel of ours */
	(void)snprintf(l.sysname, sizeof(l.sysname), "%s", sysname);
	(void)text_clean(l.name, sizeof(l.name), sysname, strlen(sysname));
	for (char *p = l.name; (p = strchr(p, '!'));)
		*p = '/'; /* as in /dev: block/genhd.c, and drivers/base/core.c device_get_devnode */
	if (!sysroot_follow(r, l.device, "%s/device", l.dir))
		l.device[0] = '\0';
	if (l.device[0])
		(void)sysroot_link_name(r, l.bus, sizeof(l.bus), "%s/subsystem", l.device);
	(void)sysroot_u64(r, &sectors, "%s/size", l.dir);
	if (__builtin_mul_overflow(sectors, 512, &l.size))
		l.size = 0;
	for (size_t i = 0; v == GO_ON && i < sizeof(rules) / sizeof(*rules); i++)
		v = rules[i](&l);
	return v == IS_DISK ? add_disk(&l, err) : 0;
}

int enumerate_disks(const struct sysroot *r, struct disk_list *ret, struct err *err)
{
	CLEANUP_NAMES struct name_list names = {0};
	int n = 0;

	sysroot_list(r, &names, "sys/block");
	for (size_t i = 0; n == 0 && i < names.len; i++)
		n = look_at(r, names.names[i], ret, err);
	return n;
}
