/* The small pure parts of the server: routes, escapes, rates, rumours, addresses, codes. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/limits.h"
#include "server/access/password.h"
#include "server/api_error.h"
#include "server/fleet/pace.h"
#include "server/http/answer.h"
#include "server/http/route.h"
#include "server/listen.h"
#include "server/rate.h"
#include "server/rumours.h"
#include "tests/unit/tap.h"

/* ---- routes */

static const struct route routes[] = {
	{HTTP_GET, AUTH_ANYONE, "/v1/a", BODY_NONE, 0, NULL, NULL},
	{HTTP_GET, AUTH_ANYONE, "/v1/a/{}", BODY_NONE, 0, NULL, NULL},
	{HTTP_DELETE, AUTH_ANYONE, "/v1/a/{}", BODY_NONE, 0, NULL, NULL},
	{HTTP_GET, AUTH_ANYONE, "/v1/a/{}/b/{}", BODY_NONE, 0, NULL, NULL},
	{HTTP_GET, AUTH_ANYONE, "/v1/a/{}/c", BODY_NONE, 0, NULL, NULL},
};

static void test_routes(void)
{
	static const struct {
		const char *method, *path;
		enum route_result result;
		int route;
		const char *first, *second;
	} cases[] = {
		{"GET", "/v1/a", ROUTE_FOUND, 0, "", ""},
		{"GET", "/v1/a/x", ROUTE_FOUND, 1, "x", ""},
		{"DELETE", "/v1/a/x", ROUTE_FOUND, 2, "x", ""},
		{"GET", "/v1/a/x/b/y", ROUTE_FOUND, 3, "x", "y"},
		{"GET", "/v1/a/x/c", ROUTE_FOUND, 4, "x", ""},
		{"GET", "/v1/a/a%20b%2Fc", ROUTE_FOUND, 1, "a b/c", ""},
		{"GET", "/v1/a/%25", ROUTE_FOUND, 1, "%", ""},
		{"POST", "/v1/a", ROUTE_OTHER_METHOD, 0, "", ""},
		{"get", "/v1/a", ROUTE_OTHER_METHOD, 0, "", ""},
		{"PUT", "/v1/a/x", ROUTE_OTHER_METHOD, 0, "", ""},
		{"GET", "/v1/a/", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "v1/a", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/x/b/", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a//b/y", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/x/b/y/z", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/%61", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/%00", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/x%00y", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/%0a", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/%7f", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/%", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/%2", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/a/%2g", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/ab", ROUTE_NOT_FOUND, 0, "", ""},
		{"GET", "/v1/A", ROUTE_NOT_FOUND, 0, "", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct route_match m = {.route = NULL};
		enum route_result r =
			route_find(routes, sizeof(routes) / sizeof(routes[0]),
				   http_method_from_name(cases[i].method), cases[i].path, &m);
		bool good = r == cases[i].result;

		if (good && r == ROUTE_FOUND) {
			good = m.route == &routes[cases[i].route] &&
			       (!*cases[i].first || strcmp(m.params[0], cases[i].first) == 0) &&
			       (!*cases[i].second || strcmp(m.params[1], cases[i].second) == 0);
		} else if (good) {
			good = m.route == NULL;
		}
		ok(good, cases[i].path);
	}
}

static void test_percent_decode(void)
{
	char buf[5] = "----";

	ok(percent_decode("abcd", 4, buf, sizeof(buf)) && strcmp(buf, "abcd") == 0, "it just fits");
	ok(!percent_decode("abcde", 5, buf, sizeof(buf)), "one more does not");
	ok(percent_decode("%61%62%63%64", 12, buf, sizeof(buf)) && strcmp(buf, "abcd") == 0,
	   "decoded it counts");
	ok(percent_decode("", 0, buf, sizeof(buf)) && !*buf, "nothing");
	ok(!percent_decode("%6", 2, buf, sizeof(buf)), "the end is not read beyond");
	ok(percent_decode("\xc3\xa9", 2, buf, sizeof(buf)) && strcmp(buf, "\xc3\xa9") == 0,
	   "bytes above 127 stay");
}

/* ---- rates */

static void test_pace(void)
{
	struct pace p = {0};

	ok(pace_rate(&p, 0) == 0, "pace: nothing is known at first");
	pace_add(&p, 1000, 0);
	ok(pace_rate(&p, 2000) == 0, "pace: nor after one word");
	pace_add(&p, 2000, 1000000);
	ok(pace_rate(&p, 2000) == 1000000, "pace: two words a second apart");
	ok(pace_rate(&p, 6000) == 200000, "pace: silence makes it slower");
	for (uint64_t s = 3; s <= 100; s++)
		pace_add(&p, s * 1000, (s - 1) * 1000000);
	ok(pace_rate(&p, 100000) == 1000000, "pace: a steady stream");
	for (uint64_t s = 101; s <= 140; s++)
		pace_add(&p, s * 1000, 99000000 + (s - 100) * 2000000);
	ok(pace_rate(&p, 140000) == 2000000, "pace: what is older than the window is forgotten");
	pace_add(&p, 141000, 5);
	ok(pace_rate(&p, 141000) == 0, "pace: a smaller number begins anew");
	pace_reset(&p);
	for (uint64_t ms = 0; ms <= 20000; ms += 10)
		pace_add(&p, ms, ms * 1000);
	ok(pace_rate(&p, 20000) > 900000 && pace_rate(&p, 20000) < 1100000,
	   "pace: many words a second");
	ok(pace_rate(&p, 20000 + PACE_WINDOW_MS + 60000) == 0, "pace: long silence");
	ok(pace_eta(0, 0) == 0 && pace_eta(10, 0) == -1 && pace_eta(10, 3) == 4 &&
		   pace_eta(UINT64_MAX, 1) == -1,
	   "pace: what is left");
}

static void test_rate(void)
{
	static const struct rate_limits limits = {4, 2000, 200, 100000};
	static struct rate r;
	uint8_t one[16] = {1}, two[16] = {2};
	unsigned n = 0;

	rate_init(&r, &limits, 1000);
	for (unsigned i = 0; i < 100; i++)
		n += rate_allow(&r, one, 1000);
	ok(n == limits.burst, "rate: a burst, then no more");
	ok(rate_allow(&r, two, 1000), "rate: another source has its own");
	ok(!rate_allow(&r, one, 1000 + 400), "rate: not yet");
	ok(rate_allow(&r, one, 1000 + 500), "rate: after half a second one more");
	ok(!rate_allow(&r, one, 1000 + 500), "rate: and one only");
	n = 0;
	for (unsigned i = 0; i < 100; i++)
		n += rate_allow(&r, one, 1ull << 60);
	ok(n == limits.burst, "rate: after an age no more than a burst");
	rate_refund(&r, one);
	rate_refund(&r, two);
	ok(rate_allow(&r, one, 1ull << 60) && !rate_allow(&r, one, 1ull << 60),
	   "rate: what was given back may be had again, once");
	for (unsigned i = 0; i < 9; i++)
		rate_refund(&r, two);
	for (n = 0; rate_allow(&r, two, 1ull << 60);)
		n++;
	ok(n == limits.burst, "rate: more than a burst is not given back");
	rate_init(&r, &limits, 0);
	n = 0;
	for (uint32_t i = 0; i < 100000; i++) {
		uint8_t source[16] = {3};

		memcpy(source + 4, &i, sizeof(i));
		n += rate_allow(&r, source, 0);
	}
	ok(n == limits.all_burst, "rate: forged sources do not help");
	ok(r.len == RATE_SOURCES, "rate: and take no more room");
	n = 0;
	for (uint64_t ms = 0; ms < 10000; ms++) {
		uint8_t source[16] = {4};

		memcpy(source + 4, &ms, sizeof(ms));
		n += rate_allow(&r, source, ms);
	}
	ok(n >= 990 && n <= 1010, "rate: so many a second in all");
}

/* ---- passwords */

struct knocking {
	struct passwords *p;
	uint8_t address[16];
	int r;
};

static void *knock(void *arg)
{
	struct knocking *k = arg;
	struct err err;

	k->r = password_verify(k->p, NULL, "a password", k->address, &err);
	return NULL;
}

/* One address does not take all places in which one waits for a hash.  These here take long enough for all of them to come meanwhile. */
static void test_password_places(void)
{
	static const struct password_cost slow = {32u << 20, 6};
	struct passwords *p = passwords_new(&slow);
	struct knocking k[12] = {{.r = 0}};
	unsigned busy[2] = {0};
	pthread_t threads[12];

	for (size_t i = 0; i < 12; i++) {
		k[i].p = p;
		k[i].address[0] = i >= 10;
		(void)!pthread_create(&threads[i], NULL, knock, &k[i]);
	}
	for (size_t i = 0; i < 12; i++) {
		(void)pthread_join(threads[i], NULL);
		busy[i >= 10] += k[i].r == API_BUSY;
	}
	ok(busy[0] >= 2, "passwords: of ten from one address few may wait");
	ok(busy[1] == 0, "passwords: and another address finds a place");
	passwords_free(p);
}

static void test_rumours(void)
{
	static struct rumour got[RUMOURS_MAX];
	static struct rumours r;
	struct rumour m = {.name = "n"};
	size_t len;

	rumours_init(&r);
	ok(rumours_copy(&r, got) == 0, "rumours: none at first");
	for (int i = 0; i < 100; i++) {
		(void)snprintf(m.machine, sizeof(m.machine), "%d", i);
		m.last_seen = i;
		rumours_add(&r, &m);
	}
	len = rumours_copy(&r, got);
	ok(len == RUMOURS_MAX && strcmp(got[0].machine, "99") == 0 &&
		   strcmp(got[RUMOURS_MAX - 1].machine, "36") == 0,
	   "rumours: the latest are kept, latest first");
	(void)snprintf(m.machine, sizeof(m.machine), "40");
	m.last_seen = 1000;
	rumours_add(&r, &m);
	len = rumours_copy(&r, got);
	ok(len == RUMOURS_MAX && strcmp(got[0].machine, "40") == 0 && got[0].last_seen == 1000 &&
		   strcmp(got[1].machine, "99") == 0 &&
		   strcmp(got[RUMOURS_MAX - 1].machine, "36") == 0,
	   "rumours: one that comes again moves to the front");
	len = 0;
	for (size_t i = 0; i < RUMOURS_MAX; i++)
		len += strcmp(got[i].machine, "40") == 0;
	ok(len == 1, "rumours: and is there once");
	rumours_done(&r);
}

/* ---- addresses, codes */

/* Who hears a machine by one address must not name another one at which nobody listens. */
static void test_listen_choose(void)
{
	static const struct {
		const char *bound[3], *local, *want;
	} cases[] = {
		{{"[::]:1"}, "192.0.2.1", "[::]:1"},
		{{"[::]:1"}, "[::]", "[::]:1"},
		{{"0.0.0.0:1"}, "192.0.2.1", "0.0.0.0:1"},
		{{"0.0.0.0:1"}, "[::]", NULL},
		{{"192.0.2.1:1"}, "192.0.2.2", "192.0.2.1:1"},
		{{"192.0.2.1:1"}, "[::]", NULL},
		{{"[2001:db8::1]:1"}, "192.0.2.2", NULL},
		{{"[2001:db8::1]:1"}, "[::]", "[2001:db8::1]:1"},
		{{"127.0.0.1:1", "192.0.2.1:2", "0.0.0.0:3"}, "192.0.2.1", "192.0.2.1:2"},
		{{"127.0.0.1:1", "192.0.2.1:2", "0.0.0.0:3"}, "192.0.2.9", "0.0.0.0:3"},
		{{"127.0.0.1:1", "192.0.2.1:2", "[::]:3"}, "[::]", "[::]:3"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct listen_addr bound[3], local, want;
		const struct listen_addr *got;
		struct err err;
		size_t len = 0;
		bool good = listen_parse(cases[i].local, HOIST_PORT, &local, &err) == 0;

		for (; len < 3 && cases[i].bound[len]; len++)
			good = good && listen_parse(cases[i].bound[len], HOIST_PORT, &bound[len],
						    &err) == 0;
		got = listen_choose(bound, len, &local.sa);
		if (!cases[i].want) {
			good = good && !got;
		} else {
			good = good && listen_parse(cases[i].want, HOIST_PORT, &want, &err) == 0 &&
			       got && got->sa_size == want.sa_size &&
			       memcmp(&got->sa, &want.sa, want.sa_size) == 0 &&
			       listen_port(got) == listen_port(&want);
		}
		ok(good, cases[i].want ? cases[i].want : "none");
	}
}

static void test_listen(void)
{
	static const struct {
		const char *text;
		int family; /* 0: refused */
		unsigned port;
	} cases[] = {
		{"127.0.0.1:80", AF_INET, 80},
		{"127.0.0.1", AF_INET, 4647},
		{"127.0.0.1:0", AF_INET, 0},
		{"[::1]:65535", AF_INET6, 65535},
		{"[::1]", AF_INET6, 4647},
		{"::1", AF_INET6, 4647},
		{":4648", AF_INET6, 4648},
		{"", AF_INET6, 4647},
		{"[::]:1", AF_INET6, 1},
		{"localhost:1", 0, 0},
		{"127.0.0.1:65536", 0, 0},
		{"127.0.0.1:", 0, 0},
		{"127.0.0.1:-1", 0, 0},
		{"127.0.0.1:8 0", 0, 0},
		{"127.0.0.1:000001", 0, 0},
		{"[::1", 0, 0},
		{"[::1]x", 0, 0},
		{"[127.0.0.1]:1", AF_INET, 1},
		{"256.0.0.1:1", 0, 0},
		{"1.2.3:1", 0, 0},
		{"[1:2:3:4:5:6:7:8:9]:1", 0, 0},
		{"::1:99999", 0, 0},
		{"https://127.0.0.1:1", 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listen_addr a = {.sa_size = 0};
		struct err err = {0};
		int r = listen_parse(cases[i].text, HOIST_PORT, &a, &err);
		bool good;

		if (cases[i].family == 0)
			good = r == -EINVAL && strstr(err.msg, "listen at") && a.sa_size == 0;
		else if (cases[i].family == AF_INET) {
			good = r == 0 && a.sa.ss_family == AF_INET &&
			       ntohs(((struct sockaddr_in *)(void *)&a.sa)->sin_port) ==
				       cases[i].port;
		} else {
			good = r == 0 && a.sa.ss_family == AF_INET6 &&
			       ntohs(((struct sockaddr_in6 *)(void *)&a.sa)->sin6_port) ==
				       cases[i].port;
		}
		ok(good, cases[i].text);
	}
}

static void test_codes(void)
{
	bool good = true;

	for (int c = API_BAD_REQUEST; c < API_END; c++) {
		enum api_code code = api_code_of(c);
		const char *name = api_code_name(code);

		good = good && (int)code == c && name && *name && api_code_status(code) >= 400 &&
		       api_code_status(code) < 600 &&
		       (api_code_retry_after(code) > 0) ==
			       (api_code_status(code) == 503 || api_code_status(code) == 507 ||
				api_code_status(code) == 429);
	}
	ok(good, "codes: each has a name and a status; those to be repeated say when");
	ok(api_code_of(-ENOSPC) == API_NO_SPACE && api_code_of(-ENOENT) == API_NOT_FOUND &&
		   api_code_of(-EBADMSG) == API_STORE_DAMAGED &&
		   api_code_of(-EIO) == API_INTERNAL && api_code_of(-ENOMEM) == API_BUSY &&
		   api_code_of(-EPROTO) == API_BAD_REQUEST,
	   "codes: of errnos");
	ok(strcmp(api_code_name(API_NO_SPACE), "no_space") == 0 &&
		   api_code_status(API_NO_SPACE) == 507,
	   "codes: no_space");
}

static void test_range(void)
{
	static const struct {
		const char *text;
		uint64_t size;
		bool good;
		uint64_t offset, length;
	} cases[] = {
		{"bytes=0-0", 10, true, 0, 1},
		{"bytes=3-", 10, true, 3, 7},
		{"bytes=3-99", 10, true, 3, 7},
		{"bytes=9-9", 10, true, 9, 1},
		{"bytes=10-", 10, false, 0, 0},
		{"bytes=5-4", 10, false, 0, 0},
		{"bytes=-5", 10, false, 0, 0},
		{"bytes=0-1,3-4", 10, false, 0, 0},
		{"bytes=18446744073709551616-", 10, false, 0, 0},
		{"bytes=0-18446744073709551616", 10, false, 0, 0},
		{"bytes=0-18446744073709551615", 10, true, 0, 10},
		{"lines=0-1", 10, false, 0, 0},
		{"bytes=0", 10, false, 0, 0},
		{"bytes=0-", 0, false, 0, 0},
		{NULL, 10, false, 0, 0},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t offset = 0, length = 0;
		char name[100];

		(void)snprintf(name, sizeof(name), "range '%s' of %llu",
			       cases[i].text ? cases[i].text : "(none)",
			       (unsigned long long)cases[i].size);
		ok(answer_range(cases[i].text, cases[i].size, &offset, &length) == cases[i].good &&
			   offset == cases[i].offset && length == cases[i].length,
		   name);
	}
}

static void test_listen_url(void)
{
	static const struct {
		const char *bound[3], *local, *want;
	} cases[] = {
		{{"[::]:4647"}, "192.0.2.7:80", "https://192.0.2.7:4647"},
		{{"[::]:4647"}, "[2001:db8::1]:80", "https://[2001:db8::1]:4647"},
		{{"[::]:4647"}, "127.0.0.1:80", NULL},
		{{"[::]:4647"}, "[::1]:80", NULL},
		{{"[::]:4647"}, "[fe80::1]:80", NULL},
		{{"192.0.2.9:5000"}, "192.0.2.7:80", "https://192.0.2.9:5000"},
		{{"192.0.2.9:5000", "192.0.2.7:5001"}, "192.0.2.7:80", "https://192.0.2.7:5001"},
		{{"127.0.0.1:5000"}, "192.0.2.7:80", NULL},
		{{"192.0.2.9:5000"}, "[2001:db8::1]:80", NULL},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct listen_addr bound[3], local;
		char url[LISTEN_TEXT_SIZE] = "", name[160];
		struct err err;
		size_t len = 0;
		bool good = listen_parse(cases[i].local, 0, &local, &err) == 0;
		int r;

		for (; len < 3 && cases[i].bound[len]; len++)
			good = good && listen_parse(cases[i].bound[len], 0, &bound[len], &err) == 0;
		r = listen_url(bound, len, &local.sa, url);
		(void)snprintf(name, sizeof(name), "a machine that reached %s is told %s",
			       cases[i].local, cases[i].want ? cases[i].want : "no address");
		ok(good && (cases[i].want ? r == 0 && strcmp(url, cases[i].want) == 0
					  : r == -ENOENT),
		   name);
	}
}

int main(void)
{
	test_routes();
	test_percent_decode();
	test_pace();
	test_rate();
	test_password_places();
	test_rumours();
	test_listen();
	test_listen_choose();
	test_codes();
	test_range();
	test_listen_url();
	return done();
}
