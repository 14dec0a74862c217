/* rtnl.c - one request at a time, acknowledged.  Where the kernel says in words what is wrong (NETLINK_EXT_ACK), those are the reason given.
 * Long, because all of it is one protocol and most of it is one message each. */
#include "agent/network/rtnl.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

#define ANSWER_SIZE 65536u
#define LINKS_MAX   4096u
#define TIMEOUT_S   10
#define DRAIN_MAX   256u /* datagrams */
#define ERRNO_MAX   4095 /* include/linux/err.h, MAX_ERRNO */

#define ICMP_ROUTER_ADVERTISEMENT 134 /* RFC 4861, 4.2 */

/* linux/rtnetlink.h: the groups that came later have numbers, not bits */
#define GROUP_ADVERTS (1u << (RTNLGRP_ND_USEROPT - 1))

#ifndef IFF_LOWER_UP
#define IFF_LOWER_UP (1u << 16) /* linux/if.h, which does not go with net/if.h */
#endif

/* ---- sockets */

static int open_socket(uint32_t groups)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), on = 1;
	struct sockaddr_nl local = {.nl_family = AF_NETLINK, .nl_groups = groups};
	struct timeval limit = {.tv_sec = TIMEOUT_S};

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0) {
		cleanup_close(&fd);
		return -1;
	}
	return fd;
}

int rtnl_open(struct rtnl *ret, struct err *err)
{
	struct rtnl r = {.fd = open_socket(0),
			 .events = open_socket(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | GROUP_ADVERTS)};

	if (r.fd < 0 || r.events < 0) {
		int code = err_set(err, -errno, "ask the kernel for its network: %m");

		rtnl_close(&r);
		return code;
	}
	*ret = r;
	return 0;
}

void rtnl_close(struct rtnl *r)
{
	cleanup_close(&r->fd);
	cleanup_close(&r->events);
	r->fd = r->events = -1;
}

/* ---- messages */

struct request {
	union {
		struct nlmsghdr head;
		char room[1024];
	};
};

static void begin(struct request *q, uint16_t type, uint16_t flags, const void *body, size_t size)
{
	memset(q, 0, sizeof(*q));
	q->head.nlmsg_type = type;
	q->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	q->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	memcpy(NLMSG_DATA(&q->head), body, size);
}

/* All that is put is ours and small: the room suffices. */
static struct rtattr *put(struct request *q, unsigned short type, const void *data, size_t size)
{
	struct rtattr *a = (struct rtattr *)(q->room + NLMSG_ALIGN(q->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(size);
	if (size)
		memcpy(RTA_DATA(a), data, size);
	q->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->head.nlmsg_len) + RTA_ALIGN(a->rta_len));
	return a;
}

static void put_text(struct request *q, unsigned short type, const char *text)
{
	(void)put(q, type, text, strlen(text) + 1);
}

static void put_u32(struct request *q, unsigned short type, uint32_t v)
{
	(void)put(q, type, &v, sizeof(v));
}

static void end_nest(struct request *q, struct rtattr *nest)
{
	nest->rta_len = (unsigned short)(q->room + q->head.nlmsg_len - (char *)nest);
}

static size_t address_size(const struct netconf_address *a)
{
	return a->family == AF_INET6 ? 16 : 4;
}

/* The attribute `type` among those in `size` bytes, or NULL. */
static const struct rtattr *find(const struct rtattr *a, size_t size, unsigned short type)
{
	for (int left = (int)size; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	}
	return NULL;
}

/* What the kernel answered to a request.  `what` begins the sentence. */
static int read_ack(const struct nlmsghdr *h, const char *what, struct err *err)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);
	const struct rtattr *words = NULL;
	size_t head = NLMSG_ALIGN(sizeof(*e));

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)))
		return err_set(err, -EPROTO, "%s: the kernel's answer is cut off", what);
	if (e->error == 0)
		return 0;
	if (e->error > 0 || e->error < -ERRNO_MAX)
		return err_set(err, -EPROTO, "%s: the kernel's answer makes no sense", what);
	if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && (h->nlmsg_flags & NLM_F_CAPPED) == 0)
		head += NLMSG_ALIGN(e->msg.nlmsg_len - NLMSG_HDRLEN);
	if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && h->nlmsg_len > NLMSG_HDRLEN + head)
		words = find((const struct rtattr *)((const char *)e + head),
			     h->nlmsg_len - NLMSG_HDRLEN - head, NLMSGERR_ATTR_MSG);
	errno = -e->error;
	if (words && RTA_PAYLOAD(words) > 1)
		return err_set(err, e->error, "%s: %m (%.*s)", what, (int)RTA_PAYLOAD(words) - 1,
			       (const char *)RTA_DATA(words));
	return err_set(err, e->error, "%s: %m", what);
}

static int send_request(struct rtnl *r, struct request *q, const char *what, struct err *err)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	q->head.nlmsg_seq = ++r->seq;
	if (sendto(r->fd, q, q->head.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return err_set(err, -errno, "%s: %m", what);
	return 0;
}

/* The message at *at of a datagram, which is moved behind it; NULL at the end. */
static const struct nlmsghdr *next_message(const char *buf, size_t size, size_t *at)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)(buf + *at);
	size_t left = size - *at, step;

	if (left < sizeof(*h) || h->nlmsg_len < sizeof(*h) || h->nlmsg_len > left)
		return NULL;
	step = NLMSG_ALIGN(h->nlmsg_len);
	*at = step < left ? *at + step : size;
	return h;
}

static void take_advert(const struct nlmsghdr *h, rtnl_advert_fn *fn, void *ctx)
{
	const struct nduseroptmsg *m = NLMSG_DATA(h);
	size_t size;

	if (h->nlmsg_type != RTM_NEWNDUSEROPT || h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return;
	size = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	if (m->nduseropt_family != AF_INET6 || m->nduseropt_icmp_type != ICMP_ROUTER_ADVERTISEMENT)
		return;
	if (m->nduseropt_opts_len < size)
		size = m->nduseropt_opts_len;
	fn(ctx, m->nduseropt_ifindex, m + 1, size);
}

/* What happened to links and addresses does not matter, nor whether some of it was lost: everything is looked at anew.  Who sends without end is not
 * to keep the caller here: what is left makes the socket readable. */
void rtnl_drain(const struct rtnl *r, rtnl_advert_fn *fn, void *ctx)
{
	_Alignas(struct nlmsghdr) char buf[8192];

	for (unsigned i = 0; i < DRAIN_MAX; i++) {
		ssize_t n = recv(r->events, buf, sizeof(buf), MSG_DONTWAIT);
		const struct nlmsghdr *h;
		size_t at = 0;

		if (n == 0 || (n < 0 && errno != EINTR && errno != ENOBUFS))
			return;
		while (n > 0 && (h = next_message(buf, (size_t)n, &at)))
			take_advert(h, fn, ctx);
	}
}

static int talk(struct rtnl *r, struct request *q, const char *what, struct err *err)
{
	CLEANUP_FREE char *buf = malloc(ANSWER_SIZE);
	int result;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	result = send_request(r, q, what, err);
	while (result == 0) {
		ssize_t n = recv(r->fd, buf, ANSWER_SIZE, 0);
		const struct nlmsghdr *h;
		size_t at = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, -errno, "%s: %m", what);
		while ((h = next_message(buf, (size_t)n, &at))) {
			if (h->nlmsg_seq == r->seq && h->nlmsg_type == NLMSG_ERROR)
				return read_ack(h, what, err);
		}
	}
	return result;
}

/* ---- links: reading */

static void read_mac(const struct rtattr *a, uint8_t *ret, bool *ret_has)
{
	if (!a || RTA_PAYLOAD(a) != NETCONF_MAC_SIZE)
		return;
	memcpy(ret, RTA_DATA(a), NETCONF_MAC_SIZE);
	*ret_has = true;
}

static uint32_t read_u32(const struct rtattr *a)
{
	uint32_t v = 0;

	if (a && RTA_PAYLOAD(a) == sizeof(v))
		memcpy(&v, RTA_DATA(a), sizeof(v));
	return v;
}

static void read_text(const struct rtattr *a, char ret[static IFNAMSIZ])
{
	ret[0] = '\0';
	if (a)
		(void)snprintf(ret, IFNAMSIZ, "%.*s", (int)RTA_PAYLOAD(a),
			       (const char *)RTA_DATA(a));
}

static void read_info(const struct rtattr *info, struct rtnl_link *l)
{
	const struct rtattr *data, *id;

	if (!info)
		return;
	read_text(find(RTA_DATA(info), RTA_PAYLOAD(info), IFLA_INFO_KIND), l->kind);
	data = find(RTA_DATA(info), RTA_PAYLOAD(info), IFLA_INFO_DATA);
	if (!data || strcmp(l->kind, "vlan") != 0)
		return;
	id = find(RTA_DATA(data), RTA_PAYLOAD(data), IFLA_VLAN_ID);
	if (id && RTA_PAYLOAD(id) == sizeof(l->vlan_id))
		memcpy(&l->vlan_id, RTA_DATA(id), sizeof(l->vlan_id));
}

static void read_link(const struct nlmsghdr *h, struct rtnl_link *l)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	const struct rtattr *a = IFLA_RTA(i);
	size_t size = IFLA_PAYLOAD(h);

	*l = (struct rtnl_link){.index = i->ifi_index, .type = i->ifi_type};
	l->is_up = i->ifi_flags & IFF_UP;
	l->has_carrier = l->is_up && (i->ifi_flags & IFF_LOWER_UP);
	read_text(find(a, size, IFLA_IFNAME), l->name);
	read_info(find(a, size, IFLA_LINKINFO), l);
	l->master = (int)read_u32(find(a, size, IFLA_MASTER));
	l->parent = (int)read_u32(find(a, size, IFLA_LINK));
	l->mtu = read_u32(find(a, size, IFLA_MTU));
	read_mac(find(a, size, IFLA_ADDRESS), l->mac, &l->has_mac);
	read_mac(find(a, size, IFLA_PERM_ADDRESS), l->permanent, &l->has_permanent);
}

struct link_list {
	struct rtnl_link *links;
	size_t len;
};

static int add_link(struct link_list *list, const struct nlmsghdr *h, struct err *err)
{
	struct rtnl_link *links;

	if (list->len == LINKS_MAX || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return 0;
	links = reallocarray(list->links, list->len + 1, sizeof(*links));
	if (!links)
		return err_set(err, -ENOMEM, "out of memory");
	list->links = links;
	read_link(h, &links[list->len++]);
	return 0;
}

/* One datagram of the answer: 1 when it was the last. */
static int take_links(struct rtnl *r, char *buf, struct link_list *list, struct err *err)
{
	ssize_t n = recv(r->fd, buf, ANSWER_SIZE, 0);
	const struct nlmsghdr *h;
	size_t at = 0;
	int result = 0;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0)
		return err_set(err, -errno, "list the network's links: %m");
	while (result == 0 && (h = next_message(buf, (size_t)n, &at))) {
		if (h->nlmsg_seq != r->seq)
			continue;
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return read_ack(h, "list the network's links", err);
		if (h->nlmsg_type == RTM_NEWLINK)
			result = add_link(list, h, err);
	}
	return result;
}

int rtnl_links(struct rtnl *r, struct rtnl_link **ret, size_t *ret_len, struct err *err)
{
	struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
	CLEANUP_FREE char *buf = malloc(ANSWER_SIZE);
	struct link_list list = {NULL, 0};
	struct request q;
	int result;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	begin(&q, RTM_GETLINK, NLM_F_DUMP, &body, sizeof(body));
	result = send_request(r, &q, "list the network's links", err);
	while (result == 0)
		result = take_links(r, buf, &list, err);
	if (result < 0) {
		free(list.links);
		return result;
	}
	*ret = list.links;
	*ret_len = list.len;
	return 0;
}

/* ---- links: changing */

static void begin_change(struct request *q, int index, unsigned flags, unsigned change)
{
	struct ifinfomsg body = {.ifi_family = AF_UNSPEC,
				 .ifi_index = index,
				 .ifi_flags = flags,
				 .ifi_change = change};

	begin(q, RTM_NEWLINK, 0, &body, sizeof(body));
}

int rtnl_set_up(struct rtnl *r, int index, bool up, struct err *err)
{
	struct request q;

	begin_change(&q, index, up ? IFF_UP : 0, IFF_UP);
	return talk(r, &q, up ? "switch it on" : "switch it off", err);
}

int rtnl_set_mtu(struct rtnl *r, int index, uint32_t mtu, struct err *err)
{
	struct request q;
	char what[32];

	(void)snprintf(what, sizeof(what), "set the MTU to %u", mtu);
	begin_change(&q, index, 0, 0);
	put_u32(&q, IFLA_MTU, mtu);
	return talk(r, &q, what, err);
}

int rtnl_set_mac(struct rtnl *r, int index, const uint8_t *mac, struct err *err)
{
	struct request q;

	begin_change(&q, index, 0, 0);
	(void)put(&q, IFLA_ADDRESS, mac, NETCONF_MAC_SIZE);
	return talk(r, &q, "change its hardware address", err);
}

int rtnl_set_name(struct rtnl *r, int index, const char *name, struct err *err)
{
	struct request q;

	begin_change(&q, index, 0, 0);
	put_text(&q, IFLA_IFNAME, name);
	return talk(r, &q, "give it its name", err);
}

int rtnl_set_master(struct rtnl *r, int index, int master, struct err *err)
{
	struct request q;

	begin_change(&q, index, 0, 0);
	put_u32(&q, IFLA_MASTER, (uint32_t)master);
	return talk(r, &q, "add it to the bond", err);
}

static void begin_new(struct request *q, const char *name)
{
	struct ifinfomsg body = {.ifi_family = AF_UNSPEC};

	begin(q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
	put_text(q, IFLA_IFNAME, name);
}

int rtnl_add_vlan(struct rtnl *r, const char *name, int parent, uint16_t id, struct err *err)
{
	struct rtattr *info, *data;
	struct request q;

	begin_new(&q, name);
	put_u32(&q, IFLA_LINK, (uint32_t)parent);
	info = put(&q, IFLA_LINKINFO, NULL, 0);
	put_text(&q, IFLA_INFO_KIND, "vlan");
	data = put(&q, IFLA_INFO_DATA, NULL, 0);
	(void)put(&q, IFLA_VLAN_ID, &id, sizeof(id));
	end_nest(&q, data);
	end_nest(&q, info);
	return talk(r, &q, "make the VLAN", err);
}

int rtnl_add_bond(struct rtnl *r, const char *name, struct err *err)
{
	struct rtattr *info;
	struct request q;

	begin_new(&q, name);
	info = put(&q, IFLA_LINKINFO, NULL, 0);
	put_text(&q, IFLA_INFO_KIND, "bond");
	end_nest(&q, info);
	return talk(r, &q, "make the bond", err);
}

int rtnl_delete_link(struct rtnl *r, int index, struct err *err)
{
	struct ifinfomsg body = {.ifi_family = AF_UNSPEC, .ifi_index = index};
	struct request q;

	begin(&q, RTM_DELLINK, 0, &body, sizeof(body));
	return talk(r, &q, "remove it", err);
}

/* ---- addresses and routes */

static void put_broadcast(struct request *q, const struct netconf_address *a)
{
	uint8_t all[4];

	if (a->family != AF_INET || a->prefix > 30)
		return;
	memcpy(all, a->bytes, sizeof(all));
	for (unsigned bit = a->prefix; bit < 32; bit++)
		all[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
	(void)put(q, IFA_BROADCAST, all, sizeof(all));
}

static int change_address(struct rtnl *r, bool add, int index, uint8_t flags,
			  const struct netconf_address *address, const struct netconf_address *peer,
			  struct err *err)
{
	const struct netconf_address *far = peer->family ? peer : address;
	struct ifaddrmsg body = {.ifa_family = address->family,
				 .ifa_prefixlen = far->prefix,
				 .ifa_flags = flags,
				 .ifa_index = (unsigned)index};
	char what[96], text[NETCONF_ADDRESS_SIZE];
	struct request q;
	int result;

	begin(&q, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0, &body,
	      sizeof(body));
	(void)put(&q, IFA_LOCAL, address->bytes, address_size(address));
	(void)put(&q, IFA_ADDRESS, far->bytes, address_size(far));
	if (add && !peer->family)
		put_broadcast(&q, address);
	(void)snprintf(what, sizeof(what), "give it the address %s",
		       netconf_address_text(address, true, text));
	result = talk(r, &q, what, err);
	return result == (add ? -EEXIST : -EADDRNOTAVAIL) ? 0 : result;
}

int rtnl_address(struct rtnl *r, bool add, int index, const struct netconf_address *address,
		 const struct netconf_address *peer, struct err *err)
{
	uint8_t flags = add && address->family == AF_INET6 ? IFA_F_OPTIMISTIC : 0;
	int result = change_address(r, add, index, flags, address, peer, err);

	/* Only where the kernel allows it. */
	if (flags && result == -EINVAL)
		result = change_address(r, add, index, 0, address, peer, err);
	return result;
}

int rtnl_route(struct rtnl *r, bool add, const struct rtnl_route *route, struct err *err)
{
	const struct netconf_address *any = route->net.family ? &route->net : &route->gateway;
	struct rtmsg body = {.rtm_family = any->family,
			     .rtm_dst_len = route->net.family ? route->net.prefix : 0,
			     .rtm_table = RT_TABLE_MAIN,
			     .rtm_protocol = RTPROT_STATIC,
			     .rtm_scope = route->gateway.family ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
			     .rtm_type = RTN_UNICAST};
	char what[160], net[NETCONF_ADDRESS_SIZE], gateway[NETCONF_ADDRESS_SIZE];
	struct request q;
	int result;

	if (route->index && route->gateway.family)
		body.rtm_flags =
			RTNH_F_ONLINK; /* gateways outside of the own net are usual in places */
	begin(&q, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, &body,
	      sizeof(body));
	if (route->net.family)
		(void)put(&q, RTA_DST, route->net.bytes, address_size(&route->net));
	if (route->gateway.family)
		(void)put(&q, RTA_GATEWAY, route->gateway.bytes, address_size(&route->gateway));
	if (route->index)
		put_u32(&q, RTA_OIF, (uint32_t)route->index);
	put_u32(&q, RTA_PRIORITY, route->metric);
	(void)snprintf(what, sizeof(what), "set the route to %s by %s",
		       route->net.family ? netconf_address_text(&route->net, true, net)
					 : "everywhere",
		       route->gateway.family ? netconf_address_text(&route->gateway, false, gateway)
					     : "the link itself");
	result = talk(r, &q, what, err);
	return !add && result == -ESRCH ? 0 : result;
}
