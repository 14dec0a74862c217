/* probe.c - one disk through libblkid.
 *
 * Partitions are libblkid's reading of the table, not the kernel's: so they are the same for a plain file, for a disk whose nodes
 * nobody made, and for one whose table the kernel read before somebody changed it.  Partitions' contents are probed by offset through
 * the disk's own descriptor. */
#include "agent/probe.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/fingerprint.h"
#include "agent/marker.h"
#include "common/blk.h"
#include "common/bytes.h"

/* libblkid.h: probes are handles */
static void free_probe(blkid_probe *pr)
{
	if (*pr)
		blkid_free_probe(*pr);
}
#define CLEANUP_PROBE CLEANUP(free_probe)

static void note(struct contents *c, const char *text)
{
	if (!c->error[0])
		(void)snprintf(c->error, sizeof(c->error), "%s", text);
}

static void set_text(char *ret, size_t ret_size, const char *src)
{
	(void)text_clean(ret, ret_size, src ? src : "", src ? strlen(src) : 0);
}

static void get_value(blkid_probe pr, const char *name, char *ret, size_t ret_size)
{
	const char *data = NULL;
	size_t size = 0;

	ret[0] = '\0';
	if (blkid_probe_lookup_value(pr, name, &data, &size) == 0 && data)
		(void)text_clean(ret, ret_size, data, size);
}

/* What lies at [offset, offset + size) of `fd`.  false: libblkid could not read it. */
static bool probe_content(int fd, uint64_t offset, uint64_t size, uint32_t sector_size,
			  struct content *ret)
{
	CLEANUP_PROBE blkid_probe pr = blkid_new_probe();
	int r;

	if (!pr || blkid_probe_set_device(pr, fd, (blkid_loff_t)offset, (blkid_loff_t)size) != 0)
		return false;
	(void)blkid_probe_set_sectorsize(pr, sector_size);
	(void)blkid_probe_enable_superblocks(pr, 1);
	(void)blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID |
							    BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
							    BLKID_SUBLKS_VERSION);
	r = blkid_do_safeprobe(pr);
	if (r == -2) {
		set_text(ret->type, sizeof(ret->type), "ambivalent");
		return true;
	}
	if (r == 0) {
		get_value(pr, "TYPE", ret->type, sizeof(ret->type));
		get_value(pr, "USAGE", ret->usage, sizeof(ret->usage));
		get_value(pr, "VERSION", ret->version, sizeof(ret->version));
		get_value(pr, "UUID", ret->uuid, sizeof(ret->uuid));
		get_value(pr, "LABEL", ret->label, sizeof(ret->label));
	}
	return r >= 0;
}

static void read_partition(blkid_partition p, bool is_dos, struct partition *ret)
{
	const char *type = blkid_partition_get_type_string(p);
	int number = blkid_partition_get_partno(p);
	unsigned long long flags = blkid_partition_get_flags(p);

	ret->number = number > 0 ? (unsigned)number : 0;
	ret->offset = (uint64_t)blkid_partition_get_start(p) *
		      512; /* in 512-byte units whatever the sector size */
	ret->size = (uint64_t)blkid_partition_get_size(p) * 512;
	ret->is_extended = blkid_partition_is_extended(p) != 0;
	/* MBR: the status byte; GPT: "legacy BIOS bootable", UEFI 2.10 table 5.8 */
	ret->is_bootable = is_dos ? flags == 0x80 : (flags >> 2 & 1) != 0;
	if (type)
		set_text(ret->type, sizeof(ret->type), type);
	else
		(void)snprintf(ret->type, sizeof(ret->type), "0x%02x",
			       (unsigned)blkid_partition_get_type(p) & 0xff);
	set_text(ret->name, sizeof(ret->name), blkid_partition_get_name(p));
	set_text(ret->uuid, sizeof(ret->uuid), blkid_partition_get_uuid(p));
}

static void read_table(blkid_partlist list, struct contents *ret)
{
	blkid_parttable table = blkid_partlist_get_table(list);
	int n = blkid_partlist_numof_partitions(list);
	bool is_dos;

	if (!table)
		return;
	set_text(ret->table_type, sizeof(ret->table_type), blkid_parttable_get_type(table));
	set_text(ret->table_uuid, sizeof(ret->table_uuid), blkid_parttable_get_id(table));
	is_dos = strcmp(ret->table_type, "dos") == 0;
	if (n > (int)PARTITIONS_MAX) {
		note(ret, "there are more than 256 partitions");
		n = PARTITIONS_MAX;
	}
	if (n <= 0)
		return;
	ret->partitions = calloc((size_t)n, sizeof(*ret->partitions));
	if (!ret->partitions) {
		note(ret, "out of memory");
		return;
	}
	for (int i = 0; i < n; i++) {
		blkid_partition p = blkid_partlist_get_partition(list, i);

		if (p)
			read_partition(p, is_dos, &ret->partitions[ret->partitions_len++]);
	}
}

static void probe_table(int fd, const struct disk *d, struct contents *ret)
{
	CLEANUP_PROBE blkid_probe pr = blkid_new_probe();
	blkid_partlist list;

	if (!pr || blkid_probe_set_device(pr, fd, 0, (blkid_loff_t)d->size) != 0) {
		note(ret, "the partition table could not be read");
		return;
	}
	(void)blkid_probe_set_sectorsize(pr, d->sector_size);
	(void)blkid_probe_enable_superblocks(pr, 0);
	(void)blkid_probe_enable_partitions(pr, 1);
	(void)blkid_probe_set_partitions_flags(pr, BLKID_PARTS_ENTRY_DETAILS);
	list = blkid_probe_get_partitions(pr);
	if (list)
		read_table(list, ret);
}

static void probe_partitions(int fd, const struct disk *d, struct contents *ret)
{
	char text[128];

	for (size_t i = 0; i < ret->partitions_len; i++) {
		struct partition *p = &ret->partitions[i];
		uint64_t size = p->size;

		if (p->offset >= d->size || size > d->size - p->offset) {
			(void)snprintf(text, sizeof(text),
				       "partition %u does not lie inside the disk", p->number);
			note(ret, text);
			size = p->offset < d->size ? d->size - p->offset : 0;
		}
		/* Not even a sector, or a container of others: nothing to look for. */
		if (size < d->sector_size || p->is_extended)
			continue;
		if (!probe_content(fd, p->offset, size, d->sector_size, &p->content)) {
			(void)snprintf(text, sizeof(text), "partition %u could not be read",
				       p->number);
			note(ret, text);
		}
	}
}

/* ECMA-119 8.4: the primary volume descriptor in sector 16; the volume identifier in its bytes 41 to 72, the volume's sectors in 81 to 84.  Most programs
 * that partition a disk, and what is installed then, leave that where it was: a disk that was once our medium is one no more when the MBR does not
 * describe the ISO any longer, as its first partition. */
static bool is_own_iso(struct blk *b)
{
	unsigned char mbr[512], pvd[96];
	struct reader first, volume;
	struct err ignored;

	if (blk_size(b) < 34816 || blk_read(b, mbr, sizeof(mbr), 0, &ignored) < 0 ||
	    blk_read(b, pvd, sizeof(pvd), 32768, &ignored) < 0)
		return false;
	reader_init(&first, mbr + 446 + 8, 8);
	reader_init(&volume, pvd + 80, 4);
	return memcmp(pvd, "\1CD001", 6) == 0 && memcmp(pvd + 40, "HOIST", 5) == 0 &&
	       reader_u32(&first) == 0 && reader_u32(&first) / 4 == reader_u32(&volume);
}

/* What Hoist left there itself.  It says more than what libblkid sees behind the first sector, which comes last: the image's own content (a whole disk that is a member
 * of MD, or btrfs), not all of it. */
static void probe_marker(struct blk *b, struct contents *ret)
{
	uint8_t sector[MARKER_SIZE];
	struct content *c = &ret->content;
	struct marker m;
	struct err ignored;

	if (ret->table_type[0] || blk_read(b, sector, sizeof(sector), 0, &ignored) < 0 ||
	    !marker_decode(sector, &m))
		return;
	*c = (struct content){0};
	set_text(c->type, sizeof(c->type), "unfinished_restore");
	set_text(c->usage, sizeof(c->usage), "other");
	(void)snprintf(c->label, sizeof(c->label), "job %s", m.job);
}

static void probe_fingerprint(struct blk *b, struct contents *ret)
{
	bool is_zero = false;
	struct err err;

	if (ret->partitions_len >= PARTITIONS_MAX)
		return; /* there may be some that we do not list */
	if (fingerprint_of_disk(b, ret->partitions, ret->partitions_len, &ret->fingerprint,
				&is_zero, &err) < 0) {
		note(ret, err.msg);
		return;
	}
	ret->has_fingerprint = true;
	ret->is_empty = is_zero && !ret->table_type[0] && !ret->content.type[0] && !ret->error[0];
}

int probe_disk(const struct disk *d, struct contents *ret, struct err *err)
{
	CLEANUP(blk_freep) struct blk *b = NULL;
	CLEANUP_CLOSE int fd = -1;
	int r;

	*ret = (struct contents){0};
	r = blk_open_file(d->path, BLK_READ, BLK_LOOK, d->sector_size, &b, err);
	if (r < 0)
		return r;
	if (blk_size(b) != d->size) {
		return err_set(err, -ESTALE,
			       "'%s' has %" PRIu64 " bytes, but %" PRIu64 " were expected", d->path,
			       blk_size(b), d->size);
	}
	if (d->size > INT64_MAX)
		return err_set(err, -EFBIG, "'%s' is too large", d->path);
	fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, -errno, "open '%s': %m", d->path);
	ret->is_boot_medium = is_own_iso(b);
	if (!probe_content(fd, 0, d->size, d->sector_size, &ret->content))
		note(ret, "what is on the disk as a whole could not be read");
	probe_table(fd, d, ret);
	probe_marker(b, ret);
	probe_partitions(fd, d, ret);
	probe_fingerprint(b, ret);
	return 0;
}
