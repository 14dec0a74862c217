/* The listening sockets, each with a libmicrohttpd of its own that has a thread for each connection; and the thread that ends what takes too long.
 *
 * Paths and queries are decoded by route.c and call.c, not by libmicrohttpd, which would cut them at an escaped NUL. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cond.h"
#include "common/log.h"
#include "server/http/private.h"

#define MEMORY_LIMIT (256u << 10) /* of a connection: 16 TLS records a read */
#define STACK_SIZE   (512u << 10)
#define STOP_WAIT_S  3

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
		flags, 0, NULL, NULL, request_access, s, MHD_OPTION_EXTERNAL_LOGGER, log_library,
		NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_ARRAY, id ? tls : plain,
		MHD_OPTION_CONNECTION_LIMIT, s->config.connections_max,
		MHD_OPTION_NOTIFY_CONNECTION, handle_connection, s, MHD_OPTION_CONNECTION_TIMEOUT,
		s->config.inactivity_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_LIMIT,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE, MHD_OPTION_NOTIFY_COMPLETED,
		request_completed, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
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
