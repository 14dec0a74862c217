/* listen.h - addresses to listen at. */
#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/err.h"

#define LISTEN_TEXT_SIZE 64
#define LISTEN_MAX	 16u /* addresses of one server */

struct listen_addr {
	struct sockaddr_storage sa;
	socklen_t sa_size;
};

/* "ADDR", "ADDR:PORT", "[IPv6]", "[IPv6]:PORT", ":PORT" (all addresses); numeric, port 0 any free
 * one.  -EINVAL with the sentence. */
int listen_parse(const char *text, uint16_t default_port, struct listen_addr *ret,
		 struct err *err) MUST_CHECK;
/* Settings' check of --listen. */
int listen_check(const char *text, struct err *err);
/* A listening TCP socket.  [::] also takes IPv4, where the system has IPv6, and is 0.0.0.0 where it has not. */
int listen_open(const struct listen_addr *a, int *ret_fd, struct err *err) MUST_CHECK;
/* What a socket is bound to: "https://127.0.0.1:4647" with `scheme` "https", and the port. */
int listen_describe(int fd, const char *scheme, char ret[static LISTEN_TEXT_SIZE],
		    uint16_t *ret_port, struct err *err) MUST_CHECK;
/* What a socket is bound to. */
int listen_bound(int fd, struct listen_addr *ret, struct err *err) MUST_CHECK;
/* Of the addresses at which this server listens, that by which one gets through who has sent something to `local` (its port is ignored; an unspecified
 * address: not known): the same, else all of the family, else another one of the family; NULL: none of this family. */
const struct listen_addr *listen_choose(const struct listen_addr *bound, size_t len,
					const struct sockaddr_storage *local);
/* "https://192.0.2.7:4647": where a machine reaches a server that listens at `bound`, as told by one that reached it at `local`.  -ENOENT: not known (by
 * loopback, by a link-local address, which say nothing elsewhere). */
int listen_url(const struct listen_addr *bound, size_t len, const struct sockaddr_storage *local,
	       char ret[static LISTEN_TEXT_SIZE]) MUST_CHECK;
/* The address alone, 16 bytes; IPv4 as IPv4-mapped IPv6. */
void listen_address(const struct sockaddr_storage *sa, uint8_t ret[static 16]);
bool listen_is_any(const struct listen_addr *a);
uint16_t listen_port(const struct listen_addr *a);
#endif
