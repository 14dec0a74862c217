/* outbox.c - two halves: one is filled while the other is sent.
 *
 * A node may be forgotten by the cache of known ones at any time; then it is sent again, which does no harm.  The ids of a half
 * decide about "no id twice" within a pack. */
#include "agent/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "agent/clock.h"
#include "agent/idset.h"
#include "common/limits.h"
#include "common/pack.h"

#define NODES_MAX   (512u << 10)
#define AGE_MS	    3000u
#define KNOWN_SLOTS 16384u
#define SET_SLOTS   8192u

struct half {
	struct pack_builder *nodes;
	struct idset ids; /* of those */
	struct peer_run *windows;
	size_t len;
	uint64_t first_ms; /* when the first came in */
};

struct outbox {
	uint32_t disk;
	enum codec codec;
	struct outbox_ops ops;
	pthread_mutex_t send_lock; /* held by who sends; taken before `lock` */
	pthread_mutex_t
		lock; /* over what follows; the half that is not `filling` is the sender's */
	struct half halves[2];
	unsigned filling;
	struct idcache known;
	uint64_t sent;
};

static int half_init(struct half *h)
{
	h->nodes = pack_builder_new(PACK_NODES, NODES_MAX);
	h->windows = calloc(WINDOWS_PUT_MAX, sizeof(*h->windows));
	return h->nodes && h->windows ? idset_init(&h->ids, SET_SLOTS) : -ENOMEM;
}

static void half_done(struct half *h)
{
	pack_builder_free(h->nodes);
	free(h->windows);
	idset_done(&h->ids);
}

struct outbox *outbox_new(uint32_t disk, enum codec codec, const struct outbox_ops *ops)
{
	struct outbox *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->disk = disk;
	o->codec = codec;
	o->ops = *ops;
	(void)pthread_mutex_init(&o->send_lock, NULL);
	(void)pthread_mutex_init(&o->lock, NULL);
	if (half_init(&o->halves[0]) < 0 || half_init(&o->halves[1]) < 0 ||
	    idcache_init(&o->known, KNOWN_SLOTS) < 0) {
		outbox_free(o);
		return NULL;
	}
	return o;
}

void outbox_free(struct outbox *o)
{
	if (!o)
		return;
	half_done(&o->halves[0]);
	half_done(&o->halves[1]);
	idcache_done(&o->known);
	(void)pthread_mutex_destroy(&o->send_lock);
	(void)pthread_mutex_destroy(&o->lock);
	free(o);
}

/* Nodes of the half under way count too: windows put in now are sent after it. */
bool outbox_has_node(struct outbox *o, const struct id *node)
{
	bool has;

	(void)pthread_mutex_lock(&o->lock);
	has = idcache_has(&o->known, node) || idset_has(&o->halves[0].ids, node) ||
	      idset_has(&o->halves[1].ids, node);
	(void)pthread_mutex_unlock(&o->lock);
	return has;
}

void outbox_know_node(struct outbox *o, const struct id *node)
{
	(void)pthread_mutex_lock(&o->lock);
	idcache_add(&o->known, node);
	(void)pthread_mutex_unlock(&o->lock);
}

void outbox_forget(struct outbox *o)
{
	(void)pthread_mutex_lock(&o->lock);
	idcache_clear(&o->known);
	(void)pthread_mutex_unlock(&o->lock);
}

uint64_t outbox_sent(struct outbox *o)
{
	uint64_t n;

	(void)pthread_mutex_lock(&o->lock);
	n = o->sent;
	(void)pthread_mutex_unlock(&o->lock);
	return n;
}

/* The nodes, then the windows.  -ESTALE: some chunk or node is not there. */
static int send_half(struct outbox *o, struct half *h, struct peer *peer, struct codec_ctx *ctx,
		     struct err *err)
{
	const uint8_t *data;
	size_t size = 0;
	struct id pack_id;
	int r = 0;

	if (pack_builder_count(h->nodes) > 0) {
		r = pack_builder_encode(h->nodes, ctx, o->codec, 1, &data, &size, &pack_id, err);
		if (r == 0)
			r = peer->ops->put_pack(peer, &pack_id, data, size, err);
	}
	if (r == 0)
		r = peer->ops->put_windows(peer, o->disk, h->windows, h->len, err);
	if (r == 0) {
		(void)pthread_mutex_lock(&o->lock);
		o->sent += size;
		(void)pthread_mutex_unlock(&o->lock);
	}
	return r;
}

static void after_send(struct outbox *o, struct half *h, bool acknowledged)
{
	if (acknowledged) {
		for (size_t i = 0; i < h->len; i++)
			o->ops.acknowledged(o->ops.ctx, &h->windows[i]);
	} else {
		o->ops.refused(o->ops.ctx, h->windows, h->len);
	}
	(void)pthread_mutex_lock(&o->lock);
	if (acknowledged) {
		for (size_t i = 0; i < h->len; i++)
			idcache_add(&o->known, &h->windows[i].node);
	} else {
		idcache_clear(&o->known);
	}
	pack_builder_reset(h->nodes);
	idset_clear(&h->ids);
	h->len = 0;
	(void)pthread_mutex_unlock(&o->lock);
}

int outbox_flush(struct outbox *o, struct peer *peer, struct codec_ctx *ctx, struct err *err)
{
	struct half *h;
	bool is_taken; /* else it goes on being filled by others: it is not to be looked at */
	enum meter_place before;
	int r = 0;

	before = meter_go(peer->clock, METER_NOWHERE);
	(void)pthread_mutex_lock(&o->send_lock);
	(void)meter_go(peer->clock, before);
	(void)pthread_mutex_lock(&o->lock);
	h = &o->halves[o->filling];
	is_taken = h->len > 0;
	if (is_taken)
		o->filling ^= 1u;
	(void)pthread_mutex_unlock(&o->lock);
	if (is_taken) {
		r = send_half(o, h, peer, ctx, err);
		if (r == 0 || r == -ESTALE) {
			after_send(o, h, r == 0);
			r = 0;
		}
	}
	(void)pthread_mutex_unlock(&o->send_lock);
	return r;
}

/* False when the half that is being filled has no room. */
static bool try_put(struct outbox *o, const struct peer_run *w, const struct peer_bytes *node,
		    bool *ret_due)
{
	struct half *h;
	bool fits;

	(void)pthread_mutex_lock(&o->lock);
	h = &o->halves[o->filling];
	fits = h->len < WINDOWS_PUT_MAX;
	if (fits && node && !idset_has(&h->ids, &w->node)) {
		fits = pack_builder_add(h->nodes, &w->node, node->data, (uint32_t)node->size);
		if (fits)
			(void)idset_add(&h->ids, &w->node);
	}
	if (fits) {
		if (h->len == 0)
			h->first_ms = clock_ms();
		h->windows[h->len++] = *w;
	}
	*ret_due = h->len == WINDOWS_PUT_MAX || (h->len > 0 && clock_ms() - h->first_ms >= AGE_MS);
	(void)pthread_mutex_unlock(&o->lock);
	return fits;
}

int outbox_put(struct outbox *o, struct peer *peer, struct codec_ctx *ctx, const struct peer_run *w,
	       const struct peer_bytes *node, struct err *err)
{
	bool due;
	int r = 0;

	while (r == 0 && !try_put(o, w, node, &due))
		r = outbox_flush(o, peer, ctx, err);
	if (r == 0 && due)
		r = outbox_flush(o, peer, ctx, err);
	return r;
}
