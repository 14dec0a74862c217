/* idset.c - ids are hashes: any eight bytes of one are as good as a hash of it.  No id is all zero. */
#include "agent/idset.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t home_of(const struct id *id, size_t mask)
{
	uint64_t h;

	memcpy(&h, id->b, sizeof(h));
	return (size_t)h & mask;
}

static int slots_new(size_t len, struct id **ret, size_t *ret_mask)
{
	assert(len > 0 && (len & (len - 1)) == 0);
	*ret = calloc(len, sizeof(**ret));
	*ret_mask = len - 1;
	return *ret ? 0 : -ENOMEM;
}

int idcache_init(struct idcache *c, size_t slots)
{
	return slots_new(slots, &c->slots, &c->mask);
}

void idcache_done(struct idcache *c)
{
	free(c->slots);
	c->slots = NULL;
}

bool idcache_has(const struct idcache *c, const struct id *id)
{
	return id_equal(&c->slots[home_of(id, c->mask)], id);
}

void idcache_add(struct idcache *c, const struct id *id)
{
	c->slots[home_of(id, c->mask)] = *id;
}

void idcache_clear(struct idcache *c)
{
	memset(c->slots, 0, (c->mask + 1) * sizeof(*c->slots));
}

int idset_init(struct idset *s, size_t slots)
{
	s->len = 0;
	return slots_new(slots, &s->slots, &s->mask);
}

void idset_done(struct idset *s)
{
	free(s->slots);
	s->slots = NULL;
}

/* Where it is, or the empty place where it would be. */
static size_t place_of(const struct idset *s, const struct id *id)
{
	size_t i = home_of(id, s->mask);

	while (!id_is_zero(&s->slots[i]) && !id_equal(&s->slots[i], id))
		i = (i + 1) & s->mask;
	return i;
}

bool idset_has(const struct idset *s, const struct id *id)
{
	return !id_is_zero(&s->slots[place_of(s, id)]);
}

bool idset_add(struct idset *s, const struct id *id)
{
	size_t i = place_of(s, id);

	if (!id_is_zero(&s->slots[i]))
		return false;
	assert(!id_is_zero(id) && s->len < (s->mask + 1) / 4 * 3);
	s->slots[i] = *id;
	s->len++;
	return true;
}

/* Close the gap: whoever stands behind it and was pushed past it moves up. */
void idset_remove(struct idset *s, const struct id *id)
{
	size_t gap = place_of(s, id);

	if (id_is_zero(&s->slots[gap]))
		return;
	s->len--;
	for (size_t i = (gap + 1) & s->mask; !id_is_zero(&s->slots[i]); i = (i + 1) & s->mask) {
		size_t home = home_of(&s->slots[i], s->mask);

		if (((i - home) & s->mask) >= ((i - gap) & s->mask)) {
			s->slots[gap] = s->slots[i];
			gap = i;
		}
	}
	memset(&s->slots[gap], 0, sizeof(s->slots[gap]));
}

void idset_clear(struct idset *s)
{
	memset(s->slots, 0, (s->mask + 1) * sizeof(*s->slots));
	s->len = 0;
}
