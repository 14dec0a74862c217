/* sink.c - lists and linear tables: small disks only. */
#include "tests/lib/sink.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/node.h"
#include "common/pack.h"
#include "common/root.h"

#define DISKS 4u
#define TABLE 65536u

struct object {
	struct id id;
	uint8_t *data;
	uint32_t size;
	bool gone;
};

struct table {
	struct object *objects; /* open addressing */
	size_t *order;		/* places in the order of arrival */
	size_t len;
};

struct disk_state {
	uint64_t size, windows;
	struct id *ids;
	bool sealed;
	struct geometry geometry;
	struct id root;
};

struct sink {
	pthread_mutex_t lock;
	struct table chunks, nodes;
	struct disk_state disks[DISKS];
	struct sink_stats stats;
	struct sink_plan plan;
	unsigned counted, answers;
	unsigned held; /* packs that wait now */
	pthread_cond_t hold_changed;
	char breach[256];
};

struct sink_peer {
	struct peer peer;
	struct sink *sink;
	pthread_mutex_t lock; /* over interrupted */
	bool interrupted;
	uint8_t *answer;
};

static void table_init(struct table *t)
{
	t->objects = calloc(TABLE, sizeof(*t->objects));
	t->order = calloc(TABLE, sizeof(*t->order));
	assert(t->objects && t->order);
}

static void table_done(struct table *t)
{
	for (size_t i = 0; i < TABLE; i++)
		free(t->objects[i].data);
	free(t->objects);
	free(t->order);
}

static struct object *slot_of(struct table *t, const struct id *id)
{
	size_t i = (id->b[0] | (size_t)id->b[1] << 8) % TABLE;

	while (t->objects[i].data && !id_equal(&t->objects[i].id, id))
		i = (i + 1) % TABLE;
	return &t->objects[i];
}

static struct object *find(struct table *t, const struct id *id)
{
	struct object *o = slot_of(t, id);

	return o->data && !o->gone ? o : NULL;
}

/* False if it was there. */
static bool put(struct table *t, const struct id *id, const uint8_t *data, uint32_t size)
{
	struct object *o = slot_of(t, id);

	if (o->data && !o->gone)
		return false;
	if (!o->data) {
		assert(t->len < TABLE / 2);
		t->order[t->len++] = (size_t)(o - t->objects);
		o->data = malloc(size);
		assert(o->data);
	}
	o->gone = false;
	o->id = *id;
	o->size = size;
	memcpy(o->data, data, size);
	return true;
}

static void breach(struct sink *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void breach(struct sink *s, const char *fmt, ...)
{
	va_list ap;

	if (s->breach[0] != '\0')
		return;
	va_start(ap, fmt);
	(void)vsnprintf(s->breach, sizeof(s->breach), fmt, ap);
	va_end(ap);
}

static struct sink_peer *peer_of(struct peer *p)
{
	return (struct sink_peer *)p;
}

static bool is_interrupted(struct peer *p)
{
	bool interrupted;

	(void)pthread_mutex_lock(&peer_of(p)->lock);
	interrupted = peer_of(p)->interrupted;
	(void)pthread_mutex_unlock(&peer_of(p)->lock);
	return interrupted;
}

/* Begin an operation: lock, and fail if that is planned. */
static int begin_op(struct peer *p, unsigned op, struct err *err)
{
	struct sink *s = peer_of(p)->sink;

	if (is_interrupted(p))
		return err_set(err, -ECANCELED, "interrupted");
	(void)pthread_mutex_lock(&s->lock);
	if (s->plan.nth > 0 && (op & (s->plan.ops ? s->plan.ops : SINK_ALL)) &&
	    ++s->counted == s->plan.nth) {
		int code = s->plan.code ? s->plan.code : -EREMOTEIO;

		(void)pthread_mutex_unlock(&s->lock);
		(void)snprintf(p->code, sizeof(p->code), "%s", "conflict");
		return err_set(err, code, "failed as planned");
	}
	return 0;
}

/* A pack is on its way until as many are as the plan says. */
static void hold_pack(struct peer *p)
{
	struct sink *s = peer_of(p)->sink;

	(void)pthread_mutex_lock(&s->lock);
	if (++s->held >= s->plan.hold)
		s->plan.hold = 0;
	(void)pthread_cond_broadcast(&s->hold_changed);
	while (s->plan.hold > 0 && !is_interrupted(p))
		(void)pthread_cond_wait(&s->hold_changed, &s->lock);
	s->held--;
	(void)pthread_mutex_unlock(&s->lock);
}

bool sink_wait_held(struct sink *s, unsigned len, unsigned seconds)
{
	struct timespec until;
	bool held;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	(void)pthread_mutex_lock(&s->lock);
	while (s->held < len && r == 0)
		r = pthread_cond_timedwait(&s->hold_changed, &s->lock, &until);
	held = s->held >= len;
	(void)pthread_mutex_unlock(&s->lock);
	return held;
}

static int end_op(struct peer *p, int r)
{
	(void)pthread_mutex_unlock(&peer_of(p)->sink->lock);
	return r;
}

static int sink_lack(struct peer *p, enum pack_kind kind, const struct id *ids, size_t len,
		     uint8_t *ret_bits, struct err *err)
{
	struct sink *s = peer_of(p)->sink;
	int r = begin_op(p, SINK_LACK, err);

	if (r < 0)
		return r;
	s->stats.lacks++;
	s->stats.ids_asked += len;
	if (len == 0 || len > LACK_IDS_MAX)
		breach(s, "lack with %zu ids", len);
	memset(ret_bits, 0, (len + 7) / 8);
	for (size_t i = 0; i < len; i++) {
		if (!find(kind == PACK_CHUNKS ? &s->chunks : &s->nodes, &ids[i]))
			ret_bits[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	return end_op(p, 0);
}

/* A node may come when all its chunks are there, in the right length. */
static bool node_is_complete(struct sink *s, const uint8_t *data, uint32_t size)
{
	struct node *n = malloc(sizeof(*n));
	struct err err;
	bool good = true;

	assert(n);
	if (node_decode(data, size, n, &err) < 0) {
		breach(s, "a bad node: %s", err.msg);
		free(n);
		return false;
	}
	for (uint32_t i = 0; good && i < n->count; i++) {
		const struct object *o = find(&s->chunks, &n->entries[i].id);

		good = !n->entries[i].is_chunk || (o && o->size == n->entries[i].length);
	}
	free(n);
	return good;
}

static int take_pack(struct sink *s, const struct pack *k, const uint8_t *plain, struct err *err)
{
	struct table *t = k->kind == PACK_CHUNKS ? &s->chunks : &s->nodes;

	for (uint32_t i = 0; i < k->count; i++) {
		const struct pack_entry *e = &k->entries[i];
		bool is_new;

		if (k->kind == PACK_NODES && !node_is_complete(s, plain + e->offset, e->length))
			return err_set(err, -ESTALE, "a chunk of a node is not there");
		is_new = put(t, &e->id, plain + e->offset, e->length);
		if (k->kind == PACK_CHUNKS) {
			s->stats.chunks += is_new;
			s->stats.chunks_again += !is_new;
		} else {
			s->stats.nodes += is_new;
		}
	}
	return 0;
}

static void lose_some(struct sink *s)
{
	if (s->plan.lose_after == 0 || s->stats.chunk_packs < s->plan.lose_after)
		return;
	s->plan.lose_after = 0;
	for (size_t i = 0; i < s->chunks.len; i += 3)
		s->chunks.objects[s->chunks.order[i]].gone = true;
}

static int sink_put_pack(struct peer *p, const struct id *pack_id, const void *data, size_t size,
			 struct err *err)
{
	struct sink *s = peer_of(p)->sink;
	struct codec_ctx *ctx = codec_ctx_new();
	struct pack k = {0};
	struct id id = id_of(data, size);
	uint8_t *plain = malloc(PACK_PLAIN_MAX);
	struct err bad;
	int r;

	if (size > 4 && ((const uint8_t *)data)[4] == PACK_CHUNKS)
		hold_pack(p);
	r = begin_op(p, SINK_PACK, err);
	assert(ctx && plain);
	if (r == 0) {
		if (!id_equal(&id, pack_id))
			breach(s, "a pack with another id");
		if (pack_decode(data, size, &k, &bad) < 0 ||
		    pack_decompress(&k, ctx, plain, &bad) < 0 || pack_verify(&k, plain, &bad) < 0) {
			breach(s, "a bad pack: %s", bad.msg);
			r = err_set(err, -EREMOTEIO, "bad pack");
		} else {
			s->stats.by_codec[k.codec]++;
			s->stats.chunk_packs += k.kind == PACK_CHUNKS;
			s->stats.node_packs += k.kind == PACK_NODES;
			if (k.kind == PACK_CHUNKS &&
			    (s->stats.least_pack == 0 || k.plain_size < s->stats.least_pack))
				s->stats.least_pack = k.plain_size;
			r = take_pack(s, &k, plain, err);
			lose_some(s);
		}
		r = end_op(p, r);
	}
	pack_done(&k);
	codec_ctx_free(ctx);
	free(plain);
	return r;
}

static int sink_put_windows(struct peer *p, uint32_t disk, const struct peer_run *w, size_t len,
			    struct err *err)
{
	struct sink *s = peer_of(p)->sink;
	struct disk_state *d = &s->disks[disk];
	int r = begin_op(p, SINK_WINDOWS, err);

	if (r < 0)
		return r;
	s->stats.windows_puts++;
	if (len == 0 || len > WINDOWS_PUT_MAX)
		breach(s, "a put of %zu windows", len);
	for (size_t i = 0; r == 0 && i < len; i++) {
		const struct window_range *x = &w[i].windows;

		s->stats.windows += x->count;
		if (x->count == 0 || x->count > WINDOWS_RUN_MAX || x->first >= d->windows ||
		    x->count > d->windows - x->first) {
			breach(s, "%llu windows from %llu are not of disk %u",
			       (unsigned long long)x->count, (unsigned long long)x->first, disk);
		} else if (s->plan.always_incomplete || !find(&s->nodes, &w[i].node)) {
			r = err_set(err, -ESTALE, "a node is not there");
		} else {
			for (uint64_t k = 0; k < x->count; k++)
				d->ids[x->first + k] = w[i].node;
		}
	}
	return end_op(p, r);
}

static bool window_is_whole(struct sink *s, const struct disk_state *d, uint64_t w)
{
	const struct object *o = find(&s->nodes, &d->ids[w]);

	return o && node_is_complete(s, o->data, o->size);
}

static int seal(struct sink *s, struct disk_state *d, const struct peer_finish *f, struct err *err)
{
	struct root_hash h;
	struct id root;

	if (extents_check(f->unreadable, f->unreadable_len, d->size, err) < 0)
		breach(s, "bad extents: %s", err->msg);
	root_init(&h, &f->geometry);
	for (uint64_t i = 0; i < d->windows; i++)
		root_add(&h, &d->ids[i]);
	root = root_final(&h, f->unreadable, f->unreadable_len);
	if (f->geometry.size != d->size || !id_equal(&root, &f->root)) {
		breach(s, "another root");
		return err_set(err, -EREMOTEIO, "another root");
	}
	d->sealed = true;
	d->root = root;
	d->geometry = f->geometry;
	return 0;
}

static int sink_finish(struct peer *p, uint32_t disk, const struct peer_finish *f,
		       struct peer_finished *ret, struct err *err)
{
	struct sink *s = peer_of(p)->sink;
	struct disk_state *d = &s->disks[disk];
	int r = begin_op(p, SINK_FINISH, err);

	if (r < 0)
		return r;
	s->stats.finishes++;
	ret->missing = calloc(d->windows, sizeof(*ret->missing));
	ret->missing_len = 0;
	assert(ret->missing);
	for (uint64_t i = 0; i < d->windows; i++) {
		struct window_range *last =
			ret->missing_len > 0 ? &ret->missing[ret->missing_len - 1] : NULL;

		if (window_is_whole(s, d, i))
			continue;
		if (d->ids[i].b[0] || !id_is_zero(&d->ids[i]))
			slot_of(&s->nodes, &d->ids[i])->gone = true; /* the invariant */
		if (last && last->first + last->count == i) {
			last->count++;
		} else {
			ret->missing[ret->missing_len++] = (struct window_range){i, 1};
		}
	}
	if (ret->missing_len == 0)
		r = seal(s, d, f, err);
	return end_op(p, r);
}

static void bend_answer(struct sink *s, uint8_t *data, size_t size)
{
	if (s->plan.bend > 0 && ++s->answers == s->plan.bend && size > 0)
		data[s->plan.bend_bit / 8 % size] ^= (uint8_t)(1u << (s->plan.bend_bit % 8));
}

static int sink_get_nodes(struct peer *p, uint32_t disk, uint64_t first, uint32_t count,
			  struct peer_bytes *ret, struct err *err)
{
	struct sink *s = peer_of(p)->sink;
	struct disk_state *d = &s->disks[disk];
	struct writer w;
	int r = begin_op(p, SINK_NODES, err);

	if (r < 0)
		return r;
	s->stats.nodes_gets++;
	assert(count > 0);
	if (count > NODES_ASK_MAX || first > d->windows || count > d->windows - first)
		breach(s, "%u nodes from window %llu", count, (unsigned long long)first);
	free(peer_of(p)->answer);
	peer_of(p)->answer = malloc((size_t)NODES_GET_MAX * (NODE_SIZE_MAX + 8));
	assert(peer_of(p)->answer);
	writer_init(&w, peer_of(p)->answer, (size_t)NODES_GET_MAX * (NODE_SIZE_MAX + 8));
	for (uint64_t i = first, n = 0, next; i < first + count && n < NODES_GET_MAX;
	     i = next, n++) {
		const struct object *o = find(&s->nodes, &d->ids[i]);

		if (!o)
			return end_op(p, err_set(err, -EBADMSG, "store damaged"));
		for (next = i + 1; next < first + count && id_equal(&d->ids[next], &d->ids[i]);)
			next++;
		writer_u32(&w, (uint32_t)(next - i));
		writer_u32(&w, o->size);
		writer_bytes(&w, o->data, o->size);
	}
	*ret = (struct peer_bytes){peer_of(p)->answer, w.size};
	bend_answer(s, peer_of(p)->answer, w.size);
	return end_op(p, 0);
}

static bool window_has_chunk(struct sink *s, const struct disk_state *d, const struct peer_chunk *w)
{
	const struct object *o =
		w->window < d->windows ? find(&s->nodes, &d->ids[w->window]) : NULL;
	struct node *n = malloc(sizeof(*n));
	struct err err;
	bool has = false;

	assert(n);
	if (o && node_decode(o->data, o->size, n, &err) == 0) {
		for (uint32_t i = 0; i < n->count; i++)
			has = has ||
			      (n->entries[i].is_chunk && id_equal(&n->entries[i].id, &w->id));
	}
	free(n);
	return has;
}

static void append_pack(struct pack_builder *b, struct codec_ctx *ctx, struct writer *out)
{
	const uint8_t *data;
	size_t size;
	struct id id;
	struct err err;

	if (pack_builder_encode(b, ctx, CODEC_ZSTD, 1, &data, &size, &id, &err) < 0)
		abort();
	writer_u32(out, (uint32_t)size);
	writer_bytes(out, data, size);
	pack_builder_reset(b);
}

/* Two packs, so that order and number are seen not to matter; the later chunks first. */
static int answer_chunks(struct sink *s, struct sink_peer *p, const struct peer_chunk *w,
			 size_t len, struct peer_bytes *ret)
{
	struct pack_builder *b = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_MAX);
	struct codec_ctx *ctx = codec_ctx_new();
	struct writer out;
	size_t half = len / 2, k;

	free(p->answer);
	p->answer = malloc((size_t)2 * PACK_SIZE_MAX);
	assert(b && ctx && p->answer);
	writer_init(&out, p->answer, (size_t)2 * PACK_SIZE_MAX);
	for (k = 0; k < len; k++) {
		const struct object *o = find(&s->chunks, &w[(half + k) % len].id);

		if (!o || !pack_builder_add(b, &o->id, o->data, o->size))
			break;
		s->stats.chunks_out++;
		if (k + 1 == len || k + 1 == len - half)
			append_pack(b, ctx, &out);
	}
	pack_builder_free(b);
	codec_ctx_free(ctx);
	*ret = (struct peer_bytes){p->answer, out.size};
	bend_answer(s, p->answer, out.size);
	return k < len ? -EBADMSG : 0;
}

static int sink_get_chunks(struct peer *p, uint32_t disk, const struct peer_chunk *w, size_t len,
			   size_t answer_max, struct peer_bytes *ret, struct err *err)
{
	struct sink *s = peer_of(p)->sink;
	int r = begin_op(p, SINK_CHUNKS, err);

	if (r < 0)
		return r;
	s->stats.chunks_gets++;
	for (size_t i = 0; i < len; i++) {
		if (!window_has_chunk(s, &s->disks[disk], &w[i]))
			breach(s, "a chunk that is not in window %llu",
			       (unsigned long long)w[i].window);
	}
	r = answer_chunks(s, peer_of(p), w, len, ret);
	if (r < 0) {
		(void)err_set(err, r, "store damaged");
	} else if (ret->size > answer_max) {
		r = err_set(err, -EPROTO, "an answer longer than expected");
	}
	return end_op(p, r);
}

static int sink_begin(struct peer *p, const uint32_t *disks, size_t len, struct err *err)
{
	int r = begin_op(p, SINK_BEGIN, err);

	(void)disks;
	(void)len;
	if (r < 0)
		return r;
	peer_of(p)->sink->stats.begins++;
	return end_op(p, 0);
}

static void sink_interrupt(struct peer *p)
{
	(void)pthread_mutex_lock(&peer_of(p)->lock);
	peer_of(p)->interrupted = true;
	(void)pthread_mutex_unlock(&peer_of(p)->lock);
	(void)pthread_mutex_lock(&peer_of(p)->sink->lock);
	(void)pthread_cond_broadcast(&peer_of(p)->sink->hold_changed);
	(void)pthread_mutex_unlock(&peer_of(p)->sink->lock);
}

static void sink_close(struct peer *p)
{
	(void)pthread_mutex_destroy(&peer_of(p)->lock);
	free(peer_of(p)->answer);
	free(p);
}

static const struct peer_ops sink_ops = {
	.lack = sink_lack,
	.put_pack = sink_put_pack,
	.put_windows = sink_put_windows,
	.finish = sink_finish,
	.get_nodes = sink_get_nodes,
	.get_chunks = sink_get_chunks,
	.begin = sink_begin,
	.interrupt = sink_interrupt,
	.close = sink_close,
};

struct peer *sink_peer(struct sink *s)
{
	struct sink_peer *p = calloc(1, sizeof(*p));

	assert(p);
	p->peer.ops = &sink_ops;
	p->sink = s;
	(void)pthread_mutex_init(&p->lock, NULL);
	return &p->peer;
}

struct sink *sink_new(void)
{
	struct sink *s = calloc(1, sizeof(*s));

	assert(s);
	(void)pthread_mutex_init(&s->lock, NULL);
	cond_init(&s->hold_changed);
	table_init(&s->chunks);
	table_init(&s->nodes);
	return s;
}

void sink_free(struct sink *s)
{
	if (!s)
		return;
	table_done(&s->chunks);
	table_done(&s->nodes);
	for (unsigned i = 0; i < DISKS; i++)
		free(s->disks[i].ids);
	(void)pthread_cond_destroy(&s->hold_changed);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

void sink_set_plan(struct sink *s, const struct sink_plan *plan)
{
	s->plan = *plan;
	s->counted = 0;
	s->answers = 0;
}

struct sink_stats sink_get_stats(struct sink *s)
{
	return s->stats;
}

void sink_clear_stats(struct sink *s)
{
	memset(&s->stats, 0, sizeof(s->stats));
}

void sink_add_disk(struct sink *s, uint32_t disk, uint64_t size)
{
	struct disk_state *d = &s->disks[disk];

	free(d->ids);
	*d = (struct disk_state){.size = size, .windows = window_count(size)};
	d->ids = calloc(d->windows, sizeof(*d->ids));
	assert(d->ids);
}

const char *sink_breach(struct sink *s)
{
	return s->breach;
}

static bool drop(struct table *t, size_t number)
{
	if (number >= t->len)
		return false;
	t->objects[t->order[number]].gone = true;
	return true;
}

bool sink_drop_chunk(struct sink *s, size_t number)
{
	return drop(&s->chunks, number);
}

bool sink_drop_node(struct sink *s, size_t number)
{
	return drop(&s->nodes, number);
}

static bool read_window(struct sink *s, const struct object *o, uint8_t *out)
{
	struct node *n = malloc(sizeof(*n));
	struct err err;
	bool good = n && node_decode(o->data, o->size, n, &err) == 0;

	for (uint32_t i = 0; good && i < n->count; i++) {
		const struct node_entry *e = &n->entries[i];
		const struct object *c = e->is_chunk ? find(&s->chunks, &e->id) : NULL;

		good = !e->is_chunk || c;
		if (c)
			memcpy(out + e->offset, c->data, e->length);
	}
	free(n);
	return good;
}

uint8_t *sink_read_disk(struct sink *s, uint32_t disk)
{
	struct disk_state *d = &s->disks[disk];
	uint8_t *out = calloc(1, d->size);
	bool good = out != NULL;

	for (uint64_t i = 0; good && i < d->windows; i++) {
		const struct object *o = find(&s->nodes, &d->ids[i]);

		good = o && read_window(s, o, out + i * WINDOW_SIZE);
	}
	if (good)
		return out;
	free(out);
	return NULL;
}

bool sink_is_sealed(struct sink *s, uint32_t disk)
{
	return s->disks[disk].sealed;
}

struct id sink_root(struct sink *s, uint32_t disk)
{
	return s->disks[disk].root;
}
