/* store_gc removes what nobody needs, and nothing else, whatever else goes on. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/root.h"
#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

struct roots {
	struct id ids[8];
	size_t len;
	bool may_lack;
};

static int give_roots(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	const struct roots *r = arg;

	(void)err;
	*ret = calloc(r->len + 1, sizeof(**ret));
	for (size_t i = 0; i < r->len; i++)
		(*ret)[i] = (struct gc_root){
			.id = r->ids[i], .may_lack = r->may_lack, .of = "the image"};
	*ret_len = r->len;
	return 0;
}

static int gc(struct store *s, struct roots *roots, struct gc_result *ret)
{
	struct err err = {0};
	int r = store_gc(s, give_roots, NULL, roots, ret, &err);

	if (r < 0)
		printf("# %s\n", err.msg);
	free(ret->damage);
	return r;
}

static bool is_whole(struct store *s, const struct sample *x)
{
	return fixture_lacks(s, x) == 0 && fixture_get(s, x, 0, x->chunks_len, NULL) == 0 &&
	       fixture_get_nodes(s, x) == 0;
}

static size_t all_of(const struct sample *x)
{
	return x->chunks_len + x->windows;
}

static struct store_stat stat_of(struct store *s)
{
	struct store_stat st;
	struct err err;

	if (store_stat(s, &st, &err) < 0)
		abort();
	return st;
}

#define SEALS 100u

/* An agent has its disk sealed again and again, each time with another place that could not be read. */
static void test_sealed_often(void)
{
	struct store *s = fixture_open(false);
	struct sample *x = sample_new(1, &sample_small);
	struct partial *p = NULL;
	struct root_hash *h = malloc(sizeof(*h));
	struct roots none = {.len = 0};
	struct gc_result got;
	size_t noted = 0, good = 0;
	struct id root = {{0}};
	struct err err;

	if (!h || !fixture_put_all(s, x) ||
	    partial_open(s, "often.0", x->geometry.size, &p, &err) < 0)
		abort();
	for (uint32_t w = 0; w < x->windows; w++) {
		if (partial_set_one(p, w, &x->nodes[w], &err) < 0)
			abort();
	}
	for (unsigned i = 0; i < SEALS; i++) {
		struct extent lost = {0, i + 1};
		struct index_info info = {x->geometry, &lost, 1, {{0}}};
		struct seal_result result = {0};

		root_init(h, &x->geometry);
		for (uint32_t w = 0; w < x->windows; w++)
			root_add(h, &x->nodes[w]);
		root = root_final(h, &lost, 1);
		good += partial_seal(p, &info, &root, &result, &err) == 0;
		seal_result_done(&result);
	}
	for (const struct sealed *e = s->sealed; e; e = e->next)
		noted++;
	ok(good == SEALS && noted < SEALS, "a disk that is sealed again and again");
	printf("# %zu\n", noted);
	ok(gc(s, &none, &got) == 0 && index_file_verify(s, &root, &err) == 0,
	   "of which the last index stays");
	partial_close(p);
	partial_remove(s, "often.0");
	ok(!s->sealed && gc(s, &none, &got) == 0 && index_file_verify(s, &root, &err) == -ENOENT,
	   "as long as its capture");
	free(h);
	sample_free(x);
	store_close(s);
	tree_remove(fixture_data);
}

/* Two disks; one is given up. */
static void test_simple(void)
{
	struct sample *a = sample_new(1, &sample_small), *b = sample_new(2, &sample_small);
	struct store *s = fixture_open(false);
	struct roots roots = {.len = 0};
	struct gc_result got = {0};
	struct index_info info;
	struct err err;

	ok(fixture_put_all(s, a) && fixture_put_all(s, b) && fixture_seal(s, a, "a") == 0 &&
		   fixture_seal(s, b, "b") == 0,
	   "two disks");
	ok(gc(s, &roots, &got) == 0 && got.packs_removed == 0 && is_whole(s, a) && is_whole(s, b),
	   "partials keep all, though no root does");
	partial_remove(s, "a");
	partial_remove(s, "b");
	roots.ids[roots.len++] = a->root;
	ok(gc(s, &roots, &got) == 0, "gc with one root");
	ok(got.packs_removed == b->packs_len && got.packs_rewritten == 0 &&
		   got.objects_removed == all_of(b) && got.bytes_freed > 0,
	   "what it says it did");
	ok(is_whole(s, a), "the one is whole");
	ok(fixture_lacks(s, b) == all_of(b), "the other is gone");
	ok(store_index_info(s, &a->root, &info, &err) == 0 &&
		   store_index_info(s, &b->root, &info, &err) == -ENOENT,
	   "and its index");
	ok(access(fixture_pack_path(&b->packs[0].id), F_OK) != 0 &&
		   stat_of(s).packs == a->packs_len,
	   "and its packs");
	ok(fixture_put_all(s, b) && is_whole(s, b), "it can be put again");
	store_close(s);
	s = fixture_open(false);
	ok(store_start(s)->clean && is_whole(s, a) && is_whole(s, b), "and is there after all");
	ok(gc(s, &roots, &got) == 0 && is_whole(s, a) && fixture_lacks(s, b) == all_of(b),
	   "gc after a start");
	store_close(s);
	s = fixture_open(true);
	ok(is_whole(s, a) && fixture_lacks(s, b) == all_of(b), "the packs say the same");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(a);
	sample_free(b);
}

/* `b` shares some of its chunks with `a`, in the packs of `a`: these are written anew. */
static void test_rewrite(void)
{
	struct sample_shape shape = sample_small;
	struct sample *a, *b;
	struct store *s = fixture_open(false);
	struct roots roots = {.len = 1};
	struct gc_result got = {0};

	shape.shared = 6; /* pack 0 whole, half of pack 1 */
	shape.chunks_per_pack = 5;
	a = sample_new(3, &shape);
	b = sample_new(4, &shape);
	ok(fixture_put_all(s, a), "a disk");
	for (size_t i = 2; i < b->packs_len; i++)
		(void)fixture_put(s, &b->packs[i]);
	ok(fixture_put(s, &b->packs[1]) == 0 && fixture_put_all(s, b) && is_whole(s, b) &&
		   fixture_seal(s, b, "b") == 0,
	   "another one that shares some chunks");
	partial_remove(s, "b");
	roots.ids[0] = b->root;
	ok(gc(s, &roots, &got) == 0 && got.packs_rewritten == 2 && got.packs_removed == 5,
	   "gc of the first");
	ok(is_whole(s, b), "the second is whole");
	ok(fixture_count_lacking(s, PACK_CHUNKS, a->chunks, a->chunks_len) == a->chunks_len - 6,
	   "of the first only what is shared is left");
	store_close(s);
	s = fixture_open(false);
	ok(store_start(s)->clean && is_whole(s, b), "also after a start");
	ok(gc(s, &roots, &got) == 0 && is_whole(s, b), "and a gc");
	store_close(s);
	s = fixture_open(true);
	ok(is_whole(s, b) && store_start(s)->quarantined == 0, "the packs say the same");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(a);
	sample_free(b);
}

struct gc_meanwhile {
	struct store *s;
	struct roots *roots;
	struct gc_result got;
	bool is_armed;
	int r;
};

static int gc_at_look_up(void *arg, enum file_op op, const char *path)
{
	struct gc_meanwhile *m = arg;

	(void)path;
	if (op != FILE_LOOK_UP || !m->is_armed)
		return 0;
	m->is_armed = false;
	m->r = gc(m->s, m->roots, &m->got);
	return 0;
}

/* Who has seen that an object is not in memory, and looks into the tables when its pack has been written anew: its old row is gone from there, and its
 * new one is in memory. */
static void test_rewritten_at_look_up(void)
{
	struct gc_meanwhile m = {.is_armed = false};
	const struct store_options o = {.no_thread = true, .fault = gc_at_look_up, .fault_arg = &m};
	struct sample_shape shape = sample_small;
	struct roots roots = {.len = 2};
	struct sample *a, *b;
	struct err err = {0};

	shape.shared = 6;
	shape.chunks_per_pack = 5;
	a = sample_new(3, &shape);
	b = sample_new(4, &shape);
	roots.ids[0] = b->root;
	roots.ids[1] = a->root;
	if (store_open_options(fixture_data, &o, &m.s, &err) < 0 || !fixture_put_all(m.s, a) ||
	    !fixture_put_all(m.s, b) || fixture_seal(m.s, a, "a") < 0 ||
	    fixture_seal(m.s, b, "b") < 0)
		abort();
	partial_remove(m.s, "a");
	partial_remove(m.s, "b");
	if (gc(m.s, &roots, &m.got) < 0) /* from here on all are in the tables */
		abort();
	roots.len = 1;
	m.roots = &roots;
	m.is_armed = true;
	ok(fixture_count_lacking(m.s, PACK_CHUNKS, b->chunks, b->chunks_len) == 0,
	   "what is written anew between two looks for it is found");
	ok(!m.is_armed && m.r == 0 && m.got.packs_rewritten > 0, "which it was");
	store_close(m.s);
	tree_remove(fixture_data);
	sample_free(a);
	sample_free(b);
}

/* A pack of which little is used is read to be written anew, and is damaged. */
static void test_damaged(void)
{
	struct sample_shape shape = sample_small;
	struct sample *a, *b;
	struct store *s = fixture_open(false);
	struct roots roots = {.len = 1};
	struct gc_result got = {0};
	struct err err = {0};
	char id[ID_TEXT_SIZE];

	shape.shared = 6;
	shape.chunks_per_pack = 5;
	a = sample_new(3, &shape);
	b = sample_new(4, &shape);
	if (!fixture_put_all(s, a) || !fixture_put_all(s, b) || fixture_seal(s, b, "b") < 0)
		abort();
	partial_remove(s, "b");
	roots.ids[0] = b->root;
	cache_clear(s);
	id_to_text(&a->packs[1].id, id);
	if (truncate(fixture_pack_path(&a->packs[1].id), 100) < 0)
		abort();
	ok(store_gc(s, give_roots, NULL, &roots, &got, &err) == -EBADMSG && strstr(err.msg, id) &&
		   strstr(err.msg, "quarantine") && strstr(err.msg, "verify"),
	   "gc that finds a pack in use damaged says so");
	printf("# %s\n", err.msg);
	ok(got.packs_removed > 0 && access(fixture_pack_path(&a->packs[3].id), F_OK) != 0,
	   "and has removed what nobody needs");
	ok(fixture_lacks(s, b) > 0 && fixture_put_all(s, b) && gc(s, &roots, &got) == 0 &&
		   is_whole(s, b),
	   "what was lost is sent again, and all is well");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(a);
	sample_free(b);
}

static size_t count_files(const struct sample *x)
{
	size_t n = 0;

	for (size_t i = 0; i < x->packs_len; i++)
		n += access(fixture_pack_path(&x->packs[i].id), F_OK) == 0;
	return n;
}

static void write_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wbe");

	if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
		abort();
}

/* Packs that a start finds, of which all objects are in others: two agents had sent the same at one time. */
static void test_shadowed(void)
{
	struct sample_shape shape = sample_small;
	struct sample *a = sample_new(3, &shape), *same;
	struct store *s = fixture_open(false);
	struct roots roots = {.len = 1};
	struct gc_result got = {0};
	size_t before;

	shape.is_stored = true;
	same = sample_new(3, &shape);
	if (!fixture_put_all(s, a) || fixture_seal(s, a, "a") < 0)
		abort();
	partial_remove(s, "a");
	roots.ids[0] = a->root;
	store_close(s);
	for (size_t i = 0; i < same->packs_len; i++)
		write_file(fixture_pack_path(&same->packs[i].id), same->packs[i].data,
			   same->packs[i].size);
	before = count_files(a) + count_files(same);
	s = fixture_open(true);
	ok(before > a->packs_len && stat_of(s).packs == before,
	   "a start knows of packs whose objects others have");
	ok(gc(s, &roots, &got) == 0 && count_files(a) + count_files(same) == a->packs_len &&
		   stat_of(s).packs == a->packs_len && is_whole(s, a),
	   "and gc removes them");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(a);
	sample_free(same);
}

/* ---- what happens meanwhile: done from within the call for the roots */

struct meanwhile {
	struct store *s;
	const struct sample *x;
	struct roots roots;
	int what;
	bool is_good;
};

static int roots_meanwhile(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	struct meanwhile *m = arg;
	struct partial *p = NULL;

	switch (m->what) {
	case 0: /* asked for one by one */
		m->is_good = fixture_lacks(m->s, m->x) == 0;
		break;
	case 1: /* put again */
		m->is_good = fixture_put_all(m->s, m->x);
		break;
	case 2: /* only the nodes asked for: their chunks have to stay as well */
		m->is_good =
			fixture_count_lacking(m->s, PACK_NODES, m->x->nodes, m->x->windows) == 0;
		break;
	case 3: /* only the nodes put */
		m->is_good = true;
		for (size_t i = m->x->chunk_packs; i < m->x->packs_len; i++)
			m->is_good = m->is_good && fixture_put(m->s, &m->x->packs[i]) == 0;
		break;
	case 4: /* one window set */
		m->is_good = partial_open(m->s, "m", m->x->geometry.size, &p, err) == 0 &&
			     partial_set_one(p, 0, &m->x->nodes[0], err) == 0;
		partial_close(p);
		break;
	case 5: /* sealed */
	case 6: /* and over at once */
		m->is_good = fixture_seal(m->s, m->x, "m") == 0;
		if (m->what == 6)
			partial_remove(m->s, "m");
		break;
	default:
		m->is_good = false;
	}
	return give_roots(&m->roots, ret, ret_len, err);
}

static void test_meanwhile(void)
{
	static const char *const names[] = {
		"all asked for meanwhile stays",     "all put meanwhile stays",
		"nodes asked for keep their chunks", "nodes put keep their chunks",
		"a window set keeps its node",	     "what is sealed meanwhile stays",
		"also when it is over meanwhile",
	};
	struct sample *x = sample_new(5, &sample_small);

	for (int what = 0; what < 7; what++) {
		struct store *s = fixture_open(false);
		struct meanwhile m = {.s = s, .x = x, .what = what};
		struct gc_result got = {0};
		struct index_info info;
		struct err err;
		bool good = fixture_put_all(s, x);

		if (what == 3) { /* the nodes are not there yet */
			struct roots none = {.len = 0};

			good = good && gc(s, &none, &got) == 0;
			for (size_t i = 0; i < x->chunk_packs; i++)
				good = good && fixture_put(s, &x->packs[i]) == 0;
			good = good && store_checkpoint(s, &err) == 0;
		}
		good = good && store_gc(s, roots_meanwhile, NULL, &m, &got, &err) == 0 && m.is_good;
		if (what == 4) {
			good = good && fixture_lacks(s, x) == all_of(x) - 6 + 0 * got.packs_removed;
			good = good && fixture_get(s, x, 0, 5, NULL) == 0;
		} else {
			good = good && is_whole(s, x);
		}
		if (what >= 5) {
			good = good && store_index_info(s, &x->root, &info, &err) == 0;
			index_info_done(&info);
		}
		ok(good, names[what]);
		store_close(s);
		s = fixture_open(true);
		ok(fixture_holds_invariant(s, x), "and what a node that is there needs is there");
		store_close(s);
		tree_remove(fixture_data);
	}
	sample_free(x);
}

/* ---- refusals */

static bool cancel_at(void *arg, uint64_t done, uint64_t total)
{
	(void)done;
	(void)total;
	return --*(int *)arg < 0;
}

struct cancelling {
	int left;
	struct roots roots;
};

static bool cancel_gc(void *arg, uint64_t done, uint64_t total)
{
	return cancel_at(&((struct cancelling *)arg)->left, done, total);
}

static int roots_cancelling(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	return give_roots(&((struct cancelling *)arg)->roots, ret, ret_len, err);
}

static void test_cancel(void)
{
	struct sample *a = sample_new(6, &sample_small), *b = sample_new(7, &sample_small);
	struct cancelling c = {.roots = {.len = 1}};
	int steps = 0, cancelled = 0, good = 0, r = -ECANCELED;

	c.roots.ids[0] = a->root;
	for (; r == -ECANCELED && steps < 1000; steps++) {
		struct store *s = fixture_open(false);
		struct gc_result got;
		struct err err;

		if (!fixture_put_all(s, a) || !fixture_put_all(s, b) || fixture_seal(s, a, "a") < 0)
			abort();
		partial_remove(s, "a");
		c.left = steps;
		r = store_gc(s, roots_cancelling, cancel_gc, &c, &got, &err);
		cancelled += r == -ECANCELED;
		good += is_whole(s, a) && fixture_holds_invariant(s, b);
		store_close(s);
		s = fixture_open(false);
		good += is_whole(s, a) && fixture_holds_invariant(s, b);
		store_close(s);
		tree_remove(fixture_data);
	}
	ok(r == 0 && cancelled > 5, "gc cancelled at every step");
	ok(good == 2 * steps, "and each time nothing was torn");
	sample_free(a);
	sample_free(b);
}

static void test_refusals(void)
{
	struct sample *x = sample_new(8, &sample_small);
	struct store *s = fixture_open(false);
	struct roots roots = {.len = 1};
	struct gc_result got;
	char path[256], text[ID_TEXT_SIZE];

	roots.ids[0] = x->root;
	ok(fixture_put_all(s, x) && gc(s, &roots, &got) == -EBADMSG && is_whole(s, x),
	   "a root without its index: nothing is removed");
	ok(fixture_seal(s, x, "x") == 0, "seal it");
	partial_remove(s, "x");
	id_to_text(&x->root, text);
	(void)snprintf(path, sizeof(path), "%s/store/indexes/%s", fixture_data, text);
	ok(truncate(path, 100) == 0 && gc(s, &roots, &got) == -EBADMSG && is_whole(s, x),
	   "a root with a damaged one: nothing is removed");
	ok(fixture_seal(s, x, "x") == 0, "seal it again");
	partial_remove(s, "x");
	cache_clear(s);
	ok(truncate(fixture_pack_path(&x->packs[x->chunk_packs].id), 100) == 0 &&
		   gc(s, &roots, &got) == -EBADMSG &&
		   fixture_count_lacking(s, PACK_CHUNKS, x->chunks, x->chunks_len) == 0,
	   "a damaged pack of nodes: nothing is removed");
	ok(fixture_put_all(s, x) && gc(s, &roots, &got) == 0 && is_whole(s, x), "put again: goes");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(x);
}

/* ---- what is lost is said at once, and whose it is */

struct named {
	struct gc_root roots[4];
	size_t len;
};

static int give_named(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	const struct named *n = arg;

	(void)err;
	*ret = calloc(n->len, sizeof(**ret));
	if (!*ret)
		abort();
	memcpy(*ret, n->roots, n->len * sizeof(**ret));
	*ret_len = n->len;
	return 0;
}

static int gc_named(struct store *s, struct named *n, char ret_damage[static 2048],
		    struct err *ret_err)
{
	struct gc_result got;
	int r = store_gc(s, give_named, NULL, n, &got, ret_err);

	(void)snprintf(ret_damage, 2048, "%s", got.damage ? got.damage : "");
	free(got.damage);
	if (r < 0)
		printf("# %s\n# %s", ret_err->msg, ret_damage);
	return r;
}

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* A chunk that two versions have, and a third not. */
static void test_lost_chunk(void)
{
	struct sample *x = sample_new(11, &sample_small), *y = sample_new(12, &sample_small);
	struct store *s = fixture_open(false);
	struct named n = {
		.len = 4,
		.roots = {{.id = x->root, .of = "image 'web', version 3"},
			  {.id = y->root, .of = "image 'other', version 1"},
			  {.id = x->root, .of = "image 'web', version 4"},
			  {.id = x->root, .of = "image 'known', version 5", .may_lack = true}}};
	char damage[2048];
	struct err err = {0};

	if (!fixture_put_all(s, x) || !fixture_put_all(s, y) || fixture_seal(s, x, "x") < 0 ||
	    fixture_seal(s, y, "y") < 0)
		abort();
	partial_remove(s, "x");
	partial_remove(s, "y");
	cache_clear(s);
	if (unlink(fixture_pack_path(&x->packs[0].id)) < 0 ||
	    fixture_get(s, x, 0, x->chunks_len, NULL) == 0)
		abort();
	ok(gc_named(s, &n, damage, &err) == -EBADMSG && strstr(err.msg, "version 3") &&
		   strstr(err.msg, "version 4") && !strstr(err.msg, "'other'") &&
		   !strstr(err.msg, "'known'"),
	   "gc names all that need a lost chunk at once, and nobody else");
	ok(count_lines(damage) == 2 && strstr(damage, "version 3") && strstr(damage, "version 4"),
	   "and so does its report");
	ok(fixture_lacks(s, y) == 0 && fixture_get_nodes(s, x) == 0, "nothing was removed");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(x);
	sample_free(y);
}

static void test_lost_index(void)
{
	struct sample *x = sample_new(13, &sample_small);
	struct store *s = fixture_open(false);
	struct named n = {.len = 2,
			  .roots = {{.id = x->root,
				     .manifest = id_of("m", 1),
				     .of = "image 'web', version 3",
				     .remedy = "verify it"},
				    {.id = x->root, .of = "image 'web', version 4"}}};
	char path[256], root[ID_TEXT_SIZE], manifest[ID_TEXT_SIZE], damage[2048];
	struct err err = {0};

	id_to_text(&x->root, root);
	id_to_text(&n.roots[0].manifest, manifest);
	(void)snprintf(path, sizeof(path), "%s/store/indexes/%s", fixture_data, root);
	if (!fixture_put_all(s, x) || fixture_seal(s, x, "x") < 0)
		abort();
	partial_remove(s, "x");
	if (unlink(path) < 0)
		abort();
	ok(gc_named(s, &n, damage, &err) == -EBADMSG && strstr(err.msg, "image 'web', version 3") &&
		   strstr(err.msg, manifest) && strstr(err.msg, root) &&
		   strstr(err.msg, "verify it") && is_whole(s, x),
	   "an index that is gone: gc says whose it is, its manifest, and what to do");
	ok(count_lines(damage) == 2 && strstr(damage, "version 4") && strstr(damage, root),
	   "and whose else");
	n.roots[0].may_lack = n.roots[1].may_lack = true;
	ok(gc_named(s, &n, damage, &err) == -EBADMSG && is_whole(s, x),
	   "so it does for one that may lack data");
	n.roots[0].may_lack_index = n.roots[1].may_lack_index = true;
	ok(gc_named(s, &n, damage, &err) == 0 && fixture_lacks(s, x) == all_of(x),
	   "and goes on without one that is known to be lost");
	store_close(s);
	tree_remove(fixture_data);
	sample_free(x);
}

/* ---- with captures in other threads */

#define THREADS 3
#define ROUNDS	12
#define TRIES	(2 * THREADS * ROUNDS) /* there are fewer runs of gc, and one spoils one try */

struct capture {
	struct store *s;
	unsigned n;
	atomic_uint *good;
	atomic_uint *lost;  /* captures that ended and were not whole then */
	atomic_uint *ended; /* captures */
	atomic_bool *is_over;
};

/* As an agent does it: ask, send what lacks, again when told that something is gone; seal, and look. */
static bool capture_once(struct store *s, const struct sample *x, const char *key)
{
	for (int i = 0; i < TRIES; i++) {
		bool is_sent = true;

		for (size_t p = 0; p < x->packs_len && is_sent; p++) {
			const struct sample_pack *pack = &x->packs[p];
			struct err err;

			if (fixture_count_lacking(s, pack->kind, pack->ids, pack->count) == 0)
				continue;
			is_sent = store_put_pack(s, &pack->id, pack->data, pack->size, &err) == 0;
		}
		if (is_sent && fixture_seal(s, x, key) == 0)
			return true;
	}
	return false;
}

static void *capture_thread(void *arg)
{
	struct capture *c = arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct sample_shape shape = sample_small;
		struct sample *x;
		char key[32];

		shape.shared = 7 * (c->n + i) % 23;
		x = sample_new(100 + c->n * ROUNDS + i % 3, &shape);
		(void)snprintf(key, sizeof(key), "t%u.%u", c->n, i);
		if (capture_once(c->s, x, key))
			(void)atomic_fetch_add(is_whole(c->s, x) ? c->good : c->lost, 1);
		partial_remove(c->s, key);
		sample_free(x);
		(void)atomic_fetch_add(c->ended, 1);
	}
	return NULL;
}

/* Once for each capture that has ended: without a pause what is sent is gone before anything names it, again and again. */
static void *gc_thread(void *arg)
{
	struct capture *c = arg;
	unsigned seen = UINT_MAX;

	while (!atomic_load(c->is_over)) {
		struct roots none = {.len = 0};
		struct gc_result got;

		if (atomic_load(c->ended) == seen) {
			(void)usleep(500);
			continue;
		}
		seen = atomic_load(c->ended);
		if (gc(c->s, &none, &got) == 0)
			(void)atomic_fetch_add(c->good, 1);
	}
	return NULL;
}

static void test_concurrent(void)
{
	const struct store_options o = {.interval_ms = 20, .packs_max = 8, .recent_max = 50};
	atomic_uint good = 0, lost = 0, runs = 0, ended = 0;
	atomic_bool is_over = false;
	struct capture captures[THREADS + 1];
	pthread_t threads[THREADS + 1];
	struct store *s = NULL;
	struct err err;

	if (store_open_options(fixture_data, &o, &s, &err) < 0)
		abort();
	for (unsigned i = 0; i <= THREADS; i++) {
		captures[i] = (struct capture){s,     i,      i < THREADS ? &good : &runs,
					       &lost, &ended, &is_over};
		if (pthread_create(&threads[i], NULL, i < THREADS ? capture_thread : gc_thread,
				   &captures[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	atomic_store(&is_over, true);
	(void)pthread_join(threads[THREADS], NULL);
	ok(atomic_load(&lost) == 0, "gc takes nothing of what is sealed");
	ok(atomic_load(&good) == THREADS * ROUNDS, "captures go on while gc runs again and again");
	ok(atomic_load(&runs) > 1, "which it did");
	store_close(s);
	tree_remove(fixture_data);
}

int main(void)
{
	fixture_begin();
	test_simple();
	test_sealed_often();
	test_rewrite();
	test_rewritten_at_look_up();
	test_damaged();
	test_shadowed();
	test_meanwhile();
	test_cancel();
	test_refusals();
	test_lost_chunk();
	test_lost_index();
	test_concurrent();
	fixture_end();
	return done();
}
