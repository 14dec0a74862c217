/* The path of a request.  libmicrohttpd calls handle_access():
 *  1. with the headers: begin() finds the route, the caller and the length, and either takes memory for the body or settles the error;
 *  2. with pieces of the body: they are gathered, or, when an error is settled, dropped.  To answer before the body was read would
 *     mean to close the connection on a peer that is still sending: it would see a reset and never the reason.  Only bodies that are
 *     longer than any we take, or of unknown length, are not waited for; nor those of peers that asked (Expect: 100-continue);
 *  3. with the end: finish() looks at the caller once more, since that may have been long ago, runs the handler and queues its answer.
 *
 * A handler may take longer than the inactivity time-out (sealing a large index does).  libmicrohttpd would then drop the connection
 * instead of sending the answer, so the time-out is lifted while a handler runs.
 *
 * Paths and queries are decoded here, not by libmicrohttpd, which would cut them at an escaped NUL. */
#include "server/http/http.h"

#include <errno.h>
#include <malloc.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"
#include "server/access/address.h"
#include "server/http/answer.h"
#include "server/http/connections.h"

#define MEMORY_LIMIT   (256u << 10) /* of a connection: 16 TLS records a read */
#define STACK_SIZE     (512u << 10)
#define SECRET_MAX     128u
#define DRAIN_MAX      PACK_SIZE_MAX
#define RESERVE_WAIT_S 20
#define STOP_WAIT_S    3
/* A parsed document of the worst kind ([[],[],...) takes so many times its text, and so much for each value that it may have. */
#define JSON_BLOWUP	40u
#define JSON_PARSED_MAX (JSON_VALUES_MAX * 136ull + JSON_BIG_MAX)
/* What malloc keeps of freed memory, in as many heaps as threads ever met, goes back to the system after requests that took so much: one that did
 * at once, many together at most so often.  Else a busy server grows for hours to several times what it uses. */
#define TRIM_SIZE   (64u << 20)
#define TRIM_S	    60
#define DAEMONS_MAX 16u

struct http_server {
	struct http_config config;
	struct MHD_Daemon *daemons[DAEMONS_MAX];
	size_t daemons_len;
	struct connections *connections;
	struct memory *memory;
	pthread_t sweeper;
	bool has_sweeper;

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t done, stop;
	bool stopping;
	unsigned requests;    /* under way */
	uint64_t freed_bytes; /* since the last trim */
	time_t trimmed;	      /* when that was, of CLOCK_MONOTONIC */
};

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

/* ---- connections */

static struct connection *connection_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void handle_connection(void *cls, struct MHD_Connection *connection, void **context,
			      enum MHD_ConnectionNotificationCode code)
{
	struct http_server *s = cls;
	const union MHD_ConnectionInfo *fd, *peer;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		connection_closed(s->connections, *context);
		*context = NULL;
		return;
	}
	fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	peer = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (fd && peer)
		*context = connection_opened(s->connections, peer->client_addr, fd->connect_fd);
}

/* ---- one request */

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

static enum MHD_Result handle_access(void *cls, struct MHD_Connection *connection, const char *url,
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

static void handle_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
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

static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *text)
{
	(void)cls;
	(void)connection;
	return strlen(text);
}

static void __attribute__((format(printf, 2, 0)))
log_library(void *cls, const char *fmt, va_list ap)
{
	char text[256];
	size_t n;

	(void)cls;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	n = strlen(text);
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	log_event(LOG_DEBUG, "http", "text=\"%s\"", text);
}

static struct MHD_Daemon *start_daemon(struct http_server *s, int fd)
{
	const struct identity *id = s->config.identity;
	const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
	const struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_KEY, 0, id ? id->key_pem : NULL},
		{MHD_OPTION_HTTPS_MEM_CERT, 0, id ? id->cert_pem : NULL},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)TLS_PRIORITIES},
		{MHD_OPTION_END, 0, NULL},
	};
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
			 MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC |
			 (id ? (unsigned)MHD_USE_TLS : 0);

	return MHD_start_daemon(
		flags, 0, NULL, NULL, handle_access, s, MHD_OPTION_EXTERNAL_LOGGER, log_library,
		NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_ARRAY, id ? tls : plain,
		MHD_OPTION_CONNECTION_LIMIT, s->config.connections_max,
		MHD_OPTION_NOTIFY_CONNECTION, handle_connection, s, MHD_OPTION_CONNECTION_TIMEOUT,
		s->config.inactivity_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_LIMIT,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE, MHD_OPTION_NOTIFY_COMPLETED,
		handle_completed, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

static void server_free(struct http_server *s)
{
	memory_free(s->memory);
	connections_free(s->connections);
	(void)pthread_cond_destroy(&s->done);
	(void)pthread_cond_destroy(&s->stop);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct http_server *server_new(const struct http_config *config)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->config = *config;
	(void)pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->done);
	cond_init(&s->stop);
	s->connections = connections_new(config->connections_max, config->connections_per_peer);
	s->memory = s->connections ? memory_new(config->memory_max, s->connections) : NULL;
	if (s->memory)
		return s;
	server_free(s);
	return NULL;
}

/* Ends, once a second, what takes too long. */
static void *sweep(void *arg)
{
	struct http_server *s = arg;
	struct timespec until;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		(void)pthread_cond_timedwait(&s->stop, &s->lock, &until);
		(void)pthread_mutex_unlock(&s->lock);
		connections_sweep(s->connections, call_now_us() / 1000);
		(void)pthread_mutex_lock(&s->lock);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void stop_sweeper(struct http_server *s)
{
	if (!s->has_sweeper)
		return;
	(void)pthread_mutex_lock(&s->lock);
	s->stopping = true;
	(void)pthread_cond_signal(&s->stop);
	(void)pthread_mutex_unlock(&s->lock);
	(void)pthread_join(s->sweeper, NULL);
}

int http_server_start(const struct http_config *config, const int *take_fds, size_t fds_len,
		      struct http_server **ret, struct err *err)
{
	struct http_server *s = fds_len <= DAEMONS_MAX ? server_new(config) : NULL;
	size_t i;

	for (i = 0; s && i < fds_len; i++) {
		s->daemons[i] = start_daemon(s, take_fds[i]);
		if (!s->daemons[i])
			break;
		s->daemons_len++;
	}
	if (s && i == fds_len && fds_len > 0)
		s->has_sweeper = pthread_create(&s->sweeper, NULL, sweep, s) == 0;
	if (s && i == fds_len && (s->has_sweeper || fds_len == 0)) {
		*ret = s;
		return 0;
	}
	for (; i < fds_len; i++)
		(void)close(take_fds[i]);
	http_server_stop(s);
	return err_set(err, -EIO, "start serving HTTPS: libmicrohttpd refused%s",
		       fds_len > DAEMONS_MAX ? " (too many addresses)" : "");
}

/* Take no more connections, and let those that are being answered have their answers: MHD_stop_daemon would cut them. */
static void quiesce(struct http_server *s)
{
	struct timespec until;

	for (size_t i = 0; i < s->daemons_len; i++) {
		int fd = MHD_quiesce_daemon(s->daemons[i]);

		if (fd >= 0)
			(void)close(fd);
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_WAIT_S;
	(void)pthread_mutex_lock(&s->lock);
	while (s->requests > 0 && pthread_cond_timedwait(&s->done, &s->lock, &until) == 0)
		;
	(void)pthread_mutex_unlock(&s->lock);
}

void http_server_stop(struct http_server *s)
{
	if (!s)
		return;
	quiesce(s);
	for (size_t i = 0; i < s->daemons_len; i++)
		MHD_stop_daemon(s->daemons[i]);
	stop_sweeper(s);
	server_free(s);
}
