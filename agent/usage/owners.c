/* owners.c - from the innermost places outwards: a logical volume before the physical one, a partition before its disk.  What an inner one covers is no longer
 * in question for those around it; what remains of a place with a table, or of a member of a volume, is that place's own metadata. */
#include "agent/usage/owners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/extents.h"
#include "agent/usage/claims.h"
#include "agent/usage/scan.h"
#include "common/cleanup.h"
#include "common/grow.h"
#include "common/text.h"

#define PATH_LONG 8192u

const char *owner_kind_name(enum owner_kind k)
{
	static const char *const names[] = {"unknown",	"file",	   "directory",
					    "metadata", "journal", "free"};

	return names[k];
}

/* ---- claims */

static void claims_done(struct claims *c)
{
	for (size_t i = 0; i < c->len; i++)
		free(c->items[i].name);
	free(c->items);
	free(c->ranges);
}

/* The first range that ends behind `at`. */
static size_t find_range(const struct claims *c, uint64_t at)
{
	size_t low = 0, high = c->ranges_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->ranges[mid].at + c->ranges[mid].length > at)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static void add_claim(struct claims *c, const struct claim *new)
{
	struct claim *items = NULL;

	if (c->len < CLAIMS_MAX)
		items = grow(c->items, c->len, &c->cap, sizeof(*items));
	if (!items) {
		c->is_partial = true;
		return;
	}
	c->items = items;
	items[c->len++] = *new;
	c->wanted[new->number % 65536 / 8] |= (uint8_t)(1u << new->number % 8);
}

void claims_add(struct claims *c, uint64_t at, uint64_t length, enum owner_kind kind,
		uint64_t number)
{
	uint64_t end;

	if (__builtin_add_overflow(at, length, &end))
		return;
	for (size_t i = find_range(c, at); i < c->ranges_len && c->ranges[i].at < end; i++) {
		const struct range *r = &c->ranges[i];
		uint64_t from = at > r->at ? at : r->at;
		uint64_t to = end < r->at + r->length ? end : r->at + r->length;

		add_claim(c, &(struct claim){from, to - from, number, kind, NULL});
	}
}

bool claims_is_over(struct claims *c)
{
	bool over = clock_ms() >= c->end_ms;

	c->is_partial = c->is_partial || over;
	return over;
}

bool claims_wants_name(const struct claims *c, uint64_t number)
{
	bool may = c->wanted[number % 65536 / 8] >> number % 8 & 1;

	for (size_t i = 0; may && i < c->len; i++) {
		if (c->items[i].number == number && !c->items[i].name)
			return number > 0;
	}
	return false;
}

/* Clean, and short enough: the end of a path says more than its beginning. */
static char *clean_name(const char *path)
{
	char clean[PATH_LONG], *name;
	size_t len = text_clean(clean, sizeof(clean), path, strlen(path));
	const char *from = clean;
	const char *dots = "\xe2\x80\xa6";

	if (len < OWNER_NAME_SIZE)
		return strdup(clean);
	from += len - (OWNER_NAME_SIZE - 4);
	while ((*from & 0xc0) == 0x80) /* the middle of a character */
		from++;
	return asprintf(&name, "%s%s", dots, from) < 0 ? NULL : name;
}

void claims_set_name(struct claims *c, uint64_t number, const char *path)
{
	for (size_t i = 0; i < c->len; i++) {
		if (c->items[i].number == number && !c->items[i].name)
			c->items[i].name = clean_name(path);
	}
}

static int by_place(const void *pa, const void *pb)
{
	const struct claim *a = pa, *b = pb;

	return a->at < b->at ? -1 : a->at > b->at;
}

static int by_range(const void *pa, const void *pb)
{
	const struct range *a = pa, *b = pb;

	return a->at < b->at ? -1 : a->at > b->at;
}

/* ---- owners */

struct answer {
	struct extents left; /* of the disk, in question */
	struct owner *items; /* heap */
	size_t len, cap;
	bool is_failed; /* out of memory */
};

static int by_offset(const void *pa, const void *pb)
{
	const struct owner *a = pa, *b = pb;

	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* The number of the partition of the disk that it lies in. */
static uint32_t partition_of(const struct place *p)
{
	uint32_t number = 0;

	for (; p; p = p->parent) {
		if (p->kind == PLACE_PARTITION)
			number = p->part.number;
	}
	return number;
}

static void answer_add(struct answer *a, const struct place *p, const struct range *r,
		       uint64_t from, uint64_t to, const struct claim *c)
{
	struct owner *o;

	if (from >= to || a->is_failed)
		return;
	o = grow(a->items, a->len, &a->cap, sizeof(*o));
	if (!o) {
		a->is_failed = true;
		return;
	}
	a->items = o;
	o += a->len++;
	*o = (struct owner){.offset = r->disk + (from - r->at),
			    .length = to - from,
			    .kind = c->kind,
			    .partition = partition_of(p),
			    .content = p->part.content};
	(void)snprintf(o->volume, sizeof(o->volume), "%s", p->part.name);
	(void)snprintf(o->name, sizeof(o->name), "%s", c->name ? c->name : "");
}

/* The claims on each range in order; what nobody claims is free, unless not everybody was asked. */
static void settle(struct answer *a, const struct place *p, struct claims *c, enum owner_kind rest)
{
	struct claim none = {.kind = c->is_partial ? OWNER_UNKNOWN : rest};
	size_t k = 0;

	if (c->len > 0)
		qsort(c->items, c->len, sizeof(*c->items), by_place);
	for (size_t i = 0; i < c->ranges_len; i++) {
		const struct range *r = &c->ranges[i];
		uint64_t at = r->at, end = r->at + r->length;

		for (; k < c->len && c->items[k].at < end; k++) {
			const struct claim *x = &c->items[k];
			uint64_t from = x->at > at ? x->at : at, to = x->at + x->length;

			answer_add(a, p, r, at, from, &none);
			answer_add(a, p, r, from, to, x);
			at = to > at ? to : at;
		}
		answer_add(a, p, r, at, end, &none);
		if (extents_remove(&a->left, r->disk, r->length) < 0)
			a->is_failed = true;
	}
}

/* ---- places */

/* What is in question of the piece that lies at `at` in the volume. */
static bool add_ranges(const struct answer *a, const struct usage_piece *piece, uint64_t at,
		       struct claims *c, size_t *cap)
{
	uint64_t end = piece->offset + piece->length;

	for (size_t i = extents_find(&a->left, piece->offset);
	     i < a->left.len && a->left.items[i].offset < end; i++) {
		const struct extent *e = &a->left.items[i];
		uint64_t from = e->offset > piece->offset ? e->offset : piece->offset;
		uint64_t to = e->offset + e->length < end ? e->offset + e->length : end;
		struct range *ranges = grow(c->ranges, c->ranges_len, cap, sizeof(*ranges));

		if (!ranges)
			return false;
		c->ranges = ranges;
		ranges[c->ranges_len++] =
			(struct range){at + (from - piece->offset), to - from, from};
	}
	return true;
}

static bool find_ranges(const struct answer *a, const struct place *p, const struct blk *disk,
			struct claims *c)
{
	CLEANUP_FREE struct usage_piece *pieces = calloc(USAGE_PIECES_MAX, sizeof(*pieces));
	size_t len = 0, cap = 0;
	uint64_t at = 0;
	struct err ignored;

	if (!pieces || volume_find_pieces(p->volume, pieces, USAGE_PIECES_MAX, &len, &ignored) < 0)
		return pieces !=
		       NULL; /* scattered, or not all there: whoever is around it has it */
	for (size_t i = 0; i < len; at += pieces[i++].length) {
		if (pieces[i].disk == disk && !add_ranges(a, &pieces[i], at, c, &cap))
			return false;
	}
	if (c->ranges_len > 0)
		qsort(c->ranges, c->ranges_len, sizeof(*c->ranges), by_range);
	return true;
}

/* One that was not understood has content of which nothing is known. */
static bool is_container(const struct place *p)
{
	return p->part.how != USAGE_RAW &&
	       (p->table || p->inside || strcmp(p->part.content, "LVM2_member") == 0 ||
		strcmp(p->part.content, "linux_raid_member") == 0);
}

static void ask(struct answer *a, const struct place *p, const struct blk *disk, uint64_t end_ms)
{
	CLEANUP(claims_done) struct claims c = {.end_ms = end_ms}; /* 8 KiB */
	enum owner_kind rest = OWNER_UNKNOWN;

	if (!find_ranges(a, p, disk, &c)) {
		a->is_failed = true;
		return;
	}
	if (c.ranges_len == 0)
		return;
	if (is_container(p)) {
		rest = OWNER_METADATA;
	} else if (strncmp(p->part.content, "ext", 3) == 0 && strlen(p->part.content) == 4) {
		ext_claim(p->volume, &c);
		rest = OWNER_FREE;
	} else if (strcmp(p->part.content, "ntfs") == 0) {
		ntfs_claim(p->volume, &c);
		rest = OWNER_FREE;
	}
	settle(a, p, &c, rest);
}

int scan_owners(struct scan *s, size_t n, const struct extent *bad, size_t bad_len,
		uint64_t limit_ms, struct owner **ret, size_t *ret_len, struct err *err)
{
	const struct blk *disk = s->disks[n]->volume->disk;
	struct answer a = {.len = 0};
	uint64_t end_ms = clock_ms() + limit_ms;

	for (size_t i = 0; !a.is_failed && i < bad_len && i < OWNERS_MAX; i++)
		a.is_failed = extents_add(&a.left, bad[i].offset, bad[i].length) < 0;
	for (size_t i = s->places_len; !a.is_failed && i-- > 0 && a.left.len > 0;) {
		if (s->places[i]->volume && s->places[i]->kind != PLACE_AREA)
			ask(&a, s->places[i], disk, end_ms);
	}
	extents_done(&a.left);
	if (a.is_failed) {
		free(a.items);
		return err_set(err, -ENOMEM, "out of memory");
	}
	if (a.len > 0)
		qsort(a.items, a.len, sizeof(*a.items), by_offset);
	*ret = a.items;
	*ret_len = a.len < OWNERS_MAX ? a.len : OWNERS_MAX;
	return 0;
}
