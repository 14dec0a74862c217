/* rig.h - disks with content for tests of the engine, and a job to run it with. */
#ifndef TESTS_LIB_RIG_H
#define TESTS_LIB_RIG_H
#include <stdint.h>

#include "agent/capture.h"
#include "tests/lib/sink.h"

/* The next of a row of pseudo-random numbers (xorshift64*); *state is not 0. */
uint64_t rig_random(uint64_t *state);

/* A disk's bytes, heap: runs of random, compressible, repeated and zero blocks, told by the seed. */
uint8_t *rig_make_disk(uint64_t size, uint64_t seed);

#define RIG_WORKERS_MAX 8u

/* A capture of `blk` as disk 0 into `sink`; what it did is left in the struct. */
struct rig {
	struct job job;
	struct source source;
	struct used used;
	struct peer *peers[RIG_WORKERS_MAX + CAPTURE_SENDERS_MAX];
	unsigned workers, peers_len;
	enum codec codec; /* CODEC_ZSTD ... */
	int level;	  /* ... and 1, unless changed; 0: adaptive */
	struct rescue_options rescue;
	struct capture_result result;
	struct err err;
	char code[JOB_CODE_SIZE];
};
void rig_init(struct rig *g, struct sink *sink, struct blk *blk, unsigned workers);
/* capture_disk; may be called again. */
int rig_capture(struct rig *g);
void rig_done(struct rig *g);
#endif
