/* One thread, two sockets (IPv4 for broadcasts, IPv6 for the multicast group) and a netlink socket that says when interfaces come, so
 * that the group is joined on them too.
 *
 * A datagram proves nothing, and its sender may be forged: an answer goes to the sender alone, is never longer than the question,
 * and there are few of them a second. */
#include "server/discover.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

#include "common/beacon.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/log.h"
#include "server/rate.h"

#define REJOIN_MS 30000 /* should netlink have lost a message */

/* Answers to datagrams, which are shorter than what they answer: two a second to one address; to all so many that who asks every few seconds is
 * heard in a flood from addresses that are made up. */
static const struct rate_limits answer_limits = {4, 2000, 2000, 1000000};

enum { FD_V4, FD_V6, FD_NETLINK, FD_STOP, FD_COUNT };

struct discover {
	struct discover_config config;
	int fds[FD_COUNT]; /* -1: none (no IPv6 here) */
	struct rate rate;
	pthread_t thread;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- sockets */

static int open_v4(uint16_t port, int *ret_fd)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	/* the answer is to come from the address by which the sender reaches us */
	if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_v6(uint16_t port, int *ret_fd)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	CLEANUP_CLOSE int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_netlink(void)
{
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK,
				 .nl_groups = RTMGRP_LINK | RTMGRP_IPV6_IFADDR};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd; /* without it the group is joined again now and then */
}

/* Joining where it is joined already fails, harmlessly. */
static void join_all(struct discover *d)
{
	struct if_nameindex *list = d->fds[FD_V6] >= 0 ? if_nameindex() : NULL;
	struct ipv6_mreq mreq = {0};

	if (!list || inet_pton(AF_INET6, BEACON_GROUP, &mreq.ipv6mr_multiaddr) != 1) {
		if_freenameindex(list);
		return;
	}
	for (struct if_nameindex *i = list; i->if_index; i++) {
		mreq.ipv6mr_interface = i->if_index;
		if (setsockopt(d->fds[FD_V6], IPPROTO_IPV6, IPV6_JOIN_GROUP, &mreq, sizeof(mreq)) ==
		    0)
			log_event(LOG_DEBUG, "discovery_joined", "interface=%s", i->if_name);
	}
	if_freenameindex(list);
}

/* ---- datagrams */

struct datagram {
	uint8_t data[BEACON_SIZE_MAX + 1]; /* one more: too long shows */
	size_t size;
	struct sockaddr_storage from;
	socklen_t from_size;
	struct in_addr local; /* IPv4: the address to answer from */
};

static bool receive(int fd, struct datagram *g)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {g->data, sizeof(g->data)};
	struct msghdr m = {.msg_name = &g->from,
			   .msg_namelen = sizeof(g->from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.buf,
			   .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(fd, &m, 0);

	if (n < 0)
		return false;
	g->size = (size_t)n;
	g->from_size = m.msg_namelen;
	g->local.s_addr = INADDR_ANY;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		struct in_pktinfo info;

		if (h->cmsg_level != IPPROTO_IP || h->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(h), sizeof(info));
		g->local = info.ipi_spec_dst;
	}
	return true;
}

static void put_source(struct msghdr *m, int level, int type, const void *info, size_t size)
{
	struct cmsghdr *h = m->msg_control;

	m->msg_controllen = CMSG_SPACE(size);
	h->cmsg_level = level;
	h->cmsg_type = type;
	h->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(h), info, size);
}

/* The machine connects to where the answer comes from, so that has to be an address where this server listens. */
static void answer(int fd, const struct datagram *g, const struct listen_addr *at, uint8_t *data,
		   size_t size)
{
	union {
		char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control = {{0}};
	struct in_pktinfo info = {.ipi_spec_dst = g->local};
	struct in6_pktinfo info6 = {.ipi6_ifindex = 0};
	struct iovec iov = {data, size};
	struct msghdr m = {.msg_name = (void *)&g->from,
			   .msg_namelen = g->from_size,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control.buf};

	if (g->from.ss_family == AF_INET) {
		if (!listen_is_any(at))
			info.ipi_spec_dst =
				((const struct sockaddr_in *)(const void *)&at->sa)->sin_addr;
		put_source(&m, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else if (!listen_is_any(at)) {
		info6.ipi6_addr = ((const struct sockaddr_in6 *)(const void *)&at->sa)->sin6_addr;
		put_source(&m, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
	} else {
		m.msg_control = NULL;
	}
	if (sendmsg(fd, &m, MSG_DONTWAIT) < 0) /* lost, as datagrams are; the machine asks again */
		log_event(LOG_DEBUG, "discovery_unanswered", "errno=%d", errno);
}

static void note_rumour(struct discover *d, const struct datagram *g, const struct beacon *hello)
{
	struct rumour r = {.last_seen = time(NULL)};

	hex_encode(hello->machine, sizeof(hello->machine), r.machine);
	memcpy(r.name, hello->name, sizeof(r.name));
	memcpy(r.version, hello->version, sizeof(r.version));
	(void)getnameinfo((const struct sockaddr *)&g->from, g->from_size, r.address,
			  sizeof(r.address), NULL, 0, NI_NUMERICHOST);
	log_event(LOG_DEBUG, "hello", "machine=%s name=\"%s\" address=%s", r.machine, r.name,
		  r.address);
	rumours_add(d->config.rumours, &r);
}

static void handle(struct discover *d, int fd, struct datagram *g)
{
	struct beacon hello, here = {.type = BEACON_HERE};
	struct sockaddr_storage local = {.ss_family = g->from.ss_family};
	const struct listen_addr *at;
	uint8_t addr[16], out[BEACON_SIZE_MAX];
	struct err err;
	bool too_many;
	size_t size;

	listen_address(&g->from, addr);
	too_many = !rate_allow(&d->rate, addr, now_ms());
	rumours_count(d->config.rumours, too_many);
	if (too_many)
		return;
	if (g->size > BEACON_SIZE_MAX || beacon_decode(g->data, g->size, &hello, &err) < 0 ||
	    hello.type != BEACON_HELLO)
		return; /* rubbish on a port that anybody may send to */
	note_rumour(d, g, &hello);
	if (local.ss_family == AF_INET)
		((struct sockaddr_in *)(void *)&local)->sin_addr = g->local;
	at = listen_choose(d->config.listens, d->config.listens_len, &local);
	if (!at)
		return; /* heard, but it could not connect */
	here.port = listen_port(at);
	memcpy(here.nonce, hello.nonce, sizeof(here.nonce));
	memcpy(here.key, d->config.key, sizeof(here.key));
	(void)snprintf(here.version, sizeof(here.version), "%s", d->config.version);
	(void)snprintf(here.name, sizeof(here.name), "%s", d->config.name);
	size = beacon_encode(&here, out);
	if (size > 0 && size <= g->size)
		answer(fd, g, at, out, size);
}

static void drain(int fd)
{
	char buf[8192];

	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

static void *discover_run(void *arg)
{
	struct discover *d = arg;
	struct datagram *g = calloc(1, sizeof(*g));
	struct pollfd p[FD_COUNT];

	for (unsigned i = 0; i < FD_COUNT; i++)
		p[i] = (struct pollfd){.fd = d->fds[i], .events = POLLIN};
	while (g) {
		int n = poll(p, FD_COUNT, REJOIN_MS);

		if (p[FD_STOP].revents)
			break;
		if (n == 0 || p[FD_NETLINK].revents) {
			if (p[FD_NETLINK].revents)
				drain(d->fds[FD_NETLINK]);
			join_all(d);
		}
		for (unsigned i = FD_V4; n > 0 && i <= FD_V6; i++) {
			if (p[i].revents && receive(d->fds[i], g))
				handle(d, d->fds[i], g);
		}
	}
	free(g);
	return NULL;
}

/* ---- life */

static int open_all(struct discover *d, struct err *err)
{
	int r = open_v4(d->config.udp_port, &d->fds[FD_V4]);

	if (r < 0) {
		errno = -r;
		return err_set(
			err, r, "listen for machines on UDP port %u: %m%s", d->config.udp_port,
			r == -EADDRINUSE ? " (does another server run? Else --discovery no)" : "");
	}
	r = open_v6(d->config.udp_port, &d->fds[FD_V6]);
	if (r < 0) {
		errno = -r;
		log_event(LOG_WARN, "discovery_no_ipv6", "error=\"%m\"");
	}
	d->fds[FD_NETLINK] = open_netlink();
	d->fds[FD_STOP] = eventfd(0, EFD_CLOEXEC);
	if (d->fds[FD_STOP] < 0)
		return err_set(err, -errno, "make an eventfd: %m");
	join_all(d);
	return 0;
}

static void discover_free(struct discover *d)
{
	for (unsigned i = 0; i < FD_COUNT; i++) {
		if (d->fds[i] >= 0)
			(void)close(d->fds[i]);
	}
	free(d);
}

int discover_start(const struct discover_config *config, struct discover **ret, struct err *err)
{
	struct discover *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(err, -ENOMEM, "start the discovery: out of memory");
	d->config = *config;
	for (unsigned i = 0; i < FD_COUNT; i++)
		d->fds[i] = -1;
	rate_init(&d->rate, &answer_limits, now_ms());
	r = open_all(d, err);
	if (r == 0) {
		r = -pthread_create(&d->thread, NULL, discover_run, d);
		if (r < 0)
			(void)err_set(err, r, "start the thread of the discovery");
	}
	if (r < 0) {
		discover_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void discover_stop(struct discover *d)
{
	uint64_t one = 1;

	if (!d)
		return;
	while (write(d->fds[FD_STOP], &one, sizeof(one)) < 0 && errno == EINTR)
		;
	(void)pthread_join(d->thread, NULL);
	discover_free(d);
}
