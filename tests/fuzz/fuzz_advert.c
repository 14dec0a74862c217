/* Name servers that a router tells of: the kernel hands its options on as they came from the wire.  Whatever comes, each interface has at most so many, all of
 * them usable and none twice.
 *
 * The input: what recv answers on the socket of events. */
#include <netinet/in.h>
#include <stdlib.h>

#include "agent/network/engine.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_recv.h"

#define INDEX 7
#define PORTS 2

static void check(const struct port *p)
{
	if (p->servers_len > NAME_SERVERS_MAX)
		abort();
	for (size_t i = 0; i < p->servers_len; i++) {
		const struct in6_addr *a = &p->servers[i].address;

		if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_MULTICAST(a) ||
		    IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_V4MAPPED(a))
			abort();
		for (size_t k = 0; k < i; k++) {
			if (memcmp(a, &p->servers[k].address, sizeof(*a)) == 0)
				abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct engine e;
	const struct rtnl r = {.fd = -1, .events = -1};

	for (int i = 0; i < PORTS; i++)
		e.ports[i] = (struct port){.index = INDEX + i, .name = "e0", .has_role = true};
	reader_init(&answers, data, size);
	do {
		rtnl_drain(&r, engine_take_advert, &e);
		recv_done();
		for (int i = 0; i < PORTS; i++)
			check(&e.ports[i]);
	} while (answers.left > 0 && !answers.bad);
	return 0;
}
