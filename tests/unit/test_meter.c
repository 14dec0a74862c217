/* Where the time goes: what is made of a connection's counters, and which place is called the bottleneck. */
#include <string.h>

#include "agent/clock.h"
#include "agent/meter.h"
#include "tests/unit/tap.h"

static bool is_time(struct http_time t, int64_t cpu, int64_t network, int64_t server)
{
	return t.cpu == cpu && t.network == network && t.server == server;
}

static void test_between(void)
{
	struct http_moment a = {.wall = 1000, .cpu = 50, .has_socket = true, .busy = 10, .held = 5};
	struct http_moment b = {
		.wall = 2000, .cpu = 150, .has_socket = true, .busy = 610, .held = 5};

	ok(is_time(http_time_between(&a, &b), 100, 600, 300),
	   "what is neither computed nor on its way is the server's");
	b.held = 105;
	ok(is_time(http_time_between(&a, &b), 100, 500, 400),
	   "and so is what its TCP does not take");
	b.busy = 5010;
	ok(is_time(http_time_between(&a, &b), 100, 800, 100), "no more than there is, busy");
	b.held = 9005;
	ok(is_time(http_time_between(&a, &b), 100, 0, 900), "no more than there is, held");
	b.cpu = 5000;
	ok(is_time(http_time_between(&a, &b), 1000, 0, 0), "no more than there is, computing");
	b = (struct http_moment){
		.wall = 2000, .cpu = 150, .has_socket = true, .busy = 4, .held = 1};
	ok(is_time(http_time_between(&a, &b), 100, 3, 897), "a new connection counts from zero");
	b.has_socket = false;
	ok(is_time(http_time_between(&a, &b), 100, 900, 0),
	   "while a connection is made, it is the network's");
	b.has_socket = a.receives = true;
	ok(is_time(http_time_between(&a, &b), 100, 900, 0), "and while the answer arrives");
	ok(is_time(http_time_between(&a, &a), 0, 0, 0), "no time");
}

static void test_correction(void)
{
	struct http_time spent = {.cpu = 10, .network = 400, .server = 100};

	ok(is_time(http_time_correction(&spent, 350), 0, -250, 250),
	   "what the server says it took is not the network's");
	ok(is_time(http_time_correction(&spent, 100), 0, 0, 0) &&
		   is_time(http_time_correction(&spent, 0), 0, 0, 0),
	   "it says no more than is known, or nothing");
	ok(is_time(http_time_correction(&spent, UINT64_MAX), 0, -400, 400),
	   "it claims more than there was");
}

static bool parse(const char *line, uint64_t *ret)
{
	return http_time_parse(line, strlen(line), ret);
}

static void test_parse(void)
{
	static const char *const bad[] = {
		"Server-Timing: work;dur=\r\n",
		"Server-Timing: work;dur=-1\r\n",
		"Server-Timing: work;dur=nan\r\n",
		"Server-Timing: work;dur=inf\r\n",
		"Server-Timing: work;dur=1e99\r\n",
		"Server-Timing: work;dur=1x\r\n",
		"Server-Timing: db;dur=1\r\n",
		"Server-Timing:",
		"Server: x\r\n",
		"",
		"Server-Timing: work;dur=11111111111111111111111111111111111111111111111111111\r\n"};
	uint64_t us = 7;

	ok(parse("Server-Timing: work;dur=12.345\r\n", &us) && us == 12345, "a time");
	ok(parse("server-timing:work;dur=3600000", &us) && us == 3600000000, "another");
	us = 7;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(!parse(bad[i], &us) && us == 7, bad[i][0] ? "refused" : "nothing");
}

static enum meter_place judge(uint64_t disk, uint64_t cpu, uint64_t network, uint64_t server,
			      enum meter_place last)
{
	const struct meter_times t = {{0, disk, cpu, network, server}};

	return meter_judge(&t, last);
}

static void test_judge(void)
{
	const enum meter_place none = METER_NOWHERE;

	ok(judge(0, 0, 0, 0, none) == none && judge(99999, 0, 0, 0, METER_DISK) == none,
	   "too short to tell");
	ok(judge(100000, 0, 0, 0, none) == METER_DISK &&
		   judge(0, 100000, 0, 0, none) == METER_CPU &&
		   judge(0, 0, 100000, 0, none) == METER_NETWORK &&
		   judge(0, 0, 0, 100000, none) == METER_SERVER,
	   "each of the four");
	ok(judge(250000, 250000, 250001, 250000, none) == METER_NETWORK,
	   "the most, however little");
	ok(judge(250000, 250000, 250000, 250000, none) == METER_DISK, "equal: the first");
	ok(judge(450000, 549999, 0, 1, METER_DISK) == METER_DISK,
	   "another one less than a tenth ahead: it stays");
	ok(judge(450000, 550000, 0, 0, METER_DISK) == METER_CPU, "a tenth ahead: it goes");
	ok(judge(0, 0, 60000, 40000, METER_SERVER) == METER_NETWORK &&
		   judge(0, 0, 52000, 48000, METER_SERVER) == METER_SERVER,
	   "network and server likewise");
}

static void test_clocks(void)
{
	struct http_time t = {.cpu = 300, .network = 2000, .server = 500}, back = {0, -100, 100};
	struct meter_clock a, b;
	struct meter_times x;
	struct meter m;
	uint64_t now;

	meter_init(&m);
	meter_start(&a, &m);
	meter_start(&b, &m);
	ok(meter_go(&a, METER_DISK) == METER_CPU && meter_go(&b, METER_NOWHERE) == METER_CPU,
	   "a clock begins with computing");
	now = clock_us();
	x = meter_get(&m, now + 5000000);
	ok(x.us[METER_DISK] >= 5000000 && x.us[METER_DISK] < 65000000,
	   "what is under way counts, what is nowhere does not");
	ok(x.us[METER_NETWORK] == 0 && x.us[METER_SERVER] == 0, "only where it is");
	ok(meter_bottleneck(&m, now + 6000000) == METER_DISK, "the disk is the bottleneck");
	meter_add(&b, &t);
	meter_add(&b, &back);
	x = meter_get(&m, now);
	ok(x.us[METER_NETWORK] == 1900 && x.us[METER_SERVER] == 600, "a request tells itself");
	back.network = -5000;
	meter_add(&b, &back);
	x = meter_get(&m, now);
	ok(x.us[METER_NETWORK] == 0, "never less than nothing");
	meter_stop(&a);
	meter_stop(&b);
	ok(m.clocks == NULL, "both have gone");
	(void)meter_go(NULL, METER_DISK);
	meter_add(NULL, &t);
	/* long ago: forgotten after five seconds */
	t = (struct http_time){.network = 3000000};
	meter_start(&a, &m);
	(void)meter_go(&a, METER_NOWHERE);
	for (unsigned s = 7; s < 14; s++) {
		meter_add(&a, &t);
		(void)meter_bottleneck(&m, now + s * 1000000);
	}
	ok(meter_bottleneck(&m, now + 14000000) == METER_NETWORK, "now it is the network");
	for (unsigned s = 15; s < 21; s++)
		(void)meter_bottleneck(&m, now + s * 1000000);
	ok(meter_bottleneck(&m, now + 21000000) == METER_NOWHERE, "and then nothing");
	meter_stop(&a);
	meter_done(&m);
}

int main(void)
{
	test_between();
	test_correction();
	test_parse();
	test_judge();
	test_clocks();
	return done();
}
