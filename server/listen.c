#include "server/listen.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"

#define BACKLOG 128

static int bad(const char *text, struct err *err)
{
	return err_set(
		err, -EINVAL,
		"'%.64s' is no address to listen at: like 192.0.2.1:4647, [2001:db8::1]:4647 "
		"or :4647 for all",
		text);
}

static int parse_port(const char *text, uint16_t *ret)
{
	size_t n = strlen(text);
	unsigned long v = strtoul(text, NULL, 10);

	if (n == 0 || n > 5 || strspn(text, "0123456789") != n || v > 65535)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/* Cut "host" and "port" out; `host` is without brackets. */
static int split(const char *text, char *host, size_t host_size, uint16_t *ret_port)
{
	const char *end, *port;
	size_t n;

	if (*text == '[') {
		end = strchr(++text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		port = end[1] ? end + 2 : NULL;
	} else {
		end = strrchr(text, ':');
		if (end && strchr(text, ':') != end) { /* several: IPv6 without brackets and port */
			end = NULL;
		}
		port = end ? end + 1 : NULL;
		if (!end)
			end = text + strlen(text);
	}
	n = (size_t)(end - text);
	if (n >= host_size)
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	return port ? parse_port(port, ret_port) : 0;
}

int listen_parse(const char *text, uint16_t default_port, struct listen_addr *ret, struct err *err)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	char host[INET6_ADDRSTRLEN];
	struct listen_addr a = {0};
	uint16_t port = default_port;

	if (split(text, host, sizeof(host), &port) < 0)
		return bad(text, err);
	v4.sin_port = v6.sin6_port = htons(port);
	if (!*host || inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) { /* "": in6addr_any */
		memcpy(&a.sa, &v6, sizeof(v6));
		a.sa_size = sizeof(v6);
	} else if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
		memcpy(&a.sa, &v4, sizeof(v4));
		a.sa_size = sizeof(v4);
	} else {
		return bad(text, err);
	}
	*ret = a;
	return 0;
}

int listen_check(const char *text, struct err *err)
{
	struct listen_addr a;

	return listen_parse(text, HOIST_PORT, &a, err);
}

static int bind_to(const struct listen_addr *a, int *ret_fd)
{
	CLEANUP_CLOSE int fd = -1;
	int on = 1, off = 0;

	fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (a->sa.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&a->sa, a->sa_size) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

static void describe(const struct listen_addr *a, const char *scheme, char *ret, uint16_t *ret_port)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)&a->sa;

		(void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		*ret_port = ntohs(v6->sin6_port);
		(void)snprintf(ret, LISTEN_TEXT_SIZE, "%s://[%s]:%u", scheme, host, *ret_port);
		return;
	}
	const struct sockaddr_in *v4 = (const void *)&a->sa;

	(void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
	*ret_port = ntohs(v4->sin_port);
	(void)snprintf(ret, LISTEN_TEXT_SIZE, "%s://%s:%u", scheme, host, *ret_port);
}

int listen_open(const struct listen_addr *a, int *ret_fd, struct err *err)
{
	struct sockaddr_in any4 = {.sin_family = AF_INET};
	const struct sockaddr_in6 *v6 = (const void *)&a->sa;
	struct listen_addr b = *a;
	char text[LISTEN_TEXT_SIZE];
	uint16_t port;
	int r = bind_to(a, ret_fd);

	if ((r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL) && a->sa.ss_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr)) {
		any4.sin_port = v6->sin6_port;
		memcpy(&b.sa, &any4, sizeof(any4));
		b.sa_size = sizeof(any4);
		r = bind_to(&b, ret_fd);
	}
	if (r == 0)
		return 0;
	describe(&b, "tcp", text, &port);
	errno = -r;
	return err_set(err, r, "listen at %s: %m%s", text,
		       r == -EADDRINUSE ? " (does another server run?)" : "");
}

int listen_bound(int fd, struct listen_addr *ret, struct err *err)
{
	*ret = (struct listen_addr){.sa_size = sizeof(ret->sa)};
	if (getsockname(fd, (struct sockaddr *)&ret->sa, &ret->sa_size) < 0)
		return err_set(err, -errno, "ask a socket for its address: %m");
	return 0;
}

int listen_describe(int fd, const char *scheme, char ret[static LISTEN_TEXT_SIZE],
		    uint16_t *ret_port, struct err *err)
{
	struct listen_addr a;
	int r = listen_bound(fd, &a, err);

	if (r == 0)
		describe(&a, scheme, ret, ret_port);
	return r;
}

/* ---- how one gets through */

void listen_address(const struct sockaddr_storage *sa, uint8_t ret[static 16])
{
	memset(ret, 0, 16);
	if (sa->ss_family == AF_INET) {
		ret[10] = ret[11] = 0xff;
		memcpy(ret + 12, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	} else {
		memcpy(ret, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	}
}

bool listen_is_any(const struct listen_addr *a)
{
	static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff}, any6[16];
	uint8_t address[16];

	listen_address(&a->sa, address);
	return memcmp(address, a->sa.ss_family == AF_INET ? any4 : any6, 16) == 0;
}

uint16_t listen_port(const struct listen_addr *a)
{
	/* at the same place in both families */
	return ntohs(((const struct sockaddr_in *)(const void *)&a->sa)->sin_port);
}

const struct listen_addr *listen_choose(const struct listen_addr *bound, size_t len,
					const struct sockaddr_storage *local)
{
	const struct listen_addr *any = NULL, *other = NULL;
	uint8_t want[16], have[16];

	listen_address(local, want);
	for (size_t i = 0; i < len; i++) {
		const struct listen_addr *a = &bound[i];

		listen_address(&a->sa, have);
		if (a->sa.ss_family == local->ss_family && memcmp(want, have, 16) == 0 &&
		    !listen_is_any(a))
			return a;
		/* [::] takes IPv4 as well: listen_open */
		if (listen_is_any(a) &&
		    (a->sa.ss_family == local->ss_family || a->sa.ss_family == AF_INET6)) {
			any = any ? any : a;
		} else if (a->sa.ss_family == local->ss_family) {
			other = other ? other : a;
		}
	}
	return any ? any : other;
}

int listen_url(const struct listen_addr *bound, size_t len, const struct sockaddr_storage *local,
	       char ret[static LISTEN_TEXT_SIZE])
{
	const struct listen_addr *a = listen_choose(bound, len, local);
	struct sockaddr_storage sa;
	char host[INET6_ADDRSTRLEN];

	if (!a)
		return -ENOENT;
	sa = listen_is_any(a) ? *local : a->sa;
	if (sa.ss_family == AF_INET) {
		const struct in_addr *v4 =
			&((const struct sockaddr_in *)(const void *)&sa)->sin_addr;

		if ((ntohl(v4->s_addr) >> 24) == IN_LOOPBACKNET)
			return -ENOENT;
		(void)inet_ntop(AF_INET, v4, host, sizeof(host));
		(void)snprintf(ret, LISTEN_TEXT_SIZE, "https://%s:%u", host, listen_port(a));
		return 0;
	}
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)&sa)->sin6_addr;

	if (IN6_IS_ADDR_LOOPBACK(v6) || IN6_IS_ADDR_LINKLOCAL(v6))
		return -ENOENT;
	(void)inet_ntop(AF_INET6, v6, host, sizeof(host));
	(void)snprintf(ret, LISTEN_TEXT_SIZE, "https://[%s]:%u", host, listen_port(a));
	return 0;
}
