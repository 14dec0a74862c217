#include "agent/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/message.h"

int wire_registered_decode(const json_t *json, const char *machine_id, struct wire_registered *ret,
			   struct err *err)
{
	const char *machine = "", *secret = "";
	uint64_t poll_s = WIRE_POLL_MAX, renew_s = 0;
	int r = json_get_str(json, "secret", WIRE_SECRET_MAX, &secret, err);

	if (r == 0)
		r = json_get_str(json, "machine", 64, &machine, err);
	if (r == 0)
		r = json_opt_u64(json, "poll_s", 1, WIRE_POLL_MAX, &poll_s, err);
	if (r == 0)
		r = json_opt_u64(json, "renew_s", 1, WIRE_RENEW_MAX, &renew_s, err);
	if (r < 0)
		return err_prefix(err, "the server's answer to the registration");
	if (strcmp(machine, machine_id) != 0 || strlen(secret) < 16)
		return err_set(err, -EPROTO,
			       "the server's answer to the registration makes no sense");
	*ret = (struct wire_registered){secret, (unsigned)poll_s, (unsigned)renew_s};
	return 0;
}

enum codec wire_codec_decode(const json_t *info)
{
	enum codec best = CODEC_STORED;
	const json_t *codecs, *name;
	struct err ignored;
	size_t i;

	if (json_get_array(info, "codecs", 16, &codecs, &ignored) < 0)
		return CODEC_ZLIB;
	json_array_foreach((json_t *)codecs, i, name)
	{
		for (int c = CODEC_ZLIB; json_is_string(name) && c < CODEC_COUNT; c++) {
			if (strcmp(json_string_value(name), codec_name((enum codec)c)) == 0 &&
			    c > (int)best)
				best = (enum codec)c;
		}
	}
	return best;
}

void wire_encode_runs(const struct peer_run *w, size_t len, uint8_t *buf)
{
	struct writer out;

	writer_init(&out, buf, len * WIRE_RUN_SIZE);
	for (size_t i = 0; i < len; i++) {
		writer_u64(&out, w[i].windows.first);
		writer_u32(&out, (uint32_t)w[i].windows.count);
		writer_bytes(&out, w[i].node.b, ID_SIZE);
	}
}

void wire_encode_chunks(const struct peer_chunk *w, size_t len, uint8_t *buf)
{
	struct writer out;

	writer_init(&out, buf, len * WIRE_CHUNK_SIZE);
	for (size_t i = 0; i < len; i++) {
		writer_u64(&out, w[i].window);
		writer_bytes(&out, w[i].id.b, ID_SIZE);
	}
}

int wire_next(struct reader *r, uint32_t min, uint32_t max, struct peer_bytes *ret, struct err *err)
{
	uint32_t size = reader_u32(r);
	const uint8_t *data;

	if (r->bad)
		return err_set(err, -EPROTO, "the server's answer ends too early");
	if (size < min || size > max) {
		return err_set(err, -EPROTO,
			       "the server's answer has an object of %" PRIu32
			       " bytes, and %" PRIu32 " to %" PRIu32 " are allowed",
			       size, min, max);
	}
	data = reader_bytes(r, size);
	if (!data)
		return err_set(err, -EPROTO, "the server's answer ends within an object");
	*ret = (struct peer_bytes){data, size};
	return 0;
}

int wire_next_node(struct reader *r, uint64_t left, uint32_t *ret_count, struct peer_bytes *ret,
		   struct err *err)
{
	uint32_t count = reader_u32(r);

	if (!r->bad && (count == 0 || count > left)) {
		return err_set(err, -EPROTO,
			       "the server's answer has a node of %" PRIu32 " windows, and %" PRIu64
			       " were asked for",
			       count, left);
	}
	*ret_count = count;
	return wire_next(r, NODE_SIZE_MIN, NODE_SIZE_MAX, ret, err);
}

size_t wire_chunks_max(size_t len, uint64_t plain)
{
	return (size_t)plain + len * (4 + PACK_HEADER + PACK_ENTRY);
}

json_t *wire_finish_encode(const struct peer_finish *f)
{
	char root[ID_TEXT_SIZE];

	id_to_text(&f->root, root);
	return json_pack("{s:s, s:I, s:I, s:o}", "root", root, "sector_size",
			 (json_int_t)f->geometry.sector_size, "physical_sector_size",
			 (json_int_t)f->geometry.physical_sector_size, "unreadable",
			 extents_to_json(f->unreadable, f->unreadable_len));
}

static bool range_decode(const json_t *pair, uint64_t from, uint64_t windows,
			 struct window_range *ret)
{
	const json_t *first = json_array_get(pair, 0), *count = json_array_get(pair, 1);

	if (json_array_size(pair) != 2 || !json_is_integer(first) || !json_is_integer(count) ||
	    json_integer_value(first) < 0 || json_integer_value(count) <= 0)
		return false;
	*ret = (struct window_range){(uint64_t)json_integer_value(first),
				     (uint64_t)json_integer_value(count)};
	return ret->first >= from && ret->first < windows && ret->count <= windows - ret->first;
}

/* Either ranges or the root that we sent: a server that seals another one is not believed. */
static int check_sealed(const json_t *json, const struct id *root, struct err *err)
{
	struct id sealed;
	int r = json_get_id(json, "root", &sealed, err);

	if (r == 0 && !id_equal(&sealed, root))
		r = err_set(err, -EPROTO, "the server has sealed another root than ours");
	return r;
}

int wire_finished_decode(const json_t *json, uint64_t windows, const struct id *root,
			 struct peer_finished *ret, struct err *err)
{
	const json_t *missing;
	CLEANUP_FREE struct window_range *ranges = NULL;
	uint64_t from = 0;
	size_t len;
	int r = json_get_array(json, "missing", MISSING_MAX, &missing, err);

	if (r < 0)
		return r;
	len = json_array_size(missing);
	if (len == 0) {
		r = check_sealed(json, root, err);
		if (r == 0)
			*ret = (struct peer_finished){0};
		return r;
	}
	ranges = calloc(len, sizeof(*ranges));
	if (!ranges)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < len; i++) {
		if (!range_decode(json_array_get(missing, i), from, windows, &ranges[i]))
			return err_set(err, -EPROTO,
				       "field 'missing' has a range that is not allowed");
		from = ranges[i].first + ranges[i].count;
	}
	*ret = (struct peer_finished){TAKE_PTR(ranges), len};
	return 0;
}

json_t *wire_progress_encode(const struct job_progress *p)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s?, s:I, s:{s:s?, s:I, s:I}}",
			 "phase", job_phase_name(p->phase), "disk", (json_int_t)p->disk, "done",
			 (json_int_t)p->done, "total", (json_int_t)p->total, "data",
			 (json_int_t)p->data, "sent", (json_int_t)p->sent, "skipped",
			 (json_int_t)p->skipped, "bottleneck", meter_place_name(p->bottleneck),
			 "unreadable", (json_int_t)p->unreadable, "rescue", "pass",
			 rescue_pass_name(p->rescue_pass), "left", (json_int_t)p->sick,
			 "read_errors", (json_int_t)p->read_errors);
}
