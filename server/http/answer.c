#include "server/http/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

#define STREAM_BLOCK (256u << 10)

static void free_parts(void *arg)
{
	struct call_part *parts = arg;

	for (struct call_part *p = parts; p->data; p++)
		free(p->data);
	free(parts);
}

/* The parts move into the response. */
static struct MHD_Response *response_of_parts(struct call *c)
{
	struct MHD_IoVec *iov = calloc(c->parts_len, sizeof(*iov));
	struct MHD_Response *r = NULL;

	if (iov && call_add_part(c, NULL, 0)) { /* the end, for free_parts */
		size_t len = c->parts_len - 1;

		for (size_t i = 0; i < len; i++) {
			iov[i].iov_base = c->parts[i].data;
			iov[i].iov_len = c->parts[i].size;
			c->answer_size += c->parts[i].size;
		}
		r = MHD_create_response_from_iovec(iov, (unsigned)len, free_parts, c->parts);
		if (r)
			c->parts = NULL;
		else
			c->parts_len = len;
	}
	free(iov);
	if (r)
		c->parts_len = 0;
	return r;
}

/* ---- streams */

/* What of a stream goes out. */
struct slice {
	struct call_stream stream;
	uint64_t offset;
};

static ssize_t read_slice(void *arg, uint64_t at, char *buf, size_t max)
{
	struct slice *s = arg;
	ssize_t n = s->stream.read(s->stream.ctx, s->offset + at, buf, max);

	/* The length is promised: an end before it is an error, and closes the connection. */
	return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_slice(void *arg)
{
	struct slice *s = arg;

	s->stream.free(s->stream.ctx);
	free(s);
}

static bool read_number(const char **p, uint64_t *ret)
{
	uint64_t v = 0;
	const char *start = *p;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	}
	*ret = v;
	return *p > start;
}

bool answer_range(const char *text, uint64_t size, uint64_t *ret_offset, uint64_t *ret_size)
{
	uint64_t first, last = size - 1;

	if (!text || strncmp(text, "bytes=", 6) != 0 || size == 0)
		return false;
	text += 6;
	if (!read_number(&text, &first) || *text++ != '-')
		return false;
	if (*text && (!read_number(&text, &last) || *text))
		return false;
	if (first >= size || last < first)
		return false;
	*ret_offset = first;
	*ret_size = (last < size ? last : size - 1) - first + 1;
	return true;
}

static void add_range(struct MHD_Response *r, const struct call *c, uint64_t offset, uint64_t size)
{
	char text[80];

	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
	if (c->status != MHD_HTTP_PARTIAL_CONTENT)
		return;
	(void)snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)offset,
		       (unsigned long long)(offset + size - 1), (unsigned long long)c->stream.size);
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_RANGE, text);
}

static struct MHD_Response *response_of_stream(struct call *c)
{
	const char *range =
		MHD_lookup_connection_value(c->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_RANGE);
	struct slice *slice = malloc(sizeof(*slice));
	uint64_t offset = 0, size = c->stream.size;
	struct MHD_Response *r;

	if (!slice)
		return NULL;
	if (answer_range(range, c->stream.size, &offset, &size))
		c->status = MHD_HTTP_PARTIAL_CONTENT;
	*slice = (struct slice){c->stream, offset};
	r = MHD_create_response_from_callback(size, STREAM_BLOCK, read_slice, slice, free_slice);
	if (!r) {
		free(slice);
		return NULL;
	}
	c->answer_size = size;
	add_range(r, c, offset, size);
	c->stream.free = NULL;
	return r;
}

static struct MHD_Response *make_response(struct call *c)
{
	struct MHD_Response *r;
	char *text;

	if (c->stream.free)
		return response_of_stream(c);
	if (c->parts_len > 0) {
		r = response_of_parts(c);
		if (r)
			(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
						      "application/octet-stream");
		return r;
	}
	if (!c->answer_json)
		return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	text = json_dumps(c->answer_json, JSON_COMPACT);
	if (!text)
		return NULL;
	c->answer_size = strlen(text);
	r = MHD_create_response_from_buffer(c->answer_size, text, MHD_RESPMEM_MUST_FREE);
	if (!r)
		free(text);
	else
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	return r;
}

enum MHD_Result answer_send(struct call *c)
{
	struct MHD_Response *r = make_response(c);
	enum MHD_Result result;
	char seconds[16], work[48];

	if (!r)
		return MHD_NO; /* out of memory: the connection ends, the request may be repeated */
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (c->retry_after_s > 0) {
		(void)snprintf(seconds, sizeof(seconds), "%u", c->retry_after_s);
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	}
	if (c->work_us > 0) { /* docs/protocol.md "Where the time goes" */
		uint64_t us = call_now_us() - c->work_us;

		(void)snprintf(work, sizeof(work), "work;dur=%llu.%03u",
			       (unsigned long long)(us / 1000), (unsigned)(us % 1000));
		(void)MHD_add_response_header(r, "Server-Timing", work);
	}
	if (c->status == MHD_HTTP_UNAUTHORIZED)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
	result = MHD_queue_response(c->connection, c->status, r);
	MHD_destroy_response(r);
	return result;
}
