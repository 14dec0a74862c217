/* https_server.h - a TLS server for unit tests, on loopback, with a key of its own; answers as scripted. */
#ifndef TESTS_LIB_HTTPS_SERVER_H
#define TESTS_LIB_HTTPS_SERVER_H
#include <stdbool.h>
#include <stddef.h>

struct https_request {
	const char *head; /* request line and header fields, NUL-terminated */
	const char *body;
	size_t body_size;
};

struct https_answer {
	char *data; /* heap, sent as it is: status line, fields, body; NULL: nothing */
	size_t size;
	bool stall; /* then send nothing more, but stay connected until the peer or the test ends */
	bool close; /* then close */
};

/* Called from the connections' threads. */
typedef struct https_answer https_handler(const struct https_request *q);

struct https_server;
/* Aborts the test when it cannot be had.  `tls12`: speaks TLS 1.2 at most. */
struct https_server *https_server_new(https_handler *handler, bool tls12);
void https_server_free(struct https_server *s);
unsigned https_server_port(const struct https_server *s);
/* SHA-256 of the key as 64 hex digits. */
const char *https_server_pin(const struct https_server *s);
/* TCP connections accepted, and requests read, so far. */
unsigned https_server_connections(const struct https_server *s);
unsigned https_server_requests(const struct https_server *s);
#endif
