#include "common/http.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "tests/lib/https_server.h"
#include "tests/unit/tap.h"

#define BIG (5u << 20)

static char last_head[4096]; /* of the last request */
static atomic_bool stalled;
static atomic_uint closes; /* how often "/v1/close" is still to close without an answer */

static struct https_answer answer(const char *status, const char *fields, const void *body,
				  size_t size)
{
	struct https_answer a = {0};
	char head[512];

	a.size =
		(size_t)snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n",
				 status, size, fields);
	a.data = malloc(a.size + size);
	if (!a.data)
		abort();
	memcpy(a.data, head, a.size);
	memcpy(a.data + a.size, body, size);
	a.size += size;
	return a;
}

static struct https_answer text_answer(const char *status, const char *fields, const char *body)
{
	return answer(status, fields, body, strlen(body));
}

static struct https_answer raw_answer(const char *text)
{
	struct https_answer a = {.data = strdup(text), .size = strlen(text), .close = true};

	return a;
}

static bool is_path(const struct https_request *q, const char *path)
{
	const char *at = strchr(q->head, ' ') + 1;

	return strncmp(at, path, strlen(path)) == 0 && at[strlen(path)] == ' ';
}

static struct https_answer handle_close(void)
{
	struct https_answer a = {.close = true};

	if (atomic_load(&closes) == 0)
		return text_answer("200 OK", "", "late");
	atomic_fetch_sub(&closes, 1);
	return a;
}

static struct https_answer handle_stall(void)
{
	struct https_answer a = {.stall = true};

	atomic_store(&stalled, true);
	return a;
}

static struct https_answer handle(const struct https_request *q)
{
	static const struct {
		const char *path, *status, *fields, *body;
	} fixed[] = {
		{"/v1/error", "409 Conflict", "",
		 "{\"error\":{\"code\":\"conflict\",\"message\":\"A job \\u001b[2J runs.\"}}"},
		{"/v1/damaged", "500 x", "",
		 "{\"error\":{\"code\":\"store_damaged\",\"message\":\"M\"}}"},
		{"/v1/internal", "500 x", "",
		 "{\"error\":{\"code\":\"internal\",\"message\":\"M\"}}"},
		{"/v1/busy", "503 x", "Retry-After: 7\r\n",
		 "{\"error\":{\"code\":\"busy\",\"message\":\"Later.\"}}"},
		{"/v1/gateway", "502 Bad Gateway", "", "<html>"},
		{"/v1/redirect", "302 Found", "Location: /v1/json\r\n", ""},
		{"/v1/json", "200 OK", "", "{\"a\": [1, 2]}"},
		{"/v1/notjson", "200 OK", "", "[1"},
	};

	(void)snprintf(last_head, sizeof(last_head), "%s", q->head);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (is_path(q, fixed[i].path))
			return text_answer(fixed[i].status, fixed[i].fields, fixed[i].body);
	}
	if (is_path(q, "/v1/none"))
		return raw_answer("HTTP/1.1 204 No Content\r\n\r\n");
	if (is_path(q, "/v1/old"))
		return raw_answer("hello");
	if (is_path(q, "/v1/chunked")) {
		return raw_answer(
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
			"5\r\nworld\r\n0\r\n\r\n");
	}
	if (is_path(q, "/v1/short"))
		return raw_answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
	if (is_path(q, "/v1/close"))
		return handle_close();
	if (is_path(q, "/v1/stall"))
		return handle_stall();
	return answer("200 OK", "", q->body, q->body_size); /* an echo */
}

static struct http_target target_of(const struct https_server *s)
{
	struct http_target t = {0};
	struct err err = {0};
	char url[64];

	(void)snprintf(url, sizeof(url), "127.0.0.1:%u", https_server_port(s));
	if (http_target_set_url(&t, url, &err) < 0 ||
	    http_target_set_pin(&t, https_server_pin(s), &err) < 0)
		abort();
	return t;
}

static int get(struct http *h, const char *path, size_t max, struct http_answer *a, struct err *err)
{
	struct http_request q = {.method = "GET", .path = path, .answer_max = max, .timeout_s = 20};

	return http_do(h, &q, a, err);
}

static void test_url(void)
{
	static const struct {
		const char *text, *want; /* want NULL: refused */
	} cases[] = {
		{"example", "https://example:4647"},
		{"example:1", "https://example:1"},
		{"https://example", "https://example:4647"},
		{"HTTPS://example:65535/", "https://example:65535"},
		{"192.0.2.1:4648", "https://192.0.2.1:4648"},
		{"[2001:db8::1]", "https://[2001:db8::1]:4647"},
		{"https://[2001:db8::1]:1", "https://[2001:db8::1]:1"},
		{"[fe80::1%eth0]:1", "https://[fe80::1%25eth0]:1"},
		{"[fe80::1%25eth0.5]", "https://[fe80::1%25eth0.5]:4647"},
		{"", NULL},
		{"https://", NULL},
		{"http://example", NULL},
		{"ftp://example", NULL},
		{"example:0", NULL},
		{"example:65536", NULL},
		{"example:", NULL},
		{"example:1x", NULL},
		{"example:-1", NULL},
		{"example:00000000001", NULL},
		{"example/v1", NULL},
		{"user@example", NULL},
		{"example:1@evil", NULL},
		{"exa mple", NULL},
		{"-example", NULL},
		{"2001:db8::1", NULL},
		{"[2001:db8::1", NULL},
		{"[]", NULL},
		{"[fe80::1%]", NULL},
		{"[fe80::1%e/h]", NULL},
		{"a\nb", NULL},
	};
	struct http_target t = {0};
	struct err err = {0};
	char longest[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *want = cases[i].want ? cases[i].want : "before";
		char name[128];

		(void)snprintf(t.url, sizeof(t.url), "before");
		(void)snprintf(name, sizeof(name), "address '%.40s'",
			       strchr(cases[i].text, '\n') ? "with newline" : cases[i].text);
		ok(http_target_set_url(&t, cases[i].text, &err) == (cases[i].want ? 0 : -EINVAL) &&
			   strcmp(t.url, want) == 0,
		   name);
	}
	ok(http_target_set_url(&t, "2001:db8::1", &err) == -EINVAL &&
		   strcmp(err.msg,
			  "'2001:db8::1' is not the address of a server: an IPv6 address is "
			  "written in brackets (wanted: HOST, HOST:PORT or "
			  "https://HOST[:PORT])") == 0,
	   "address: a clear sentence");
	memset(longest, 'a', 200);
	longest[200] = '\0';
	ok(http_target_set_url(&t, longest, &err) == 0, "address: 200 characters are taken");
	longest[200] = 'a';
	longest[201] = '\0';
	ok(http_target_set_url(&t, longest, &err) == -EINVAL, "address: 201 are not");
}

static void test_pin(void)
{
	static const char digits[] =
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
	struct http_target t = {0};
	struct err err = {0};
	char text[128];

	ok(http_target_set_pin(&t, digits, &err) == 0 && strcmp(t.pin, digits) == 0,
	   "pin: as it is");
	memset(t.pin, 0, sizeof(t.pin));
	(void)snprintf(text, sizeof(text), "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:%s",
		       digits + 32);
	ok(http_target_set_pin(&t, text, &err) == 0 && strcmp(t.pin, digits) == 0,
	   "pin: with colons and capitals");
	ok(http_target_set_pin(&t, digits + 1, &err) == -EINVAL, "pin: 63 digits are refused");
	(void)snprintf(text, sizeof(text), "%s0", digits);
	ok(http_target_set_pin(&t, text, &err) == -EINVAL, "pin: 65 digits are refused");
	(void)snprintf(text, sizeof(text), "%.63sg", digits);
	ok(http_target_set_pin(&t, text, &err) == -EINVAL, "pin: other letters are refused");
	ok(http_target_set_pin(&t, "", &err) == -EINVAL && strcmp(t.pin, digits) == 0,
	   "pin: none is refused, the former one stays");
}

static void test_echo(struct http *h, const struct https_server *s)
{
	CLEANUP_FREE uint8_t *big = malloc(BIG);
	struct http_request q = {.method = "PUT",
				 .path = "/v1/echo",
				 .body = big,
				 .body_size = BIG,
				 .answer_max = BIG};
	struct http_answer a = {0};
	struct err err = {0};
	uint64_t sent = 0, received = 0;
	unsigned before = https_server_connections(s);

	for (uint32_t i = 0; i < BIG; i++)
		big[i] = (uint8_t)(i * 2654435761u >> 24);
	http_set_secret(h, "s3cret");
	ok(http_do(h, &q, &a, &err) == 0 && a.status == 200 && a.size == BIG &&
		   memcmp(a.data, big, BIG) == 0 && a.data[BIG] == 0,
	   "5 MiB there and back");
	ok(strncmp(last_head, "PUT /v1/echo HTTP/1.1\r\n", 23) == 0, "PUT is PUT");
	ok(strstr(last_head, "\r\nAuthorization: Bearer s3cret\r\n") != NULL, "with the secret");
	ok(strstr(last_head, "\r\nContent-Type: application/octet-stream\r\n") != NULL, "as bytes");
	ok(!strcasestr(last_head, "\r\nExpect:"), "no waiting for a 100");
	http_counters(h, &sent, &received);
	ok(sent == BIG && received == BIG, "the counters count it");
	q.answer_max = BIG - 1;
	ok(http_do(h, &q, &a, &err) == -EMSGSIZE &&
		   strcmp(err.msg, "PUT /v1/echo: the answer is longer than 5242879 bytes") == 0,
	   "an answer that is a byte too long is refused");
	ok(get(h, "/v1/chunked", 10, &a, &err) == 0 && memcmp(a.data, "helloworld", 11) == 0,
	   "an answer of unknown length");
	ok(get(h, "/v1/chunked", 9, &a, &err) == -EMSGSIZE, "is bounded as well");
	ok(https_server_connections(s) <= before + 3, "connections are kept");
	before = https_server_connections(s);
	for (unsigned i = 0; i < 5; i++)
		(void)!get(h, "/v1/json", 100, &a, &err);
	ok(https_server_connections(s) <= before + 1, "five requests, one connection");
	q.method = "POST";
	q.body = NULL;
	ok(http_do(h, &q, &a, &err) == 0 && a.size == 0 &&
		   strstr(last_head, "\r\nContent-Length: 0\r\n") != NULL,
	   "a POST without a body");
	ok(!strstr(last_head, "Content-Type"), "says no type");
	q.method = "DELETE";
	ok(http_do(h, &q, &a, &err) == 0 && strncmp(last_head, "DELETE /v1/echo ", 16) == 0,
	   "DELETE is DELETE");
	ok(get(h, "/v1/json", 100, &a, &err) == 0 && strncmp(last_head, "GET /v1/json ", 13) == 0,
	   "and GET is GET afterwards");
}

static void test_status(struct http *h)
{
	struct http_answer a = {0};
	struct err err = {0};

	ok(get(h, "/v1/error", 4, &a, &err) == -EREMOTEIO && a.status == 409 &&
		   strcmp(a.error.code, "conflict") == 0 &&
		   strcmp(err.msg, "A job \357\277\275[2J runs.") == 0,
	   "an error: the server's sentence, tamed, although the answer asked for is shorter");
	ok(!http_may_retry(-EREMOTEIO, &a), "a 409 is not repeated");
	ok(get(h, "/v1/busy", 100, &a, &err) == -EREMOTEIO && a.retry_after_s == 7 &&
		   http_may_retry(-EREMOTEIO, &a),
	   "503: repeated after what it says");
	ok(get(h, "/v1/gateway", 100, &a, &err) == -EREMOTEIO && a.error.code[0] == '\0' &&
		   strstr(err.msg, "the server answered with status 502") && a.retry_after_s == 0 &&
		   http_may_retry(-EREMOTEIO, &a),
	   "502 of somebody else");
	ok(get(h, "/v1/internal", 100, &a, &err) == -EREMOTEIO && http_may_retry(-EREMOTEIO, &a),
	   "500 internal is repeated");
	ok(get(h, "/v1/damaged", 100, &a, &err) == -EREMOTEIO && !http_may_retry(-EREMOTEIO, &a),
	   "500 store_damaged is not");
	ok(get(h, "/v1/redirect", 100, &a, &err) == -EPROTO &&
		   strncmp(last_head, "GET /v1/redirect ", 17) == 0,
	   "a redirect is not followed");
	ok(get(h, "/v1/old", 100, &a, &err) == -EPROTO, "HTTP/0.9 is no answer");
	ok(get(h, "/v1/short", 100, &a, &err) == -EIO && http_may_retry(-EIO, &a),
	   "a truncated answer is an error, repeated");
	ok(get(h, "/v1/none", 0, &a, &err) == 0 && a.status == 204 && a.size == 0 && a.data[0] == 0,
	   "204");
	ok(!http_may_retry(0, &a) && !http_may_retry(-EKEYREJECTED, &a) &&
		   !http_may_retry(-EMSGSIZE, &a) && !http_may_retry(-ECANCELED, &a),
	   "success and refusals are not repeated");
}

static int call(struct http *h, const char *path, json_t **ret, struct http_answer *a,
		struct err *err)
{
	return http_json(h, &(struct http_call){.method = "GET", .path = path}, ret, a, err);
}

static void test_json(struct http *h)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "x", "y"), *got = NULL, *none = NULL;
	struct http_call post = {.method = "POST", .path = "/v1/echo", .body = body};
	json_t *untouched = body;
	struct http_answer a = {0};
	struct err err = {0};

	ok(http_json(h, &post, &got, &a, &err) == 0 && json_equal(got, body),
	   "JSON there and back");
	ok(strstr(last_head, "\r\nContent-Type: application/json\r\n") != NULL, "as JSON");
	ok(call(h, "/v1/none", &none, &a, &err) == 0 && !none, "JSON: 204");
	ok(call(h, "/v1/notjson", &untouched, NULL, &err) == -EPROTO && untouched == body &&
		   strncmp(err.msg, "GET /v1/notjson: the server's answer: ", 38) == 0,
	   "JSON: not JSON");
	ok(call(h, "/v1/json", NULL, NULL, &err) == 0, "JSON: not wanted");
	ok(call(h, "/v1/error", &untouched, &a, &err) == -EREMOTEIO && a.status == 409 &&
		   untouched == body,
	   "JSON: an error");
}

static void test_trust(const struct https_server *s)
{
	struct http_target t = target_of(s);
	struct http_answer a = {0};
	struct err err = {0};
	unsigned before = https_server_requests(s);
	char want[512];
	struct http *h;

	t.pin[0] = t.pin[0] == '0' ? '1' : '0';
	h = http_new(&t);
	(void)snprintf(want, sizeof(want),
		       "the server at %s does not have the key with the fingerprint %s", t.url,
		       t.pin);
	ok(get(h, "/v1/json", 100, &a, &err) == -EKEYREJECTED &&
		   strncmp(err.msg, want, strlen(want)) == 0,
	   "another key: refused with a clear sentence");
	ok(get(h, "/v1/json", 100, &a, &err) == -EKEYREJECTED && https_server_requests(s) == before,
	   "and nothing sent, the second time neither");
	http_free(h);
	t.pin[0] = '\0';
	h = http_new(&t);
	before = https_server_connections(s);
	ok(get(h, "/v1/json", 100, &a, &err) == -EKEYREJECTED &&
		   https_server_connections(s) == before,
	   "no fingerprint: not even connected");
	http_free(h);
}

/* What connect(2) says has many names: an address of the link whose interface went is EINVAL, what a firewall forbids EACCES. */
static void test_no_way(void)
{
	struct http_target t = {.url = "https://[fe80::1%25gone9]:4647"};
	struct http_answer a = {0};
	struct err err = {0};
	struct http *h;
	int r;

	memset(t.pin, 'a', PIN_TEXT_SIZE - 1);
	h = http_new(&t);
	r = get(h, "/v1/json", 100, &a, &err);
	ok(r < 0 && http_may_retry(r, &a), "no way to the server: to be repeated, whatever it is");
	ok(strncmp(err.msg, "no connection to the server at https://[fe80::1", 47) == 0,
	   "and said");
	http_free(h);
}

static void test_transport(struct http *h, const struct https_server *s)
{
	struct https_server *old = https_server_new(handle, true);
	struct http_target t = target_of(old);
	struct http_answer a = {0};
	struct err err = {0};
	struct http *h2 = http_new(&t);
	char want[512];

	ok(get(h2, "/v1/json", 100, &a, &err) == -EIO && https_server_requests(old) == 0,
	   "TLS 1.2 is not spoken");
	https_server_free(old);
	ok(get(h2, "/v1/json", 100, &a, &err) == -ECONNREFUSED, "nobody there: refused");
	(void)snprintf(want, sizeof(want), "no connection to the server at %s: Connection refused",
		       t.url);
	ok(strcmp(err.msg, want) == 0 && http_may_retry(-ECONNREFUSED, &a), "with its reason");
	http_free(h2);
	test_no_way();
	t = target_of(s);
	/* NOLINTBEGIN(concurrency-mt-unsafe): nobody else looks at the environment meanwhile */
	(void)unsetenv("no_proxy");
	(void)unsetenv("NO_PROXY");
	(void)setenv("https_proxy", "http://127.0.0.1:1", 1);
	(void)setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	h2 = http_new(&t);
	ok(get(h2, "/v1/json", 100, &a, &err) == 0, "proxies of the environment are ignored");
	(void)unsetenv("https_proxy");
	(void)unsetenv("ALL_PROXY");
	/* NOLINTEND(concurrency-mt-unsafe) */
	http_free(h2);
	ok(get(h, "/v1/json", 100, &a, &err) == 0, "connected");
	atomic_store(&closes, 1);
	ok(get(h, "/v1/close", 100, &a, &err) == 0 && strcmp((char *)a.data, "late") == 0,
	   "a kept connection that closes is replaced unseen");
	atomic_store(&closes, 99);
	ok(get(h, "/v1/close", 100, &a, &err) == -EIO && http_may_retry(-EIO, &a),
	   "closed without an answer again and again: an error");
}

static double now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void *cancel_when_stalled(void *user)
{
	for (int i = 0; i < 10000 && !atomic_load(&stalled); i++)
		(void)usleep(1000);
	http_cancel(user);
	return NULL;
}

static void test_stall(const struct https_server *s)
{
	struct http_target t = target_of(s);
	struct http *h = http_new(&t);
	struct http_request q = {.method = "GET", .path = "/v1/stall", .timeout_s = 2};
	struct http_answer a = {0};
	struct err err = {0};
	pthread_t thread;
	double start = now_s();

	ok(http_do(h, &q, &a, &err) == -ETIMEDOUT && http_may_retry(-ETIMEDOUT, &a),
	   "a server without a word: time-out");
	ok(now_s() - start < 5, "when it was to be");
	atomic_store(&stalled, false);
	if (pthread_create(&thread, NULL, cancel_when_stalled, h) != 0)
		abort();
	q.timeout_s = 60;
	start = now_s();
	ok(http_do(h, &q, &a, &err) == -ECANCELED, "cancelled from another thread");
	ok(now_s() - start < 2, "within a second");
	(void)pthread_join(thread, NULL);
	ok(get(h, "/v1/json", 100, &a, &err) == -ECANCELED, "and it stays cancelled");
	http_free(h);
	http_free(NULL);
}

/* Connections are closed on exec (libcurl's own pair of sockets for waking up is not ours to set). */
static void test_cloexec(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int domain, n = 0;
	bool good = true;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread reads this directory stream */
	while (d && (e = readdir(d))) {
		int fd = atoi(e->d_name); /* NOLINT(cert-err34-c): names of /proc/self/fd */

		socklen_t size = sizeof(domain);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
		    domain == AF_INET) {
			good = good && (fcntl(fd, F_GETFD) & FD_CLOEXEC);
			n++;
		}
	}
	ok(d && good && n >= 3, "no connection outlives an exec");
	if (d)
		(void)closedir(d);
}

int main(void)
{
	struct https_server *s = https_server_new(handle, false);
	struct http_target t = target_of(s);
	struct http *h = http_new(&t);

	test_url();
	test_pin();
	test_echo(h, s);
	test_cloexec();
	test_status(h);
	test_json(h);
	test_trust(s);
	test_transport(h, s);
	test_stall(s);
	http_free(h);
	https_server_free(s);
	return done();
}
