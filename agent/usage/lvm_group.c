/* lvm_group.c - from physical volumes to logical ones.
 *
 * A logical volume is looked into when it is all of linear and striped segments, is there for users ("VISIBLE"), and no other volume is made of it: a
 * snapshot's origin has blocks that it calls free and the snapshot does not, and what pools, caches and mirrors consist of only has
 * meaning as a whole.  All other volumes that have extents of their own are in use whole.  Extents that belong to no volume are free.
 *
 * Everything that could lead astray makes the whole group raw: physical volumes that tell different stories or are there twice, extents that
 * are outside of a physical volume or belong to two logical volumes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/lvm.h"

#define SECTOR	    512u
#define STRIPES_MAX 128u
#define AREAS_MAX   (1u << 20) /* of all logical volumes together */

/* A physical volume as the group's text describes it. */
struct member {
	const struct lvm_node *node;
	struct place *place; /* NULL: not there */
	uint64_t start;	     /* bytes, of its extents */
	uint64_t extents;
};

/* Extents of a member that belong to a logical volume. */
struct claim {
	size_t member;
	uint64_t first, len;
};

struct group {
	struct scan *s;
	const struct lvm_text *t;
	const struct lvm_node *vg; /* its section */
	char name[64];
	uint64_t extent_size; /* bytes */
	unsigned depth;
	uint32_t sector_size;
	struct member *members; /* heap */
	size_t members_len;
	struct claim *claims; /* heap */
	size_t claims_len, claims_cap;
	const struct lvm_node *
		*parts; /* heap; strings that name what volumes are made of, sorted */
	size_t parts_len, parts_cap;
};

static void group_done(struct group *g)
{
	free(g->members);
	free(g->claims);
	free(g->parts);
}

/* Does the text's identifier, which has dashes, equal one without? */
static bool is_id(const struct lvm_node *text, const char id[static LVM_ID_SIZE])
{
	size_t n = 0;

	for (uint32_t i = 0; text && i < text->text_len; i++) {
		if (text->text[i] == '-')
			continue;
		if (n >= LVM_ID_SIZE || text->text[i] != id[n])
			return false;
		n++;
	}
	return n == LVM_ID_SIZE;
}

static int find_place(const struct group *g, struct member *m, struct err *err)
{
	const struct lvm_node *id = lvm_get(g->t, m->node, "id", LVM_STRING);

	for (size_t i = 0; i < g->s->places_len; i++) {
		struct place *p = g->s->places[i];
		const struct lvm_pv *pv = lvm_pv_of(p);

		if (!pv || !is_id(id, pv->id))
			continue;
		if (m->place)
			return doubt(err, "physical volume '%.*s' of group '%s' is there twice",
				     (int)m->node->name_len, m->node->name, g->name);
		m->place = p;
	}
	return 0;
}

static int read_member(struct group *g, struct member *m, struct err *err)
{
	const struct lvm_pv *pv;
	uint64_t start, size;
	int r = lvm_get_number(g->t, m->node, "pe_start", 1ull << 40, &start, err);

	if (r == 0)
		r = lvm_get_number(g->t, m->node, "pe_count", UINT32_MAX, &m->extents, err);
	if (r == 0)
		r = find_place(g, m, err);
	if (r < 0)
		return r;
	m->start = start * SECTOR;
	if (!m->place)
		return 0;
	pv = lvm_pv_of(m->place);
	if (__builtin_mul_overflow(m->extents, g->extent_size, &size) || m->start > pv->size ||
	    size > pv->size - m->start)
		return doubt(err, "physical volume '%.*s' is smaller than group '%s' says",
			     (int)m->node->name_len, m->node->name, g->name);
	if (m->place->depth > g->depth)
		g->depth = m->place->depth;
	g->sector_size = m->place->volume->blk.sector_size > g->sector_size
				 ? m->place->volume->blk.sector_size
				 : g->sector_size;
	return 0;
}

static int read_members(struct group *g, struct err *err)
{
	const struct lvm_node *pvs = lvm_get(g->t, g->vg, "physical_volumes", LVM_SECTION);
	size_t len = 0;
	int r = 0;

	for (const struct lvm_node *n = pvs ? lvm_first(g->t, pvs) : NULL; n; n = lvm_next(g->t, n))
		len++;
	if (len == 0)
		return doubt(err, "group '%s' has no physical volumes", g->name);
	g->members = calloc(len, sizeof(*g->members));
	if (!g->members)
		return err_set(err, -ENOMEM, "out of memory");
	for (const struct lvm_node *n = lvm_first(g->t, pvs); r == 0 && n; n = lvm_next(g->t, n)) {
		g->members[g->members_len].node = n;
		r = read_member(g, &g->members[g->members_len++], err);
	}
	return r;
}

static int add_claim(struct group *g, const struct claim *c, struct err *err)
{
	size_t cap = g->claims_cap ? g->claims_cap * 2 : 64;
	struct claim *claims;

	if (g->claims_len >= AREAS_MAX)
		return doubt(err, "group '%s' has more segments than are possible", g->name);
	if (g->claims_len == g->claims_cap) {
		claims = reallocarray(g->claims, cap, sizeof(*claims));
		if (!claims)
			return err_set(err, -ENOMEM, "out of memory");
		g->claims = claims;
		g->claims_cap = cap;
	}
	g->claims[g->claims_len++] = *c;
	return 0;
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a;
	const struct claim *y = b;

	if (x->member != y->member)
		return x->member < y->member ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static int check_claims(struct group *g, struct err *err)
{
	if (!g->claims)
		return 0;
	qsort(g->claims, g->claims_len, sizeof(*g->claims), compare_claims);
	for (size_t i = 1; i < g->claims_len; i++) {
		const struct claim *a = &g->claims[i - 1];
		const struct claim *b = &g->claims[i];

		if (a->member == b->member && b->first - a->first < a->len)
			return doubt(err, "logical volumes of group '%s' overlap", g->name);
	}
	return 0;
}

static const struct member *find_member(const struct group *g, const struct lvm_node *name,
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
static int read_stripe(struct group *g, const struct lvm_node *name, uint64_t extents,
		       struct area *ret, struct err *err)
{
	const struct lvm_node *first = lvm_next(g->t, name);
	struct claim c = {.len = extents};
	const struct member *m = name->kind == LVM_STRING ? find_member(g, name, &c.member) : NULL;

	if (!m || !first || first->kind != LVM_NUMBER || first->number > m->extents ||
	    extents > m->extents - first->number)
		return doubt(err, "a logical volume of group '%s' is outside of it", g->name);
	c.first = first->number;
	*ret = (struct area){m->place ? m->place->volume : NULL,
			     m->start + first->number * g->extent_size};
	return add_claim(g, &c, err);
}

static int read_segment(struct group *g, const struct lvm_node *n, struct segment *ret,
			struct err *err)
{
	const struct lvm_node *list = lvm_get(g->t, n, "stripes", LVM_LIST);
	const struct lvm_node *name = list ? lvm_first(g->t, list) : NULL;
	uint64_t start = 0;
	uint64_t extents = 0;
	uint64_t stripes = 0;
	uint64_t stripe_size = 0;
	int r = lvm_get_number(g->t, n, "start_extent", UINT32_MAX, &start, err);

	if (r == 0)
		r = lvm_get_number(g->t, n, "extent_count", UINT32_MAX, &extents, err);
	if (r == 0)
		r = lvm_get_number(g->t, n, "stripe_count", STRIPES_MAX, &stripes, err);
	if (r == 0 && stripes > 1)
		r = lvm_get_number(g->t, n, "stripe_size", 1u << 30, &stripe_size, err);
	if (r < 0)
		return r;
	stripe_size *= SECTOR;
	if (extents == 0 || stripes == 0 || extents % stripes != 0 ||
	    (stripes > 1 && (stripe_size == 0 || g->extent_size % stripe_size != 0)))
		return doubt(err, "a segment of group '%s' cannot be understood", g->name);
	*ret = (struct segment){start * g->extent_size,
				extents * g->extent_size,
				stripe_size,
				(uint32_t)stripes,
				1,
				calloc(stripes, sizeof(struct area))};
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

static bool is_plain(const struct group *g, const struct lvm_node *segment)
{
	return lvm_is(lvm_get(g->t, segment, "type", LVM_STRING), "striped");
}

/* The text of a name of which volumes are made, as in `origin = "root"`, in `raids = ["a", "b"]`. */
static int add_part(struct group *g, const struct lvm_node *n, struct err *err)
{
	size_t cap = g->parts_cap ? g->parts_cap * 2 : 64;
	const struct lvm_node **parts;

	if (g->parts_len == g->parts_cap) {
		parts = reallocarray(g->parts, cap, sizeof(struct lvm_node *));
		if (!parts)
			return err_set(err, -ENOMEM, "out of memory");
		g->parts = parts;
		g->parts_cap = cap;
	}
	g->parts[g->parts_len++] = n;
	return 0;
}

static bool is_named(const struct lvm_node *n, const char *name)
{
	return n->name_len == strlen(name) && memcmp(n->name, name, n->name_len) == 0;
}

/* All strings in a segment, but for its type and the physical volumes of its stripes. */
static int add_parts(struct group *g, const struct lvm_node *segment, struct err *err)
{
	int r = 0;

	for (const struct lvm_node *n = lvm_first(g->t, segment); r == 0 && n;
	     n = lvm_next(g->t, n)) {
		if (n->kind == LVM_STRING && !is_named(n, "type"))
			r = add_part(g, n, err);
		if (n->kind != LVM_LIST || is_named(n, "stripes"))
			continue;
		for (const struct lvm_node *v = lvm_first(g->t, n); r == 0 && v;
		     v = lvm_next(g->t, v)) {
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

static int collect_parts(struct group *g, const struct lvm_node *lvs, struct err *err)
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

static bool is_part(const struct group *g, const struct lvm_node *lv)
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
static const char *why_not(const struct group *g, const struct lvm_node *lv)
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
static int read_segments(struct group *g, const struct lvm_node *lv, struct segments *ret,
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
		end += items[ret->len - 1].length;
		for (uint32_t i = 0; i < items[ret->len - 1].stripes && !*ret_why; i++) {
			if (!items[ret->len - 1].areas[i].on)
				*ret_why = "part of it is on a disk that is not there";
		}
	}
	return r;
}

/* A logical volume becomes a place. */
static int add_volume(struct group *g, const struct lvm_node *lv, struct err *err)
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
	(void)snprintf(p->part.name, sizeof(p->part.name), "%s", name);
	if (why)
		(void)snprintf(p->raw_why, sizeof(p->raw_why), "%s", why);
	return 0;
}

/* All that is not extents is in use. */
static void mark_member(const struct group *g, const struct member *m)
{
	volume_mark(m->place->volume, 0, m->start);
	volume_mark(m->place->volume, m->start + m->extents * g->extent_size, UINT64_MAX);
	part_set_why(&m->place->part, "physical volume of group '%s'", g->name);
}

static int map_group(struct group *g, struct err *err)
{
	const struct lvm_node *lvs = lvm_get(g->t, g->vg, "logical_volumes", LVM_SECTION);
	uint64_t sectors;
	int r = lvm_get_number(g->t, g->vg, "extent_size", 1u << 31, &sectors, err);

	if (r == 0 && sectors == 0)
		r = doubt(err, "group '%s' has extents of no size", g->name);
	if (r < 0)
		return r;
	g->extent_size = sectors * SECTOR;
	g->sector_size = SECTOR;
	r = read_members(g, err);
	if (r == 0 && lvs)
		r = collect_parts(g, lvs, err);
	for (const struct lvm_node *lv = r == 0 && lvs ? lvm_first(g->t, lvs) : NULL; r == 0 && lv;
	     lv = lvm_next(g->t, lv)) {
		if (lv->kind == LVM_SECTION)
			r = add_volume(g, lv, err);
	}
	if (r == 0)
		r = check_claims(g, err);
	for (size_t i = 0; r == 0 && i < g->members_len; i++) {
		if (g->members[i].place)
			mark_member(g, &g->members[i]);
	}
	return r;
}

/* The physical volume with the latest of the texts about the group that `pv` is in. */
static const struct lvm_pv *latest(const struct scan *s, const struct lvm_pv *pv, bool *ret_differ)
{
	const struct lvm_node *id =
		lvm_get(&pv->metadata, lvm_group_section(&pv->metadata), "id", LVM_STRING);
	const struct lvm_pv *best = pv;

	for (size_t i = 0; id && i < s->places_len; i++) {
		const struct lvm_pv *other = lvm_pv_of(s->places[i]);
		const struct lvm_node *other_id =
			other ? lvm_get(&other->metadata, lvm_group_section(&other->metadata), "id",
					LVM_STRING)
			      : NULL;

		if (!other_id || other_id->text_len != id->text_len ||
		    memcmp(other_id->text, id->text, id->text_len) != 0)
			continue;
		*ret_differ = *ret_differ || other->seqno != pv->seqno;
		if (other->seqno > best->seqno)
			best = other;
	}
	return best;
}

/* Whether each physical volume that the group names is there or not, it has been dealt with; `raw_why` (or NULL) is why it is raw. */
static void settle(struct group *g, const char *raw_why)
{
	const struct lvm_node *pvs = lvm_get(g->t, g->vg, "physical_volumes", LVM_SECTION);

	for (const struct lvm_node *n = pvs ? lvm_first(g->t, pvs) : NULL; n;
	     n = lvm_next(g->t, n)) {
		const struct lvm_node *id = lvm_get(g->t, n, "id", LVM_STRING);

		for (size_t i = 0; i < g->s->places_len; i++) {
			struct lvm_pv *pv = lvm_pv_of(g->s->places[i]);

			if (!pv || !is_id(id, pv->id))
				continue;
			if (raw_why)
				place_set_raw(g->s->places[i], "%s", raw_why);
			pv->is_done = true;
		}
	}
}

static void assemble(struct scan *s, struct place *p)
{
	struct lvm_pv *pv = lvm_pv_of(p);
	CLEANUP(group_done) struct group g = {.s = s};
	size_t places_len = s->places_len;
	bool do_differ = false;
	struct err err;
	int r;

	g.t = &latest(s, pv, &do_differ)->metadata;
	g.vg = lvm_group_section(g.t);
	if (!g.vg) {
		place_set_raw(p, "its LVM metadata name no group");
		pv->is_done = true;
		return;
	}
	(void)snprintf(g.name, sizeof(g.name), "%.*s", (int)g.vg->name_len, g.vg->name);
	if (do_differ) {
		r = doubt(&err, "the physical volumes of group '%s' tell different stories",
			  g.name);
	} else {
		r = map_group(&g, &err);
	}
	if (r < 0) {
		/* the volumes added before it failed are nothing by themselves */
		for (size_t i = places_len; i < s->places_len; i++)
			(void)snprintf(s->places[i]->raw_why, sizeof(s->places[i]->raw_why),
				       "%.120s", err.msg);
	}
	settle(&g, r < 0 ? err.msg : NULL);
	if (!pv->is_done) {
		place_set_raw(p, "its LVM metadata do not name it");
		pv->is_done = true;
	}
}

void lvm_assemble(struct scan *s)
{
	for (size_t i = 0; i < s->places_len; i++) {
		struct lvm_pv *pv = lvm_pv_of(s->places[i]);

		if (pv && !pv->is_done && pv->text)
			assemble(s, s->places[i]);
	}
	for (size_t i = 0; i < s->places_len; i++) {
		struct place *p = s->places[i];
		struct lvm_pv *pv = lvm_pv_of(p);

		if (!pv || pv->is_done)
			continue;
		pv->is_done = true;
		if (!pv->has_area || pv->is_used) {
			place_set_raw(p, "the metadata of its LVM group are on disks that are not "
					 "there");
			continue;
		}
		p->part.how = USAGE_HEADER;
		part_set_why(&p->part, "LVM physical volume of no group");
	}
}
