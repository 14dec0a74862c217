/* lvm_volume.c - logical volumes: their segments, and why the content of some is not looked into. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/lvm_group.h"
#include "common/grow.h"

#define STRIPES_MAX 128u
#define AREAS_MAX   (1u << 20) /* of all logical volumes together */

static int add_claim(struct lvm_group *g, const struct lvm_claim *c, struct err *err)
{
	struct lvm_claim *claims;

	if (g->claims_len >= AREAS_MAX)
		return doubt(err, "group '%s' has more segments than are possible", g->name);
	claims = grow(g->claims, g->claims_len, &g->claims_cap, sizeof(*claims));
	if (!claims)
		return err_set(err, -ENOMEM, "out of memory");
	g->claims = claims;
	g->claims[g->claims_len++] = *c;
	return 0;
}

static const struct lvm_member *find_member(const struct lvm_group *g, const struct lvm_node *name,
					    size_t *ret_i)
{
	for (size_t i = 0; i < g->members_len; i++) {
		const struct lvm_node *n = g->members[i].node;

		if (n->name_len == name->text_len &&
		    memcmp(n->name, name->text, n->name_len) == 0) {
			*ret_i = i;
			return &g->members[i];
		}
	}
	return NULL;
}

/* A stripe: the name of a physical volume, and its first extent there. */
static int read_stripe(struct lvm_group *g, const struct lvm_node *name, uint64_t extents,
		       struct area *ret, struct err *err)
{
	const struct lvm_node *first = lvm_next(g->t, name);
	struct lvm_claim c = {.len = extents};
	const struct lvm_member *m =
		name->kind == LVM_STRING ? find_member(g, name, &c.member) : NULL;

	if (!m || !first || first->kind != LVM_NUMBER || first->number > m->extents ||
	    extents > m->extents - first->number)
		return doubt(err, "a logical volume of group '%s' is outside of it", g->name);
	c.first = first->number;
	*ret = (struct area){m->place ? m->place->volume : NULL,
			     m->start + first->number * g->extent_size};
	return add_claim(g, &c, err);
}

/* The text says what it likes about a physical volume that is not there. */
static int too_large(const struct lvm_group *g, struct err *err)
{
	return doubt(err, "a logical volume of group '%s' has more bytes than can be counted",
		     g->name);
}

static int read_segment(struct lvm_group *g, const struct lvm_node *n, struct segment *ret,
			struct err *err)
{
	const struct lvm_node *list = lvm_get(g->t, n, "stripes", LVM_LIST);
	const struct lvm_node *name = list ? lvm_first(g->t, list) : NULL;
	uint64_t start = 0;
	uint64_t extents = 0;
	uint64_t stripes = 0;
	uint64_t stripe_size = 0;
	struct segment segment;
	int r = lvm_get_number(g->t, n, "start_extent", UINT32_MAX, &start, err);

	if (r == 0)
		r = lvm_get_number(g->t, n, "extent_count", UINT32_MAX, &extents, err);
	if (r == 0)
		r = lvm_get_number(g->t, n, "stripe_count", STRIPES_MAX, &stripes, err);
	if (r == 0 && stripes > 1)
		r = lvm_get_number(g->t, n, "stripe_size", 1u << 30, &stripe_size, err);
	if (r < 0)
		return r;
	stripe_size *= LVM_SECTOR;
	if (extents == 0 || stripes == 0 || extents % stripes != 0 ||
	    (stripes > 1 && (stripe_size == 0 || g->extent_size % stripe_size != 0)))
		return doubt(err, "a segment of group '%s' cannot be understood", g->name);
	segment = (struct segment){
		.stripe_size = stripe_size, .stripes = (uint32_t)stripes, .mirrors = 1};
	if (__builtin_mul_overflow(start, g->extent_size, &segment.at) ||
	    __builtin_mul_overflow(extents, g->extent_size, &segment.length))
		return too_large(g, err);
	*ret = segment;
	ret->areas = calloc(stripes, sizeof(struct area));
	if (!ret->areas)
		return err_set(err, -ENOMEM, "out of memory");
	for (uint64_t i = 0; r == 0 && i < stripes; i++) {
		if (!name)
			return doubt(err, "a segment of group '%s' has too few stripes", g->name);
		r = read_stripe(g, name, extents / stripes, &ret->areas[i], err);
		name = lvm_next(g->t, name);
		name = name ? lvm_next(g->t, name) : NULL;
	}
	return r;
}

static bool is_segment(const struct lvm_node *n)
{
	return n->kind == LVM_SECTION && n->name_len > 7 && memcmp(n->name, "segment", 7) == 0;
}

static bool is_plain(const struct lvm_group *g, const struct lvm_node *segment)
{
	return lvm_is(lvm_get(g->t, segment, "type", LVM_STRING), "striped");
}

/* The text of a name of which volumes are made, as in `origin = "root"`, in `raids = ["a", "b"]`. */
static int add_part(struct lvm_group *g, const struct lvm_node *n, struct err *err)
{
	const struct lvm_node **parts =
		grow(g->parts, g->parts_len, &g->parts_cap, sizeof(struct lvm_node *));

	if (!parts)
		return err_set(err, -ENOMEM, "out of memory");
	g->parts = parts;
	g->parts[g->parts_len++] = n;
	return 0;
}

static bool is_named(const struct lvm_node *n, const char *name)
{
	return n->name_len == strlen(name) && memcmp(n->name, name, n->name_len) == 0;
}

/* All strings in a segment, but for its type and the physical volumes of its stripes.  A segment of another kind that lies on physical volumes
 * itself (as while one is being emptied) has extents that nobody else names: then nothing is known about any. */
static int add_parts(struct lvm_group *g, const struct lvm_node *segment, struct err *err)
{
	bool plain = is_plain(g, segment);
	int r = 0;

	for (const struct lvm_node *n = lvm_first(g->t, segment); r == 0 && n;
	     n = lvm_next(g->t, n)) {
		if (n->kind == LVM_STRING && !is_named(n, "type"))
			r = add_part(g, n, err);
		if (n->kind != LVM_LIST || (plain && is_named(n, "stripes")))
			continue;
		for (const struct lvm_node *v = lvm_first(g->t, n); r == 0 && v;
		     v = lvm_next(g->t, v)) {
			size_t i;

			if (v->kind == LVM_STRING && find_member(g, v, &i))
				return doubt(err, "group '%s' has volumes that are being moved",
					     g->name);
			if (v->kind == LVM_STRING)
				r = add_part(g, v, err);
		}
	}
	return r;
}

static int compare_text(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c != 0 ? c : a_len < b_len ? -1 : a_len > b_len;
}

static int compare_parts(const void *a, const void *b)
{
	const struct lvm_node *const *x = a;
	const struct lvm_node *const *y = b;

	return compare_text((*x)->text, (*x)->text_len, (*y)->text, (*y)->text_len);
}

int lvm_collect_parts(struct lvm_group *g, const struct lvm_node *lvs, struct err *err)
{
	int r = 0;

	for (const struct lvm_node *lv = lvm_first(g->t, lvs); lv; lv = lvm_next(g->t, lv)) {
		for (const struct lvm_node *n = lvm_first(g->t, lv); r == 0 && n;
		     n = lvm_next(g->t, n)) {
			if (is_segment(n))
				r = add_parts(g, n, err);
		}
	}
	if (r == 0 && g->parts)
		qsort(g->parts, g->parts_len, sizeof(struct lvm_node *), compare_parts);
	return r;
}

static bool is_part(const struct lvm_group *g, const struct lvm_node *lv)
{
	size_t low = 0;
	size_t high = g->parts_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct lvm_node *n = g->parts[mid];
		int c = compare_text(lv->name, lv->name_len, n->text, n->text_len);

		if (c == 0)
			return true;
		if (c < 0) {
			high = mid;
		} else {
			low = mid + 1;
		}
	}
	return false;
}

/* Why a logical volume's content cannot be looked into; NULL if it can. */
static const char *why_not(const struct lvm_group *g, const struct lvm_node *lv)
{
	static const char *const known[] = {"READ", "WRITE", "FIXED_MINOR"};
	const struct lvm_node *status = lvm_get(g->t, lv, "status", LVM_LIST);
	bool is_visible = false;

	for (const struct lvm_node *n = lvm_first(g->t, lv); n; n = lvm_next(g->t, n)) {
		if (is_segment(n) && !is_plain(g, n))
			return "it is not made of linear and striped segments only";
	}
	if (is_part(g, lv))
		return "another logical volume is made of it (snapshot, pool, cache, RAID)";
	for (const struct lvm_node *n = status ? lvm_first(g->t, status) : NULL; n;
	     n = lvm_next(g->t, n)) {
		bool is_known = lvm_is(n, "VISIBLE");

		is_visible = is_visible || is_known;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			is_known = is_known || lvm_is(n, known[i]);
		if (!is_known)
			return "it is in a state that is not known";
	}
	return is_visible ? NULL : "it is not for use by itself";
}

struct segments {
	struct segment *items; /* heap */
	size_t len;
};

static void segments_done(struct segments *s)
{
	segments_free(s->items, s->len);
}

/* The plain segments of a logical volume; `*ret_why` is set when it has to be taken whole: then their places in the volume do not matter. */
static int read_segments(struct lvm_group *g, const struct lvm_node *lv, struct segments *ret,
			 const char **ret_why, struct err *err)
{
	uint64_t end = 0;
	int r = 0;

	for (const struct lvm_node *n = lvm_first(g->t, lv); r == 0 && n; n = lvm_next(g->t, n)) {
		struct segment *items;

		if (!is_segment(n) || !is_plain(g, n))
			continue;
		items = reallocarray(ret->items, ret->len + 1, sizeof(*items));
		if (!items)
			return err_set(err, -ENOMEM, "out of memory");
		ret->items = items;
		items[ret->len] = (struct segment){0};
		r = read_segment(g, n, &items[ret->len++], err);
		if (r < 0)
			return r;
		if (items[ret->len - 1].at != end && !*ret_why)
			*ret_why = "its segments are not in order";
		items[ret->len - 1].at = end;
		if (__builtin_add_overflow(end, items[ret->len - 1].length, &end))
			return too_large(g, err);
		for (uint32_t i = 0; i < items[ret->len - 1].stripes && !*ret_why; i++) {
			if (!items[ret->len - 1].areas[i].on)
				*ret_why = "part of it is on a disk that is not there";
		}
	}
	return r;
}

/* A logical volume becomes a place. */
int lvm_add_volume(struct lvm_group *g, const struct lvm_node *lv, struct err *err)
{
	CLEANUP(segments_done) struct segments segments = {0};
	const char *why = why_not(g, lv);
	struct volume *v = NULL;
	struct place *p;
	char name[128];
	int r = read_segments(g, lv, &segments, &why, err);

	if (r < 0 || segments.len == 0)
		return r;
	(void)snprintf(name, sizeof(name), "%s/%.*s", g->name, (int)lv->name_len, lv->name);
	r = volume_new_composed(name, g->sector_size, segments.items, segments.len, &v, err);
	segments = (struct segments){0};
	if (r < 0)
		return r;
	p = scan_add(g->s, PLACE_VOLUME, v, NULL, err);
	if (!p)
		return err->code;
	p->depth = g->depth + 1;
	p->is_logical = true;
	(void)snprintf(p->part.name, sizeof(p->part.name), "%s", name);
	if (why)
		(void)snprintf(p->raw_why, sizeof(p->raw_why), "%s", why);
	return 0;
}
