/* http_time.h - where the time of a request goes: this processor, the network, the server; docs/protocol.md "Where the time goes".
 *
 * A connection's TCP tells how long it has had bytes that were not acknowledged, and how long it was kept from sending by a
 * receiver that does not read (Linux 4.10; without that all waiting counts as the network's, but for what the server reports). */
#ifndef COMMON_HTTP_TIME_H
#define COMMON_HTTP_TIME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds.  Of an interval; one of them may be negative, when it takes back what an interval before had too much of. */
struct http_time {
	int64_t cpu, network, server;
};

/* A moment, as seen by the thread that does the request.  Microseconds since some other moment. */
struct http_moment {
	uint64_t wall;
	uint64_t cpu;	 /* of this thread */
	bool has_socket; /* are the next two known? */
	uint64_t busy,
		held;  /* with bytes not acknowledged; of that, the receiver's window was full */
	bool receives; /* the answer has begun */
};

/* Now, as http_moment.wall: microseconds of the monotonic clock. */
uint64_t http_wall_us(void);
/* Now; `fd` is the connection's socket or -1. */
void http_moment_take(int fd, bool receives, struct http_moment *ret);
/* From `a` to `b`, of one request.  Pure. */
struct http_time http_time_between(const struct http_moment *a, const struct http_moment *b);
/* What to add to `spent`, the times of a whole request, of which the server says that it took `reported`.  Pure. */
struct http_time http_time_correction(const struct http_time *spent, uint64_t reported);
/* Of a header line ("Server-Timing: work;dur=12.345", `size` bytes, hostile): true and the microseconds.  Pure. */
bool http_time_parse(const char *line, size_t size, uint64_t *ret);
#endif
