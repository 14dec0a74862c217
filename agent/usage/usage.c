/* usage.c - the order of things: look into the disks, put together what was found of volumes, look into those, until nothing new comes up;
 * then what is known of each disk. */
#include "agent/usage/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/lvm.h"
#include "agent/usage/md.h"
#include "agent/usage/owners.h"
#include "agent/usage/scan.h"

#define SIZE_LIMIT (1ull << 60) /* so that no sum of an offset and a length overflows */

static void place_free(struct place *p)
{
	if (p->free_state)
		p->free_state(p->state);
	volume_free(p->volume);
	free(p);
}

static void scan_done(struct scan *s)
{
	while (s->places_len > 0)
		place_free(s->places[--s->places_len]);
	free(s->places);
	free(s->disks);
	cache_free(s->cache);
}

static int add_disks(struct scan *s, struct blk *const *disks, size_t len, struct err *err)
{
	size_t max = USAGE_EXTENTS_MAX / len;

	if (max < USAGE_EXTENTS_MIN)
		max = USAGE_EXTENTS_MIN;
	s->cache = cache_new();
	s->disks = calloc(len, sizeof(struct place *));
	if (!s->cache || !s->disks)
		return err_set(err, -ENOMEM, "map the disks: out of memory");
	for (; s->disks_len < len; s->disks_len++) {
		struct volume *v;
		int r = volume_new_disk(disks[s->disks_len], s->cache, max, &v, err);

		if (r < 0)
			return r;
		s->disks[s->disks_len] = scan_add(s, PLACE_DISK, v, NULL, err);
		if (!s->disks[s->disks_len])
			return err->code;
	}
	return 0;
}

/* Until nothing new comes up.  Arrays first: physical volumes may lie on them. */
static void look(struct scan *s)
{
	size_t len;

	do {
		scan_look(s);
		len = s->places_len;
		md_assemble(s);
		if (s->places_len == len)
			lvm_assemble(s);
	} while (s->places_len > len);
	scan_settle_doubts(s);
	scan_settle_areas(s);
}

static bool is_complete(const struct scan *s)
{
	for (size_t i = 0; i < s->disks_len; i++) {
		if (s->disks[i]->volume->runs.is_failed)
			return false;
	}
	return !s->is_failed;
}

static const struct place *root_of(const struct place *p)
{
	while (p->parent)
		p = p->parent;
	return p;
}

/* Which of the three lists of the disk does the place belong to?  NULL: to none. */
static struct usage_part **list_of(struct usage_map *m, const struct place *p,
				   const struct place *disk, size_t **ret_len)
{
	if (root_of(p) != disk) {
		*ret_len = &m->volumes_len;
		return p->kind != PLACE_AREA && root_of(p)->kind == PLACE_VOLUME &&
				       (!p->volume || volume_touches(p->volume, disk->volume))
			       ? &m->volumes
			       : NULL;
	}
	if (p->kind == PLACE_AREA) {
		*ret_len = &m->areas_len;
		return &m->areas;
	}
	*ret_len = &m->partitions_len;
	return p != disk || !p->table ? &m->partitions : NULL;
}

static int add_part(struct usage_map *m, const struct place *p, const struct place *disk)
{
	size_t *len;
	struct usage_part **list = list_of(m, p, disk, &len);
	struct usage_part *parts;

	if (!list)
		return 0;
	parts = reallocarray(*list, *len + 1, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	*list = parts;
	parts[*len] = p->part;
	if (p->inside && p->inside->part.how == USAGE_RAW) {
		parts[*len].how = USAGE_RAW;
		(void)snprintf(parts[*len].why, sizeof(parts[*len].why), "%.120s: %.190s",
			       p->part.why, p->inside->part.why);
	}
	if (p->volume) {
		parts[*len].copied = volume_copied(p->volume, disk->volume);
		if (parts[*len].how == USAGE_MAP && parts[*len].used == 0)
			parts[*len].used = volume_copied(p->volume, NULL);
	}
	(*len)++;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct usage_part *x = a;
	const struct usage_part *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void sort_parts(struct usage_part *parts, size_t len)
{
	if (len > 0)
		qsort(parts, len, sizeof(*parts), compare);
}

/* What is known of one disk. */
static int describe(struct scan *s, const struct place *disk, struct usage_map *m)
{
	int r = 0;

	m->size = volume_size(disk->volume);
	m->sector_size = disk->volume->blk.sector_size;
	m->table = disk->table ? disk->table : "none";
	for (size_t i = 0; r == 0 && i < s->places_len; i++)
		r = add_part(m, s->places[i], disk);
	sort_parts(m->partitions, m->partitions_len);
	sort_parts(m->areas, m->areas_len);
	sort_parts(m->volumes, m->volumes_len);
	return r;
}

/* Only when all disks are described: volumes lie on several. */
static void take_extents(struct runs *runs, struct usage_map *m)
{
	struct extent *fit;

	runs_sort(runs);
	m->extents_len = runs->len;
	for (size_t i = 0; i < runs->len; i++)
		m->copied += runs->items[i].length;
	fit = runs->len > 0 ? reallocarray(runs->items, runs->len, sizeof(*fit)) : NULL;
	m->extents = fit ? fit : runs->items;
	*runs = (struct runs){0};
}

static int check(struct blk *const *disks, size_t len, struct err *err)
{
	if (len == 0 || len > USAGE_DISKS_MAX)
		return err_set(err, -EINVAL, "map %zu disks: from 1 to %u are possible", len,
			       USAGE_DISKS_MAX);
	for (size_t i = 0; i < len; i++) {
		if (blk_size(disks[i]) == 0 || blk_size(disks[i]) > SIZE_LIMIT)
			return err_set(err, -EINVAL, "map '%s': no disk has %" PRIu64 " bytes",
				       blk_name(disks[i]), blk_size(disks[i]));
	}
	return 0;
}

int usage_map(struct blk *const *disks, size_t len, struct usage_map *ret, struct err *err)
{
	const struct usage_options none = {0};

	return usage_map_with(disks, len, &none, ret, err);
}

int usage_map_with(struct blk *const *disks, size_t len, const struct usage_options *options,
		   struct usage_map *ret, struct err *err)
{
	CLEANUP(scan_done) struct scan s = {.options = options};
	int r = check(disks, len, err);

	if (r == 0)
		r = add_disks(&s, disks, len, err);
	if (r < 0)
		return r;
	look(&s);
	memset(ret, 0, len * sizeof(*ret));
	if (!is_complete(&s))
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < len; i++)
		r = describe(&s, s.disks[i], &ret[i]);
	for (size_t i = 0; r == 0 && i < len; i++)
		take_extents(&s.disks[i]->volume->runs, &ret[i]);
	if (r == 0)
		return 0;
	for (size_t i = 0; i < len; i++)
		usage_map_done(&ret[i]);
	return err_set(err, -ENOMEM, "map '%s': out of memory", blk_name(disks[0]));
}

int usage_owners(struct blk *const *disks, size_t len, size_t n, const struct extents *bad,
		 uint64_t limit_ms, struct owner **ret, size_t *ret_len, struct err *err)
{
	const struct usage_options none = {0};
	CLEANUP(scan_done) struct scan s = {.options = &none};
	int r = check(disks, len, err);

	if (r == 0)
		r = add_disks(&s, disks, len, err);
	if (r < 0)
		return r;
	look(&s);
	return scan_owners(&s, n, bad->items, bad->len, limit_ms, ret, ret_len, err);
}

void usage_map_done(struct usage_map *m)
{
	free(m->extents);
	free(m->partitions);
	free(m->areas);
	free(m->volumes);
	*m = (struct usage_map){0};
}

const char *usage_how_name(enum usage_how how)
{
	static const char *const names[] = {
		[USAGE_RAW] = "raw",
		[USAGE_MAP] = "map",
		[USAGE_HEADER] = "header",
		[USAGE_NONE] = "none",
	};

	return names[how];
}
