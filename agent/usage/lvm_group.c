/* lvm_group.c - from physical volumes to logical ones.
 *
 * A logical volume is looked into when it is all of linear and striped segments, is there for users ("VISIBLE"), and no other volume is made of it: a
 * snapshot's origin has blocks that it calls free and the snapshot does not, and what pools, caches and mirrors consist of only has
 * meaning as a whole.  All other volumes that have extents of their own are in use whole.  Extents that belong to no volume are free.
 *
 * Everything that could lead astray makes the whole group raw: physical volumes that tell different stories, say that they are in another group or are
 * there twice, extents that are outside of a physical volume or belong to two logical volumes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/usage/lvm_group.h"
#include "common/bytes.h"

static void group_done(struct lvm_group *g)
{
	free(g->members);
	free(g->claims);
	free(g->parts);
}

/* The identifier of the group that a text is about, or NULL. */
static const struct lvm_node *group_id(const struct lvm_text *t)
{
	return lvm_get(t, lvm_group_section(t), "id", LVM_STRING);
}

static bool is_same_id(const struct lvm_node *a, const struct lvm_node *b)
{
	return a && b && a->text_len == b->text_len && memcmp(a->text, b->text, a->text_len) == 0;
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

static int find_place(const struct lvm_group *g, struct lvm_member *m, struct err *err)
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

/* Once it has been away, LVM does not use it again by itself: what is on it may be old. */
static bool is_missing(const struct lvm_group *g, const struct lvm_node *pv)
{
	const struct lvm_node *flags = lvm_get(g->t, pv, "flags", LVM_LIST);

	for (const struct lvm_node *n = flags ? lvm_first(g->t, flags) : NULL; n;
	     n = lvm_next(g->t, n)) {
		if (lvm_is(n, "MISSING"))
			return true;
	}
	return false;
}

static int read_member(struct lvm_group *g, struct lvm_member *m, struct err *err)
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
	m->start = start * LVM_SECTOR;
	if (is_missing(g, m->node))
		return doubt(err, "a physical volume of group '%s' is marked as missing", g->name);
	if (!m->place)
		return 0;
	pv = lvm_pv_of(m->place);
	/* it keeps its identifier when it leaves a group; who was away then does not know */
	if (pv->text && !is_same_id(group_id(&pv->metadata), group_id(g->t)))
		return doubt(err, "physical volume '%.*s' of group '%s' says that it is in another",
			     (int)m->node->name_len, m->node->name, g->name);
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

static int read_members(struct lvm_group *g, struct err *err)
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

static int compare_claims(const void *a, const void *b)
{
	const struct lvm_claim *x = a;
	const struct lvm_claim *y = b;

	if (x->member != y->member)
		return x->member < y->member ? -1 : 1;
	return x->first < y->first ? -1 : x->first > y->first;
}

static int check_claims(struct lvm_group *g, struct err *err)
{
	if (!g->claims)
		return 0;
	qsort(g->claims, g->claims_len, sizeof(*g->claims), compare_claims);
	for (size_t i = 1; i < g->claims_len; i++) {
		const struct lvm_claim *a = &g->claims[i - 1];
		const struct lvm_claim *b = &g->claims[i];

		if (a->member == b->member && b->first - a->first < a->len)
			return doubt(err, "logical volumes of group '%s' overlap", g->name);
	}
	return 0;
}

/* All that is not extents is in use. */
static void mark_member(const struct lvm_group *g, const struct lvm_member *m)
{
	volume_mark(m->place->volume, 0, m->start);
	volume_mark(m->place->volume, m->start + m->extents * g->extent_size, UINT64_MAX);
	part_set_why(&m->place->part, "physical volume of group '%s'", g->name);
}

static int map_group(struct lvm_group *g, struct err *err)
{
	const struct lvm_node *lvs = lvm_get(g->t, g->vg, "logical_volumes", LVM_SECTION);
	uint64_t sectors;
	int r = lvm_get_number(g->t, g->vg, "extent_size", 1u << 31, &sectors, err);

	if (r == 0 && sectors == 0)
		r = doubt(err, "group '%s' has extents of no size", g->name);
	if (r < 0)
		return r;
	g->extent_size = sectors * LVM_SECTOR;
	g->sector_size = LVM_SECTOR;
	r = read_members(g, err);
	if (r == 0 && lvs)
		r = lvm_collect_parts(g, lvs, err);
	for (const struct lvm_node *lv = r == 0 && lvs ? lvm_first(g->t, lvs) : NULL; r == 0 && lv;
	     lv = lvm_next(g->t, lv)) {
		if (lv->kind == LVM_SECTION)
			r = lvm_add_volume(g, lv, err);
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
	const struct lvm_node *id = group_id(&pv->metadata);
	const struct lvm_pv *best = pv;

	for (size_t i = 0; id && i < s->places_len; i++) {
		const struct lvm_pv *other = lvm_pv_of(s->places[i]);

		if (!other || !is_same_id(group_id(&other->metadata), id))
			continue;
		*ret_differ = *ret_differ || other->seqno != pv->seqno;
		if (other->seqno > best->seqno)
			best = other;
	}
	return best;
}

/* Whether each physical volume that the group names is there or not, it has been dealt with; `raw_why` (or NULL) is why it is raw. */
static void settle(struct lvm_group *g, const char *raw_why)
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
	CLEANUP(group_done) struct lvm_group g = {.s = s};
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

/* One that is not in a group, whose label may be all that is left of it: pvcreate clears what is in front of the label. */
static void settle_orphan(struct place *p, const struct lvm_pv *pv)
{
	uint8_t sector[LVM_SECTOR];
	struct err err;

	if (!pv->has_area || pv->is_used) {
		place_set_raw(p, "the metadata of its LVM group are on disks that are not there");
	} else if (volume_read(p->volume, sector, sizeof(sector), 0, &err) < 0) {
		place_set_raw(p, "%s", err.msg);
	} else if (!bytes_are_zero(sector, sizeof(sector))) {
		place_set_raw(p, "there is something in front of the label of an LVM physical "
				 "volume of no group");
	} else {
		p->part.how = USAGE_HEADER;
		part_set_why(&p->part, "LVM physical volume of no group");
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
		settle_orphan(p, pv);
	}
}
