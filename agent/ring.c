#include "agent/ring.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

struct ring {
	struct io_uring uring;
	unsigned depth;
	bool is_broken; /* it has failed as a whole: nothing more is given to it */
};

unsigned ring_depth(const struct ring *r)
{
	return r->depth;
}

struct ring *ring_new(unsigned depth)
{
	struct ring *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return NULL;
	assert(depth >= 1 && depth <= RING_DEPTH);
	r->depth = depth;
	e = io_uring_queue_init(depth, &r->uring, 0);
	if (e == 0)
		return r;
	free(r);
	errno = -e;
	return NULL;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->uring);
	free(r);
}

static int result_of(const struct ring_read *x, int res)
{
	switch (res) {
	case -EINTR:
	case -EAGAIN:
	case -EINVAL: /* IORING_OP_READ is of Linux 5.6 */
	case -EOPNOTSUPP:
		return RING_LEFT;
	default:
		return res < 0 ? res : (uint32_t)res == x->size ? 0 : RING_LEFT;
	}
}

/* How many were taken.  What is not would be submitted with later ones, into memory that is used for something else then:
 * so the queue is not touched again. */
static unsigned submit(struct ring *r, struct ring_read *reads, unsigned len)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < len; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);

		assert(sqe); /* the queue is empty between calls */
		io_uring_prep_read(sqe, reads[i].fd, reads[i].buf, reads[i].size, reads[i].offset);
		io_uring_sqe_set_data(sqe, &reads[i]);
		reads[i].result = RING_LEFT;
	}
	while (taken < len) {
		int n = io_uring_submit(&r->uring);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		taken += (unsigned)n;
	}
	r->is_broken = taken < len;
	return taken;
}

void ring_do(struct ring *r, struct ring_read *reads, unsigned len)
{
	unsigned left;

	assert(len <= r->depth);
	for (unsigned i = 0; i < len; i++)
		reads[i].result = RING_LEFT;
	if (r->is_broken)
		return;
	left = submit(r, reads, len);
	/* Whatever happens, what was submitted must have ended before its memory is used for anything else. */
	while (left > 0) {
		struct io_uring_cqe *cqe;
		struct ring_read *x;

		if (io_uring_wait_cqe(&r->uring, &cqe) < 0)
			continue; /* EINTR */
		x = io_uring_cqe_get_data(cqe);
		x->result = result_of(x, cqe->res);
		io_uring_cqe_seen(&r->uring, cqe);
		left--;
	}
}
