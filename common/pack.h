/* pack.h - the container of chunks and nodes, docs/formats.md "Pack". */
#ifndef COMMON_PACK_H
#define COMMON_PACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/codec.h"
#include "common/err.h"
#include "common/id.h"
#include "common/limits.h"

enum pack_kind { PACK_CHUNKS = 1, PACK_NODES = 2 };

/* One object of a pack. */
struct pack_entry {
	struct id id;
	uint32_t offset; /* in the plain body */
	uint32_t length;
};

/* ---- writing: gathers objects, then encodes.  One thread. */
struct pack_builder;
/* Room for `plain_max` bytes (<= PACK_PLAIN_MAX) of objects.  NULL: out of memory. */
struct pack_builder *pack_builder_new(enum pack_kind kind, uint32_t plain_max);
void pack_builder_free(struct pack_builder *b);
size_t pack_builder_memory(const struct pack_builder *b); /* bytes that it holds */
static inline void pack_builder_freep(struct pack_builder **p)
{
	pack_builder_free(*p);
}
/* Copies the object in.  False when it does not fit (bytes or count): encode and reset first.
 * The caller adds no id twice. */
bool pack_builder_add(struct pack_builder *b, const struct id *id, const void *data,
		      uint32_t length) MUST_CHECK;
/* The same without copying, as long as each object lies right behind the one before: `data` stays the caller's, and is not to change
 * until the next pack_builder_reset or pack_builder_own.  Copies what does not lie so. */
bool pack_builder_borrow(struct pack_builder *b, const struct id *id, const void *data,
			 uint32_t length) MUST_CHECK;
/* Copy what is borrowed: the caller's memory is free to change. */
void pack_builder_own(struct pack_builder *b);
uint32_t pack_builder_plain_size(const struct pack_builder *b);
uint32_t pack_builder_count(const struct pack_builder *b);
void pack_builder_reset(struct pack_builder *b);
/* Encode what was added (at least one object).  Stored if compression does not save 2 %.  The encoding
 * belongs to the builder and is valid until the next call on it.  -ENOMEM, -EIO. */
int pack_builder_encode(struct pack_builder *b, struct codec_ctx *ctx, enum codec codec, int level,
			const uint8_t **ret_data, size_t *ret_size, struct id *ret_pack_id,
			struct err *err) MUST_CHECK;
/* The same as pack_builder_encode, into memory of the caller's: PACK_HEADER, PACK_ENTRY for each object, and their plain size. */
int pack_builder_encode_to(const struct pack_builder *b, struct codec_ctx *ctx, enum codec codec,
			   int level, uint8_t *out, size_t *ret_size, struct id *ret_pack_id,
			   struct err *err) MUST_CHECK;

/* ---- reading */
struct pack {
	enum pack_kind kind;
	enum codec codec;
	uint32_t count;
	uint32_t plain_size;
	uint32_t body_size;
	size_t size;		    /* of the whole pack */
	struct pack_entry *entries; /* count of them, in body order, heap */
	const uint8_t *body;	    /* in the caller's buffer; NULL from pack_decode_table */
};
void pack_done(struct pack *p);

/* Header and table of a pack of which at least these bytes are at hand; `data` may be the whole pack or
 * any beginning that holds the table.  Every field is validated; `ret` is to be pack_done().
 * -EPROTO malformed (the sentence says which field), -EAGAIN more bytes are needed, -ENOMEM. */
int pack_decode_table(const void *data, size_t size, struct pack *ret, struct err *err) MUST_CHECK;
/* A whole pack of exactly `size` bytes; nothing is decompressed.  -EPROTO, -ENOMEM. */
int pack_decode(const void *data, size_t size, struct pack *ret, struct err *err) MUST_CHECK;
/* Decompress the body into `plain` (p->plain_size bytes). -EBADMSG damaged; -ENOMEM. */
int pack_decompress(const struct pack *p, struct codec_ctx *ctx, void *plain,
		    struct err *err) MUST_CHECK;
/* Hash every object of the plain body: -EBADMSG naming the first whose id differs. */
int pack_verify(const struct pack *p, const void *plain, struct err *err) MUST_CHECK;
#endif
