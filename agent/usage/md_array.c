/* md_array.c - from members to RAID 1 arrays. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/md.h"

#define MEMBERS_MAX 256u

struct array {
	struct place *places[MEMBERS_MAX];
	size_t len;
};

static int find_members(const struct scan *s, const struct md_member *m, struct array *a,
			struct err *err)
{
	for (size_t i = 0; i < s->places_len; i++) {
		const struct md_member *other = md_member_of(s->places[i]);

		if (!other || other->is_done || memcmp(other->uuid, m->uuid, sizeof(m->uuid)) != 0)
			continue;
		if (a->len == MEMBERS_MAX)
			return doubt(err, "its MD array has more than %u members", MEMBERS_MAX);
		a->places[a->len++] = s->places[i];
	}
	return 0;
}

static int check_members(const struct array *a, const struct md_member *m, struct err *err)
{
	for (size_t i = 0; i < a->len; i++) {
		const struct md_member *other = md_member_of(a->places[i]);

		if (other->events != m->events)
			return doubt(err, "the members of its MD array are not in step");
		if (other->size != m->size || other->raid_disks != m->raid_disks)
			return doubt(err, "the members of its MD array contradict each other");
		for (size_t k = 0; k < i; k++) {
			const struct md_member *before = md_member_of(a->places[k]);

			if (before->role == other->role)
				return doubt(err, "a member of its MD array is there twice");
			if (!md_is_active(before, other->role) ||
			    !md_is_active(other, before->role))
				return doubt(err, "a member of its MD array has lost another");
		}
	}
	return 0;
}

/* The array's content: the same on each member. */
static int make_volume(const struct array *a, const char *name, struct volume **ret,
		       struct err *err)
{
	struct segment *s = calloc(1, sizeof(*s));
	struct area *areas = calloc(a->len, sizeof(*areas));
	uint32_t sector_size = BLK_SECTOR_SIZE_MIN;

	if (!s || !areas) {
		free(s);
		free(areas);
		return err_set(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < a->len; i++) {
		areas[i] = (struct area){a->places[i]->volume,
					 md_member_of(a->places[i])->data_offset};
		if (a->places[i]->volume->blk.sector_size > sector_size)
			sector_size = a->places[i]->volume->blk.sector_size;
	}
	*s = (struct segment){.length = md_member_of(a->places[0])->size,
			      .stripes = 1,
			      .mirrors = (uint32_t)a->len,
			      .areas = areas};
	return volume_new_composed(name, sector_size, s, 1, ret, err);
}

static int add_array(struct scan *s, const struct array *a, struct err *err)
{
	const struct place *first = a->places[0];
	struct volume *v = NULL;
	struct place *p;
	char name[128];
	int r;

	(void)snprintf(name, sizeof(name), "md/%.100s",
		       first->part.label[0] != '\0' ? first->part.label : first->part.uuid);
	r = make_volume(a, name, &v, err);
	if (r < 0)
		return r;
	volume_set_glance(v, &s->glance);
	p = scan_add(s, PLACE_VOLUME, v, NULL, err);
	if (!p)
		return err->code;
	(void)snprintf(p->part.name, sizeof(p->part.name), "%s", name);
	for (size_t i = 0; i < a->len; i++) {
		struct place *member = a->places[i];
		const struct md_member *m = md_member_of(member);

		if (member->depth >= p->depth)
			p->depth = member->depth + 1;
		member->inside = p;
		volume_mark(member->volume, 0, m->data_offset);
		volume_mark(member->volume, m->data_offset + m->size, UINT64_MAX);
		part_set_why(&member->part, "member of the MD array '%.100s' (RAID 1)", name + 3);
	}
	return 0;
}

void md_assemble(struct scan *s)
{
	for (size_t i = 0; i < s->places_len; i++) {
		struct md_member *m = md_member_of(s->places[i]);
		struct array a = {.len = 0};
		struct err err;
		int r;

		if (!m || m->is_done)
			continue;
		r = find_members(s, m, &a, &err);
		if (r == 0 && a.len > 0)
			r = check_members(&a, m, &err);
		if (r == 0 && a.len > 0)
			r = add_array(s, &a, &err);
		for (size_t k = 0; k < a.len; k++) {
			md_member_of(a.places[k])->is_done = true;
			if (r < 0)
				place_set_raw(a.places[k], "%s", err.msg);
		}
	}
}
