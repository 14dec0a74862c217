#include "common/node.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/cut_hash.h"

#define MAGIC	  "HND1"
#define CHUNK_BIT 0x80000000u
/* Three zero low bits: a cut after one block in eight, 32 KiB on average beyond the least size. */
#define CUT_MASK 7u

size_t node_encode(const struct node *n, uint8_t *buf)
{
	struct writer w;

	writer_init(&w, buf, NODE_SIZE_MAX);
	writer_bytes(&w, MAGIC, 4);
	writer_u32(&w, n->length);
	writer_u32(&w, n->count);
	for (uint32_t i = 0; i < n->count; i++) {
		const struct node_entry *e = &n->entries[i];

		writer_u32(&w, e->length | (e->is_chunk ? CHUNK_BIT : 0));
		if (e->is_chunk)
			writer_bytes(&w, e->id.b, ID_SIZE);
	}
	return w.size;
}

static int check_entry(const struct node *n, uint32_t i, uint64_t offset, struct err *err)
{
	const struct node_entry *e = &n->entries[i];

	if (e->length == 0)
		return err_set(err, -EPROTO, "node: entry %u has no length", i);
	if (e->is_chunk && e->length > CHUNK_MAX) {
		return err_set(err, -EPROTO, "node: chunk %u is %u bytes long, more than %u", i,
			       e->length, CHUNK_MAX);
	}
	if (e->length > n->length - offset)
		return err_set(err, -EPROTO, "node: entry %u reaches past the window", i);
	if (i + 1 < n->count && e->length % BLOCK_SIZE != 0)
		return err_set(err, -EPROTO, "node: entry %u does not end at a block's edge", i);
	if (i > 0 && !e->is_chunk && !n->entries[i - 1].is_chunk)
		return err_set(err, -EPROTO, "node: entry %u is a second zero run in a row", i);
	return 0;
}

static int decode_entries(struct reader *r, struct node *n, struct err *err)
{
	uint64_t offset = 0;

	for (uint32_t i = 0; i < n->count; i++) {
		struct node_entry *e = &n->entries[i];
		uint32_t word = reader_u32(r);
		int result;

		e->is_chunk = (word & CHUNK_BIT) != 0;
		e->length = word & ~CHUNK_BIT;
		e->offset = (uint32_t)offset;
		memset(&e->id, 0, sizeof(e->id));
		if (e->is_chunk) {
			const uint8_t *id = reader_bytes(r, ID_SIZE);

			if (id != NULL)
				memcpy(e->id.b, id, ID_SIZE);
		}
		if (r->bad)
			return err_set(err, -EPROTO, "node: entry %u is cut off", i);
		result = check_entry(n, i, offset, err);
		if (result < 0)
			return result;
		offset += e->length;
	}
	if (offset != n->length)
		return err_set(err, -EPROTO, "node: the entries do not fill the window");
	if (r->left != 0)
		return err_set(err, -EPROTO, "node: %zu bytes too many", r->left);
	return 0;
}

int node_decode(const void *data, size_t size, struct node *ret, struct err *err)
{
	struct reader r;
	const uint8_t *magic;

	reader_init(&r, data, size);
	magic = reader_bytes(&r, 4);
	ret->length = reader_u32(&r);
	ret->count = reader_u32(&r);
	if (r.bad)
		return err_set(err, -EPROTO, "node: the header is cut off");
	if (memcmp(magic, MAGIC, 4) != 0)
		return err_set(err, -EPROTO, "node: does not begin with " MAGIC);
	if (ret->length < 1 || ret->length > WINDOW_SIZE) {
		return err_set(err, -EPROTO, "node: a window of %u bytes is not in 1..%u",
			       ret->length, WINDOW_SIZE);
	}
	if (ret->count < 1 || ret->count > NODE_ENTRIES_MAX) {
		return err_set(err, -EPROTO, "node: a count of %u is not in 1..%u", ret->count,
			       NODE_ENTRIES_MAX);
	}
	return decode_entries(&r, ret, err);
}

uint64_t node_data_bytes(const struct node *n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n->count; i++) {
		if (n->entries[i].is_chunk)
			sum += n->entries[i].length;
	}
	return sum;
}

static uint32_t block_length(uint32_t length, uint32_t offset)
{
	return length - offset < BLOCK_SIZE ? length - offset : BLOCK_SIZE;
}

/* End of the zero run that begins at `offset`; `offset` itself if its block is not zero. */
static uint32_t zero_end(const uint8_t *data, uint32_t length, uint32_t offset)
{
	while (offset < length && bytes_are_zero(data + offset, block_length(length, offset)))
		offset += block_length(length, offset);
	return offset;
}

/* End of the chunk that begins at `offset`, whose first block is not zero. */
static uint32_t chunk_end(const uint8_t *data, uint32_t length, uint32_t offset, cut_hash_fn *hash)
{
	uint32_t end = offset;

	do {
		uint32_t n = block_length(length, end);

		if (end > offset && bytes_are_zero(data + end, n))
			break;
		end += n;
		if (end - offset < CHUNK_MIN)
			continue;
		if ((hash(data + end - n, n) & CUT_MASK) == 0)
			break;
	} while (end < length && end - offset < CHUNK_MAX);
	return end;
}

static void cut(const uint8_t *p, uint32_t length, struct node *ret, bool with_ids)
{
	cut_hash_fn *hash = cut_hash_get();
	uint32_t offset = 0;

	ret->length = length;
	ret->count = 0;
	while (offset < length) {
		struct node_entry *e = &ret->entries[ret->count++];
		uint32_t end = zero_end(p, length, offset);

		e->is_chunk = end == offset;
		if (e->is_chunk)
			end = chunk_end(p, length, offset, hash);
		e->offset = offset;
		e->length = end - offset;
		if (e->is_chunk && with_ids) {
			e->id = id_of(p + offset, e->length);
		} else {
			memset(&e->id, 0, sizeof(e->id));
		}
		offset = end;
	}
}

void node_cut(const void *data, uint32_t length, struct node *ret)
{
	cut(data, length, ret, true);
}

void node_cut_only(const void *data, uint32_t length, struct node *ret)
{
	cut(data, length, ret, false);
}

void node_set_zero(struct node *ret, uint32_t length)
{
	ret->length = length;
	ret->count = 1;
	ret->entries[0] = (struct node_entry){.length = length};
}

bool node_matches(const struct node *n, const void *data, uint32_t *ret_bad)
{
	const uint8_t *p = data;

	for (uint32_t i = 0; i < n->count; i++) {
		const struct node_entry *e = &n->entries[i];
		bool same;

		if (e->is_chunk) {
			struct id id = id_of(p + e->offset, e->length);

			same = id_equal(&id, &e->id);
		} else {
			same = bytes_are_zero(p + e->offset, e->length);
		}
		if (!same) {
			if (ret_bad != NULL)
				*ret_bad = i;
			return false;
		}
	}
	return true;
}
