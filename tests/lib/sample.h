/* sample.h - made-up disks in the shape that captures have: chunk packs, node packs, an index. */
#ifndef TESTS_LIB_SAMPLE_H
#define TESTS_LIB_SAMPLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/id.h"
#include "common/index.h"
#include "common/pack.h"

struct sample_pack {
	enum pack_kind kind;
	struct id id;
	uint8_t *data;
	size_t size;
	uint32_t count;
	struct id *ids;
};

struct sample {
	struct geometry geometry;
	uint32_t windows;
	struct id *nodes; /* of the windows */
	struct id root;
	uint64_t data_bytes;
	uint32_t chunks_len;
	struct id *chunks;	   /* in disk order */
	struct sample_pack *packs; /* chunks first, then nodes */
	size_t packs_len, chunk_packs;
};

struct sample_shape {
	uint32_t windows;
	uint32_t chunks_per_window;
	uint32_t chunk_size; /* a multiple of 4096 */
	uint32_t chunks_per_pack;
	uint32_t nodes_per_pack;
	bool is_stored;	 /* not compressed: packs of the same count have the same size */
	uint32_t shared; /* the first so many chunks of the disk are the same whatever the seed */
	uint32_t shared_every; /* so is each so-manieth of the others; 0: none */
};
extern const struct sample_shape sample_small;

/* The same seed and shape give the same bytes.  Aborts without memory. */
struct sample *sample_new(uint64_t seed, const struct sample_shape *shape);
void sample_free(struct sample *s);
/* The plain bytes of chunk i of the disk; `buf` holds shape->chunk_size. */
void sample_chunk(uint64_t seed, const struct sample_shape *shape, uint32_t i, uint8_t *buf);

/* Encode one pack of the objects at data[i], sizes[i]. */
struct sample_pack sample_pack(enum pack_kind kind, const uint8_t *const *data,
			       const uint32_t *sizes, uint32_t count, enum codec codec);
void sample_pack_done(struct sample_pack *p);

/* Folders of tests.  All abort when something fails. */
void tree_remove(const char *path);
void tree_copy(const char *from, const char *to);
#endif
