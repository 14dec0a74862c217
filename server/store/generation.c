/* generation.c - objects and packs that no checkpoint covered yet: a hash table in memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "server/store/internal.h"

#define TABLE_MIN 1024u
#define PACKS_MIN 64u

/* Peers choose ids (by trying contents), so the place in the table depends on a secret too. */
static size_t hash_of(uint64_t seed, enum pack_kind kind, const struct id *id)
{
	return (size_t)XXH3_64bits_withSeed(id->b, ID_SIZE, seed + (uint64_t)kind);
}

/* The slot that holds the object, or the empty one where it belongs. */
static struct fresh_object *slot_of(const struct generation *g, uint64_t seed, enum pack_kind kind,
				    const struct id *id)
{
	size_t i = hash_of(seed, kind, id) & (g->cap - 1);

	while (g->table[i].place.pack != 0 &&
	       (g->table[i].kind != kind || !id_equal(&g->table[i].id, id)))
		i = (i + 1) & (g->cap - 1);
	return &g->table[i];
}

static int reserve_objects(struct generation *g, size_t objects, uint64_t seed, struct err *err)
{
	struct generation old = *g;
	size_t cap = g->cap ? g->cap : TABLE_MIN;

	while (cap / 2 < g->len + objects)
		cap *= 2;
	if (cap == g->cap)
		return 0;
	g->table = calloc(cap, sizeof(*g->table));
	if (!g->table) {
		g->table = old.table;
		return err_set(err, -ENOMEM, "out of memory for the object index");
	}
	g->cap = cap;
	for (size_t i = 0; i < old.cap; i++) {
		const struct fresh_object *o = &old.table[i];

		if (o->place.pack != 0)
			*slot_of(g, seed, o->kind, &o->id) = *o;
	}
	free(old.table);
	return 0;
}

static int reserve_packs(struct generation *g, size_t packs, struct err *err)
{
	size_t cap = g->packs_cap ? g->packs_cap : PACKS_MIN;
	struct fresh_pack *p;

	while (cap < g->packs_len + packs)
		cap *= 2;
	if (cap == g->packs_cap)
		return 0;
	p = reallocarray(g->packs, cap, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "out of memory for the list of packs");
	g->packs = p;
	g->packs_cap = cap;
	return 0;
}

int generation_reserve(struct generation *g, size_t objects, uint64_t seed, struct err *err)
{
	int r = reserve_packs(g, 1, err);

	return r < 0 ? r : reserve_objects(g, objects, seed, err);
}

void generation_add(struct generation *g, uint64_t seed, const struct fresh_object *o)
{
	struct fresh_object *slot = slot_of(g, seed, o->kind, &o->id);

	g->len += slot->place.pack == 0;
	*slot = *o;
}

const struct fresh_object *generation_find(const struct generation *g, uint64_t seed,
					   enum pack_kind kind, const struct id *id)
{
	const struct fresh_object *o;

	if (g->len == 0)
		return NULL;
	o = slot_of(g, seed, kind, id);
	return o->place.pack != 0 ? o : NULL;
}

const struct fresh_pack *generation_pack(const struct generation *g, uint32_t num)
{
	size_t low = 0, high = g->packs_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (g->packs[mid].row.num < num)
			low = mid + 1;
		else
			high = mid;
	}
	return low < g->packs_len && g->packs[low].row.num == num ? &g->packs[low] : NULL;
}

/* The newest: an older one of the same id may have been lost. */
const struct fresh_pack *generation_pack_by_id(const struct generation *g, const struct id *id)
{
	for (size_t i = g->packs_len; i > 0; i--)
		if (id_equal(&g->packs[i - 1].row.id, id))
			return &g->packs[i - 1];
	return NULL;
}

int generation_merge(struct generation *to, struct generation *from, uint64_t seed, struct err *err)
{
	int r = reserve_packs(to, from->packs_len, err);

	if (r == 0)
		r = reserve_objects(to, from->len, seed, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < from->cap; i++)
		if (from->table[i].place.pack != 0)
			generation_add(to, seed, &from->table[i]);
	for (size_t i = 0; i < from->packs_len; i++)
		to->packs[to->packs_len++] = from->packs[i];
	to->has_late = to->has_late || from->has_late;
	from->packs_len = 0;
	generation_done(from);
	return 0;
}

void generation_absorb(struct generation *to, struct generation *from, uint64_t seed)
{
	for (size_t i = 0; i < from->cap; i++)
		if (from->table[i].place.pack != 0)
			generation_add(to, seed, &from->table[i]);
	generation_done(from);
}

size_t generation_memory(const struct generation *g)
{
	return g->cap * sizeof(*g->table) + g->packs_cap * sizeof(*g->packs);
}

void generation_done(struct generation *g)
{
	for (size_t i = 0; i < g->packs_len; i++)
		if (g->packs[i].fd >= 0)
			(void)close(g->packs[i].fd); /* written and synced, or given up */
	free(g->packs);
	free(g->table);
	*g = (struct generation){0};
}
