/* discover.c - one thread, an IPv4 and an IPv6 socket, and an eventfd that wakes it.
 *
 * Every interface is named in each datagram (IP_PKTINFO, the scope of an IPv6 address), so that neither routes nor privileges are needed and
 * a machine with many networks is heard on all of them. */
#include "agent/discover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/pair_wire.h"
#include "common/beacon.h"
#include "common/cleanup.h"
#include "common/http.h"

#define NONCES	  4u  /* answers to so many of the last announcements count */
#define SEEN_MAX  16u /* servers that are named: who makes them up must not fill the screen */
#define PAUSE_MIN 1000u
#define PAUSE_MAX 30000u
/* How long an answer from an address of the link alone waits for one from a better address, and how often that is asked for. */
#define NEAR_WAIT  15000u
#define NEAR_PAUSE 2000u

struct seen {
	uint8_t key[32];
	char url[URL_MAX];
};

struct discover {
	struct discover_setup setup;
	pthread_t thread;
	int wake;
	int v4, v6; /* -1: there is none */
	atomic_bool wanted, stop;
	/* the thread's own */
	uint8_t nonces[NONCES][16];
	unsigned announcements; /* since it was wanted */
	uint64_t near_since_ms; /* the first answer since then from an address of the link alone */
	struct seen seen[SEEN_MAX];
	size_t seen_len;
	bool many_said;
};

unsigned discover_pause_ms(unsigned n, uint32_t random)
{
	unsigned pause = n >= 5 ? PAUSE_MAX : PAUSE_MIN << n;

	return pause - pause / 8 + random % (pause / 4 + 1);
}

static uint32_t random_u32(void)
{
	uint32_t v = 0;

	(void)!getrandom(&v, sizeof(v), 0); /* only spreads load */
	return v;
}

/* ---- sending */

static void send_v4(int fd, unsigned index, struct in_addr to, uint16_t port, struct iovec *iov)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control = {{0}};
	struct in_pktinfo info = {.ipi_ifindex = (int)index};
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = to};
	struct msghdr m = {.msg_name = &sa,
			   .msg_namelen = sizeof(sa),
			   .msg_iov = iov,
			   .msg_iovlen = 1,
			   .msg_control = control.buf,
			   .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = IPPROTO_IP;
	h->cmsg_type = IP_PKTINFO;
	h->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(h), &info, sizeof(info));
	(void)sendmsg(fd, &m, MSG_DONTWAIT); /* no route, no address yet: there is a next time */
}

static void send_v6(int fd, unsigned index, uint16_t port, struct iovec *iov)
{
	struct sockaddr_in6 sa = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = index};
	struct msghdr m = {
		.msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = iov, .msg_iovlen = 1};

	if (inet_pton(AF_INET6, BEACON_GROUP, &sa.sin6_addr) == 1)
		(void)sendmsg(fd, &m, MSG_DONTWAIT);
}

/* Loopback only when it is asked for by name. */
static bool is_wanted(const struct discover *d, const char *name, bool is_loopback)
{
	const struct setting_list *l = d->setup.interfaces;

	for (size_t i = 0; i < l->len; i++) {
		if (strcmp(l->items[i], name) == 0)
			return true;
	}
	return l->len == 0 && !is_loopback;
}

static void announce_by_address(const struct discover *d, const struct ifaddrs *a,
				struct iovec *iov)
{
	unsigned index = if_nametoindex(a->ifa_name);
	struct in_addr to = {htonl(0x7fffffff)}; /* 127.255.255.255, for loopback */
	struct sockaddr_in sa;

	if ((a->ifa_flags & IFF_BROADCAST) && a->ifa_broadaddr) {
		memcpy(&sa, a->ifa_broadaddr, sizeof(sa));
		to = sa.sin_addr;
	} else if (!(a->ifa_flags & IFF_LOOPBACK)) {
		return;
	}
	send_v4(d->v4, index, to, d->setup.port, iov);
}

static void announce(struct discover *d)
{
	uint8_t data[BEACON_SIZE_MAX];
	struct beacon hello = {.type = BEACON_HELLO};
	struct iovec iov = {data, 0};
	struct ifaddrs *list = NULL;

	memmove(d->nonces[1], d->nonces[0], sizeof(d->nonces) - sizeof(d->nonces[0]));
	if (getrandom(d->nonces[0], sizeof(d->nonces[0]), 0) != sizeof(d->nonces[0]))
		return;
	memcpy(hello.nonce, d->nonces[0], sizeof(hello.nonce));
	memcpy(hello.machine, d->setup.machine, sizeof(hello.machine));
	(void)snprintf(hello.version, sizeof(hello.version), "%s", HOIST_VERSION);
	(void)snprintf(hello.name, sizeof(hello.name), "%s", d->setup.name);
	iov.iov_len = beacon_encode(&hello, data);
	if (iov.iov_len == 0 || getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *a = list; a; a = a->ifa_next) {
		unsigned index = if_nametoindex(a->ifa_name);
		struct in_addr all = {INADDR_BROADCAST};

		if (!(a->ifa_flags & IFF_UP) || index == 0 ||
		    !is_wanted(d, a->ifa_name, a->ifa_flags & IFF_LOOPBACK))
			continue;
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && d->v4 >= 0)
			announce_by_address(d, a, &iov);
		/* the AF_PACKET entry stands once for each interface, with an address or without */
		if (!a->ifa_addr || a->ifa_addr->sa_family != AF_PACKET)
			continue;
		if (d->v4 >= 0)
			send_v4(d->v4, index, all, d->setup.port, &iov);
		if (d->v6 >= 0)
			send_v6(d->v6, index, d->setup.port, &iov);
	}
	freeifaddrs(list);
}

/* ---- receiving */

/* False if nothing is to be said of this server at this place: it was named before, or many were. */
static bool is_worth_naming(struct discover *d, const uint8_t *key, const char *url)
{
	for (size_t i = 0; i < d->seen_len; i++) {
		if (memcmp(d->seen[i].key, key, 32) == 0 && strcmp(d->seen[i].url, url) == 0)
			return false;
	}
	if (d->seen_len == SEEN_MAX) {
		if (!d->many_said) {
			char line[128];

			(void)snprintf(line, sizeof(line),
				       "more than %u servers answer: no others are named here; "
				       "hoist.server=ADDRESS names the one that is meant",
				       SEEN_MAX);
			d->setup.say(d->setup.ctx, line);
		}
		d->many_said = true;
		return false;
	}
	memcpy(d->seen[d->seen_len].key, key, 32);
	(void)snprintf(d->seen[d->seen_len].url, URL_MAX, "%s", url);
	d->seen_len++;
	return true;
}

static bool make_url(const struct sockaddr_storage *from, uint16_t port, char ret[static URL_MAX])
{
	char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE];
	struct sockaddr_in6 v6;
	struct sockaddr_in v4;

	if (from->ss_family == AF_INET) {
		memcpy(&v4, from, sizeof(v4));
		return inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host)) &&
		       snprintf(ret, URL_MAX, "https://%s:%u", host, port) < (int)URL_MAX;
	}
	memcpy(&v6, from, sizeof(v6));
	if (!inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host)))
		return false;
	if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr) && if_indextoname(v6.sin6_scope_id, zone)) {
		return snprintf(ret, URL_MAX, "https://[%s%%25%s]:%u", host, zone, port) <
		       (int)URL_MAX;
	}
	return snprintf(ret, URL_MAX, "https://[%s]:%u", host, port) < (int)URL_MAX;
}

static bool is_our_nonce(const struct discover *d, const uint8_t *nonce)
{
	static const uint8_t none[16];

	for (unsigned i = 0; i < NONCES; i++) {
		if (memcmp(d->nonces[i], nonce, 16) == 0)
			return memcmp(nonce, none, 16) != 0;
	}
	return false;
}

static void take_answer(struct discover *d, const struct beacon *here, const char *url)
{
	bool is_right = d->setup.has_key && memcmp(here->key, d->setup.key, 32) == 0;
	char key[65], line[512], name[NAME_MAX_LEN + 1];

	pair_clean_name(here->name, name);
	if (is_right) {
		d->setup.found(d->setup.ctx, url, name);
		return;
	}
	hex_encode(here->key, 32, key);
	if (!d->setup.has_key && d->setup.heard)
		d->setup.heard(d->setup.ctx, key, url, name);
	if (!is_worth_naming(d, here->key, url))
		return;
	if (d->setup.has_key) {
		(void)snprintf(
			line, sizeof(line),
			"server '%s' at %s has the key %s, which is not the one to be trusted: "
			"passed over",
			name, url, key);
	} else {
		(void)snprintf(line, sizeof(line), "server '%s' is at %s, key %s", name, url, key);
	}
	d->setup.say(d->setup.ctx, line);
}

static bool is_near(const struct sockaddr_storage *from)
{
	struct sockaddr_in6 v6;

	if (from->ss_family != AF_INET6)
		return false;
	memcpy(&v6, from, sizeof(v6));
	return IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr);
}

/* An address of the link alone is there before DHCP has answered.  Whoever registers by it bears it at the server, where nobody can
 * log in by it from elsewhere: so it is for networks that have no other. */
static bool must_wait(struct discover *d, uint64_t now)
{
	if (d->near_since_ms == 0)
		d->near_since_ms = now;
	return now - d->near_since_ms < NEAR_WAIT;
}

/* The better address may be there any moment, and the waiting one is taken at its first answer after the wait. */
static bool is_asking_often(const struct discover *d, uint64_t now)
{
	return d->near_since_ms != 0 && now - d->near_since_ms < NEAR_WAIT + 2 * NEAR_PAUSE;
}

static void receive(struct discover *d, int fd)
{
	uint8_t data[BEACON_SIZE_MAX + 1];
	struct sockaddr_storage from = {0};
	struct iovec iov = {data, sizeof(data)};
	struct msghdr m = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	struct beacon here;
	struct err err;
	char url[URL_MAX];
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);

	/* noise on the port is nobody's fault */
	if (n < 0 || beacon_decode(data, (size_t)n, &here, &err) < 0 || here.type != BEACON_HERE ||
	    !is_our_nonce(d, here.nonce) || !make_url(&from, here.port, url) ||
	    (is_near(&from) && must_wait(d, clock_ms())))
		return;
	take_answer(d, &here, url);
}

/* ---- the thread */

static void *run(void *arg)
{
	struct discover *d = arg;
	uint64_t next_ms = 0;
	bool was_wanted = false;

	while (!atomic_load(&d->stop)) {
		bool wanted = atomic_load(&d->wanted);
		struct pollfd fds[3] = {
			{d->wake, POLLIN, 0}, {d->v4, POLLIN, 0}, {d->v6, POLLIN, 0}};
		uint64_t now = clock_ms(), count;

		if (wanted && !was_wanted) {
			d->announcements = 0;
			d->near_since_ms = 0;
			next_ms = now + random_u32() % 500;
		}
		was_wanted = wanted;
		if (wanted && now >= next_ms) {
			announce(d);
			next_ms = now + discover_pause_ms(d->announcements++, random_u32());
		}
		if (is_asking_often(d, now) && next_ms > now + NEAR_PAUSE)
			next_ms = now + NEAR_PAUSE;
		if (poll(fds, 3, wanted ? (int)(next_ms - now) : -1) < 0)
			continue;
		if (fds[0].revents)
			(void)!read(d->wake, &count, sizeof(count));
		if (fds[1].revents)
			receive(d, d->v4);
		if (fds[2].revents)
			receive(d, d->v6);
	}
	return NULL;
}

static void wake(struct discover *d)
{
	uint64_t one = 1;

	(void)!write(d->wake, &one, sizeof(one));
}

static int open_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd >= 0 && family == AF_INET)
		(void)setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	if (fd >= 0 && family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	return fd;
}

static void discover_free(struct discover *d)
{
	if (d->wake >= 0)
		(void)close(d->wake);
	if (d->v4 >= 0)
		(void)close(d->v4);
	if (d->v6 >= 0)
		(void)close(d->v6);
	free(d);
}

int discover_start(const struct discover_setup *setup, struct discover **ret, struct err *err)
{
	struct discover *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(err, -ENOMEM, "out of memory");
	d->setup = *setup;
	d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	d->v4 = open_socket(AF_INET);
	d->v6 = open_socket(AF_INET6);
	if (d->wake < 0 || (d->v4 < 0 && d->v6 < 0)) {
		r = err_set(err, -errno, "announce this machine: %m");
		discover_free(d);
		return r;
	}
	r = pthread_create(&d->thread, NULL, run, d);
	if (r != 0) {
		discover_free(d);
		return err_set(err, -r, "start a thread: %s", strerrordesc_np(r));
	}
	*ret = d;
	return 0;
}

void discover_want(struct discover *d, bool wanted)
{
	if (atomic_exchange(&d->wanted, wanted) != wanted)
		wake(d);
}

void discover_stop(struct discover *d)
{
	if (!d)
		return;
	atomic_store(&d->stop, true);
	wake(d);
	(void)pthread_join(d->thread, NULL);
	discover_free(d);
}
