#include "common/agent_config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/http.h"
#include "common/limits.h"
#include "common/netconf.h"
#include "common/ssh_key.h"

#define ALL	   (SETTING_ARGV | SETTING_KERNEL | SETTING_FILE)
#define MEMORY_MIN (48ull << 20)

static int check_url(const char *text, struct err *err)
{
	struct http_target t;

	return http_target_set_url(&t, text, err);
}

static int check_pin(const char *text, struct err *err)
{
	struct http_target t;

	return http_target_set_pin(&t, text, err);
}

static int check_name(const char *text, struct err *err)
{
	size_t len = strlen(text);

	for (const char *p = text; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			return err_set(err, -EINVAL, "a name is printable ASCII");
	}
	if (len >= 1 && len <= NAME_MAX_LEN)
		return 0;
	return err_set(err, -EINVAL, "a name has 1 to %u characters", NAME_MAX_LEN);
}

int config_parse_level(const char *text, int *ret, struct err *err)
{
	long v;
	char *end;

	if (strcmp(text, "auto") == 0) {
		*ret = 0;
		return 0;
	}
	v = strtol(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || v < 1 || v > CONFIG_LEVEL_MAX)
		return err_set(err, -EINVAL, "it is 'auto' or a number from 1 to %d",
			       CONFIG_LEVEL_MAX);
	*ret = (int)v;
	return 0;
}

static int check_level(const char *text, struct err *err)
{
	int ignored;

	return config_parse_level(text, &ignored, err);
}

static int check_replay(const char *text, struct err *err)
{
	if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
		return 0;
	return err_set(err, -EINVAL, "it is 'yes' or 'no'");
}

static int check_ssh_key(const char *text, struct err *err)
{
	struct ssh_key ignored;

	return ssh_key_parse(text, &ignored, err);
}

#define CHECK_NET(key)                                            \
	static int check_##key(const char *text, struct err *err) \
	{                                                         \
		return netconf_check_line(#key, text, err);       \
	}
CHECK_NET(ip)
CHECK_NET(vlan)
CHECK_NET(bond)
CHECK_NET(nameserver)
CHECK_NET(route)
CHECK_NET(ifname)

/* The network's, which `hoist-agent network` sets up.  On the kernel line they also stand without "hoist.", as dracut has them. */
#define NET(key_text, field, value_text, help_text, check)                                    \
	{                                                                                     \
		key_text, SETTING_LIST, SETTING_KERNEL | SETTING_FILE, AT(field), 0, 0, NULL, \
			value_text, help_text, check                                          \
	}

#define AT(field) offsetof(struct config, field)

static const struct setting settings[] = {
	{"server", SETTING_TEXT, ALL, AT(server), 0, 0, NULL, "URL",
	 "the server, as host, host:port or https://host:port; looked for if not given; without --pin this machine is paired with it",
	 check_url},
	{"pin", SETTING_TEXT, ALL, AT(pin), 0, 0, NULL, "FINGERPRINT",
	 "fingerprint of the server's key, as 'hoist server info' shows it; no other server is talked to; without it a person confirms the server by a code on this machine's screen",
	 check_pin},
	{"token", SETTING_TEXT, ALL | SETTING_SECRET, AT(token), 0, 0, NULL, "TOKEN",
	 "enrolment token, from 'hoist token create'", NULL},
	{"token-file", SETTING_TEXT, SETTING_ARGV | SETTING_FILE, AT(token_file), 0, 0, NULL,
	 "FILE", "file whose first line is the token", NULL},
	{"name", SETTING_TEXT, ALL, AT(name), 0, 0, NULL, "NAME",
	 "what to call this machine; else its host name or what its firmware says", check_name},
	{"hostname", SETTING_TEXT, SETTING_KERNEL | SETTING_FILE, AT(hostname), 0, 0, NULL, "NAME",
	 "host name of the live image", check_name},
	{"id", SETTING_TEXT, ALL, AT(id), 0, 0, NULL, "TEXT",
	 "the machine's id, in place of the one that its hardware gives", NULL},
	{"disk", SETTING_LIST, ALL, AT(disks), 0, 0, NULL, "FILE[,sector=N][,name=NAME][,ro]",
	 "a plain file that stands for a disk; real disks are not looked at then", NULL},
	{"memory", SETTING_SIZE, ALL, AT(memory), MEMORY_MIN, 1ull << 50, NULL, "SIZE",
	 "memory to use at most; if not given, 64M with two cores and 16M more for each further one, but no more than an eighth of what there is",
	 NULL},
	{"workers", SETTING_U64, ALL, AT(workers), 1, 32, NULL, "N",
	 "threads that transfer; twice the cores if not given, 2 to 8, as memory allows", NULL},
	{"level", SETTING_TEXT, ALL, AT(level_text), 0, 0, NULL, "N|auto",
	 "compression when the order says nothing: 1 is fast, 19 is small; 'auto', which it is if not given, starts at 1 and follows what the transfer waits for: up to 6 when that is network or server, down to none at all when it is the processor",
	 check_level},
	{"disk-wait", SETTING_U64, ALL, AT(disk_wait), 0, 3600, "120", "SECONDS",
	 "how long to look for a disk of a job that is not there before the job fails: some come up long after the machine",
	 NULL},
	{"io-uring", SETTING_BOOL, ALL, AT(io_uring), 0, 0, "yes", NULL,
	 "read disks by io_uring where the kernel has it (--io-uring=no: one read at a time by each worker)",
	 NULL},
	{"discovery", SETTING_BOOL, ALL, AT(discovery), 0, 0, "yes", NULL,
	 "announce this machine on the local networks (--discovery=no: do not)", NULL},
	{"discovery-port", SETTING_U64, ALL, AT(discovery_port), 1, 65535, "4647", "PORT",
	 "UDP port that servers listen on", NULL},
	{"interface", SETTING_LIST, ALL, AT(interfaces), 0, 0, NULL, "NAME",
	 "announce on this network interface only; may be repeated", NULL},
	{"replay", SETTING_TEXT, ALL, AT(replay), 0, 0, NULL, "yes|no",
	 "let the kernel replay the log of an unclean ext4, XFS or btrfs on a copy in memory, so that it is not copied whole; 'yes' in the live image if not given, else 'no'",
	 check_replay},
	{"console", SETTING_LIST, ALL, AT(consoles), 0, 0, NULL, "DEVICE",
	 "write what happens to this terminal as well; may be repeated", NULL},
	{"state", SETTING_TEXT, ALL, AT(state), 0, 0, NULL, "DIR",
	 "folder for the session's secret and the server that was paired with, so that a restart needs neither token nor code",
	 NULL},
	NET("ip", ip, "INTERFACE:METHOD",
	    "addresses of the live image: dhcp, INTERFACE:dhcp, or "
	    "ADDRESS::GATEWAY:NETMASK:HOSTNAME:INTERFACE:none, as dracut.cmdline(7) has it",
	    check_ip),
	NET("vlan", vlan, "NAME:DEVICE",
	    "VLAN of the live image, such as eth0.5:eth0 or vlan5:bond0", check_vlan),
	NET("bond", bond, "NAME:SLAVES:OPTIONS",
	    "bond of the live image, such as bond0:eth0,eth1:mode=802.3ad", check_bond),
	NET("nameserver", nameserver, "ADDRESS", "name server of the live image", check_nameserver),
	NET("route", route, "NET/NETMASK:GATEWAY[:INTERFACE]",
	    "route of the live image; rd.route= on the kernel line", check_route),
	NET("ifname", ifname, "NAME:MAC", "name for the card with this hardware address",
	    check_ifname),
	{"ssh-key", SETTING_LIST, SETTING_FILE, AT(ssh_keys), 0, 0, NULL, "TYPE BASE64 [COMMENT]",
	 "public key of somebody who may log in to the live image as root, by SSH; without one nothing listens there",
	 check_ssh_key},
	{"settings", SETTING_TEXT, SETTING_ARGV, AT(settings), 0, 0, NULL, "FILE",
	 "read settings from FILE, lines of key=value", NULL},
	{"cmdline", SETTING_TEXT, SETTING_ARGV, AT(cmdline), 0, 0, NULL, "TEXT",
	 "read hoist.KEY=VALUE settings from TEXT as if it were the kernel line", NULL},
	{"image", SETTING_BOOL, SETTING_ARGV, AT(image), 0, 0, NULL, NULL,
	 "this is the live image: may restart the machine, reads the kernel line", NULL},
	{"once", SETTING_BOOL, SETTING_ARGV, AT(once), 0, 0, NULL, NULL,
	 "end after one job, with status 0 if it was done, 3 if it was done with unreadable bytes",
	 NULL},
	{"eject", SETTING_BOOL, SETTING_KERNEL | SETTING_FILE, AT(eject), 0, 0, NULL, NULL,
	 "the live image, all of which is in memory, ejects the CD that it came from once it runs",
	 NULL},
	{"shell", SETTING_BOOL, SETTING_KERNEL, AT(shell), 0, 0, NULL, NULL,
	 "the live image offers a shell on serial lines", NULL},
	{"progress-ms", SETTING_U64, SETTING_ARGV, AT(progress_ms), 50, 10000, "2000", "MS",
	 "how often a running job tells the server how far it is", NULL},
};
const struct setting_table agent_config_table = {settings, sizeof(settings) / sizeof(*settings)};
