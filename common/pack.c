#include "common/pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cleanup.h"

#define MAGIC "HPK1"

/* Compression must save one part in this many, or the body is stored: reading it back is then free. */
#define WORTH_PART 50

struct pack_builder {
	enum pack_kind kind;
	uint32_t plain_max, plain_size, count;
	uint32_t entries_cap;
	struct pack_entry *entries;
	uint8_t *plain;
	const uint8_t *borrowed; /* where the plain bytes lie; NULL: in `plain` */
	uint8_t *out;		 /* header, table and body; made when first encoded */
	size_t out_cap;
};

struct pack_builder *pack_builder_new(enum pack_kind kind, uint32_t plain_max)
{
	struct pack_builder *b;

	assert(plain_max > 0 && plain_max <= PACK_PLAIN_MAX);
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return NULL;
	b->kind = kind;
	b->plain_max = plain_max;
	b->plain = malloc(plain_max);
	if (b->plain == NULL) {
		free(b);
		return NULL;
	}
	return b;
}

void pack_builder_free(struct pack_builder *b)
{
	if (b == NULL)
		return;
	free(b->entries);
	free(b->plain);
	free(b->out);
	free(b);
}

size_t pack_builder_memory(const struct pack_builder *b)
{
	return sizeof(*b) + b->entries_cap * sizeof(*b->entries) + b->plain_max + b->out_cap;
}

static bool grow_entries(struct pack_builder *b)
{
	uint32_t cap = b->entries_cap ? b->entries_cap * 2 : 64;
	struct pack_entry *e;

	if (b->count < b->entries_cap)
		return true;
	e = realloc(b->entries, cap * sizeof(*e));
	if (e == NULL)
		return false;
	b->entries = e;
	b->entries_cap = cap;
	return true;
}

static bool has_room(struct pack_builder *b, uint32_t length)
{
	return length <= b->plain_max - b->plain_size && b->count < PACK_COUNT_MAX &&
	       grow_entries(b);
}

static void add_entry(struct pack_builder *b, const struct id *id, uint32_t length)
{
	b->entries[b->count++] =
		(struct pack_entry){.id = *id, .offset = b->plain_size, .length = length};
	b->plain_size += length;
}

bool pack_builder_add(struct pack_builder *b, const struct id *id, const void *data,
		      uint32_t length)
{
	if (!has_room(b, length))
		return false;
	pack_builder_own(b);
	memcpy(b->plain + b->plain_size, data, length);
	add_entry(b, id, length);
	return true;
}

bool pack_builder_borrow(struct pack_builder *b, const struct id *id, const void *data,
			 uint32_t length)
{
	if (b->plain_size > 0 && (!b->borrowed || b->borrowed + b->plain_size != data))
		return pack_builder_add(b, id, data, length);
	if (!has_room(b, length))
		return false;
	if (b->plain_size == 0)
		b->borrowed = data;
	add_entry(b, id, length);
	return true;
}

void pack_builder_own(struct pack_builder *b)
{
	if (b->borrowed)
		memcpy(b->plain, b->borrowed, b->plain_size);
	b->borrowed = NULL;
}

uint32_t pack_builder_plain_size(const struct pack_builder *b)
{
	return b->plain_size;
}

uint32_t pack_builder_count(const struct pack_builder *b)
{
	return b->count;
}

void pack_builder_reset(struct pack_builder *b)
{
	b->plain_size = 0;
	b->count = 0;
	b->borrowed = NULL;
}

static bool grow_out(struct pack_builder *b, size_t size)
{
	uint8_t *out;

	if (size <= b->out_cap)
		return true;
	out = realloc(b->out, size);
	if (out == NULL)
		return false;
	b->out = out;
	b->out_cap = size;
	return true;
}

static void write_header(const struct pack_builder *b, enum codec codec, uint32_t body_size,
			 uint8_t *out, size_t head)
{
	struct writer w;

	writer_init(&w, out, head);
	writer_bytes(&w, MAGIC, 4);
	writer_u8(&w, (uint8_t)b->kind);
	writer_u8(&w, (uint8_t)codec);
	writer_u16(&w, 0);
	writer_u32(&w, b->count);
	writer_u32(&w, b->plain_size);
	writer_u32(&w, body_size);
	for (uint32_t i = 0; i < b->count; i++) {
		writer_u32(&w, b->entries[i].length);
		writer_bytes(&w, b->entries[i].id.b, ID_SIZE);
	}
	assert(!w.bad);
}

int pack_builder_encode_to(const struct pack_builder *b, struct codec_ctx *ctx, enum codec codec,
			   int level, uint8_t *out, size_t *ret_size, struct id *ret_pack_id,
			   struct err *err)
{
	size_t head = PACK_HEADER + (size_t)b->count * PACK_ENTRY;
	uint32_t worth = b->plain_size - b->plain_size / WORTH_PART;
	const uint8_t *plain = b->borrowed ? b->borrowed : b->plain;
	int64_t body = 0;

	assert(b->count > 0);
	if (codec != CODEC_STORED)
		body = codec_compress(ctx, codec, level, plain, b->plain_size, out + head, worth);
	if (body < 0) {
		return err_set(err, (int)body, "compress a pack of %u bytes with %s: %s",
			       b->plain_size, codec_name(codec),
			       body == -ENOMEM ? "out of memory" : "library failure");
	}
	if (body == 0) {
		codec = CODEC_STORED;
		body = b->plain_size;
		memcpy(out + head, plain, b->plain_size);
	}
	write_header(b, codec, (uint32_t)body, out, head);
	*ret_size = head + (size_t)body;
	*ret_pack_id = id_of(out, *ret_size);
	return 0;
}

int pack_builder_encode(struct pack_builder *b, struct codec_ctx *ctx, enum codec codec, int level,
			const uint8_t **ret_data, size_t *ret_size, struct id *ret_pack_id,
			struct err *err)
{
	int r;

	if (!grow_out(b, PACK_HEADER + (size_t)b->count * PACK_ENTRY + b->plain_size)) {
		return err_set(err, -ENOMEM, "encode a pack of %u bytes: out of memory",
			       b->plain_size);
	}
	r = pack_builder_encode_to(b, ctx, codec, level, b->out, ret_size, ret_pack_id, err);
	if (r == 0)
		*ret_data = b->out;
	return r;
}

void pack_done(struct pack *p)
{
	free(p->entries);
	*p = (struct pack){0};
}

static int id_compare(const void *a, const void *b)
{
	return memcmp(*(const struct id *const *)a, *(const struct id *const *)b, ID_SIZE);
}

/* No id twice: sorted pointers, so that hostile tables cost n log n. */
static int check_unique(const struct pack *p, struct err *err)
{
	CLEANUP_FREE const struct id **ids = malloc(p->count * sizeof(*ids));

	if (ids == NULL)
		return err_set(err, -ENOMEM, "decode a pack: out of memory");
	for (uint32_t i = 0; i < p->count; i++)
		ids[i] = &p->entries[i].id;
	qsort(ids, p->count, sizeof(*ids), id_compare);
	for (uint32_t i = 1; i < p->count; i++) {
		if (id_equal(ids[i - 1], ids[i]))
			return err_set(err, -EPROTO, "pack: an object stands twice in the table");
	}
	return 0;
}

static int decode_header(struct reader *r, struct pack *p, struct err *err)
{
	const uint8_t *magic = reader_bytes(r, 4);
	uint8_t kind = reader_u8(r), codec = reader_u8(r);
	uint16_t reserved = reader_u16(r);

	p->count = reader_u32(r);
	p->plain_size = reader_u32(r);
	p->body_size = reader_u32(r);
	if (r->bad)
		return err_set(err, -EAGAIN, "pack: the header is cut off");
	if (memcmp(magic, MAGIC, 4) != 0)
		return err_set(err, -EPROTO, "pack: does not begin with " MAGIC);
	if (kind != PACK_CHUNKS && kind != PACK_NODES)
		return err_set(err, -EPROTO, "pack: kind %u is not known", kind);
	if (codec >= CODEC_COUNT)
		return err_set(err, -EPROTO, "pack: codec %u is not known", codec);
	if (reserved != 0)
		return err_set(err, -EPROTO, "pack: the reserved field is not zero");
	if (p->count < 1 || p->count > PACK_COUNT_MAX) {
		return err_set(err, -EPROTO, "pack: a count of %u is not in 1..%u", p->count,
			       PACK_COUNT_MAX);
	}
	if (p->plain_size < 1 || p->plain_size > PACK_PLAIN_MAX) {
		return err_set(err, -EPROTO, "pack: a plain size of %u is not in 1..%u",
			       p->plain_size, PACK_PLAIN_MAX);
	}
	if (p->body_size < 1 || p->body_size > p->plain_size ||
	    (codec == CODEC_STORED && p->body_size != p->plain_size)) {
		return err_set(err, -EPROTO,
			       "pack: a body of %u bytes does not go with %u plain bytes",
			       p->body_size, p->plain_size);
	}
	p->kind = (enum pack_kind)kind;
	p->codec = (enum codec)codec;
	return 0;
}

static int decode_entries(struct reader *r, struct pack *p, struct err *err)
{
	uint32_t min = p->kind == PACK_NODES ? NODE_SIZE_MIN : 1;
	uint32_t max = p->kind == PACK_NODES ? NODE_SIZE_MAX : CHUNK_MAX;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->count; i++) {
		struct pack_entry *e = &p->entries[i];

		e->length = reader_u32(r);
		e->offset = (uint32_t)sum;
		memcpy(e->id.b, reader_bytes(r, ID_SIZE), ID_SIZE);
		if (e->length < min || e->length > max) {
			return err_set(err, -EPROTO,
				       "pack: object %u has a length of %u, not in %u..%u", i,
				       e->length, min, max);
		}
		sum += e->length;
		if (sum > p->plain_size)
			break;
	}
	if (sum != p->plain_size)
		return err_set(err, -EPROTO, "pack: the lengths do not add up to the plain size");
	return check_unique(p, err);
}

int pack_decode_table(const void *data, size_t size, struct pack *ret, struct err *err)
{
	struct pack p = {0};
	struct reader r;
	int result;

	reader_init(&r, data, size);
	result = decode_header(&r, &p, err);
	if (result < 0)
		return result;
	if (r.left < (size_t)p.count * PACK_ENTRY)
		return err_set(err, -EAGAIN, "pack: the table is cut off");
	p.entries = malloc(p.count * sizeof(*p.entries));
	if (p.entries == NULL)
		return err_set(err, -ENOMEM, "decode a pack: out of memory");
	result = decode_entries(&r, &p, err);
	if (result < 0) {
		pack_done(&p);
		return result;
	}
	p.size = PACK_HEADER + (size_t)p.count * PACK_ENTRY + p.body_size;
	*ret = p;
	return 0;
}

int pack_decode(const void *data, size_t size, struct pack *ret, struct err *err)
{
	struct pack p = {0};
	int r = pack_decode_table(data, size, &p, err);

	if (r == -EAGAIN) {
		err->code = -EPROTO;
		return -EPROTO;
	}
	if (r < 0)
		return r;
	if (p.size != size) {
		size_t want = p.size;

		pack_done(&p);
		return err_set(err, -EPROTO, "pack: %zu bytes where the header says %zu", size,
			       want);
	}
	p.body = (const uint8_t *)data + (size - p.body_size);
	*ret = p;
	return 0;
}

int pack_decompress(const struct pack *p, struct codec_ctx *ctx, void *plain, struct err *err)
{
	int r = codec_decompress(ctx, p->codec, p->body, p->body_size, plain, p->plain_size, err);

	return r < 0 ? err_prefix(err, "pack") : 0;
}

int pack_verify(const struct pack *p, const void *plain, struct err *err)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct pack_entry *e = &p->entries[i];
		struct id id = id_of((const uint8_t *)plain + e->offset, e->length);
		char text[ID_TEXT_SIZE];

		if (id_equal(&id, &e->id))
			continue;
		id_to_text(&e->id, text);
		return err_set(err, -EBADMSG, "pack: object %u is not what its id %.16s… says", i,
			       text);
	}
	return 0;
}
