/* restore_verify.c - cut each window again: if that gives the node's id, all its bytes are right, and no question to the server is
 * needed.  An image whose windows were cut by another rule gives other ids though its bytes are right: then, and when bytes are
 * wrong, the node is fetched and its own cut decides.
 *
 * Everything is read once.  Only a hole of a plain file is not: that it reads as zeros is the filesystem's word, as good as what it would read
 * to us.  A block device has none (blk_is_hole): what a discard left there is read. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/restore_work.h"
#include "agent/wire.h"
#include "common/bytes.h"
#include "common/cleanup.h"

struct verifier {
	struct restore *r;
	struct peer *peer;
	struct meter_clock *clock;
	uint8_t *buf; /* a window */
	struct node *node;
	uint8_t *encoding; /* NODE_SIZE_MAX */
};

/* By the node's own cut. */
static int compare_by_node(struct verifier *v, uint64_t w, struct err *err)
{
	struct restore *r = v->r;
	struct job *job = r->setup.job;
	struct peer_bytes all, one;
	struct reader in;
	struct id id;
	uint32_t bad = 0;
	int e = v->peer->ops->get_nodes(v->peer, r->setup.disk, w, 1, &all, err);

	if (e < 0)
		return peer_blame(v->peer, job, e);
	reader_init(&in, all.data, all.size);
	e = wire_next(&in, NODE_SIZE_MIN, NODE_SIZE_MAX, &one, err);
	if (e == 0)
		e = restore_decode_node(r, w, &one, v->node, &id, err);
	if (e < 0)
		return job_blame(job, "internal", e);
	if (!id_equal(&id, &r->ids[w])) {
		e = err_set(err, -EBADMSG,
			    "the server sends another node of window %" PRIu64 " than before", w);
		return job_blame(job, "verify_failed", e);
	}
	if (node_matches(v->node, v->buf, &bad))
		return 0;
	e = err_set(err, -EBADMSG,
		    "'%s' does not hold what was written to it: it differs at byte %" PRIu64,
		    blk_name(r->setup.target), w * WINDOW_SIZE + v->node->entries[bad].offset);
	return job_blame(job, "verify_failed", e);
}

static int verify_window(struct verifier *v, uint64_t w, struct err *err)
{
	struct restore *r = v->r;
	uint32_t length = window_length(r->size, w);
	bool is_hole = blk_is_hole(r->setup.target, w * WINDOW_SIZE, length);
	struct id id;
	int e = 0;

	if (is_hole) {
		node_set_zero(v->node, length);
	} else {
		(void)meter_go(v->clock, METER_DISK);
		e = blk_read(r->setup.target, v->buf, length, w * WINDOW_SIZE, err);
		(void)meter_go(v->clock, METER_CPU);
		if (e < 0)
			return job_blame(r->setup.job, "verify_failed", e);
		node_cut(v->buf, length, v->node);
	}
	id = id_of(v->encoding, node_encode(v->node, v->encoding));
	if (!id_equal(&id, &r->ids[w])) {
		if (is_hole)
			memset(v->buf, 0, length);
		e = compare_by_node(v, w, err);
	}
	if (e == 0)
		job_add(r->setup.job, length, 0, 0);
	return e;
}

static int work(struct verifier *v, struct err *err)
{
	uint64_t w;
	int e = 0;

	while (e == 0 && !atomic_load(&v->r->stop) && restore_take(v->r, 1, &w) > 0) {
		e = job_check(v->r->setup.job, err);
		if (e == 0)
			e = verify_window(v, w, err);
	}
	return e;
}

int restore_verify_run(void *ctx, unsigned worker, struct err *err)
{
	struct restore *r = ctx;
	CLEANUP_FREE uint8_t *buf = buffer_new(WINDOW_SIZE);
	CLEANUP_FREE struct node *node = malloc(sizeof(*node));
	CLEANUP_FREE uint8_t *encoding = malloc(NODE_SIZE_MAX);
	struct meter_clock clock;
	struct verifier v = {r, r->setup.peers[worker], &clock, buf, node, encoding};
	int e;

	if (!buf || !node || !encoding)
		return job_blame(r->setup.job, "internal",
				 err_set(err, -ENOMEM, "verify: out of memory"));
	meter_start(&clock, &r->setup.job->meter);
	v.peer->clock = &clock;
	e = work(&v, err);
	v.peer->clock = NULL;
	meter_stop(&clock);
	return e;
}
