/* The path of a request.  libmicrohttpd calls request_access():
 *  1. with the headers: begin() finds the route, the caller and the length, and either takes memory for the body or settles the error;
 *  2. with pieces of the body: they are gathered, or, when an error is settled, dropped.  To answer before the body was read would
 *     mean to close the connection on a peer that is still sending: it would see a reset and never the reason.  Only bodies that are
 *     longer than any we take, or of unknown length, are not waited for; nor those of peers that asked (Expect: 100-continue);
 *  3. with the end: finish() looks at the caller once more, since that may have been long ago, runs the handler and queues its answer.
 *
 * A handler may take longer than the inactivity time-out (sealing a large index does).  libmicrohttpd would then drop the connection
 * instead of sending the answer, so the time-out is lifted while a handler runs. */
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"
#include "server/access/address.h"
#include "server/http/answer.h"
#include "server/http/private.h"

#define SECRET_MAX     128u
#define DRAIN_MAX      PACK_SIZE_MAX
#define RESERVE_WAIT_S 20
/* A parsed document of the worst kind ([[],[],...) takes so many times its text, and so much for each value that it may have. */
#define JSON_BLOWUP	40u
#define JSON_PARSED_MAX (JSON_VALUES_MAX * 136ull + JSON_BIG_MAX)
/* What malloc keeps of freed memory, in as many heaps as threads ever met, goes back to the system after requests that took so much: one that did
 * at once, many together at most so often.  Else a busy server grows for hours to several times what it uses. */
#define TRIM_SIZE (64u << 20)
#define TRIM_S	  60

/* ---- memory */

/* The lock is held. */
static bool is_trim_due(struct http_server *s, uint64_t freed)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	s->freed_bytes += freed;
	if (freed < TRIM_SIZE && (s->freed_bytes < TRIM_SIZE || now.tv_sec - s->trimmed < TRIM_S))
		return false;
	s->freed_bytes = 0;
	s->trimmed = now.tv_sec;
	return true;
}

void call_release(struct call *c)
{
	struct http_server *s = c->http;
	uint64_t freed = memory_give(s->memory, &c->share);
	bool trim;

	(void)pthread_mutex_lock(&s->lock);
	trim = is_trim_due(s, freed);
	(void)pthread_mutex_unlock(&s->lock);
	if (trim)
		(void)malloc_trim(0);
}

int call_reserve(struct call *c, uint64_t bytes, struct err *err)
{
	if (memory_take(c->http->memory, &c->share, MEMORY_BODIES, bytes, RESERVE_WAIT_S))
		return 0;
	return err_set(err, API_BUSY, "The server has no memory left for this answer; ask again.");
}

static void count_request(struct http_server *s, int change)
{
	(void)pthread_mutex_lock(&s->lock);
	s->requests += (unsigned)change;
	(void)pthread_cond_broadcast(&s->done);
	(void)pthread_mutex_unlock(&s->lock);
}

/* ---- who and what */

static struct connection *connection_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void peer_text(struct MHD_Connection *connection, char *ret)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *sa = info ? info->client_addr : NULL;
	socklen_t size = sizeof(struct sockaddr_in);
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	(void)snprintf(ret, PEER_TEXT_SIZE, "unknown");
	if (!sa)
		return;
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;

		size = sizeof(*v6);
		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
			memcpy(&v4.sin_addr, &v6->sin6_addr.s6_addr[12], 4);
			sa = (const struct sockaddr *)(const void *)&v4;
			size = sizeof(v4);
		}
	}
	(void)getnameinfo(sa, size, ret, PEER_TEXT_SIZE, NULL, 0, NI_NUMERICHOST);
}

static const char *header(struct call *c, const char *name)
{
	return MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, name);
}

/* 1 and the length, 0 without one, -1 when it is no number. */
static int content_length(struct call *c, uint64_t *ret)
{
	const char *text = header(c, MHD_HTTP_HEADER_CONTENT_LENGTH);
	uint64_t v = 0;

	if (!text)
		return 0;
	for (const char *p = text; *p || p == text; p++) {
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -1;
	}
	*ret = v;
	return 1;
}

static bool check_route(struct http_server *s, struct call *c, const char *method, const char *url)
{
	switch (route_find(s->config.routes, s->config.routes_len, http_method_from_name(method),
			   url, &c->match)) {
	case ROUTE_FOUND:
		return true;
	case ROUTE_OTHER_METHOD:
		call_fail(c, API_METHOD, "This path has no method %.16s.", method);
		return false;
	case ROUTE_NOT_FOUND:
	default:
		call_fail(c, API_NOT_FOUND, "There is nothing at this path.");
		return false;
	}
}

/* Whose the connection is, and the memory that the request takes: of a machine all sessions, of an operator all sessions and tokens together. */
static bool show_who(struct http_server *s, struct call *c)
{
	bool is_agent = c->match.route->auth == AUTH_AGENT;
	const char *text = is_agent ? c->machine : c->caller.name;
	struct id who = id_of(text, strlen(text));

	if (c->work_us == 0) /* later others may be looking at it */
		c->share.who = who;
	if (connection_known(s->connections, connection_of(c->connection), &who, is_agent))
		return true;
	call_fail(c, API_BUSY, "There are too many connections; ask again.");
	return false;
}

static bool check_caller(struct http_server *s, struct call *c)
{
	static const char scheme[] = "Bearer ";
	const char *text = header(c, MHD_HTTP_HEADER_AUTHORIZATION);
	struct err err;

	if (c->match.route->auth == AUTH_ANYONE) {
		c->share.is_stranger = true;
		return true;
	}
	if (!text || strncasecmp(text, scheme, sizeof(scheme) - 1) != 0 ||
	    strlen(text) > sizeof(scheme) - 1 + SECRET_MAX) {
		call_fail(c, API_UNAUTHORIZED,
			  "This needs the header Authorization: Bearer SECRET.");
		return false;
	}
	if (s->config.authorize(c, text + sizeof(scheme) - 1, &err) < 0) {
		call_fail_err(c, &err);
		return false;
	}
	return show_who(s, c);
}

/* Length against the route's limit, then the memory. */
static bool check_body(struct call *c, int has_length, uint64_t length)
{
	const struct route *r = c->match.route;

	if (r->body == BODY_NONE) {
		if (length == 0)
			return true;
		call_fail(c, API_BAD_REQUEST, "This request takes no body.");
		return false;
	}
	if (has_length == 0) {
		call_fail(c, API_LENGTH_REQUIRED, "The header Content-Length is missing.");
		return false;
	}
	if (length > r->body_max) {
		call_fail(c, API_TOO_LARGE, "A body of at most %u bytes is taken here, not %llu.",
			  r->body_max, (unsigned long long)length);
		return false;
	}
	if (length > MEMORY_SMALL &&
	    !memory_take(c->http->memory, &c->share, MEMORY_BODIES, length, 0)) {
		call_fail(c, API_BUSY, "The server is busy with other bodies; ask again.");
		return false;
	}
	c->buffer = malloc(length + 1);
	if (!c->buffer) {
		call_fail(c, API_BUSY, "The server is out of memory; ask again.");
		return false;
	}
	c->buffer_size = length;
	memory_moves(c->http->memory, &c->share, true);
	return true;
}

/* Inactivity alone would let one byte a minute keep a request open for ever. */
static void set_deadline(struct http_server *s, struct call *c, uint64_t bytes)
{
	uint64_t allowed_s = s->config.body_s + bytes / HTTP_BODY_RATE;

	connection_until(s->connections, connection_of(c->connection),
			 call_now_us() / 1000 + allowed_s * 1000);
}

static enum MHD_Result send_answer(struct http_server *s, struct call *c)
{
	enum MHD_Result r = answer_send(c);

	set_deadline(s, c, c->answer_size);
	return r;
}

/* The headers are there.  An error is settled in the call; whether it is sent at once depends on what follows. */
static enum MHD_Result begin(struct http_server *s, struct call *c, const char *method,
			     const char *url)
{
	uint64_t length = 0;
	int has_length = content_length(c, &length);

	set_deadline(s, c, length);
	if (has_length < 0) {
		call_fail(c, API_BAD_REQUEST, "The header Content-Length is not a number.");
		return send_answer(s, c);
	}
	if (header(c, MHD_HTTP_HEADER_TRANSFER_ENCODING)) {
		call_fail(
			c, API_LENGTH_REQUIRED,
			"Bodies are taken with Content-Length only, not in pieces of unknown length.");
		return send_answer(s, c);
	}
	if (check_route(s, c, method, url) && check_caller(s, c) &&
	    check_body(c, has_length, length))
		return MHD_YES;
	c->draining = true;
	if (length > DRAIN_MAX || (length > 0 && header(c, MHD_HTTP_HEADER_EXPECT)))
		return send_answer(s, c);
	return MHD_YES;
}

static void take_body(struct call *c, const char *data, size_t size)
{
	if (c->draining)
		return;
	if (size > c->buffer_size - c->received) { /* libmicrohttpd counts; not believed */
		call_fail(c, API_BAD_REQUEST, "The body is longer than its Content-Length.");
		c->draining = true;
		return;
	}
	memcpy(c->buffer + c->received, data, size);
	c->received += size;
}

static uint64_t parsed_size(uint64_t text_size)
{
	uint64_t size = text_size * JSON_BLOWUP;

	return size < JSON_PARSED_MAX ? size : JSON_PARSED_MAX;
}

static bool parse_body(struct call *c)
{
	struct err err;

	if (c->match.route->body == BODY_NONE)
		return true;
	c->buffer[c->received] = '\0';
	c->body = c->buffer;
	c->body_size = c->received;
	if (c->match.route->body != BODY_JSON)
		return true;
	if (c->body_size > MEMORY_SMALL &&
	    !memory_take(c->http->memory, &c->share, MEMORY_DOCUMENTS, parsed_size(c->body_size),
			 RESERVE_WAIT_S)) {
		call_fail(c, API_BUSY, "The server is busy with other documents; ask again.");
		return false;
	}
	if (json_parse((const char *)c->body, c->body_size, c->match.route->body_max, &c->json,
		       &err) == 0)
		return true;
	call_fail_err(c, &err);
	return false;
}

/* What he showed with the headers may have ended, or his role been lowered, while the body was on its way. */
static bool check_again(struct http_server *s, struct call *c)
{
	const struct route *r = c->match.route;

	return r->body == BODY_NONE || r->auth == AUTH_ANYONE || check_caller(s, c);
}

static enum MHD_Result finish(struct http_server *s, struct call *c)
{
	c->work_us = call_now_us();
	if (c->draining)
		return send_answer(s, c);
	if (c->received != c->buffer_size)
		return MHD_NO;
	(void)MHD_set_connection_option(c->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
	memory_moves(s->memory, &c->share, false);
	connection_until(s->connections, connection_of(c->connection), 0);
	if (parse_body(c) && check_again(s, c)) {
		c->match.route->handle(c);
		if (c->status == 0)
			call_fail(c, API_INTERNAL, "The server has no answer to this.");
		s->config.answered(c);
	}
	(void)MHD_set_connection_option(c->connection, MHD_CONNECTION_OPTION_TIMEOUT,
					s->config.inactivity_s);
	memory_moves(s->memory, &c->share, true);
	return send_answer(s, c);
}

static void call_free(struct call *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->parts_len; i++)
		free(c->parts[i].data);
	free(c->parts);
	if (c->stream.free)
		c->stream.free(c->stream.ctx);
	json_decref(c->answer_json);
	json_decref(c->json);
	free(c->buffer);
	call_release(c);
	count_request(c->http, -1);
	free(c);
}

static struct call *call_new(struct http_server *s, struct MHD_Connection *connection,
			     const char *method)
{
	struct call *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	count_request(s, 1);
	connection_asks(s->connections, connection_of(connection), true);
	c->http = s;
	c->app = s->config.app;
	c->connection = connection;
	c->started_ms = call_now_us() / 1000;
	(void)snprintf(c->method, sizeof(c->method), "%s", method);
	peer_text(connection, c->peer);
	address_key(c->peer, c->share.address);
	c->share.connection = connection_of(connection);
	return c;
}

enum MHD_Result request_access(void *cls, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *data,
			       size_t *data_size, void **con_cls)
{
	struct http_server *s = cls;
	struct call *c = *con_cls;

	(void)version;
	if (!c) {
		*con_cls = c = call_new(s, connection, method);
		return c ? begin(s, c, method, url) : MHD_NO;
	}
	if (*data_size > 0) {
		take_body(c, data, *data_size);
		*data_size = 0;
		return MHD_YES;
	}
	return finish(s, c);
}

void request_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
		       enum MHD_RequestTerminationCode code)
{
	struct http_server *s = cls;
	struct call *c = *con_cls;

	if (!c)
		return;
	connection_asks(s->connections, connection_of(connection), false);
	connection_until(s->connections, connection_of(connection), 0);
	/* the pattern, not the path: no secret and nothing a peer could forge is in it */
	log_event(LOG_DEBUG, "request", "method=%s path=%s status=%u peer=%s ms=%llu%s", c->method,
		  c->match.route ? c->match.route->path : "-", c->status, c->peer,
		  (unsigned long long)(call_now_us() / 1000 - c->started_ms),
		  code == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : " cut=yes");
	call_free(c);
	*con_cls = NULL;
}
