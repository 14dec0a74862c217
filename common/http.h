/* http.h - HTTPS requests with the server's key pinned (libcurl beneath).  Used by the agent and the CLI. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/http_time.h"
#include "common/message.h"

#define PIN_TEXT_SIZE 65 /* 64 hex digits and NUL */
#define URL_MAX	      256

/* Where and as whom.  Plain data; copied into each connection. */
struct http_target {
	char url[URL_MAX]; /* "https://host:port", no path; IPv6 in brackets, %25zone allowed */
	char pin[PIN_TEXT_SIZE]; /* fingerprint of the server's key */
	char secret[129];	 /* bearer, "" for none */
};
/* "host", "host:port", "https://host[:port]" -> url with the default port.  -EINVAL with the sentence. */
int http_target_set_url(struct http_target *t, const char *text, struct err *err) MUST_CHECK;
/* 64 hex digits, colons and case ignored. -EINVAL. */
int http_target_set_pin(struct http_target *t, const char *text, struct err *err) MUST_CHECK;

/* One connection, kept alive between requests.  One thread at a time. */
struct http;
struct http *http_new(const struct http_target *t); /* NULL: out of memory */
void http_free(struct http *h);
static inline void http_freep(struct http **p)
{
	http_free(*p);
}
void http_set_secret(struct http *h, const char *secret);
/* Without a pin: GET /v1/info, which tells nothing and carries no secret, may be asked of whoever answers.  What it says of its own key is
 * seen to be true only by connecting with that as the pin. */
void http_allow_any_key(struct http *h);
/* From any thread: the request under way returns -ECANCELED within a second, and all later ones at once. */
void http_cancel(struct http *h);

struct http_request {
	const char *method;	  /* "GET", "POST", "PUT", "DELETE" */
	const char *path;	  /* "/v1/..." */
	const char *content_type; /* NULL: application/octet-stream */
	const void *body;
	size_t body_size;
	size_t answer_max;  /* an answer longer than that is -EMSGSIZE (errors may have 64 KiB) */
	unsigned timeout_s; /* no byte either way for that long: -ETIMEDOUT; 0 = 60 */
	unsigned whole_s;   /* longer than that in all: -ETIMEDOUT; 0 = no limit */
	/* If given, takes an answer that is no error bit by bit, whatever its length; a negative errno ends the request with it. */
	int (*sink)(void *ctx, const void *data, size_t size);
	void *sink_ctx;
};

struct http_answer {
	int status; /* 200.. */
	uint8_t *
		data; /* belongs to the http, valid until its next request; NUL-terminated after size */
	size_t size;
	unsigned retry_after_s; /* 0 if not given */
	struct api_error error; /* of a status >= 400 */
};

/* Do one request.  0 with any status < 400.
 * Not delivered: -ECONNREFUSED, -ETIMEDOUT, -EIO … : may be repeated.
 * -EKEYREJECTED: the server's key is not the pinned one; nothing was sent.  Not to be repeated.
 * -EREMOTEIO: status >= 400, answer filled, err = the server's own sentence.
 * -EMSGSIZE, -ENOMEM, -ECANCELED, -EPROTO (not an HTTP answer of ours; a redirect is not one). */
int http_do(struct http *h, const struct http_request *q, struct http_answer *ret,
	    struct err *err) MUST_CHECK;
/* The same with JSON both ways. */
struct http_call {
	const char *method, *path;
	const json_t *body; /* may be NULL */
	unsigned timeout_s; /* as above */
};
/* `ret` (may be NULL) gets a new reference, NULL for a 204; `ret_answer` (may be NULL) is always written, its
 * error as well.  Also -EPROTO for an answer that is not JSON. */
int http_json(struct http *h, const struct http_call *call, json_t **ret,
	      struct http_answer *ret_answer, struct err *err) MUST_CHECK;
/* True when the same request may succeed later: no connection, time-out, 5xx but 500 "store_damaged", 429. */
bool http_may_retry(int r, const struct http_answer *a);
/* `fn` is told where the time of each request goes, bit by bit, from within http_do: at least once a second, and at its end. */
void http_watch(struct http *h, void (*fn)(void *ctx, const struct http_time *t), void *ctx);
/* Bytes of request bodies sent and answers received so far by this connection. */
void http_counters(const struct http *h, uint64_t *ret_sent, uint64_t *ret_received);
#endif
