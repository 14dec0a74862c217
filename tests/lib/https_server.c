/* One thread accepts, one thread serves each connection; https_server_free() shuts all sockets down and joins. */
#include "tests/lib/https_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define HEAD_MAX	65536

struct connection {
	struct https_server *server;
	int fd;
	pthread_t thread;
};

struct https_server {
	https_handler *handler;
	SSL_CTX *ctx;
	char pin[65];
	int fd;
	unsigned port;
	pthread_t thread;
	struct connection connections[CONNECTIONS_MAX];
	atomic_uint connections_len, requests;
};

static void must(bool good, const char *what)
{
	if (!good) {
		(void)fprintf(stderr, "https_server: %s failed\n", what);
		abort();
	}
}

static void make_identity(struct https_server *s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	unsigned char *spki = NULL, hash[SHA256_DIGEST_LENGTH];
	int n;

	must(key && cert && X509_set_pubkey(cert, key) == 1, "making a key");
	(void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	(void)X509_gmtime_adj(X509_getm_notBefore(cert), -7200); /* long over: dates do not count */
	(void)X509_gmtime_adj(X509_getm_notAfter(cert), -3600);
	must(X509_sign(cert, key, EVP_sha256()) > 0, "signing");
	must(SSL_CTX_use_certificate(s->ctx, cert) == 1 && SSL_CTX_use_PrivateKey(s->ctx, key) == 1,
	     "using the certificate");
	n = i2d_PUBKEY(key, &spki);
	must(n > 0, "encoding the key");
	(void)SHA256(spki, (size_t)n, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)sprintf(s->pin + 2 * i, "%02x", hash[i]);
	OPENSSL_free(spki);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static size_t content_length(const char *head)
{
	const char *p = strcasestr(head, "\r\nContent-Length:");

	return p ? strtoul(p + 17, NULL, 10) : 0;
}

/* The head up to its blank line into `head`, the body into a new buffer; false at the end. */
static bool read_request(SSL *ssl, char *head, char **ret_body, size_t *ret_size)
{
	size_t n = 0, got = 0;
	char *body;

	do {
		if (n == HEAD_MAX - 1 || SSL_read(ssl, head + n, 1) != 1)
			return false;
		head[++n] = '\0';
	} while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0);
	*ret_size = content_length(head);
	body = malloc(*ret_size + 1);
	must(body != NULL, "malloc");
	while (got < *ret_size) {
		int k = SSL_read(ssl, body + got, (int)(*ret_size - got));

		if (k <= 0) {
			free(body);
			return false;
		}
		got += (size_t)k;
	}
	body[got] = '\0';
	*ret_body = body;
	return true;
}

/* False when the connection is to end. */
static bool serve_request(struct https_server *s, SSL *ssl, char *head)
{
	struct https_request q = {.head = head};
	struct https_answer a;
	char *body = NULL, byte;
	bool sent;

	if (!read_request(ssl, head, &body, &q.body_size))
		return false;
	q.body = body;
	atomic_fetch_add(&s->requests, 1);
	a = s->handler(&q);
	sent = !a.data || SSL_write(ssl, a.data, (int)a.size) > 0;
	if (a.stall)
		(void)SSL_read(ssl, &byte, 1);
	free(a.data);
	free(body);
	return sent && !a.stall && !a.close;
}

static void *serve(void *user)
{
	struct connection *c = user;
	SSL *ssl = SSL_new(c->server->ctx);
	char *head = malloc(HEAD_MAX);

	must(ssl && head && SSL_set_fd(ssl, c->fd) == 1, "SSL_new");
	if (SSL_accept(ssl) == 1) {
		while (serve_request(c->server, ssl, head))
			;
		(void)SSL_shutdown(ssl);
	}
	SSL_free(ssl);
	free(head);
	(void)shutdown(c->fd, SHUT_RDWR); /* closed by https_server_free(), which may look at it */
	return NULL;
}

static void *accept_all(void *user)
{
	struct https_server *s = user;
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		unsigned n = atomic_load(&s->connections_len);
		struct connection *c = &s->connections[n];

		must(n < CONNECTIONS_MAX, "one connection more");
		c->server = s;
		c->fd = fd;
		must(pthread_create(&c->thread, NULL, serve, c) == 0, "pthread_create");
		atomic_store(&s->connections_len, n + 1);
	}
	return NULL;
}

struct https_server *https_server_new(https_handler *handler, bool tls12)
{
	struct https_server *s = calloc(1, sizeof(*s));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);

	must(s != NULL, "calloc");
	(void)signal(SIGPIPE, SIG_IGN);
	s->handler = handler;
	s->ctx = SSL_CTX_new(TLS_server_method());
	must(s->ctx != NULL, "SSL_CTX_new");
	if (tls12)
		(void)SSL_CTX_set_max_proto_version(s->ctx, TLS1_2_VERSION);
	make_identity(s);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(s->fd >= 0 && bind(s->fd, (struct sockaddr *)&a, size) == 0 &&
		     listen(s->fd, 16) == 0 &&
		     getsockname(s->fd, (struct sockaddr *)&a, &size) == 0,
	     "listening");
	s->port = ntohs(a.sin_port);
	must(pthread_create(&s->thread, NULL, accept_all, s) == 0, "pthread_create");
	return s;
}

void https_server_free(struct https_server *s)
{
	(void)shutdown(s->fd, SHUT_RDWR);
	(void)pthread_join(s->thread, NULL);
	for (unsigned i = 0; i < atomic_load(&s->connections_len); i++) {
		(void)shutdown(s->connections[i].fd, SHUT_RDWR);
		(void)pthread_join(s->connections[i].thread, NULL);
		(void)close(s->connections[i].fd);
	}
	(void)close(s->fd);
	SSL_CTX_free(s->ctx);
	free(s);
}

unsigned https_server_port(const struct https_server *s)
{
	return s->port;
}

const char *https_server_pin(const struct https_server *s)
{
	return s->pin;
}

unsigned https_server_connections(const struct https_server *s)
{
	return atomic_load(&s->connections_len);
}

unsigned https_server_requests(const struct https_server *s)
{
	return atomic_load(&s->requests);
}
