/* address.c - what one interface gets: hardware address, MTU, addresses, routes, a DHCP client. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/network/engine.h"
#include "common/cleanup.h"

#define RETRY_LEAST_MS	  1000u
#define RETRY_MOST_MS	  30000u
#define DHCP6_PATIENCE_MS 20000u
#define METRIC		  100u /* and the interface's index: that of the first card is preferred */

static uint32_t metric_of(int index)
{
	return METRIC + (uint32_t)index;
}

/* As it is without this line, until the machine starts again: no IPv6 here is no fault. */
static void refuse_advertisements(const char *name)
{
	char path[96];
	CLEANUP_CLOSE int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_ra", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "0", 1);
}

/* An MTU that the card will not take does not keep it from its addresses. */
static void set_mtu(struct engine *e, const struct rtnl_link *l, uint32_t mtu)
{
	struct err err = {0};
	char subject[40];

	(void)snprintf(subject, sizeof(subject), "MTU of %s", l->name);
	if (rtnl_set_mtu(&e->rtnl, l->index, mtu, &err) < 0) {
		engine_complain(e, subject, err.msg, 0);
		e->is_pending = true;
		return;
	}
	engine_complain(e, subject, NULL, 0);
}

static int set_mac(struct engine *e, const struct rtnl_link *l, const uint8_t *mac, struct err *err)
{
	int r = l->is_up ? rtnl_set_up(&e->rtnl, l->index, false, err) : 0;

	if (r == 0)
		r = rtnl_set_mac(&e->rtnl, l->index, mac, err);
	if (r == 0 && l->is_up)
		r = rtnl_set_up(&e->rtnl, l->index, true, err);
	return r;
}

static int prepare(struct engine *e, const struct rtnl_link *l, const struct netconf_ip *ip,
		   struct err *err)
{
	/* What DHCP says of it does not count then: each would undo what the other does, and many drivers let the link go down for it. */
	if (ip->mtu)
		engine_note(e, l->name, "mtu", "");
	if (ip->mtu && ip->mtu != l->mtu)
		set_mtu(e, l, ip->mtu);
	if (ip->method == NETCONF_LINK6)
		refuse_advertisements(l->name);
	if (ip->sets_mac && (!l->has_mac || memcmp(l->mac, ip->mac, sizeof(ip->mac)) != 0))
		return set_mac(e, l, ip->mac, err);
	return 0;
}

static int set_address(struct engine *e, const struct rtnl_link *l, const struct netconf_ip *ip,
		       struct err *err)
{
	const struct rtnl_route route = {
		.gateway = ip->gateway, .index = l->index, .metric = metric_of(l->index)};
	char text[NETCONF_ADDRESS_SIZE], gateway[NETCONF_ADDRESS_SIZE];
	int r = rtnl_address(&e->rtnl, true, l->index, &ip->client, &ip->peer, err);

	if (r == 0 && ip->gateway.family)
		r = rtnl_route(&e->rtnl, true, &route, err);
	if (r == 0) {
		engine_say("%s: address %s%s%s", l->name,
			   netconf_address_text(&ip->client, true, text),
			   ip->gateway.family ? ", gateway " : "",
			   netconf_address_text(&ip->gateway, false, gateway));
	}
	return r;
}

/* Everything that is not DHCP.  0 when all is there. */
static int set_all(struct engine *e, struct port *p, const struct rtnl_link *l,
		   const struct netconf_ip *const *ips, size_t len, struct err *err)
{
	bool is_wanted = len == 0;
	int r = 0;

	for (size_t i = 0; i < len; i++)
		is_wanted = is_wanted || ips[i]->client.family || ips[i]->method != NETCONF_NONE;
	for (size_t i = 0; i < len && r == 0; i++)
		r = prepare(e, l, ips[i], err);
	if (!is_wanted)
		return r;
	/* What was switched off has lost its routes, and its addresses of IPv6. */
	if (r == 0 && !l->is_up)
		p->has_addresses = false;
	if (r == 0 && !l->is_up)
		r = rtnl_set_up(&e->rtnl, l->index, true, err);
	for (size_t i = 0; i < len && r == 0 && !p->has_addresses; i++) {
		if (ips[i]->client.family)
			r = set_address(e, l, ips[i], err);
	}
	if (r == 0)
		p->has_addresses = true;
	return r;
}

static void watch_link(const struct engine *e, struct port *p, const struct rtnl_link *l)
{
	int now = l->has_carrier;

	if (p->carrier == now)
		return;
	p->carrier = now;
	engine_note(e, p->name, "link", now ? "1\n" : "0\n");
	engine_note(e, p->name, "silent", NULL);
	engine_say(now ? "%s: link up" : "%s: no link", p->name);
	if (now)
		engine_kick_client(p);
	else
		engine_forget_servers(p);
}

/* The kernel may have something to say of each try, on the console. */
static void note_result(struct port *p, int r)
{
	if (r == 0) {
		p->retry_pause_ms = p->retry_after_ms = 0;
		return;
	}
	p->retry_pause_ms = p->retry_pause_ms ? p->retry_pause_ms * 2 : RETRY_LEAST_MS;
	if (p->retry_pause_ms > RETRY_MOST_MS)
		p->retry_pause_ms = RETRY_MOST_MS;
	p->retry_after_ms = clock_ms() + p->retry_pause_ms;
}

static void want_client(struct engine *e, struct port *p, enum client_kind kind)
{
	if (p->clients[kind].pid != 0)
		return;
	if (clock_ms() >= p->clients[kind].after_ms)
		engine_start_client(e, p, kind);
	else
		e->is_pending = true;
}

/* Its client says nothing of servers that do not answer, or have no address to give. */
static void watch_dhcp6(struct engine *e, const struct port *p, const struct rtnl_link *l)
{
	char subject[40];

	(void)snprintf(subject, sizeof(subject), "DHCPv6 on %s", p->name);
	if (!l->has_carrier || engine_has_note(e, p->name, "address6")) {
		engine_complain(e, subject, NULL, 0);
		return;
	}
	engine_complain(e, subject, "no address yet", DHCP6_PATIENCE_MS);
	e->is_pending = true;
}

void engine_look_after(struct engine *e, const struct rtnl_link *l,
		       const struct netconf_ip *const *ips, size_t len, bool is_dhcp)
{
	struct port *p = engine_port(e, l);
	struct err err = {0};
	bool is_wanted = is_dhcp, is_dhcp6 = false, is_told = false;
	int r;

	if (!p)
		return;
	for (size_t i = 0; i < len; i++) {
		is_dhcp = is_dhcp || ips[i]->method == NETCONF_DHCP;
		is_told = is_told || ips[i]->method == NETCONF_DHCP6;
		is_dhcp6 = is_dhcp6 || is_told || ips[i]->method == NETCONF_EITHER6;
		is_wanted = is_wanted || ips[i]->client.family || ips[i]->method != NETCONF_NONE;
	}
	if (clock_ms() >= p->retry_after_ms) {
		r = set_all(e, p, l, ips, len, &err);
		engine_complain(e, l->name, r < 0 ? err.msg : NULL, 0);
		note_result(p, r);
	}
	if (p->retry_pause_ms)
		e->is_pending = true;
	if (!is_wanted)
		return;
	if (!p->has_role && p->servers_len > 0)
		p->has_news = true;
	p->has_role = true;
	if (is_dhcp)
		want_client(e, p, CLIENT_DHCP4);
	if (is_dhcp6)
		want_client(e, p, CLIENT_DHCP6);
	watch_link(e, p, l);
	if (is_told)
		watch_dhcp6(e, p, l);
}

/* ---- routes */

static void set_route(struct engine *e, const struct netconf_route *n)
{
	struct rtnl_route route = {.net = n->net, .gateway = n->gateway, .metric = METRIC};
	char subject[40], net[NETCONF_ADDRESS_SIZE];
	const struct rtnl_link *l = NULL;
	struct err err = {0};
	int r;

	(void)snprintf(subject, sizeof(subject), "route to %.29s",
		       netconf_address_text(&n->net, true, net));
	if (netconf_port_is_set(&n->port)) {
		l = engine_find_port(e, &n->port);
		if (!l || !l->is_up) {
			e->is_pending = true;
			return;
		}
		route.index = l->index;
	}
	r = rtnl_route(&e->rtnl, true, &route, &err);
	/* The gateway's own net may come by DHCP, and the link may be long in coming. */
	engine_complain(e, subject, r < 0 ? err.msg : NULL, 60000);
	if (r < 0)
		e->is_pending = true;
}

void engine_set_routes(struct engine *e)
{
	for (size_t i = 0; i < e->plan->routes_len; i++)
		set_route(e, &e->plan->routes[i]);
}

/* ---- undoing */

static void clear_address(struct engine *e, const struct rtnl_link *l, const struct netconf_ip *ip)
{
	struct err ignored;

	if (l && ip->client.family)
		(void)!rtnl_address(&e->rtnl, false, l->index, &ip->client, &ip->peer, &ignored);
}

static const struct rtnl_link *find_index(const struct engine *e, int index)
{
	for (size_t i = 0; i < e->links_len; i++) {
		if (index && e->links[i].index == index)
			return &e->links[i];
	}
	return NULL;
}

/* The default routes of IPv4 go with their address; what does not must be named. */
static void clear_route(struct engine *e, const struct rtnl_link *l, const struct netconf_ip *ip)
{
	struct rtnl_route route = {.gateway = ip->gateway};
	struct err ignored;

	if (!l || !ip->gateway.family)
		return;
	route.index = l->index;
	route.metric = metric_of(l->index);
	(void)!rtnl_route(&e->rtnl, false, &route, &ignored);
}

void engine_clear_addresses(struct engine *e)
{
	struct err ignored;

	for (size_t i = 0; i < e->plan->ips_len; i++) {
		const struct netconf_ip *ip = &e->plan->ips[i];
		const struct rtnl_link *l = netconf_port_is_set(&ip->port)
						    ? engine_find_port(e, &ip->port)
						    : find_index(e, e->first[i]);

		clear_route(e, l, ip);
		clear_address(e, l, ip);
	}
	for (size_t i = 0; i < e->plan->routes_len; i++) {
		const struct netconf_route *n = &e->plan->routes[i];
		const struct rtnl_route route = {
			.net = n->net, .gateway = n->gateway, .metric = METRIC};

		(void)!rtnl_route(&e->rtnl, false, &route, &ignored);
	}
}

/* ---- what belongs to the whole machine */

static void write_server(FILE *f, const struct netconf_address *a)
{
	char text[NETCONF_ADDRESS_SIZE];

	if (a->family)
		(void)fprintf(f, "nameserver %s\n", netconf_address_text(a, false, text));
}

/* Before those that DHCP names: "+" sorts before letters. */
static void set_name_servers(struct engine *e)
{
	char text[1024] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	if (!f)
		return;
	for (size_t i = 0; i < e->plan->dns_len; i++)
		write_server(f, &e->plan->dns[i]);
	for (size_t i = 0; i < e->plan->ips_len; i++) {
		write_server(f, &e->plan->ips[i].dns[0]);
		write_server(f, &e->plan->ips[i].dns[1]);
	}
	(void)fclose(f);
	engine_note(e, "+static", "dns", text[0] ? text : NULL);
	engine_run_script(e, "dns", "");
}

void engine_set_host(struct engine *e)
{
	for (size_t i = 0; i < e->plan->ips_len; i++) {
		const char *name = e->plan->ips[i].host_name;

		if (*name && sethostname(name, strlen(name)) < 0)
			engine_say("the host name cannot be set to %s: %s", name,
				   strerrordesc_np(errno));
	}
	set_name_servers(e);
}
