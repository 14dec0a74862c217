/* areas.c - unpartitioned space: is it free?
 *
 * A table without checksum (MBR) is believed about it only when all partitions were understood, and when none begins where the table has none: boot managers that know
 * more primary partitions than four (BootIt's EMBR) keep them in tables of their own, and put into this one those that are wanted at the time. */
#include <string.h>

#include "agent/usage/formats.h"
#include "agent/usage/scan.h"

#define ALIGNED (1ull << 20) /* where tools let partitions begin */

/* Is there a partition in the table of `disk` that was not understood? */
static bool has_raw(const struct scan *s, const struct place *disk)
{
	for (size_t i = 0; i < s->places_len; i++) {
		const struct place *p = s->places[i];

		if (p->parent == disk && p->kind == PLACE_PARTITION && !p->is_boot &&
		    p->part.how == USAGE_RAW)
			return true;
	}
	return false;
}

/* Does something that is known begin at byte `at` of the disk, in the space that `p` is or ends?  0 if not. */
static int check_stray(struct scan *s, const struct place *p, uint64_t at, struct err *err)
{
	CLEANUP(volume_freep) struct volume *v = NULL;
	struct usage_part found = {.content = "unknown"};
	const struct format *format;
	uint64_t end = p->part.offset + p->part.size;
	int r;

	if (at >= end)
		return 0;
	r = volume_new_slice("no partition", p->parent->volume, at, end - at, &v, err);
	if (r < 0)
		return r;
	s->glance.is_on = true; /* the copies of a mirror may differ here */
	s->glance.copy = 0;
	r = formats_find(v, &found, &format, err);
	s->glance.is_on = false;
	if (r == 0 && strcmp(found.content, "unknown") != 0)
		r = doubt(err, "there are signatures of %s where no partition is", found.content);
	return r;
}

/* A partition begins where the one before it ends, or at the next whole MiB. */
static int check_strays(struct scan *s, size_t i, struct err *err)
{
	const struct place *p = s->places[i];
	const struct place *before = i > 0 ? s->places[i - 1] : p;
	uint64_t at = p->part.offset;
	int r;

	/* of what is after the last partition the start is an area of its own */
	if (before->kind == PLACE_AREA && before->parent == p->parent &&
	    before->part.offset + before->part.size == at)
		at = before->part.offset;
	r = check_stray(s, p, at, err);
	if (r == 0 && at % ALIGNED != 0)
		r = check_stray(s, p, (at / ALIGNED + 1) * ALIGNED, err);
	return r;
}

void scan_settle_areas(struct scan *s)
{
	for (size_t i = 0; i < s->places_len; i++) {
		struct place *p = s->places[i];
		bool is_dos = p->is_spare && strcmp(p->parent->table, "dos") == 0;
		struct err err;

		if (!p->is_spare)
			continue;
		if (is_dos && has_raw(s, p->parent)) {
			place_set_raw(p, "a partition was not understood, and the table has no "
					 "checksum");
		} else if (is_dos && check_strays(s, i, &err) < 0) {
			place_set_raw(p, "%s", err.msg);
		} else {
			p->part.how = USAGE_NONE;
			part_set_why(&p->part, "no partition is there, and the table is sane");
		}
	}
}
