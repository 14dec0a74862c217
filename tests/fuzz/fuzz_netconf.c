/* Lines key=value of the network's settings, as a kernel line or a medium has them: one by one, and as the engine is given them. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/network/sources.h"
#include "common/cleanup.h"
#include "common/netconf.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_file.h"

static bool is_same(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct netconf)) == 0;
}

static void check_name(const char *name)
{
	if (memchr(name, '\0', IFNAMSIZ) == NULL || strchr(name, '/') || strcmp(name, "..") == 0)
		abort();
}

/* What the engine relies on. */
static void check_plan(const struct netconf *n)
{
	for (size_t i = 0; i < n->ips_len; i++) {
		const struct netconf_ip *ip = &n->ips[i];

		check_name(ip->port.name);
		if (ip->is_any && netconf_port_is_set(&ip->port))
			abort();
		if (ip->client.prefix > (ip->client.family == AF_INET6 ? 128 : 32) ||
		    ip->mtu > 65535 || (ip->client.family && ip->method != NETCONF_NONE))
			abort();
	}
	for (size_t i = 0; i < n->vlans_len; i++) {
		check_name(n->vlans[i].name);
		if (!n->vlans[i].name[0] || n->vlans[i].id < 1 || n->vlans[i].id > 4094)
			abort();
	}
	for (size_t i = 0; i < n->bonds_len; i++) {
		check_name(n->bonds[i].name);
		if (n->bonds[i].slaves_len < 1 || n->bonds[i].slaves_len > NETCONF_SLAVES_MAX ||
		    strchr(n->bonds[i].options, '/'))
			abort();
	}
}

static void on_bad(void *ctx, const char *line)
{
	(void)ctx;
	if (line[0] == '\0')
		abort();
}

static void check_sources(const char *text)
{
	const struct sources sources[] = {{.cmdline = text}, {.settings = fuzz_file_path}};

	fuzz_file_new(0);
	fuzz_file_put(text, strlen(text), 0);
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
		struct err err = {0};

		if (!n)
			abort();
		if (sources_load(&sources[i], n, on_bad, NULL, &err) < 0 && !err.msg[0])
			abort();
		check_plan(n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
	CLEANUP_FREE struct netconf *before = calloc(1, sizeof(*n));
	CLEANUP_FREE char *text = strndup((const char *)data, size);
	char *rest = text, *line, out[16384];
	FILE *f;

	if (!n || !before || !text)
		abort();
	check_sources(text);
	while ((line = strsep(&rest, "\n"))) {
		char *equals = strchr(line, '=');
		struct err err = {0};

		if (!equals)
			continue;
		*equals = '\0';
		memcpy(before, n, sizeof(*n));
		if (netconf_add(n, line, equals + 1, &err) < 0 &&
		    (err.msg[0] == '\0' || !is_same(before, n)))
			abort();
	}
	check_plan(n);
	f = fmemopen(out, sizeof(out), "w");
	if (f) {
		netconf_print(n, f);
		(void)fclose(f);
	}
	return 0;
}
