/* Restore: what agents fetch.  Only windows of the job's own disks, and only chunks that those windows name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "server/api/api.h"

#define WINDOW_ENTRY (8 + ID_SIZE)

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

/* Not there, in an image: damage, not a wrong question. */
static int as_damage(int r, struct err *err)
{
	if (r == -ENOENT || r == -EBADMSG)
		err->code = r = API_STORE_DAMAGED;
	return r;
}

static struct job *acquire(struct call *c, uint64_t *ret_n, struct job_disk_row *ret,
			   struct err *err)
{
	struct fleet *f = call_server(c)->fleet;
	struct job *j;

	if (fleet_acquire(f, c->machine, c->match.params[0], JOB_RESTORE, &j, err) < 0)
		return NULL;
	if (api_disk_number(c, ret_n, err) < 0 || job_get_disk(f, j, *ret_n, ret, err) < 0) {
		fleet_release(f, j);
		return NULL;
	}
	return j;
}

/* ---- nodes */

/* For `count` windows. */
static int add_node(struct call *c, const struct id *id, uint32_t count, struct node *n,
		    struct err *err)
{
	struct writer head;
	uint8_t *buf;
	size_t len;
	int r = store_get_node(call_server(c)->store, id, n, err);

	if (r < 0)
		return as_damage(r, err);
	buf = malloc(8 + NODE_SIZE_MAX);
	if (!buf)
		return out_of_memory(err);
	len = node_encode(n, buf + 8);
	writer_init(&head, buf, 8);
	writer_u32(&head, count);
	writer_u32(&head, (uint32_t)len);
	if (!call_add_part(c, buf, 8 + len))
		return out_of_memory(err);
	return 0;
}

/* Windows in a row with the same node are one entry. */
static int add_nodes(struct call *c, const struct id *ids, uint32_t len, struct err *err)
{
	CLEANUP_FREE struct node *n = malloc(sizeof(*n));
	int r = n ? 0 : out_of_memory(err);

	for (uint32_t i = 0, entries = 0, next; r == 0 && i < len && entries < NODES_GET_MAX;
	     i = next, entries++) {
		for (next = i + 1; next < len && id_equal(&ids[next], &ids[i]);)
			next++;
		r = add_node(c, &ids[i], next - i, n, err);
	}
	return r;
}

static int get_nodes(struct call *c, const struct job_disk_row *d, struct err *err)
{
	CLEANUP_FREE struct id *ids = NULL;
	uint64_t first = 0, count = 0, windows = window_count(d->geometry.size), most;
	int r = call_query_u64(c, "first", 0, windows - 1, &first, err);

	if (r > 0)
		r = call_query_u64(c, "count", 1, NODES_ASK_MAX, &count, err);
	if (r == 0)
		r = err_set(err, API_BAD_REQUEST, "The query needs 'first' and 'count'.");
	if (r < 0)
		return r;
	if (count == 0 || count > windows - first)
		return err_set(err, API_BAD_REQUEST, "The disk has no more than %llu windows.",
			       (unsigned long long)windows);
	most = count < NODES_GET_MAX ? count : NODES_GET_MAX;
	r = call_reserve(c, most * (8 + NODE_SIZE_MAX), err);
	if (r < 0)
		return r;
	ids = calloc(count, sizeof(*ids));
	if (!ids)
		return out_of_memory(err);
	r = as_damage(store_index_nodes(call_server(c)->store, &d->root, first, (uint32_t)count,
					ids, err),
		      err);
	return r < 0 ? r : add_nodes(c, ids, (uint32_t)count, err);
}

void api_get_nodes(struct call *c)
{
	struct job_disk_row d;
	struct err err;
	uint64_t n;
	struct job *j = acquire(c, &n, &d, &err);

	if (!j || get_nodes(c, &d, &err) < 0)
		api_fail_transfer(c, j, &err);
	else
		fleet_note_transfer(call_server(c)->fleet, j);
	if (j)
		fleet_release(call_server(c)->fleet, j);
}

/* ---- chunks */

struct wanted {
	uint64_t window;
	struct id id;
	size_t place; /* in the request: the order in which it asks */
};

static int by_window(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	if (x->window != y->window)
		return x->window < y->window ? -1 : 1;
	return memcmp(x->id.b, y->id.b, ID_SIZE);
}

static int by_id(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return memcmp(x->id.b, y->id.b, ID_SIZE);
}

static int by_place(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return x->place < y->place ? -1 : x->place > y->place;
}

/* Length of a chunk in a window's node, 0 if it is not there. */
static uint32_t chunk_length(const struct node *n, const struct id *id)
{
	for (uint32_t i = 0; i < n->count; i++) {
		if (n->entries[i].is_chunk && id_equal(&n->entries[i].id, id))
			return n->entries[i].length;
	}
	return 0;
}

/* Each chunk must be in the window that it is asked for with.  Sorted by window, so that each node is read once. */
static int check_wanted(struct call *c, const struct job_disk_row *d, const struct wanted *w,
			size_t len, struct err *err)
{
	CLEANUP_FREE struct node *node = calloc(1, sizeof(*node));
	struct store *store = call_server(c)->store;
	uint64_t total = 0;

	if (!node)
		return out_of_memory(err);
	for (size_t i = 0; i < len; i++) {
		uint32_t length;
		struct id id;
		int r = 0;

		if (w[i].window >= window_count(d->geometry.size))
			return err_set(err, API_BAD_REQUEST, "The disk has no window %llu.",
				       (unsigned long long)w[i].window);
		if (i == 0 || w[i].window != w[i - 1].window) {
			r = store_index_nodes(store, &d->root, w[i].window, 1, &id, err);
			if (r == 0)
				r = store_get_node(store, &id, node, err);
		}
		if (r < 0)
			return as_damage(r, err);
		length = chunk_length(node, &w[i].id);
		if (length == 0) {
			return err_set(err, API_FORBIDDEN,
				       "Window %llu has no such chunk, so it is not this job's.",
				       (unsigned long long)w[i].window);
		}
		total += length;
	}
	if (total > CHUNKS_PLAIN_MAX) {
		return err_set(err, API_TOO_LARGE,
			       "%llu bytes of chunks are more than %u in one request.",
			       (unsigned long long)total, CHUNKS_PLAIN_MAX);
	}
	return call_reserve(c, total, err);
}

static int read_wanted(struct call *c, struct wanted *ret, size_t len, struct err *err)
{
	struct reader body;

	if (len == 0 || c->body_size % WINDOW_ENTRY != 0)
		return err_set(err, API_BAD_REQUEST,
			       "The body is not a row of windows and chunks.");
	reader_init(&body, c->body, c->body_size);
	for (size_t i = 0; i < len; i++) {
		ret[i].window = reader_u64(&body);
		memcpy(ret[i].id.b, reader_bytes(&body, ID_SIZE), ID_SIZE);
		ret[i].place = i;
	}
	return 0;
}

/* Every id once, in the order of the request; returns how many. */
static size_t unique_ids(struct wanted *w, size_t len, struct id *ret)
{
	size_t n = 0;

	qsort(w, len, sizeof(*w), by_id);
	for (size_t i = 0; i < len; i++) {
		if (n == 0 || !id_equal(&w[n - 1].id, &w[i].id))
			w[n++] = w[i];
	}
	qsort(w, n, sizeof(*w), by_place);
	for (size_t i = 0; i < n; i++)
		ret[i] = w[i].id;
	return n;
}

static int emit(void *arg, const void *pack, size_t size, struct err *err)
{
	struct call *c = arg;
	struct writer head;
	uint8_t *buf = malloc(4 + size);

	if (!buf)
		return out_of_memory(err);
	writer_init(&head, buf, 4);
	writer_u32(&head, (uint32_t)size);
	memcpy(buf + 4, pack, size);
	return call_add_part(c, buf, 4 + size) ? 0 : out_of_memory(err);
}

/* The packs are gathered before the first is sent: damage that shows in the last one can still be said with a status. */
static int get_chunks(struct call *c, const struct job_disk_row *d, struct err *err)
{
	size_t len = c->body_size / WINDOW_ENTRY;
	CLEANUP_FREE struct wanted *w = calloc(len + 1, sizeof(*w));
	CLEANUP_FREE struct id *ids = calloc(len + 1, sizeof(*ids));
	int r;

	if (!w || !ids)
		return out_of_memory(err);
	r = read_wanted(c, w, len, err);
	if (r < 0)
		return r;
	qsort(w, len, sizeof(*w), by_window);
	r = check_wanted(c, d, w, len, err);
	if (r < 0)
		return r;
	len = unique_ids(w, len, ids);
	return as_damage(store_get_chunks(call_server(c)->store, ids, len, emit, c, err), err);
}

void api_get_chunks(struct call *c)
{
	struct job_disk_row d;
	struct err err;
	uint64_t n;
	struct job *j = acquire(c, &n, &d, &err);

	if (!j || get_chunks(c, &d, &err) < 0)
		api_fail_transfer(c, j, &err);
	else
		fleet_note_transfer(call_server(c)->fleet, j);
	if (j)
		fleet_release(call_server(c)->fleet, j);
}
