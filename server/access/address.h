/* address.h - an address as a key for limits. */
#ifndef SERVER_ACCESS_ADDRESS_H
#define SERVER_ACCESS_ADDRESS_H
#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

/* IPv4 as it is; of IPv6 the network of 64 bits, which is what one host has.  Zeros for what is no address. */
static inline void address_key(const char *text, uint8_t ret[static 16])
{
	struct in_addr v4;
	struct in6_addr v6;
	char host[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "%"); /* fe80::1%eth0 */

	memset(ret, 0, 16);
	if (n >= sizeof(host))
		return;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, &v4) == 1) {
		ret[10] = ret[11] = 0xff;
		memcpy(ret + 12, &v4, 4);
	} else if (inet_pton(AF_INET6, host, &v6) == 1) {
		memcpy(ret, &v6, 8);
		ret[15] = 1; /* not that of nobody */
	}
}
#endif
