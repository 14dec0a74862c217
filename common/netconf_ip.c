/* The line ip=: what its fields mean follows from the first one.  An address, or nothing, begins the long form; a name the short one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/netconf_parse.h"

#define METHODS "dhcp, on, any, dhcp6, auto6, either6, link6, none, off"

/* A hardware address as the last field of ip=: its colons have cut it into six, or it has dashes and is one. */
static int parse_last_mac(const struct netconf_line *l, size_t from, uint8_t *ret, bool *ret_set,
			  struct err *err)
{
	char text[24];

	if (l->len <= from || (l->len == from + 1 && !*l->fields[from]))
		return 0;
	if (l->len == from + 6) {
		(void)snprintf(text, sizeof(text), "%.3s:%.3s:%.3s:%.3s:%.3s:%.3s", l->fields[from],
			       l->fields[from + 1], l->fields[from + 2], l->fields[from + 3],
			       l->fields[from + 4], l->fields[from + 5]);
	} else if (l->len == from + 1) {
		(void)snprintf(text, sizeof(text), "%.20s", l->fields[from]);
	} else {
		return err_set(err, -EINVAL, "it has too many fields");
	}
	*ret_set = true;
	return netconf_parse_mac(text, ret, err);
}

static int parse_method(const char *text, struct netconf_ip *ip, struct err *err)
{
	static const struct {
		const char *name;
		enum netconf_method method;
	} methods[] = {
		{"dhcp", NETCONF_DHCP},	  {"on", NETCONF_DHCP},	    {"any", NETCONF_DHCP},
		{"dhcp6", NETCONF_DHCP6}, {"auto6", NETCONF_AUTO6}, {"either6", NETCONF_EITHER6},
		{"link6", NETCONF_LINK6}, {"none", NETCONF_NONE},   {"off", NETCONF_NONE},
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (strcmp(text, methods[i].name) == 0) {
			ip->method = methods[i].method;
			return 0;
		}
	}
	if (strcmp(text, "ibft") == 0) {
		return err_set(
			err, -EINVAL,
			"what the firmware holds for iSCSI (ibft) is in force where there is no line "
			"of the network at all: leave them out, or dhcp, or a fixed address");
	}
	if (strcmp(text, "single-dhcp") == 0) {
		return err_set(err, -EINVAL,
			       "'single-dhcp' is not done here: 'dhcp' asks on every card at once");
	}
	return err_set(err, -EINVAL,
		       "'%.40s' is not one of " METHODS " (IPv6 addresses stand in brackets)",
		       text);
}

static bool looks_like_address(const char *text)
{
	return *text == '[' || (strchr(text, '.') && strspn(text, "0123456789./") == strlen(text));
}

/* ip=METHOD, ip=INTERFACE:METHOD[:[MTU][:MAC]] */
static int parse_short(const struct netconf_line *l, struct netconf_ip *ip, struct err *err)
{
	int r;

	if (l->len == 1) {
		ip->is_any = true;
		return parse_method(netconf_field(l, 0), ip, err);
	}
	r = netconf_parse_port(netconf_field(l, 0), &ip->port, err);
	if (r == 0)
		r = parse_method(netconf_field(l, 1), ip, err);
	if (r == 0)
		r = netconf_parse_mtu(netconf_field(l, 2), &ip->mtu, err);
	return r == 0 ? parse_last_mac(l, 3, ip->mac, &ip->sets_mac, err) : r;
}

/* What follows the method: name servers, or MTU and hardware address. */
static int parse_tail(const struct netconf_line *l, struct netconf_ip *ip, struct err *err)
{
	int r = 0;

	if (!looks_like_address(netconf_field(l, 7)) && !looks_like_address(netconf_field(l, 8))) {
		r = netconf_parse_mtu(netconf_field(l, 7), &ip->mtu, err);
		return r == 0 ? parse_last_mac(l, 8, ip->mac, &ip->sets_mac, err) : r;
	}
	if (l->len > 9)
		return err_set(err, -EINVAL, "there are more than two name servers in it");
	for (size_t i = 0; i < 2 && r == 0; i++) {
		if (*netconf_field(l, 7 + i))
			r = netconf_parse_address(netconf_field(l, 7 + i), &ip->dns[i], err);
	}
	return r;
}

static int check_host_name(const char *text, struct err *err)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");

	if (n <= 64 && text[n] == '\0' && text[0] != '.' && text[0] != '-')
		return 0;
	return err_set(err, -EINVAL, "'%.80s' is not a host name", text);
}

/* Addresses: what there is must fit together. */
static int parse_client(const struct netconf_line *l, struct netconf_ip *ip, struct err *err)
{
	int r = netconf_parse_address(l->fields[0], &ip->client, err);

	if (r == 0 && *netconf_field(l, 1))
		r = netconf_parse_net(netconf_field(l, 1), &ip->peer, err);
	if (r == 0 && *netconf_field(l, 2))
		r = netconf_parse_address(netconf_field(l, 2), &ip->gateway, err);
	if (r == 0 && !*netconf_field(l, 3))
		r = err_set(err, -EINVAL, "the netmask is missing, as 255.255.255.0 or 24");
	if (r == 0)
		r = netconf_parse_mask(netconf_field(l, 3), &ip->client, err);
	if (r < 0)
		return r;
	if ((ip->peer.family && ip->peer.family != ip->client.family) ||
	    (ip->gateway.family && ip->gateway.family != ip->client.family))
		return err_set(err, -EINVAL, "it mixes IPv4 and IPv6");
	if (!netconf_is_host(&ip->client))
		return err_set(err, -EINVAL, "'%.60s' is not the address of one machine",
			       l->fields[0]);
	if (ip->gateway.family && !netconf_is_host(&ip->gateway))
		return err_set(err, -EINVAL, "'%.60s' is not the address of a gateway",
			       netconf_field(l, 2));
	return 0;
}

/* ip=CLIENT:[PEER]:GATEWAY:NETMASK:HOSTNAME:INTERFACE:METHOD[:...] */
static int parse_long(const struct netconf_line *l, struct netconf_ip *ip, struct err *err)
{
	int r = 0;

	if (*netconf_field(l, 6))
		r = parse_method(netconf_field(l, 6), ip, err);
	if (r == 0 && *l->fields[0]) {
		if (ip->method != NETCONF_NONE) {
			return err_set(
				err, -EINVAL,
				"it has a fixed address and '%s': an address goes with 'none'",
				netconf_field(l, 6));
		}
		r = parse_client(l, ip, err);
	} else if (r == 0 &&
		   (*netconf_field(l, 1) || *netconf_field(l, 2) || *netconf_field(l, 3))) {
		r = err_set(err, -EINVAL,
			    "it has a peer, gateway or netmask, but no address of its own");
	}
	if (r == 0)
		r = check_host_name(netconf_field(l, 4), err);
	if (r < 0)
		return r;
	(void)snprintf(ip->host_name, sizeof(ip->host_name), "%.64s", netconf_field(l, 4));
	if (*netconf_field(l, 5)) {
		r = netconf_parse_port(netconf_field(l, 5), &ip->port, err);
	} else if (!ip->client.family) {
		ip->is_any = true;
	}
	return r == 0 ? parse_tail(l, ip, err) : r;
}

/* Two lines of one interface must not get into each other's way. */
static int check_beside(const struct netconf_ip *a, const struct netconf_ip *b, struct err *err)
{
	bool same = a->is_any ? b->is_any : !b->is_any && netconf_port_is_same(&a->port, &b->port);

	if (!same)
		return 0;
	if (a->is_any || (a->method == b->method && a->method != NETCONF_NONE))
		return err_set(err, -EINVAL, "another line says how already");
	if ((a->client.family == AF_INET && b->method == NETCONF_DHCP) ||
	    (b->client.family == AF_INET && a->method == NETCONF_DHCP))
		return err_set(err, -EINVAL,
			       "the same interface has a fixed IPv4 address and DHCP");
	if (a->sets_mac && b->sets_mac && memcmp(a->mac, b->mac, sizeof(a->mac)) != 0)
		return err_set(err, -EINVAL, "another line gives it another hardware address");
	if (a->mtu && b->mtu && a->mtu != b->mtu)
		return err_set(err, -EINVAL, "another line gives it another MTU");
	return 0;
}

static int check_ip(const struct netconf *n, const struct netconf_ip *ip, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < n->ips_len && r == 0; i++)
		r = check_beside(&n->ips[i], ip, err);
	for (size_t i = 0; i < n->bonds_len && r == 0; i++) {
		if (netconf_port_is_set(&ip->port) && netconf_bond_has(&n->bonds[i], &ip->port)) {
			r = err_set(err, -EINVAL,
				    "the interface belongs to %s, which has the addresses",
				    n->bonds[i].name);
		}
	}
	for (size_t i = 0; i < n->names_len && r == 0 && ip->sets_mac; i++) {
		if (strcmp(n->names[i].name, ip->port.name) == 0) {
			r = err_set(err, -EINVAL,
				    "ifname= names the interface by its hardware address, so that "
				    "cannot be changed");
		}
	}
	return r;
}

int netconf_add_ip(struct netconf *n, const struct netconf_line *l, struct err *err)
{
	struct netconf_ip ip = {.is_any = false};
	bool is_long = looks_like_address(l->fields[0]) || (!*l->fields[0] && l->len > 1);
	int r = is_long ? parse_long(l, &ip, err) : parse_short(l, &ip, err);

	if (r == 0)
		r = check_ip(n, &ip, err);
	if (r == 0)
		n->ips[n->ips_len++] = ip;
	return r;
}
