#include "common/root.h"

#include <assert.h>

#include "common/bytes.h"

#define MAGIC "HGR1"

struct id group_id(const struct id *nodes, uint32_t len)
{
	uint8_t b[8 + GROUP_WINDOWS * ID_SIZE];
	struct writer w;

	assert(len >= 1 && len <= GROUP_WINDOWS);
	writer_init(&w, b, sizeof(b));
	writer_bytes(&w, MAGIC, 4);
	writer_u32(&w, len);
	writer_bytes(&w, nodes, (size_t)len * ID_SIZE);
	return id_of(b, w.size);
}

void root_init(struct root_hash *r, const struct geometry *g)
{
	uint8_t header[INDEX_HEADER_SIZE];

	index_encode_header(g, header);
	blake3_init(&r->h);
	blake3_update(&r->h, header, sizeof(header));
	r->windows = window_count(g->size);
	r->group_len = 0;
}

static void end_group(struct root_hash *r, const struct id *group, uint32_t len)
{
	blake3_update(&r->h, group->b, ID_SIZE);
	r->windows -= len;
	r->group_len = 0;
}

static uint32_t next_length(const struct root_hash *r)
{
	return r->windows < GROUP_WINDOWS ? (uint32_t)r->windows : GROUP_WINDOWS;
}

void root_add(struct root_hash *r, const struct id *node)
{
	struct id id;

	assert(r->windows > 0);
	r->group[r->group_len++] = *node;
	if (r->group_len < next_length(r))
		return;
	id = group_id(r->group, r->group_len);
	end_group(r, &id, r->group_len);
}

void root_add_group(struct root_hash *r, const struct id *group)
{
	assert(r->windows > 0 && r->group_len == 0);
	end_group(r, group, next_length(r));
}

struct id root_final(struct root_hash *r, const struct extent *unreadable, size_t len)
{
	struct id id;
	uint8_t b[16];
	struct writer w;

	assert(r->windows == 0);
	writer_init(&w, b, sizeof(b));
	writer_u32(&w, (uint32_t)len);
	writer_u32(&w, 0);
	blake3_update(&r->h, b, w.size);
	for (size_t i = 0; i < len; i++) {
		writer_init(&w, b, sizeof(b));
		writer_u64(&w, unreadable[i].offset);
		writer_u64(&w, unreadable[i].length);
		blake3_update(&r->h, b, w.size);
	}
	blake3_final(&r->h, id.b);
	return id;
}
