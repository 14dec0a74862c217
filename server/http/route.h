/* route.h - which handler answers a method and a path.  Pure. */
#ifndef SERVER_HTTP_ROUTE_H
#define SERVER_HTTP_ROUTE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTE_PARAMS_MAX 2u
#define ROUTE_PARAM_SIZE 192u /* one decoded segment of a path and its NUL */

struct call;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_HEAD, HTTP_OTHER };
enum http_method http_method_from_name(const char *name);

/* Who may call; of operators, the least role. */
enum route_auth {
	AUTH_NOBODY, /* what a route has that says nothing */
	AUTH_ANYONE,
	AUTH_AGENT, /* bears a session's secret */
	AUTH_VIEWER,
	AUTH_OPERATOR,
	AUTH_ADMIN,
};

enum route_body {
	BODY_NONE,   /* there must be none */
	BODY_JSON,   /* one JSON object */
	BODY_BINARY, /* any bytes */
};

struct route {
	enum http_method method;
	enum route_auth auth;
	const char *
		path; /* "/v1/agent/jobs/{}/packs/{}"; {} stands for one segment that is not empty */
	enum route_body body;
	uint32_t body_max; /* bytes; a longer body is refused before it is read */
	void (*handle)(struct call *c);
	const char *
		action; /* what the audit log calls it; NULL: it is not recorded when it was done */
};

struct route_match {
	const struct route *route;
	char params[ROUTE_PARAMS_MAX][ROUTE_PARAM_SIZE]; /* the {} in order, percent-decoded */
};

enum route_result { ROUTE_FOUND, ROUTE_NOT_FOUND, ROUTE_OTHER_METHOD };

/* `path` as it came on the wire, without query.  A path with bad escapes, control characters or segments too long is not found. */
enum route_result route_find(const struct route *routes, size_t len, enum http_method method,
			     const char *path, struct route_match *ret);

/* Percent-decode `size` bytes at `text` into `ret` (ret_size with the NUL).  False for a bad escape, a control character (NUL among
 * them) or when it does not fit. */
bool percent_decode(const char *text, size_t size, char *ret, size_t ret_size);
#endif
