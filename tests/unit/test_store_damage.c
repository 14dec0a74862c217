/* Damage of every kind is found, by verify and by reading; what is lost is not said to be there any more, can be sent again, and
 * then all is well. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

enum damage {
	FLIP_HEADER,
	FLIP_TABLE,
	FLIP_BODY,
	FLIP_END,
	CUT,
	EMPTY,
	LONGER,
	MISSING,
	SWAPPED,
	FOLDER, /* instead of the file */
	DAMAGES
};
static const char *const names[] = {
	"a bit of the header",
	"a bit of the table",
	"a bit of the body",
	"the last bit",
	"cut short",
	"empty",
	"longer",
	"missing",
	"two packs swapped",
	"a folder instead",
};

static void flip(const char *path, off_t at)
{
	unsigned char c = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || pread(fd, &c, 1, at) != 1)
		abort();
	c ^= 1;
	if (pwrite(fd, &c, 1, at) != 1 || close(fd) != 0)
		abort();
}

static void swap(const char *a, const char *b)
{
	if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) != 0)
		abort();
}

/* Damage pack `n`. */
static void damage(const struct sample *x, size_t n, enum damage how)
{
	const struct sample_pack *p = &x->packs[n];
	char path[300], other[300];
	int bad = 0;

	(void)snprintf(path, sizeof(path), "%s", fixture_pack_path(&p->id));
	(void)snprintf(
		other, sizeof(other), "%s",
		fixture_pack_path(&x->packs[n ^ 1].id)); /* its neighbour, of the same kind */
	switch (how) {
	case FLIP_HEADER:
		flip(path, 16);
		break;
	case FLIP_TABLE:
		flip(path, PACK_HEADER + 10);
		break;
	case FLIP_BODY:
		flip(path, (off_t)(PACK_HEADER + p->count * PACK_ENTRY + 30));
		break;
	case FLIP_END:
		flip(path, (off_t)p->size - 1);
		break;
	case CUT:
		bad = truncate(path, (off_t)p->size - 1);
		break;
	case EMPTY:
		bad = truncate(path, 0);
		break;
	case LONGER:
		bad = truncate(path, (off_t)p->size + 1);
		break;
	case MISSING:
		bad = unlink(path);
		break;
	case SWAPPED:
		swap(path, other);
		break;
	case FOLDER:
		bad = unlink(path) != 0 || mkdir(path, 0700) != 0;
		break;
	case DAMAGES:
		bad = 1;
	}
	if (bad)
		abort();
}

static struct store *open_with(const struct sample *x)
{
	struct store *s;

	tree_remove(fixture_data);
	s = fixture_open(false);
	if (!fixture_put_all(s, x) || fixture_seal(s, x, "x") < 0)
		abort();
	return s;
}

static uint64_t verify(struct store *s, const struct sample *x, char **ret_text)
{
	uint64_t n = 12345;
	struct err err = {0};

	*ret_text = NULL;
	if (store_verify(s, &x->root, NULL, NULL, &n, ret_text, &err) < 0) {
		printf("# %s\n", err.msg);
		return 54321;
	}
	return n;
}

/* Objects that pack n alone holds; with its neighbour when both are hit. */
static size_t objects_lost(const struct sample *x, size_t n, enum damage how)
{
	return x->packs[n].count + (how == SWAPPED ? x->packs[n ^ 1].count : 0);
}

static bool is_said_to_lack(struct store *s, const struct sample *x, size_t n)
{
	const struct sample_pack *p = &x->packs[n];

	return fixture_count_lacking(s, p->kind, p->ids, p->count) == p->count &&
	       fixture_holds_invariant(s, x);
}

static bool heals(struct store *s, const struct sample *x)
{
	char *text = NULL;
	bool good = fixture_put_all(s, x) && fixture_lacks(s, x) == 0 && verify(s, x, &text) == 0 &&
		    !text && fixture_get(s, x, 0, x->chunks_len, NULL) == 0;

	free(text);
	return good;
}

static void test_verify(const struct sample *x, size_t n, enum damage how)
{
	struct store *s = open_with(x);
	char *text = NULL, name[128];
	uint64_t found;
	bool good;

	(void)snprintf(name, sizeof(name), "verify finds %s: %s",
		       n < x->chunk_packs ? "chunks" : "nodes", names[how]);
	good = verify(s, x, &text) == 0 && !text;
	damage(x, n, how);
	found = verify(s, x, &text);
	good = good && found == objects_lost(x, n, how) && text && strstr(text, "packs/");
	free(text);
	good = good && is_said_to_lack(s, x, n);
	/* Told once; what is lost is still lost. */
	good = good && verify(s, x, &text) == found && text && !strstr(text, "packs/") &&
	       strstr(text, "is lost");
	free(text);
	ok(good, name);
	store_close(s);
	s = fixture_open(false);
	ok(store_start(s)->clean && is_said_to_lack(s, x, n), "and knows it after a start");
	ok(heals(s, x), "sent again, all is well");
	store_close(s);
	s = fixture_open(true);
	ok(store_start(s)->quarantined == 0 && fixture_lacks(s, x) == 0, "the packs say the same");
	store_close(s);
}

/* Read the objects of pack n, or all but its first. */
static int read_pack(struct store *s, const struct sample *x, size_t n, uint32_t skip)
{
	struct sample nodes = *x;
	uint32_t first = (uint32_t)n * 4;

	if (n < x->chunk_packs)
		return fixture_get(s, x, first + skip, first + x->packs[n].count, NULL);
	nodes.nodes = x->packs[n].ids + skip;
	nodes.windows = x->packs[n].count - skip;
	return fixture_get_nodes(s, &nodes);
}

/* Reading finds it, one way or the other, and never gives anything wrong. */
static void test_read(const struct sample *x, size_t n, enum damage how)
{
	struct store *s = open_with(x);
	char name[128];
	bool good;

	(void)snprintf(name, sizeof(name), "reading finds %s: %s",
		       n < x->chunk_packs ? "chunks" : "nodes", names[how]);
	damage(x, n, how);
	cache_clear(s);
	good = read_pack(s, x, n, 0) == -EBADMSG;
	good = good && read_pack(s, x, n, 0) == -ENOENT;
	if (how == SWAPPED)
		good = good && read_pack(s, x, n ^ 1, 0) == -EBADMSG;
	ok(good && is_said_to_lack(s, x, n), name);
	ok(heals(s, x), "sent again, all is well");
	store_close(s);
}

/* The same of some of the objects: decompressed and hashed piece by piece. */
static void test_read_some(const struct sample *x, size_t n, enum damage how)
{
	struct store *s = open_with(x);
	bool good;
	int r;

	damage(x, n, how);
	cache_clear(s);
	r = read_pack(s, x, n, 1);
	if (r == 0) /* what was asked for is intact */
		good = read_pack(s, x, n, 0) == -EBADMSG;
	else
		good = r == -EBADMSG;
	if (how == SWAPPED)
		good = good && read_pack(s, x, n ^ 1, 1) == -EBADMSG;
	ok(good && is_said_to_lack(s, x, n), "and so does reading some of it");
	store_close(s);
}

/* Nodes that lost a chunk come back with it, and gc ends the suspicion. */
static void test_suspicion(const struct sample *x)
{
	struct store *s = open_with(x);
	struct sample_shape shape = sample_small;
	struct sample *other = sample_new(77, &shape);
	char *text = NULL;

	ok(fixture_put_all(s, other), "another disk");
	damage(x, 0, FLIP_BODY);
	ok(verify(s, x, &text) == 4 && s->is_suspect, "chunks are lost");
	free(text);
	/* Chunks 0 to 3 are in window 0. */
	ok(fixture_count_lacking(s, PACK_NODES, x->nodes, x->windows) == 1 &&
		   fixture_count_lacking(s, PACK_NODES, other->nodes, other->windows) == 0,
	   "only the node that lost them is not there");
	ok(fixture_put(s, &x->packs[0]) == 0 &&
		   fixture_count_lacking(s, PACK_NODES, x->nodes, x->windows) == 0,
	   "with the chunks it comes back");
	store_close(s);
	s = fixture_open(false);
	ok(s->is_suspect && fixture_lacks(s, x) == 0, "the suspicion outlives the process");
	store_close(s);
	sample_free(other);
}

static int no_roots(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	(void)arg;
	(void)err;
	*ret = NULL;
	*ret_len = 0;
	return 0;
}

static void test_suspicion_ends(const struct sample *x)
{
	struct store *s = open_with(x);
	struct gc_result got;
	struct err err = {0};
	char *text = NULL;

	damage(x, 0, MISSING);
	ok(verify(s, x, &text) == 4 && s->is_suspect, "chunks are lost");
	free(text);
	ok(store_gc(s, no_roots, NULL, NULL, &got, &err) == 0 && !s->is_suspect &&
		   got.objects_removed == 1,
	   "gc removes the node that lost them, and the suspicion");
	ok(fixture_count_lacking(s, PACK_NODES, x->nodes, x->windows) == 1 &&
		   fixture_holds_invariant(s, x),
	   "which is not there");
	store_close(s);
	s = fixture_open(false);
	ok(!s->is_suspect && fixture_count_lacking(s, PACK_NODES, x->nodes, x->windows) == 1,
	   "also after a start");
	ok(heals(s, x), "sent again, all is well");
	store_close(s);
}

static void test_index(const struct sample *x)
{
	struct store *s = open_with(x);
	struct sample none = *x;
	char path[300], id[ID_TEXT_SIZE], *text = NULL;

	id_to_text(&x->root, id);
	(void)snprintf(path, sizeof(path), "%s/store/indexes/%s", fixture_data, id);
	flip(path, 80);
	ok(verify(s, x, &text) == 1 && text && strstr(text, "indexes/"), "a damaged index");
	free(text);
	memset(&none.root, 1, sizeof(none.root));
	ok(verify(s, &none, &text) == 1 && text, "an index that is not there");
	free(text);
	store_close(s);
}

/* A chunk at a new place on the disk is not taken for the old one. */
static void test_damaged_db(const struct sample *x)
{
	struct store *s = open_with(x), *t = NULL;
	char path[300];
	struct err err = {0};

	store_close(s);
	(void)snprintf(path, sizeof(path), "%s/store/objects.db", fixture_data);
	for (off_t at = 0; at < 100; at++)
		flip(path, at);
	ok(store_open(fixture_data, false, &t, &err) == -EUCLEAN &&
		   strstr(err.msg, "--rebuild-index"),
	   "a damaged object index is refused");
	s = fixture_open(true);
	ok(store_start(s)->taken_in == x->packs_len && fixture_lacks(s, x) == 0, "and rebuilt");
	store_close(s);
	(void)unlink(path);
	s = fixture_open(false);
	ok(fixture_lacks(s, x) == 0, "one that is gone is made anew");
	store_close(s);
}

static void run_sql(const char *sql)
{
	char path[300];
	sqlite3 *db = NULL;

	(void)snprintf(path, sizeof(path), "%s/store/objects.db", fixture_data);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK || sqlite3_changes(db) != 1) {
		printf("# %s: %s\n", sql, sqlite3_errmsg(db));
		abort();
	}
	(void)sqlite3_close(db);
}

/* The slot of the first record of what is recent. */
#define RECENT_SLOT                                                                          \
	"UPDATE recent SET objects=CAST(substr(objects,1,37)||x'09'||substr(objects,39) AS " \
	"BLOB) WHERE seq=(SELECT min(seq) FROM recent)"

/* One object's row of the index says what is not true, or is gone: it counts as lost, never as being elsewhere. */
static void test_row(const struct sample *x, const char *sql, uint64_t lost)
{
	struct store *s = open_with(x);
	struct gc_result got;
	struct err err;
	char *text = NULL;

	if (strstr(sql, "recent") == NULL) { /* gc merges the rows into the tables */
		ok(fixture_seal(s, x, "keeps.0") == 0 &&
			   store_gc(s, no_roots, NULL, NULL, &got, &err) == 0,
		   "merged");
	}
	store_close(s);
	run_sql(sql);
	printf("# %s\n", sql);
	s = fixture_open(false);
	ok(verify(s, x, &text) == lost && text, "verify finds it");
	free(text);
	ok(fixture_count_lacking(s, PACK_NODES, x->nodes, x->windows) >= 1,
	   "its node is not said to be there, so it is sent again");
	ok(heals(s, x), "and then all is well");
	store_close(s);
}

/* The row of a pack is gone, and the pack is not: the image is whole, and said to be so once the index is. */
static void test_unlisted(const struct sample *x, const char *kind)
{
	struct store *s = open_with(x);
	struct err err = {0};
	uint64_t damaged = 0;
	char *text = NULL, sql[200];

	store_close(s);
	(void)snprintf(sql, sizeof(sql),
		       "DELETE FROM packs WHERE num=(SELECT min(num) FROM packs WHERE kind=%s)",
		       kind);
	run_sql(sql);
	s = fixture_open(false);
	ok(store_verify(s, &x->root, NULL, NULL, &damaged, &text, &err) == -EUCLEAN && !text &&
		   strstr(err.msg, "packs/") && strstr(err.msg, "--rebuild-index"),
	   "a pack that is there and not in the index: verify blames the index");
	printf("# %s\n", err.msg);
	store_close(s);
	s = fixture_open(true);
	ok(verify(s, x, &text) == 0 && !text, "and finds nothing once it was made anew");
	store_close(s);
}

/* Rows are gone and their pack is not, as when the server was killed within gc: what is sent again and acknowledged is there, also when it is killed next. */
static void test_row_anew(const struct sample *x, const char *table)
{
	struct store *s = open_with(x);
	struct gc_result got;
	struct err err;
	char sql[200];
	int status = 0;
	pid_t pid;

	ok(fixture_seal(s, x, "keeps.0") == 0 && store_gc(s, no_roots, NULL, NULL, &got, &err) == 0,
	   "merged");
	store_close(s);
	(void)snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE id=(SELECT id FROM %s LIMIT 1)",
		       table, table);
	run_sql(sql);
	printf("# %s\n", sql);
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		s = fixture_open(false);
		if (fixture_lacks(s, x) == 0 || !fixture_put_all(s, x))
			_exit(1);
		(void)kill(getpid(), SIGKILL);
	}
	ok(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "sent again, and killed");
	s = fixture_open(false);
	ok(fixture_lacks(s, x) == 0, "it is there");
	store_close(s);
}

static void test_rows(const struct sample *x)
{
	static const char *const changes[] = {"pack=pack+1", "slot=slot+1", "length=length+4096",
					      "sum=sum+1"};
	char sql[200];

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		for (int node = 0; node < 2; node++) {
			const char *table = node ? "nodes" : "chunks";

			(void)snprintf(sql, sizeof(sql),
				       "UPDATE %s SET %s WHERE id=(SELECT id FROM %s LIMIT 1)",
				       table, changes[i], table);
			test_row(x, sql, 1);
		}
	}
	test_row(x, "DELETE FROM chunks WHERE id=(SELECT id FROM chunks LIMIT 1)", 1);
	test_row(x, RECENT_SLOT, 1);
	test_unlisted(x, "1");
	test_unlisted(x, "2");
	test_row_anew(x, "chunks");
	test_row_anew(x, "nodes");
}

/* ---- gc does not make final what can be mended */

struct root {
	const struct sample *x;
	bool may_lack;
};

static int one_root(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	const struct root *r = arg;

	(void)err;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		abort();
	**ret = (struct gc_root){
		.id = r->x->root, .may_lack = r->may_lack, .of = "image 'web', version 3"};
	*ret_len = 1;
	return 0;
}

static int gc_of(struct store *s, const struct sample *x, bool may_lack, struct err *ret_err)
{
	struct root root = {x, may_lack};
	struct gc_result got;
	int r = store_gc(s, one_root, NULL, &root, &got, ret_err);

	free(got.damage);
	if (r < 0)
		printf("# %s\n", ret_err->msg);
	return r;
}

/* A row in the tables says what is not true, and nobody but gc looks at it. */
static void test_gc_row(const struct sample *x, const char *sql, int want)
{
	struct store *s = open_with(x);
	struct err err = {0};
	int r;

	partial_remove(s, "x");
	if (strstr(sql, "recent") == NULL && gc_of(s, x, false, &err) < 0)
		abort(); /* which merges them into the tables */
	store_close(s);
	run_sql(sql);
	printf("# %s\n", sql);
	s = fixture_open(false);
	r = gc_of(s, x, false, &err);
	ok(r == want && strstr(err.msg, "nothing was removed") &&
		   strstr(err.msg, "--rebuild-index"),
	   "gc stops at it");
	ok(want != -EBADMSG || strstr(err.msg, "image 'web', version 3"), "and says whose it is");
	store_close(s);
	s = fixture_open(true);
	ok(fixture_lacks(s, x) == 0 && fixture_get_nodes(s, x) == 0 &&
		   fixture_get(s, x, 0, x->chunks_len, NULL) == 0,
	   "an index that is made anew finds all of it");
	ok(gc_of(s, x, false, &err) == 0 && fixture_lacks(s, x) == 0, "and gc goes on");
	store_close(s);
}

static void test_gc_rows(const struct sample *x)
{
	static const char *const changes[] = {"pack=pack+1", "slot=slot+1", "length=length+4096",
					      "sum=sum+1"};
	char sql[200];

	for (int node = 0; node < 2; node++) {
		const char *table = node ? "nodes" : "chunks";

		for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
			(void)snprintf(sql, sizeof(sql),
				       "UPDATE %s SET %s WHERE id=(SELECT id FROM %s LIMIT 1)",
				       table, changes[i], table);
			test_gc_row(x, sql, -EUCLEAN);
		}
		(void)snprintf(sql, sizeof(sql),
			       "DELETE FROM %s WHERE id=(SELECT id FROM %s LIMIT 1)", table, table);
		test_gc_row(x, sql, -EBADMSG);
	}
	test_gc_row(x, RECENT_SLOT, -EUCLEAN);
}

/* What a row of packs says concerns all objects in it: one that has turned is found before anything is done by it.  `is_clean`: after a start that compares nothing. */
static void test_pack_row(const struct sample *x, const char *change, const char *which,
			  bool is_clean)
{
	struct store *s = open_with(x), *t = NULL;
	struct err err = {0};
	char sql[200];

	partial_remove(s, "x");
	store_close(s);
	(void)snprintf(sql, sizeof(sql),
		       "UPDATE packs SET %s WHERE num=(SELECT %s(num) FROM packs)", change, which);
	run_sql(sql);
	if (!is_clean)
		run_sql("UPDATE meta SET value=0 WHERE key=0");
	printf("# %s\n", sql);
	ok(store_open(fixture_data, false, &t, &err) == -EUCLEAN && !t &&
		   strstr(err.msg, "row of pack number") && strstr(err.msg, "--rebuild-index"),
	   "a start refuses it");
	store_close(t);
	s = fixture_open(true);
	ok(store_start(s)->taken_in == x->packs_len && store_start(s)->quarantined == 0 &&
		   fixture_lacks(s, x) == 0 && fixture_get(s, x, 0, x->chunks_len, NULL) == 0 &&
		   gc_of(s, x, false, &err) == 0 && fixture_lacks(s, x) == 0,
	   "an index that is made anew has lost nothing");
	store_close(s);
}

/* The same when it happens under a server that runs: nobody is told that something is there, or is not, and no pack is put away. */
static void test_pack_row_later(const struct sample *x, const char *change)
{
	struct store *s = open_with(x);
	struct err err = {0};
	uint8_t bits[64];
	char sql[200], *text = NULL;
	uint64_t found;

	partial_remove(s, "x");
	cache_clear(s);
	(void)snprintf(sql, sizeof(sql), "UPDATE packs SET %s WHERE num=1", change);
	run_sql(sql);
	printf("# %s, later\n", sql);
	ok(store_verify(s, &x->root, NULL, NULL, &found, &text, &err) == -EUCLEAN,
	   "verify does not call it damage");
	ok(fixture_get(s, x, 0, 4, NULL) == -EUCLEAN, "reading says what it is");
	ok(gc_of(s, x, false, &err) == -EUCLEAN, "gc removes nothing");
	ok(store_lacks(s, PACK_CHUNKS, x->chunks, 4, bits, &err) == 0 && bits[0] == 0,
	   "what was taken in stays");
	store_close(s);
	s = fixture_open(true);
	ok(store_start(s)->quarantined == 0 && fixture_lacks(s, x) == 0, "and was never put away");
	store_close(s);
}

static void test_pack_rows(const struct sample *x)
{
	static const char *const changes[] = {
		"id=CAST(substr(id,1,31)||x'07' AS BLOB)",
		"num=num+1000",
		"num=num+4294967296",
		"kind=3-kind",
		"count=count+1",
		"count=count-1",
		"size=size+1",
		"plain=plain*4",
		"plain=plain/2",
		"sum=sum+1",
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		test_pack_row(x, changes[i], "min", true);
		test_pack_row(x, changes[i], "max", false);
	}
	for (size_t i = 3; i < sizeof(changes) / sizeof(changes[0]); i++)
		test_pack_row_later(x, changes[i]);
}

/* Its row is gone: what was in it is lost to the index alone. */
static void test_pack_row_gone(const struct sample *x)
{
	struct store *s = open_with(x);
	struct err err = {0};

	partial_remove(s, "x");
	store_close(s);
	run_sql("DELETE FROM packs WHERE num=(SELECT min(num) FROM packs)");
	s = fixture_open(false);
	ok(fixture_count_lacking(s, PACK_CHUNKS, x->chunks, x->chunks_len) == x->packs[0].count &&
		   fixture_get(s, x, 0, 4, NULL) == -ENOENT,
	   "a pack without its row is not there");
	ok(gc_of(s, x, false, &err) == -EBADMSG && strstr(err.msg, "--rebuild-index"),
	   "gc removes nothing, and says what may help");
	ok(heals(s, x), "sent again, all is well");
	store_close(s);
}

/* Are there rows that were not merged into the tables? */
static bool is_any_recent(void)
{
	char path[300];
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	bool is_any;

	(void)snprintf(path, sizeof(path), "%s/store/objects.db", fixture_data);
	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_prepare_v2(db, "SELECT 1 FROM recent", -1, &s, NULL) != SQLITE_OK)
		abort();
	is_any = sqlite3_step(s) == SQLITE_ROW;
	(void)sqlite3_finalize(s);
	(void)sqlite3_close(db);
	return is_any;
}

/* Merging forgets a damaged row of what was recent, and gc must not take for unused what it has lost. */
static void test_gc_merged(const struct sample *x, const char *sql)
{
	const struct store_options merging = {.no_thread = true, .packs_max = 256, .recent_max = 1};
	struct sample *other = sample_new(78, &sample_small);
	struct store *s = open_with(x);
	struct err err = {0};

	partial_remove(s, "x");
	store_close(s);
	run_sql(sql);
	printf("# %s\n", sql);
	if (store_open_options(fixture_data, &merging, &s, &err) < 0)
		abort();
	ok(store_start(s)->index_is_bad, "a start says that the index is damaged");
	ok(fixture_put_all(s, other), "another disk comes");
	store_close(s);
	ok(!is_any_recent(), "and what was recent is merged");
	s = fixture_open(false);
	ok(store_start(s)->clean && store_start(s)->index_is_bad &&
		   gc_of(s, x, true, &err) == -EUCLEAN && strstr(err.msg, "--rebuild-index"),
	   "the next start still says so, and gc");
	store_close(s);
	s = fixture_open(true);
	ok(!store_start(s)->index_is_bad && fixture_lacks(s, x) == 0 &&
		   gc_of(s, x, false, &err) == 0 && fixture_lacks(s, x) == 0,
	   "until the index is made anew, which finds all");
	store_close(s);
	s = fixture_open(false);
	ok(!store_start(s)->index_is_bad, "and the one after that does not");
	store_close(s);
	sample_free(other);
}

/* A pack that is really gone: known or not. */
static void test_gc_lost(const struct sample *x, size_t n)
{
	struct store *s = open_with(x);
	struct err err = {0};
	char *text = NULL;

	partial_remove(s, "x");
	damage(x, n, MISSING);
	if (verify(s, x, &text) == 0)
		abort();
	free(text);
	ok(gc_of(s, x, false, &err) == -EBADMSG && strstr(err.msg, "image 'web', version 3"),
	   n == 0 ? "chunks that are lost end gc" : "and so do nodes");
	ok(fixture_count_lacking(s, PACK_CHUNKS, x->chunks, x->chunks_len) ==
		   (n == 0 ? x->packs[0].count : 0),
	   "which removes nothing");
	ok(gc_of(s, x, true, &err) == 0, "of an image that is known to be damaged they do not");
	ok(heals(s, x) && gc_of(s, x, false, &err) == 0 && fixture_lacks(s, x) == 0,
	   "sent again, all is well");
	store_close(s);
}

static void test_damage(const struct sample *x, enum damage how)
{
	test_verify(x, 0, how);
	test_verify(x, x->chunk_packs, how);
	test_read(x, 2, how);
	test_read(x, x->chunk_packs + 1, how);
	test_read_some(x, 2, how);
	test_read_some(x, x->chunk_packs + 1, how);
}

int main(void)
{
	struct sample_shape shape = sample_small;
	struct sample *x = sample_new(20, &shape), *stored;

	shape.is_stored = true;
	stored = sample_new(21, &shape);
	fixture_begin();
	for (enum damage how = 0; how < DAMAGES; how++)
		test_damage(x, how);
	test_damage(stored, SWAPPED);
	test_damage(stored, FLIP_BODY);
	test_suspicion(x);
	test_suspicion_ends(x);
	test_index(x);
	test_damaged_db(x);
	test_rows(x);
	test_gc_rows(x);
	test_pack_rows(x);
	test_pack_row_gone(x);
	test_gc_merged(x, RECENT_SLOT);
	test_gc_merged(x, "UPDATE recent SET objects=CAST(substr(objects,1,length(objects)-9) AS "
			  "BLOB) WHERE seq=(SELECT max(seq) FROM recent)");
	test_gc_lost(x, 0);
	test_gc_lost(x, x->chunk_packs);
	fixture_end();
	sample_free(x);
	sample_free(stored);
	return done();
}
