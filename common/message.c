#include "common/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"

#define NAME_START "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char *const kind_names[] = {"capture", "restore", "verify", "gc"};
static const char *const end_names[] = {"stay", "reboot", "poweroff"};

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Place of `name` in a list of words, or -EPROTO naming `what`. */
static int word_place(const char *const *words, size_t len, const char *name, const char *what,
		      struct err *err)
{
	for (size_t i = 0; i < len; i++)
		if (strcmp(words[i], name) == 0)
			return (int)i;
	return err_set(err, -EPROTO, "'%.32s' is not a known %s", name, what);
}

const char *job_kind_name(enum job_kind k)
{
	return (unsigned)k < LEN(kind_names) ? kind_names[k] : "?";
}

const char *end_action_name(enum end_action e)
{
	return (unsigned)e < LEN(end_names) ? end_names[e] : "?";
}

int job_kind_from_name(const char *name, enum job_kind *ret, struct err *err)
{
	int r = word_place(kind_names, LEN(kind_names), name, "kind of job", err);

	if (r < 0)
		return r;
	*ret = (enum job_kind)r;
	return 0;
}

int end_action_from_name(const char *name, enum end_action *ret, struct err *err)
{
	int r = word_place(end_names, LEN(end_names), name, "end action (stay, reboot, poweroff)",
			   err);

	if (r < 0)
		return r;
	*ret = (enum end_action)r;
	return 0;
}

bool name_is_valid(const char *name)
{
	size_t len = strnlen(name, NAME_MAX_LEN + 1);

	return len >= 1 && len <= NAME_MAX_LEN && strchr(NAME_START, name[0]) != NULL &&
	       strspn(name, NAME_START "._-") == len;
}

bool disk_id_is_valid(const char *id)
{
	size_t len = strnlen(id, DISK_ID_MAX + 1);

	return len >= 1 && len <= DISK_ID_MAX && strspn(id, NAME_START ":._-") == len;
}

static bool job_id_is_valid(const char *id)
{
	return strlen(id) == JOB_ID_SIZE - 1 && strspn(id, "0123456789abcdef") == JOB_ID_SIZE - 1;
}

void order_done(struct order *o)
{
	for (uint32_t i = 0; i < o->disks_len; i++)
		free(o->disks[i].unreadable);
	free(o->disks);
	*o = (struct order){0};
}

int extents_from_json(const json_t *array, uint64_t disk_size, struct extent **ret, size_t *ret_len,
		      struct err *err)
{
	CLEANUP_FREE struct extent *e = NULL;
	size_t len = json_array_size(array);
	int r;

	if (len > EXTENTS_MAX)
		return err_set(err, -EPROTO, "%zu unreadable extents are more than %u", len,
			       EXTENTS_MAX);
	if (len > 0) {
		e = malloc(len * sizeof(*e));
		if (e == NULL)
			return err_set(err, -ENOMEM, "read a list of extents: out of memory");
	}
	for (size_t i = 0; i < len; i++) {
		const json_t *pair = json_array_get(array, i);
		const json_t *offset = json_array_get(pair, 0), *length = json_array_get(pair, 1);

		if (json_array_size(pair) != 2 || !json_is_integer(offset) ||
		    !json_is_integer(length) || json_integer_value(offset) < 0 ||
		    json_integer_value(length) < 0)
			return err_set(err, -EPROTO,
				       "unreadable extent %zu is not a pair of whole numbers", i);
		e[i].offset = (uint64_t)json_integer_value(offset);
		e[i].length = (uint64_t)json_integer_value(length);
	}
	r = extents_check(e, len, disk_size, err);
	if (r < 0) {
		err->code = -EPROTO;
		return -EPROTO;
	}
	*ret = TAKE_PTR(e);
	*ret_len = len;
	return 0;
}

json_t *extents_to_json(const struct extent *e, size_t len)
{
	json_t *a = json_array();

	for (size_t i = 0; i < len; i++) {
		json_t *pair = json_pack("[I,I]", (json_int_t)e[i].offset, (json_int_t)e[i].length);

		if (json_array_append_new(a, pair) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static int get_disk_id(const json_t *o, char *ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(o, "disk", DISK_ID_MAX, &text, err);

	if (r < 0)
		return r;
	if (!disk_id_is_valid(text))
		return err_set(err, -EPROTO, "field 'disk' is not the id of a disk");
	memcpy(ret, text, strlen(text) + 1);
	return 0;
}

static int decode_geometry(const json_t *o, struct geometry *ret, struct err *err)
{
	uint64_t size = 0, sector = 0, physical = 0;
	int r;

	r = json_get_u64(o, "size", DISK_SIZE_MIN, DISK_SIZE_MAX, &size, err);
	if (r == 0)
		r = json_get_u64(o, "sector_size", 512, 4096, &sector, err);
	if (r == 0)
		r = json_get_u64(o, "physical_sector_size", 512, 65536, &physical, err);
	if (r < 0)
		return r;
	*ret = (struct geometry){.size = size,
				 .sector_size = (uint32_t)sector,
				 .physical_sector_size = (uint32_t)physical};
	if (geometry_check(ret, err) < 0) {
		err->code = -EPROTO;
		return -EPROTO;
	}
	return 0;
}

static int decode_source(const json_t *o, struct order_disk *d, struct err *err)
{
	const json_t *unreadable = NULL;
	int r;

	r = get_disk_id(o, d->source_disk, err);
	if (r == 0)
		r = decode_geometry(o, &d->source, err);
	if (r == 0)
		r = json_get_id(o, "root", &d->root, err);
	if (r == 0)
		r = json_opt_u64(o, "data_bytes", 0, DISK_SIZE_MAX, &d->data_bytes, err);
	if (r == 0)
		r = json_opt_array(o, "unreadable", EXTENTS_MAX, &unreadable, err);
	if (r == 0 && unreadable != NULL)
		r = extents_from_json(unreadable, d->source.size, &d->unreadable,
				      &d->unreadable_len, err);
	return r < 0 ? err_prefix(err, "source") : 0;
}

static int decode_disk(const json_t *o, enum job_kind kind, uint64_t n, struct order_disk *d,
		       struct err *err)
{
	const json_t *source = NULL;
	uint64_t place = 0;
	int r;

	r = json_get_u64(o, "n", n, n, &place, err);
	if (r == 0)
		r = get_disk_id(o, d->disk, err);
	if (r == 0)
		r = json_get_u64(o, "size", DISK_SIZE_MIN, DISK_SIZE_MAX, &d->size, err);
	if (r < 0 || kind == JOB_CAPTURE)
		return r;
	r = json_get_id(o, "fingerprint", &d->fingerprint, err);
	if (r == 0)
		r = json_opt_bool(o, "overwrite", &d->overwrite, err);
	if (r == 0)
		r = json_opt_bool(o, "begun", &d->begun, err);
	if (r == 0)
		r = json_get_object(o, "source", &source, err);
	if (r == 0)
		r = decode_source(source, d, err);
	return r;
}

static int decode_disks(const json_t *array, struct order *o, struct err *err)
{
	size_t len = json_array_size(array);

	if (len < 1)
		return err_set(err, -EPROTO, "field 'disks' is empty");
	o->disks = calloc(len, sizeof(*o->disks));
	if (o->disks == NULL)
		return err_set(err, -ENOMEM, "read an order: out of memory");
	o->disks_len = (uint32_t)len;
	for (size_t i = 0; i < len; i++) {
		int r = decode_disk(json_array_get(array, i), o->kind, i, &o->disks[i], err);

		if (r < 0)
			return err_prefix(err, "disk %zu", i);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(o->disks[k].disk, o->disks[i].disk) == 0)
				return err_set(err, -EPROTO, "disk '%s' stands twice",
					       o->disks[i].disk);
		}
	}
	return 0;
}

static int decode_wish(const json_t *o, const char *key, uint64_t max, int64_t *ret,
		       struct err *err)
{
	uint64_t n = UINT64_MAX;
	int r = json_opt_u64(o, key, 0, max, &n, err);

	if (r == 0 && n != UINT64_MAX)
		*ret = (int64_t)n;
	return r;
}

int rescue_wish_decode(const json_t *options, struct rescue_wish *ret, struct err *err)
{
	struct rescue_wish w = RESCUE_WISH_NONE;
	const json_t *o = NULL;
	int r = options ? json_opt_object(options, "rescue", &o, err) : 0;

	if (r == 0 && o)
		r = decode_wish(o, "seconds", RESCUE_SECONDS_MAX, &w.seconds, err);
	if (r == 0 && o)
		r = decode_wish(o, "area_seconds", RESCUE_SECONDS_MAX, &w.area_seconds, err);
	if (r == 0 && o)
		r = decode_wish(o, "retries", RESCUE_RETRIES_MAX, &w.retries, err);
	if (r == 0)
		*ret = w;
	return r;
}

int rescue_wish_encode(const struct rescue_wish *w, json_t *options)
{
	const struct {
		const char *key;
		int64_t n;
	} members[] = {{"seconds", w->seconds},
		       {"area_seconds", w->area_seconds},
		       {"retries", w->retries}};
	json_t *o = json_object();
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(members) / sizeof(*members); i++) {
		if (members[i].n >= 0)
			r = json_object_set_new(o, members[i].key, json_integer(members[i].n));
	}
	if (r == 0 && json_object_size(o) > 0)
		r = json_object_set(options, "rescue", o);
	json_decref(o);
	return r;
}

static int decode_head(const json_t *json, struct order *o, struct err *err)
{
	const char *job = NULL, *kind = NULL, *end = "stay";
	const json_t *options = NULL;
	uint64_t level = 0;
	int r;

	r = json_get_str(json, "job", JOB_ID_SIZE - 1, &job, err);
	if (r == 0 && !job_id_is_valid(job))
		r = err_set(err, -EPROTO, "field 'job' is not an id of 16 hex digits");
	if (r == 0)
		r = json_get_str(json, "kind", 16, &kind, err);
	if (r == 0)
		r = job_kind_from_name(kind, &o->kind, err);
	if (r == 0 && o->kind != JOB_CAPTURE && o->kind != JOB_RESTORE)
		r = err_set(err, -EPROTO, "a '%s' is no order for an agent", kind);
	if (r == 0)
		r = json_opt_str(json, "end", 16, &end, err);
	if (r == 0)
		r = end_action_from_name(end, &o->end, err);
	if (r == 0)
		r = json_opt_object(json, "options", &options, err);
	if (r == 0 && options != NULL)
		r = json_opt_u64(options, "level", 1, 19, &level, err);
	if (r == 0 && options != NULL)
		r = json_opt_bool(options, "all_blocks", &o->all_blocks, err);
	if (r == 0)
		r = rescue_wish_decode(options, &o->rescue, err);
	if (r < 0)
		return r;
	memcpy(o->job, job, JOB_ID_SIZE);
	o->level = (int)level;
	return 0;
}

int order_decode(const json_t *json, struct order *ret, struct err *err)
{
	struct order o = {0};
	const json_t *disks = NULL;
	int r;

	r = decode_head(json, &o, err);
	if (r == 0)
		r = json_get_array(json, "disks", JOB_DISKS_MAX, &disks, err);
	if (r == 0)
		r = decode_disks(disks, &o, err);
	if (r < 0) {
		order_done(&o);
		return err_prefix(err, "order");
	}
	*ret = o;
	return 0;
}

static json_t *encode_disk(const struct order *o, uint32_t n)
{
	const struct order_disk *d = &o->disks[n];
	char fingerprint[ID_TEXT_SIZE], root[ID_TEXT_SIZE];

	if (o->kind == JOB_CAPTURE)
		return json_pack("{s:i, s:s, s:I}", "n", (int)n, "disk", d->disk, "size",
				 (json_int_t)d->size);
	id_to_text(&d->fingerprint, fingerprint);
	id_to_text(&d->root, root);
	return json_pack("{s:i, s:s, s:I, s:s, s:b, s:b, s:{s:s, s:I, s:I, s:I, s:s, s:I, s:o}}",
			 "n", (int)n, "disk", d->disk, "size", (json_int_t)d->size, "fingerprint",
			 fingerprint, "overwrite", (int)d->overwrite, "begun", (int)d->begun,
			 "source", "disk", d->source_disk, "size", (json_int_t)d->source.size,
			 "sector_size", (json_int_t)d->source.sector_size, "physical_sector_size",
			 (json_int_t)d->source.physical_sector_size, "root", root, "data_bytes",
			 (json_int_t)d->data_bytes, "unreadable",
			 extents_to_json(d->unreadable, d->unreadable_len));
}

json_t *order_encode(const struct order *o)
{
	CLEANUP_JSON json_t *disks = json_array();
	CLEANUP_JSON json_t *options = json_object();

	for (uint32_t i = 0; i < o->disks_len; i++)
		if (json_array_append_new(disks, encode_disk(o, i)) < 0)
			return NULL;
	if (o->level != 0 && json_object_set_new(options, "level", json_integer(o->level)) < 0)
		return NULL;
	if (o->all_blocks && json_object_set_new(options, "all_blocks", json_true()) < 0)
		return NULL;
	if (rescue_wish_encode(&o->rescue, options) < 0)
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:O, s:O}", "job", o->job, "kind", job_kind_name(o->kind),
			 "end", end_action_name(o->end), "options", options, "disks", disks);
}

bool api_error_decode(const char *text, size_t size, struct api_error *ret)
{
	CLEANUP_JSON json_t *j = NULL;
	struct err ignored;
	const json_t *e = NULL;
	const char *code, *message;

	if (json_parse(text, size, JSON_MAX, &j, &ignored) < 0 ||
	    json_get_object(j, "error", &e, &ignored) < 0)
		return false;
	code = json_string_value(json_object_get(e, "code"));
	message = json_string_value(json_object_get(e, "message"));
	if (code == NULL || message == NULL)
		return false;
	(void)strncpy(ret->code, code, sizeof(ret->code) - 1);
	(void)strncpy(ret->message, message, sizeof(ret->message) - 1);
	ret->code[sizeof(ret->code) - 1] = '\0';
	ret->message[sizeof(ret->message) - 1] = '\0';
	return true;
}
