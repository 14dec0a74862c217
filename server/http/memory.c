/* There is no table of who has how much: it is added up when somebody asks, from the requests that hold something now, some hundreds at most. */
#include "server/http/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cond.h"
#include "common/log.h"
#include "server/http/connections.h"

#define SLOW_MS \
	10000u	     /* what moves for longer may have to give way: a pack takes 7 s at 10 Mbit/s */
#define GIVE_WAY_S 2 /* until the thread of what gives way has seen it */

struct memory {
	uint64_t max;
	struct connections *connections;
	pthread_mutex_t lock; /* what follows */
	pthread_cond_t freed;
	struct memory_share *first, *last; /* those that have something */
};

/* How much of one kind: all of the same standing (known, or strangers), of these of the same address, of the same machine or operator. */
struct sums {
	uint64_t all, address, who;
};

struct memory *memory_new(uint64_t max, struct connections *connections)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->max = max;
	m->connections = connections;
	(void)pthread_mutex_init(&m->lock, NULL);
	cond_init(&m->freed);
	return m;
}

void memory_free(struct memory *m)
{
	if (!m)
		return;
	(void)pthread_cond_destroy(&m->freed);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Of those who have shown nothing an address is all that is known. */
static struct sums limits_for(const struct memory *m, enum memory_kind kind,
			      const struct memory_share *s)
{
	uint64_t part = m->max / 32;

	if (kind == MEMORY_DOCUMENTS)
		return (struct sums){16 * part, 12 * part, s->is_stranger ? 12 * part : 8 * part};
	if (s->is_stranger)
		return (struct sums){4 * part, part, part};
	return (struct sums){28 * part, 16 * part, 4 * part};
}

static bool is_same_address(const struct memory_share *a, const struct memory_share *b)
{
	return memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

/* The lock is held. */
static struct sums sums_of(const struct memory *m, enum memory_kind kind,
			   const struct memory_share *s)
{
	struct sums sums = {0};

	for (const struct memory_share *one = m->first; one; one = one->next) {
		if (one->is_stranger != s->is_stranger)
			continue;
		sums.all += one->bytes[kind];
		if (is_same_address(one, s))
			sums.address += one->bytes[kind];
		if (!s->is_stranger && id_equal(&one->who, &s->who))
			sums.who += one->bytes[kind];
	}
	return sums;
}

/* The least of what there is for it, less what it has. */
static uint64_t most_for(const struct memory *m, enum memory_kind kind,
			 const struct memory_share *s)
{
	struct sums l = limits_for(m, kind, s);
	uint64_t most = l.address < l.who ? l.address : l.who;

	return most > s->bytes[kind] ? most - s->bytes[kind] : 0;
}

/* The lock is held.  Nothing is ever more than its limit, so no difference is negative. */
static bool has_room(const struct memory *m, enum memory_kind kind, const struct memory_share *s,
		     uint64_t bytes)
{
	struct sums l = limits_for(m, kind, s), used = sums_of(m, kind, s);

	return bytes <= l.all - used.all && bytes <= l.address - used.address &&
	       bytes <= l.who - used.who;
}

/* ---- giving way */

/* Has whoever has `one` more than `s` would have, and is its room of use to `s`?  The lock is held. */
static bool should_give_way(const struct memory *m, const struct memory_share *one,
			    const struct memory_share *s, uint64_t bytes)
{
	struct sums its = sums_of(m, MEMORY_BODIES, one), ours = sums_of(m, MEMORY_BODIES, s);
	struct sums l = limits_for(m, MEMORY_BODIES, s);
	bool same = is_same_address(one, s);

	if (one->is_stranger != s->is_stranger || bytes > l.who - ours.who ||
	    (bytes > l.address - ours.address && !same))
		return false;
	return (!same && its.address > ours.address + bytes) ||
	       (!s->is_stranger && its.who > ours.who + bytes);
}

/* One that was told to give way, and has not gone yet, or the first that can: true.  The lock is held. */
static bool give_way(struct memory *m, const struct memory_share *s, uint64_t bytes)
{
	uint64_t now = now_ms();

	for (const struct memory_share *one = m->first; one; one = one->next) {
		if (one->is_ended)
			return true;
	}
	for (struct memory_share *one = m->first; one; one = one->next) {
		if (one == s || one->moving_ms == 0 || now - one->moving_ms < SLOW_MS ||
		    !should_give_way(m, one, s, bytes))
			continue;
		one->is_ended = true;
		connection_end(m->connections, one->connection);
		log_event(LOG_DEBUG, "connection_ended",
			  "reason=\"it is slow and others need its memory\"");
		return true;
	}
	return false;
}

/* ---- */

/* The lock is held. */
static void list(struct memory *m, struct memory_share *s)
{
	if (s->is_listed)
		return;
	s->is_listed = true;
	s->prev = m->last;
	s->next = NULL;
	*(m->last ? &m->last->next : &m->first) = s;
	m->last = s;
}

bool memory_take(struct memory *m, struct memory_share *s, enum memory_kind kind, uint64_t bytes,
		 unsigned wait_s)
{
	struct timespec until;
	bool got;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_s;
	(void)pthread_mutex_lock(&m->lock);
	if (bytes > most_for(m, kind, s))
		bytes = most_for(m, kind, s);
	while (!(got = has_room(m, kind, s, bytes))) {
		if (kind == MEMORY_BODIES && give_way(m, s, bytes) && wait_s < GIVE_WAY_S) {
			until.tv_sec += GIVE_WAY_S - (time_t)wait_s;
			wait_s = GIVE_WAY_S;
		}
		if (wait_s == 0 || pthread_cond_timedwait(&m->freed, &m->lock, &until) == ETIMEDOUT)
			break;
	}
	if (got) {
		s->bytes[kind] += bytes;
		list(m, s);
	}
	(void)pthread_mutex_unlock(&m->lock);
	return got;
}

void memory_moves(struct memory *m, struct memory_share *s, bool moves)
{
	(void)pthread_mutex_lock(&m->lock);
	s->moving_ms = moves ? now_ms() : 0;
	(void)pthread_mutex_unlock(&m->lock);
}

uint64_t memory_give(struct memory *m, struct memory_share *s)
{
	uint64_t bytes = 0;

	(void)pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < MEMORY_KINDS; i++) {
		bytes += s->bytes[i];
		s->bytes[i] = 0;
	}
	if (s->is_listed) {
		*(s->prev ? &s->prev->next : &m->first) = s->next;
		*(s->next ? &s->next->prev : &m->last) = s->prev;
		s->is_listed = false;
		(void)pthread_cond_broadcast(&m->freed);
	}
	(void)pthread_mutex_unlock(&m->lock);
	return bytes;
}
