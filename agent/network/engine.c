/* engine.c - each pass looks at all links anew and takes the steps that are lacking; what happens between two passes need not be remembered.
 * Cards and links that come late, drivers that restart, an engine that is started again: all are the same case. */
#include "agent/network/engine.h"

#include <fcntl.h>
#include <linux/if_arp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "common/cleanup.h"

#define RETRY_MS    2000
#define PATIENCE_MS 20000u
/* A card is left alone for so long after it has appeared.  Drivers show it before they are done with it, and some crash the kernel, with the
 * lock of all network configuration held, when it is switched on then: e100 of Linux 6.1 makes its pool of buffers last. */
#define GRACE_MS 1500u

/* ---- saying */

void engine_say(const char *fmt, ...)
{
	char line[600];
	va_list ap;
	int n = snprintf(line, sizeof(line), "hoist: ");

	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	for (int i = 0; i < n; i++) {
		if (line[i] < 0x20 || line[i] > 0x7e)
			line[i] = '?';
	}
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n);
}

void engine_complain(struct engine *e, const char *subject, const char *text, uint64_t after_ms)
{
	struct complaint *at = NULL;
	uint64_t now = clock_ms();

	for (size_t i = 0; i < COMPLAINTS_MAX; i++) {
		struct complaint *c = &e->complaints[i];

		if (strcmp(c->subject, subject) == 0) {
			at = c;
			break;
		}
		if (!c->subject[0] && !at)
			at = c;
	}
	if (!at)
		return;
	if (!text) {
		*at = (struct complaint){.subject = ""};
		return;
	}
	if (strncmp(at->text, text, sizeof(at->text) - 1) != 0 ||
	    strcmp(at->subject, subject) != 0) {
		(void)snprintf(at->subject, sizeof(at->subject), "%s", subject);
		(void)snprintf(at->text, sizeof(at->text), "%s", text);
		at->since_ms = now;
		at->is_said = false;
	}
	if (!at->is_said && now - at->since_ms >= after_ms) {
		engine_say("%s: %s; it is tried again for as long as it takes", subject, text);
		at->is_said = true;
	}
}

/* ---- finding */

const struct rtnl_link *engine_find_name(const struct engine *e, const char *name)
{
	for (size_t i = 0; i < e->links_len; i++) {
		if (strcmp(e->links[i].name, name) == 0)
			return &e->links[i];
	}
	return NULL;
}

/* VLANs and bonds have the address of what is below them. */
static bool has_hardware_address(const struct rtnl_link *l, const uint8_t *mac)
{
	if (strcmp(l->kind, "vlan") == 0 || strcmp(l->kind, "bond") == 0)
		return false;
	if (l->has_permanent)
		return memcmp(l->permanent, mac, NETCONF_MAC_SIZE) == 0;
	return l->has_mac && memcmp(l->mac, mac, NETCONF_MAC_SIZE) == 0;
}

static bool is_port(const struct rtnl_link *l, const struct netconf_port *p)
{
	return p->by_mac ? has_hardware_address(l, p->mac) : strcmp(l->name, p->name) == 0;
}

const struct rtnl_link *engine_find_port(const struct engine *e, const struct netconf_port *p)
{
	for (size_t i = 0; i < e->links_len; i++) {
		if (is_port(&e->links[i], p))
			return &e->links[i];
	}
	return NULL;
}

/* Ethernet on real or virtual hardware, with a wire. */
bool engine_is_card(const struct rtnl_link *l)
{
	char path[80];

	if (l->type != ARPHRD_ETHER || l->kind[0])
		return false;
	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/device", l->name);
	if (access(path, F_OK) < 0)
		return false;
	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/phy80211", l->name);
	return access(path, F_OK) < 0;
}

/* ---- ports */

struct port *engine_port(struct engine *e, const struct rtnl_link *l)
{
	struct port *free_one = NULL;

	for (size_t i = 0; i < PORTS_MAX; i++) {
		struct port *p = &e->ports[i];

		if (p->index == l->index) {
			memcpy(p->name, l->name, sizeof(p->name));
			p->is_seen = true;
			return p;
		}
		if (!p->index && !free_one)
			free_one = p;
	}
	if (free_one) {
		*free_one = (struct port){
			.index = l->index, .is_seen = true, .carrier = -1, .since_ms = clock_ms()};
		memcpy(free_one->name, l->name, sizeof(free_one->name));
	}
	return free_one;
}

static void forget_notes(struct engine *e, const char *name)
{
	static const char *const suffixes[] = {"link",	   "silent", "address", "dns",	 "pid",
					       "address6", "dns6",   "pid6",	"dnsra", "mtu"};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		engine_note(e, name, suffixes[i], NULL);
}

void engine_release(struct engine *e, struct port *p)
{
	static const char *const words[] = {"deconfig", "deconfig6"};

	for (unsigned kind = 0; kind < CLIENTS; kind++) {
		/* one of DHCPv6 may have ended without a word, and leaves its address behind */
		bool had_client = p->clients[kind].pid != 0 ||
				  (kind == CLIENT_DHCP6 && engine_has_note(e, p->name, "address6"));

		engine_stop_client(e, p, kind);
		if (had_client)
			engine_run_script(e, words[kind], p->name);
	}
	forget_notes(e, p->name);
	p->has_addresses = p->has_role = false;
	p->retry_pause_ms = p->retry_after_ms = 0;
	p->carrier = -1;
}

static void stop_clients(struct engine *e, struct port *p)
{
	for (unsigned kind = 0; kind < CLIENTS; kind++)
		engine_stop_client(e, p, kind);
}

/* Ports whose interface has gone. */
static void drop_ports(struct engine *e)
{
	for (size_t i = 0; i < PORTS_MAX; i++) {
		struct port *p = &e->ports[i];
		bool is_there = false;

		for (size_t k = 0; k < e->links_len && p->index; k++)
			is_there = is_there || e->links[k].index == p->index;
		if (!p->index || is_there)
			continue;
		stop_clients(e, p);
		if (p->has_role)
			engine_say("%s: gone", p->name);
		forget_notes(e, p->name);
		engine_run_script(e, "dns", "");
		*p = (struct port){.index = 0};
	}
}

/* ---- who gets what */

static bool is_slave_to_be(const struct engine *e, const struct rtnl_link *l)
{
	for (size_t i = 0; i < e->plan->bonds_len; i++) {
		const struct netconf_bond *b = &e->plan->bonds[i];

		for (size_t k = 0; k < b->slaves_len; k++) {
			if (is_port(l, &b->slaves[k]))
				return true;
		}
	}
	return false;
}

static bool is_ours(const struct engine *e, const struct rtnl_link *l)
{
	for (size_t i = 0; i < e->plan->bonds_len; i++) {
		if (strcmp(e->plan->bonds[i].name, l->name) == 0)
			return true;
	}
	for (size_t i = 0; i < e->plan->vlans_len; i++) {
		if (strcmp(e->plan->vlans[i].name, l->name) == 0)
			return true;
	}
	return false;
}

static bool is_unassigned(const struct engine *e, size_t i)
{
	const struct netconf_ip *ip = &e->plan->ips[i];

	return !ip->is_any && !netconf_port_is_set(&ip->port) && e->first[i] == 0;
}

/* Until it has its line, "ip=dhcp" may have been for it. */
static void take_line(struct engine *e, const struct rtnl_link *l, size_t line)
{
	struct port *p = engine_port(e, l);

	e->first[line] = l->index;
	if (p && p->has_role)
		engine_release(e, p);
}

/* The lines that name this link; those without an interface take the first card that has a link. */
static size_t find_lines(struct engine *e, const struct rtnl_link *l,
			 const struct netconf_ip *ret[static NETCONF_LINES_MAX])
{
	size_t len = 0;

	for (size_t i = 0; i < e->plan->ips_len; i++) {
		const struct netconf_ip *ip = &e->plan->ips[i];

		if (ip->is_any)
			continue;
		if (netconf_port_is_set(&ip->port) ? is_port(l, &ip->port)
						   : e->first[i] == l->index)
			ret[len++] = ip;
	}
	for (size_t i = 0; i < e->plan->ips_len && len == 0; i++) {
		if (is_unassigned(e, i) && l->has_carrier && engine_is_card(l)) {
			take_line(e, l, i);
			ret[len++] = &e->plan->ips[i];
			break;
		}
	}
	return len;
}

/* A card that may yet be the first with a link must be switched on for that to show. */
static void wake_candidate(struct engine *e, const struct rtnl_link *l)
{
	struct err err = {0};

	for (size_t i = 0; i < e->plan->ips_len; i++) {
		if (is_unassigned(e, i) && engine_is_card(l) && !l->is_up) {
			if (rtnl_set_up(&e->rtnl, l->index, true, &err) < 0)
				engine_complain(e, l->name, err.msg, 0);
			return;
		}
	}
}

static void look_after(struct engine *e, const struct rtnl_link *l)
{
	const struct netconf_ip *ips[NETCONF_LINES_MAX], *any = NULL;
	size_t len;

	if (l->master || is_slave_to_be(e, l))
		return;
	len = find_lines(e, l, ips);
	if (len > 0) {
		engine_look_after(e, l, ips, len, false);
		return;
	}
	if (!engine_is_card(l) && !is_ours(e, l))
		return;
	for (size_t i = 0; i < e->plan->ips_len; i++) {
		if (e->plan->ips[i].is_any)
			any = &e->plan->ips[i];
	}
	if (any)
		engine_look_after(e, l, &any, 1, false);
	else if (e->plan->ips_len == 0 || e->plan->had_bad)
		engine_look_after(e, l, NULL, 0, true);
	else
		wake_candidate(e, l);
}

static void forget_first(struct engine *e)
{
	for (size_t i = 0; i < NETCONF_LINES_MAX; i++) {
		bool is_there = false;

		for (size_t k = 0; k < e->links_len && e->first[i]; k++)
			is_there = is_there || e->links[k].index == e->first[i];
		if (!is_there)
			e->first[i] = 0;
	}
}

/* Lines for interfaces that are not there. */
static void report_missing(struct engine *e)
{
	for (size_t i = 0; i < e->plan->ips_len; i++) {
		const struct netconf_port *p = &e->plan->ips[i].port;
		char subject[40];

		if (!netconf_port_is_set(p))
			continue;
		if (p->by_mac) {
			(void)snprintf(subject, sizeof(subject),
				       "card %02x:%02x:%02x:%02x:%02x:%02x", p->mac[0], p->mac[1],
				       p->mac[2], p->mac[3], p->mac[4], p->mac[5]);
		} else {
			(void)snprintf(subject, sizeof(subject), "interface %s", p->name);
		}
		if (engine_find_port(e, p)) {
			engine_complain(e, subject, NULL, 0);
			continue;
		}
		engine_complain(e, subject, "it is not there, and a line ip= is for it",
				PATIENCE_MS);
		e->is_pending = true;
	}
}

/* ---- passes */

static int read_links(struct engine *e, struct err *err)
{
	free(TAKE_PTR(e->links));
	e->links_len = 0;
	return rtnl_links(&e->rtnl, &e->links, &e->links_len, err);
}

static void start_pass(struct engine *e)
{
	struct err err = {0};
	int r = read_links(e, &err);

	engine_complain(e, "network", r < 0 ? err.msg : NULL, 0);
	e->is_pending = r < 0;
}

/* Cards that have just come are not there yet. */
static void leave_out_new(struct engine *e)
{
	size_t len = 0;

	for (size_t i = 0; i < e->links_len; i++) {
		const struct rtnl_link *l = &e->links[i];
		const struct port *p = engine_is_card(l) ? engine_port(e, l) : NULL;

		if (p && clock_ms() - p->since_ms < GRACE_MS)
			e->is_pending = true;
		else
			e->links[len++] = *l;
	}
	e->links_len = len;
}

void engine_pass(struct engine *e)
{
	start_pass(e);
	drop_ports(e);
	leave_out_new(e);
	forget_first(e);
	engine_build(e);
	for (size_t i = 0; i < e->links_len; i++)
		look_after(e, &e->links[i]);
	engine_set_routes(e);
	report_missing(e);
	engine_update_servers(e);
}

int engine_wait_ms(const struct engine *e)
{
	uint64_t now = clock_ms(), left = e->wake_ms > now ? e->wake_ms - now : 0;

	if (e->is_pending && left > RETRY_MS)
		return RETRY_MS;
	if (e->wake_ms == UINT64_MAX)
		return -1;
	return left < INT_MAX ? (int)left : INT_MAX;
}

/* What has lost its link keeps its addresses and routes, and the kernel goes on sending there, though another card stands by: unless it is told not to.
 * And a new address of IPv6 is not used for the second or two in which another owner of it may speak up: a server in reach would be called from the
 * link-local address instead, and would list the machine under that for as long as the connection lasts.
 * "all" is for the cards that are there, "default" for those to come. */
static void set_kernel_up(void)
{
	static const char *const paths[] = {
		"/proc/sys/net/ipv4/conf/default/ignore_routes_with_linkdown",
		"/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown",
		"/proc/sys/net/ipv6/conf/default/ignore_routes_with_linkdown",
		"/proc/sys/net/ipv6/conf/all/ignore_routes_with_linkdown",
		"/proc/sys/net/ipv6/conf/default/optimistic_dad",
		"/proc/sys/net/ipv6/conf/all/optimistic_dad",
		"/proc/sys/net/ipv6/conf/default/use_optimistic",
		"/proc/sys/net/ipv6/conf/all/use_optimistic",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		CLEANUP_CLOSE int fd = open(paths[i], O_WRONLY | O_CLOEXEC);

		if (fd >= 0) /* no IPv6 here is no fault */
			(void)!write(fd, "1", 1);
	}
}

int engine_open(struct engine *e, const char *state, const char *script, struct err *err)
{
	static const struct netconf none;

	*e = (struct engine){.plan = &none};
	(void)snprintf(e->state, sizeof(e->state), "%s", state);
	(void)snprintf(e->script, sizeof(e->script), "%s", script);
	engine_kill_strays(e);
	set_kernel_up();
	return rtnl_open(&e->rtnl, err);
}

static void release_all(struct engine *e)
{
	for (size_t i = 0; i < PORTS_MAX; i++) {
		if (e->ports[i].index)
			engine_release(e, &e->ports[i]);
	}
}

void engine_close(struct engine *e)
{
	for (size_t i = 0; i < PORTS_MAX; i++)
		stop_clients(e, &e->ports[i]);
	free(TAKE_PTR(e->links));
	rtnl_close(&e->rtnl);
}

void engine_set_plan(struct engine *e, const struct netconf *plan)
{
	start_pass(e);
	release_all(e);
	engine_clear_addresses(e);
	engine_unbuild(e);
	memset(e->complaints, 0, sizeof(e->complaints));
	memset(e->first, 0, sizeof(e->first));
	memset(e->bonds, 0, sizeof(e->bonds));
	e->plan = plan;
	engine_unbuild(e); /* what an engine before this one left */
	engine_set_host(e);
}
