#include "server/http/connections.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define KEY_SIZE 8u /* of an address: IPv4 with 4 zeros, or the first half of IPv6 */

struct connection {
	struct connection *prev, *next; /* in the order in which they came */
	int fd;
	uint8_t key[KEY_SIZE];
	struct id who;		 /* once it is known: of the last secret shown */
	bool known, asks, ended; /* ended: its socket is shut down */
	bool is_agent;
	uint64_t until_ms; /* 0: for ever */
};

struct connections {
	unsigned most, strangers_max, per_peer_max, agents_max;
	pthread_mutex_t lock;
	struct connection *first, *last;
	unsigned strangers, known, agents; /* that are not ended */
};

struct connections *connections_new(unsigned max, unsigned max_per_peer)
{
	struct connections *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->most = max - max / 16 - 1; /* so that the next one that comes is let in */
	c->strangers_max = max / 2;
	c->agents_max = max * 5 / 8;
	c->per_peer_max = max_per_peer;
	(void)pthread_mutex_init(&c->lock, NULL);
	return c;
}

void connections_free(struct connections *c)
{
	if (!c)
		return;
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

static void set_key(struct connection *one, const struct sockaddr *peer)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)peer;

	if (peer->sa_family == AF_INET)
		memcpy(one->key, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 4);
	else if (peer->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		memcpy(one->key, v6->sin6_addr.s6_addr + 12, 4);
	else if (peer->sa_family == AF_INET6)
		memcpy(one->key, v6->sin6_addr.s6_addr, KEY_SIZE);
}

static void uncount(struct connections *c, const struct connection *one)
{
	if (one->ended)
		return;
	c->strangers -= !one->known;
	c->known -= one->known;
	c->agents -= one->known && one->is_agent;
}

/* Its thread sees the end of the stream and closes it. */
static void end(struct connections *c, struct connection *one)
{
	uncount(c, one);
	one->ended = true;
	(void)shutdown(one->fd, SHUT_RDWR);
}

/* The stranger that is to give way, of this peer or (NULL) of all; NULL: there is none. */
static struct connection *find_victim(const struct connections *c, const uint8_t *key)
{
	struct connection *asking = NULL;

	for (struct connection *one = c->first; one; one = one->next) {
		if (one->known || one->ended || (key && memcmp(one->key, key, KEY_SIZE) != 0))
			continue;
		if (!one->asks)
			return one;
		if (!asking)
			asking = one;
	}
	return asking;
}

static unsigned count_peer(const struct connections *c, const uint8_t *key)
{
	unsigned n = 0;

	for (const struct connection *one = c->first; one; one = one->next)
		n += !one->ended && memcmp(one->key, key, KEY_SIZE) == 0;
	return n;
}

struct connection *connection_opened(struct connections *c, const struct sockaddr *peer, int fd)
{
	struct connection *one = calloc(1, sizeof(*one)), *victim = NULL;

	if (!one) {
		(void)shutdown(fd, SHUT_RDWR);
		return NULL;
	}
	one->fd = fd;
	set_key(one, peer);
	(void)pthread_mutex_lock(&c->lock);
	one->prev = c->last;
	*(c->last ? &c->last->next : &c->first) = one;
	c->last = one;
	c->strangers++;
	if (count_peer(c, one->key) > c->per_peer_max)
		victim = find_victim(c, one->key);
	else if (c->strangers > c->strangers_max || c->strangers + c->known > c->most)
		victim = find_victim(c, NULL);
	if (victim)
		end(c, victim);
	(void)pthread_mutex_unlock(&c->lock);
	if (victim)
		log_event(LOG_DEBUG, "connection_ended",
			  "reason=\"too many of who did not show who they are\"");
	return one;
}

void connection_closed(struct connections *c, struct connection *one)
{
	if (!one)
		return;
	(void)pthread_mutex_lock(&c->lock);
	*(one->prev ? &one->prev->next : &c->first) = one->next;
	*(one->next ? &one->next->prev : &c->last) = one->prev;
	uncount(c, one);
	(void)pthread_mutex_unlock(&c->lock);
	free(one);
}

void connection_asks(struct connections *c, struct connection *one, bool asks)
{
	if (!one)
		return;
	(void)pthread_mutex_lock(&c->lock);
	one->asks = asks;
	(void)pthread_mutex_unlock(&c->lock);
}

void connection_until(struct connections *c, struct connection *one, uint64_t until_ms)
{
	if (!one)
		return;
	(void)pthread_mutex_lock(&c->lock);
	one->until_ms = until_ms;
	(void)pthread_mutex_unlock(&c->lock);
}

void connections_sweep(struct connections *c, uint64_t now_ms)
{
	(void)pthread_mutex_lock(&c->lock);
	for (struct connection *one = c->first; one; one = one->next) {
		if (one->ended || one->until_ms == 0 || now_ms <= one->until_ms)
			continue;
		end(c, one);
		log_event(LOG_DEBUG, "connection_ended", "reason=\"it took too long\"");
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void connection_end(struct connections *c, struct connection *one)
{
	if (!one)
		return;
	(void)pthread_mutex_lock(&c->lock);
	if (!one->ended)
		end(c, one);
	(void)pthread_mutex_unlock(&c->lock);
}

static bool is_of(const struct connection *one, const struct id *who)
{
	return one->known && !one->ended && id_equal(&one->who, who);
}

static unsigned count_of(const struct connections *c, const struct id *who)
{
	unsigned n = 0;

	for (const struct connection *one = c->first; one; one = one->next)
		n += is_of(one, who);
	return n;
}

/* The machine with most connections: there is one. */
static const struct id *find_largest(const struct connections *c)
{
	const struct id *largest = NULL;
	unsigned most = 0;

	for (const struct connection *one = c->first; one; one = one->next) {
		unsigned n = one->known && one->is_agent ? count_of(c, &one->who) : 0;

		if (n > most) {
			most = n;
			largest = &one->who;
		}
	}
	return largest;
}

/* Its oldest, those that ask nothing first. */
static struct connection *find_oldest(const struct connections *c, const struct id *who)
{
	struct connection *asking = NULL;

	for (struct connection *one = c->first; one; one = one->next) {
		if (!is_of(one, who))
			continue;
		if (!one->asks)
			return one;
		if (!asking)
			asking = one;
	}
	return asking;
}

/* The lock is held. */
static void make_room(struct connections *c, const struct connection *new)
{
	struct connection *victim = NULL;

	if (count_of(c, &new->who) > c->per_peer_max)
		victim = find_oldest(c, &new->who);
	else if (new->is_agent && c->agents > c->agents_max)
		victim = find_oldest(c, find_largest(c));
	if (!victim)
		return;
	end(c, victim);
	log_event(LOG_DEBUG, "connection_ended", "reason=\"too many of one machine or operator\"");
}

bool connection_known(struct connections *c, struct connection *one, const struct id *who,
		      bool is_agent)
{
	bool still;

	if (!one)
		return true;
	(void)pthread_mutex_lock(&c->lock);
	if (!one->ended && !is_of(one, who)) {
		uncount(c, one);
		one->known = true;
		one->is_agent = is_agent;
		one->who = *who;
		c->known++;
		c->agents += is_agent;
		make_room(c, one);
	}
	still = !one->ended;
	(void)pthread_mutex_unlock(&c->lock);
	return still;
}
