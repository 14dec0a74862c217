/* Many workers put windows into an outbox while others flush it, mostly when it is empty: every window is sent once, and acknowledged after it
 * was sent. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "agent/outbox.h"
#include "common/limits.h"
#include "tests/unit/tap.h"

#define PUTTERS	 2u
#define FLUSHERS 2u
#define EACH	 300000u

static struct outbox *outbox;
static atomic_uchar sent[PUTTERS * EACH];
static atomic_uint windows_sent, acknowledged, acknowledged_early;
static atomic_bool over;
static atomic_uint idle;

static int put_pack(struct peer *p, const struct id *pack_id, const void *data, size_t size,
		    struct err *err)
{
	(void)p;
	(void)pack_id;
	(void)data;
	(void)size;
	(void)err;
	return 0;
}

static int put_windows(struct peer *p, uint32_t disk, const struct peer_run *w, size_t len,
		       struct err *err)
{
	(void)p;
	(void)disk;
	(void)err;
	for (size_t i = 0; i < len; i++)
		atomic_fetch_add(&sent[w[i].windows.first], 1);
	atomic_fetch_add(&windows_sent, (unsigned)len);
	for (unsigned i = 0; i < 4; i++) /* the others go on meanwhile */
		(void)sched_yield();
	return 0;
}

static const struct peer_ops ops = {.put_pack = put_pack, .put_windows = put_windows};

static void on_acknowledged(void *ctx, const struct peer_run *w)
{
	(void)ctx;
	if (atomic_load(&sent[w->windows.first]) == 0)
		atomic_fetch_add(&acknowledged_early, 1);
	atomic_fetch_add(&acknowledged, 1);
}

static void on_refused(void *ctx, const struct peer_run *w, size_t len)
{
	(void)ctx;
	(void)w;
	(void)len;
}

static void *run_putter(void *arg)
{
	uint64_t first = *(const uint64_t *)arg;
	struct codec_ctx *codec = codec_ctx_new();
	struct peer peer = {.ops = &ops};
	struct peer_run w = {{0, 1}, {{1}}};
	struct err err;

	for (uint64_t i = 0; i < EACH; i++) {
		w.windows.first = first + i;
		if (outbox_put(outbox, &peer, codec, &w, NULL, &err) < 0)
			abort();
		for (unsigned k = 0; k < i % 64; k++) /* so that it is empty now and then */
			atomic_fetch_add(&idle, 1);
	}
	codec_ctx_free(codec);
	return NULL;
}

static void *run_flusher(void *arg)
{
	struct codec_ctx *codec = codec_ctx_new();
	struct peer peer = {.ops = &ops};
	struct err err;

	(void)arg;
	while (!atomic_load(&over)) {
		if (outbox_flush(outbox, &peer, codec, &err) < 0)
			abort();
	}
	codec_ctx_free(codec);
	return NULL;
}

int main(void)
{
	const struct outbox_ops to = {on_acknowledged, on_refused, NULL};
	pthread_t threads[PUTTERS + FLUSHERS];
	uint64_t first[PUTTERS + FLUSHERS];
	struct codec_ctx *codec = codec_ctx_new();
	struct peer peer = {.ops = &ops};
	unsigned wrong = 0;
	struct err err;

	outbox = outbox_new(0, CODEC_STORED, &to);
	if (!outbox || !codec)
		abort();
	for (unsigned i = 0; i < PUTTERS + FLUSHERS; i++) {
		first[i] = (uint64_t)i * EACH;
		if (pthread_create(&threads[i], NULL, i < PUTTERS ? run_putter : run_flusher,
				   &first[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < PUTTERS + FLUSHERS; i++) {
		if (i == PUTTERS)
			atomic_store(&over, true);
		(void)pthread_join(threads[i], NULL);
	}
	ok(outbox_flush(outbox, &peer, codec, &err) == 0, "the rest is sent");
	for (unsigned i = 0; i < PUTTERS * EACH; i++)
		wrong += atomic_load(&sent[i]) != 1;
	ok(wrong == 0, "every window was sent once");
	ok(atomic_load(&windows_sent) == PUTTERS * EACH &&
		   atomic_load(&acknowledged) == PUTTERS * EACH,
	   "and acknowledged once");
	ok(atomic_load(&acknowledged_early) == 0, "none before it was sent");
	printf("# sent %u, acknowledged %u, of them early %u; wrong %u\n",
	       atomic_load(&windows_sent), atomic_load(&acknowledged),
	       atomic_load(&acknowledged_early), wrong);
	outbox_free(outbox);
	codec_ctx_free(codec);
	return done();
}
