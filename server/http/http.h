/* http.h - the HTTPS service, and the plain one for boot loaders: one thread a connection (libmicrohttpd with GnuTLS).
 *
 * Before a byte of a body is read its route, who asks and its length are checked, and memory for it is set aside (memory.h). */
#ifndef SERVER_HTTP_HTTP_H
#define SERVER_HTTP_HTTP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "server/http/call.h"
#include "server/http/route.h"
#include "server/tls.h"

struct http_server;

struct http_config {
	const struct identity *identity; /* outlives the server; NULL: without TLS */
	unsigned connections_max;	 /* per listening address */
	unsigned connections_per_peer;
	unsigned inactivity_s;
	unsigned
		body_s; /* a body may take so long, and a second more for each HTTP_BODY_RATE bytes */
#define HTTP_BODY_RATE 4096u
	uint64_t
		memory_max; /* bytes of all bodies at one time, requests' and answers'; as much again for parsed JSON */

	const struct route *routes;
	size_t routes_len;
	void *app; /* becomes call->app */
	/* Who bears `secret` (NUL-terminated), and may he?  Asked with the headers, and once more when a body has come.  0 with c->machine or c->caller filled; API_UNAUTHORIZED, API_FORBIDDEN.
	 * Any thread. */
	int (*authorize)(struct call *c, const char *secret, struct err *err);
	/* A handler has answered. */
	void (*answered)(struct call *c);
};

/* Serve on the listening sockets `fds`, which then belong to the server (also on failure). */
int http_server_start(const struct http_config *config, const int *take_fds, size_t fds_len,
		      struct http_server **ret, struct err *err) MUST_CHECK;
/* Ends all connections and waits for their threads; handlers that wait must have been woken. */
void http_server_stop(struct http_server *s);

/* Set `bytes` aside for an answer; waits a while for others to finish.  API_BUSY: there is no room.  Given back when the answer has been sent. */
int call_reserve(struct call *c, uint64_t bytes, struct err *err) MUST_CHECK;
/* Give it back.  For those who call handlers themselves; here a request does it when it ends. */
void call_release(struct call *c);
#endif
