/* A machine that pairs among servers that stall, send too much, nonsense, or answer in a hurry; and one that means it. */
#include "agent/pair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/console.h"
#include "common/cleanup.h"
#include "common/setting.h"
#include "tests/lib/https_server.h"
#include "tests/unit/tap.h"

#define MACHINE "000102030405060708090a0b0c0d0e0f"
#define BIG	(1u << 20)

static char screen_path[] = "/tmp/hoist-test-pair-XXXXXX";
static atomic_uint hurried;

static struct https_answer answer(const char *body, size_t size)
{
	struct https_answer a = {0};
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 size);

	a.size = (size_t)n + size;
	a.data = malloc(a.size);
	if (!a.data)
		abort();
	memcpy(a.data, head, (size_t)n);
	memcpy(a.data + n, body, size);
	return a;
}

static struct https_answer text(const char *body)
{
	return answer(body, strlen(body));
}

static struct https_answer stalls(const struct https_request *q)
{
	(void)q;
	return (struct https_answer){.stall = true};
}

static struct https_answer sends_much(const struct https_request *q)
{
	static char big[BIG];

	(void)q;
	memset(big, ' ', sizeof(big));
	return answer(big, sizeof(big));
}

static struct https_answer talks_nonsense(const struct https_request *q)
{
	(void)q;
	return text(
		"{\"pairing\": \"482 913\", \"random\": [482, 913], \"name\": \"\\u001b[2J482 913\"}");
}

static struct https_answer begun(const char *name)
{
	char body[512];

	(void)snprintf(body, sizeof(body),
		       "{\"pairing\": \"%064d\", \"random\": \"%064d\", \"name\": \"%s\", "
		       "\"expires_s\": 600}",
		       7, 8, name);
	return text(body);
}

/* A code of its own making on our screen is all that it wants. */
static struct https_answer tempts(const struct https_request *q)
{
	static const char busy[] =
		"{\"error\": {\"code\": \"busy\", \"message\": \"*** PAIRING CODE 111 222 333 444\"}}";
	struct https_answer a = {0};

	if (strstr(q->head, "/pair "))
		return begun("tempter");
	if (strstr(q->head, "/reveal "))
		return text("{\"state\": \"waiting\", \"expires_s\": 600}");
	a.data = malloc(512);
	if (!a.data)
		abort();
	a.size = (size_t)snprintf((char *)a.data, 512,
				  "HTTP/1.1 503 Busy\r\nContent-Length: %zu\r\n\r\n%s",
				  sizeof(busy) - 1, busy);
	return a;
}

/* "waiting", at once, for ever. */
static struct https_answer hurries(const struct https_request *q)
{
	atomic_fetch_add(&hurried, 1);
	return strstr(q->head, "/pair ") ? begun("hasty")
					 : text("{\"state\": \"waiting\", \"expires_s\": 1}");
}

/* What stands on the screen by now. */
static char *read_screen(void)
{
	static char buf[65536];
	FILE *f = fopen(screen_path, "re");
	size_t n = f ? fread(buf, 1, sizeof(buf) - 1, f) : 0;

	if (f)
		(void)fclose(f);
	buf[n] = '\0';
	return buf;
}

/* Somebody reads the proof there, after its server's name is shown, and types it. */
static struct https_answer is_honest(const struct https_request *q)
{
	char body[128], digits[16] = "", *line;

	if (strstr(q->head, "/pair "))
		return begun("honest");
	if (strstr(q->head, "/reveal "))
		return text("{\"state\": \"waiting\", \"expires_s\": 600}");
	line = strstr(read_screen(), "of server 'honest'");
	if (!line)
		return text("{\"state\": \"waiting\", \"expires_s\": 600}");
	while (strncmp(line, "PAIRING CODE", 12) != 0)
		line--;
	(void)snprintf(digits, sizeof(digits), "%.7s", line + 22);
	(void)snprintf(body, sizeof(body),
		       "{\"state\": \"confirmed\", \"expires_s\": 600, \"proof\": \"%.3s%.3s\"}",
		       digits, digits + 4);
	return text(body);
}

static void offer(struct pair *p, const struct https_server *s, const char *name)
{
	char url[64];

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", https_server_port(s));
	pair_offer(p, https_server_pin(s), url, name);
}

static void *interrupt_later(void *arg)
{
	while (atomic_load(&hurried) < 4) /* begin, reveal, two questions */
		(void)usleep(10000);
	pair_interrupt(arg);
	return NULL;
}

int main(void)
{
	char *device = screen_path;
	struct setting_list consoles = {&device, 1};
	struct console *console;
	struct pair_setup setup = {.machine_id = MACHINE, .name = "web1"};
	struct https_server *servers[5], *honest;
	struct pair_result result;
	struct pair *p;
	struct err err;
	pthread_t thread;
	uint64_t begin;
	int fd = mkstemp(screen_path);

	if (fd < 0 || !freopen("/dev/null", "w", stderr))
		abort();
	(void)close(fd);
	console = console_new(&consoles);
	setup.console = console;
	p = console ? pair_new(&setup) : NULL;
	if (!p)
		abort();
	servers[0] = https_server_new(stalls, false);
	servers[1] = https_server_new(sends_much, false);
	servers[2] = https_server_new(talks_nonsense, false);
	servers[3] = https_server_new(hurries, false);
	servers[4] = https_server_new(tempts, false);
	begin = clock_ms();
	for (unsigned i = 0; i < 5; i++) {
		if (i != 1) /* it has its turn below */
			offer(p, servers[i], "server");
	}
	if (pthread_create(&thread, NULL, interrupt_later, p) != 0)
		abort();
	ok(pair_run(p, &result, &err) == -ECANCELED, "interrupted among servers that are none");
	(void)pthread_join(thread, NULL);
	ok(atomic_load(&hurried) <= 4 + (clock_ms() - begin) / 1000,
	   "one that answers at once is asked once a second");
	begin = clock_ms();
	pair_free(p);
	ok(clock_ms() - begin < 20000, "and what stalls does not hold up the end");
	ok(strstr(read_screen(), "of server 'hasty'") ||
		   strstr(read_screen(), "of server 'server'"),
	   "one of them got as far as a code");
	ok(!strstr(read_screen(), "482 913") && !strstr(read_screen(), "111 222") &&
		   !strstr(read_screen(), "[2J"),
	   "and none showed what it liked");
	ok(strstr(read_screen(), "makes no sense"), "nonsense is called so");
	ok(strstr(read_screen(), "status 503"), "and a refusal by its number");

	p = pair_new(&setup);
	honest = https_server_new(is_honest, false);
	if (!p)
		abort();
	for (unsigned i = 0; i < 3; i++)
		offer(p, servers[i], "server");
	offer(p, honest, "honest");
	ok(pair_run(p, &result, &err) == 0, "one that means it is found among them");
	ok(strcmp(result.target.pin, https_server_pin(honest)) == 0,
	   "its key is the one to be trusted");
	pair_free(p);
	for (unsigned i = 0; i < 5; i++)
		https_server_free(servers[i]);
	https_server_free(honest);
	console_free(console);
	(void)unlink(screen_path);
	return done();
}
