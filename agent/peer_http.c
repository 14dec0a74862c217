/* peer_http.c - paths and bodies; link.c repeats, wire.c encodes. */
#include "agent/peer_http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/link.h"
#include "agent/wire.h"
#include "common/cleanup.h"
#include "common/limits.h"

/* Chunks asked for are no more than that, and shorter. */
#define BODY_SIZE ((size_t)WINDOWS_PUT_MAX * WIRE_RUN_SIZE)

struct peer_http {
	struct peer peer;
	struct link *link;
	struct job *job;
	const struct order *order;
	uint8_t *body; /* BODY_SIZE: windows or chunks */
};

static struct peer_http *peer_of(struct peer *p)
{
	return (struct peer_http *)p;
}

/* What the server's refusal means here; see peer.h. */
static int translate(struct peer_http *p, int r, const struct http_answer *a, struct err *err)
{
	const char *code = a->error.code;

	if (r == -EMSGSIZE)
		return err->code = -EPROTO;
	if (r != -EREMOTEIO)
		return r;
	if (strcmp(code, "cancelled") == 0) {
		job_stop(p->job, JOB_CANCELLED);
		return err->code = -ECANCELED;
	}
	if (strcmp(code, "incomplete") == 0)
		return err->code = -ESTALE;
	if (strcmp(code, "store_damaged") == 0)
		return err->code = -EBADMSG;
	(void)snprintf(p->peer.code, sizeof(p->peer.code), "%s", code[0] ? code : "internal");
	return r;
}

/* Told each time whose time is spent: a clock does not live longer than its worker. */
static struct link *link_of(struct peer_http *p)
{
	link_measure(p->link, p->peer.clock);
	return p->link;
}

static int request(struct peer_http *p, const struct http_request *q, struct http_answer *ret,
		   struct err *err)
{
	return translate(p, link_do(link_of(p), q, ret, err), ret, err);
}

static int http_lack(struct peer *peer, enum pack_kind kind, const struct id *ids, size_t len,
		     uint8_t *ret_bits, struct err *err)
{
	struct peer_http *p = peer_of(peer);
	char path[128];
	struct http_request q = {.method = "POST",
				 .path = path,
				 .body = ids,
				 .body_size = len * ID_SIZE,
				 .answer_max = wire_bits_size(len)};
	struct http_answer a;
	int r;

	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/lack?kind=%s", p->order->job,
		       kind == PACK_CHUNKS ? "chunk" : "node");
	r = request(p, &q, &a, err);
	if (r == 0 && a.size != wire_bits_size(len)) {
		r = err_set(err, -EPROTO,
			    "the server answered %zu bytes to a question about %zu ids", a.size,
			    len);
	}
	if (r == 0)
		memcpy(ret_bits, a.data, a.size);
	return r;
}

static int http_put_pack(struct peer *peer, const struct id *pack_id, const void *data, size_t size,
			 struct err *err)
{
	struct peer_http *p = peer_of(peer);
	char path[192], id[ID_TEXT_SIZE];
	struct http_request q = {.method = "PUT", .path = path, .body = data, .body_size = size};
	struct http_answer a;

	id_to_text(pack_id, id);
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/packs/%s", p->order->job, id);
	return request(p, &q, &a, err);
}

static int http_put_windows(struct peer *peer, uint32_t disk, const struct peer_run *w, size_t len,
			    struct err *err)
{
	struct peer_http *p = peer_of(peer);
	char path[128];
	struct http_request q = {
		.method = "PUT", .path = path, .body = p->body, .body_size = len * WIRE_RUN_SIZE};
	struct http_answer a;

	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/disks/%" PRIu32 "/windows",
		       p->order->job, disk);
	wire_encode_runs(w, len, p->body);
	return request(p, &q, &a, err);
}

static int http_finish(struct peer *peer, uint32_t disk, const struct peer_finish *f,
		       struct peer_finished *ret, struct err *err)
{
	struct peer_http *p = peer_of(peer);
	CLEANUP_JSON json_t *body = wire_finish_encode(f);
	CLEANUP_JSON json_t *answer = NULL;
	char path[128];
	/* the server goes through the whole index before it answers */
	struct http_call call = {"POST", path, body, 600};
	struct http_answer a;
	int r;

	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/disks/%" PRIu32 "/finish",
		       p->order->job, disk);
	r = translate(p, link_json(link_of(p), &call, &answer, &a, err), &a, err);
	if (r == 0)
		r = wire_finished_decode(answer, window_count(f->geometry.size), &f->root, ret,
					 err);
	return r;
}

static int http_get_nodes(struct peer *peer, uint32_t disk, uint64_t first, uint32_t count,
			  struct peer_bytes *ret, struct err *err)
{
	struct peer_http *p = peer_of(peer);
	char path[160];
	struct http_request q = {.method = "GET", .path = path, .answer_max = WIRE_NODES_MAX};
	struct http_answer a;
	int r;

	(void)snprintf(path, sizeof(path),
		       "/v1/agent/jobs/%s/disks/%" PRIu32 "/nodes?first=%" PRIu64 "&count=%" PRIu32,
		       p->order->job, disk, first, count);
	r = request(p, &q, &a, err);
	if (r == 0)
		*ret = (struct peer_bytes){a.data, a.size};
	return r;
}

static int http_get_chunks(struct peer *peer, uint32_t disk, const struct peer_chunk *w, size_t len,
			   size_t answer_max, struct peer_bytes *ret, struct err *err)
{
	struct peer_http *p = peer_of(peer);
	char path[128];
	struct http_request q = {.method = "POST",
				 .path = path,
				 .body = p->body,
				 .body_size = len * WIRE_CHUNK_SIZE,
				 .answer_max = answer_max};
	struct http_answer a;
	int r;

	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/disks/%" PRIu32 "/chunks",
		       p->order->job, disk);
	wire_encode_chunks(w, len, p->body);
	r = request(p, &q, &a, err);
	if (r == 0)
		*ret = (struct peer_bytes){a.data, a.size};
	return r;
}

/* Cancelled is an answer, too, and no leave. */
static int ask_leave(struct peer_http *p, const char *word, json_t *disks, struct err *err)
{
	struct job_progress now = job_get_progress(p->job);
	CLEANUP_JSON json_t *body = wire_progress_encode(&now);
	CLEANUP_JSON json_t *answer = NULL;
	char path[96];
	struct http_call call = {"POST", path, body, 0};
	struct http_answer a;
	bool cancel = false;
	int r;

	if (!body || json_object_set(body, word, disks) < 0)
		return err_set(err, -ENOMEM, "out of memory");
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/progress", p->order->job);
	r = translate(p, link_json(link_of(p), &call, &answer, &a, err), &a, err);
	if (r == 0)
		r = json_opt_bool(answer, "cancel", &cancel, err);
	if (cancel)
		job_stop(p->job, JOB_CANCELLED);
	return r == 0 ? job_check(p->job, err) : r;
}

static json_t *numbers(const uint32_t *n, size_t len)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < len; i++) {
		if (json_array_append_new(array, json_integer(n[i])) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static int http_begin(struct peer *peer, const uint32_t *disks, size_t len, struct err *err)
{
	CLEANUP_JSON json_t *list = numbers(disks, len);

	return ask_leave(peer_of(peer), "begun", list, err);
}

static int http_release(struct peer *peer, const uint32_t *disks, size_t len, struct err *err)
{
	CLEANUP_JSON json_t *list = numbers(disks, len);

	return ask_leave(peer_of(peer), "released", list, err);
}

static void http_interrupt(struct peer *peer)
{
	link_interrupt(peer_of(peer)->link);
}

static void http_close(struct peer *peer)
{
	struct peer_http *p = peer_of(peer);

	link_free(p->link);
	free(p->body);
	free(p);
}

static const struct peer_ops http_ops = {
	.lack = http_lack,
	.put_pack = http_put_pack,
	.put_windows = http_put_windows,
	.finish = http_finish,
	.get_nodes = http_get_nodes,
	.get_chunks = http_get_chunks,
	.begin = http_begin,
	.release = http_release,
	.interrupt = http_interrupt,
	.close = http_close,
};

struct peer *peer_http_new(struct session *s, struct job *job, const struct order *order)
{
	struct peer_http *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->peer.ops = &http_ops;
	p->job = job;
	p->order = order;
	p->link = link_new(s);
	p->body = malloc(BODY_SIZE);
	if (p->link && p->body)
		return &p->peer;
	http_close(&p->peer);
	return NULL;
}
