/* Killed at any point, or without power at any point, the store opens again and keeps its promises: what was acknowledged is there
 * (after a power cut: as of the last checkpoint), and of a node that is there, all chunks are. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

#define SAMPLES 4
#define KILLS	40

static struct sample *samples[SAMPLES];

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static int no_roots(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	(void)arg;
	(void)err;
	*ret = NULL;
	*ret_len = 0;
	return 0;
}

/* ---- kill -9 */

/* What the child says that it did: in memory shared with the parent. */
struct diary {
	atomic_uint acked[SAMPLES]; /* packs, in their order */
	atomic_uint sealed[SAMPLES];
	atomic_uint rounds;
};

static void *put_thread(void *arg)
{
	void **args = arg;
	struct store *s = args[0];
	struct diary *d = args[1];
	uint64_t seed = *(uint64_t *)args[2];

	for (unsigned i = 0; i < SAMPLES; i++) {
		const struct sample *x = samples[(i + seed) % SAMPLES];
		unsigned n = (unsigned)((i + seed) % SAMPLES);
		char key[16];

		for (unsigned p = 0; p < x->packs_len; p++) {
			if (fixture_put(s, &x->packs[p]) < 0)
				_exit(3);
			atomic_store(&d->acked[n], p + 1);
		}
		(void)snprintf(key, sizeof(key), "k.%u", n);
		if (fixture_seal(s, x, key) < 0)
			_exit(4);
		atomic_store(&d->sealed[n], 1);
	}
	return NULL;
}

static _Noreturn void child(struct diary *d, uint64_t seed)
{
	const struct store_options o = {.interval_ms = 3, .packs_max = 4, .recent_max = 30};
	struct store *s = NULL;
	struct gc_result got;
	struct err err;
	void *args[3];
	pthread_t thread;

	if (store_open_options(fixture_data, &o, &s, &err) < 0)
		_exit(2);
	args[0] = s;
	args[1] = d;
	args[2] = &seed;
	if (pthread_create(&thread, NULL, put_thread, args) != 0)
		_exit(5);
	(void)pthread_join(thread, NULL);
	/* With everything in partials, gc runs and removes nothing; then one disk is given up. */
	partial_remove(s, "k.0");
	atomic_store(&d->sealed[0], 0);
	atomic_store(&d->acked[0], 0);
	for (;;) {
		if (store_gc(s, no_roots, NULL, NULL, &got, &err) < 0)
			_exit(6);
		if (!fixture_put_all(s, samples[0]))
			_exit(7);
		(void)atomic_fetch_add(&d->rounds, 1);
	}
}

static bool is_acked_there(struct store *s, const struct diary *d)
{
	for (unsigned i = 0; i < SAMPLES; i++) {
		const struct sample *x = samples[i];

		for (unsigned p = 0; p < atomic_load(&d->acked[i]); p++) {
			const struct sample_pack *pack = &x->packs[p];

			if (fixture_count_lacking(s, pack->kind, pack->ids, pack->count) != 0)
				return false;
		}
	}
	return true;
}

static bool all_hold(struct store *s)
{
	for (unsigned i = 0; i < SAMPLES; i++)
		if (!fixture_holds_invariant(s, samples[i]))
			return false;
	return true;
}

static bool is_sealed_there(struct store *s, const struct diary *d)
{
	for (unsigned i = 0; i < SAMPLES; i++) {
		struct index_info info;
		struct err err;

		if (!atomic_load(&d->sealed[i]))
			continue;
		if (store_index_info(s, &samples[i]->root, &info, &err) < 0)
			return false;
		index_info_done(&info);
	}
	return true;
}

static void test_kill(struct diary *d)
{
	unsigned good = 0, unclean = 0, taken = 0;
	uint64_t random = 42;

	for (unsigned i = 0; i < KILLS; i++) {
		uint64_t seed = next_random(&random), delay_us = next_random(&random) % 60000;
		struct timespec delay = {0, (long)(delay_us * 1000)};
		struct store *s;
		int status = 0;
		pid_t pid;

		if (i % 4 == 0) { /* else it goes on with what the last one left */
			tree_remove(fixture_data);
			memset(d, 0, sizeof(*d));
		}
		pid = fork();
		if (pid < 0)
			abort();
		if (pid == 0)
			child(d, seed);
		(void)nanosleep(&delay, NULL);
		(void)kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) {
			printf("# the child ended by itself: %d\n", status);
			continue;
		}
		s = fixture_open(false);
		unclean += !store_start(s)->clean;
		taken += store_start(s)->taken_in > 0;
		if (is_acked_there(s, d) && all_hold(s) && is_sealed_there(s, d) &&
		    store_start(s)->quarantined == 0)
			good++;
		else
			printf("# kill %u, seed %lu\n", i, (unsigned long)seed);
		store_close(s);
	}
	ok(good == KILLS, "killed at any time, what was acknowledged is there");
	ok(unclean > KILLS / 2 && taken > 3, "and the start took in what no checkpoint covered");
}

/* ---- power cut */

/* The world as the disk knows it.  The hook sees each operation before it is done; at number `cut_at` it makes a copy of
 * the folder as a power cut may leave it: what was not synced is there, or not, or torn. */
#define NAMES_MAX 512

struct world {
	unsigned ops, cut_at;
	uint64_t random;
	char synced[NAMES_MAX][FILES_PATH_SIZE];  /* files whose bytes are safe */
	char entered[NAMES_MAX][FILES_PATH_SIZE]; /* and their names too */
	size_t synced_len, entered_len;
	char copy[128];
	bool was_cut;
	unsigned torn;
};

static bool is_in(char (*list)[FILES_PATH_SIZE], size_t len, const char *path)
{
	for (size_t i = 0; i < len; i++)
		if (strcmp(list[i], path) == 0)
			return true;
	return false;
}

static void add_to(char (*list)[FILES_PATH_SIZE], size_t *len, const char *path)
{
	if (is_in(list, *len, path))
		return;
	if (*len == NAMES_MAX)
		abort();
	(void)snprintf(list[(*len)++], FILES_PATH_SIZE, "%s", path);
}

/* One file of the copy, of which nothing is certain. */
static void tear(struct world *w, const char *path, const struct stat *st, bool bytes_are_safe)
{
	w->torn++;
	switch (next_random(&w->random) % (bytes_are_safe || st->st_size == 0 ? 2 : 5)) {
	case 0:
		break;
	case 1:
		if (unlink(path) != 0)
			abort();
		break;
	case 2:
		if (truncate(path, (off_t)(next_random(&w->random) % (uint64_t)st->st_size)) != 0)
			abort();
		break;
	default: /* its size is known, its bytes are not */
		if (truncate(path, 0) != 0 || truncate(path, st->st_size) != 0)
			abort();
	}
}

static void tear_folder(struct world *w, const char *folder)
{
	char path[512], name[FILES_PATH_SIZE];
	struct dirent *e;
	struct stat st;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/store/%s", w->copy, folder);
	d = opendir(path);
	while (d && (e = readdir(d))) { /* NOLINT(concurrency-mt-unsafe): one thread */
		if (e->d_name[0] == '.' || strlen(e->d_name) > 80)
			continue;
		(void)snprintf(path, sizeof(path), "%s/store/%s/%s", w->copy, folder, e->d_name);
		(void)snprintf(name, sizeof(name), "%.20s/%.80s", folder, e->d_name);
		if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
		    is_in(w->entered, w->entered_len, name))
			continue;
		tear(w, path, &st, is_in(w->synced, w->synced_len, name));
	}
	if (d)
		(void)closedir(d);
}

static void cut(struct world *w)
{
	char folder[16];

	w->was_cut = true;
	tree_copy(fixture_data, w->copy);
	for (unsigned i = 0; i < 256; i++) {
		(void)snprintf(folder, sizeof(folder), "packs/%02x", i);
		tear_folder(w, folder);
	}
	tear_folder(w, "indexes");
	tear_folder(w, "tmp");
}

/* A file in `folder` whose bytes are safe has a safe name once the folder is synced. */
static void enter_folder(struct world *w, const char *folder)
{
	size_t n = strlen(folder);

	for (size_t i = 0; i < w->synced_len; i++)
		if (strncmp(w->synced[i], folder, n) == 0 && w->synced[i][n] == '/')
			add_to(w->entered, &w->entered_len, w->synced[i]);
}

static int watch(void *arg, enum file_op op, const char *path)
{
	struct world *w = arg;
	static char last_synced[FILES_PATH_SIZE];

	if (op < FILE_FORGET && ++w->ops == w->cut_at)
		cut(w);
	if (op == FILE_SYNC) {
		add_to(w->synced, &w->synced_len, path);
		(void)snprintf(last_synced, sizeof(last_synced), "%s", path);
	} else if (op == FILE_RENAME && strncmp(path, "indexes/", 8) == 0) {
		add_to(w->synced, &w->synced_len, path); /* it was synced under its name in tmp/ */
	} else if (op == FILE_SYNC_FOLDER) {
		enter_folder(w, path);
	}
	return 0;
}

/* What a life is like; `durable` counts what a checkpoint covered. */
struct life {
	unsigned durable; /* samples */
	bool is_removed;  /* sample 0 was given up */
};

/* NOLINTNEXTLINE(readability-function-cognitive-complexity): a story, told from top to bottom */
static void live(struct store *s, struct world *w, struct life *at_cut)
{
	struct life now = {0};
	struct gc_result got;
	struct err err;

#define STEP(what)                     \
	do {                           \
		if (!(what))           \
			abort();       \
		if (!w->was_cut)       \
			*at_cut = now; \
	} while (0)
	for (unsigned i = 0; i < 3; i++) {
		char key[16];

		(void)snprintf(key, sizeof(key), "p.%u", i);
		STEP(fixture_put_all(s, samples[i]));
		STEP(fixture_seal(s, samples[i], key) == 0);
		now.durable = i + 1;
		STEP(true);
	}
	partial_remove(s, "p.0");
	now.is_removed = true;
	STEP(true);
	STEP(store_gc(s, no_roots, NULL, NULL, &got, &err) == 0);
	STEP(fixture_put_all(s, samples[3]));
	STEP(store_checkpoint(s, &err) == 0);
#undef STEP
}

static bool survives(const struct world *w, const struct life *life)
{
	struct store *s = fixture_open_at(w->copy, false);
	bool good = all_hold(s);

	for (unsigned i = 0; i < life->durable; i++) {
		struct index_info info;
		struct err err;

		if (i == 0 && life->is_removed)
			continue;
		good = good && fixture_lacks(s, samples[i]) == 0;
		if (!life->is_removed) { /* gc was told of no roots */
			good = good && store_index_info(s, &samples[i]->root, &info, &err) == 0;
			index_info_done(&info);
		}
	}
	/* It goes on from there. */
	good = good && fixture_put_all(s, samples[0]) && fixture_put_all(s, samples[3]) &&
	       fixture_lacks(s, samples[0]) == 0 && all_hold(s);
	store_close(s);
	return good;
}

static void test_power_cut(void)
{
	unsigned good = 0, cuts = 0, torn = 0, steps = 1000;

	for (unsigned k = 1; k <= steps; k++) {
		struct world *w = calloc(1, sizeof(*w));
		struct life life = {0};
		struct store_options o = {.no_thread = true,
					  .interval_ms = 1000,
					  .packs_max = 1000,
					  .recent_max = 60,
					  .fault = watch,
					  .fault_arg = w};
		struct store *s = NULL;
		struct err err;

		w->cut_at = k;
		w->random = k;
		(void)snprintf(w->copy, sizeof(w->copy), "%s/copy", fixture_dir);
		tree_remove(fixture_data);
		tree_remove(w->copy);
		if (store_open_options(fixture_data, &o, &s, &err) < 0)
			abort();
		live(s, w, &life);
		store_close(s);
		if (w->was_cut) {
			cuts++;
			torn += w->torn;
			if (survives(w, &life))
				good++;
			else
				printf("# cut at operation %u\n", k);
		} else {
			steps = k;
		}
		free(w);
	}
	ok(cuts > 100 && cuts == steps - 1, "the power was cut before every operation");
	ok(torn > cuts, "and files were torn");
	ok(good == cuts, "what checkpoints covered is there, and nothing that is not whole");
}

int main(void)
{
	struct sample_shape shape = sample_small;
	struct diary *d =
		mmap(NULL, sizeof(*d), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	shape.shared = 4;
	for (unsigned i = 0; i < SAMPLES; i++)
		samples[i] = sample_new(30 + i, &shape);
	fixture_begin();
	test_kill(d);
	test_power_cut();
	fixture_end();
	for (unsigned i = 0; i < SAMPLES; i++)
		sample_free(samples[i]);
	(void)munmap(d, sizeof(*d));
	return done();
}
