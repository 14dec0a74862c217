/* cache.c - packs that were decompressed lately: nodes are asked for one after the other, and so are the chunks of
 * packs that are shared by several windows. */
#include <errno.h>
#include <stdlib.h>

#include "server/store/internal.h"

/* The newest first.  There are so few that a walk costs nothing beside a decompression. */
struct cache {
	pthread_mutex_t lock;
	struct loaded *first;
	size_t size, size_max; /* bytes */
};

struct cache *cache_new(size_t bytes)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	(void)pthread_mutex_init(&c->lock, NULL);
	c->size_max = bytes;
	return c;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	while (c->first) {
		struct loaded *l = c->first;

		c->first = l->next;
		loaded_free(l);
	}
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

static size_t cost(const struct loaded *l)
{
	return sizeof(*l) + l->row.plain + l->row.count * sizeof(*l->pack.entries);
}

/* Find and move to the front. */
static struct loaded *take_cached(struct cache *c, uint32_t num)
{
	for (struct loaded **at = &c->first; *at; at = &(*at)->next) {
		struct loaded *l = *at;

		if (l->row.num != num)
			continue;
		*at = l->next;
		l->next = c->first;
		c->first = l;
		l->users++;
		return l;
	}
	return NULL;
}

/* Forget what was used longest ago and is not in use, until the rest takes no more than `size`. */
static void shrink(struct cache *c, size_t size)
{
	while (c->size > size) {
		struct loaded **oldest = NULL, *l;

		for (struct loaded **at = &c->first; *at; at = &(*at)->next)
			if ((*at)->users == 0)
				oldest = at;
		if (!oldest)
			return;
		l = *oldest;
		*oldest = l->next;
		c->size -= cost(l);
		loaded_free(l);
	}
}

int cache_get(struct store *s, uint32_t num, struct loaded **ret, struct err *err)
{
	struct cache *c = s->cache;
	struct loaded *l, *fresh = NULL;
	int r;

	(void)pthread_mutex_lock(&c->lock);
	l = take_cached(c, num);
	(void)pthread_mutex_unlock(&c->lock);
	if (l) {
		*ret = l;
		return 0;
	}
	r = pack_load(s, num, LOAD_PLAIN, &fresh, err);
	if (r < 0)
		return r;
	free(fresh->file); /* the table and the plain bytes are what is wanted */
	fresh->file = NULL;
	fresh->pack.body = NULL;
	(void)pthread_mutex_lock(&c->lock);
	l = take_cached(c, num); /* somebody else may have been faster */
	if (!l) {
		l = fresh;
		fresh = NULL;
		l->users = 1;
		l->next = c->first;
		c->first = l;
		c->size += cost(l);
		shrink(c, c->size_max);
	}
	(void)pthread_mutex_unlock(&c->lock);
	loaded_free(fresh);
	*ret = l;
	return 0;
}

void cache_put(struct store *s, struct loaded *l)
{
	if (!l)
		return;
	(void)pthread_mutex_lock(&s->cache->lock);
	l->users--;
	shrink(s->cache, s->cache->size_max);
	(void)pthread_mutex_unlock(&s->cache->lock);
}

void cache_clear(struct store *s)
{
	(void)pthread_mutex_lock(&s->cache->lock);
	shrink(s->cache, 0);
	(void)pthread_mutex_unlock(&s->cache->lock);
}

size_t cache_memory(struct store *s)
{
	size_t size;

	(void)pthread_mutex_lock(&s->cache->lock);
	size = s->cache->size;
	(void)pthread_mutex_unlock(&s->cache->lock);
	return size;
}
