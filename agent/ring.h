/* ring.h - several reads of a disk in flight at once, by one thread: io_uring.
 *
 * Where there is none (Linux before 5.1, forbidden by a seccomp filter or kernel.io_uring_disabled, no memory for it) ring_new fails,
 * and whoever reads does so by blk_read, one read at a time; the disk is then kept busy by the other workers. */
#ifndef AGENT_RING_H
#define AGENT_RING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_DEPTH 8u

struct ring_read {
	void *buf;
	uint64_t offset;
	uint32_t size;
	int fd;
	int result; /* 0: all of it is there; a negative errno; RING_LEFT */
};
#define RING_LEFT 1 /* it was cut short or cannot be done this way: it is to be done by blk_read */

struct ring;

/* For `depth` reads at once, 1 to RING_DEPTH.  NULL: there is none, errno says why. */
struct ring *ring_new(unsigned depth);
void ring_free(struct ring *r);
unsigned ring_depth(const struct ring *r);
/* All of them (1 to ring_depth), submitted in this order; returns when all have ended. */
void ring_do(struct ring *r, struct ring_read *reads, unsigned len);
#endif
