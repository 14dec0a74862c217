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
	bool known, asks, ended; /* ended: its socket is shut down */
};

struct connections {
	unsigned strangers_max, per_peer_max;
	pthread_mutex_t lock;
	struct connection *first, *last;
	unsigned strangers; /* that are not ended */
};

struct connections *connections_new(unsigned max, unsigned max_per_peer)
{
	struct connections *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->strangers_max = max / 2;
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

/* Its thread sees the end of the stream and closes it. */
static void end(struct connections *c, struct connection *one)
{
	one->ended = true;
	c->strangers -= !one->known;
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
	else if (c->strangers > c->strangers_max)
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
	c->strangers -= !one->known && !one->ended;
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

void connection_end(struct connections *c, struct connection *one)
{
	if (!one)
		return;
	(void)pthread_mutex_lock(&c->lock);
	if (!one->ended)
		end(c, one);
	(void)pthread_mutex_unlock(&c->lock);
}

void connection_known(struct connections *c, struct connection *one)
{
	if (!one)
		return;
	(void)pthread_mutex_lock(&c->lock);
	c->strangers -= !one->known && !one->ended;
	one->known = true;
	(void)pthread_mutex_unlock(&c->lock);
}
