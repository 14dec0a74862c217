/* md.c - members of Linux MD arrays: uapi/linux/raid/md_p.h and drivers/md/md.c in Linux.
 *
 * Metadata 0.90 and 1.0 are near the member's end, 1.1 at its start, 1.2 4 KiB after it.  A RAID 1 that was stopped cleanly has the same
 * content on all members; so it is looked into once, and what is in use is in use on all of them: of halves that went ways of their own only what one
 * has in use would be copied of the other.  So the members have to know each other, and whatever is read of them is read of all and compared (volume.c, content.c).
 * Other levels spread their content, or what repairs it, over the members: those are in use whole. */
#include "agent/usage/md.h"

#include <stdio.h>
#include <string.h>

#include "agent/usage/table.h"

#define SECTOR	    512u
#define SUPER_SIZE  4096u
#define MAGIC	    0xa92b4efcu
#define PLACES	    4u
#define LEVEL_RAID1 1
#define LEVEL_OTHER (-1000)

#define FEATURES_HARMLESS \
	0x101u /* a bitmap of what is being written: outside of the data, empty in a clean array */
#define STATE_CLEAN 0x1u /* 0.90 */
#define DISK_FAULTY 0x1u
#define DISK_ACTIVE 0x2u
#define DISK_SYNC   0x4u
#define DISK_ACTS   (DISK_ACTIVE | DISK_SYNC)
#define DISKS_AT    (128u * 4) /* 0.90: what is known of each disk */
#define DISK_SIZE   (32u * 4)
#define DISKS	    27u

/* Where a member of that size would have its superblock; version 90 stands for 0.90, 0, 1, 2 for 1.x.  False: it has no room. */
static bool get_place(uint64_t size, unsigned version, uint64_t *ret)
{
	uint64_t sectors = size / SECTOR;

	if (sectors < 256)
		return false;
	switch (version) {
	case 0:
		*ret = ((sectors - 16) & ~7ull) * SECTOR;
		break;
	case 1:
		*ret = 0;
		break;
	case 2:
		*ret = 8 * SECTOR;
		break;
	default:
		*ret = ((sectors & ~127ull) - 128) * SECTOR;
		break;
	}
	return *ret + SUPER_SIZE <= size;
}

/* Sum of the little-endian words of `size` bytes, the one at `without` left out; folded once. */
static uint32_t checksum(struct view *s, size_t size, size_t without)
{
	uint64_t sum = 0;
	size_t at = 0;

	for (; at + 4 <= size; at += 4)
		sum += at == without ? 0 : view_le32(s, at);
	if (at + 2 <= size)
		sum += view_le16(s, at);
	return (uint32_t)((sum & 0xffffffff) + (sum >> 32));
}

static void set_active(struct md_member *m, uint32_t role)
{
	if (role < MD_ROLES_MAX)
		m->active[role / 8] |= (uint8_t)(1u << role % 8);
}

bool md_is_active(const struct md_member *m, uint32_t role)
{
	return role < MD_ROLES_MAX && (m->active[role / 8] >> role % 8 & 1);
}

static const char damaged[] = "its superblock is damaged";

/* Version 1.x. */
static bool read_1(struct view *s, uint64_t place, struct md_member *m)
{
	uint32_t max = view_le32(s, 220);
	uint32_t number = view_le32(s, 160);
	uint32_t features = view_le32(s, 8);

	if (view_le32(s, 0) != MAGIC || view_le32(s, 4) != 1)
		return false;
	m->level = LEVEL_RAID1;
	m->doubt = damaged;
	if (max > MD_ROLES_MAX ||
	    !checksum_is_right(checksum(s, 256 + 2 * (size_t)max, 216), view_le32(s, 216)))
		return true;
	/* that of a partition at the end of this disk */
	if (view_le64(s, 144) != place / SECTOR)
		return false;
	m->doubt = NULL;
	memcpy(m->uuid, s->p + 16, sizeof(m->uuid));
	memcpy(m->name, s->p + 32, 32);
	m->level = (int32_t)view_le32(s, 72);
	m->raid_disks = view_le32(s, 92);
	m->role = number < max ? view_le16(s, 256 + 2 * (size_t)number) : UINT16_MAX;
	for (uint32_t i = 0; i < max; i++)
		set_active(m, view_le16(s, 256 + 2 * (size_t)i));
	m->events = view_le64(s, 200);
	if (__builtin_mul_overflow(view_le64(s, 128), (uint64_t)SECTOR, &m->data_offset) ||
	    __builtin_mul_overflow(view_le64(s, 80), (uint64_t)SECTOR, &m->size) ||
	    view_le64(s, 80) > view_le64(s, 136)) {
		m->doubt = "its size contradicts itself";
	} else if (features & ~FEATURES_HARMLESS) {
		m->doubt = "it is being rebuilt or reshaped, or has bad blocks, a journal or "
			   "features that are not known";
	} else if (view_le64(s, 208) != UINT64_MAX) {
		m->doubt = "the array was not stopped cleanly, or is not in step";
	}
	return true;
}

/* Version 0.90: in the words of the machine that made it; ours are little-endian. */
static bool read_090(struct view *s, uint64_t place, struct md_member *m)
{
	size_t self = 992 * 4;

	m->level = LEVEL_RAID1;
	m->doubt = damaged;
	if (view_be32(s, 0) == MAGIC)
		return true;
	if (view_le32(s, 0) != MAGIC || view_le32(s, 4) != 0)
		return false;
	if (view_le32(s, 8) < 90 || view_le32(s, 8) > 91 ||
	    !checksum_is_right(checksum(s, SUPER_SIZE, 38 * 4), view_le32(s, 38 * 4)))
		return true;
	m->size = (uint64_t)view_le32(s, 8 * 4) * 1024;
	m->doubt = m->size > place ? "its size contradicts itself" : NULL;
	memcpy(m->uuid, s->p + 5 * 4, 4);
	memcpy(m->uuid + 4, s->p + 13 * 4, 12);
	m->level = (int32_t)view_le32(s, 7 * 4);
	m->raid_disks = view_le32(s, 10 * 4);
	m->role = view_le32(s, self + 12);
	for (size_t i = 0; i < DISKS; i++) {
		size_t at = DISKS_AT + i * DISK_SIZE;

		if ((view_le32(s, at + 16) & (DISK_FAULTY | DISK_ACTS)) == DISK_ACTS)
			set_active(m, view_le32(s, at + 12));
	}
	m->events = view_le64(s, 39 * 4);
	if (m->doubt)
		return true;
	if (view_le32(s, 8) != 90)
		m->doubt = "it is being reshaped";
	else if (!(view_le32(s, 33 * 4) & STATE_CLEAN))
		m->doubt = "the array was not stopped cleanly, or is not in step";
	else if ((view_le32(s, self + 16) & (DISK_FAULTY | DISK_ACTS)) != DISK_ACTS)
		m->doubt = "it is a spare, or failed";
	return true;
}

/* The superblock (0.90) of a partition at the end of a disk may be in the same place as the disk's own would be.  1 if it is a partition's: its own place
 * is there, and the array is a mirror or the table says that the partition is a member of one.  That it only covers the place is not enough: the first disk
 * of a stripe set shows the table of the set, in whose addresses any partition may. */
static int is_in_partition(struct volume *v, uint64_t place, const struct md_member *m,
			   struct err *err)
{
	CLEANUP(table_done) struct table t = {0};
	int r = table_read(v, &t, err);

	if (r <= 0)
		return r == -EUCLEAN ? 0 : r;
	for (size_t i = 0; i < t.len; i++) {
		const struct table_entry *e = &t.entries[i];
		uint64_t own;

		if (!e->is_extended && get_place(e->size, 90, &own) && e->offset + own == place &&
		    (m->level == LEVEL_RAID1 || e->is_raid))
			return 1;
	}
	return 0;
}

/* All the places where a superblock could be.  How many there are; `ret` is the last of them. */
static int find(struct volume *v, struct md_member *ret, uint64_t *ret_place, struct err *err)
{
	static const unsigned versions[PLACES] = {2, 1, 0, 90};
	uint8_t super[SUPER_SIZE];
	struct view s = view_of(super, sizeof(super));
	int found = 0;

	for (size_t i = 0; i < PLACES; i++) {
		struct md_member m = {0};
		uint64_t place;
		int r;

		if (!get_place(volume_size(v), versions[i], &place))
			continue;
		r = volume_read(v, super, sizeof(super), place, err);
		if (r < 0)
			return r;
		if (versions[i] == 90 ? !read_090(&s, place, &m) : !read_1(&s, place, &m))
			continue;
		r = versions[i] == 90 && m.size != place ? is_in_partition(v, place, &m, err) : 0;
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		found++;
		*ret = m;
		*ret_place = place;
	}
	return found;
}

static int md_probe(struct volume *v, struct usage_part *part, struct err *err)
{
	struct md_member m;
	uint64_t place;
	int r = find(v, &m, &place, err);

	if (r <= 0)
		return r;
	part->content = "linux_raid_member";
	part_set_uuid(part, m.uuid);
	part_set_label(part, m.name, 32);
	return 1;
}

bool md_hides_content(struct volume *v)
{
	struct md_member m;
	struct err err;
	uint64_t place;

	return find(v, &m, &place, &err) == 1 && m.data_offset == 0;
}

struct md_member *md_member_of(const struct place *p)
{
	return p->free_state == free ? p->state : NULL;
}

static const char *level_name(int32_t level, char ret[static 24])
{
	if (level == -1 || level == -4)
		return level == -1 ? "linear" : "multipath";
	(void)snprintf(ret, 24, "RAID %d", (int)level);
	return ret;
}

static int md_map(struct scan *s, struct place *p, struct err *err)
{
	CLEANUP_FREE struct md_member *m = calloc(1, sizeof(*m));
	uint64_t place;
	char level[24];
	int r;

	(void)s;
	if (!m)
		return err_set(err, -ENOMEM, "out of memory");
	r = find(p->volume, m, &place, err);
	if (r < 0)
		return r;
	if (r != 1)
		return doubt(err, "it has superblocks of %d MD arrays", r);
	if (m->level != LEVEL_RAID1)
		return doubt(err, "it belongs to an MD array of %s", level_name(m->level, level));
	if (m->doubt)
		return doubt(err, "it belongs to an MD array: %s", m->doubt);
	if (m->role >= m->raid_disks)
		return doubt(err, "it belongs to an MD array: it is a spare, or failed");
	if (m->size == 0 || m->data_offset > volume_size(p->volume) ||
	    m->size > volume_size(p->volume) - m->data_offset)
		return doubt(err,
			     "it belongs to an MD array that is larger than the space it is in");
	p->state = TAKE_PTR(m);
	p->free_state = free;
	return 0;
}

const struct format format_md = {.name = "MD", .probe = md_probe, .map = md_map};
