#include "server/http/call.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTS_STEP 64u

int call_query(struct call *c, const char *key, char ret[static CALL_QUERY_MAX_SIZE],
	       struct err *err)
{
	const char *text = MHD_lookup_connection_value(c->connection, MHD_GET_ARGUMENT_KIND, key);

	if (!text)
		return 0;
	if (!percent_decode(text, strlen(text), ret, CALL_QUERY_MAX_SIZE))
		return err_set(err, -EPROTO, "The query's '%s' is too long or badly escaped.", key);
	return 1;
}

int call_query_count(const struct call *c)
{
	return MHD_get_connection_values(c->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL);
}

int call_query_u64(struct call *c, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		   struct err *err)
{
	char text[CALL_QUERY_MAX_SIZE];
	uint64_t v = 0;
	int r = call_query(c, key, text, err);

	if (r <= 0)
		return r;
	for (const char *p = text; *p || p == text; p++) {
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return err_set(err, -EPROTO, "The query's '%s' is not a decimal number.",
				       key);
	}
	if (v < min || v > max) {
		return err_set(err, -EPROTO, "The query's '%s' is not from %llu to %llu, but %llu.",
			       key, (unsigned long long)min, (unsigned long long)max,
			       (unsigned long long)v);
	}
	*ret = v;
	return 1;
}

uint64_t call_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

bool call_local(const struct call *c, struct sockaddr_storage *ret)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr_storage sa = {0};
	socklen_t size = sizeof(sa);

	if (!info || getsockname(info->connect_fd, (struct sockaddr *)&sa, &size) < 0)
		return false;
	*ret = sa;
	if (sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const void *)&sa;
		struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6->sin6_port};

		if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
			memcpy(&v4.sin_addr, &v6->sin6_addr.s6_addr[12], 4);
			*ret = (struct sockaddr_storage){0};
			memcpy(ret, &v4, sizeof(v4));
		}
	}
	return true;
}

static void drop_answer(struct call *c)
{
	json_decref(c->answer_json);
	c->answer_json = NULL;
	for (size_t i = 0; i < c->parts_len; i++)
		free(c->parts[i].data);
	free(c->parts);
	c->parts = NULL;
	c->parts_len = 0;
	if (c->stream.free)
		c->stream.free(c->stream.ctx);
	c->stream = (struct call_stream){0};
}

void call_answer(struct call *c, unsigned status, json_t *take_json)
{
	if (!take_json) {
		call_fail(c, API_BUSY, "The server is out of memory; ask again.");
		return;
	}
	drop_answer(c);
	c->status = status;
	c->answer_json = take_json;
}

void call_answer_empty(struct call *c)
{
	drop_answer(c);
	c->status = 204;
}

void call_answer_stream(struct call *c, const struct call_stream *take)
{
	drop_answer(c);
	c->status = 200;
	c->stream = *take;
}

bool call_add_part(struct call *c, void *take_data, size_t size)
{
	if (c->parts_len % PARTS_STEP == 0) {
		struct call_part *p = realloc(c->parts, (c->parts_len + PARTS_STEP) * sizeof(*p));

		if (!p) {
			free(take_data);
			return false;
		}
		c->parts = p;
	}
	c->parts[c->parts_len++] = (struct call_part){take_data, size};
	c->status = 200;
	return true;
}

void call_fail(struct call *c, enum api_code code, const char *fmt, ...)
{
	struct err err;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	err.code = (int)code;
	call_fail_err(c, &err);
}

void call_fail_err(struct call *c, const struct err *err)
{
	enum api_code code = api_code_of(err->code);

	drop_answer(c);
	c->status = api_code_status(code);
	c->retry_after_s = api_code_retry_after(code);
	/* %-free by construction: sentences may hold what a peer sent, but JSON wants UTF-8 */
	c->answer_json = json_pack("{s:{s:s,s:s}}", "error", "code", api_code_name(code), "message",
				   err->msg);
	if (!c->answer_json)
		c->answer_json = json_pack("{s:{s:s,s:s}}", "error", "code", api_code_name(code),
					   "message", "The reason cannot be shown.");
}
