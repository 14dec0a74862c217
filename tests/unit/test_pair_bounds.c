/* How often a machine shows codes, and to how many servers: each bound of docs/protocol.md "Pairing" to the millisecond, under a clock of our own.
 *
 * Whoever is to wait moves that clock to the end of his wait, unless it is held; so what a server sees is exactly what the agent has waited. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "agent/console.h"
#include "agent/pair_server.h"
#include "common/setting.h"
#include "tests/lib/https_server.h"
#include "tests/unit/tap.h"

#define MACHINE	    "000102030405060708090a0b0c0d0e0f"
#define S	    1000ull
#define START	    (1ull << 40) /* beyond the real one: who waits by it wakes when he is woken */
#define BEGINS_KEPT 32u
#define PATIENCE_MS 30000u

static char screen_path[] = "/tmp/hoist-test-pair-bounds-XXXXXX";
static struct console *console;
static struct pair *table;
static struct https_server *server;

/* What the servers do. */
static struct {
	int status;	   /* refuses to begin; 0: does not */
	unsigned retry_s;  /* then */
	unsigned life_s;   /* of the pairing */
	const char *state; /* that the waiter is told; "confirmed" comes with a false proof */
	unsigned talks;	   /* so many pairings, then it stalls */
} script;

/* ---- the clock */

static _Atomic uint64_t clock_at;
static atomic_bool is_held;
static atomic_uint looked; /* how often at it */
static atomic_uint waits;  /* that have begun */

static uint64_t fake_ms(void)
{
	atomic_fetch_add(&looked, 1);
	return atomic_load(&clock_at);
}

static void move_to(uint64_t end_ms)
{
	uint64_t now = atomic_load(&clock_at);

	while (now < end_ms && !atomic_compare_exchange_weak(&clock_at, &now, end_ms))
		;
}

static void pass(uint64_t end_ms)
{
	atomic_fetch_add(&waits, 1);
	if (!atomic_load(&is_held))
		move_to(end_ms);
}

/* ---- servers */

static struct {
	pthread_mutex_t lock;
	uint64_t at_ms[BEGINS_KEPT]; /* since START */
	char host[BEGINS_KEPT][32];
	size_t len;
} begins = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t note_begin(const char *head)
{
	const char *host = strstr(head, "Host: ");
	size_t n;

	(void)pthread_mutex_lock(&begins.lock);
	n = begins.len++;
	if (n < BEGINS_KEPT) {
		begins.at_ms[n] = atomic_load(&clock_at) - START;
		(void)snprintf(begins.host[n], sizeof(begins.host[n]), "%.*s",
			       host ? (int)strcspn(host + 6, "\r") : 0, host ? host + 6 : "");
	}
	(void)pthread_mutex_unlock(&begins.lock);
	return n;
}

static size_t begins_len(void)
{
	size_t n;

	(void)pthread_mutex_lock(&begins.lock);
	n = begins.len;
	(void)pthread_mutex_unlock(&begins.lock);
	return n;
}

static struct https_answer answer(const char *status, const char *body)
{
	struct https_answer a = {.data = malloc(1024)};

	if (!a.data)
		abort();
	a.size = (size_t)snprintf(a.data, 1024, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
				  status, strlen(body), body);
	return a;
}

static struct https_answer refuses(void)
{
	char status[100];

	(void)snprintf(status, sizeof(status), "%d No", script.status);
	if (script.retry_s > 0)
		(void)snprintf(status, sizeof(status), "%d No\r\nRetry-After: %u", script.status,
			       script.retry_s);
	return answer(status, "{\"error\": {\"code\": \"x\", \"message\": \"111 222 333 444\"}}");
}

static struct https_answer begun(void)
{
	char body[512];

	(void)snprintf(body, sizeof(body),
		       "{\"pairing\": \"%064d\", \"random\": \"%064d\", \"name\": \"s\", "
		       "\"expires_s\": %u}",
		       7, 8, script.life_s);
	return answer("201 Created", body);
}

/* Of the one server: any other than is on the screen. */
static unsigned false_proof(void)
{
	unsigned proof;

	(void)pthread_mutex_lock(&table->lock);
	proof = (table->servers[0].proof + 1) % PAIRING_CODES;
	(void)pthread_mutex_unlock(&table->lock);
	return proof;
}

static struct https_answer serve(const struct https_request *q)
{
	char body[128];

	if (strstr(q->head, "/pair ")) {
		if (note_begin(q->head) >= script.talks)
			return (struct https_answer){.stall = true};
		return script.status ? refuses() : begun();
	}
	if (strstr(q->head, "/reveal "))
		return answer("200 OK", "{\"state\": \"waiting\", \"expires_s\": 600}");
	if (!script.state)
		return (struct https_answer){.stall = true};
	if (strcmp(script.state, "gone") == 0)
		return answer("404 Gone", "{\"error\": {\"code\": \"x\", \"message\": \"x\"}}");
	(void)snprintf(body, sizeof(body),
		       "{\"state\": \"%s\", \"expires_s\": 1, \"proof\": \"%06u\"}", script.state,
		       strcmp(script.state, "confirmed") == 0 ? false_proof() : 0);
	return answer("200 OK", body);
}

/* ---- waiting for what happens */

static const char *read_screen(void)
{
	static char buf[65536];
	FILE *f = fopen(screen_path, "re");
	size_t n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;

	if (f)
		(void)fclose(f);
	buf[n] = '\0';
	return buf;
}

static unsigned lines_with(const char *what)
{
	unsigned n = 0;

	for (const char *p = read_screen(); (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* Until `is` says so of `n` of `what`. */
static bool wait_for(bool (*is)(size_t n, const char *what), size_t n, const char *what)
{
	for (unsigned i = 0; i < PATIENCE_MS / 2; i++) {
		if (is(n, what))
			return true;
		(void)usleep(2000);
	}
	printf("# in vain: %zu %s\n", n, what);
	return false;
}
static bool have_begun(size_t n, const char *what)
{
	(void)what;
	return begins_len() >= n;
}
static bool are_on_screen(size_t n, const char *what)
{
	return lines_with(what) >= n;
}
static bool do_wait(size_t n, const char *what)
{
	(void)what;
	return atomic_load(&waits) >= n;
}
static bool have_looked(size_t n, const char *what)
{
	(void)what;
	return atomic_load(&looked) >= n;
}

/* ---- the agent */

static void offer(const struct https_server *s)
{
	char url[64];

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", https_server_port(s));
	pair_offer(table, https_server_pin(s), url, "s");
}

static void restart(bool held)
{
	struct pair_setup setup = {.machine_id = MACHINE,
				   .name = "web1",
				   .console = console,
				   .now_ms = fake_ms,
				   .pass = pass};

	pair_free(table);
	if (server)
		https_server_free(server);
	if (truncate(screen_path, 0) < 0)
		abort();
	begins.len = 0;
	atomic_store(&clock_at, START);
	atomic_store(&is_held, held);
	atomic_store(&waits, 0);
	script.status = 0;
	script.retry_s = 0;
	script.life_s = 600;
	script.state = NULL;
	script.talks = BEGINS_KEPT;
	server = https_server_new(serve, false);
	table = pair_new(&setup);
	if (!table)
		abort();
}

static void wake(void)
{
	(void)pthread_mutex_lock(&table->lock);
	(void)pthread_cond_broadcast(&table->wake);
	(void)pthread_mutex_unlock(&table->lock);
}

/* Offers the server and compares when it is asked for pairings with what is due. */
static bool are_begun_at(const uint64_t *due_s, size_t len)
{
	bool same;

	script.talks = (unsigned)len - 1;
	offer(server);
	same = wait_for(have_begun, len, "pairings");
	for (size_t i = 0; same && i < len; i++) {
		if (begins.at_ms[i] == due_s[i] * S)
			continue;
		printf("# pairing %zu came after %llu ms, not %llu s\n", i,
		       (unsigned long long)begins.at_ms[i], (unsigned long long)due_s[i]);
		same = false;
	}
	return same;
}
#define ARE_BEGUN_AT(...)                             \
	are_begun_at((const uint64_t[]){__VA_ARGS__}, \
		     sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* The second one, after the first was refused with `status`: not sooner than `from_s`, and sooner than `to_s`. */
static bool comes_again(int status, unsigned retry_s, uint64_t from_s, uint64_t to_s)
{
	restart(false);
	script.status = status;
	script.retry_s = retry_s;
	script.talks = 1;
	offer(server);
	if (!wait_for(have_begun, 2, "pairings"))
		return false;
	printf("# after %llu ms\n", (unsigned long long)begins.at_ms[1]);
	return begins.at_ms[1] >= from_s * S && begins.at_ms[1] < to_s * S;
}

/* ---- false proofs */

/* 1 min, then twice as long each time, to 64 min; of the first four three fill ten minutes, as for all. */
static void test_false_proofs(void)
{
	restart(false);
	script.state = "confirmed";
	ok(ARE_BEGUN_AT(0, 60, 180, 600, 1080, 2040, 3960, 7800, 11640),
	   "after a false proof the next code comes after a minute, doubled each time up to 64");
	ok(lines_with("NOT BY SOMEBODY WHO READ THE CODE HERE") >= 1, "and the screen says why");
	ok(!table->won, "it is not trusted");
}

/* Whoever guesses can be many servers. */
static void test_hold_for_all(void)
{
	struct https_server *other = https_server_new(serve, false);
	char port[16];
	unsigned before;

	restart(true);
	script.state = "confirmed";
	script.talks = 1;
	offer(server);
	ok(wait_for(are_on_screen, 1, "NOT BY SOMEBODY"), "a false proof");
	offer(other);
	ok(wait_for(are_on_screen, 1, "too many codes or guesses") &&
		   wait_for(do_wait, 4, "waits"), /* of each one of nothing, and this */
	   "another server has to wait");
	move_to(START + 60 * S - 1);
	before = atomic_load(&looked);
	wake();
	ok(wait_for(have_looked, before + 2, "looks at the clock") && begins_len() == 1,
	   "one millisecond less than a minute");
	move_to(START + 60 * S);
	wake();
	ok(wait_for(have_begun, 3, "pairings") && begins.at_ms[1] == 60 * S &&
		   begins.at_ms[2] == 60 * S,
	   "a minute, for both");
	(void)snprintf(port, sizeof(port), ":%u", https_server_port(other));
	ok(strstr(begins.host[1], port) || strstr(begins.host[2], port), "the other one too");
	pair_free(table);
	table = NULL;
	https_server_free(other);
}

/* ---- codes */

static void test_codes_of_one(void)
{
	restart(false);
	script.state = "ended";
	ok(ARE_BEGUN_AT(0, 3, 6, 600, 603, 606, 1200),
	   "one server gets three codes in ten minutes, and not a fourth");
}

/* So many were shown just now, of servers that are gone. */
static void show_before(size_t n)
{
	(void)pthread_mutex_lock(&table->lock);
	for (size_t i = 0; i < n && i < PAIR_CODES_MAX; i++)
		table->codes_ms[i] = START;
	(void)pthread_mutex_unlock(&table->lock);
}

static void test_codes_of_all(void)
{
	restart(false);
	script.state = "ended";
	show_before(11);
	ok(ARE_BEGUN_AT(0, 600), "the twelfth code of all servers is shown, the thirteenth is not");
	restart(false);
	show_before(12);
	ok(ARE_BEGUN_AT(600), "twelve servers before leave none for another one");
	ok(lines_with("too many codes or guesses") == 1, "which the screen says");
}

/* ---- how it ends */

static void test_ends(void)
{
	restart(false);
	script.state = "rejected";
	ok(ARE_BEGUN_AT(0, 900), "after a rejection it waits for a quarter of an hour");
	ok(lines_with("REJECTED there; asking again in 15 minutes") == 1, "and says so");
	restart(false);
	script.state = "wrong_code";
	ok(ARE_BEGUN_AT(0, 3), "after a wrong code it shows another one");
	ok(lines_with("ANOTHER CODE WAS TYPED there") == 1, "and says so");
	restart(false);
	script.state = "waiting";
	script.life_s = 30;
	ok(ARE_BEGUN_AT(0, 93), "a code is not shown for longer than it is good, and a minute");
	restart(false);
	script.life_s = 0;
	ok(ARE_BEGUN_AT(0, 60) && lines_with("makes no sense") == 1,
	   "a life of nothing is nonsense");
	restart(false);
	script.state = "gone";
	script.talks = 1;
	offer(server);
	ok(wait_for(have_begun, 2, "pairings") && begins.at_ms[1] >= 3 * S &&
		   begins.at_ms[1] < 6 * S &&
		   lines_with("knows nothing of this pairing (any more)") == 1,
	   "one that the server has forgotten is followed by another");
}

static void test_refusals(void)
{
	ok(comes_again(409, 0, 20, 21) &&
		   lines_with("another machine that says it is this one is pairing with it") == 1,
	   "the same id elsewhere: the screen says so, and it asks again after 20 s");
	ok(lines_with("111 222") == 0, "in its own words");
	ok(comes_again(409, 500, 20, 21), "however long that server would have it wait");
	ok(comes_again(403, 0, 300, 301) && lines_with("takes no machines by pairing") == 1,
	   "a server that does not pair is asked again after 5 min");
	ok(comes_again(429, 7, 7, 9) && lines_with("asking again in 7 s") == 1,
	   "too many: as long as the server says");
	ok(comes_again(429, 900, 900, 902), "up to a quarter of an hour");
	ok(comes_again(429, 901, 900, 902), "and no longer");
	ok(comes_again(429, 0, 5, 7), "5 s if it says nothing");
	ok(comes_again(503, 0, 5, 7), "the same when it is busy");
	ok(comes_again(418, 0, 60, 61) && lines_with("it refused, with status 418") == 1,
	   "anything else: a minute");
}

/* ---- servers */

static void test_servers(void)
{
	struct https_server *others[4];
	char url[64];

	restart(true);
	offer(server);
	for (unsigned i = 0; i < 4; i++)
		others[i] = https_server_new(serve, false);
	for (unsigned i = 0; i < 3; i++)
		offer(others[i]);
	ok(wait_for(are_on_screen, 4, "PAIRING CODE"), "four servers have a code each");
	ok(table->candidates_len == 0 && lines_with("servers answer:") == 0, "there are no more");
	offer(others[3]);
	ok(table->candidates_len == 1 &&
		   lines_with("more than 4 servers answer: 4 at a time are paired with") == 1,
	   "the fifth waits, and the screen says so");
	offer(others[3]);
	ok(table->candidates_len == 1 && lines_with("servers answer:") == 1, "once");
	(void)snprintf(url, sizeof(url), "127.0.0.1:%u", https_server_port(others[3]));
	ok(begins_len() == 4 && lines_with(url) == 0, "it is not asked, and nowhere on the screen");
	pair_free(table);
	table = NULL;
	for (unsigned i = 0; i < 4; i++)
		https_server_free(others[i]);
}

int main(void)
{
	char *device = screen_path;
	struct setting_list consoles = {&device, 1};
	int fd = mkstemp(screen_path);

	if (fd < 0 || !freopen("/dev/null", "w", stderr))
		abort();
	(void)close(fd);
	console = console_new(&consoles);
	if (!console)
		abort();
	test_false_proofs();
	test_hold_for_all();
	test_codes_of_one();
	test_codes_of_all();
	test_ends();
	test_refusals();
	test_servers();
	pair_free(table);
	https_server_free(server);
	console_free(console);
	(void)unlink(screen_path);
	return done();
}
