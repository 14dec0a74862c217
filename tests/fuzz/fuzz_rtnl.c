/* What the kernel answers about its network: links, in whose names and kinds stand words of drivers and of those who make interfaces, and acknowledgements with words in them.
 *
 * The input: what is asked (1), then what recv answers.  Requests have the number 1. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/network/rtnl.h"
#include "common/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_recv.h"

ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr,
	       socklen_t addr_len)
{
	(void)fd;
	(void)buf;
	(void)flags;
	(void)addr;
	(void)addr_len;
	return (ssize_t)n;
}

static void check_links(const struct rtnl_link *links, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!memchr(links[i].name, '\0', sizeof(links[i].name)) ||
		    !memchr(links[i].kind, '\0', sizeof(links[i].kind)))
			abort();
	}
}

static int change(struct rtnl *r, uint8_t what, struct err *err)
{
	static const struct netconf_address address = {.family = AF_INET, .prefix = 24}, none;
	static const struct rtnl_route route = {.index = 2};
	static const uint8_t mac[NETCONF_MAC_SIZE] = {2};

	switch (what % 9) {
	case 0:
		return rtnl_set_up(r, 2, true, err);
	case 1:
		return rtnl_set_mtu(r, 2, 1500, err);
	case 2:
		return rtnl_set_mac(r, 2, mac, err);
	case 3:
		return rtnl_set_name(r, 2, "eth0", err);
	case 4:
		return rtnl_add_vlan(r, "eth0.5", 2, 5, err);
	case 5:
		return rtnl_add_bond(r, "bond0", err);
	case 6:
		return rtnl_delete_link(r, 2, err);
	case 7:
		return rtnl_address(r, true, 2, &address, &none, err);
	default:
		return rtnl_route(r, true, &route, err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtnl r = {.fd = -1, .events = -1};
	CLEANUP_FREE struct rtnl_link *links = NULL;
	struct err err = {0};
	size_t len = 0;
	uint8_t what;
	int result;

	reader_init(&answers, data, size);
	what = reader_u8(&answers);
	if (what & 0x80)
		result = change(&r, what & 0x7f, &err);
	else
		result = rtnl_links(&r, &links, &len, &err);
	if (result > 0 || (result < 0 && !err.msg[0]))
		abort();
	check_links(links, len);
	return 0;
}
