/* blk_fault.h - a disk that fails as told, around a disk that works. */
#ifndef TESTS_LIB_BLK_FAULT_H
#define TESTS_LIB_BLK_FAULT_H
#include "common/blk.h"

#define BLK_FAULT_READ	0x01u
#define BLK_FAULT_WRITE 0x02u
#define BLK_FAULT_ZERO	0x04u
#define BLK_FAULT_FLUSH 0x08u
#define BLK_FAULT_DROP	0x10u
#define BLK_FAULT_ALL	0x1fu

#define BLK_FAULT_BAD_MAX 512u

/* All zero: no faults. */
struct blk_fault_plan {
	unsigned ops; /* which kinds of operation `nth` counts: BLK_FAULT_*; 0 = all */
	uint64_t nth; /* the nth of them fails, counted from 1 since the plan was set; 0 = none */
	bool from_there; /* and all later ones */
	bool is_partial; /* half of a failing transfer is carried out: a short read or write */
	int code;	 /* what the nth fails with, a negative errno; 0 = -EIO */
	/* Reads that touch one of these fail with -EIO, after what lies before it was read. */
	struct {
		uint64_t offset, size;
		unsigned fails; /* so many times, then it is good; 0 = for ever */
	} bad[BLK_FAULT_BAD_MAX];
	unsigned bad_len;
	unsigned bad_ms;      /* so long each of these reads takes */
	bool bad_writes;      /* and so do writes and zeroing */
	uint64_t write_space; /* bytes that can be written before -ENOSPC; 0 = no limit */
};

struct blk_fault_stats {
	uint64_t reads, writes, zeros, flushes, drops; /* asked for, failed ones included */
	uint64_t read_size, write_size, zero_size;     /* bytes of those that succeeded */
};

/* Takes `take_inner`, also on failure (NULL: out of memory). */
struct blk *blk_fault_new(struct blk *take_inner, const struct blk_fault_plan *plan) MUST_CHECK;

/* A new plan; counting starts again at the next operation. */
void blk_fault_set_plan(struct blk *b, const struct blk_fault_plan *plan);
struct blk_fault_stats blk_fault_get_stats(struct blk *b);
#endif
