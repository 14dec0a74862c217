/* ibft.c - the iSCSI Boot Firmware Table (Microsoft, iBFT 1.03): firmware, or the boot code of a network card, tells the system from which disk of the
 * network the machine starts, and over which card.  Who started from there and sees no disk here is to know why.
 *
 * The kernel shows it below /sys/firmware/ibft (Documentation/ABI/testing/sysfs-ibft); the live image's lib/hoist/iscsi logs in, and leaves in
 * /run/hoist/iscsi/TARGET.why what keeps it from that.  Where the kernel's module is not there, or refuses the table, ACPI has it:
 * a header of ACPI's shape, 48 bytes; the control structure, which has the offsets of two targets at 60 and 64; a target has its flags at 5,
 * the length of its name at 34 and the name's place at 36. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "agent/machine.h"
#include "common/bytes.h"

#define TABLE_MAX	  4096u
#define LENGTH_AT	  4u
#define TARGETS_AT	  60u
#define TARGETS		  2u
#define TARGET_ID	  4u
#define TARGET_FLAGS_AT	  5u
#define TARGET_FLAG_VALID 1u
#define TARGET_NAME_AT	  34u

#define ROOT	    "sys/firmware/ibft"
#define SESSIONS    "sys/class/iscsi_session"
#define ORIGIN_DHCP 3u /* RFC 4293, IpAddressPrefixOriginTC */
#define VLAN_MAX    4094u

static struct reader at(const uint8_t *table, size_t size, size_t offset)
{
	struct reader r;

	reader_init(&r, table, size);
	(void)reader_bytes(&r, offset);
	return r;
}

static bool name_of(const uint8_t *table, size_t size, size_t target, char *ret, size_t ret_size)
{
	struct reader id = at(table, size, target),
		      flags = at(table, size, target + TARGET_FLAGS_AT),
		      name = at(table, size, target + TARGET_NAME_AT);
	size_t length = reader_u16(&name), place = reader_u16(&name);
	struct reader text = at(table, size, place);
	const uint8_t *p = reader_bytes(&text, length);

	if (reader_u8(&id) != TARGET_ID || !(reader_u8(&flags) & TARGET_FLAG_VALID) || id.bad ||
	    flags.bad || name.bad || text.bad || !p || length == 0)
		return false;
	return text_clean(ret, ret_size, p, length) > 0;
}

bool ibft_target(const uint8_t *table, size_t size, char ret[static TEXT_SIZE])
{
	struct reader length = at(table, size, LENGTH_AT), targets = at(table, size, TARGETS_AT);
	uint32_t whole = reader_u32(&length);

	ret[0] = '\0';
	size = whole < size ? whole : size;
	for (unsigned i = 0; i < TARGETS && !length.bad; i++) {
		size_t target = reader_u16(&targets);

		(void)reader_u16(&targets); /* of its card */
		if (target && !targets.bad && name_of(table, size, target, ret, TEXT_SIZE))
			return true;
	}
	return false;
}

static void warn_of_table(const struct sysroot *r, struct warnings *w)
{
	uint8_t table[TABLE_MAX];
	char name[TEXT_SIZE];
	ssize_t n = sysroot_read(r, table, sizeof(table), "sys/firmware/acpi/tables/iBFT");

	if (n < 0)
		n = sysroot_read(r, table, sizeof(table), "sys/firmware/acpi/tables/IBFT");
	if (n < 0)
		return;
	warnings_add(w,
		     "the firmware has an iSCSI disk for this machine (iBFT), which is not listed: "
		     "the kernel does not show that table (module iscsi_ibft), so nobody logs in; "
		     "capture it with hoist-agent on a system that is logged in to it%s%s",
		     ibft_target(table, (size_t)n, name) ? ": " : "", name);
}

/* ---- as the kernel shows it */

/* The state of the session with the target of that name; false: there is none.  One that is logged in counts before others. */
static bool session_state(const struct sysroot *r, const char *name, char ret[static TEXT_SIZE])
{
	CLEANUP_NAMES struct name_list l = {0};
	bool is_there = false;

	sysroot_list(r, &l, SESSIONS);
	for (size_t i = 0; i < l.len; i++) {
		char target[TEXT_SIZE], state[TEXT_SIZE];

		if (!sysroot_text(r, target, sizeof(target), SESSIONS "/%s/targetname",
				  l.names[i]) ||
		    strcmp(target, name) != 0 ||
		    !sysroot_text(r, state, sizeof(state), SESSIONS "/%s/state", l.names[i]))
			continue;
		if (!is_there || strcmp(state, "LOGGED_IN") == 0)
			memcpy(ret, state, sizeof(state));
		is_there = true;
	}
	return is_there;
}

static void warn_of_target(const struct sysroot *r, const char *id, struct warnings *w)
{
	char name[TEXT_SIZE], address[TEXT_SIZE], state[TEXT_SIZE], why[TEXT_SIZE];
	uint64_t flags = 0;

	/* Some firmware sets only the flag of what it started from. */
	if (!sysroot_u64(r, &flags, ROOT "/%s/flags", id) || flags == 0)
		return;
	(void)sysroot_text(r, name, sizeof(name), ROOT "/%s/target-name", id);
	(void)sysroot_text(r, address, sizeof(address), ROOT "/%s/ip-addr", id);
	if (session_state(r, name, state)) {
		if (strcmp(state, "LOGGED_IN") != 0) {
			warnings_add(
				w,
				"the connection to the iSCSI disk %s at %s, from which this machine "
				"starts (iBFT), is broken: look at the target and at this machine's "
				"network",
				name, address);
		}
		return;
	}
	if (!sysroot_text(r, why, sizeof(why), "run/hoist/iscsi/%s.why", id)) {
		(void)snprintf(why, sizeof(why),
			       "nobody here has logged in to it yet; it is listed as soon as "
			       "somebody has");
	}
	warnings_add(
		w,
		"the iSCSI disk %s at %s, from which this machine starts (iBFT), is not listed: %s",
		name, address, why);
}

void ibft_read(const struct sysroot *r, bool has_iscsi_disk, struct warnings *w)
{
	CLEANUP_NAMES struct name_list l = {0};

	sysroot_list(r, &l, ROOT);
	for (size_t i = 0; i < l.len; i++) {
		if (strncmp(l.names[i], "target", 6) == 0)
			warn_of_target(r, l.names[i], w);
	}
	if (l.len == 0 && !has_iscsi_disk)
		warn_of_table(r, w);
}

/* ---- the network */

struct card {
	const char *id; /* "ethernet0" */
	char mac[TEXT_SIZE], address[TEXT_SIZE];
	char device[TEXT_SIZE]; /* what has the address: the card, or its VLAN */
	bool is_dhcp;
};

/* Zeros stand for what there is not. */
static bool is_address(const char *text)
{
	uint8_t bytes[16], none[16] = {0};
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	return inet_pton(family, text, bytes) == 1 &&
	       memcmp(bytes, none, family == AF_INET ? 4 : 16) != 0;
}

static bool address_of(const struct sysroot *r, const struct card *c, const char *file,
		       char ret[static TEXT_SIZE])
{
	return sysroot_text(r, ret, TEXT_SIZE, ROOT "/%s/%s", c->id, file) && is_address(ret);
}

/* As netconf_add() wants it. */
static const char *bracketed(const char *text, char ret[static TEXT_SIZE])
{
	(void)snprintf(ret, TEXT_SIZE, strchr(text, ':') ? "[%.60s]" : "%.60s", text);
	return ret;
}

static bool card_read(const struct sysroot *r, const char *id, struct card *ret)
{
	uint64_t flags = 0, origin = 0;
	char text[TEXT_SIZE];

	*ret = (struct card){.id = id};
	if (!sysroot_u64(r, &flags, ROOT "/%s/flags", id) || flags == 0 ||
	    !sysroot_text(r, ret->mac, sizeof(ret->mac), ROOT "/%s/mac", id))
		return false;
	for (char *p = ret->mac; (p = strchr(p, ':')); p++)
		*p = '-';
	/* Not all boot code fills in the origin: then the address of the DHCP server tells. */
	(void)sysroot_u64(r, &origin, ROOT "/%s/origin", id);
	ret->is_dhcp = origin == ORIGIN_DHCP || address_of(r, ret, "dhcp", text) ||
		       !address_of(r, ret, "ip-addr", ret->address);
	return true;
}

static void tell_fixed(const struct sysroot *r, const struct card *c, ibft_line_fn *line, void *ctx)
{
	static const char *const servers[] = {"primary-dns", "secondary-dns"};
	char address[TEXT_SIZE], gateway[TEXT_SIZE] = "", mask[TEXT_SIZE], text[TEXT_SIZE],
				 value[4 * TEXT_SIZE];

	if (address_of(r, c, "gateway", text))
		(void)bracketed(text, gateway);
	if (!sysroot_text(r, mask, sizeof(mask), ROOT "/%s/prefix-len", c->id))
		(void)sysroot_text(r, mask, sizeof(mask), ROOT "/%s/subnet-mask", c->id);
	(void)snprintf(value, sizeof(value), "%s::%s:%s::%s:none", bracketed(c->address, address),
		       gateway, mask, c->device);
	line(ctx, "ip", value);
	for (size_t i = 0; i < sizeof(servers) / sizeof(*servers); i++) {
		if (address_of(r, c, servers[i], text))
			line(ctx, "nameserver", bracketed(text, value));
	}
}

/* true: something other than DHCP on the card itself. */
static bool tell_card(const struct sysroot *r, struct card *c, ibft_line_fn *line, void *ctx)
{
	char value[2 * TEXT_SIZE];
	uint64_t vlan = 0;

	(void)sysroot_u64(r, &vlan, ROOT "/%s/vlan", c->id);
	memcpy(c->device, c->mac, sizeof(c->device));
	if (vlan > 0 && vlan <= VLAN_MAX) {
		(void)snprintf(c->device, sizeof(c->device), "vlan%u", (unsigned)vlan);
		(void)snprintf(value, sizeof(value), "%s:%s", c->device, c->mac);
		line(ctx, "vlan", value);
	}
	if (!c->is_dhcp)
		tell_fixed(r, c, line, ctx);
	return !c->is_dhcp || vlan > 0;
}

void ibft_network(const struct sysroot *r, ibft_line_fn *line, void *ctx)
{
	CLEANUP_NAMES struct name_list l = {0};
	bool is_told = false;

	sysroot_list(r, &l, ROOT);
	for (size_t i = 0; i < l.len; i++) {
		struct card c;

		if (strncmp(l.names[i], "ethernet", 8) == 0 && card_read(r, l.names[i], &c) &&
		    tell_card(r, &c, line, ctx))
			is_told = true;
	}
	/* All other cards, and VLANs: as without a table. */
	if (is_told)
		line(ctx, "ip", "dhcp");
}
