/* Names of disks, their order, and what is settled once they were probed. */
#include "agent/disk.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/inventory.h"
#include "common/json.h"
#include "tests/unit/tap.h"

static struct disk *add(struct disk_list *l, const char *name, const char *bus_path)
{
	struct disk *d = disk_list_add(l);

	(void)snprintf(d->name, sizeof(d->name), "%s", name);
	(void)snprintf(d->sysname, sizeof(d->sysname), "%s", name);
	(void)snprintf(d->bus.path, sizeof(d->bus.path), "%s", bus_path);
	d->size = 1000000;
	return d;
}

#define SET(field, text) (void)snprintf((field), sizeof(field), "%s", (text))

static void test_ids(void)
{
	static const struct {
		const char *model, *serial, *wwn, *bus_path;
		unsigned nsid;
		const char *id, *name;
	} cases[] = {
		{"M", "S", "naa.5000c500a1b2c3d4", "p", 0, "wwn:naa.5000c500a1b2c3d4", "WWN first"},
		{"Samsung SSD 850", "S2R", "", "p", 0, "serial:Samsung_SSD_850:S2R",
		 "then model and serial number"},
		{"", "S2R", "", "p", 0, "serial:S2R", "a serial number alone"},
		{"QEMU NVMe", "N1", "", "p", 1, "serial:QEMU_NVMe:N1", "the first namespace"},
		{"QEMU NVMe", "N1", "", "p", 7, "serial:QEMU_NVMe:N1:ns7", "another namespace"},
		{"M", "0000000000", "", "pci-0000:00:1f.2-ata-1", 0, "path:pci-0000:00:1f.2-ata-1",
		 "zeros are no serial number"},
		{"M", "", "", "pci-0000:00:04.0", 0, "path:pci-0000:00:04.0", "then the place"},
		{"A/B  \"C\"", "\xc3\xa4;$(x)\x1b[", "", "p", 0, "serial:A_B_C_:_x_",
		 "hostile characters become one underscore"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct disk_list l = {0};
		struct disk *d = add(&l, "sda", cases[i].bus_path);

		SET(d->model, cases[i].model);
		SET(d->serial, cases[i].serial);
		SET(d->wwn, cases[i].wwn);
		d->nsid = cases[i].nsid;
		disk_list_name(&l);
		if (!ok(strcmp(l.disks[0].id, cases[i].id) == 0, cases[i].name))
			printf("# %s\n", l.disks[0].id);
		disk_list_done(&l);
	}
}

static void test_ties(void)
{
	struct disk_list l = {0};
	char longest[TEXT_SIZE];

	for (int i = 0; i < 4; i++) {
		SET(add(&l, (const char *[]){"sda", "sdb", "sdc", "sdd"}[i],
			(const char *[]){"usb-0:1", "usb-0:2", "usb-0:2", "usb-0:3"}[i])
			    ->serial,
		    i == 3 ? "OTHER" : "0123");
	}
	disk_list_name(&l);
	ok(strcmp(l.disks[0].id, "serial:0123.at.usb-0:1") == 0, "a tie is told apart by place");
	ok(strcmp(l.disks[1].id, "serial:0123.at.usb-0:2.at.sdb") == 0 &&
		   strcmp(l.disks[2].id, "serial:0123.at.usb-0:2.at.sdc") == 0,
	   "and where that is the same too, by name");
	ok(strcmp(l.disks[3].id, "serial:OTHER") == 0, "and who is not in it keeps its id");
	disk_list_done(&l);

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	longest[0] = 'y';
	for (int i = 0; i < 2; i++) {
		struct disk *d = add(&l, i ? "sda" : "sdb", longest);

		SET(d->model, longest);
		SET(d->serial, longest);
	}
	disk_list_name(&l);
	ok(strcmp(l.disks[0].id, l.disks[1].id) != 0 && strlen(l.disks[0].id) < DISK_ID_SIZE &&
		   strspn(l.disks[0].id, "serial:xy._atsdb") == strlen(l.disks[0].id),
	   "the longest texts still give two ids within bounds");
	disk_list_done(&l);
}

static bool order_is(const struct disk_list *l, const char *want)
{
	char got[256] = "";

	for (size_t i = 0; i < l->len; i++) {
		size_t n = strlen(got);

		(void)snprintf(got + n, sizeof(got) - n, "%s%s", i ? " " : "", l->disks[i].name);
	}
	if (strcmp(got, want) != 0)
		printf("# %s\n", got);
	return strcmp(got, want) == 0;
}

static void test_order(void)
{
	struct disk_list l = {0};

	add(&l, "md0", "")->kind = DISK_MD;
	add(&l, "sdz", "pci-0000:00:1f.2-ata-10");
	add(&l, "sde", "pci-0000:00:14.0-usb-0:1")->bus.is_usb = true;
	add(&l, "sdf", "pci-0000:00:02.0-mmc")->is_removable = true;
	add(&l, "dm-0", "");
	add(&l, "sdb", "pci-0000:00:1f.2-ata-2");
	add(&l, "nvme0n1", "pci-0000:00:04.0-nvme-1");
	add(&l, "sdaa", "pci-0000:10:00.0-scsi-0:2:0:0");
	disk_list_sort(&l);
	ok(order_is(&l, "nvme0n1 sdb sdz sdaa dm-0 sdf sde md0"),
	   "by place with numbers by value, then what can be plugged, then arrays");
	disk_list_done(&l);
	for (int i = 0; i < 3; i++)
		add(&l, (const char *[]){"c", "a", "b"}[i], "")->kind = DISK_FILE;
	disk_list_sort(&l);
	ok(order_is(&l, "c a b"), "files stay as they were given");
	disk_list_done(&l);
}

static struct disk *add_path(struct disk_list *l, const char *name, unsigned char mark)
{
	struct disk *d = add(l, name, name);

	SET(d->wwn, "naa.5000c500deadbe01");
	d->bus.transport = "sas";
	d->contents.has_fingerprint = true;
	d->contents.fingerprint.b[0] = mark;
	return d;
}

static void test_paths(void)
{
	struct disk_list l = {0};
	struct disk *d;

	(void)add_path(&l, "sda", 1);
	(void)add_path(&l, "sdb", 1);
	(void)add_path(&l, "sdc", 1);
	disk_list_settle(&l);
	d = &l.disks[0];
	ok(l.len == 1 && d->kind == DISK_MULTIPATH && d->paths.len == 3 &&
		   strcmp(d->paths.names[0], "sda") == 0 && strcmp(d->paths.names[2], "sdc") == 0,
	   "several ways to one disk are one disk");
	ok(l.skipped_len == 2 && strcmp(l.skipped[1].name, "sdc") == 0 &&
		   strcmp(l.skipped[1].reason, "path") == 0 &&
		   strcmp(l.skipped[1].text, "another path to sda") == 0,
	   "and the others are mentioned");
	disk_list_done(&l);

	(void)add_path(&l, "sda", 1);
	add_path(&l, "sdb", 1)->is_read_only = true;
	disk_list_settle(&l);
	ok(l.len == 1 && l.disks[0].is_read_only, "read-only by one path is read-only by all");
	disk_list_done(&l);

	(void)add_path(&l, "sda", 1);
	d = add_path(&l, "sdz", 1);
	d->kind = DISK_MULTIPATH;
	d->is_read_only = true;
	(void)name_list_add(&d->paths, "sdb");
	(void)name_list_add(&d->paths, "sdc");
	disk_list_settle(&l);
	d = &l.disks[0];
	ok(l.len == 1 && strcmp(d->name, "sdz") == 0 && d->is_read_only && d->paths.len == 3 &&
		   strcmp(d->paths.names[0], "sdb") == 0 && strcmp(d->paths.names[2], "sda") == 0 &&
		   strcmp(l.skipped[0].name, "sda") == 0,
	   "a further path comes to the device that joins the others, not that to the path");
	disk_list_done(&l);

	(void)add_path(&l, "sda", 1);
	(void)add_path(&l, "sdb", 2);
	add_path(&l, "sdc", 1)->size = 5;
	add_path(&l, "sdd", 1)->bus.transport = "usb";
	SET(add_path(&l, "sde", 1)->serial, "other");
	add_path(&l, "sdf", 1)->wwn[5] = '6';
	add_path(&l, "sdg", 1)->contents.has_fingerprint = false;
	disk_list_settle(&l);
	ok(l.len == 7 && l.skipped_len == 0,
	   "but not when anything differs, is unknown, or the bus knows no paths");
	disk_list_done(&l);
}

/* By one of its paths it cannot be read: 0 by the second, 1 by the first. */
static void test_blind_path(void)
{
	for (int blind = 0; blind < 2; blind++) {
		struct disk_list l = {0};

		SET(add_path(&l, "sda", 1)->serial, "S1");
		SET(add_path(&l, "sdb", 1)->serial, "S1");
		l.disks[!blind].contents.has_fingerprint = false;
		l.disks[!blind].is_read_only = true;
		disk_list_settle(&l);
		ok(l.len == 1 && l.disks[0].is_read_only &&
			   strcmp(l.disks[0].name, blind ? "sdb" : "sda") == 0 &&
			   l.disks[0].kind == DISK_PLAIN && l.disks[0].paths.len == 0 &&
			   strcmp(l.disks[0].id, "wwn:naa.5000c500deadbe01") == 0,
		   "a disk that cannot be read by one of two paths is that by the other");
		ok(l.skipped_len == 1 && strcmp(l.skipped[0].reason, "path") == 0,
		   "and the one is mentioned");
		disk_list_done(&l);
	}
}

/* What tells no size is a disk that is lost, unless another path leads to it. */
static void test_no_size(void)
{
	static const char *const cases[][3] = {{"naa.5000c500deadbe01", "S1", "path"},
					       {"naa.5000c500deadbe01", "S2", DISK_NO_SIZE},
					       {"naa.5000c500deadbe02", "S1", DISK_NO_SIZE},
					       {"", "S1", DISK_NO_SIZE}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct disk_list l = {0};
		struct skipped *s = disk_list_skip(&l, "sdb", DISK_NO_SIZE, "%s", "zero");

		SET(s->wwn, cases[i][0]);
		SET(s->serial, cases[i][1]);
		SET(add_path(&l, "sda", 1)->serial, "S1");
		disk_list_settle(&l);
		ok(l.len == 1 && l.skipped_len == 1 &&
			   strcmp(l.skipped[0].reason, cases[i][2]) == 0,
		   i == 0 ? "a path that tells no size is one to the disk that bears its names"
			  : "and to no other");
		disk_list_done(&l);
	}
}

/* The server holds back a token's job for a disk of no size, so it must not be what the list has no room for. */
static void test_many_skipped(void)
{
	struct inventory *i = calloc(1, sizeof(*i));
	CLEANUP_JSON json_t *j = NULL;
	const json_t *list, *one;
	unsigned dead = 0, last = 0;
	size_t n;

	for (unsigned k = 0; i && k < 300; k++)
		(void)disk_list_skip(&i->disks, "sdb", k < 299 ? "path" : DISK_NO_SIZE, "%u", k);
	j = i ? inventory_to_json(i) : NULL;
	list = json_object_get(j, "skipped");
	json_array_foreach((json_t *)list, n, one)
	{
		const char *reason = json_string_value(json_object_get(one, "reason"));

		dead += reason && strcmp(reason, DISK_NO_SIZE) == 0;
		last = (unsigned)strtoul(json_string_value(json_object_get(one, "text")), NULL, 10);
	}
	ok(json_array_size(list) == DISKS_MAX && dead == 1 && last == 299,
	   "of 300 that are no disks 256 are told, the one of no size among them");
	inventory_freep(&i);
}

static void test_settle(void)
{
	struct disk_list l = {0};
	struct disk *d = add(&l, "nvme0n1", "a");

	d->contents.partitions = calloc(2, sizeof(*d->contents.partitions));
	d->contents.partitions_len = 2;
	d->contents.partitions[1].number = 2;
	SET(d->contents.partitions[1].content.type, "linux_raid_member");
	SET(d->contents.partitions[1].content.uuid, "77777777-aaaa");
	d = add(&l, "md0", "");
	d->kind = DISK_MD;
	(void)name_list_add(&d->members, "nvme0n1p2");
	add(&l, "sdb", "b")->contents.is_boot_medium = true;
	d = add(&l, "c.img", "");
	d->kind = DISK_FILE;
	d->contents.is_boot_medium = true;
	disk_list_settle(&l);
	ok(l.len == 3 && l.skipped_len == 1 && strcmp(l.skipped[0].name, "sdb") == 0 &&
		   strcmp(l.skipped[0].reason, "boot_medium") == 0,
	   "the boot medium is no disk, unless it is a file that was asked for");
	ok(order_is(&l, "nvme0n1 c.img md0") && strcmp(l.disks[2].id, "md:77777777-aaaa") == 0,
	   "an array has the UUID that its members carry");
	disk_list_done(&l);
}

static void test_files(void)
{
	char dir[] = "/var/tmp/hoist-test-disk-XXXXXX", path[128], spec[160];
	struct disk_list l = {0};
	struct err err;
	FILE *f;

	if (!mkdtemp(dir))
		abort();
	(void)snprintf(path, sizeof(path), "%s/a,b.img", dir);
	f = fopen(path, "we");
	if (!f || ftruncate(fileno(f), 8192) < 0 || fclose(f) != 0)
		abort();
	ok(disk_file_add(&l, path, &err) == 0 && l.disks[0].sector_size == 512 &&
		   strcmp(l.disks[0].name, "a,b.img") == 0 && l.disks[0].kind == DISK_FILE,
	   "a file whose name has a comma");
	ok(disk_file_add(&l, path, &err) == -EEXIST && l.len == 1,
	   "the same file twice is refused");
	disk_list_done(&l);
	(void)snprintf(spec, sizeof(spec), "%s,sector=4096,name=boot disk,ro", path);
	ok(disk_file_add(&l, spec, &err) == 0 && l.disks[0].sector_size == 4096 &&
		   strcmp(l.disks[0].name, "boot disk") == 0 && l.disks[0].is_read_only,
	   "with sector size, name, and not to be written");
	disk_list_name(&l);
	ok(strcmp(l.disks[0].id, "file:boot_disk") == 0, "its id is its name");
	disk_list_done(&l);
	static const char *const bad[] = {",sector=1000",   ",sector=", ",sector=4096x",
					  ",sector=131072", ",name=",	",sector=16384"};
	bool good = true;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		(void)snprintf(spec, sizeof(spec), "%s%s", path, bad[i]);
		good = good && disk_file_add(&l, spec, &err) == -EINVAL && l.len == 0 && err.msg[0];
	}
	ok(good, "what makes no sense is refused, a size that is no whole number of sectors too");
	ok(disk_file_add(&l, ",ro", &err) == -EINVAL &&
		   disk_file_add(&l, "/nonexistent", &err) == -ENOENT &&
		   disk_file_add(&l, dir, &err) == -ENOTBLK,
	   "no file, none there, none at all");
	(void)unlink(path);
	(void)rmdir(dir);
}

int main(void)
{
	test_ids();
	test_ties();
	test_order();
	test_paths();
	test_blind_path();
	test_no_size();
	test_many_skipped();
	test_settle();
	test_files();
	return done();
}
