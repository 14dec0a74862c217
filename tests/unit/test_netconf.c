#include "common/netconf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/unit/tap.h"

static bool is_same(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct netconf)) == 0;
}

/* "key=value" lines, parted by newlines, into a plan; as netconf_print shows it, or what is wrong with the first that is refused. */
static const char *plan(const char *lines)
{
	static char text[4096];
	CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
	CLEANUP_FREE char *copy = strdup(lines);
	char *rest = copy, *line;
	FILE *f;

	if (!n || !copy)
		abort();
	while ((line = strsep(&rest, "\n"))) {
		char *equals = strchr(line, '=');
		struct err err = {0};
		CLEANUP_FREE struct netconf *before = malloc(sizeof(*n));

		if (!before || !equals)
			abort();
		*equals = '\0';
		memcpy(before, n, sizeof(*n));
		if (netconf_add(n, line, equals + 1, &err) < 0) {
			if (!is_same(before, n))
				return "a refused line changed the plan";
			(void)snprintf(text, sizeof(text), "%s", err.msg);
			return text;
		}
	}
	f = fmemopen(text, sizeof(text), "w");
	netconf_print(n, f);
	(void)fclose(f);
	return text;
}

/* A test's name is one line. */
static const char *one_line(const char *lines)
{
	static char text[1024];
	size_t i;

	for (i = 0; lines[i] && i + 1 < sizeof(text); i++)
		text[i] = (char)(lines[i] < 0x20 || lines[i] > 0x7e ? ' ' : lines[i]);
	text[i] = '\0';
	return text;
}

static void is_plan(const char *lines, const char *want)
{
	const char *got = plan(lines);

	if (!ok(strcmp(got, want) == 0, one_line(lines)))
		printf("# got: %s# want: %s", got, want);
}

static void is_refused(const char *lines, const char *part)
{
	const char *got = plan(lines);

	if (!ok(strstr(got, part) != NULL, one_line(lines)))
		printf("# got: %s\n# want: %s\n", got, part);
}

static void test_short(void)
{
	is_plan("ip=dhcp", "whatever no other line names: DHCP\n");
	is_plan("ip=on", "whatever no other line names: DHCP\n");
	is_plan("ip=any", "whatever no other line names: DHCP\n");
	is_plan("ip=off", "whatever no other line names: nothing\n");
	is_plan("ip=auto6", "whatever no other line names: router advertisements\n");
	is_plan("ip=dhcp6", "whatever no other line names: DHCPv6\n");
	is_plan("ip=either6", "whatever no other line names: router advertisements or DHCPv6\n");
	is_plan("ip=eth0:dhcp6:1400", "eth0: DHCPv6, MTU 1400\n");
	is_plan("ip=eth0:dhcp\nip=eth0:dhcp6", "eth0: DHCP\neth0: DHCPv6\n");
	is_plan("ip=::::box:eth0:dhcp6", "eth0: DHCPv6, host name box\n");
	is_plan("ip=link6", "whatever no other line names: link-local addresses\n");
	is_plan("ip=eth0:dhcp", "eth0: DHCP\n");
	is_plan("ip=eth0:dhcp:1400", "eth0: DHCP, MTU 1400\n");
	is_plan("ip=eth0:dhcp:1400:", "eth0: DHCP, MTU 1400\n");
	is_plan("ip=eth0:dhcp::52:54:00:0a:0B:0c",
		"eth0: DHCP, hardware address 52:54:00:0a:0b:0c\n");
	is_plan("ip=eth0:off:9000", "eth0: nothing, MTU 9000\n");
	is_plan("ip=enx525400123456:dhcp", "52:54:00:12:34:56: DHCP\n");
	is_plan("ip=52-54-00-12-34-56:auto6", "52:54:00:12:34:56: router advertisements\n");
	is_plan("ip=enp3s0f1:dhcp\nip=off",
		"enp3s0f1: DHCP\nwhatever no other line names: nothing\n");
}

static void test_long(void)
{
	is_plan("ip=10.0.0.5::10.0.0.1:255.255.255.0:box:eth0:none",
		"eth0: address 10.0.0.5/24, gateway 10.0.0.1, host name box\n");
	is_plan("ip=10.0.0.5::10.0.0.1:24::eth0:off",
		"eth0: address 10.0.0.5/24, gateway 10.0.0.1\n");
	is_plan("ip=10.0.0.5:::24::eth0:none:1400:52:54:00:12:34:56",
		"eth0: address 10.0.0.5/24, MTU 1400, hardware address 52:54:00:12:34:56\n");
	is_plan("ip=10.0.0.5:::24::eth0:none:1400:52-54-00-12-34-56",
		"eth0: address 10.0.0.5/24, MTU 1400, hardware address 52:54:00:12:34:56\n");
	is_plan("ip=10.0.0.5:::24::eth0:none::52:54:00:12:34:56",
		"eth0: address 10.0.0.5/24, hardware address 52:54:00:12:34:56\n");
	is_plan("ip=10.0.0.5:::24::eth0:none:10.0.0.2:10.0.0.3",
		"eth0: address 10.0.0.5/24, name server 10.0.0.2, name server 10.0.0.3\n");
	is_plan("ip=10.0.0.5:::24::eth0:none::10.0.0.3",
		"eth0: address 10.0.0.5/24, name server 10.0.0.3\n");
	is_plan("ip=10.0.0.5:::24::eth0:none:10.0.0.2:",
		"eth0: address 10.0.0.5/24, name server 10.0.0.2\n");
	is_plan("ip=[2001:db8::5]::[2001:db8::1]:64:box:eth0:none:[2001:db8::2]",
		"eth0: address 2001:db8::5/64, gateway 2001:db8::1, host name box, name server 2001:db8::2\n");
	is_plan("ip=10.0.0.5:10.0.0.6/32::32::eth0:none",
		"eth0: address 10.0.0.5/32, peer 10.0.0.6/32\n");
	is_plan("ip=10.0.0.5::10.0.0.1:24:::none",
		"the first link: address 10.0.0.5/24, gateway 10.0.0.1\n");
	is_plan("ip=10.0.0.5::10.0.0.1:24",
		"the first link: address 10.0.0.5/24, gateway 10.0.0.1\n");
	is_plan("ip=::::box:eth0:dhcp", "eth0: DHCP, host name box\n");
	is_plan("ip=::::box::dhcp", "whatever no other line names: DHCP, host name box\n");
	is_plan("ip=10.0.0.5:::24::eth0:none\nip=[fd00::5]:::64::eth0:none\nip=10.0.0.6:::24::eth0:none",
		"eth0: address 10.0.0.5/24\neth0: address fd00::5/64\neth0: address 10.0.0.6/24\n");
	is_plan("ip=eth0:dhcp\nip=[fd00::5]:::64::eth0:none",
		"eth0: DHCP\neth0: address fd00::5/64\n");
}

static void test_others(void)
{
	is_plan("vlan=vlan0005:eth0\nvlan=vlan6:eth0\nvlan=eth0.0007:eth0\nvlan=eth0.8:eth0\nip=eth0.8:dhcp",
		"vlan0005: VLAN 5 on eth0\nvlan6: VLAN 6 on eth0\neth0.0007: VLAN 7 on eth0\n"
		"eth0.8: VLAN 8 on eth0\neth0.8: DHCP\n");
	is_plan("vlan=vlan5:enx525400123456",
		"vlan5: VLAN 5 on 52:54:00:12:34:56\nwhatever no line names: DHCP\n");
	is_plan("bond=bond0\nip=bond0:dhcp",
		"bond0: bond of eth0, eth1, mode balance-rr\nbond0: DHCP\n");
	is_plan("bond=bond0:eth2,52-54-00-12-34-56:mode=4,miimon=50,lacp_rate=fast,xmit_hash_policy=layer3+4:9000\nip=bond0:dhcp",
		"bond0: bond of eth2, 52:54:00:12:34:56, mode 802.3ad, "
		"miimon=50,lacp_rate=fast,xmit_hash_policy=layer3+4, MTU 9000\nbond0: DHCP\n");
	is_plan("bond=bond0:eth0,eth1:mode=active-backup,arp_ip_target=10.0.0.1;10.0.0.2\nvlan=bond0.5:bond0\nip=off",
		"bond0: bond of eth0, eth1, mode active-backup, arp_ip_target=10.0.0.1;10.0.0.2\n"
		"bond0.5: VLAN 5 on bond0\nwhatever no other line names: nothing\n");
	is_plan("rd.route=192.168.200.0/24:192.168.100.222:ens10\nroute=192.168.200.77/255.255.255.0:192.168.100.222\n"
		"route=192.168.200.0/24::ens10\nroute=[2001:DB8:3::/48]:[2001:DB8:2::1]:ens10\nroute=[fd00::1]/8:[fd00::2]\nip=off",
		"whatever no other line names: nothing\n"
		"route to 192.168.200.0/24 by 192.168.100.222 on ens10\nroute to 192.168.200.0/24 by 192.168.100.222\n"
		"route to 192.168.200.0/24 on ens10\nroute to 2001:db8:3::/48 by 2001:db8:2::1 on ens10\n"
		"route to fd00::/8 by fd00::2\n");
	is_plan("nameserver=10.0.0.1\nnameserver=[fd00::1]\nnameserver=fd00::2",
		"name server 10.0.0.1\nname server fd00::1\nname server fd00::2\nwhatever no line names: DHCP\n");
	is_plan("ifname=lan0:52:54:00:12:34:56\nip=lan0:dhcp",
		"lan0: the card 52:54:00:12:34:56\nlan0: DHCP\n");
}

static const struct {
	const char *lines, *part;
} bad[] = {
	{"ip=", "'' is not one of dhcp"},
	{"ip=eth0:dhcp6\nip=eth0:dhcp6", "another line says how already"},
	{"ip=[fd00::5]:::64::eth0:dhcp6", "an address goes with 'none'"},
	{"ip=dhxp", "'dhxp' is not one of dhcp, on"},
	{"ip=eth0", "'eth0' is not one of dhcp"},
	{"ip=eth0:ibft",
	 "what the firmware holds for iSCSI (ibft) is in force where there is no line"},
	{"ip=ibft", "(ibft) is in force where"},
	{"ip=single-dhcp", "'dhcp' asks on every card at once"},
	{"team=team0:eth0,eth1", "teams are not made here: a bond does the same"},
	{"bridge=br0:eth0", "bridges are not made here"},
	{"ip=2001:db8::5:64", "IPv6 addresses stand in brackets"},
	{"ip=eth0:dhcp:67", "'67' is not an MTU"},
	{"ip=eth0:dhcp:65536", "not an MTU"},
	{"ip=eth0:dhcp:99999999999999999999", "not an MTU"},
	{"ip=eth0:dhcp:1400:52:54:00:12:34", "too many fields"},
	{"ip=eth0:dhcp:1400:52:54:00:12:34:5g", "'52:54:00:12:34:5g' is not the hardware address"},
	{"ip=eth0:dhcp::53:54:00:12:34:56", "not the hardware address of a card"},
	{"ip=eth0:dhcp::00:00:00:00:00:00", "not the hardware address of a card"},
	{"ip=sixteen-letters1:dhcp", "not the name of an interface"},
	{"ip=../../x:dhcp", "not the name of an interface"},
	{"ip=all:dhcp", "not the name of an interface"},
	{"ip=lo:dhcp", "not the name of an interface"},
	{"ip=10.0.0.300::10.0.0.1:24::eth0:none", "'10.0.0.300' is not an IP address"},
	{"ip=10.0.0.5/24::10.0.0.1:24::eth0:none", "'10.0.0.5/24' is not an IP address"},
	{"ip=10.0.0.5", "the netmask is missing"},
	{"ip=10.0.0.5::10.0.0.1:::eth0:none", "the netmask is missing"},
	{"ip=10.0.0.5::10.0.0.1:255.0.255.0::eth0:none", "'255.0.255.0' is not a netmask"},
	{"ip=10.0.0.5::10.0.0.1:33::eth0:none", "'33' is not a netmask"},
	{"ip=[fd00::5]:::129::eth0:none", "'129' is not a netmask"},
	{"ip=[fd00::5]:::255.255.255.0::eth0:none", "not a netmask"},
	{"ip=[fd00::5]::10.0.0.1:64::eth0:none", "mixes IPv4 and IPv6"},
	{"ip=[10.0.0.5]:::24::eth0:none", "'[10.0.0.5]' is not an IP address"},
	{"ip=[fd00::5:::64::eth0:none", "a bracket is not closed"},
	{"ip=127.0.0.1:::8::eth0:none", "not the address of one machine"},
	{"ip=224.0.0.1:::8::eth0:none", "not the address of one machine"},
	{"ip=[ff02::1]:::64::eth0:none", "not the address of one machine"},
	{"ip=10.0.0.5::0.0.0.0:24::eth0:none", "not the address of a gateway"},
	{"ip=10.0.0.5::10.0.0.1:24::eth0:dhcp", "a fixed address and 'dhcp'"},
	{"ip=::10.0.0.1:24::eth0:none", "no address of its own"},
	{"ip=10.0.0.5:::24:-x:eth0:none", "'-x' is not a host name"},
	{"ip=10.0.0.5:::24:a_b:eth0:none", "not a host name"},
	{"ip=10.0.0.5:::24::eth0:none:10.0.0.1:10.0.0.2:10.0.0.3", "more than two name servers"},
	{"ip=10.0.0.5:::24::eth0:none:10.0.0.1:hello", "'hello' is not an IP address"},
	{"ip=10.0.0.5:::24::eth0:none:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18",
	 "too many fields"},
	{"ip=eth0:dhcp\nip=eth0:dhcp", "another line says how already"},
	{"ip=dhcp\nip=auto6", "another line says how already"},
	{"ip=eth0:dhcp\nip=10.0.0.5:::24::eth0:none", "a fixed IPv4 address and DHCP"},
	{"ip=10.0.0.5:::24::eth0:none\nip=eth0:dhcp", "a fixed IPv4 address and DHCP"},
	{"ip=10.0.0.5:::24::eth0:none:1400\nip=10.0.0.6:::24::eth0:none:1500", "another MTU"},
	{"ip=eth0:dhcp\x01", "not printable ASCII"},
	{"ip=eth0:dhcp\xc3\xa4", "not printable ASCII"},
	{"vlan=vlan5", "not of the form NAME:DEVICE"},
	{"vlan=vlan5:eth0:eth1", "not of the form NAME:DEVICE"},
	{"vlan=vlan0:eth0", "not the name of a VLAN"},
	{"vlan=vlan4095:eth0", "not the name of a VLAN"},
	{"vlan=eth0.:eth0", "not the name of a VLAN"},
	{"vlan=five:eth0", "not the name of a VLAN"},
	{"vlan=eth0.5:eth1", "on 'eth1' by what follows"},
	{"vlan=vlan5:vlan5", "on itself"},
	{"vlan=vlan5:eth0\nvlan=vlan5:eth1", "another line makes 'vlan5' already"},
	{"bond=vlan5:eth0\nvlan=vlan5:eth1", "another line makes 'vlan5' already"},
	{"bond=", "not the name of an interface"},
	{"bond=bond0:", "not the name of an interface"},
	{"bond=bond0:eth0,eth0", "'eth0' stands there twice"},
	{"bond=bond0:bond0", "its own slave"},
	{"bond=bond0:eth0:mode=lacp", "'lacp' is not a mode of bonds"},
	{"bond=bond0:eth0:mode=7", "not a mode"},
	{"bond=bond0:eth0:speed=7", "'speed' is not an option of bonds"},
	{"bond=bond0:eth0:mode", "not of the form NAME=VALUE"},
	{"bond=bond0:eth0:miimon=", "not of the form NAME=VALUE"},
	{"bond=bond0:eth0:primary=../x", "not the value of an option"},
	{"bond=bond0:eth0::1500:x", "not of the form NAME[:SLAVES"},
	{"bond=bond0:eth0::15", "not an MTU"},
	{"bond=bond0:eth0\nbond=bond1:eth1,eth0", "belongs to bond0"},
	{"bond=bond0:eth0\nip=eth0:dhcp", "belongs to bond0"},
	{"ip=eth0:dhcp\nbond=bond0:eth0", "for one of its slaves"},
	{"bond=b:a,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r", "more than 16 slaves"},
	{"nameserver=", "'' is not an IP address"},
	{"nameserver=dns.example", "not an IP address"},
	{"nameserver=[fd00::1", "a bracket is not closed"},
	{"route=10.0.0.0/8", "not of the form NET/NETMASK"},
	{"route=10.0.0.0/8:", "not of the form NET/NETMASK"},
	{"route=10.0.0.0/8:[fd00::1]", "mixes IPv4 and IPv6"},
	{"route=10.0.0.0/40:10.0.0.1", "'40' is not a netmask"},
	{"route=10.0.0.0/8:0.0.0.0", "not the address of a gateway"},
	{"route=[]:[]", "not an IP address"},
	{"ifname=lan0", "not of the form NAME:MAC"},
	{"ifname=eth1:52:54:00:12:34:56", "a name that the kernel gives"},
	{"ifname=lan0:52:54", "not the hardware address"},
	{"ifname=lan0:52:54:00:12:34:56\nifname=lan1:52:54:00:12:34:56",
	 "is called 'lan0' already"},
	{"ifname=lan0:52:54:00:12:34:56\nifname=lan0:52:54:00:12:34:57",
	 "another line makes 'lan0'"},
	{"ifname=lan0:52:54:00:12:34:56\nip=lan0:dhcp::52:54:00:00:00:01", "cannot be changed"},
	{"ip=lan0:dhcp::52:54:00:00:00:01\nifname=lan0:52:54:00:12:34:56", "that it is known by"},
	{"bootdev=eth0", "'bootdev' is not a setting of the network"},
};

static void test_refused(void)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		is_refused(bad[i].lines, bad[i].part);
}

static void test_limits(void)
{
	CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
	char long_line[5000], value[64];
	struct err err = {0};
	int r = 0;
	unsigned i;

	if (!n)
		abort();
	for (i = 0; i < 1000 && r == 0; i++) {
		(void)snprintf(value, sizeof(value), "e%u:dhcp", i);
		r = netconf_add(n, "ip", value, &err);
	}
	ok(r == -E2BIG && i == NETCONF_LINES_MAX + 1, "so many lines and no more");
	for (i = 0, r = 0; i < 1000 && r == 0; i++) {
		(void)snprintf(value, sizeof(value), "b%u:e%u", i, 100 + i);
		r = netconf_add(n, "bond", value, &err);
	}
	ok(r == -E2BIG && i == NETCONF_BONDS_MAX + 1, "so many bonds");
	memset(long_line, 'a', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = '\0';
	ok(netconf_check_line("vlan", long_line, &err) == -EINVAL && strstr(err.msg, "longer than"),
	   "a line that is too long");
	ok(netconf_check_line("ip", "dhcp", &err) == 0, "a line by itself");
	ok(netconf_check_line("hostname", "x", &err) == -ENOENT, "a key of somebody else's");
	ok(netconf_is_key("rd.route") && netconf_is_key("ip") && !netconf_is_key("i"), "keys");
	ok(netconf_add(n, "ip", "e1:nonsense", &err) < 0 && strncmp(err.msg, "ip=", 3) == 0,
	   "the sentence names the line, or that there are too many");
}

int main(void)
{
	test_short();
	test_long();
	test_others();
	test_refused();
	test_limits();
	return done();
}
