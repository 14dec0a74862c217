/* ledger.c - an array with a place for each group; the ids of an open one on the heap, zero where not known.
 *
 * A run that is its whole group needs no such list: it is complete the moment it is known. */
#include "agent/ledger.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/limits.h"

struct group {
	struct id id;	 /* all zero: not complete */
	struct id *open; /* its windows' ids; NULL: none is known */
	uint32_t known;	 /* windows */
};

struct ledger {
	uint64_t size; /* of the disk */
	uint64_t groups_len;
	pthread_mutex_t lock; /* over what follows */
	struct group *groups;
	uint64_t left;		 /* windows */
	uint64_t open, open_max; /* groups */
};

struct ledger *ledger_new(uint64_t disk_size)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->size = disk_size;
	l->left = window_count(disk_size);
	l->groups_len = group_count(disk_size);
	l->open_max = LEDGER_OPEN_MAX;
	l->groups = calloc(l->groups_len, sizeof(*l->groups));
	if (!l->groups) {
		free(l);
		return NULL;
	}
	(void)pthread_mutex_init(&l->lock, NULL);
	return l;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	for (uint64_t g = 0; g < l->groups_len; g++)
		free(l->groups[g].open);
	(void)pthread_mutex_destroy(&l->lock);
	free(l->groups);
	free(l);
}

uint64_t ledger_memory(uint64_t disk_size)
{
	uint64_t groups = group_count(disk_size);
	uint64_t open = groups < LEDGER_OPEN_MAX ? groups : LEDGER_OPEN_MAX;

	return groups * sizeof(struct group) + open * GROUP_WINDOWS * sizeof(struct id);
}

uint64_t ledger_left(struct ledger *l)
{
	uint64_t left;

	(void)pthread_mutex_lock(&l->lock);
	left = l->left;
	(void)pthread_mutex_unlock(&l->lock);
	return left;
}

static bool is_known(const struct group *g, uint32_t i)
{
	return !id_is_zero(&g->id) || (g->open && !id_is_zero(&g->open[i]));
}

/* The first unknown ones of group `n` from its window `i` on. */
static struct window_range unknown_in_group(const struct ledger *l, uint64_t n, uint32_t i)
{
	const struct group *g = &l->groups[n];
	uint32_t len = group_length(l->size, n), end;

	if (!id_is_zero(&g->id))
		return (struct window_range){0};
	while (i < len && is_known(g, i))
		i++;
	for (end = i; end < len && !is_known(g, end);)
		end++;
	return (struct window_range){n * GROUP_WINDOWS + i, end - i};
}

struct window_range ledger_unknown(struct ledger *l, uint64_t from)
{
	struct window_range w = {0};
	uint32_t i = (uint32_t)(from % GROUP_WINDOWS);

	(void)pthread_mutex_lock(&l->lock);
	for (uint64_t n = from / GROUP_WINDOWS; n < l->groups_len && w.count == 0; n++, i = 0)
		w = unknown_in_group(l, n, i);
	(void)pthread_mutex_unlock(&l->lock);
	return w;
}

static struct group *group_of(struct ledger *l, const struct window_range *w, uint32_t *ret_len)
{
	uint64_t n = w->first / GROUP_WINDOWS;

	assert(n < l->groups_len && w->count > 0);
	*ret_len = group_length(l->size, n);
	assert(w->count <= *ret_len - w->first % GROUP_WINDOWS);
	return &l->groups[n];
}

static int open_group(struct ledger *l, struct group *g, uint32_t len)
{
	if (l->open >= l->open_max)
		return -EAGAIN;
	g->open = calloc(len, sizeof(*g->open));
	if (!g->open)
		return -ENOMEM;
	g->known = 0;
	l->open++;
	return 0;
}

int ledger_begin(struct ledger *l, const struct window_range *w)
{
	uint32_t len;
	int r = 0;
	struct group *g;

	(void)pthread_mutex_lock(&l->lock);
	g = group_of(l, w, &len);
	assert(id_is_zero(&g->id));
	if (!g->open && w->count < len)
		r = open_group(l, g, len);
	(void)pthread_mutex_unlock(&l->lock);
	return r;
}

void ledger_widen(struct ledger *l)
{
	(void)pthread_mutex_lock(&l->lock);
	l->open_max++;
	(void)pthread_mutex_unlock(&l->lock);
}

static void close_group(struct ledger *l, struct group *g)
{
	if (!g->open)
		return;
	free(g->open);
	g->open = NULL;
	l->open--;
}

bool ledger_set(struct ledger *l, const struct window_range *w, const struct id *node,
		struct id *ret_ids)
{
	struct id whole[GROUP_WINDOWS], *ids;
	struct group *g;
	uint32_t len, at = (uint32_t)(w->first % GROUP_WINDOWS);
	bool is_complete;

	(void)pthread_mutex_lock(&l->lock);
	g = group_of(l, w, &len);
	assert(!id_is_zero(node) && (g->open || w->count == len) && id_is_zero(&g->id));
	ids = g->open ? g->open : whole;
	for (uint32_t i = at; i < at + w->count; i++) {
		assert(!g->open || id_is_zero(&ids[i]));
		ids[i] = *node;
	}
	l->left -= w->count;
	g->known = (g->open ? g->known : 0) + (uint32_t)w->count;
	is_complete = g->known == len;
	if (is_complete) {
		g->id = group_id(ids, len);
		for (uint32_t i = 0; ret_ids && i < len; i++)
			ret_ids[i] = ids[i];
		close_group(l, g);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return is_complete;
}

struct id ledger_group(struct ledger *l, uint64_t g)
{
	struct id id;

	(void)pthread_mutex_lock(&l->lock);
	assert(g < l->groups_len && !id_is_zero(&l->groups[g].id));
	id = l->groups[g].id;
	(void)pthread_mutex_unlock(&l->lock);
	return id;
}

void ledger_put_group(struct ledger *l, uint64_t g, const struct id *nodes)
{
	struct id id = group_id(nodes, group_length(l->size, g));

	(void)pthread_mutex_lock(&l->lock);
	assert(g < l->groups_len && !id_is_zero(&l->groups[g].id));
	l->groups[g].id = id;
	(void)pthread_mutex_unlock(&l->lock);
}

bool ledger_reopen(struct ledger *l, uint64_t g)
{
	bool is_complete;

	(void)pthread_mutex_lock(&l->lock);
	assert(g < l->groups_len);
	is_complete = !id_is_zero(&l->groups[g].id);
	if (is_complete) {
		l->groups[g] = (struct group){0};
		l->left += group_length(l->size, g);
	}
	(void)pthread_mutex_unlock(&l->lock);
	return is_complete;
}

struct id ledger_root(struct ledger *l, const struct geometry *g, const struct extent *unreadable,
		      size_t len)
{
	struct root_hash h;

	(void)pthread_mutex_lock(&l->lock);
	assert(l->left == 0 && g->size == l->size);
	root_init(&h, g);
	for (uint64_t i = 0; i < l->groups_len; i++)
		root_add_group(&h, &l->groups[i].id);
	(void)pthread_mutex_unlock(&l->lock);
	return root_final(&h, unreadable, len);
}
