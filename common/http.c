/* One libcurl easy handle per struct http, so that the connection stays open between requests.
 *
 * Trust is the pinned key alone: libcurl compares it when the handshake is done and before a byte of the
 * request is sent.  Names and dates of the certificate are not looked at (old machines have wrong clocks).
 * TLS 1.3 makes the server present a certificate and prove its key in every full handshake; sessions are not
 * resumed, so that there is no other kind.
 *
 * Nothing but the target decides where bytes go: no proxy from the environment, no redirect, no other protocol. */
#include "common/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base64.h"
#include "common/cleanup.h"
#include "common/id.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/text.h"

#define TIMEOUT_S	  60
#define CONNECT_TIMEOUT_S 15
#define SEND_BUFFER	  (128L << 10) /* bodies are copied into it: the copy shall stay in the cache */
#define RECEIVE_BUFFER	  (512L << 10)
#define JSON_ANSWER_MAX	  (8u << 20)  /* a manifest */
#define ERROR_MAX	  (64u << 10) /* of an answer with a status >= 400 */
#define RETRY_AFTER_MAX	  3600
#define TELL_EVERY_US	  250000u

struct http {
	struct http_target target;
	CURL *curl;
	char pin[64]; /* "sha256//" and base64 */
	char reason[CURL_ERROR_SIZE];
	atomic_bool cancelled;
	bool any_key;
	uint64_t sent, received;
	/* the request under way */
	size_t answer_max;
	uint8_t *data; /* of `capacity` + 1 bytes */
	size_t size, capacity;
	int write_error;
	int (*sink)(void *ctx, const void *data, size_t size);
	void *sink_ctx;
	/* where its time goes */
	void (*on_time)(void *ctx, const struct http_time *t);
	void *time_ctx;
	int fd;			   /* of the connection made last, or -1 */
	struct http_moment moment; /* up to which it was told */
	struct http_time spent;
	uint64_t reported; /* by the server */
};

static void global_init(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT); /* a failure shows in curl_easy_init() */
}

/* ---- libcurl's callbacks */

static int reserve(struct http *h, size_t want, size_t max)
{
	size_t capacity = h->capacity ? h->capacity : 4096;
	uint8_t *data;

	if (want <= h->capacity && h->data)
		return 0;
	while (capacity < want)
		capacity *= 2;
	if (capacity > max && want <= max)
		capacity = max;
	data = realloc(h->data, capacity + 1);
	if (!data)
		return -ENOMEM;
	h->data = data;
	h->capacity = capacity;
	return 0;
}

static size_t on_data(char *data, size_t one, size_t len, void *user)
{
	struct http *h = user;
	size_t n = one * len, max = h->answer_max;
	long status = 0;
	curl_off_t announced = -1;

	(void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	if (h->sink && status >= 200 && status < 300) {
		h->write_error = h->sink(h->sink_ctx, data, n);
		return h->write_error == 0 ? n : 0;
	}
	if (status >= 400 && max < ERROR_MAX)
		max = ERROR_MAX;
	(void)curl_easy_getinfo(h->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
	if (n > max - h->size || announced > (curl_off_t)max) {
		h->write_error = -EMSGSIZE;
		return 0;
	}
	h->write_error = reserve(h, announced > 0 ? (size_t)announced : 0, max);
	if (h->write_error == 0)
		h->write_error = reserve(h, h->size + n, max);
	if (h->write_error < 0)
		return 0;
	memcpy(h->data + h->size, data, n);
	h->size += n;
	return n;
}

/* ---- where the time goes */

static void tell(struct http *h, const struct http_time *t)
{
	h->spent.cpu += t->cpu;
	h->spent.network += t->network;
	h->spent.server += t->server;
	if (h->on_time)
		h->on_time(h->time_ctx, t);
}

/* Up to now; `receives`: from here on the answer is coming. */
static void tell_until_now(struct http *h, bool receives)
{
	struct http_moment now;
	struct http_time t;

	http_moment_take(h->fd, receives, &now);
	t = http_time_between(&h->moment, &now);
	h->moment = now;
	tell(h, &t);
}

static void begin_time(struct http *h)
{
	h->spent = (struct http_time){0};
	h->reported = 0;
	http_moment_take(h->fd, false, &h->moment);
}

static void end_time(struct http *h)
{
	struct http_time t;

	tell_until_now(h, true);
	t = http_time_correction(&h->spent, h->reported);
	tell(h, &t);
}

static size_t on_header(char *line, size_t one, size_t len, void *user)
{
	struct http *h = user;

	if (!h->moment.receives)
		tell_until_now(h, true);
	(void)http_time_parse(line, one * len, &h->reported);
	return one * len;
}

static int on_progress(void *user, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	struct http *h = user;

	(void)down_total, (void)down, (void)up_total, (void)up;
	if (h->on_time && http_wall_us() - h->moment.wall >= TELL_EVERY_US)
		tell_until_now(h, h->moment.receives);
	return atomic_load(&h->cancelled);
}

static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http *h = user;

	(void)purpose;
	h->fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	return h->fd;
}

static int on_close(void *user, curl_socket_t fd)
{
	struct http *h = user;

	if (h->fd == fd)
		h->fd = -1;
	return close(fd);
}

/* ---- setting up */

static const struct {
	CURLoption option;
	long value;
} options[] = {
	/* trust: the pin */
	{CURLOPT_SSL_VERIFYPEER, 0},
	{CURLOPT_SSL_VERIFYHOST, 0},
	{CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_TLSv1_3},
	{CURLOPT_SSL_SESSIONID_CACHE, 0},
	/* protocol */
	{CURLOPT_FOLLOWLOCATION, 0},
	{CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
	{CURLOPT_HTTP09_ALLOWED, 0},
	{CURLOPT_NOSIGNAL, 1},
	{CURLOPT_NOPROGRESS, 0},
	/* transport */
	{CURLOPT_TCP_NODELAY, 1},
	{CURLOPT_TCP_KEEPALIVE, 1},
	{CURLOPT_TCP_KEEPIDLE, 30},
	{CURLOPT_TCP_KEEPINTVL, 10},
	{CURLOPT_UPLOAD_BUFFERSIZE, SEND_BUFFER},
	{CURLOPT_BUFFERSIZE, RECEIVE_BUFFER},
	{CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S},
	{CURLOPT_LOW_SPEED_LIMIT, 1},
};

/* The order in which cipher suites are proposed: the cheapest first.  None is weaker than what its key exchange is worth. */
static const char *ciphers(void)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("aes"))
		return "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
#endif
	return "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
}

/* Every setter yields 0 (CURLE_OK) or something else, so that many are joined by '|'. */
static bool set_up(struct http *h)
{
	CURL *c = h->curl;
	uint8_t key[32];
	unsigned bad = 0;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		bad |= curl_easy_setopt(c, options[i].option, options[i].value);
	if (hex_decode(h->target.pin, key, sizeof(key))) { /* else http_do() refuses */
		(void)snprintf(h->pin, sizeof(h->pin), "sha256//");
		base64_encode(key, sizeof(key), h->pin + strlen(h->pin));
		bad |= curl_easy_setopt(c, CURLOPT_PINNEDPUBLICKEY, h->pin);
	}
	bad |= curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(c, CURLOPT_TLS13_CIPHERS,
			       ciphers()); /* a wish: not all libraries can */
	bad |= curl_easy_setopt(c, CURLOPT_PROXY, "");
	bad |= curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
	bad |= curl_easy_setopt(c, CURLOPT_USERAGENT, "hoist/" HOIST_VERSION);
	bad |= curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->reason);
	bad |= curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
	bad |= curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	bad |= curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	bad |= curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
	bad |= curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_socket);
	bad |= curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, h);
	bad |= curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	bad |= curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, h);
	return bad == 0;
}

struct http *http_new(const struct http_target *t)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http *h;

	(void)pthread_once(&once, global_init);
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->target = *t;
	h->fd = -1;
	h->curl = curl_easy_init();
	if (!h->curl || !set_up(h)) {
		http_free(h);
		return NULL;
	}
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	explicit_bzero(h->target.secret, sizeof(h->target.secret));
	free(h->data);
	free(h);
}

void http_set_secret(struct http *h, const char *secret)
{
	(void)snprintf(h->target.secret, sizeof(h->target.secret), "%s", secret);
}

void http_allow_any_key(struct http *h)
{
	h->any_key = true;
}

void http_cancel(struct http *h)
{
	atomic_store(&h->cancelled, true);
}

void http_watch(struct http *h, void (*fn)(void *ctx, const struct http_time *t), void *ctx)
{
	h->on_time = fn;
	h->time_ctx = ctx;
	/* others are not measured: a header's line costs a call */
	(void)curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, h);
}

void http_counters(const struct http *h, uint64_t *ret_sent, uint64_t *ret_received)
{
	*ret_sent = h->sent;
	*ret_received = h->received;
}

/* ---- a request */

static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
	char line[256];
	struct curl_slist *longer;

	if (snprintf(line, sizeof(line), "%s: %s", name, value) >= (int)sizeof(line))
		return false;
	longer = curl_slist_append(*list, line);
	explicit_bzero(line, sizeof(line));
	if (!longer)
		return false;
	*list = longer;
	return true;
}

static bool make_headers(const struct http *h, const struct http_request *q,
			 struct curl_slist **list)
{
	struct curl_slist *longer = curl_slist_append(*list, "Expect:"); /* "X:" is without X */
	char bearer[sizeof(h->target.secret) + 8];

	if (!longer)
		return false;
	*list = longer;
	if (q->body) {
		if (!add_header(list, "Content-Type",
				q->content_type ? q->content_type : "application/octet-stream"))
			return false;
	} else { /* or libcurl makes it a form */
		longer = curl_slist_append(*list, "Content-Type:");
		if (!longer)
			return false;
		*list = longer;
	}
	if (!h->target.secret[0])
		return true;
	(void)snprintf(bearer, sizeof(bearer), "Bearer %s", h->target.secret);
	return add_header(list, "Authorization", bearer);
}

/* A body is given to libcurl as POSTFIELDS whatever the method: it is not copied, and sent again by itself
 * when a kept connection turns out to have been closed. */
static bool prepare(struct http *h, const struct http_request *q, struct curl_slist *headers)
{
	bool post = q->body || strcmp(q->method, "POST") == 0 || strcmp(q->method, "PUT") == 0;
	CURL *c = h->curl;
	char url[URL_MAX + 1024];
	unsigned bad = 0;

	if (snprintf(url, sizeof(url), "%s%s", h->target.url, q->path) >= (int)sizeof(url))
		return false;
	if (post) {
		curl_off_t size = q->body ? (curl_off_t)q->body_size : 0;

		bad |= curl_easy_setopt(c, CURLOPT_POST, 1L);
		bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->body ? q->body : "");
		bad |= curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, size);
	} else {
		bad |= curl_easy_setopt(c, CURLOPT_HTTPGET, 1L);
	}
	bad |= curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
	bad |= curl_easy_setopt(c, CURLOPT_URL, url);
	bad |= curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	bad |= curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
				(long)(q->timeout_s ? q->timeout_s : TIMEOUT_S));
	bad |= curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)q->whole_s);
	h->answer_max = q->answer_max;
	h->sink = q->sink;
	h->sink_ctx = q->sink_ctx;
	h->size = 0;
	h->write_error = 0;
	h->reason[0] = '\0';
	return bad == 0 && reserve(h, 1, SIZE_MAX) == 0;
}

static int refuse_key(const struct http *h, struct err *err)
{
	return err_set(
		err, -EKEYREJECTED,
		"the server at %s does not have the key with the fingerprint %s; nothing was "
		"sent to it. If the server made itself a new key, pass its new fingerprint",
		h->target.url, h->target.pin);
}

/* What went wrong below HTTP. */
static int transport_error(const struct http *h, const struct http_request *q, CURLcode c,
			   struct err *err)
{
	const char *reason = h->reason[0] ? h->reason : curl_easy_strerror(c);
	long os = 0;
	int code = -EIO;

	switch (c) {
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return refuse_key(h, err);
	case CURLE_ABORTED_BY_CALLBACK:
		return err_set(err, -ECANCELED, "%s %s: cancelled", q->method, q->path);
	case CURLE_OUT_OF_MEMORY:
		return err_set(err, -ENOMEM, "out of memory");
	case CURLE_COULDNT_CONNECT:
		(void)curl_easy_getinfo(h->curl, CURLINFO_OS_ERRNO, &os);
		errno = os ? (int)os : ECONNREFUSED;
		/* a firewall (EACCES), a route, an interface that went: nothing that need last */
		code = errno == ECONNREFUSED ? -ECONNREFUSED : -EHOSTUNREACH;
		return err_set(err, code, "no connection to the server at %s: %m", h->target.url);
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(err, -EHOSTUNREACH, "no connection to the server at %s: %s",
			       h->target.url, reason);
	case CURLE_OPERATION_TIMEDOUT:
		code = -ETIMEDOUT;
		break;
	case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
		code = -EPROTO;
		break;
	default:
		break;
	}
	return err_set(err, code, "%s %s%s: %s", q->method, h->target.url, q->path, reason);
}

static int perform(struct http *h, const struct http_request *q, struct err *err)
{
	curl_off_t n = 0;
	CURLcode c;

	if (h->on_time)
		begin_time(h);
	c = curl_easy_perform(h->curl);
	if (h->on_time)
		end_time(h);
	if (curl_easy_getinfo(h->curl, CURLINFO_SIZE_UPLOAD_T, &n) == CURLE_OK && n > 0)
		h->sent += (uint64_t)n;
	if (curl_easy_getinfo(h->curl, CURLINFO_SIZE_DOWNLOAD_T, &n) == CURLE_OK && n > 0)
		h->received += (uint64_t)n;
	if (h->write_error == -EMSGSIZE) {
		return err_set(err, -EMSGSIZE, "%s %s: the answer is longer than %zu bytes",
			       q->method, q->path, h->answer_max);
	}
	if (h->write_error < 0) {
		errno = -h->write_error;
		return err_set(err, h->write_error, "%s %s: keep the answer: %m", q->method,
			       q->path);
	}
	return c == CURLE_OK ? 0 : transport_error(h, q, c, err);
}

/* The server's text goes to a person's terminal. */
static void tame(char *text, size_t size)
{
	char clean[sizeof(((struct api_error *)NULL)->message)];
	size_t n = text_clean(clean, sizeof(clean), text, strlen(text));

	memcpy(text, clean, n < size ? n + 1 : size);
	text[size - 1] = '\0';
}

static int read_answer(struct http *h, const struct http_request *q, struct http_answer *a,
		       struct err *err)
{
	long status = 0;
	curl_off_t wait = 0;

	h->data[h->size] = '\0';
	(void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &wait);
	a->status = (int)status;
	a->data = h->data;
	a->size = h->size;
	if (wait > 0)
		a->retry_after_s = wait > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : (unsigned)wait;
	if (status >= 200 && status < 300)
		return 0;
	if (status < 400) {
		return err_set(err, -EPROTO, "%s %s%s: unexpected status %ld", q->method,
			       h->target.url, q->path, status);
	}
	if (api_error_decode((const char *)h->data, h->size, &a->error)) {
		tame(a->error.code, sizeof(a->error.code));
		tame(a->error.message, sizeof(a->error.message));
		return err_set(err, -EREMOTEIO, "%s", a->error.message);
	}
	return err_set(err, -EREMOTEIO, "%s %s%s: the server answered with status %ld", q->method,
		       h->target.url, q->path, status);
}

/* May it be asked of a server whose key nobody knows? */
static bool is_harmless(const struct http *h, const struct http_request *q)
{
	return h->any_key && !q->body && !h->target.secret[0] && strcmp(q->method, "GET") == 0 &&
	       strcmp(q->path, "/v1/info") == 0;
}

int http_do(struct http *h, const struct http_request *q, struct http_answer *ret, struct err *err)
{
	struct curl_slist *headers = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!h->pin[0] && !is_harmless(h, q)) {
		return err_set(err, -EKEYREJECTED,
			       "the fingerprint of the key of the server at %s is not known",
			       h->target.url);
	}
	if (atomic_load(&h->cancelled))
		return err_set(err, -ECANCELED, "%s %s: cancelled", q->method, q->path);
	if (!make_headers(h, q, &headers) || !prepare(h, q, headers)) {
		r = err_set(err, -ENOMEM, "%s %s: the request cannot be made", q->method, q->path);
	} else {
		r = perform(h, q, err);
	}
	(void)curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	return r < 0 ? r : read_answer(h, q, ret, err);
}

int http_json(struct http *h, const struct http_call *call, json_t **ret,
	      struct http_answer *ret_answer, struct err *err)
{
	CLEANUP_FREE char *text = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
	struct http_request q = {
		.method = call->method,
		.path = call->path,
		.content_type = "application/json",
		.body = text,
		.body_size = text ? strlen(text) : 0,
		.answer_max = JSON_ANSWER_MAX,
		.timeout_s = call->timeout_s,
	};
	struct http_answer a = {0};
	int r;

	if (call->body && !text) {
		r = err_set(err, -ENOMEM, "out of memory");
	} else {
		r = http_do(h, &q, &a, err);
	}
	if (ret_answer)
		*ret_answer = a;
	if (r < 0 || !ret)
		return r;
	if (a.status == 204) {
		*ret = NULL;
		return 0;
	}
	r = json_parse((const char *)a.data, a.size, JSON_ANSWER_MAX, ret, err);
	return r < 0 ? err_prefix(err, "%s %s: the server's answer", q.method, q.path) : 0;
}

bool http_may_retry(int r, const struct http_answer *a)
{
	switch (r) {
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ECONNABORTED:
	case -EHOSTUNREACH:
	case -EHOSTDOWN:
	case -ENETUNREACH:
	case -ENETDOWN:
	case -EADDRNOTAVAIL:
	case -ETIMEDOUT:
	case -EPIPE:
	case -EIO:
		return true;
	case -EREMOTEIO:
		return a->status == 429 ||
		       (a->status >= 500 && strcmp(a->error.code, "store_damaged") != 0);
	default:
		return false;
	}
}
