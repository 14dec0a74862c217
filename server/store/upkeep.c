#include "server/store/upkeep.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/cleanup.h"
#include "server/store/internal.h"

#define POLL_MS 200

int progress_add(struct progress *p, uint64_t size, struct err *err)
{
	p->done += size;
	if (p->fn && p->fn(p->arg, p->done, p->total))
		return err_set(err, -ECANCELED, "cancelled");
	return 0;
}

int upkeep_begin(struct store *s, struct progress *p, struct err *err)
{
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	while (s->is_upkeep && r == 0) {
		struct timespec end;

		(void)clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_nsec += POLL_MS * 1000000L;
		if (end.tv_nsec >= 1000000000) {
			end.tv_sec++;
			end.tv_nsec -= 1000000000;
		}
		(void)pthread_cond_timedwait(&s->upkeep_over, &s->lock, &end);
		(void)pthread_mutex_unlock(&s->lock);
		r = progress_add(p, 0, err);
		(void)pthread_mutex_lock(&s->lock);
	}
	if (r == 0)
		s->is_upkeep = true;
	(void)pthread_mutex_unlock(&s->lock);
	return r;
}

void upkeep_end(struct store *s)
{
	(void)pthread_mutex_lock(&s->lock);
	s->is_upkeep = false;
	(void)pthread_cond_signal(&s->upkeep_over);
	(void)pthread_mutex_unlock(&s->lock);
}

int upkeep_each_node(struct store *s, const struct id *root, upkeep_nodes_fn fn, void *arg,
		     struct err *err)
{
	CLEANUP_FREE struct id *ids = calloc(UPKEEP_BATCH, sizeof(*ids));
	struct index_info info = {0};
	uint64_t windows;
	int r;

	if (!ids)
		return err_set(err, -ENOMEM, "go through an index: out of memory");
	r = store_index_info(s, root, &info, err); /* hashes all of it */
	windows = window_count(info.geometry.size);
	index_info_done(&info);
	for (uint64_t first = 0; r == 0 && first < windows; first += UPKEEP_BATCH) {
		uint64_t left = windows - first;
		uint32_t n = left < UPKEEP_BATCH ? (uint32_t)left : UPKEEP_BATCH;

		r = store_index_nodes(s, root, first, n, ids, err);
		if (r == 0)
			r = fn(arg, first, ids, n, err);
	}
	return r;
}
