/* An agent's session: the places where its server answers, what waits to be told there, and how often it is asked. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "agent/heartbeat.h"
#include "agent/link.h"
#include "agent/orders.h"
#include "agent/session.h"
#include "common/cleanup.h"
#include "tests/lib/https_server.h"
#include "tests/unit/tap.h"

static void count_line(void *ctx, const char *line)
{
	(void)line;
	++*(unsigned *)ctx;
}

static void note_line(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
}

static void count_down(void *ctx, bool up)
{
	*(unsigned *)ctx += !up;
}

static void note_nothing(void *ctx, bool up)
{
	(void)ctx;
	(void)up;
}

/* Of a machine with a pinned key; `url` may be NULL.  Aborts without memory. */
static struct session *make(const char *url, void (*say)(void *ctx, const char *line),
			    void (*is_up)(void *ctx, bool up), void *ctx)
{
	static char pin[65];
	struct session_setup setup = {.url = url,
				      .pin = pin,
				      .machine_id = "00112233445566778899aabbccddeeff",
				      .name = "m",
				      .say = say,
				      .is_up = is_up,
				      .ctx = ctx};
	struct session *s = NULL;
	struct err err;

	memset(pin, 'a', sizeof(pin) - 1);
	if (session_new(&setup, &s, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	return s;
}

/* A server that answers from several addresses, not all of which lead to it. */
static void test_places(void)
{
	static const char *const at[] = {"https://[fe80::1]:4647", "https://192.0.2.1:4647",
					 "https://192.0.2.2:4647"};
	unsigned lines = 0;
	struct session *s = make(NULL, count_line, note_nothing, &lines);

	for (size_t i = 0; i < 3; i++)
		session_offer(s, at[i]);
	session_offer(s, at[1]);
	ok(session_is_at(s, at[0]) && lines == 1, "the first place that answers is tried first");
	session_note(s, at[1], -ECONNREFUSED, "refused");
	ok(session_is_at(s, at[0]) && lines == 1, "what fails elsewhere is no news");
	session_note(s, at[0], -ECONNREFUSED, "refused");
	ok(session_is_at(s, at[1]), "if that fails, the next one, at once");
	session_note(s, at[0], -ECONNREFUSED, "refused");
	ok(session_is_at(s, at[1]), "however many connections had tried the first");
	session_note(s, at[1], -ETIMEDOUT, "no answer");
	session_note(s, at[2], -ETIMEDOUT, "no answer");
	ok(session_is_at(s, at[2]), "the last one stays");
	session_offer(s, at[0]);
	session_offer(s, at[1]);
	ok(session_is_at(s, at[0]), "until it is announced again");
	session_note(s, at[0], 0, NULL);
	session_offer(s, at[2]);
	session_note(s, at[0], -ECONNRESET, "reset");
	ok(session_is_at(s, at[0]), "where it has answered it is waited for");
	session_offer(s, at[1]);
	ok(session_is_at(s, at[1]), "as long as no other place answers");
	session_free(s);
}

/* The place of the settings is tried again and again, whoever answers broadcasts meanwhile. */
static void test_home(void)
{
	static const char home[] = "https://server.example:4647";
	static const char other[] = "https://192.0.2.1:4647";
	unsigned calls = 0;
	struct session *s = make(home, note_line, count_down, &calls);

	session_note(s, home, 0, NULL);
	session_note(s, home, -ECONNREFUSED, "refused");
	ok(session_is_at(s, home) && calls == 1, "it is waited for there");
	session_note(s, home, -ECONNREFUSED, "refused");
	ok(calls == 2, "each failure is told: words of two threads may overtake each other");
	session_offer(s, other);
	ok(session_is_at(s, other), "another place answers: that is tried");
	session_note(s, other, -ETIMEDOUT, "no answer");
	ok(session_is_at(s, home), "if that fails, back to the first, which nobody has announced");
	session_offer(s, other);
	session_note(s, home, -ECONNREFUSED, "refused");
	ok(session_is_at(s, other), "and so on");
	session_note(s, other, 0, NULL);
	session_note(s, other, -ETIMEDOUT, "no answer");
	ok(session_is_at(s, home), "also after it has answered elsewhere");
	session_free(s);
}

/* A job that ends while the server is away: what its lines said is told by the next message. */
static void test_lines_not_told(void)
{
	static const char *const want[] = {"first", "second", "third"};
	unsigned lines = 0;
	struct session *s = make(NULL, count_line, note_nothing, &lines);
	CLEANUP(link_freep) struct link *l = link_new(s);
	CLEANUP_FREE char *first = NULL;
	struct job job;
	struct err err;
	bool same = true;
	unsigned n = 0;

	if (!ok(l, "a link"))
		return;
	job_init(&job, "0123456789abcdef");
	job_say(&job, "first");
	job_say(&job, "second");
	link_interrupt(l);
	ok(heartbeat_send(l, &job, &err) == -ECANCELED, "a message that is interrupted");
	job_say(&job, "third");
	for (char *line; (line = job_take_line(&job)); n++) {
		same = same && n < 3 && strcmp(line, want[n]) == 0;
		free(line);
	}
	ok(n == 3 && same, "loses no lines, and keeps their order");
	for (unsigned i = 0; i < JOB_LINES_MAX; i++)
		job_say(&job, "line %u", i);
	job_untake_line(&job, "an older one");
	first = job_take_line(&job);
	ok(first && strstr(first, "1 lines were dropped"),
	   "if there is no room for one, that is said");
	job_done(&job);
	session_free(s);
}

/* Registers whoever asks, and has no order: at once. */
static struct https_answer hasty(const struct https_request *q)
{
	const char *body = strstr(q->head, "/register ")
				   ? "{\"machine\":\"00112233445566778899aabbccddeeff\","
				     "\"secret\":\"0123456789abcdef\"}"
				   : "{\"order\":null}";
	struct https_answer a = {.data = NULL};
	int n = asprintf(&a.data, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
			 body);

	if (n < 0)
		abort();
	a.size = (size_t)n;
	return a;
}

struct serving {
	struct orders *orders;
	int result;
};

static void *serve(void *arg)
{
	struct serving *s = arg;
	struct err err;
	int status;

	s->result = orders_serve(s->orders, &status, &err);
	return NULL;
}

static void test_hasty_server(void)
{
	struct https_server *server = https_server_new(hasty, false);
	const struct setting_list none = {.len = 0};
	const struct config config = {.once = false};
	struct console *console = console_new(&none);
	char url[64];
	struct session_setup setup = {.url = url,
				      .pin = https_server_pin(server),
				      .machine_id = "00112233445566778899aabbccddeeff",
				      .name = "m",
				      .say = note_line,
				      .is_up = note_nothing};
	struct orders_setup todo = {.config = &config, .console = console};
	struct serving s = {.result = -1};
	pthread_t thread;
	struct err err;
	unsigned asked;

	(void)snprintf(url, sizeof(url), "https://127.0.0.1:%u", https_server_port(server));
	if (!console || session_new(&setup, &todo.session, &err) < 0)
		abort();
	session_set_inventory(todo.session, json_object());
	todo.link = link_new(todo.session);
	s.orders = todo.link ? orders_new(&todo) : NULL;
	if (!s.orders || pthread_create(&thread, NULL, serve, &s) != 0)
		abort();
	for (unsigned i = 0; i < 300 && https_server_requests(server) < 2; i++)
		(void)usleep(100000);
	(void)usleep(1500000);
	asked = https_server_requests(server);
	ok(asked >= 2 && asked <= 6, "a server that does not wait is not asked all the time");
	printf("# %u requests\n", asked);
	orders_stop(s.orders);
	link_interrupt(todo.link);
	(void)pthread_join(thread, NULL);
	ok(s.result == 0, "and the agent can be told to end meanwhile");
	orders_free(s.orders);
	link_free(todo.link);
	session_free(todo.session);
	console_free(console);
	https_server_free(server);
}

int main(void)
{
	test_places();
	test_home();
	test_lines_not_told();
	test_hasty_server();
	return done();
}
