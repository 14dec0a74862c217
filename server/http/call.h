/* call.h - one request and its answer, as handlers see them. */
#ifndef SERVER_HTTP_CALL_H
#define SERVER_HTTP_CALL_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/id.h"
#include "server/access/caller.h"
#include "server/api_error.h"
#include "server/http/memory.h"
#include "server/http/route.h"

#define PEER_TEXT_SIZE	    64
#define MACHINE_ID_TEXT	    33 /* 32 hex digits and NUL */
#define CALL_QUERY_MAX_SIZE 128
#define CALL_OBJECT_SIZE    192

/* A piece of a binary answer. */
struct call_part {
	void *data; /* heap */
	size_t size;
};

/* A binary answer that is not held in memory. */
struct call_stream {
	uint64_t size;
	/* Bytes from `at` on, at least one; 0 or negative: they cannot be read any more.  Any thread, one at a time. */
	ssize_t (*read)(void *ctx, uint64_t at, char *buf, size_t max);
	void (*free)(void *ctx); /* NULL: there is no stream */
	void *ctx;
};

struct MHD_Connection;
struct http_server;

struct call {
	/* ---- the request */
	void *app; /* whoever declared the routes: struct server */
	struct route_match match;
	char peer[PEER_TEXT_SIZE];     /* numeric address */
	char machine[MACHINE_ID_TEXT]; /* AUTH_AGENT: whose secret it was */
	struct id shown;	       /* and its hash, */
	uint64_t session;	       /* and which of that machine's sessions it was */
	struct caller caller;	       /* an operator's route: who asks */
	char object
		[CALL_OBJECT_SIZE]; /* what is done to, for the audit log; a handler may say it better */
	const uint8_t *body;	    /* NUL after body_size, for JSON's sake */
	size_t body_size;
	json_t *json; /* BODY_JSON: the body, an object; of the call */

	/* ---- the answer; a handler fills one kind */
	unsigned status;
	json_t *answer_json;
	struct call_part *parts; /* heap; freed with what they hold once sent */
	size_t parts_len;
	struct call_stream stream;
	unsigned retry_after_s;

	/* ---- of http.c */
	struct http_server *http;
	struct MHD_Connection *connection;
	uint8_t *buffer;
	size_t buffer_size, received;
	struct memory_share share;
	bool draining;	      /* an answer is settled; the rest of the body is read and dropped */
	uint64_t answer_size; /* once it is sent */
	uint64_t started_ms;
	uint64_t work_us; /* when the request was there as a whole; 0: not yet */
	char method[8];
};

uint64_t call_now_us(void); /* monotonic */

/* The address at which the caller reached this server; IPv4 as such, whatever the socket's family.  False: not known. */
bool call_local(const struct call *c, struct sockaddr_storage *ret);

/* Query parameter, decoded into `ret`.  1 there, 0 not there, -EPROTO. */
int call_query(struct call *c, const char *key, char ret[static CALL_QUERY_MAX_SIZE],
	       struct err *err) MUST_CHECK;
/* The same as a decimal number within min..max; `*ret` stays as it is when it is not there. */
int call_query_u64(struct call *c, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		   struct err *err) MUST_CHECK;
/* How many parameters there are. */
int call_query_count(const struct call *c);

/* Answer JSON; takes `json`, NULL (out of memory) answers 503. */
void call_answer(struct call *c, unsigned status, json_t *take_json);
/* Answer 204. */
void call_answer_empty(struct call *c);
/* Answer with bytes: takes `data` (heap).  Several of them make up the body in order.  False: out of memory (data is freed). */
bool call_add_part(struct call *c, void *take_data, size_t size) MUST_CHECK;
/* Answer with what the stream gives; takes it. */
void call_answer_stream(struct call *c, const struct call_stream *take);
/* Answer an error. */
void call_fail(struct call *c, enum api_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same from what a function returned. */
void call_fail_err(struct call *c, const struct err *err);
#endif
