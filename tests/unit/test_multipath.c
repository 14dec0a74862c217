/* What the device mapper is told of several paths to one disk. */
#include "agent/multipath.h"

#include <errno.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tests/unit/tap.h"

static struct {
	unsigned long refused; /* this request fails ... */
	int error;	       /* ... with that */
	unsigned creates, loads, resumes, removes, open;
	char name[DM_NAME_LEN], uuid[DM_UUID_LEN], type[DM_MAX_TYPE_NAME], params[1024];
	uint64_t sectors;
	char said[1024];
} fake;

static int fake_open(const char *path, int flags)
{
	(void)path;
	(void)flags;
	fake.open++;
	return 7;
}

static int fake_close(int fd)
{
	(void)fd;
	fake.open--;
	return 0;
}

static int fake_make_node(const char *path, unsigned major, unsigned minor)
{
	(void)path;
	(void)major;
	(void)minor;
	return 0;
}

static int fake_number(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
	*ret_major = 8;
	if (strlen(path) != strlen("/dev/sda"))
		return -ENOENT;
	*ret_minor = 16u * (unsigned)(path[7] - 'a');
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct dm_ioctl *q = arg;
	struct dm_target_spec spec;

	(void)fd;
	if (request == fake.refused)
		return fake.error;
	if (request == DM_DEV_CREATE) {
		fake.creates++;
		memcpy(fake.name, q->name, sizeof(fake.name));
		memcpy(fake.uuid, q->uuid, sizeof(fake.uuid));
	} else if (request == DM_TABLE_LOAD) {
		fake.loads++;
		memcpy(&spec, (char *)arg + q->data_start, sizeof(spec));
		memcpy(fake.type, spec.target_type, sizeof(fake.type));
		fake.sectors = spec.length;
		(void)snprintf(fake.params, sizeof(fake.params), "%s",
			       (char *)arg + q->data_start + sizeof(spec));
	} else if (request == DM_DEV_SUSPEND) {
		fake.resumes++;
	} else if (request == DM_DEV_REMOVE) {
		fake.removes++;
	}
	return 0;
}

static const struct replay_sys fake_sys = {
	.open = fake_open,
	.close = fake_close,
	.ioctl = fake_ioctl,
	.make_node = fake_make_node,
	.number = fake_number,
};

static void say(void *ctx, const char *line)
{
	size_t n = strlen(fake.said);

	(void)ctx;
	(void)snprintf(fake.said + n, sizeof(fake.said) - n, "%s\n", line);
}

static struct disk *add(struct disk_list *l, const char *name, unsigned paths)
{
	struct disk *d = disk_list_add(l);

	(void)snprintf(d->name, sizeof(d->name), "%s", name);
	(void)snprintf(d->id, sizeof(d->id), "wwn:naa.5000c5000000beef");
	(void)snprintf(d->wwn, sizeof(d->wwn), "naa.5000c5000000beef");
	d->size = 1ull << 40;
	d->kind = paths ? DISK_MULTIPATH : DISK_PLAIN;
	for (unsigned i = 0; i < paths; i++) {
		char path[] = "sda";

		path[2] = (char)('a' + i);
		(void)name_list_add(&d->paths, path);
	}
	return d;
}

static unsigned join(struct disk_list *l)
{
	return multipath_join(&fake_sys, l, say, NULL);
}

int main(void)
{
	struct disk_list two = {0}, many = {0}, others = {0};

	add(&two, "sda", 2);
	ok(join(&two) == 1, "two paths make one device");
	ok(strcmp(fake.params, "0 0 2 1 round-robin 0 1 1 8:0 1 round-robin 0 1 1 8:16 1") == 0,
	   "each is a group of its own");
	ok(strcmp(fake.type, "multipath") == 0 && fake.sectors == 1ull << 31,
	   "of the target multipath, as long as the disk");
	ok(strcmp(fake.uuid, "mpath-naa.5000c5000000beef") == 0 &&
		   strcmp(fake.name, "hoist-wwn:naa.5000c5000000beef") == 0,
	   "under the disk's name, known as a multipath device");
	ok(fake.resumes == 1 && fake.removes == 0 && fake.open == 0,
	   "started, and nothing left open");
	ok(strcmp(fake.said, "2 paths lead to the disk wwn:naa.5000c5000000beef: they are used as "
			     "one\n") == 0,
	   "which is said");

	memset(&fake, 0, sizeof(fake));
	two.disks[0].is_read_only = true;
	ok(join(&two) == 0 && fake.creates == 0 && strstr(fake.said, "read-only: only sda is used"),
	   "a locked disk gets no device that is not locked");
	two.disks[0].is_read_only = false;

	add(&many, "sda", 24);
	memset(&fake, 0, sizeof(fake));
	ok(join(&many) == 1 && strncmp(fake.params, "0 0 16 1 ", 9) == 0,
	   "no more than sixteen paths");

	memset(&fake, 0, sizeof(fake));
	add(&others, "sda", 0);
	add(&others, "dm-0", 2);
	add(&others, "sda", 1);
	ok(join(&others) == 0 && fake.creates == 0 && !fake.said[0],
	   "nothing for a single path, nor for a device that runs");

	memset(&fake, 0, sizeof(fake));
	fake.refused = DM_TABLE_LOAD;
	fake.error = -EINVAL;
	ok(join(&two) == 0 && fake.removes == 1 && fake.open == 0,
	   "a table that is refused leaves nothing");
	ok(strstr(fake.said, "cannot be joined (describe the device") &&
		   strstr(fake.said, "only sda is used"),
	   "and that is said");
	disk_list_done(&two);
	disk_list_done(&many);
	disk_list_done(&others);
	return done();
}
