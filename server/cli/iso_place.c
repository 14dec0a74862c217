/* The ISO is one that scripts/mkiso wrote: ECMA-119 ("ISO 9660") with Rock Ridge, in whose first 32 KiB are an MBR and a GPT (UEFI Specification, 5.3)
 * that describe the same bytes as a disk, the whole of it as their first partition.  The second copy of the GPT is at its very end.
 * What is not so is refused rather than guessed at. */
#include "server/cli/iso_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/cpio.h"
#include "common/medium.h"

#define MARKER_NAME "hoist.d/HOIST-ADDED-1"
#define MARKER_TEXT "HOIST-ADDED-1 5f0c9e1bd0a24f7d8a3b60c7e41f2d95 "

#define ISO_SECTOR  2048u
#define DISK_SECTOR 512u
#define ISO_STEP \
	(1u << 20) /* a cylinder of 64 heads and 32 sectors: what isohybrid MBRs count in */
#define ISO_PADDING \
	(300u << 10) /* behind the last file, for drives that read ahead; xorriso's own */
#define DIR_SIZE_MAX (1u << 20)

/* offsets in ECMA-119 8.4 and 9.1 */
#define PVD_AT		 (16u * ISO_SECTOR)
#define PVD_VOLUME_SIZE	 80u
#define PVD_ROOT	 156u
#define RECORD_EXTENT	 2u
#define RECORD_SIZE	 10u
#define RECORD_NAME_SIZE 32u
#define RECORD_NAME	 33u
/* the MBR's first partition; UEFI Specification, tables 5-5 and 5-6 */
#define MBR_ENTRY	446u
#define GPT_HEADER_SIZE 92u
#define GPT_CRC		16u
#define GPT_MY_LBA	24u
#define GPT_OTHER_LBA	32u
#define GPT_LAST_LBA	48u
#define GPT_ENTRIES_LBA 72u
#define GPT_ENTRIES_LEN 80u
#define GPT_ENTRIES_CRC 88u
#define GPT_ENTRY_SIZE	128u
#define GPT_ENTRY_LAST	40u
#define GPT_ENTRIES_MAX 256u

static uint64_t get_le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = bytes; i-- > 0;)
		v = v << 8 | p[i];
	return v;
}

static void put_le(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* ECMA-119 7.3.3: in both orders */
static void put_both(uint8_t p[static 8], uint32_t v)
{
	put_le(p, v, 4);
	for (unsigned i = 0; i < 4; i++)
		p[4 + i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint64_t round_up(uint64_t n, uint64_t step)
{
	return (n + step - 1) / step * step;
}

int write_full(int fd, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = pwrite(fd, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		size -= (size_t)n;
		offset += (size_t)n;
	}
	return 0;
}

static int write_at(int fd, const void *data, size_t size, uint64_t offset, struct err *err)
{
	int r = write_full(fd, data, size, offset);

	return r < 0 ? err_set(err, r, "write at byte %llu: %s", (unsigned long long)offset,
			       strerrordesc_np(-r))
		     : 0;
}

static int read_at(int fd, void *buf, size_t size, uint64_t offset, struct err *err)
{
	ssize_t n = medium_read(fd, buf, size, offset);

	if (n < 0)
		return err_set(err, (int)n, "read at byte %llu: %s", (unsigned long long)offset,
			       strerrordesc_np((int)-n));
	if ((size_t)n < size)
		return err_set(err, -EPROTO, "it is cut off");
	return 0;
}

static int strange(struct err *err, const char *what)
{
	return err_set(err, -EPROTO,
		       "it is not as the build of Hoist makes it (%s): add to the original medium",
		       what);
}

/* ---- finding */

static bool is_iso(const uint8_t pvd[static ISO_SECTOR])
{
	return memcmp(pvd + 1, "CD001", 5) == 0;
}

int iso_check_whole(int fd, struct err *err)
{
	uint8_t pvd[ISO_SECTOR];
	ssize_t n = medium_read(fd, pvd, sizeof(pvd), PVD_AT);
	off_t size = lseek(fd, 0, SEEK_END);
	uint64_t end;

	if (n < 0 || size < 0)
		return err_set(err, n < 0 ? (int)n : -errno, "look at its size: %s",
			       strerrordesc_np(n < 0 ? (int)-n : errno));
	if ((size_t)n < sizeof(pvd) || !is_iso(pvd))
		return 0;
	end = get_le(pvd + PVD_VOLUME_SIZE, 4) * ISO_SECTOR;
	if ((uint64_t)size >= end)
		return 0;
	return err_set(err, -EPROTO, "it is cut off: it has %llu bytes, and says that it has %llu",
		       (unsigned long long)size, (unsigned long long)end);
}

static bool is_marker(const uint8_t *p)
{
	struct cpio_entry e;
	struct reader r;
	struct err err;

	reader_init(&r, p, MEDIUM_MARKER_SIZE);
	return cpio_get(&r, &e, &err) == 0 && strcmp(e.name, MARKER_NAME) == 0 &&
	       e.size > strlen(MARKER_TEXT) &&
	       memcmp(e.data, MARKER_TEXT, strlen(MARKER_TEXT)) == 0;
}

static int read_release(int fd, struct iso_place *p, struct err *err)
{
	uint8_t marker[ISO_PLACE_START];
	struct cpio_entry e = {.size = 0};
	struct reader in;
	size_t n;
	int r = read_at(fd, marker, sizeof(marker), p->offset, err);

	reader_init(&in, marker, sizeof(marker));
	if (r == 0)
		r = cpio_get(&in, &e, err);
	if (r < 0)
		return r;
	n = e.size - strlen(MARKER_TEXT) - 1;
	if (n == 0 || n >= sizeof(p->release))
		return strange(err, "its kernel has no name");
	memcpy(p->release, (const char *)e.data + strlen(MARKER_TEXT), n);
	p->release[n] = '\0';
	return strcspn(p->release, "/\n") == n ? 0 : strange(err, "its kernel has no name");
}

/* The record of `name` in the directory that `dir` describes; its bytes, and where they are. */
static int find_record(int fd, const uint8_t dir[static 34], const char *name,
		       uint8_t ret[static 34], uint64_t *ret_offset, struct err *err)
{
	uint64_t at = get_le(dir + RECORD_EXTENT, 4) * ISO_SECTOR;
	size_t size = get_le(dir + RECORD_SIZE, 4), name_len = strlen(name);
	CLEANUP_FREE uint8_t *buf = NULL;
	int r;

	if (size == 0 || size > DIR_SIZE_MAX || size % ISO_SECTOR)
		return strange(err, "a folder of impossible size");
	buf = malloc(size);
	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	r = read_at(fd, buf, size, at, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < size;) {
		size_t len = buf[i];

		if (len == 0) { /* no record crosses a sector */
			i = round_up(i + 1, ISO_SECTOR);
			continue;
		}
		if (len < RECORD_NAME + 1 || len > size - i ||
		    buf[i + RECORD_NAME_SIZE] > len - RECORD_NAME)
			return strange(err, "a folder with a broken entry");
		if (buf[i + RECORD_NAME_SIZE] == name_len &&
		    memcmp(buf + i + RECORD_NAME, name, name_len) == 0) {
			memcpy(ret, buf + i, 34);
			*ret_offset = at + i;
			return 0;
		}
		i += len;
	}
	return strange(err, "it has no /boot/added.img");
}

static int find_in_iso(int fd, struct iso_place *p, struct err *err)
{
	uint8_t pvd[ISO_SECTOR], boot[34], file[34];
	uint64_t unused;
	int r = read_at(fd, pvd, sizeof(pvd), PVD_AT, err);

	if (r == 0)
		r = find_record(fd, pvd + PVD_ROOT, "BOOT", boot, &unused, err);
	if (r == 0)
		r = find_record(fd, boot, "ADDED.IMG;1", file, &p->record, err);
	if (r < 0)
		return r;
	p->size = get_le(file + RECORD_SIZE, 4);
	p->end = get_le(pvd + PVD_VOLUME_SIZE, 4) * ISO_SECTOR;
	if (get_le(file + RECORD_EXTENT, 4) * ISO_SECTOR != p->offset)
		return strange(err, "/boot/added.img is elsewhere");
	if (p->end % ISO_STEP || p->offset > p->end || p->end - p->offset < ISO_PLACE_START)
		return strange(err, "its length is not a multiple of 1 MiB");
	return 0;
}

int iso_place_find(int fd, struct iso_place *ret, struct err *err)
{
	struct iso_place p = {.record = 0};
	struct medium_search s = {0};
	char magic[5];
	int r = medium_search(fd, is_marker, &s, err);

	if (r < 0)
		return r;
	if (s.matches == 0) {
		return err_set(err, -ENOENT,
			       "there is no place for more archives in it: it is not a boot medium "
			       "of Hoist, or of an older version");
	}
	if (s.matches > 1)
		return err_set(err, -EEXIST, "there is more than one place for archives in it (%u)",
			       s.matches);
	p.offset = s.offset;
	if (medium_read(fd, magic, sizeof(magic), PVD_AT + 1) == sizeof(magic) &&
	    memcmp(magic, "CD001", sizeof(magic)) == 0 && p.offset > PVD_AT) {
		r = find_in_iso(fd, &p, err);
		if (r == 0 && p.end > s.end)
			r = err_set(err, -EPROTO, "it is cut off");
	} else if (p.offset != 0) {
		r = strange(err, "no ISO around its place for archives");
	} else {
		p.size = p.end = s.end;
	}
	if (r == 0 &&
	    (p.size < ISO_PLACE_START || p.size > ISO_PLACE_MAX || p.size > p.end - p.offset))
		r = strange(err, "added.img of impossible size");
	if (r == 0)
		r = read_release(fd, &p, err);
	if (r == 0)
		*ret = p;
	return r;
}

int iso_place_read(int fd, const struct iso_place *p, uint8_t **ret, size_t *ret_size,
		   struct err *err)
{
	size_t size = p->size - ISO_PLACE_START;
	CLEANUP_FREE uint8_t *buf = malloc(size + 1);
	int r;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	r = read_at(fd, buf, size, p->offset + ISO_PLACE_START, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(buf);
	*ret_size = size;
	return 0;
}

/* ---- writing */

/* Both copies of the partition table, as read from the first. */
struct gpt {
	uint8_t header[DISK_SECTOR];
	uint8_t entries[GPT_ENTRIES_MAX * GPT_ENTRY_SIZE];
	size_t entries_size;
};

static int gpt_read(int fd, const struct iso_place *p, struct gpt *g, struct err *err)
{
	size_t len;
	int r = read_at(fd, g->header, sizeof(g->header), DISK_SECTOR, err);

	if (r < 0)
		return r;
	len = get_le(g->header + GPT_ENTRIES_LEN, 4);
	g->entries_size = len * GPT_ENTRY_SIZE;
	if (memcmp(g->header, "EFI PART", 8) != 0 || get_le(g->header + 12, 4) != GPT_HEADER_SIZE ||
	    len == 0 || len > GPT_ENTRIES_MAX || g->entries_size % DISK_SECTOR ||
	    get_le(g->header + GPT_ENTRIES_LEN + 4, 4) != GPT_ENTRY_SIZE ||
	    (get_le(g->header + GPT_OTHER_LBA, 8) + 1) * DISK_SECTOR != p->end)
		return strange(err, "another partition table");
	r = read_at(fd, g->entries, g->entries_size,
		    get_le(g->header + GPT_ENTRIES_LBA, 8) * DISK_SECTOR, err);
	if (r == 0 && (get_le(g->header + GPT_ENTRIES_CRC, 4) !=
			       crc32(0, g->entries, (uInt)g->entries_size) ||
		       get_le(g->entries + GPT_ENTRY_LAST - 8, 8) != 0))
		r = strange(err, "another partition table");
	return r;
}

/* Bytes at the end of the ISO that are the second copy's. */
static uint64_t gpt_tail(const struct gpt *g)
{
	return g->entries_size + DISK_SECTOR;
}

static void gpt_seal(uint8_t header[static DISK_SECTOR])
{
	put_le(header + GPT_CRC, 0, 4);
	put_le(header + GPT_CRC, crc32(0, header, GPT_HEADER_SIZE), 4);
}

static int gpt_write(int fd, struct gpt *g, uint64_t old_end, uint64_t end, struct err *err)
{
	uint64_t more = (end - old_end) / DISK_SECTOR, last = end / DISK_SECTOR - 1;
	uint64_t entries_lba = get_le(g->header + GPT_ENTRIES_LBA, 8);
	uint8_t *h = g->header;
	int r;

	put_le(g->entries + GPT_ENTRY_LAST, get_le(g->entries + GPT_ENTRY_LAST, 8) + more, 8);
	put_le(h + GPT_ENTRIES_CRC, crc32(0, g->entries, (uInt)g->entries_size), 4);
	put_le(h + GPT_LAST_LBA, get_le(h + GPT_LAST_LBA, 8) + more, 8);
	put_le(h + GPT_OTHER_LBA, last, 8);
	gpt_seal(h);
	r = write_at(fd, h, DISK_SECTOR, DISK_SECTOR, err);
	if (r == 0)
		r = write_at(fd, g->entries, g->entries_size, entries_lba * DISK_SECTOR, err);
	put_le(h + GPT_MY_LBA, last, 8);
	put_le(h + GPT_OTHER_LBA, 1, 8);
	put_le(h + GPT_ENTRIES_LBA, last - g->entries_size / DISK_SECTOR, 8);
	gpt_seal(h);
	if (r == 0)
		r = write_at(fd, g->entries, g->entries_size,
			     (last + 1) * DISK_SECTOR - gpt_tail(g), err);
	return r == 0 ? write_at(fd, h, DISK_SECTOR, last * DISK_SECTOR, err) : r;
}

/* The first partition covers the ISO, in sectors and in cylinders of 64 heads and 32 sectors. */
static int mbr_write(int fd, uint64_t old_end, uint64_t end, struct err *err)
{
	uint64_t cylinder = end / ISO_STEP - 1;
	uint8_t e[16];
	int r = read_at(fd, e, sizeof(e), MBR_ENTRY, err);

	if (r == 0 && (get_le(e + 8, 4) != 0 || get_le(e + 12, 4) != old_end / DISK_SECTOR))
		r = strange(err, "another MBR");
	if (r < 0)
		return r;
	if (cylinder > 1023)
		cylinder = 1023;
	e[5] = 63;
	e[6] = (uint8_t)(32 | (cylinder >> 8) << 6);
	e[7] = (uint8_t)cylinder;
	put_le(e + 12, end / DISK_SECTOR, 4);
	return write_at(fd, e, sizeof(e), MBR_ENTRY, err);
}

static int write_zeros(int fd, uint64_t from, uint64_t to, struct err *err)
{
	static const uint8_t zeros[64 << 10];
	int r = 0;

	for (uint64_t at = from; r == 0 && at < to; at += sizeof(zeros))
		r = write_at(fd, zeros, to - at < sizeof(zeros) ? to - at : sizeof(zeros), at, err);
	return r;
}

/* Nothing lies where the file is to grow. */
static int check_free(int fd, uint64_t from, uint64_t to, struct err *err)
{
	uint8_t buf[16 << 10];

	for (uint64_t at = from; at < to; at += sizeof(buf)) {
		size_t n = to - at < sizeof(buf) ? to - at : sizeof(buf);
		int r = read_at(fd, buf, n, at, err);

		if (r < 0)
			return r;
		if (!bytes_are_zero(buf, n))
			return strange(err, "something is behind /boot/added.img");
	}
	return 0;
}

static int grow_iso(int fd, const struct iso_place *p, struct gpt *g, uint64_t end, struct err *err)
{
	uint8_t pvd[ISO_SECTOR];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_set(err, -errno, "look at it: %m");
	if (!S_ISREG(st.st_mode))
		return err_set(err, -ENOSPC,
			       "it would become longer: add to a file, and write that to the disk");
	r = read_at(fd, pvd, sizeof(pvd), PVD_AT, err);
	if (r == 0)
		r = mbr_write(fd, p->end, end, err);
	if (r < 0)
		return r;
	put_both(pvd + PVD_VOLUME_SIZE, (uint32_t)(end / ISO_SECTOR));
	r = write_at(fd, pvd, sizeof(pvd), PVD_AT, err);
	if (r == 0)
		r = write_zeros(fd, p->end - gpt_tail(g), p->end, err);
	if (r == 0 && ftruncate(fd, (off_t)end) < 0)
		r = err_set(err, -errno, "make it longer: %m");
	return r == 0 ? gpt_write(fd, g, p->end, end, err) : r;
}

static int write_iso(int fd, const struct iso_place *p, const void *data, size_t size,
		     struct err *err)
{
	uint64_t old = p->offset + p->size, now = p->offset + ISO_PLACE_START + size, end;
	struct gpt *g = calloc(1, sizeof(*g));
	uint8_t both[8];
	int r;

	if (!g)
		return err_set(err, -ENOMEM, "out of memory");
	r = gpt_read(fd, p, g, err);
	if (r == 0 && old > p->end - gpt_tail(g))
		r = strange(err, "added.img of impossible size");
	if (r == 0)
		r = check_free(fd, old, p->end - gpt_tail(g), err);
	end = round_up(round_up(now, ISO_SECTOR) + ISO_PADDING, ISO_STEP);
	if (r == 0 && end > p->end)
		r = grow_iso(fd, p, g, end, err);
	free(g);
	if (r == 0)
		r = write_at(fd, data, size, p->offset + ISO_PLACE_START, err);
	if (r == 0)
		r = write_zeros(fd, now, old, err);
	put_both(both, (uint32_t)(ISO_PLACE_START + size));
	return r == 0 ? write_at(fd, both, sizeof(both), p->record + RECORD_SIZE, err) : r;
}

int iso_place_write(int fd, const struct iso_place *p, const void *data, size_t size,
		    struct err *err)
{
	int r;

	if (size > ISO_PLACE_MAX - ISO_PLACE_START)
		return err_set(err, -E2BIG, "more than %u MiB do not fit", ISO_PLACE_MAX >> 20);
	if (p->record)
		return write_iso(fd, p, data, size, err);
	r = write_at(fd, data, size, ISO_PLACE_START, err);
	if (r == 0 && ftruncate(fd, (off_t)(ISO_PLACE_START + size)) < 0)
		r = err_set(err, -errno, "set its length: %m");
	return r;
}
