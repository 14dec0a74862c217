#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/machine.h"
#include "agent/network/sources.h"
#include "common/cleanup.h"
#include "tests/lib/sample.h"
#include "tests/unit/tap.h"

#define IQN "iqn.2026-11.test.hoist:boot"

static char dir[] = "/var/tmp/hoist-test-ibft-XXXXXX";

static void is_str(const char *have, const char *want, const char *what)
{
	if (!ok(strcmp(have, want) == 0, what))
		printf("# have: %s# want: %s", have, want);
}

static void like(const char *have, const char *pattern, const char *what)
{
	regex_t re;

	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		abort();
	if (!ok(regexec(&re, have, 0, NULL, 0) == 0, what))
		printf("# have: %s", have);
	regfree(&re);
}

/* A file of one line, with the folders before it. */
static void put(const char *path, const char *text)
{
	char full[256];
	FILE *f;

	(void)snprintf(full, sizeof(full), "%s/%s", dir, path);
	for (char *p = full + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		(void)mkdir(full, 0700);
		*p = '/';
	}
	f = fopen(full, "we");
	if (!f || fprintf(f, "%s\n", text) < 0 || fclose(f) != 0)
		abort();
}

static void put_in(const char *folder, const char *const files[][2])
{
	char path[128];

	for (; (*files)[0]; files++) {
		(void)snprintf(path, sizeof(path), "sys/%s/%s", folder, (*files)[0]);
		put(path, (*files)[1]);
	}
}

static void forget(const char *path)
{
	char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", dir, path);
	tree_remove(full);
}

/* ---- warnings */

/* All of them, a line each. */
static const char *warned(const struct sysroot *r, bool has_disk)
{
	static char text[2048];
	struct warnings w = {0};

	text[0] = '\0';
	ibft_read(r, has_disk, &w);
	for (size_t i = 0; i < w.len; i++) {
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\n",
			       w.texts[i]);
	}
	warnings_done(&w);
	return text;
}

static void test_warnings(const struct sysroot *r)
{
	static const char *const target[][2] = {
		{"flags", "3"}, {"target-name", IQN}, {"ip-addr", "10.0.0.9"}, {NULL, NULL}};
	static const char *const session[][2] = {
		{"targetname", IQN}, {"state", "FAILED"}, {NULL, NULL}};

	is_str(warned(r, false), "", "no table, no warning");
	put("sys/firmware/acpi/tables/iBFT", "iBFT");
	like(warned(r, false), "which is not listed: the kernel does not show that table",
	     "one that the kernel does not show");
	is_str(warned(r, true), "", "and there is an iSCSI disk: a card's own");
	put_in("firmware/ibft/target0", target);
	put("sys/firmware/ibft/target1/flags", "0");
	like(warned(r, true),
	     "the iSCSI disk " IQN " at 10.0.0.9, from which this machine starts .iBFT., is not "
	     "listed: nobody here has logged in to it yet",
	     "one that nobody is logged in to, although there is another iSCSI disk");
	ok(!strchr(strchr(warned(r, true), '\n') + 1, '\n'), "the target without flags is none");
	put("run/hoist/iscsi/target0.why", "the target\x1b[2J refuses");
	like(warned(r, true), "is not listed: the target.*refuses\n$", "with what was found out");
	ok(!strchr(warned(r, true), '\x1b'), "without what would move the cursor");
	put_in("class/iscsi_session/session1", session);
	like(warned(r, true), "the connection to the iSCSI disk " IQN " at 10.0.0.9.* is broken",
	     "a connection that is broken");
	put("sys/class/iscsi_session/session1/state", "LOGGED_IN");
	is_str(warned(r, true), "", "one that is logged in");
	put_in("class/iscsi_session/session2", session);
	is_str(warned(r, true), "", "and what is left of an earlier session does not count");
	put("sys/class/iscsi_session/session1/targetname", IQN "2");
	like(warned(r, true), "is broken", "nor a session with another target");
}

/* Not iBFT's: but the live image tells of it in the same way. */
static void test_unsettled(const struct sysroot *r)
{
	struct warnings w = {0};

	ok(!unsettled_read(r, &w) && w.len == 0, "hardware is being looked for");
	put("run/hoist/unsettled", "drivers have been busy");
	ok(unsettled_read(r, &w) && w.len == 1 && strcmp(w.texts[0], "drivers have been busy") == 0,
	   "it takes too long, which is a warning");
	put("run/hoist/settled", "");
	ok(!unsettled_read(r, &w) && w.len == 1, "until it is over");
	warnings_done(&w);
}

/* ---- the network */

static char bad_lines[512];

static void note_bad(void *ctx, const char *line)
{
	(void)ctx;
	(void)snprintf(bad_lines, sizeof(bad_lines), "%s", line);
}

/* What `cmdline` and the table come to, as netconf_print() shows it. */
static const char *planned(const char *cmdline)
{
	static char text[2048];
	CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
	struct sources s = {.cmdline = cmdline, .sysroot = dir};
	struct err err = {0};
	FILE *f;

	bad_lines[0] = '\0';
	if (!n || sources_load(&s, n, note_bad, NULL, &err) < 0)
		return err.msg[0] ? "error" : "memory";
	f = fmemopen(text, sizeof(text), "w");
	netconf_print(n, f);
	(void)fclose(f);
	return text;
}

static void test_network(void)
{
	static const char *const card[][2] = {{"flags", "3"},
					      {"mac", "52:54:00:12:34:56"},
					      {"ip-addr", "10.0.0.5"},
					      {"subnet-mask", "255.255.255.0"},
					      {"prefix-len", "24"},
					      {"gateway", "10.0.0.1"},
					      {"primary-dns", "10.0.0.2"},
					      {"secondary-dns", "0.0.0.0"},
					      {"origin", "0"},
					      {"vlan", "0"},
					      {NULL, NULL}};
	const char *nothing = planned("quiet");
	char first[512];

	(void)snprintf(first, sizeof(first), "%s", nothing);
	put_in("firmware/ibft/ethernet0", card);
	like(planned("quiet"), "10\\.0\\.0\\.5/24.*10\\.0\\.0\\.1", "a fixed address");
	like(planned("quiet"), "52:?54:?00:?12:?34:?56|52-54-00-12-34-56",
	     "of the card that is meant");
	like(planned("quiet"), "10\\.0\\.0\\.2", "and the name server");
	like(planned("quiet"), "dhcp|DHCP", "DHCP on the others");
	ok(!strstr(planned("quiet ip=eth1:dhcp"), "10.0.0.5"),
	   "a line of the network counts alone");
	put("sys/firmware/ibft/ethernet0/vlan", "5");
	like(planned(""), "vlan5", "in a VLAN");
	put("sys/firmware/ibft/ethernet0/origin", "3");
	like(planned(""), "vlan5", "DHCP in a VLAN");
	ok(!strstr(planned(""), "10.0.0.5"), "without the address");
	put("sys/firmware/ibft/ethernet0/vlan", "0");
	is_str(planned(""), first, "DHCP on the card: as without a table");
	put("sys/firmware/ibft/ethernet0/origin", "0");
	put("sys/firmware/ibft/ethernet0/dhcp", "10.0.0.1");
	is_str(planned(""), first, "or the address of the server says that it was DHCP");
	forget("sys/firmware/ibft/ethernet0/dhcp");
	put("sys/firmware/ibft/ethernet0/flags", "0");
	is_str(planned(""), first, "a card without flags is none");
	put("sys/firmware/ibft/ethernet0/flags", "1");
	put("sys/firmware/ibft/ethernet0/mac", "x; reboot");
	ok(!strstr(planned(""), "10.0.0.5") && bad_lines[0], "a card that is none is refused");
	put("sys/firmware/ibft/ethernet0/mac", "52:54:00:12:34:56");
	put("sys/firmware/ibft/ethernet0/prefix-len", "77");
	ok(!strstr(planned(""), "10.0.0.5") && bad_lines[0], "and a mask that is none");
	put("sys/firmware/ibft/ethernet0/ip-addr", "fd00:0000:0000:0000:0000:0000:0000:0005");
	put("sys/firmware/ibft/ethernet0/prefix-len", "64");
	put("sys/firmware/ibft/ethernet0/gateway", "fd00::1");
	like(planned(""), "fd00::5/64", "IPv6");
}

int main(void)
{
	CLEANUP(sysroot_done) struct sysroot r = {.fd = -1};
	struct err err = {0};

	if (!mkdtemp(dir))
		abort();
	put("sys/block/none", "");
	if (sysroot_open(dir, &r, &err) < 0)
		abort();
	test_warnings(&r);
	test_unsettled(&r);
	test_network();
	tree_remove(dir);
	return done();
}
