/* Every operation fails in turn, with EIO and with ENOSPC: somebody is told, the store stays consistent, what is lost is asked for
 * again, and the work can be finished. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#undef BLOCK_SIZE /* sys/mount.h has one of its own */

#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

struct fault {
	atomic_uint ops, fail_at,
		fail_len; /* operations number fail_at to fail_at + fail_len - 1 */
	int code;
	bool is_paused; /* the test itself looks */
	bool is_only_sync;
	atomic_uint failed;
	enum file_op op; /* the first that failed */
};

static int fault(void *arg, enum file_op op, const char *path)
{
	struct fault *f = arg;

	(void)path;
	if (f->is_paused || (f->is_only_sync && op != FILE_SYNC) ||
	    (op == FILE_READ && f->code == -ENOSPC))
		return 0;
	f->ops++;
	if (f->ops < f->fail_at || f->ops >= f->fail_at + f->fail_len)
		return 0;
	if (f->failed++ == 0)
		f->op = op;
	return f->code;
}

static struct store *open_faulty(struct fault *f)
{
	const struct store_options o = {.no_thread = true,
					.interval_ms = 1000,
					.packs_max = 1000,
					.recent_max = 30,
					.fault = fault,
					.fault_arg = f};
	struct store *s = NULL;
	struct err err = {0};

	/* The start may be what fails: it tells, and works when asked again. */
	for (int i = 0; i < 50 && !s; i++) {
		if (store_open_options(fixture_data, &o, &s, &err) == 0)
			break;
		if (err.code != f->code || err.msg[0] == '\0')
			return NULL;
	}
	return s;
}

static int no_roots(void *arg, struct id **ret, size_t *ret_len, struct err *err)
{
	(void)arg;
	(void)err;
	*ret = NULL;
	*ret_len = 0;
	return 0;
}

struct told {
	unsigned times;
	int wrong; /* another error than the one that was injected */
};

static int tell(struct told *t, int r, const struct fault *f, const struct err *err)
{
	if (r < 0) {
		t->times++;
		if (r != f->code && r != -EBADMSG && r != -ENOENT && r != -ENODATA) {
			t->wrong = r;
			printf("# %d: %s\n", r, err->msg);
		}
	}
	return r;
}

/* As an agent does: send what lacks, and again, until the disk is sealed. */
static bool capture(struct store *s, const struct sample *x, const char *key, struct told *t,
		    const struct fault *f)
{
	const struct index_info info = {.geometry = x->geometry};

	for (int i = 0; i < 60; i++) {
		struct seal_result result = {.missing_len = 1};
		struct partial *p = NULL;
		struct err err = {0};
		int r = 0;

		for (size_t n = 0; n < x->packs_len && r == 0; n++) {
			const struct sample_pack *k = &x->packs[n];

			if (fixture_count_lacking(s, k->kind, k->ids, k->count) > 0)
				r = tell(t, store_put_pack(s, &k->id, k->data, k->size, &err), f,
					 &err);
		}
		if (r == 0)
			r = tell(t, partial_open(s, key, x->geometry.size, &p, &err), f, &err);
		for (uint32_t w = 0; w < x->windows && r == 0; w++)
			r = tell(t, partial_set_one(p, w, &x->nodes[w], &err), f, &err);
		if (r == 0)
			r = tell(t, partial_seal(p, &info, &x->root, &result, &err), f, &err);
		partial_close(p);
		seal_result_done(&result);
		if (r == 0 && result.missing_len == 0)
			return true;
	}
	return false;
}

static bool holds(struct store *s, const struct sample *x, struct fault *f)
{
	bool good;

	f->is_paused = true;
	good = fixture_holds_invariant(s, x);
	f->is_paused = false;
	return good;
}

/* A life with one fault in it; 1: it was over before the fault came; negative: a promise was broken. */
static int live(const struct sample *a, const struct sample *b, struct fault *f)
{
	struct told t = {0};
	struct store *s;
	struct gc_result got;
	struct err err = {0};
	char *text = NULL;
	uint64_t damaged = 0;
	bool good;

	tree_remove(fixture_data);
	s = open_faulty(f);
	if (!s)
		return -1;
	good = capture(s, a, "a", &t, f) && holds(s, a, f);
	good = good && capture(s, b, "b", &t, f) && holds(s, b, f);
	partial_remove(s, "a");
	while (good && tell(&t, store_gc(s, no_roots, NULL, NULL, &got, &err), f, &err) < 0) {
		/* What could not be read keeps gc from removing anything until the next start. */
		store_close(s);
		s = open_faulty(f);
		good = t.times < 200 && s;
	}
	good = good && holds(s, a, f) && holds(s, b, f);
	/* What gc could not read, or a checkpoint lost, is sent again. */
	good = good && capture(s, b, "b", &t, f) && capture(s, a, "a", &t, f);
	while (good &&
	       tell(&t, store_verify(s, &a->root, NULL, NULL, &damaged, &text, &err), f, &err) < 0)
		good = t.times < 200;
	free(text);
	good = good && capture(s, a, "a", &t, f) && fixture_lacks(s, a) == 0 &&
	       fixture_lacks(s, b) == 0;
	store_close(s);
	s = open_faulty(f);
	good = good && s && holds(s, a, f) && fixture_lacks(s, a) == 0 &&
	       fixture_lacks(s, b) == 0 && t.wrong == 0;
	store_close(s);
	if (!good) {
		printf("# operation %u (kind %d) of %u failed with %d\n", f->fail_at, (int)f->op,
		       f->ops, f->code);
		return -1;
	}
	return f->failed == 0;
}

static void test_each(const struct sample *a, const struct sample *b, int code, unsigned len,
		      const char *name)
{
	unsigned n = 0, bad = 0, kinds = 0;
	int r = 0;

	for (unsigned k = 1; r != 1 && k < 3000; k += 1 + (len > 1)) {
		struct fault f = {.fail_at = k, .fail_len = len, .code = code};

		r = live(a, b, &f);
		n++;
		bad += r < 0;
		kinds |= 1u << f.op;
	}
	ok(r == 1 && n > 50 && bad == 0, name);
	ok((kinds | (code == -ENOSPC) << FILE_READ) == (1u << (FILE_COMMIT + 1)) - 1,
	   "all kinds of operations failed once");
}

/* A checkpoint that fails in the background is told to whoever puts next, and what it lost is asked for again. */
static void test_background(const struct sample *a)
{
	struct fault f = {.code = -EIO, .is_only_sync = true};
	const struct store_options o = {
		.interval_ms = 1, .packs_max = 1, .fault = fault, .fault_arg = &f};
	struct store *s = NULL;
	struct err err = {0};
	int r = 0, puts = 0;

	tree_remove(fixture_data);
	if (store_open_options(fixture_data, &o, &s, &err) < 0)
		abort();
	atomic_store(&f.fail_len, 1000000);
	/* Until it is told: when is up to the checkpoint thread. */
	for (int i = 0; i < 10000000 && r == 0; i++) {
		const struct sample_pack *p = &a->packs[i % 2];

		r = store_put_pack(s, &p->id, p->data, p->size, &err);
		puts += r == 0;
	}
	ok(r == -EIO && puts > 0 && strstr(err.msg, "checkpoint: sync"),
	   "a put tells of the failed checkpoint");
	atomic_store(&f.fail_len, 0);
	while (store_put_pack(s, &a->packs[0].id, a->packs[0].data, a->packs[0].size, &err) < 0)
		;
	ok(fixture_count_lacking(s, PACK_CHUNKS, a->packs[0].ids, a->packs[0].count) == 0 &&
		   fixture_get(s, a, 0, a->packs[0].count, NULL) == 0,
	   "and it can be put again");
	store_close(s);
}

/* A disk that is truly full, SQLite included. */
static void test_full(const struct sample_shape *shape)
{
	char disk[128], name[160];
	struct store *s = NULL;
	struct err err = {0};
	struct sample *last = NULL;
	unsigned n = 0, put = 0;
	int r = 0;

	(void)snprintf(disk, sizeof(disk), "%s/disk", fixture_dir);
	(void)snprintf(name, sizeof(name), "%s/data", disk);
	if (mkdir(disk, 0700) != 0 || mount("tmpfs", disk, "tmpfs", 0, "size=1m") != 0) {
		printf("ok %d - a full disk # SKIP mounting a tmpfs is not allowed here\n",
		       ++tap_n);
		return;
	}
	s = fixture_open_at(name, false);
	for (; r == 0 && n < 200; n++) {
		sample_free(last);
		last = sample_new(1000 + n, shape);
		for (size_t i = 0; i < last->packs_len && r == 0; i++) {
			r = store_put_pack(s, &last->packs[i].id, last->packs[i].data,
					   last->packs[i].size, &err);
			put += r == 0;
		}
		if (r == 0)
			r = store_checkpoint(s, &err);
	}
	ok(r == -ENOSPC && put > 10 && strstr(err.msg, "No space left"), "a full disk is told");
	ok(fixture_holds_invariant(s, last), "and tears nothing");
	store_close(s);
	/* A little more room. */
	ok(mount("tmpfs", disk, "tmpfs", MS_REMOUNT, "size=4m") == 0, "with more room");
	s = fixture_open_at(name, false);
	ok(fixture_put_all(s, last) && fixture_lacks(s, last) == 0 &&
		   store_checkpoint(s, &err) == 0,
	   "it goes on");
	store_close(s);
	(void)umount(disk);
	sample_free(last);
}

int main(void)
{
	struct sample_shape shape = {.windows = 4,
				     .chunks_per_window = 3,
				     .chunk_size = 8192,
				     .chunks_per_pack = 4,
				     .nodes_per_pack = 2,
				     .shared = 5};
	struct sample *a = sample_new(50, &shape), *b = sample_new(51, &shape);

	fixture_begin();
	test_each(a, b, -EIO, 1, "every operation fails once with EIO");
	test_each(a, b, -ENOSPC, 1, "every operation fails once with ENOSPC");
	test_each(a, b, -EIO, 7, "several operations in a row fail with EIO");
	test_each(a, b, -ENOSPC, 7, "several operations in a row fail with ENOSPC");
	test_background(a);
	test_full(&sample_small);
	fixture_end();
	sample_free(a);
	sample_free(b);
	return done();
}
