/* netconf.h - what a person wants of the network: lines in the syntax of dracut.cmdline(7), as a plan.  The kernel line, the settings of a
 * medium and `hoist iso` all go through here: docs/image.md has the syntax and what is different. */
#ifndef COMMON_NETCONF_H
#define COMMON_NETCONF_H
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

#define NETCONF_LINES_MAX   32u /* of each key */
#define NETCONF_BONDS_MAX   8u
#define NETCONF_SLAVES_MAX  16u
#define NETCONF_DNS_MAX	    8u
#define NETCONF_MAC_SIZE    6u
#define NETCONF_OPTIONS_MAX 256u /* text of a bond's options */

enum netconf_method {
	NETCONF_NONE,	 /* a fixed address; without one the interface is left alone */
	NETCONF_DHCP,	 /* of IPv4; IPv6 by router advertisements besides */
	NETCONF_AUTO6,	 /* IPv6 by router advertisements, no IPv4 */
	NETCONF_DHCP6,	 /* an address of IPv6 by DHCP, besides those; no IPv4 */
	NETCONF_EITHER6, /* the same, and one of the two is enough */
	NETCONF_LINK6,	 /* IPv6 within the link, nothing else */
};

/* An interface by its name or by its hardware's address; neither: none was named. */
struct netconf_port {
	char name[IFNAMSIZ];
	uint8_t mac[NETCONF_MAC_SIZE];
	bool by_mac;
};

struct netconf_address {
	uint8_t family; /* AF_INET, AF_INET6; 0: none */
	uint8_t prefix; /* length in bits */
	uint8_t bytes[16];
};

struct netconf_ip {
	struct netconf_port port;
	bool is_any; /* all wired cards, VLANs and bonds that no other line names */
	enum netconf_method method;
	struct netconf_address client; /* family 0: none; with NETCONF_NONE only */
	struct netconf_address peer, gateway, dns[2];
	char host_name[65];
	uint32_t mtu; /* 0: as it is */
	uint8_t mac[NETCONF_MAC_SIZE];
	bool sets_mac;
};

struct netconf_vlan {
	char name[IFNAMSIZ];
	struct netconf_port device;
	uint16_t id; /* 1 to 4094 */
};

struct netconf_bond {
	char name[IFNAMSIZ];
	struct netconf_port slaves[NETCONF_SLAVES_MAX];
	size_t slaves_len;
	char mode[16]; /* "802.3ad" */
	char options
		[NETCONF_OPTIONS_MAX]; /* the others: "miimon=100,lacp_rate=fast", each known by name */
	uint32_t mtu;
};

struct netconf_route {
	struct netconf_address net; /* with its prefix; bits behind that are 0 */
	struct netconf_address gateway;
	struct netconf_port port; /* may be unnamed if there is a gateway */
};

struct netconf_name {
	char name[IFNAMSIZ];
	uint8_t mac[NETCONF_MAC_SIZE];
};

/* Zeroed: nothing was said.  Plain data. */
struct netconf {
	struct netconf_ip ips[NETCONF_LINES_MAX];
	struct netconf_vlan vlans[NETCONF_LINES_MAX];
	struct netconf_bond bonds[NETCONF_BONDS_MAX];
	struct netconf_route routes[NETCONF_LINES_MAX];
	struct netconf_name names[NETCONF_LINES_MAX];
	struct netconf_address dns[NETCONF_DNS_MAX];
	size_t ips_len, vlans_len, bonds_len, routes_len, names_len, dns_len;
	bool had_bad; /* for the caller: a line was refused, so what no line names is to be tried by DHCP */
};

/* ip, vlan, bond, nameserver, route (on the kernel line rd.route), ifname; and team, bridge, whose lines are all refused. */
bool netconf_is_key(const char *key);
/* One line.  -ENOENT: not a key of ours; -EINVAL: the sentence says what is wrong with it, or which earlier line it contradicts, and `n` is
 * as it was; -E2BIG: too many of them. */
int netconf_add(struct netconf *n, const char *key, const char *value, struct err *err) MUST_CHECK;
/* Is one line right by itself? */
int netconf_check_line(const char *key, const char *value, struct err *err) MUST_CHECK;

bool netconf_port_is_set(const struct netconf_port *p);
bool netconf_port_is_same(const struct netconf_port *a, const struct netconf_port *b);
#define NETCONF_ADDRESS_SIZE 64
/* "10.0.0.5/24", without prefix when `with_prefix` is false; "" for none.  Returns `ret`. */
const char *netconf_address_text(const struct netconf_address *a, bool with_prefix,
				 char ret[static NETCONF_ADDRESS_SIZE]);
/* What it comes to, a line each. */
void netconf_print(const struct netconf *n, FILE *f);
#endif
