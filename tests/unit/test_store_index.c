/* Partial indexes, sealed ones, manifests. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/root.h"
#include "server/store/partial.h"
#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

static void test_partial(struct store *s, const struct sample *x)
{
	struct partial *p = NULL, *q = NULL;
	struct err err = {0};
	struct id none = {{9}};

	ok(partial_open(s, "../x", 4096, &p, &err) == -EINVAL &&
		   partial_open(s, "", 4096, &p, &err) == -EINVAL &&
		   partial_open(s, ".a", 4096, &p, &err) == -EINVAL &&
		   partial_open(s, "a/b", 4096, &p, &err) == -EINVAL && !p,
	   "what is no key");
	ok(partial_open(s, "j.0", 0, &p, &err) == -EINVAL, "a disk of no bytes");
	ok(partial_open(s, "j.0", x->geometry.size, &p, &err) == 0, "open");
	ok(partial_open(s, "j.0", x->geometry.size, &q, &err) == -EBUSY && !q, "open it twice");
	ok(partial_set_one(p, x->windows, &x->nodes[0], &err) == -EINVAL &&
		   strstr(err.msg, "outside"),
	   "a window outside the disk");
	ok(partial_set_one(p, 0, &none, &err) == -ENODATA, "a node that is not there");
	ok(partial_set_one(p, 0, &x->chunks[0], &err) == -ENODATA, "a chunk instead of a node");
	ok(partial_set_one(p, 0, &x->nodes[0], &err) == 0, "set a window");
	partial_close(p);
	ok(partial_open(s, "j.0", x->geometry.size - 512, &p, &err) == -EINVAL, "another size");
	ok(partial_open(s, "j.short", x->geometry.size - 512, &p, &err) == 0 &&
		   partial_set_one(p, x->windows - 1, &x->nodes[0], &err) == -EINVAL &&
		   strstr(err.msg, "4193792"),
	   "a node of another length than the window");
	partial_close(p);
	partial_remove(s, "j.short");
}

/* What a power cut leaves of a new one: the first write counts, the room that was made before it does not. */
static void test_cut_partial(struct store *s, const struct sample *x)
{
	char path[sizeof(fixture_data) + 32];
	struct partial *p = NULL;
	struct id got[2];
	struct err err = {0};
	int fd;

	(void)snprintf(path, sizeof(path), "%s/jobs/j.cut.partial", fixture_data);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, &x->nodes[0], ID_SIZE) != ID_SIZE || x->windows < 2)
		abort();
	ok(partial_open(s, "j.cut", x->geometry.size, &p, &err) == 0 &&
		   partial_read(p, 0, 2, got, &err) == 0 && id_equal(&got[0], &x->nodes[0]) &&
		   id_is_zero(&got[1]),
	   "one that is shorter is gone on with: what it lacks is not known");
	partial_close(p);
	partial_remove(s, "j.cut");
	(void)close(fd);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)(x->windows + 1) * ID_SIZE) < 0)
		abort();
	ok(partial_open(s, "j.cut", x->geometry.size, &p, &err) == -EINVAL &&
		   strstr(err.msg, "j.cut.partial' was begun for a disk of another size"),
	   "one that is longer is not");
	(void)close(fd);
	partial_remove(s, "j.cut");
}

/* Windows in a row with one node, as empty ones are: a disk of 600, the last one short. */
static void test_runs(struct store *s, const struct sample *x)
{
	const struct geometry g = {599ull * WINDOW_SIZE + 4096, 512, 512};
	const struct window_range runs[] = {{0, 256}, {256, 256}, {513, 86}};
	const struct window_range wrong[] = {{590, 10}, {590, 11}, {0, 257},
					     {0, 0},	{600, 1},  {UINT64_MAX, 2}};
	struct id nodes[] = {x->nodes[0], x->nodes[0], x->nodes[1]};
	struct partial *p = NULL;
	struct seal_result got = {0};
	struct index_info info = {.geometry = g};
	struct err err = {0};
	bool refused = true;

	ok(partial_open(s, "j.runs", g.size, &p, &err) == 0 &&
		   partial_set(p, runs, nodes, 3, &err) == 0,
	   "set runs of windows");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct window_range w[] = {{512, 1}, wrong[i]};

		refused = refused && partial_set(p, w, nodes, 2, &err) == -EINVAL;
	}
	ok(refused, "runs that reach too far, into a short window, or nowhere");
	nodes[1].b[5] ^= 1;
	ok(partial_set(p, (struct window_range[]){{512, 1}, {512, 1}}, nodes, 2, &err) == -ENODATA,
	   "one of two nodes is not there");
	ok(partial_seal(p, &info, &x->root, &got, &err) == 0 && got.missing_len == 2 &&
		   got.missing[0].first == 512 && got.missing[0].count == 1 &&
		   got.missing[1].first == 599 && got.missing[1].count == 1,
	   "of what was refused nothing was set");
	seal_result_done(&got);
	partial_close(p);
	partial_remove(s, "j.runs");
}

static void test_missing(struct store *s, const struct sample *x)
{
	const struct index_info info = {.geometry = x->geometry};
	struct seal_result got = {0};
	struct partial *p = NULL;
	struct err err = {0};

	ok(partial_open(s, "j.0", x->geometry.size, &p, &err) == 0, "open again");
	ok(partial_set_one(p, 3, &x->nodes[3], &err) == 0, "set another window");
	ok(partial_seal(p, &info, &x->root, &got, &err) == 0 && got.missing_len == 2 &&
		   got.missing[0].first == 1 && got.missing[0].count == 2 &&
		   got.missing[1].first == 4 && got.missing[1].count == 2,
	   "seal names what is missing, and knows what was set before");
	seal_result_done(&got);
	partial_close(p);
}

static void test_seal(struct store *s, const struct sample *x)
{
	struct index_info info = {0};
	struct id ids[3] = {0};
	struct err err = {0};

	ok(fixture_seal(s, x, "j.0") == 0, "seal");
	ok(store_index_info(s, &x->root, &info, &err) == 0 &&
		   info.geometry.size == x->geometry.size && info.unreadable_len == 0,
	   "what the index says");
	ok(store_index_nodes(s, &x->root, 2, 3, ids, &err) == 0 &&
		   memcmp(ids, &x->nodes[2], sizeof(ids)) == 0,
	   "its nodes");
	ok(store_index_nodes(s, &x->root, 5, 2, ids, &err) == -EINVAL &&
		   store_index_nodes(s, &x->root, UINT64_MAX, 2, ids, &err) == -EINVAL &&
		   store_index_nodes(s, &x->root, x->windows, 0, ids, &err) == 0,
	   "nodes outside the disk");
	index_info_done(&info);
}

static void test_seal_unreadable(struct store *s, const struct sample *x)
{
	struct extent unreadable[2] = {{4096, 512}, {8192, 4096}};
	struct index_info info = {.geometry = x->geometry,
				  .unreadable = unreadable,
				  .unreadable_len = 2},
			  read = {0};
	struct seal_result got = {.missing_len = 7};
	struct partial *p = NULL;
	struct root_hash h;
	struct id root;
	struct err err = {0};

	root_init(&h, &x->geometry);
	for (uint32_t w = 0; w < x->windows; w++)
		root_add(&h, &x->nodes[w]);
	root = root_final(&h, unreadable, 2);
	ok(partial_open(s, "j.0", x->geometry.size, &p, &err) == 0 &&
		   partial_seal(p, &info, &x->root, &got, &err) == -ESTALE && got.missing_len == 7,
	   "a root that differs");
	ok(store_index_info(s, &root, &read, &err) == -ENOENT, "writes nothing");
	ok(partial_seal(p, &info, &root, &got, &err) == 0 && got.missing_len == 0 && !got.missing &&
		   got.data_bytes == x->data_bytes,
	   "the right one, with unreadable extents");
	ok(store_index_info(s, &root, &read, &err) == 0 && read.unreadable_len == 2 &&
		   read.unreadable[1].offset == 8192,
	   "which it keeps");
	info.geometry.size -= 512;
	ok(partial_seal(p, &info, &root, &got, &err) == -EINVAL, "a disk of another size");
	info.geometry.size += 512;
	unreadable[1].offset = 4096;
	ok(partial_seal(p, &info, &root, &got, &err) == -EINVAL, "extents that overlap");
	partial_close(p);
	index_info_done(&read);
}

static void flip(const char *path, off_t at)
{
	unsigned char c = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || pread(fd, &c, 1, at) != 1)
		abort();
	c ^= 4;
	if (pwrite(fd, &c, 1, at) != 1 || close(fd) != 0)
		abort();
}

static void test_damaged_index(struct store *s, const struct sample *x)
{
	char text[ID_TEXT_SIZE], path[256];
	struct index_info info = {0};
	struct err err = {0};

	id_to_text(&x->root, text);
	(void)snprintf(path, sizeof(path), "%s/store/indexes/%s", fixture_data, text);
	flip(path, 100);
	ok(store_index_info(s, &x->root, &info, &err) == -EBADMSG, "a damaged index is found");
	ok(access(path, F_OK) != 0 && store_index_info(s, &x->root, &info, &err) == -ENOENT,
	   "and is not there any more");
	ok(fixture_seal(s, x, "j.0") == 0 && store_index_info(s, &x->root, &info, &err) == 0,
	   "sealing writes it again");
	index_info_done(&info);
	ok(truncate(path, 300) == 0 && store_index_info(s, &x->root, &info, &err) == -EBADMSG,
	   "one cut short is found");
	ok(fixture_seal(s, x, "j.0") == 0 && truncate(path, 20) == 0 &&
		   store_index_nodes(s, &x->root, 0, 1, (struct id[1]){0}, &err) == -EBADMSG,
	   "and one with hardly anything left");
}

struct seen {
	size_t n;
	struct id last;
};

static int see_manifest(void *arg, const struct id *id, struct err *err)
{
	struct seen *seen = arg;

	(void)err;
	seen->n++;
	seen->last = *id;
	return 0;
}

static void test_manifests(struct store *s)
{
	struct seen seen = {0};
	struct id a = {{0}}, b = {{0}};
	struct err err = {0};
	char path[256], text[ID_TEXT_SIZE], *data = NULL;
	size_t size = 0;

	ok(store_put_manifest(s, "{\"a\":1}", 7, &a, &err) == 0 &&
		   store_put_manifest(s, "{\"b\":2}", 7, &b, &err) == 0,
	   "put manifests");
	ok(store_get_manifest(s, &a, &data, &size, &err) == 0 && size == 7 &&
		   strcmp(data, "{\"a\":1}") == 0,
	   "get one");
	free(data);
	ok(store_each_manifest(s, see_manifest, &seen, &err) == 0 && seen.n == 2, "get all");
	id_to_text(&a, text);
	(void)snprintf(path, sizeof(path), "%s/store/manifests/%s.json", fixture_data, text);
	flip(path, 2);
	data = NULL;
	ok(store_get_manifest(s, &a, &data, &size, &err) == -EBADMSG && !data, "a damaged one");
	seen.n = 0;
	ok(store_each_manifest(s, see_manifest, &seen, &err) == 0 && seen.n == 1 &&
		   id_equal(&seen.last, &b),
	   "the others are still there");
	ok(store_remove_manifest(s, &b, &err) == 0 &&
		   store_get_manifest(s, &b, &data, &size, &err) == -ENOENT,
	   "remove one");
	ok(store_remove_manifest(s, &b, &err) == 0, "twice");
}

/* The partial survives the process; its node may not. */
static void test_reopen(const struct sample *x)
{
	const struct index_info info = {.geometry = x->geometry};
	struct seal_result got = {0};
	struct partial *p = NULL;
	struct err err = {0};
	struct store *s = fixture_open(false);

	ok(partial_open(s, "k.1", x->geometry.size, &p, &err) == 0 &&
		   partial_set_one(p, 4, &x->nodes[4], &err) == 0,
	   "set a window");
	partial_close(p);
	store_close(s);
	s = fixture_open(false);
	ok(partial_open(s, "k.1", x->geometry.size, &p, &err) == 0 &&
		   partial_seal(p, &info, &x->root, &got, &err) == 0 && got.missing_len == 2 &&
		   got.missing[0].count == 4 && got.missing[1].first == 5,
	   "it is known after a restart");
	seal_result_done(&got);
	partial_close(p);
	partial_remove(s, "k.1");
	ok(partial_open(s, "k.1", 4096, &p, &err) == 0, "removed, it begins anew");
	partial_close(p);
	store_close(s);
}

int main(void)
{
	struct sample *x = sample_new(3, &sample_small);
	struct store *s;

	fixture_begin();
	s = fixture_open(false);
	ok(fixture_put_all(s, x), "put all packs");
	test_partial(s, x);
	test_cut_partial(s, x);
	test_runs(s, x);
	test_missing(s, x);
	test_seal(s, x);
	test_seal_unreadable(s, x);
	test_damaged_index(s, x);
	test_manifests(s);
	store_close(s);
	test_reopen(x);
	fixture_end();
	sample_free(x);
	return done();
}
