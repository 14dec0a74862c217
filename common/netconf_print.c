/* The plan as a person reads it, one line for each thing that is to be. */
#include <sys/socket.h>

#include "common/netconf.h"

#define PORT_SIZE 20

static const char *mac_text(const uint8_t *mac, char ret[static PORT_SIZE])
{
	(void)snprintf(ret, PORT_SIZE, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		       mac[3], mac[4], mac[5]);
	return ret;
}

static const char *port_text(const struct netconf_port *p, char ret[static PORT_SIZE])
{
	if (p->by_mac)
		return mac_text(p->mac, ret);
	(void)snprintf(ret, PORT_SIZE, "%s", p->name[0] ? p->name : "the first link");
	return ret;
}

static void print_address(FILE *f, const char *what, const struct netconf_address *a, bool prefix)
{
	char text[NETCONF_ADDRESS_SIZE];

	if (a->family)
		(void)fprintf(f, "%s%s", what, netconf_address_text(a, prefix, text));
}

static void print_ip(FILE *f, const struct netconf_ip *ip)
{
	static const char *const methods[] = {"nothing",
					      "DHCP",
					      "router advertisements",
					      "DHCPv6",
					      "router advertisements or DHCPv6",
					      "link-local addresses"};
	char port[PORT_SIZE], mac[PORT_SIZE];

	(void)fprintf(f, "%s: ",
		      ip->is_any ? "whatever no other line names" : port_text(&ip->port, port));
	if (ip->client.family)
		print_address(f, "address ", &ip->client, true);
	else
		(void)fputs(methods[ip->method], f);
	print_address(f, ", peer ", &ip->peer, true);
	print_address(f, ", gateway ", &ip->gateway, false);
	if (ip->host_name[0])
		(void)fprintf(f, ", host name %s", ip->host_name);
	if (ip->mtu)
		(void)fprintf(f, ", MTU %u", ip->mtu);
	if (ip->sets_mac)
		(void)fprintf(f, ", hardware address %s", mac_text(ip->mac, mac));
	print_address(f, ", name server ", &ip->dns[0], false);
	print_address(f, ", name server ", &ip->dns[1], false);
	(void)fputc('\n', f);
}

static void print_bond(FILE *f, const struct netconf_bond *b)
{
	char port[PORT_SIZE];

	(void)fprintf(f, "%s: bond of", b->name);
	for (size_t i = 0; i < b->slaves_len; i++)
		(void)fprintf(f, "%s %s", i ? "," : "", port_text(&b->slaves[i], port));
	(void)fprintf(f, ", mode %s", b->mode);
	if (b->options[0])
		(void)fprintf(f, ", %s", b->options);
	if (b->mtu)
		(void)fprintf(f, ", MTU %u", b->mtu);
	(void)fputc('\n', f);
}

void netconf_print(const struct netconf *n, FILE *f)
{
	char port[PORT_SIZE];

	for (size_t i = 0; i < n->names_len; i++)
		(void)fprintf(f, "%s: the card %s\n", n->names[i].name,
			      mac_text(n->names[i].mac, port));
	for (size_t i = 0; i < n->bonds_len; i++)
		print_bond(f, &n->bonds[i]);
	for (size_t i = 0; i < n->vlans_len; i++)
		(void)fprintf(f, "%s: VLAN %u on %s\n", n->vlans[i].name, n->vlans[i].id,
			      port_text(&n->vlans[i].device, port));
	for (size_t i = 0; i < n->ips_len; i++)
		print_ip(f, &n->ips[i]);
	for (size_t i = 0; i < n->routes_len; i++) {
		const struct netconf_route *r = &n->routes[i];

		print_address(f, "route to ", &r->net, true);
		print_address(f, " by ", &r->gateway, false);
		if (netconf_port_is_set(&r->port))
			(void)fprintf(f, " on %s", port_text(&r->port, port));
		(void)fputc('\n', f);
	}
	for (size_t i = 0; i < n->dns_len; i++) {
		print_address(f, "name server ", &n->dns[i], false);
		(void)fputc('\n', f);
	}
	if (n->ips_len == 0 || n->had_bad)
		(void)fputs("whatever no line names: DHCP\n", f);
}
