/* What goes into the store comes out of it. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "server/store/workers.h"
#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

static void test_round_trip(const struct sample *x)
{
	struct store *s = fixture_open(false);
	struct store_stat stat;
	struct err err = {0};
	size_t packs = 0;
	uint32_t all = x->chunks_len;

	ok(store_start(s)->taken_in == 0, "a new store has nothing to take in");
	ok(fixture_lacks(s, x) == all + x->windows, "an empty store lacks everything");
	ok(fixture_put_all(s, x), "put all packs");
	ok(fixture_lacks(s, x) == 0, "nothing lacks");
	ok(fixture_count_lacking(s, PACK_NODES, x->chunks, all) == all,
	   "chunks are not there as nodes");
	ok(fixture_get(s, x, 0, all, &packs) == 0 && packs == x->chunk_packs,
	   "all chunks come back, in the packs as stored");
	ok(fixture_get(s, x, 1, 7, &packs) == 0, "some chunks come back, and no others");
	ok(fixture_get_nodes(s, x) == 0, "nodes come back");
	ok(store_checkpoint(s, &err) == 0, "checkpoint");
	ok(fixture_lacks(s, x) == 0, "nothing lacks after it");
	ok(fixture_get(s, x, 0, all, NULL) == 0 && fixture_get(s, x, 3, 4, NULL) == 0,
	   "chunks come back after it");
	ok(store_stat(s, &stat, &err) == 0 && stat.packs == x->packs_len &&
		   stat.objects == all + x->windows && stat.bytes > 0 && stat.free_bytes > 0,
	   "what the store says of itself");
	store_close(s);
	s = fixture_open(false);
	ok(store_start(s)->clean && store_start(s)->taken_in == 0, "closed and opened: clean");
	ok(fixture_lacks(s, x) == 0 && fixture_get_nodes(s, x) == 0 &&
		   fixture_get(s, x, 0, all, NULL) == 0,
	   "and all is there");
	store_close(s);
}

static void test_again(const struct sample *x)
{
	struct store *s = fixture_open(false);
	struct store_stat before = {0}, after = {0};
	struct err err = {0};

	ok(store_stat(s, &before, &err) == 0 && fixture_put_all(s, x) &&
		   store_checkpoint(s, &err) == 0 && store_stat(s, &after, &err) == 0,
	   "put what is there already");
	ok(before.packs == after.packs && before.bytes == after.bytes, "nothing is added");
	store_close(s);
}

/* The same chunk twice in one request, and a chunk that is not there. */
static void test_odd_requests(const struct sample *x)
{
	struct store *s = fixture_open(false);
	struct sample twice = *x;
	struct id ids[3] = {x->chunks[2], x->chunks[2], x->chunks[1]};
	struct id none = {{1, 2, 3}};
	struct node *n = malloc(sizeof(*n));
	struct err err = {0};

	twice.chunks = ids;
	twice.chunks_len = 3;
	ok(fixture_get(s, &twice, 0, 3, NULL) == -EPROTO, "a chunk asked for twice comes once");
	twice.chunks = &none;
	twice.chunks_len = 1;
	ok(fixture_get(s, &twice, 0, 1, NULL) == -ENOENT, "a chunk that is not there: -ENOENT");
	ok(store_get_node(s, &none, n, &err) == -ENOENT && strstr(err.msg, "0102030000"),
	   "a node that is not there: -ENOENT, named");
	ok(store_get_node(s, &x->chunks[0], n, &err) == -ENOENT, "a chunk is no node");
	ok(fixture_get(s, x, 0, 0, NULL) == 0, "no chunks: nothing");
	free(n);
	store_close(s);
}

/* Packs of several samples overlap in their objects. */
static void test_overlap(void)
{
	struct sample_shape shape = sample_small;
	struct sample *a, *b;
	struct store *s;

	shape.shared = 13;
	a = sample_new(10, &shape);
	b = sample_new(11, &shape);
	tree_remove(fixture_data);
	s = fixture_open(false);
	ok(fixture_put_all(s, a), "put one disk");
	ok(fixture_count_lacking(s, PACK_CHUNKS, b->chunks, b->chunks_len) == b->chunks_len - 13,
	   "of another one that shares chunks, only the others lack");
	ok(fixture_put_all(s, b), "put it");
	ok(fixture_lacks(s, a) == 0 && fixture_lacks(s, b) == 0, "nothing of both lacks");
	ok(fixture_get(s, a, 0, a->chunks_len, NULL) == 0 &&
		   fixture_get(s, b, 0, b->chunks_len, NULL) == 0,
	   "both come back");
	store_close(s);
	s = fixture_open(true);
	ok(store_start(s)->taken_in == 17 && fixture_lacks(s, a) == 0 && fixture_lacks(s, b) == 0,
	   "with the index made anew too");
	ok(fixture_get(s, a, 0, a->chunks_len, NULL) == 0 &&
		   fixture_get(s, b, 0, b->chunks_len, NULL) == 0 && fixture_get_nodes(s, a) == 0 &&
		   fixture_get_nodes(s, b) == 0,
	   "and both come back");
	store_close(s);
	sample_free(a);
	sample_free(b);
}

static void test_open(void)
{
	struct store *s = fixture_open(false), *second = NULL;
	struct err err = {0};
	char path[128];
	FILE *f;

	ok(store_open(fixture_data, false, &second, &err) == -EBUSY &&
		   strstr(err.msg, "another server"),
	   "a second server is refused");
	store_close(s);
	ok(store_open("/proc/no/such", false, &second, &err) == -ENOENT && !second,
	   "a folder that cannot be made");
	(void)snprintf(path, sizeof(path), "%s/store/format", fixture_data);
	f = fopen(path, "we");
	if (!f || fputs("hoist-store 2\n", f) < 0 || fclose(f) != 0)
		abort();
	ok(store_open(fixture_data, false, &second, &err) == -EPROTO &&
		   strstr(err.msg, "later version"),
	   "a store of a later version is refused");
	(void)unlink(path);
	ok(store_open(fixture_data, false, &second, &err) == -EPROTO &&
		   strstr(err.msg, "no file 'format'"),
	   "packs without a format file are refused");
}

#define PEERS	  24
#define PEER_RUNS 50

struct crowd {
	struct workers *workers;
	atomic_uint now, most, done, wrong;
};

struct piece {
	struct crowd *crowd;
	int number;
};

static int piece_work(void *arg, struct err *err)
{
	const struct piece *p = arg;
	struct crowd *c = p->crowd;
	unsigned n = atomic_fetch_add(&c->now, 1) + 1, most = atomic_load(&c->most);

	while (n > most && !atomic_compare_exchange_weak(&c->most, &most, n))
		;
	(void)usleep(100);
	(void)atomic_fetch_sub(&c->now, 1);
	(void)atomic_fetch_add(&c->done, 1);
	return p->number % 7 == 0 ? err_set(err, -EIO, "piece %d", p->number) : p->number;
}

static void *peer(void *arg)
{
	struct crowd *c = arg;

	for (int i = 0; i < PEER_RUNS; i++) {
		struct piece p = {c, i};
		struct err err = {0};
		char want[32];
		int r = workers_run(c->workers, piece_work, &p, &err);

		(void)snprintf(want, sizeof(want), "piece %d", i);
		if (i % 7 == 0 ? r != -EIO || strcmp(err.msg, want) != 0 : r != i)
			(void)atomic_fetch_add(&c->wrong, 1);
	}
	return NULL;
}

static void test_workers(void)
{
	struct crowd c = {.workers = NULL};
	pthread_t threads[PEERS];
	struct err err;
	bool good = workers_start(3, &c.workers, &err) == 0;

	for (size_t i = 0; good && i < PEERS; i++)
		good = pthread_create(&threads[i], NULL, peer, &c) == 0;
	for (size_t i = 0; good && i < PEERS; i++)
		(void)pthread_join(threads[i], NULL);
	ok(good && atomic_load(&c.done) == PEERS * PEER_RUNS, "all that is asked for is done");
	ok(atomic_load(&c.wrong) == 0, "each gets its own result and error");
	ok(atomic_load(&c.most) <= 3 && atomic_load(&c.most) >= 1,
	   "no more at a time than there are workers");
	workers_stop(c.workers);
}

/* ---- connections to the index */

static unsigned index_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned n = 0;

	while (dir && (e = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe) */
		char to[512];
		ssize_t len = readlinkat(dirfd(dir), e->d_name, to, sizeof(to) - 1);

		to[len < 0 ? 0 : len] = '\0';
		n += strstr(to, "/objects.db") && !strstr(to, "-shm");
	}
	if (dir)
		(void)closedir(dir);
	return n;
}

static void *one_more(void *arg)
{
	struct db *db = arg;
	struct db_reader *r = NULL;
	struct err err;

	if (db_reader_get(db, &r, &err) == 0)
		db_reader_put(db, r);
	return r;
}

/* They are opened when they are needed, and kept: there must be an end to it. */
static void test_connections(void)
{
	struct store *s;
	struct db_reader *readers[DB_READERS] = {NULL};
	pthread_t thread;
	struct err err;
	bool good = true;
	void *got = NULL;

	tree_remove(fixture_data);
	s = fixture_open(false);
	for (size_t i = 0; i < DB_READERS; i++)
		good = db_reader_get(&s->db, &readers[i], &err) == 0 && good;
	ok(good && index_descriptors() == 2 * (1 + DB_READERS),
	   "each connection to the index has two descriptors");
	good = pthread_create(&thread, NULL, one_more, &s->db) == 0;
	for (size_t i = 0; i < DB_READERS; i++)
		db_reader_put(&s->db, readers[i]);
	if (good)
		(void)pthread_join(thread, &got);
	ok(got && index_descriptors() == 2 * (1 + DB_READERS),
	   "who comes when all are in use waits for one of them");
	store_close(s);
	ok(index_descriptors() == 0, "all are closed with the store");
}

int main(void)
{
	struct sample *x = sample_new(1, &sample_small);

	fixture_begin();
	test_round_trip(x);
	test_again(x);
	test_odd_requests(x);
	test_overlap();
	test_open();
	test_workers();
	test_connections();
	fixture_end();
	sample_free(x);
	return done();
}
