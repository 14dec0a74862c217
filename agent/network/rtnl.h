/* rtnl.h - the kernel's network configuration: linux/rtnetlink.h, linux/if_link.h. */
#ifndef AGENT_NETWORK_RTNL_H
#define AGENT_NETWORK_RTNL_H
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/netconf.h"

struct rtnl {
	int fd;	    /* requests */
	int events; /* readable when something about links or addresses has changed: rtnl_drain */
	uint32_t seq;
};

struct rtnl_link {
	int index;
	char name[IFNAMSIZ];
	char kind[IFNAMSIZ]; /* "vlan", "bond", "veth", ...; "" for hardware */
	uint16_t type;	     /* ARPHRD_* */
	bool is_up, has_carrier;
	int master, parent; /* index, or 0 */
	uint32_t mtu;
	uint16_t vlan_id;
	bool has_mac, has_permanent;
	uint8_t mac[NETCONF_MAC_SIZE], permanent[NETCONF_MAC_SIZE];
};

int rtnl_open(struct rtnl *ret, struct err *err) MUST_CHECK;
void rtnl_close(struct rtnl *r);
/* The options of a router's advertisement that are not the kernel's business, as they came from the wire. */
typedef void rtnl_advert_fn(void *ctx, int index, const void *options, size_t size);
/* Of what has been heard since, as much as one pass is to take; the rest leaves `events` readable. */
void rtnl_drain(const struct rtnl *r, rtnl_advert_fn *fn, void *ctx);

/* All links there are; heap. */
int rtnl_links(struct rtnl *r, struct rtnl_link **ret, size_t *ret_len, struct err *err) MUST_CHECK;

int rtnl_set_up(struct rtnl *r, int index, bool up, struct err *err) MUST_CHECK;
int rtnl_set_mtu(struct rtnl *r, int index, uint32_t mtu, struct err *err) MUST_CHECK;
/* The link must be down. */
int rtnl_set_mac(struct rtnl *r, int index, const uint8_t *mac, struct err *err) MUST_CHECK;
int rtnl_set_name(struct rtnl *r, int index, const char *name, struct err *err) MUST_CHECK;
int rtnl_set_master(struct rtnl *r, int index, int master, struct err *err) MUST_CHECK;
int rtnl_add_vlan(struct rtnl *r, const char *name, int parent, uint16_t id,
		  struct err *err) MUST_CHECK;
int rtnl_add_bond(struct rtnl *r, const char *name, struct err *err) MUST_CHECK;
int rtnl_delete_link(struct rtnl *r, int index, struct err *err) MUST_CHECK;

/* `peer` may have no family.  There already, or gone already, is no error.  An address of IPv6 is in use while the kernel still asks whether another
 * owns it (RFC 4429), where optimistic_dad and use_optimistic of net.ipv6.conf.all allow that. */
int rtnl_address(struct rtnl *r, bool add, int index, const struct netconf_address *address,
		 const struct netconf_address *peer, struct err *err) MUST_CHECK;
/* `net` without family: the default route.  `gateway` without family: on the link itself.  index 0: where the gateway is. */
struct rtnl_route {
	struct netconf_address net, gateway;
	int index;
	uint32_t metric;
};
int rtnl_route(struct rtnl *r, bool add, const struct rtnl_route *route,
	       struct err *err) MUST_CHECK;
#endif
