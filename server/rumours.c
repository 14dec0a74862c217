#include "server/rumours.h"

#include <string.h>

void rumours_init(struct rumours *r)
{
	memset(r, 0, sizeof(*r));
	(void)pthread_mutex_init(&r->lock, NULL);
}

void rumours_done(struct rumours *r)
{
	(void)pthread_mutex_destroy(&r->lock);
}

/* Kept in order, latest first: its own place or the last one moves to the front. */
void rumours_add(struct rumours *r, const struct rumour *heard)
{
	size_t i;

	(void)pthread_mutex_lock(&r->lock);
	for (i = 0; i < r->len; i++) {
		if (strcmp(r->items[i].machine, heard->machine) == 0)
			break;
	}
	if (i == r->len) {
		if (r->len < RUMOURS_MAX)
			r->len++;
		else
			i--;
	}
	memmove(&r->items[1], &r->items[0], i * sizeof(r->items[0]));
	r->items[0] = *heard;
	(void)pthread_mutex_unlock(&r->lock);
}

void rumours_count(struct rumours *r, bool too_many)
{
	(void)pthread_mutex_lock(&r->lock);
	r->heard++;
	r->unanswered += too_many;
	(void)pthread_mutex_unlock(&r->lock);
}

void rumours_counted(struct rumours *r, uint64_t *ret_heard, uint64_t *ret_unanswered)
{
	(void)pthread_mutex_lock(&r->lock);
	*ret_heard = r->heard;
	*ret_unanswered = r->unanswered;
	(void)pthread_mutex_unlock(&r->lock);
}

size_t rumours_copy(struct rumours *r, struct rumour ret[static RUMOURS_MAX])
{
	size_t len;

	(void)pthread_mutex_lock(&r->lock);
	len = r->len;
	memcpy(ret, r->items, len * sizeof(r->items[0]));
	(void)pthread_mutex_unlock(&r->lock);
	return len;
}
