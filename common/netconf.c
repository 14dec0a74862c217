/* A line is cut at its colons, but not within brackets, which IPv6 addresses stand in.  Each line is judged against those before it, so that a caller who
 * passes over what is refused has a plan without contradictions. */
#include "common/netconf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/netconf_parse.h"

/* ---- vlan= */

/* vlan0005, vlan5, eth0.0005, eth0.5: what follows is its number, what precedes a '.' the device. */
static int parse_vlan_name(const char *name, struct netconf_vlan *v, struct err *err)
{
	const char *dot = strrchr(name, '.'), *digits = NULL;
	unsigned long id = 0;
	int r = netconf_parse_name(name, v->name, err);

	if (r < 0)
		return r;
	if (dot && dot > name)
		digits = dot + 1;
	else if (strncmp(name, "vlan", 4) == 0)
		digits = name + 4;
	if (digits && isdigit((unsigned char)*digits) &&
	    strspn(digits, "0123456789") == strlen(digits) && strlen(digits) <= 4)
		id = strtoul(digits, NULL, 10);
	if (id < 1 || id > 4094) {
		return err_set(err, -EINVAL,
			       "'%s' is not the name of a VLAN: vlan5, vlan0005, eth0.5 or "
			       "eth0.0005, the number from 1 to 4094",
			       name);
	}
	v->id = (uint16_t)id;
	return 0;
}

static int add_vlan(struct netconf *n, const struct netconf_line *l, struct err *err)
{
	struct netconf_vlan v = {.id = 0};
	const char *dot;
	size_t stem;
	int r;

	if (l->len != 2)
		return err_set(err, -EINVAL, "it is not of the form NAME:DEVICE");
	dot = strrchr(netconf_field(l, 0), '.');
	stem = dot ? (size_t)(dot - netconf_field(l, 0)) : 0;
	r = parse_vlan_name(netconf_field(l, 0), &v, err);
	if (r == 0)
		r = netconf_parse_port(netconf_field(l, 1), &v.device, err);
	if (r < 0)
		return r;
	if (stem && !v.device.by_mac &&
	    (strncmp(v.device.name, v.name, stem) != 0 || v.device.name[stem] != '\0')) {
		return err_set(err, -EINVAL,
			       "'%s' is on '%s' by its name and on '%s' by what follows", v.name,
			       v.name, v.device.name);
	}
	if (!v.device.by_mac && strcmp(v.name, v.device.name) == 0)
		return err_set(err, -EINVAL, "'%s' cannot be on itself", v.name);
	r = netconf_check_new_name(n, v.name, err);
	if (r == 0)
		n->vlans[n->vlans_len++] = v;
	return r;
}

/* ---- bond= */

static int parse_slaves(char *text, struct netconf_bond *b, struct err *err)
{
	char *one;

	while ((one = strsep(&text, ","))) {
		struct netconf_port *p = &b->slaves[b->slaves_len];
		int r;

		if (b->slaves_len == NETCONF_SLAVES_MAX)
			return err_set(err, -EINVAL, "it has more than %u slaves",
				       NETCONF_SLAVES_MAX);
		r = netconf_parse_port(one, p, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < b->slaves_len; i++) {
			if (netconf_port_is_same(&b->slaves[i], p))
				return err_set(err, -EINVAL, "'%.40s' stands there twice", one);
		}
		if (strcmp(p->name, b->name) == 0)
			return err_set(err, -EINVAL, "'%s' cannot be its own slave", b->name);
		b->slaves_len++;
	}
	return 0;
}

static int parse_options(char *text, struct netconf_bond *b, struct err *err)
{
	char *one;

	while ((one = strsep(&text, ","))) {
		int r = netconf_parse_bond_option(one, b, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Whether another line wants something else of a slave. */
static int check_slaves(const struct netconf *n, const struct netconf_bond *b, struct err *err)
{
	for (size_t i = 0; i < b->slaves_len; i++) {
		const struct netconf_port *p = &b->slaves[i];

		for (size_t k = 0; k < n->ips_len; k++) {
			if (netconf_port_is_set(p) && netconf_port_is_same(p, &n->ips[k].port)) {
				return err_set(err, -EINVAL,
					       "a line ip= is for one of its slaves: the bond has "
					       "the addresses");
			}
		}
		for (size_t k = 0; k < n->bonds_len; k++) {
			if (netconf_bond_has(&n->bonds[k], p)) {
				return err_set(err, -EINVAL, "one of its slaves belongs to %s",
					       n->bonds[k].name);
			}
		}
	}
	return 0;
}

static int add_bond(struct netconf *n, const struct netconf_line *l, struct err *err)
{
	struct netconf_bond b = {.mode = "balance-rr"};
	char fallback[] = "eth0,eth1";
	int r;

	if (l->len > 4)
		return err_set(err, -EINVAL, "it is not of the form NAME[:SLAVES[:OPTIONS[:MTU]]]");
	r = netconf_parse_name(l->fields[0], b.name, err);
	if (r == 0)
		r = parse_slaves(l->len > 1 ? l->fields[1] : fallback, &b, err);
	if (r == 0 && *netconf_field(l, 2))
		r = parse_options(l->fields[2], &b, err);
	if (r == 0)
		r = netconf_parse_mtu(netconf_field(l, 3), &b.mtu, err);
	if (r == 0)
		r = netconf_check_new_name(n, b.name, err);
	if (r == 0)
		r = check_slaves(n, &b, err);
	if (r == 0)
		n->bonds[n->bonds_len++] = b;
	return r;
}

/* ---- the others */

static int add_nameserver(struct netconf *n, const char *value, struct err *err)
{
	struct netconf_address a = {0};
	int r = netconf_parse_address(value, &a, err);

	if (r == 0)
		n->dns[n->dns_len++] = a;
	return r;
}

static int add_route(struct netconf *n, const struct netconf_line *l, struct err *err)
{
	struct netconf_route route = {.port = {.by_mac = false}};
	int r;

	if (l->len < 2 || l->len > 3 || !*l->fields[0] || !(*l->fields[1] || *netconf_field(l, 2)))
		return err_set(err, -EINVAL,
			       "it is not of the form NET/NETMASK:GATEWAY[:INTERFACE]");
	r = netconf_parse_net(l->fields[0], &route.net, err);
	if (r == 0 && *l->fields[1])
		r = netconf_parse_address(l->fields[1], &route.gateway, err);
	if (r == 0 && *netconf_field(l, 2))
		r = netconf_parse_port(l->fields[2], &route.port, err);
	if (r < 0)
		return r;
	if (route.gateway.family && route.gateway.family != route.net.family)
		return err_set(err, -EINVAL, "it mixes IPv4 and IPv6");
	if (route.gateway.family && !netconf_is_host(&route.gateway))
		return err_set(err, -EINVAL, "'%.60s' is not the address of a gateway",
			       l->fields[1]);
	n->routes[n->routes_len++] = route;
	return 0;
}

static bool is_kernels_name(const char *name)
{
	return strncmp(name, "eth", 3) == 0 && name[3] &&
	       strspn(name + 3, "0123456789") == strlen(name + 3);
}

static int add_ifname(struct netconf *n, const char *value, struct err *err)
{
	const char *colon = strchr(value, ':');
	struct netconf_name name = {.name = ""};
	char text[IFNAMSIZ + 1];
	int r;

	if (!colon)
		return err_set(err, -EINVAL, "it is not of the form NAME:MAC");
	(void)snprintf(text, sizeof(text), "%.*s",
		       (int)(colon - value > IFNAMSIZ ? IFNAMSIZ : colon - value), value);
	r = netconf_parse_name(text, name.name, err);
	if (r == 0 && is_kernels_name(name.name)) {
		r = err_set(
			err, -EINVAL,
			"'%s' is a name that the kernel gives, perhaps to another card: call it "
			"lan0, say",
			name.name);
	}
	if (r == 0)
		r = netconf_parse_mac(colon + 1, name.mac, err);
	if (r == 0)
		r = netconf_check_new_name(n, name.name, err);
	for (size_t i = 0; i < n->names_len && r == 0; i++) {
		if (memcmp(n->names[i].mac, name.mac, sizeof(name.mac)) == 0)
			r = err_set(err, -EINVAL, "that card is called '%s' already",
				    n->names[i].name);
	}
	for (size_t i = 0; i < n->ips_len && r == 0; i++) {
		if (n->ips[i].sets_mac && strcmp(n->ips[i].port.name, name.name) == 0)
			r = err_set(err, -EINVAL,
				    "a line ip= changes the hardware address that it is known by");
	}
	if (r == 0)
		n->names[n->names_len++] = name;
	return r;
}

/* ---- all of them */

enum key {
	KEY_IP,
	KEY_VLAN,
	KEY_BOND,
	KEY_NAMESERVER,
	KEY_ROUTE,
	KEY_IFNAME,
	KEY_TEAM,
	KEY_BRIDGE,
	KEY_NONE,
};

static enum key find_key(const char *key)
{
	static const char *const names[] = {"ip",    "vlan",   "bond", "nameserver",
					    "route", "ifname", "team", "bridge"};

	for (unsigned i = 0; i < KEY_NONE; i++) {
		if (strcmp(key, names[i]) == 0)
			return (enum key)i;
	}
	return strcmp(key, "rd.route") == 0 ? KEY_ROUTE : KEY_NONE;
}

bool netconf_is_key(const char *key)
{
	return find_key(key) != KEY_NONE;
}

static bool is_full(const struct netconf *n, enum key key)
{
	switch (key) {
	case KEY_IP:
		return n->ips_len == NETCONF_LINES_MAX;
	case KEY_VLAN:
		return n->vlans_len == NETCONF_LINES_MAX;
	case KEY_BOND:
		return n->bonds_len == NETCONF_BONDS_MAX;
	case KEY_NAMESERVER:
		return n->dns_len == NETCONF_DNS_MAX;
	case KEY_ROUTE:
		return n->routes_len == NETCONF_LINES_MAX;
	case KEY_IFNAME:
		return n->names_len == NETCONF_LINES_MAX;
	case KEY_TEAM:
	case KEY_BRIDGE:
	case KEY_NONE:
		break;
	}
	return false;
}

static int add(struct netconf *n, enum key key, const char *value, struct err *err)
{
	struct netconf_line l = {.len = 0};
	int r = netconf_split(&l, value, err);

	if (r < 0)
		return r;
	switch (key) {
	case KEY_IP:
		return netconf_add_ip(n, &l, err);
	case KEY_VLAN:
		return add_vlan(n, &l, err);
	case KEY_BOND:
		return add_bond(n, &l, err);
	case KEY_NAMESERVER:
		return add_nameserver(n, value, err);
	case KEY_ROUTE:
		return add_route(n, &l, err);
	case KEY_IFNAME:
		return add_ifname(n, value, err);
	case KEY_TEAM:
		return err_set(err, -EINVAL,
			       "teams are not made here: a bond does the same (bond=), with "
			       "mode=802.3ad or mode=active-backup");
	case KEY_BRIDGE:
		return err_set(err, -EINVAL,
			       "bridges are not made here: give the addresses to the card itself");
	case KEY_NONE:
		break;
	}
	return 0;
}

int netconf_add(struct netconf *n, const char *key, const char *value, struct err *err)
{
	enum key k = find_key(key);
	int r;

	if (k == KEY_NONE)
		return err_set(err, -ENOENT, "'%.40s' is not a setting of the network", key);
	if (is_full(n, k))
		return err_set(err, -E2BIG, "%s=: there are too many of them", key);
	r = add(n, k, value, err);
	return r < 0 ? err_prefix(err, "%s=%.120s", key, value) : 0;
}

int netconf_check_line(const char *key, const char *value, struct err *err)
{
	struct netconf *n = calloc(1, sizeof(*n));
	enum key k = find_key(key);
	int r;

	if (!n)
		return err_set(err, -ENOMEM, "out of memory");
	r = k == KEY_NONE ? err_set(err, -ENOENT, "'%.40s' is not a setting of the network", key)
			  : add(n, k, value, err);
	free(n);
	return r;
}
