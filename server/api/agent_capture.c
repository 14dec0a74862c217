/* Capture: what agents send.  Nothing is believed: ids are computed again by the store. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/index.h"
#include "common/json.h"
#include "server/api/api.h"

#define WINDOW_ENTRY  (8 + 4 + ID_SIZE)
#define PACK_PLAIN_AT 12u /* formats.md: magic, kind, codec, reserved, count before it */

/* A number in a path: digits only, at most JOB_DISKS_MAX - 1. */
int api_disk_number(struct call *c, uint64_t *ret, struct err *err)
{
	const char *text = c->match.params[1];
	size_t n = strlen(text);

	if (n > 2 || strspn(text, "0123456789") != n)
		return err_set(err, API_NOT_FOUND, "'%.16s' is no disk of the job.", text);
	*ret = strtoull(text, NULL, 10);
	return 0;
}

static int check_room(struct server *s, uint64_t size, uint64_t reserve, struct err *err)
{
	struct statvfs fs;
	uint64_t free_bytes;

	if (statvfs(s->config->data, &fs) < 0)
		return err_set(err, -errno, "look for free space in '%s': %m", s->config->data);
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes >= reserve && free_bytes - reserve >= size)
		return 0;
	return err_set(err, API_NO_SPACE,
		       "The server's store is full: %llu MiB are free, %llu MiB are kept free.",
		       (unsigned long long)(free_bytes >> 20),
		       (unsigned long long)(s->config->reserve >> 20));
}

/* `size` bytes of an index, to be given back.  An agent may have indexes written as often as it likes, and their size is that of a disk which it names
 * itself.  They may take half of what packs leave free: a capture whose last pack found room ends. */
static int take_index_room(struct server *s, uint64_t size, struct err *err)
{
	uint_fast64_t others = atomic_load(&s->index_room);
	int r;

	do {
		r = check_room(s, others + size, s->config->reserve / 2, err);
	} while (r == 0 && !atomic_compare_exchange_weak(&s->index_room, &others, others + size));
	return r;
}

static void give_index_room(struct server *s, uint64_t size)
{
	atomic_fetch_sub(&s->index_room, size);
}

static struct job *acquire(struct call *c, struct err *err)
{
	struct job *j;

	if (fleet_acquire(call_server(c)->fleet, c->machine, c->match.params[0], JOB_CAPTURE, &j,
			  err) < 0)
		return NULL;
	return j;
}

void api_fail_transfer(struct call *c, struct job *j, struct err *err)
{
	size_t n = strlen(err->msg);
	char why[HELD_SIZE];

	/* a folder of the store's own: what was asked for and is not there is API_NOT_FOUND */
	if (err->code == -ENOENT)
		err->code = -EIO;
	if (j && (err->code == API_NO_SPACE || err->code == -ENOSPC)) {
		(void)snprintf(
			why, sizeof(why),
			"%.160s%s Make room there, or remove images and run 'hoist gc'; the job "
			"goes on by itself.",
			err->msg, n > 0 && err->msg[n - 1] == '.' ? "" : ".");
		fleet_note_refusal(call_server(c)->fleet, j, why);
	} else if (j && api_code_of(err->code) == API_INTERNAL) {
		(void)snprintf(why, sizeof(why),
			       "%.220s. See to the server's storage; the job goes on by itself.",
			       err->msg);
		fleet_note_refusal(call_server(c)->fleet, j, why);
	} else if (j && err->code == API_BUSY) {
		fleet_note_busy(call_server(c)->fleet, j);
	}
	call_fail_err(c, err);
}

/* ---- lack */

static int read_kind(struct call *c, enum pack_kind *ret, struct err *err)
{
	char text[CALL_QUERY_MAX_SIZE];
	int r = call_query(c, "kind", text, err);

	if (r < 0)
		return r;
	if (r > 0 && strcmp(text, "chunk") == 0)
		*ret = PACK_CHUNKS;
	else if (r > 0 && strcmp(text, "node") == 0)
		*ret = PACK_NODES;
	else
		return err_set(err, API_BAD_REQUEST,
			       "The query's 'kind' is neither chunk nor node.");
	return 0;
}

static int lack(struct call *c, struct err *err)
{
	size_t len = c->body_size / ID_SIZE;
	struct id *ids = NULL;
	enum pack_kind kind = PACK_CHUNKS;
	uint8_t *bits;
	int r = read_kind(c, &kind, err);

	if (r < 0)
		return r;
	if (len == 0 || c->body_size % ID_SIZE != 0)
		return err_set(err, API_BAD_REQUEST, "The body is not a row of ids.");
	ids = malloc(len * sizeof(*ids));
	bits = calloc(1, (len + 7) / 8);
	if (!ids || !bits) {
		r = err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	} else {
		memcpy(ids, c->body, len * ID_SIZE);
		r = store_lacks(call_server(c)->store, kind, ids, len, bits, err);
	}
	free(ids);
	if (r < 0) {
		free(bits);
		return r;
	}
	if (!call_add_part(c, bits, (len + 7) / 8))
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	return 0;
}

void api_lack(struct call *c)
{
	struct err err;
	struct job *j = acquire(c, &err);

	if (!j || lack(c, &err) < 0)
		api_fail_transfer(c, j, &err);
	if (j)
		fleet_release(call_server(c)->fleet, j);
}

/* ---- packs */

/* Of a pack that was taken: its header is right (formats.md). */
static uint64_t plain_size(const struct call *c)
{
	struct reader body;

	reader_init(&body, c->body, c->body_size);
	(void)reader_bytes(&body, PACK_PLAIN_AT);
	return reader_u32(&body);
}

static int put_pack(struct call *c, struct job *j, struct err *err)
{
	struct server *s = call_server(c);
	struct id id;
	int r;

	if (!id_from_text(c->match.params[1], &id))
		return err_set(err, API_BAD_REQUEST,
			       "The pack's name is not 64 lower-case hex digits.");
	r = fleet_check_taken(s->fleet, j, err);
	if (r == 0)
		r = check_room(s, 0, s->config->reserve, err);
	if (r == 0)
		r = store_put_pack(s->store, &id, c->body, c->body_size, err);
	if (r == -EBADMSG || r == -EPROTO)
		err->code = r = API_BAD_PACK;
	if (r == 0)
		fleet_note_taken(s->fleet, j, plain_size(c));
	return r;
}

void api_put_pack(struct call *c)
{
	struct err err;
	struct job *j = acquire(c, &err);

	if (!j || put_pack(c, j, &err) < 0)
		api_fail_transfer(c, j, &err);
	else
		call_answer_empty(c);
	if (j)
		fleet_release(call_server(c)->fleet, j);
}

/* ---- windows */

/* Returns how many they are; an entry of more than is allowed will be refused. */
static uint64_t read_windows(struct call *c, struct window_range *ret_windows, struct id *ret_nodes)
{
	struct reader body;
	uint64_t all = 0;
	size_t len = 0;

	reader_init(&body, c->body, c->body_size);
	while (body.left > 0) {
		ret_windows[len].first = reader_u64(&body);
		ret_windows[len].count = reader_u32(&body);
		all += ret_windows[len].count <= WINDOWS_RUN_MAX ? ret_windows[len].count : 0;
		memcpy(ret_nodes[len++].b, reader_bytes(&body, ID_SIZE), ID_SIZE);
	}
	return all;
}

static int set_windows(struct call *c, struct job *j, uint64_t n,
		       const struct window_range *windows, const struct id *nodes, size_t len,
		       struct err *err)
{
	struct server *s = call_server(c);
	struct partial *p = NULL;
	int r = job_get_partial(s->fleet, j, n, &p, err);

	if (r == 0)
		r = partial_set(p, windows, nodes, len, err);
	if (r == 0)
		fleet_note_transfer(s->fleet, j);
	return r;
}

static int put_windows(struct call *c, struct job *j, struct err *err)
{
	size_t len = c->body_size / WINDOW_ENTRY;
	CLEANUP_FREE struct window_range *windows = calloc(len + 1, sizeof(*windows));
	CLEANUP_FREE struct id *nodes = calloc(len + 1, sizeof(*nodes));
	struct server *s = call_server(c);
	struct job_disk_row d;
	uint64_t n = 0, size;
	int r = api_disk_number(c, &n, err);

	if (r == 0)
		r = job_get_disk(s->fleet, j, n, &d, err);
	if (r < 0)
		return r;
	if (len == 0 || c->body_size % WINDOW_ENTRY != 0)
		return err_set(err, API_BAD_REQUEST, "The body is not a row of windows.");
	if (!windows || !nodes)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	size = read_windows(c, windows, nodes) * ID_SIZE;
	r = take_index_room(s, size, err);
	if (r < 0)
		return r;
	r = set_windows(c, j, n, windows, nodes, len, err);
	give_index_room(s, size);
	return r;
}

void api_put_windows(struct call *c)
{
	struct err err;
	struct job *j = acquire(c, &err);

	if (!j || put_windows(c, j, &err) < 0)
		api_fail_transfer(c, j, &err);
	else
		call_answer_empty(c);
	if (j)
		fleet_release(call_server(c)->fleet, j);
}

/* ---- finish */

struct finish {
	struct id root;
	struct index_info info;
};

static void finish_done(struct finish *fin)
{
	index_info_done(&fin->info);
}

static int read_finish(const json_t *body, uint64_t size, struct finish *ret, struct err *err)
{
	struct index_info *info = &ret->info;
	const json_t *unreadable = NULL;
	uint64_t sector = 0, physical = 0;
	int r = json_get_id(body, "root", &ret->root, err);

	if (r == 0)
		r = json_get_u64(body, "sector_size", 512, 4096, &sector, err);
	if (r == 0)
		r = json_get_u64(body, "physical_sector_size", 512, 65536, &physical, err);
	if (r == 0)
		r = json_opt_array(body, "unreadable", EXTENTS_MAX, &unreadable, err);
	if (r < 0)
		return r;
	info->geometry = (struct geometry){size, (uint32_t)sector, (uint32_t)physical};
	r = geometry_check(&info->geometry, err);
	if (r == 0 && unreadable)
		r = extents_from_json(unreadable, size, &info->unreadable, &info->unreadable_len,
				      err);
	return r;
}

static json_t *finish_answer(const struct seal_result *result, const struct id *root)
{
	json_t *array = json_array();
	char text[ID_TEXT_SIZE];

	for (size_t i = 0; i < result->missing_len; i++) {
		const struct window_range *w = &result->missing[i];

		if (json_array_append_new(array, json_pack("[I,I]", (json_int_t)w->first,
							   (json_int_t)w->count)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	id_to_text(root, text);
	return json_pack("{s:o, s:s?}", "missing", array, "root",
			 result->missing_len == 0 ? text : NULL);
}

/* What the job remembers of a sealed disk. */
static struct job_disk_row sealed_row(const struct finish *fin, const struct seal_result *result)
{
	struct job_disk_row d = {.geometry = fin->info.geometry,
				 .root = result->root,
				 .data_bytes = result->data_bytes,
				 .sealed = true};

	for (size_t i = 0; i < fin->info.unreadable_len; i++)
		d.unreadable_bytes += fin->info.unreadable[i].length;
	return d;
}

static uint64_t index_size(const struct index_info *i)
{
	return INDEX_HEADER_SIZE + window_count(i->geometry.size) * ID_SIZE +
	       index_tail_size(i->unreadable_len);
}

static int seal(struct call *c, struct job *j, uint64_t n, const struct finish *fin,
		struct err *err)
{
	CLEANUP(seal_result_done) struct seal_result result = {0};
	struct server *s = call_server(c);
	struct job_disk_row sealed;
	uint64_t size = index_size(&fin->info);
	struct partial *p = NULL;
	int r = take_index_room(s, size, err);

	if (r < 0)
		return r;
	r = job_get_partial(s->fleet, j, n, &p, err);
	if (r == 0)
		r = partial_seal(p, &fin->info, &fin->root, &result, err);
	give_index_room(s, size);
	if (r == 0 && result.missing_len == 0) {
		sealed = sealed_row(fin, &result);
		r = job_set_sealed(s->fleet, j, n, &sealed, err);
	}
	if (r == 0)
		call_answer(c, 200, finish_answer(&result, &result.root));
	return r;
}

static int finish(struct call *c, struct job *j, struct err *err)
{
	CLEANUP(finish_done) struct finish fin = {0};
	const struct seal_result none = {0};
	struct job_disk_row d = {0};
	uint64_t n = 0;
	int r = api_disk_number(c, &n, err);

	if (r == 0)
		r = job_get_disk(call_server(c)->fleet, j, n, &d, err);
	if (r == 0)
		r = read_finish(c->json, d.size, &fin, err);
	if (r < 0)
		return r;
	if (!d.sealed)
		return seal(c, j, n, &fin, err);
	if (!id_equal(&d.root, &fin.root)) /* said again, but not the same */
		return err_set(err, API_CONFLICT, "The disk is finished with another root.");
	call_answer(c, 200, finish_answer(&none, &d.root));
	return 0;
}

void api_finish(struct call *c)
{
	struct err err;
	struct job *j = acquire(c, &err);

	if (!j || finish(c, j, &err) < 0)
		api_fail_transfer(c, j, &err);
	if (j)
		fleet_release(call_server(c)->fleet, j);
}
