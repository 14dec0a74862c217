#include "common/netconf_parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/bytes.h"

#define MTU_MIN 68ul /* of IPv4, RFC 791 */

int netconf_split(struct netconf_line *l, const char *value, struct err *err)
{
	unsigned depth = 0;

	for (const char *p = value; *p; p++) {
		if (*p <= 0x20 || *p > 0x7e)
			return err_set(err, -EINVAL,
				       "it holds a character that is not printable ASCII");
	}
	if (strlen(value) >= sizeof(l->text))
		return err_set(err, -EINVAL, "it is longer than %u characters",
			       NETCONF_TEXT_MAX - 1);
	(void)snprintf(l->text, sizeof(l->text), "%s", value);
	l->fields[0] = l->text;
	l->len = 1;
	for (char *p = l->text; *p; p++) {
		depth += *p == '[';
		depth -= *p == ']' && depth > 0;
		if (*p != ':' || depth > 0)
			continue;
		if (l->len == NETCONF_FIELDS_MAX)
			return err_set(err, -EINVAL, "it has too many fields");
		*p = '\0';
		l->fields[l->len++] = p + 1;
	}
	return depth ? err_set(err, -EINVAL, "a bracket is not closed") : 0;
}

const char *netconf_field(const struct netconf_line *l, size_t i)
{
	return i < l->len && l->fields[i] ? l->fields[i] : "";
}

bool netconf_bond_has(const struct netconf_bond *b, const struct netconf_port *p)
{
	for (size_t i = 0; i < b->slaves_len; i++) {
		if (netconf_port_is_same(&b->slaves[i], p))
			return true;
	}
	return false;
}

int netconf_parse_name(const char *text, char ret[static IFNAMSIZ], struct err *err)
{
	static const char *const others[] = {".", "..", "lo", "all", "default"};
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		if (strcmp(text, others[i]) == 0)
			len = 0;
	}
	if (len == 0 || len >= IFNAMSIZ ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
		    len) {
		return err_set(err, -EINVAL,
			       "'%.40s' is not the name of an interface: 1 to 15 letters, digits, "
			       "'.', '_' or '-'",
			       text);
	}
	memcpy(ret, text, len + 1);
	return 0;
}

/* 12 hexadecimal digits with `mark` between each two ('\0': nothing). */
static bool read_mac(const char *text, char mark, uint8_t *ret)
{
	for (unsigned i = 0; i < NETCONF_MAC_SIZE; i++) {
		char two[3];

		if (i > 0 && mark && *text++ != mark)
			return false;
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]))
			return false;
		memcpy(two, text, 2);
		two[2] = '\0';
		ret[i] = (uint8_t)strtoul(two, NULL, 16);
		text += 2;
	}
	return *text == '\0' && !(ret[0] & 1) && !bytes_are_zero(ret, NETCONF_MAC_SIZE);
}

int netconf_parse_mac(const char *text, uint8_t ret[static NETCONF_MAC_SIZE], struct err *err)
{
	uint8_t mac[NETCONF_MAC_SIZE];

	if (!read_mac(text, ':', mac) && !read_mac(text, '-', mac)) {
		return err_set(err, -EINVAL,
			       "'%.40s' is not the hardware address of a card, such as "
			       "52:54:00:12:34:56",
			       text);
	}
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

int netconf_parse_port(const char *text, struct netconf_port *ret, struct err *err)
{
	struct netconf_port p = {.by_mac = false};
	int r = 0;

	p.by_mac = read_mac(text, '-', p.mac) ||
		   (strncmp(text, "enx", 3) == 0 && read_mac(text + 3, '\0', p.mac));
	if (!p.by_mac) {
		memset(p.mac, 0, sizeof(p.mac));
		r = netconf_parse_name(text, p.name, err);
	}
	if (r == 0)
		*ret = p;
	return r;
}

int netconf_parse_mtu(const char *text, uint32_t *ret, struct err *err)
{
	unsigned long v = 0;

	if (!*text)
		return 0;
	if (strspn(text, "0123456789") == strlen(text) && strlen(text) <= 5)
		v = strtoul(text, NULL, 10);
	if (v < MTU_MIN || v > 65535)
		return err_set(err, -EINVAL, "'%.40s' is not an MTU: a number from %lu to 65535",
			       text, MTU_MIN);
	*ret = (uint32_t)v;
	return 0;
}

int netconf_parse_address(const char *text, struct netconf_address *ret, struct err *err)
{
	struct netconf_address a = {.prefix = 32};
	char plain[INET6_ADDRSTRLEN] = "";
	const char *given = text;
	size_t len = strlen(text);

	if (text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
		a.prefix = 128;
	}
	if (len < sizeof(plain))
		(void)snprintf(plain, sizeof(plain), "%.*s", (int)len, text);
	if (a.prefix == 32 && inet_pton(AF_INET, plain, a.bytes) == 1) {
		a.family = AF_INET;
	} else if (inet_pton(AF_INET6, plain, a.bytes) == 1) {
		a.family = AF_INET6;
		a.prefix = 128;
	} else {
		return err_set(err, -EINVAL, "'%.60s' is not an IP address", given);
	}
	*ret = a;
	return 0;
}

/* The length of a dotted mask whose ones are all in front; negative if they are not. */
static int mask_length(const char *text)
{
	struct in_addr in;
	uint32_t mask;

	if (inet_pton(AF_INET, text, &in) != 1)
		return -1;
	mask = ntohl(in.s_addr);
	if (mask & (~mask >> 1))
		return -1;
	return __builtin_popcount(mask);
}

int netconf_parse_mask(const char *text, struct netconf_address *a, struct err *err)
{
	int most = a->family == AF_INET6 ? 128 : 32, v = -1;

	if (strchr(text, '.') && a->family == AF_INET)
		v = mask_length(text);
	else if (*text && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 3)
		v = (int)strtol(text, NULL, 10);
	if (v < 0 || v > most) {
		return err_set(err, -EINVAL,
			       "'%.40s' is not a netmask: a number of bits from 0 to %d%s", text,
			       most, most == 32 ? ", or such as 255.255.255.0" : "");
	}
	a->prefix = (uint8_t)v;
	return 0;
}

static void clear_host_bits(struct netconf_address *a)
{
	for (unsigned bit = a->prefix; bit < 128; bit++)
		a->bytes[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

int netconf_parse_net(const char *text, struct netconf_address *ret, struct err *err)
{
	struct netconf_address a = {0};
	char plain[80];
	char *slash;
	size_t len = strlen(text);
	int r;

	/* both [fd00::/64] and [fd00::]/64 */
	if (text[0] == '[' && text[len - 1] == ']' && strchr(text, '/')) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(plain))
		return err_set(err, -EINVAL, "'%.60s' is not an IP address", text);
	memcpy(plain, text, len);
	plain[len] = '\0';
	slash = strchr(plain, '/');
	if (slash)
		*slash++ = '\0';
	r = netconf_parse_address(plain, &a, err);
	if (r == 0 && slash) {
		r = netconf_parse_mask(slash, &a, err);
		if (r == 0)
			clear_host_bits(&a);
	}
	if (r == 0)
		*ret = a;
	return r;
}

/* ---- bonds: linux/Documentation/networking/bonding.rst */

static const char *const modes[] = {"balance-rr", "active-backup", "balance-xor", "broadcast",
				    "802.3ad",	  "balance-tlb",   "balance-alb"};
/* Those that are a file of the same name in /sys/class/net/NAME/bonding. */
static const char *const options[] = {
	"ad_actor_sys_prio",
	"ad_select",
	"ad_user_port_key",
	"all_slaves_active",
	"arp_all_targets",
	"arp_interval",
	"arp_ip_target",
	"arp_validate",
	"downdelay",
	"fail_over_mac",
	"lacp_rate",
	"lp_interval",
	"miimon",
	"min_links",
	"num_grat_arp",
	"num_unsol_na",
	"packets_per_slave",
	"peer_notif_delay",
	"primary",
	"primary_reselect",
	"resend_igmp",
	"tlb_dynamic_lb",
	"updelay",
	"use_carrier",
	"xmit_hash_policy",
};

static int parse_mode(const char *value, struct netconf_bond *b, struct err *err)
{
	size_t len = sizeof(modes) / sizeof(*modes);

	for (size_t i = 0; i < len; i++) {
		if (strcmp(value, modes[i]) == 0 ||
		    (value[0] == (char)('0' + i) && value[1] == '\0')) {
			(void)snprintf(b->mode, sizeof(b->mode), "%s", modes[i]);
			return 0;
		}
	}
	return err_set(err, -EINVAL,
		       "'%.40s' is not a mode of bonds: balance-rr, active-backup, balance-xor, "
		       "broadcast, 802.3ad, balance-tlb, balance-alb",
		       value);
}

int netconf_parse_bond_option(const char *text, struct netconf_bond *b, struct err *err)
{
	const char *value = strchr(text, '=');
	size_t len = value ? (size_t)(value - text) : 0, used = strlen(b->options);
	bool known = false;

	if (!value || !*++value)
		return err_set(err, -EINVAL, "the option '%.40s' is not of the form NAME=VALUE",
			       text);
	if (len == 4 && strncmp(text, "mode", 4) == 0)
		return parse_mode(value, b, err);
	for (size_t i = 0; i < sizeof(options) / sizeof(*options) && !known; i++)
		known = strlen(options[i]) == len && strncmp(text, options[i], len) == 0;
	if (!known)
		return err_set(err, -EINVAL, "'%.*s' is not an option of bonds",
			       len > 40 ? 40 : (int)len, text);
	if (strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-;") !=
	    strlen(value))
		return err_set(err, -EINVAL, "'%.40s' is not the value of an option", value);
	if (used + strlen(text) + 2 > sizeof(b->options))
		return err_set(err, -EINVAL, "its options are too long");
	(void)snprintf(b->options + used, sizeof(b->options) - used, "%s%s", used ? "," : "", text);
	return 0;
}

/* ---- all */

int netconf_check_new_name(const struct netconf *n, const char *name, struct err *err)
{
	bool is_taken = false;

	for (size_t i = 0; i < n->vlans_len; i++)
		is_taken = is_taken || strcmp(n->vlans[i].name, name) == 0;
	for (size_t i = 0; i < n->bonds_len; i++)
		is_taken = is_taken || strcmp(n->bonds[i].name, name) == 0;
	for (size_t i = 0; i < n->names_len; i++)
		is_taken = is_taken || strcmp(n->names[i].name, name) == 0;
	return is_taken ? err_set(err, -EINVAL, "another line makes '%s' already", name) : 0;
}

bool netconf_is_host(const struct netconf_address *a)
{
	static const uint8_t loopback[16] = {[15] = 1};

	if (a->family == AF_INET)
		return a->bytes[0] != 0 && a->bytes[0] != 127 && a->bytes[0] < 224;
	return a->bytes[0] != 0xff && !bytes_are_zero(a->bytes, 16) &&
	       memcmp(a->bytes, loopback, 16) != 0;
}

bool netconf_port_is_set(const struct netconf_port *p)
{
	return p->by_mac || p->name[0];
}

bool netconf_port_is_same(const struct netconf_port *a, const struct netconf_port *b)
{
	if (a->by_mac != b->by_mac)
		return false;
	return a->by_mac ? memcmp(a->mac, b->mac, sizeof(a->mac)) == 0
			 : strcmp(a->name, b->name) == 0;
}

const char *netconf_address_text(const struct netconf_address *a, bool with_prefix,
				 char ret[static NETCONF_ADDRESS_SIZE])
{
	char text[INET6_ADDRSTRLEN];

	ret[0] = '\0';
	if (!a->family || !inet_ntop(a->family, a->bytes, text, sizeof(text)))
		return ret;
	if (with_prefix)
		(void)snprintf(ret, NETCONF_ADDRESS_SIZE, "%s/%u", text, a->prefix);
	else
		(void)snprintf(ret, NETCONF_ADDRESS_SIZE, "%s", text);
	return ret;
}
