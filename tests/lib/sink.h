/* sink.h - a server in memory, behind struct peer: stores what it is given, believes nothing, fails as told.
 *
 * It checks what docs/protocol.md demands of an agent and notes the first breach: sink_breach.  Thread-safe. */
#ifndef TESTS_LIB_SINK_H
#define TESTS_LIB_SINK_H
#include "agent/peer.h"

enum sink_op {
	SINK_LACK = 0x01,
	SINK_PACK = 0x02,
	SINK_WINDOWS = 0x04,
	SINK_FINISH = 0x08,
	SINK_NODES = 0x10,
	SINK_CHUNKS = 0x20,
	SINK_BEGIN = 0x40,
	SINK_ALL = 0x7f,
};

struct sink_stats {
	unsigned by_codec[CODEC_COUNT]; /* packs, chunks' and nodes' */
	unsigned lacks, chunk_packs, node_packs, windows_puts, finishes, nodes_gets, chunks_gets,
		begins;
	uint64_t ids_asked;	/* in lacks */
	uint64_t chunks, nodes; /* taken in, those that were there already not counted */
	uint64_t chunks_again;	/* sent although they were there */
	uint64_t windows;	/* in windows puts */
	uint64_t chunks_out;	/* given in answers */
	uint32_t least_pack;	/* plain bytes of the smallest pack of chunks, 0 without any */
};

/* What goes wrong; all zero: nothing. */
struct sink_plan {
	unsigned ops; /* which operations `nth` counts; 0 = all */
	unsigned nth; /* this one fails, counted from 1; 0 = none */
	int code;     /* with this, or -EREMOTEIO */
	unsigned
		lose_after; /* after so many chunk packs forget a chunk of each of the last ones: a power cut; 0 = never */
	unsigned
		hold; /* packs of chunks are not taken in before so many are on their way at once, from then on as they come; 0 = never */
	bool always_incomplete; /* every windows put is refused */
	unsigned bend; /* the nth answer to get_nodes or get_chunks has one bit turned; 0 = none */
	unsigned bend_bit;
};

struct sink;

struct sink *sink_new(void);
void sink_free(struct sink *s);
void sink_set_plan(struct sink *s, const struct sink_plan *plan);
/* Until so many packs of chunks are held on their way; false after that time. */
bool sink_wait_held(struct sink *s, unsigned len, unsigned seconds);
struct sink_stats sink_get_stats(struct sink *s);
void sink_clear_stats(struct sink *s);
/* Another peer of it; to be peer_free'd before the sink. */
struct peer *sink_peer(struct sink *s);
/* The index of a disk begins anew: another job.  What is stored stays. */
void sink_add_disk(struct sink *s, uint32_t disk, uint64_t size);
/* "" or the first thing that an agent must not do. */
const char *sink_breach(struct sink *s);
/* Forget one stored object, as a damaged store does.  False when there are not so many. */
bool sink_drop_chunk(struct sink *s, size_t number);
bool sink_drop_node(struct sink *s, size_t number);
/* What the stored image holds, heap, of the disk's size; NULL when something is missing.  */
uint8_t *sink_read_disk(struct sink *s, uint32_t disk);
bool sink_is_sealed(struct sink *s, uint32_t disk);
struct id sink_root(struct sink *s, uint32_t disk);
#endif
