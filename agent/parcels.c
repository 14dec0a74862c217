/* parcels.c - two lists: the empty ones, the last used first, since its memory is the likeliest to be in the cache; and the full ones. */
#include "agent/parcels.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct parcels {
	pthread_mutex_t lock; /* over all below */
	pthread_cond_t has_empty, has_full;
	struct parcel *empty;
	struct parcel *full, **full_end;
	bool closed;
	struct parcel *all; /* an array */
	unsigned len;
};

struct parcels *parcels_new(unsigned len, size_t size)
{
	struct parcels *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->has_empty, NULL);
	(void)pthread_cond_init(&s->has_full, NULL);
	s->full_end = &s->full;
	s->len = len;
	s->all = calloc(len, sizeof(*s->all));
	if (!s->all) {
		parcels_free(s);
		return NULL;
	}
	for (unsigned i = 0; i < len; i++) {
		s->all[i].data = malloc(size);
		if (!s->all[i].data) {
			parcels_free(s);
			return NULL;
		}
		parcels_return(s, &s->all[i]);
	}
	return s;
}

void parcels_free(struct parcels *s)
{
	if (!s)
		return;
	for (unsigned i = 0; s->all && i < s->len; i++)
		free(s->all[i].data);
	free(s->all);
	(void)pthread_cond_destroy(&s->has_full);
	(void)pthread_cond_destroy(&s->has_empty);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

struct parcel *parcels_get(struct parcels *s)
{
	struct parcel *p;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->closed && !s->empty)
		(void)pthread_cond_wait(&s->has_empty, &s->lock);
	p = s->closed ? NULL : s->empty;
	if (p)
		s->empty = p->next;
	(void)pthread_mutex_unlock(&s->lock);
	return p;
}

void parcels_put(struct parcels *s, struct parcel *p)
{
	p->next = NULL;
	(void)pthread_mutex_lock(&s->lock);
	*s->full_end = p;
	s->full_end = &p->next;
	(void)pthread_cond_signal(&s->has_full);
	(void)pthread_mutex_unlock(&s->lock);
}

struct parcel *parcels_take(struct parcels *s)
{
	struct parcel *p;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->closed && !s->full)
		(void)pthread_cond_wait(&s->has_full, &s->lock);
	p = s->closed ? NULL : s->full;
	if (p) {
		s->full = p->next;
		if (!s->full)
			s->full_end = &s->full;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return p;
}

void parcels_return(struct parcels *s, struct parcel *p)
{
	(void)pthread_mutex_lock(&s->lock);
	p->next = s->empty;
	s->empty = p;
	(void)pthread_cond_signal(&s->has_empty);
	(void)pthread_mutex_unlock(&s->lock);
}

void parcels_close(struct parcels *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->closed = true;
	(void)pthread_cond_broadcast(&s->has_empty);
	(void)pthread_cond_broadcast(&s->has_full);
	(void)pthread_mutex_unlock(&s->lock);
}
