/* restore_verify.c - cut each window again: if that gives the node's id, all its bytes are right, and no question to the server is
 * needed.  The ids are known by groups: when those found in a group do not make its id, its nodes are fetched, and the windows whose nodes are
 * others are read once more and compared by the node's own cut.  For an image whose windows were cut by another rule gives other ids though its
 * bytes are right.  What gives another id the second time is no medium to rely on, whatever it read the second time.
 *
 * Each window's id, and so the root at the end, is that of the bytes that were read: of their cut by the rule of today, or of the image's own
 * cut when each piece of it was found to be what the node says.
 *
 * Nothing else is read twice, and only a hole of a plain file is not read: that it reads as zeros is the filesystem's word, as good as what it would
 * read to us.  A block device has none (blk_is_hole): what a discard left there is read. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/buffer.h"
#include "agent/restore_work.h"
#include "agent/wire.h"
#include "common/cleanup.h"

struct piece {
	struct window_range windows;
	bool is_hole;
};

struct verifier {
	struct restore *r;
	struct peer *peer;
	struct meter_clock *clock;
	uint8_t *buf; /* a window */
	struct node *node;
	uint8_t *encoding;		/* NODE_SIZE_MAX */
	struct id ids[GROUP_WINDOWS];	/* found in a group */
	struct id nodes[GROUP_WINDOWS]; /* that the server names */
};

/* The next window, or several that are holes; count 0: none is left. */
static struct piece take(struct restore *r)
{
	struct window_range w;
	uint64_t holes = 0;

	(void)pthread_mutex_lock(&r->lock);
	w = (struct window_range){r->next, r->next < r->windows};
	if (w.count > 0) {
		holes = restore_holes(r, w.first, r->windows - w.first);
		w.count = holes > 0 ? holes : 1;
		/* a short last window has another node */
		if (w.count > 1 && window_length(r->size, w.first + w.count - 1) < WINDOW_SIZE)
			w.count--;
	}
	r->next += w.count;
	(void)pthread_mutex_unlock(&r->lock);
	return (struct piece){w, holes > 0};
}

/* What the target holds in window `w`, as a node's id; its bytes are in `buf`. */
static int read_window(struct verifier *v, uint64_t w, struct id *ret, struct err *err)
{
	struct restore *r = v->r;
	uint32_t length = window_length(r->size, w);
	int e = 0;

	if (blk_is_hole(r->setup.target, w * WINDOW_SIZE, length)) {
		memset(v->buf, 0, length);
	} else {
		restore_begin_io(r, v->clock);
		e = blk_read(r->setup.target, v->buf, length, w * WINDOW_SIZE, err);
		restore_end_io(r, v->clock);
		atomic_fetch_add(&r->bytes_read, length);
	}
	if (e < 0)
		return job_blame(r->setup.job, "verify_failed", e);
	node_cut(v->buf, length, v->node);
	*ret = id_of(v->encoding, node_encode(v->node, v->encoding));
	return 0;
}

/* By the node's own cut. */
static int compare_by_node(struct verifier *v, uint64_t w, const struct peer_bytes *node,
			   struct err *err)
{
	const char *name = blk_name(v->r->setup.target);
	struct id again = {{0}}, id;
	uint32_t bad = 0;
	int e = read_window(v, w, &again, err);

	if (e < 0)
		return e;
	if (!id_equal(&again, &v->ids[w % GROUP_WINDOWS])) {
		e = err_set(err, -EBADMSG,
			    "'%s' does not hold what was written to it: bytes %" PRIu64
			    " to %" PRIu64 " are not the same each time they are read",
			    name, w * WINDOW_SIZE,
			    w * WINDOW_SIZE + window_length(v->r->size, w) - 1);
		return job_blame(v->r->setup.job, "verify_failed", e);
	}
	e = restore_decode_node(v->r, w, node, v->node, &id, err);
	if (e < 0)
		return job_blame(v->r->setup.job, "internal", e);
	if (node_matches(v->node, v->buf, &bad)) {
		v->ids[w % GROUP_WINDOWS] = id; /* as good a description of what was read */
		return 0;
	}
	e = err_set(err, -EBADMSG,
		    "'%s' does not hold what was written to it: it differs at byte %" PRIu64, name,
		    w * WINDOW_SIZE + v->node->entries[bad].offset);
	return job_blame(v->r->setup.job, "verify_failed", e);
}

static int get_nodes(struct verifier *v, const struct window_range *w, struct peer_bytes *ret,
		     struct err *err)
{
	struct peer *peer = v->peer;
	int e = peer->ops->get_nodes(peer, v->r->setup.disk, w->first, (uint32_t)w->count, ret,
				     err);

	return peer_blame(peer, v->r->setup.job, e);
}

typedef int (*node_fn)(struct verifier *v, uint64_t w, const struct peer_bytes *node,
		       struct err *err);

/* `fn` for each window of group `g`, with its node. */
static int each_node(struct verifier *v, uint64_t g, node_fn fn, struct err *err)
{
	struct window_range left = {g * GROUP_WINDOWS, group_length(v->r->size, g)};
	struct peer_bytes all, one;
	struct reader in;
	uint32_t count = 0;
	int e = 0;

	reader_init(&in, NULL, 0);
	while (e == 0 && left.count > 0) {
		if (in.left == 0) {
			e = get_nodes(v, &left, &all, err);
			if (e < 0)
				return e;
			reader_init(&in, all.data, all.size);
		}
		e = wire_next_node(&in, left.count, &count, &one, err);
		if (e < 0)
			return job_blame(v->r->setup.job, "internal", e);
		for (; e == 0 && count > 0; count--, left.first++, left.count--)
			e = fn(v, left.first, &one, err);
	}
	return e;
}

static int note_node(struct verifier *v, uint64_t w, const struct peer_bytes *node, struct err *err)
{
	(void)err;
	v->nodes[w % GROUP_WINDOWS] = id_of(node->data, node->size);
	return 0;
}

static int compare_if_other(struct verifier *v, uint64_t w, const struct peer_bytes *node,
			    struct err *err)
{
	struct id id = id_of(node->data, node->size);

	if (!id_equal(&id, &v->nodes[w % GROUP_WINDOWS])) {
		return job_blame(v->r->setup.job, "verify_failed",
				 err_set(err, -EBADMSG,
					 "the server sends another node of window %" PRIu64
					 " than before",
					 w));
	}
	if (id_equal(&id, &v->ids[w % GROUP_WINDOWS]))
		return 0;
	return compare_by_node(v, w, node, err);
}

/* All of group `g` was read, with `ids`.  First whether the nodes are those of the image, then whether the target has what they say. */
static int check_group(struct verifier *v, uint64_t g, struct err *err)
{
	struct restore *r = v->r;
	struct id want = ledger_group(r->written, g), got = ledger_group(r->read, g);
	int e;

	if (id_equal(&got, &want))
		return 0;
	e = each_node(v, g, note_node, err);
	if (e < 0)
		return e;
	got = group_id(v->nodes, group_length(r->size, g));
	if (!id_equal(&got, &want)) {
		return job_blame(r->setup.job, "verify_failed",
				 err_set(err, -EBADMSG,
					 "the server sends other nodes of the windows from %" PRIu64
					 " on than before",
					 g * GROUP_WINDOWS));
	}
	e = each_node(v, g, compare_if_other, err);
	if (e == 0)
		ledger_put_group(r->read, g, v->ids);
	return e;
}

static int verify_piece(struct verifier *v, const struct piece *p, struct err *err)
{
	struct restore *r = v->r;
	const struct window_range *w = &p->windows;
	uint32_t length = window_length(r->size, w->first);
	struct id id = {{0}};
	int e = ledger_begin(r->read, w);

	if (e < 0) {
		return job_blame(r->setup.job, "internal",
				 err_set(err, e, "verify: out of memory"));
	}
	if (p->is_hole) {
		node_set_zero(v->node, length);
		id = id_of(v->encoding, node_encode(v->node, v->encoding));
	} else {
		e = read_window(v, w->first, &id, err);
	}
	if (e == 0 && ledger_set(r->read, w, &id, v->ids))
		e = check_group(v, w->first / GROUP_WINDOWS, err);
	if (e == 0)
		job_add(r->setup.job, (w->count - 1) * WINDOW_SIZE + length, 0, 0);
	return e;
}

static int work(struct verifier *v, struct err *err)
{
	int e = 0;

	while (e == 0 && !atomic_load(&v->r->stop)) {
		struct piece p = take(v->r);

		if (p.windows.count == 0)
			break;
		e = job_check(v->r->setup.job, err);
		if (e == 0)
			e = verify_piece(v, &p, err);
	}
	return e;
}

int restore_verify_run(void *ctx, unsigned worker, struct err *err)
{
	struct restore *r = ctx;
	CLEANUP_FREE struct verifier *v = calloc(1, sizeof(*v));
	CLEANUP_FREE uint8_t *buf = buffer_new(WINDOW_SIZE);
	CLEANUP_FREE struct node *node = malloc(sizeof(*node));
	CLEANUP_FREE uint8_t *encoding = malloc(NODE_SIZE_MAX);
	struct meter_clock clock;
	int e;

	if (!v || !buf || !node || !encoding)
		return job_blame(r->setup.job, "internal",
				 err_set(err, -ENOMEM, "verify: out of memory"));
	v->r = r;
	v->peer = r->setup.peers[worker];
	v->clock = &clock;
	v->buf = buf;
	v->node = node;
	v->encoding = encoding;
	meter_start(&clock, &r->setup.job->meter);
	v->peer->clock = &clock;
	e = work(v, err);
	v->peer->clock = NULL;
	meter_stop(&clock);
	return e;
}
