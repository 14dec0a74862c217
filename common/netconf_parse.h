/* netconf_parse.h - the single fields of common/netconf.c.  All: 0, or -EINVAL with the sentence. */
#ifndef COMMON_NETCONF_PARSE_H
#define COMMON_NETCONF_PARSE_H
#include "common/netconf.h"

#define NETCONF_FIELDS_MAX 24u
#define NETCONF_TEXT_MAX   600u

/* A line cut at its colons, but not within brackets. */
struct netconf_line {
	char text[NETCONF_TEXT_MAX]; /* cut up */
	char *fields[NETCONF_FIELDS_MAX];
	size_t len;
};

int netconf_split(struct netconf_line *l, const char *value, struct err *err) MUST_CHECK;
/* "" for a field that is not there. */
const char *netconf_field(const struct netconf_line *l, size_t i);
/* The line ip=, of netconf_ip.c. */
int netconf_add_ip(struct netconf *n, const struct netconf_line *l, struct err *err) MUST_CHECK;
bool netconf_bond_has(const struct netconf_bond *b, const struct netconf_port *p);

/* An interface's name, which becomes part of paths. */
int netconf_parse_name(const char *text, char ret[static IFNAMSIZ], struct err *err) MUST_CHECK;
/* A name, or a hardware address as enx525400123456 or 52-54-00-12-34-56. */
int netconf_parse_port(const char *text, struct netconf_port *ret, struct err *err) MUST_CHECK;
/* 52:54:00:12:34:56, or with dashes: that of one card. */
int netconf_parse_mac(const char *text, uint8_t ret[static NETCONF_MAC_SIZE],
		      struct err *err) MUST_CHECK;
/* "" is none. */
int netconf_parse_mtu(const char *text, uint32_t *ret, struct err *err) MUST_CHECK;
/* An address; IPv6 may stand in brackets.  The prefix is the whole of it. */
int netconf_parse_address(const char *text, struct netconf_address *ret,
			  struct err *err) MUST_CHECK;
/* 24, 255.255.255.0: the prefix of `a`. */
int netconf_parse_mask(const char *text, struct netconf_address *a, struct err *err) MUST_CHECK;
/* ADDRESS[/MASK], IPv6 with the brackets around all or around the address; bits behind the prefix are cleared if it has one. */
int netconf_parse_net(const char *text, struct netconf_address *ret, struct err *err) MUST_CHECK;
/* NAME=VALUE of a bond, into its mode or its options. */
int netconf_parse_bond_option(const char *text, struct netconf_bond *b, struct err *err) MUST_CHECK;
/* No other line makes an interface of this name. */
int netconf_check_new_name(const struct netconf *n, const char *name, struct err *err) MUST_CHECK;
/* Neither 0, nor a group, nor loopback. */
bool netconf_is_host(const struct netconf_address *a);
#endif
