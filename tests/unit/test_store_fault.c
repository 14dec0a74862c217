/* Every operation fails in turn, with EIO and with ENOSPC: somebody is told, the store stays consistent, what is lost is asked for
 * again, and the work can be finished. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#undef BLOCK_SIZE /* sys/mount.h has one of its own */

#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

#define OBJECTS_MAX 64 /* of a pack */

/* Of two, each needs a third of what is in the other's packs. */
static const struct sample_shape sample_wasteful = {.windows = 16,
						    .chunks_per_window = 16,
						    .chunk_size = 65536,
						    .chunks_per_pack = 15,
						    .nodes_per_pack = 2,
						    .shared_every = 3};

struct fault {
	atomic_uint ops, fail_at,
		fail_len; /* operations number fail_at to fail_at + fail_len - 1 */
	int code;
	bool is_paused; /* the test itself looks */
	bool is_only_sync, is_only_read, is_only_write;
	char path[FILES_PATH_SIZE]; /* with is_only_read: this one, or all that begin so */
	const struct sample_pack
		*not_taken; /* the medium has other bytes, which shows when memory forgets it */
	atomic_uint failed;
	atomic_uint
		forgotten; /* files that were to be read from the medium: packs, and 100 for another */
	enum file_op op; /* the first that failed */
};

static void show_medium(const struct sample_pack *p, const char *path)
{
	char own[FILES_PATH_SIZE];
	int fd;

	files_path_pack(own, &p->id);
	if (strcmp(path, own) != 0)
		return;
	fd = open(fixture_pack_path(&p->id), O_WRONLY | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, "damage", 6, (off_t)p->size / 2) != 6)
		abort();
	(void)close(fd);
}

static int fault(void *arg, enum file_op op, const char *path)
{
	struct fault *f = arg;

	if (op == FILE_FORGET && f->not_taken)
		show_medium(f->not_taken, path);
	if (op == FILE_FORGET)
		f->forgotten += strncmp(path, "packs/", 6) == 0 ? 1u : 100u;
	if (op >= FILE_FORGET || f->is_paused || (f->is_only_sync && op != FILE_SYNC) ||
	    (f->is_only_write && op != FILE_WRITE) ||
	    (f->is_only_read &&
	     (op != FILE_READ || strncmp(path, f->path, strlen(f->path)) != 0)) ||
	    (op == FILE_READ && f->code == -ENOSPC))
		return 0;
	f->ops++;
	if (f->ops < f->fail_at || f->ops >= f->fail_at + f->fail_len)
		return 0;
	if (f->failed++ == 0)
		f->op = op;
	return f->code;
}

static void fail_from_now(struct fault *f, unsigned len)
{
	atomic_store(&f->fail_at, f->ops + 1);
	atomic_store(&f->fail_len, len);
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

static int no_roots(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
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

static int send_lacking(struct store *s, const struct sample_pack *k, struct err *err)
{
	uint8_t bits[OBJECTS_MAX / 8] = {0};
	int r = store_lacks(s, k->kind, k->ids, k->count, bits, err);

	for (size_t i = 0; r == 0 && i < sizeof(bits); i++)
		if (bits[i] != 0)
			return store_put_pack(s, &k->id, k->data, k->size, err);
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

		for (size_t n = 0; n < x->packs_len && r == 0; n++)
			r = tell(t, send_lacking(s, &x->packs[n], &err), f, &err);
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

#define OWN 2u /* a pack whose chunks the other sample has not */

static int get_own(struct store *s, const struct sample *x)
{
	uint32_t first = 0;

	for (unsigned i = 0; i < OWN; i++)
		first += x->packs[i].count;
	return fixture_get(s, x, first, first + x->packs[OWN].count, NULL);
}

static int root_of(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	const struct sample *x = arg;

	(void)err;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		abort();
	(*ret)->id = x->root;
	*ret_len = 1;
	return 0;
}

/* While gc asks for the roots, somebody reads a chunk, and the medium fails for that moment. */
struct late {
	const struct sample *a;
	struct store *s;
	struct fault *f;
	int r;
};

static int root_late(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	struct late *l = arg;

	cache_clear(l->s);
	fail_from_now(l->f, 1000000);
	l->r = get_own(l->s, l->a);
	atomic_store(&l->f->fail_len, 0);
	return root_of((void *)l->a, ret, ret_len, err);
}

/* Rows move from where they came to where they are looked up in. */
static bool recent_merge_now(struct store *s)
{
	struct err err;
	int r = store_checkpoint(s, &err);

	(void)pthread_mutex_lock(&s->write_lock);
	if (r == 0)
		r = recent_merge(s, true, &err);
	(void)pthread_mutex_unlock(&s->write_lock);
	return r == 0;
}

/* A medium that gives nothing back for a while: that is said, and nothing is lost by it. */
static void test_unreadable(const struct sample *a, const struct sample *b)
{
	struct fault f = {.code = -EIO, .is_only_read = true};
	struct store *s;
	struct gc_result result;
	struct err err = {0};
	uint64_t damaged = 1;
	char *text = NULL;
	int r;

	files_path_pack(f.path, &a->packs[OWN].id);
	s = open_faulty(&f);
	if (!s || !fixture_put_all(s, a) || fixture_seal(s, a, "a") != 0 ||
	    store_checkpoint(s, &err) < 0)
		abort();
	cache_clear(s);
	fail_from_now(&f, 1000000);
	r = get_own(s, a);
	ok(r == -EIO && s->unreadable > 0, "a pack that cannot be read fails with EIO");
	r = get_own(s, a);
	ok(r == -EIO, "not as one that is not in the store");
	ok(fixture_count_lacking(s, PACK_CHUNKS, a->packs[OWN].ids, a->packs[OWN].count) ==
		   a->packs[OWN].count,
	   "its chunks are asked for again");
	r = store_gc(s, root_of, NULL, (void *)a, &result, &err);
	ok(r == -EIO && strstr(err.msg, "nothing was removed"), "gc removes nothing");
	ok(fixture_put_all(s, b) && recent_merge_now(s), "others go on meanwhile");
	atomic_store(&f.fail_len, 0);
	ok(get_own(s, a) == 0 && s->unreadable == 0, "when the medium is back it is read");
	ok(fixture_lacks(s, a) == 0 && fixture_get_nodes(s, a) == 0, "and all is there");
	r = store_verify(s, &a->root, NULL, NULL, &damaged, &text, &err);
	ok(r == 0 && damaged == 0 && !text, "and verified");
	ok(store_gc(s, root_of, NULL, (void *)a, &result, &err) == 0 && fixture_lacks(s, a) == 0,
	   "gc works again and leaves it");
	store_close(s);
	s = fixture_open(false);
	ok(fixture_lacks(s, a) == 0 && fixture_holds_invariant(s, a), "after a restart too");
	store_close(s);
	free(text);
}

/* Verify asks the medium, for each pack and the index; a restore does not. */
static void test_medium(const struct sample *a)
{
	struct fault f = {.code = -EIO};
	struct store *s;
	struct err err = {0};
	uint64_t damaged = 1;
	char *text = NULL;

	s = open_faulty(&f);
	if (!s || !fixture_put_all(s, a) || fixture_seal(s, a, "a") != 0)
		abort();
	cache_clear(s);
	ok(fixture_get(s, a, 0, a->chunks_len, NULL) == 0 && f.forgotten == 0,
	   "what is read for a restore may come from memory");
	ok(store_verify(s, &a->root, NULL, NULL, &damaged, &text, &err) == 0 && damaged == 0 &&
		   f.forgotten == a->packs_len + 100,
	   "what is verified comes from the medium");
	store_close(s);
	tree_remove(fixture_data);
}

/* The filesystem does not believe its own metadata of a pack (ext4, XFS: EFSBADCRC is EBADMSG, EFSCORRUPTED is EUCLEAN), or does not get them (XFS: ENODATA): which are words
 * for other things here. */
static void test_bad_metadata(const struct sample *a, int code)
{
	struct fault f = {.code = code, .is_only_read = true};
	const struct sample_pack *own = &a->packs[OWN];
	struct store *s;
	struct err err = {0};
	uint64_t damaged = 0;
	char *text = NULL;

	files_path_pack(f.path, &own->id);
	s = open_faulty(&f);
	if (!s || !fixture_put_all(s, a) || fixture_seal(s, a, "a") != 0)
		abort();
	fail_from_now(&f, 1000000);
	ok(store_verify(s, &a->root, NULL, NULL, &damaged, &text, &err) == 0 &&
		   damaged == own->count && text,
	   "what the filesystem does not give is not verified");
	free(text);
	ok(get_own(s, a) == -EIO, "but may come back");
	atomic_store(&f.fail_len, 0);
	ok(store_verify(s, &a->root, NULL, NULL, &damaged, &text, &err) == 0 && damaged == 0 &&
		   !text && fixture_lacks(s, a) == 0,
	   "as after a check of the filesystem");
	store_close(s);
}

/* A pack of chunks that could not be read while gc looked has no marks, and neither have the nodes that name it. */
static void test_unreadable_in_gc(const struct sample *a)
{
	struct fault f = {.code = -EIO, .is_only_read = true};
	struct store *s;
	struct late late = {.a = a, .f = &f};
	struct gc_result result;
	struct err err = {0};
	int r;

	files_path_pack(f.path, &a->packs[OWN].id);
	s = open_faulty(&f);
	if (!s || !fixture_put_all(s, a) || fixture_seal(s, a, "a") != 0 ||
	    store_checkpoint(s, &err) < 0)
		abort();
	late.s = s;
	r = store_gc(s, root_late, NULL, &late, &result, &err);
	ok(late.r == -EIO && r == -EIO && strstr(err.msg, "nothing was removed"),
	   "a pack that becomes unreadable in mid gc ends it");
	store_close(s);
	s = fixture_open(false);
	ok(fixture_lacks(s, a) == 0 && fixture_get_nodes(s, a) == 0, "and nothing of it is lost");
	store_close(s);
}

static struct store *open_unreadable(struct fault *f, const struct sample *a)
{
	struct store *s;
	struct err err = {0};

	files_path_pack(f->path, &a->packs[OWN].id);
	s = open_faulty(f);
	if (!s || !fixture_put_all(s, a) || fixture_seal(s, a, "a") != 0 ||
	    store_checkpoint(s, &err) < 0)
		abort();
	cache_clear(s);
	fail_from_now(f, 1000000);
	ok(get_own(s, a) == -EIO && s->unreadable == 1, "a pack that cannot be read");
	return s;
}

static int put_own(struct store *s, const struct sample *a)
{
	struct err err = {0};

	return store_put_pack(s, &a->packs[OWN].id, a->packs[OWN].data, a->packs[OWN].size, &err);
}

static bool is_whole(struct store *s, const struct sample *a)
{
	struct err err = {0};
	uint64_t damaged = 1;
	char *text = NULL;
	int r = store_verify(s, &a->root, NULL, NULL, &damaged, &text, &err);

	if (text)
		printf("# %s\n", text);
	free(text);
	return r == 0 && damaged == 0 && fixture_lacks(s, a) == 0;
}

/* It is sent again, by the capture that was told that it lacks: the file that was durable is not risked for the one that is not yet. */
static void test_unreadable_sent_again(const struct sample *a, bool fails)
{
	struct fault f = {.code = -EIO, .is_only_read = true};
	struct store *s = open_unreadable(&f, a);
	struct err err = {0};

	if (fails) { /* not the sync before the rename: that of the checkpoint */
		f.is_only_read = false;
		f.is_only_sync = true;
		atomic_store(&f.fail_at, f.ops + 2);
		atomic_store(&f.failed, 0);
		ok(put_own(s, a) == -EIO && f.failed > 0,
		   "is sent again, but the checkpoint fails");
		atomic_store(&f.fail_len, 0);
		(void)get_own(s, a);
	} else {
		ok(put_own(s, a) == 0, "is sent again");
		atomic_store(&f.fail_len, 0);
		ok(unreadable_retry(s, &err) == 0 && s->unreadable == 0,
		   "and the medium is back as well");
		ok(recent_merge_now(s), "and all is merged");
	}
	cache_clear(s);
	ok(get_own(s, a) == 0 && is_whole(s, a), "nothing is lost");
	store_close(s);
	s = fixture_open(false);
	ok(get_own(s, a) == 0 && is_whole(s, a) && fixture_holds_invariant(s, a),
	   "nor after a restart");
	store_close(s);
}

/* The medium comes back with something else. */
static void test_unreadable_damaged(const struct sample *a, unsigned how)
{
	struct fault f = {.code = -EIO, .is_only_read = true};
	struct store *s = open_unreadable(&f, a);
	const struct sample_pack *own = &a->packs[OWN];
	char path[FILES_PATH_SIZE + 256];
	struct err err = {0};
	int fd;

	(void)snprintf(path, sizeof(path), "%s/store/%s", fixture_data, f.path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || (how == 0 && unlink(path) < 0) ||
	    (how == 1 && ftruncate(fd, (off_t)own->size / 2) < 0) ||
	    (how == 2 && pwrite(fd, "damage", 6, (off_t)own->size / 2) != 6))
		abort();
	(void)close(fd);
	atomic_store(&f.fail_len, 0);
	ok(unreadable_retry(s, &err) == 0, "it is looked at again");
	ok(fixture_count_lacking(s, PACK_CHUNKS, own->ids, own->count) == own->count,
	   "what it was is not said to be there");
	ok(put_own(s, a) == 0 && store_checkpoint(s, &err) == 0 && get_own(s, a) == 0 &&
		   fixture_lacks(s, a) == 0,
	   "and can be sent again");
	store_close(s);
}

/* A store whose quota is used up is one that is full: jobs say so, and gc does without what it would write anew. */
static void test_quota(void)
{
	struct sample *a = sample_new(60, &sample_wasteful), *b = sample_new(61, &sample_wasteful);
	struct fault f = {.code = -EDQUOT};
	struct store *s = open_faulty(&f);
	struct gc_result got;
	struct err err = {0};

	if (!s || !fixture_put_all(s, a))
		abort();
	fail_from_now(&f, 1000000);
	ok(store_put_pack(s, &b->packs[0].id, b->packs[0].data, b->packs[0].size, &err) == -ENOSPC,
	   "a quota that is used up means a full store");
	atomic_store(&f.fail_len, 0);
	if (!fixture_put_all(s, b) || fixture_seal(s, b, "b") != 0)
		abort();
	partial_remove(s, "b");
	f.is_only_write = true;
	fail_from_now(&f, 1000000);
	ok(store_gc(s, root_of, NULL, b, &got, &err) == 0 && got.packs_rewritten == 0 &&
		   is_whole(s, b),
	   "in which gc ends");
	atomic_store(&f.fail_len, 0);
	store_close(s);
	sample_free(a);
	sample_free(b);
}

/* What gc wrote anew is dropped by a checkpoint of somebody else, which fails while gc goes on: what it was written from stays. */
struct other {
	struct sample *of; /* the version */
	struct store *s;
	struct fault *f;
	int r;
};

static int root_of_other(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	const struct other *o = arg;

	return root_of(o->of, ret, ret_len, err);
}

static bool fail_a_checkpoint(void *arg, uint64_t done, uint64_t total)
{
	struct other *o = arg;
	struct err err = {0};

	(void)done;
	(void)total;
	if (o->r == 0 && o->s->current.packs_len > 0) {
		fail_from_now(o->f, 1);
		o->r = store_checkpoint(o->s, &err);
		atomic_store(&o->f->fail_len, 0);
	}
	return false;
}

static void test_rewrite_dropped(void)
{
	struct sample *a = sample_new(60, &sample_wasteful), *b = sample_new(61, &sample_wasteful);
	struct fault f = {.code = -EIO, .is_only_sync = true};
	struct store *s;
	struct other o = {.of = b, .f = &f};
	struct gc_result got;
	struct err err = {0};

	/* In the packs of `a`, `b` needs a third. */
	s = open_faulty(&f);
	if (!s || !fixture_put_all(s, a) || !fixture_put_all(s, b) || fixture_seal(s, b, "b") != 0)
		abort();
	partial_remove(s, "b");
	o.s = s;
	ok(store_gc(s, root_of_other, fail_a_checkpoint, &o, &got, &err) == 0, "gc");
	ok(o.r == -EIO, "a checkpoint that fails meanwhile");
	ok(is_whole(s, b), "nothing that is in use is lost");
	ok(store_gc(s, root_of, NULL, b, &got, &err) == 0 && got.packs_rewritten > 0 &&
		   is_whole(s, b),
	   "the next gc does what was left");
	store_close(s);
	sample_free(a);
	sample_free(b);
}

static bool has_file(const struct sample_pack *p)
{
	return access(fixture_pack_path(&p->id), F_OK) == 0;
}

static void seal_one(const struct sample *a)
{
	struct store *s = fixture_open(false);

	if (!fixture_put_all(s, a) || fixture_seal(s, a, "a") != 0)
		abort();
	store_close(s);
}

static int try_to_open(struct fault *f, bool rebuild, struct store **ret, struct err *err)
{
	const struct store_options o = {.rebuild = rebuild,
					.no_thread = true,
					.interval_ms = 1000,
					.packs_max = 2,
					.recent_max = 30,
					.fault = fault,
					.fault_arg = f};

	return store_open_options(fixture_data, &o, ret, err);
}

/* An index is made anew while a medium gives nothing back: that says nothing against what it holds. */
static void test_rebuild_unread(const struct sample *a)
{
	struct fault f = {.code = -EIO, .is_only_read = true};
	struct store *s = NULL;
	struct err err = {0};
	size_t n = 0;

	seal_one(a);
	files_path_pack(f.path, &a->packs[OWN].id);
	fail_from_now(&f, 1000000);
	ok(try_to_open(&f, true, &s, &err) == -EIO && strstr(err.msg, "move that file away"),
	   "no index without a pack that cannot be read");
	ok(try_to_open(&f, false, &s, &err) == -EIO,
	   "nor at the next start, which goes on with it");
	f.is_only_read = false;
	f.is_only_sync = true;
	fail_from_now(&f, 1);
	ok(try_to_open(&f, false, &s, &err) == -EIO, "nor when it cannot be made durable");
	for (size_t i = 0; i < a->packs_len; i++)
		n += has_file(&a->packs[i]);
	ok(n == a->packs_len, "no pack is touched by all that");
	atomic_store(&f.fail_len, 0);
	if (try_to_open(&f, false, &s, &err) < 0)
		abort();
	ok(is_whole(s, a) && fixture_holds_invariant(s, a), "when it can be read all is there");
	store_close(s);
}

static void put_and_be_killed(const struct sample *a)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct store *s = fixture_open(false);

		_exit(fixture_put_all(s, a) ? 0 : 1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		abort();
}

/* The medium did not take what a server that was killed had written.  The kernel says so once; it keeps the bytes, and calls them written. */
static void test_killed_unsynced(const struct sample *a)
{
	const struct sample_pack *own = &a->packs[OWN];
	struct fault f = {.code = -EIO, .is_only_sync = true};
	struct store *s = NULL;
	struct err err = {0};

	put_and_be_killed(a);
	fail_from_now(&f, 1);
	ok(try_to_open(&f, false, &s, &err) == -EIO, "a start that cannot make packs durable ends");
	f.not_taken = own;
	if (try_to_open(&f, false, &s, &err) < 0)
		abort();
	ok(store_start(s)->quarantined == 1 &&
		   fixture_count_lacking(s, PACK_CHUNKS, own->ids, own->count) == own->count,
	   "the next one takes nothing for durable that is in memory alone");
	f.not_taken = NULL;
	ok(fixture_holds_invariant(s, a) && fixture_put_all(s, a) && fixture_seal(s, a, "a") == 0 &&
		   is_whole(s, a),
	   "and has it sent again");
	store_close(s);
}

/* A pack is gone when the index is made, and comes back, or is sent again. */
static void test_rebuild_missing(const struct sample *a)
{
	const struct sample_pack *own = &a->packs[OWN];
	struct fault f = {.code = -EIO};
	struct store *s = NULL;
	struct err err = {0};
	size_t n = 0;

	seal_one(a);
	if (unlink(fixture_pack_path(&own->id)) < 0)
		abort();
	s = fixture_open(true);
	for (size_t i = 0; i < a->packs_len; i++)
		n += has_file(&a->packs[i]);
	ok(n == a->packs_len - 1, "nodes whose chunks are missing stay");
	ok(fixture_lacks(s, a) > own->count && fixture_holds_invariant(s, a),
	   "but are not said to be there");
	ok(store_put_pack(s, &own->id, own->data, own->size, &err) == 0 && is_whole(s, a) &&
		   fixture_get_nodes(s, a) == 0,
	   "with these chunks the image is whole again");
	store_close(s);
	if (try_to_open(&f, false, &s, &err) < 0)
		abort();
	ok(is_whole(s, a), "after a restart too");
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
	tree_remove(fixture_data);
	test_unreadable(a, b);
	tree_remove(fixture_data);
	test_medium(a);
	test_unreadable_in_gc(a);
	tree_remove(fixture_data);
	test_quota();
	tree_remove(fixture_data);
	test_bad_metadata(a, -EBADMSG);
	tree_remove(fixture_data);
	test_bad_metadata(a, -EUCLEAN);
	tree_remove(fixture_data);
	test_bad_metadata(a, -ENODATA);
	tree_remove(fixture_data);
	test_bad_metadata(a, -ESTALE);
	tree_remove(fixture_data);
	for (unsigned fails = 0; fails < 2; fails++) {
		test_unreadable_sent_again(a, fails);
		tree_remove(fixture_data);
	}
	for (unsigned how = 0; how < 3; how++) {
		test_unreadable_damaged(a, how);
		tree_remove(fixture_data);
	}
	test_rewrite_dropped();
	tree_remove(fixture_data);
	test_rebuild_unread(a);
	tree_remove(fixture_data);
	test_rebuild_missing(a);
	tree_remove(fixture_data);
	test_killed_unsynced(a);
	tree_remove(fixture_data);
	test_full(&sample_small);
	fixture_end();
	sample_free(a);
	sample_free(b);
	return done();
}
