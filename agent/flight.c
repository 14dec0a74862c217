/* flight.c - a set of what is up, and a forgetful one of what has landed. */
#include "agent/flight.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "agent/idset.h"

#define KNOWN_SLOTS 32768u /* 1 MiB */

struct flight {
	pthread_mutex_t lock; /* over all */
	pthread_cond_t landed;
	struct idset up;
	struct idcache known;
	bool aborted;
};

struct flight *flight_new(size_t claims_max)
{
	struct flight *f = calloc(1, sizeof(*f));
	size_t slots = 64;

	while (slots / 4 * 3 <= claims_max)
		slots *= 2;
	if (!f)
		return NULL;
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->landed, NULL);
	if (idset_init(&f->up, slots) < 0 || idcache_init(&f->known, KNOWN_SLOTS) < 0) {
		flight_free(f);
		return NULL;
	}
	return f;
}

void flight_free(struct flight *f)
{
	if (!f)
		return;
	idset_done(&f->up);
	idcache_done(&f->known);
	(void)pthread_cond_destroy(&f->landed);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
}

enum claim flight_claim(struct flight *f, const struct id *id)
{
	enum claim c;

	(void)pthread_mutex_lock(&f->lock);
	if (idcache_has(&f->known, id)) {
		c = CLAIM_KNOWN;
	} else {
		c = idset_add(&f->up, id) ? CLAIM_MINE : CLAIM_OTHER;
	}
	(void)pthread_mutex_unlock(&f->lock);
	return c;
}

void flight_land(struct flight *f, const struct id *ids, size_t len)
{
	(void)pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < len; i++) {
		idset_remove(&f->up, &ids[i]);
		idcache_add(&f->known, &ids[i]);
	}
	(void)pthread_cond_broadcast(&f->landed);
	(void)pthread_mutex_unlock(&f->lock);
}

/* The last first: they land in about their order. */
static bool any_up(const struct flight *f, const struct id *ids, size_t len)
{
	while (len > 0 && !idset_has(&f->up, &ids[len - 1]))
		len--;
	return len > 0;
}

bool flight_is_up(struct flight *f, const struct id *ids, size_t len)
{
	bool up;

	(void)pthread_mutex_lock(&f->lock);
	up = any_up(f, ids, len);
	(void)pthread_mutex_unlock(&f->lock);
	return up;
}

int flight_wait(struct flight *f, const struct id *ids, size_t len, struct err *err)
{
	bool aborted;

	(void)pthread_mutex_lock(&f->lock);
	while (!f->aborted && any_up(f, ids, len))
		(void)pthread_cond_wait(&f->landed, &f->lock);
	aborted = f->aborted;
	(void)pthread_mutex_unlock(&f->lock);
	return aborted ? err_set(err, -ECANCELED, "stopped while waiting for another worker") : 0;
}

void flight_forget(struct flight *f)
{
	(void)pthread_mutex_lock(&f->lock);
	idcache_clear(&f->known);
	(void)pthread_mutex_unlock(&f->lock);
}

void flight_abort(struct flight *f)
{
	(void)pthread_mutex_lock(&f->lock);
	f->aborted = true;
	(void)pthread_cond_broadcast(&f->landed);
	(void)pthread_mutex_unlock(&f->lock);
}
