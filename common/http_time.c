#include "common/http_time.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

#define REPORTED_MAX_MS 3600000.0

static uint64_t clock_us(clockid_t clock)
{
	struct timespec t = {0};

	(void)clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t http_wall_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

void http_moment_take(int fd, bool receives, struct http_moment *ret)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	*ret = (struct http_moment){
		.wall = http_wall_us(),
		.cpu = clock_us(CLOCK_THREAD_CPUTIME_ID),
		.receives = receives,
	};
	if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ||
	    size < offsetof(struct tcp_info, tcpi_rwnd_limited) + sizeof(info.tcpi_rwnd_limited))
		return;
	ret->has_socket = true;
	ret->busy = info.tcpi_busy_time;
	ret->held = info.tcpi_rwnd_limited;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* A counter of a new connection begins anew. */
static int64_t since(uint64_t before, uint64_t now)
{
	return (int64_t)(now >= before ? now - before : now);
}

struct http_time http_time_between(const struct http_moment *a, const struct http_moment *b)
{
	int64_t wall = since(a->wall, b->wall), busy, held;
	struct http_time t = {.cpu = least(since(a->cpu, b->cpu), wall)};

	t.network = wall - t.cpu;
	if (a->receives || !b->has_socket)
		return t;
	busy = since(a->has_socket ? a->busy : 0, b->busy);
	held = since(a->has_socket ? a->held : 0, b->held);
	t.server = t.network - least(t.network, busy);
	t.network -= t.server;
	held = least(held, t.network);
	t.server += held;
	t.network -= held;
	return t;
}

struct http_time http_time_correction(const struct http_time *spent, uint64_t reported)
{
	struct http_time t = {0};
	int64_t more = reported > INT64_MAX ? INT64_MAX : (int64_t)reported;

	more -= spent->server;
	if (more > 0 && spent->network > 0) {
		t.server = least(more, spent->network);
		t.network = -t.server;
	}
	return t;
}

bool http_time_parse(const char *line, size_t size, uint64_t *ret)
{
	static const char name[] = "Server-Timing:", key[] = "work;dur=";
	char text[64], *end;
	double ms;

	if (size >= sizeof(text) || size < sizeof(name) ||
	    strncasecmp(line, name, sizeof(name) - 1) != 0)
		return false;
	memcpy(text, line, size);
	text[size] = '\0';
	line = text + sizeof(name) - 1;
	line += strspn(line, " ");
	if (strncmp(line, key, sizeof(key) - 1) != 0)
		return false;
	line += sizeof(key) - 1;
	if (*line < '0' || *line > '9')
		return false;
	ms = strtod(line, &end);
	if (end == line || *(end + strspn(end, " \r\n")) != '\0' || !(ms <= REPORTED_MAX_MS))
		return false;
	*ret = (uint64_t)(ms * 1000);
	return true;
}
