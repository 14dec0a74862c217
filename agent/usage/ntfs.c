/* ntfs.c - NTFS, by libntfs-3g; what is on the disk is described in its layout.h.
 *
 * $Bitmap has a bit for every cluster.  The last sector of the partition lies outside of all clusters and holds the backup of the boot sector.
 *
 * What must hold before the bitmap is believed: the volume is not marked dirty, its log is clean, Windows is not hibernated and has not kept
 * metadata in memory for a fast start (both leave the disk behind what Windows believes to be on it), the boot sector and its backup have the
 * same geometry, and neither a file (ntfs_walk.c) nor a shadow copy (ntfs_shadow.c) uses what the bitmap calls free. */
#include "agent/usage/ntfs.h"

#include <inttypes.h>
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/logfile.h>
#include <string.h>

#define BOOT_SIZE   512u
#define BITMAP_READ (256u << 10)
#define CLUSTER_MAX (2u << 20)

static int ntfs_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	uint8_t boot[BOOT_SIZE];
	struct view b = view_of(boot, sizeof(boot));
	int r;

	if (volume_size(v) < BOOT_SIZE)
		return 0;
	r = volume_read(v, boot, sizeof(boot), 0, err);
	if (r < 0 || !view_is(&b, 3, "NTFS    ", 8))
		return r;
	part->content = "ntfs";
	(void)snprintf(part->uuid, sizeof(part->uuid), "%016" PRIX64, view_le64(&b, 0x48));
	return 1;
}

/* Geometry and backup, before libntfs-3g allocates memory by them. */
static int check_boot(struct volume *v, struct err *err)
{
	static const struct {
		uint8_t at, size;
	} same[] = {{0x03, 8}, {0x0b, 3}, {0x28, 32}};
	uint8_t boot[BOOT_SIZE];
	uint8_t backup[BOOT_SIZE];
	struct view b = view_of(boot, sizeof(boot));
	uint64_t sectors, sector_size, per_cluster;
	int r = volume_read(v, boot, sizeof(boot), 0, err);

	if (r < 0)
		return r;
	sector_size = view_le16(&b, 0x0b);
	per_cluster = view_u8(&b, 0x0d);
	if (per_cluster > 128) /* a negative power of two: clusters of more than 64 KiB */
		per_cluster = 256 - per_cluster > 12 ? 0 : 1ull << (256 - per_cluster);
	sectors = view_le64(&b, 0x28);
	if (!blk_sector_size_is_valid((uint32_t)sector_size) || sector_size > 4096 ||
	    per_cluster == 0 || (per_cluster & (per_cluster - 1)) != 0 ||
	    per_cluster * sector_size > CLUSTER_MAX || sectors < 16)
		return doubt(err, "its boot sector contradicts itself");
	if (sectors > volume_size(v) / sector_size)
		return doubt(err, "it is larger than the space it is in");
	if ((sectors + 1) * sector_size > volume_size(v))
		return doubt(err, "the backup of its boot sector is outside the space it is in");
	r = volume_read(v, backup, sizeof(backup), sectors * sector_size, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		if (memcmp(boot + same[i].at, backup + same[i].at, same[i].size) != 0)
			return doubt(err, "its boot sector and the backup of it differ");
	}
	return 0;
}

/* The file record `number`'s unnamed data.  NULL with `err` set. */
static ntfs_attr *open_data(ntfs_volume *vol, MFT_REF number, const char *name, ntfs_inode **ret_ni,
			    struct err *err)
{
	ntfs_inode *ni = ntfs_inode_open(vol, number);
	ntfs_attr *na = ni ? ntfs_attr_open(ni, AT_DATA, AT_UNNAMED, 0) : NULL;

	if (!na) {
		(void)doubt(err, "its %s cannot be read", name);
		if (ni)
			(void)ntfs_inode_close(ni);
		return NULL;
	}
	*ret_ni = ni;
	return na;
}

static int check_log(ntfs_volume *vol, struct err *err)
{
	RESTART_PAGE_HEADER *page = NULL;
	ntfs_inode *ni = NULL;
	ntfs_attr *na = open_data(vol, FILE_LogFile, "log", &ni, err);
	int r = 0;

	if (!na)
		return err->code;
	if (!ntfs_check_logfile(na, &page)) {
		r = doubt(err, "its log cannot be understood");
	} else if (page && page->major_ver == const_cpu_to_sle16(2)) {
		r = doubt(err, "Windows has kept part of it in memory (Fast Startup, or it was "
			       "switched off): shut Windows down fully, with 'shutdown /s /t 0'");
	} else if (!ntfs_is_logfile_clean(na, page)) {
		r = doubt(err, "it was not unmounted cleanly: its log has to be replayed");
	}
	free(page);
	ntfs_attr_close(na);
	(void)ntfs_inode_close(ni);
	return r;
}

int ntfs_check_clean(ntfs_volume *vol, struct err *err)
{
	if (vol->flags & VOLUME_IS_DIRTY)
		return doubt(err, "it was not unmounted cleanly: it is marked dirty");
	if (vol->flags & VOLUME_CHKDSK_UNDERWAY)
		return doubt(err, "it was being checked (chkdsk)");
	/* Before the log, which is not clean then either: this is what a person can do something about. */
	if (ntfs_volume_check_hiberfile(vol, 0) < 0) {
		return doubt(err,
			     "Windows is hibernated on it (or Fast Startup is on): shut Windows "
			     "down fully, with 'shutdown /s /t 0'");
	}
	return check_log(vol, err);
}

/* Mark the runs of set bits in `size` bytes from bit `first`, up to bit `end`; returns how many. */
static uint64_t mark_bits(struct volume *v, uint64_t cluster_size, const uint8_t *bits,
			  uint64_t first, uint64_t end)
{
	uint64_t used = 0;
	uint64_t i = first;

	while (i < end) {
		uint64_t start;

		while (i < end && !(bits[(i - first) / 8] >> (i - first) % 8 & 1))
			i++;
		start = i;
		while (i < end && bits[(i - first) / 8] >> (i - first) % 8 & 1)
			i++;
		volume_mark(v, start * cluster_size, (i - start) * cluster_size);
		used += i - start;
	}
	return used;
}

static int mark_bitmap(ntfs_volume *vol, struct volume *v, uint64_t *ret_used, struct err *err)
{
	uint64_t clusters = (uint64_t)vol->nr_clusters;
	CLEANUP_FREE uint8_t *bits = malloc(BITMAP_READ);
	uint64_t used = 0;

	if (!bits)
		return err_set(err, -ENOMEM, "out of memory");
	if ((uint64_t)vol->lcnbmp_na->initialized_size < (clusters + 7) / 8)
		return doubt(err, "its bitmap is too short");
	for (uint64_t i = 0; i < clusters; i += BITMAP_READ * 8ull) {
		uint64_t end =
			clusters - i < BITMAP_READ * 8ull ? clusters : i + BITMAP_READ * 8ull;
		s64 size = (s64)((end - i + 7) / 8);

		if (ntfs_attr_pread(vol->lcnbmp_na, (s64)(i / 8), size, bits) != size)
			return doubt(err, "its bitmap cannot be read: %s", strerrordesc_np(errno));
		used += mark_bits(v, vol->cluster_size, bits, i, end);
	}
	*ret_used = used;
	return 0;
}

static int ntfs_map(struct scan *s, struct place *p, struct err *err)
{
	CLEANUP(ntfs_volume_closep) ntfs_volume *vol = NULL;
	uint64_t used = 0;
	int r = check_boot(p->volume, err);

	(void)s;
	if (r == 0)
		r = ntfs_device_open(p->volume, &vol, err);
	if (r < 0)
		return r;
	part_set_label(&p->part, vol->vol_name, strlen(vol->vol_name));
	r = ntfs_check_clean(vol, err);
	if (r == 0)
		r = ntfs_check_shadows(p->volume, err);
	if (r == 0)
		r = mark_bitmap(vol, p->volume, &used, err);
	if (r == 0)
		r = ntfs_walk(vol, p->volume, used, err);
	if (r < 0)
		return r;
	volume_mark(p->volume, 0, vol->cluster_size);
	volume_mark(p->volume, (uint64_t)vol->nr_clusters * vol->cluster_size, UINT64_MAX);
	p->part.used = used * vol->cluster_size;
	return 0;
}

const struct format format_ntfs = {.name = "NTFS", .probe = ntfs_probe, .map = ntfs_map};
