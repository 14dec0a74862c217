/* What one peer is told that it is there is there, whatever the store was doing for others at that moment, and however it ends then. */
#include <errno.h>
#include <fcntl.h>
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

#define SEED	    60
#define OBJECTS_MAX 64
#define BLOCKED_MS  300 /* a peer that has no answer by then waits for what its test holds up */

static struct sample *x;

static int no_roots(void *arg, struct gc_root **ret, size_t *ret_len, struct err *err)
{
	(void)arg;
	(void)err;
	*ret = NULL;
	*ret_len = 0;
	return 0;
}

/* Called before each operation of the store but those of a peer that is part of the test. */
struct hook {
	int (*fn)(struct hook *h, enum file_op op, const char *path);
	struct store *s;
	atomic_uint ops;
	unsigned at; /* number of the operation at which something happens */
	bool was_synced, was_renamed;
	struct db_reader *readers[DB_READERS];
	pthread_t thread;
	struct told *told;
	int sealed;
};

static _Thread_local bool is_peer;

static int call_hook(void *arg, enum file_op op, const char *path)
{
	struct hook *h = arg;

	return is_peer || !h->fn || op >= FILE_FORGET ? 0 : h->fn(h, op, path);
}

static struct store *open_hooked(struct hook *h)
{
	const struct store_options o = {.no_thread = true,
					.interval_ms = 1000,
					.packs_max = 1000,
					.recent_max = 40,
					.fault = call_hook,
					.fault_arg = h};
	struct err err = {0};

	if (store_open_options(fixture_data, &o, &h->s, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	return h->s;
}

/* ---- what peers were told, in memory shared with the parent */

struct told {
	atomic_bool chunks[OBJECTS_MAX], nodes[OBJECTS_MAX];
	atomic_bool is_over; /* the peer that told it */
};

static void note(struct told *t, const struct sample_pack *p)
{
	const struct id *all = p->kind == PACK_NODES ? x->nodes : x->chunks;
	size_t len = p->kind == PACK_NODES ? x->windows : x->chunks_len;
	atomic_bool *told = p->kind == PACK_NODES ? t->nodes : t->chunks;

	for (uint32_t i = 0; i < p->count; i++) {
		for (size_t n = 0; n < len; n++)
			if (id_equal(&all[n], &p->ids[i]))
				atomic_store(&told[n], true);
	}
}

/* Asks for each object, and sends the packs. */
static void be_peer(struct store *s, struct told *t)
{
	struct err err;
	uint8_t bit = 1;

	for (size_t i = 0; i < x->chunks_len; i++)
		if (store_lacks(s, PACK_CHUNKS, &x->chunks[i], 1, &bit, &err) == 0 && bit == 0)
			atomic_store(&t->chunks[i], true);
	for (size_t i = 0; i < x->windows; i++)
		if (store_lacks(s, PACK_NODES, &x->nodes[i], 1, &bit, &err) == 0 && bit == 0)
			atomic_store(&t->nodes[i], true);
	for (size_t i = 0; i < x->packs_len; i++) {
		const struct sample_pack *p = &x->packs[i];

		if (store_put_pack(s, &p->id, p->data, p->size, &err) == 0)
			note(t, p);
	}
	atomic_store(&t->is_over, true);
}

static unsigned count_told(const struct told *t)
{
	unsigned n = 0;

	for (size_t i = 0; i < OBJECTS_MAX; i++)
		n += atomic_load(&t->chunks[i]) + atomic_load(&t->nodes[i]);
	return n;
}

static bool is_told_there(struct store *s, const struct told *t)
{
	size_t lost = 0;

	for (size_t i = 0; i < x->chunks_len; i++)
		if (atomic_load(&t->chunks[i]))
			lost += fixture_count_lacking(s, PACK_CHUNKS, &x->chunks[i], 1);
	for (size_t i = 0; i < x->windows; i++)
		if (atomic_load(&t->nodes[i]))
			lost += fixture_count_lacking(s, PACK_NODES, &x->nodes[i], 1);
	if (lost > 0)
		printf("# %zu of %u objects are lost\n", lost, count_told(t));
	return lost == 0;
}

/* ---- killed within gc, and again before the next checkpoint */

static int die(struct hook *h, enum file_op op, const char *path)
{
	(void)op;
	(void)path;
	if (atomic_fetch_add(&h->ops, 1) + 1 == h->at)
		(void)kill(getpid(), SIGKILL);
	return 0;
}

/* In a child, whose store has all packs and no root: false when gc was over before `fn` has killed it. */
static bool dies_in_gc(int (*fn)(struct hook *h, enum file_op op, const char *path), unsigned at,
		       struct told *t)
{
	struct hook h = {.at = at, .told = t};
	struct gc_result got;
	struct err err;
	int status = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid > 0)
		return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status);
	(void)open_hooked(&h);
	if (!fixture_put_all(h.s, x) || store_checkpoint(h.s, &err) < 0)
		_exit(1);
	h.fn = fn;
	(void)!store_gc(h.s, no_roots, NULL, NULL, &got, &err);
	_exit(0);
}

static int fail_commits(struct hook *h, enum file_op op, const char *path)
{
	(void)h;
	(void)path;
	return op == FILE_COMMIT ? -EIO : 0;
}

/* One peer's checkpoint fails, so that it has no answer; what it has sent is in memory.  Another one asks. */
static void ask_and_die(struct told *t)
{
	struct hook h = {0};
	struct err err;
	int status = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid > 0) {
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
			abort();
		return;
	}
	(void)open_hooked(&h);
	h.fn = fail_commits;
	for (size_t i = 0; i < x->packs_len; i++)
		(void)!store_put_pack(h.s, &x->packs[i].id, x->packs[i].data, x->packs[i].size,
				      &err);
	h.fn = NULL;
	be_peer(h.s, t);
	(void)kill(getpid(), SIGKILL);
}

static void test_killed_in_gc(struct told *t)
{
	unsigned at, good = 0, told = 0;

	for (at = 1; at < 1000; at++) {
		struct store *s;

		tree_remove(fixture_data);
		memset(t, 0, sizeof(*t));
		if (!dies_in_gc(die, at, t))
			break;
		ask_and_die(t);
		told += count_told(t) == x->chunks_len + x->windows;
		s = fixture_open(false);
		if (is_told_there(s, t) && fixture_holds_invariant(s, x))
			good++;
		else
			printf("# killed at operation %u of gc\n", at);
		store_close(s);
	}
	ok(at > 5 && told == at - 1, "killed at each operation of gc, and sent again");
	ok(good == at - 1, "what a second peer was told is there outlives the next kill");
}

/* ---- sent again while gc runs, and killed */

static void *peer_thread(void *arg)
{
	struct hook *h = arg;

	is_peer = true;
	be_peer(h->s, h->told);
	return NULL;
}

static void wait_for_peer(struct hook *h)
{
	struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < BLOCKED_MS && !atomic_load(&h->told->is_over); i++)
		(void)nanosleep(&pause, NULL);
}

/* A peer comes, and when it has all its answers, or none for a while, that is the end. */
static int let_in_and_die(struct hook *h, enum file_op op, const char *path)
{
	pthread_t thread;

	(void)op;
	(void)path;
	if (atomic_fetch_add(&h->ops, 1) + 1 != h->at)
		return 0;
	if (pthread_create(&thread, NULL, peer_thread, h) != 0)
		_exit(2);
	wait_for_peer(h);
	(void)kill(getpid(), SIGKILL);
	return 0;
}

static void test_sent_in_gc(struct told *t)
{
	unsigned at, good = 0, told = 0;

	for (at = 1; at < 1000; at++) {
		struct store *s;

		tree_remove(fixture_data);
		memset(t, 0, sizeof(*t));
		if (!dies_in_gc(let_in_and_die, at, t))
			break;
		told += count_told(t) > 0;
		s = fixture_open(false);
		if (is_told_there(s, t) && fixture_holds_invariant(s, x))
			good++;
		else
			printf("# at operation %u of gc\n", at);
		store_close(s);
	}
	ok(at > 5 && told > 5, "sent again at each operation of gc, and killed");
	ok(good == at - 1, "what was acknowledged is there");
}

/* ---- a pack that was put away as damaged is sent again, and the power goes */

/* Until the row of the damaged one is gone, a start takes whatever has the pack's name for durable. */
static int note_order(struct hook *h, enum file_op op, const char *path)
{
	char copy[128], torn[256], text[ID_TEXT_SIZE];

	if (op == FILE_SYNC && strncmp(path, "tmp/", 4) == 0)
		h->was_synced = true;
	if (h->was_renamed &&
	    ++h->ops == 1) { /* the name is there; its bytes are if they were synced */
		(void)snprintf(copy, sizeof(copy), "%s/copy", fixture_dir);
		tree_copy(fixture_data, copy);
		id_to_text(&x->packs[0].id, text);
		(void)snprintf(torn, sizeof(torn), "%s/store/packs/%.2s/%s", copy, text, text);
		if (!h->was_synced && truncate(torn, 0) < 0)
			abort();
	}
	h->was_renamed = h->was_renamed || (op == FILE_RENAME && strncmp(path, "packs/", 6) == 0);
	return 0;
}

static void test_power_cut(void)
{
	struct hook h = {0};
	struct store *s;
	struct err err;
	char copy[128];

	tree_remove(fixture_data);
	s = open_hooked(&h);
	if (!fixture_put_all(s, x) || store_checkpoint(s, &err) < 0)
		abort();
	cache_clear(s);
	if (truncate(fixture_pack_path(&x->packs[0].id), 100) < 0 ||
	    fixture_get(s, x, 0, x->packs[0].count, NULL) == 0)
		abort();
	h.fn = note_order;
	ok(fixture_put(s, &x->packs[0]) == 0 && store_checkpoint(s, &err) == 0 && h.ops > 0,
	   "a damaged pack is sent again, and the power goes before the next checkpoint");
	h.fn = NULL;
	store_close(s);
	(void)snprintf(copy, sizeof(copy), "%s/copy", fixture_dir);
	s = fixture_open_at(copy, false);
	ok(fixture_holds_invariant(s, x) && fixture_put_all(s, x) &&
		   fixture_get(s, x, 0, x->chunks_len, NULL) == 0,
	   "what is said to be there can be had");
	store_close(s);
	tree_remove(copy);
}

/* ---- objects of a pack that cannot be read are sent again in another one, and killed */

static int fail_reads(struct hook *h, enum file_op op, const char *path)
{
	char bad[FILES_PATH_SIZE];

	(void)h;
	files_path_pack(bad, &x->packs[0].id);
	return op == FILE_READ && strcmp(path, bad) == 0 ? -EIO : 0;
}

/* The chunks of the first pack, in another order. */
static struct sample_pack other_pack(void)
{
	uint32_t n = x->packs[0].count, sizes[OBJECTS_MAX] = {0};
	uint8_t *data[OBJECTS_MAX] = {NULL};
	struct sample_pack p;

	for (uint32_t i = 0; i < n; i++) {
		sizes[i] = sample_small.chunk_size;
		data[i] = malloc(sizes[i]);
		sample_chunk(SEED, &sample_small, n - 1 - i, data[i]);
	}
	p = sample_pack(PACK_CHUNKS, (const uint8_t *const *)data, sizes, n, CODEC_ZSTD);
	for (uint32_t i = 0; i < n; i++)
		free(data[i]);
	return p;
}

static _Noreturn void send_other_and_die(struct hook *h)
{
	struct sample_pack other = other_pack();
	struct err err;

	(void)open_hooked(h);
	h->fn = NULL;
	if (!fixture_put_all(h->s, x) || store_checkpoint(h->s, &err) < 0)
		_exit(1);
	cache_clear(h->s);
	h->fn = fail_reads;
	if (fixture_get(h->s, x, 0, other.count, NULL) != -EIO || fixture_put(h->s, &other) < 0)
		_exit(1);
	(void)kill(getpid(), SIGKILL);
	_exit(1);
}

static void test_unreadable(void)
{
	struct hook h = {.fn = fail_reads};
	int status = 0;
	pid_t pid;

	tree_remove(fixture_data);
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0)
		send_other_and_die(&h);
	ok(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status),
	   "what cannot be read is sent again in another pack");
	(void)open_hooked(&h);
	ok(fixture_get(h.s, x, 0, x->packs[0].count, NULL) == 0, "and found there after a kill");
	store_close(h.s);
}

/* ---- a pack's file goes between its rename and its entry */

/* As gc, which was about to remove the pack of that name, or another peer that gave up. */
static void *remove_file(void *arg)
{
	struct hook *h = arg;
	pthread_mutex_t *folder_lock = &h->s->folder_locks[x->packs[0].id.b[0]];

	is_peer = true;
	(void)pthread_mutex_lock(folder_lock); /* until the peer has not been able to enter it */
	if (unlink(fixture_pack_path(&x->packs[0].id)) < 0)
		abort();
	(void)pthread_mutex_unlock(folder_lock);
	for (size_t i = 0; i < DB_READERS; i++)
		db_reader_put(&h->s->db, h->readers[i]); /* it may look at the index again */
	return NULL;
}

/* Something is lost meanwhile, so that the pack cannot be entered at once; and the peer's next look at the index waits. */
static int lose_at_rename(struct hook *h, enum file_op op, const char *path)
{
	struct err err;

	if (op != FILE_RENAME || strncmp(path, "packs/", 6) != 0 || h->was_renamed)
		return 0;
	h->was_renamed = true;
	(void)pthread_mutex_lock(&h->s->lock);
	h->s->epoch++;
	(void)pthread_mutex_unlock(&h->s->lock);
	for (size_t i = 0; i < DB_READERS; i++)
		if (db_reader_get(&h->s->db, &h->readers[i], &err) < 0)
			abort();
	if (pthread_create(&h->thread, NULL, remove_file, h) != 0)
		abort();
	return 0;
}

static void test_removed_between(void)
{
	struct hook h = {.fn = lose_at_rename};
	struct store *s;
	struct err err;

	tree_remove(fixture_data);
	s = open_hooked(&h);
	ok(fixture_put(s, &x->packs[0]) == 0 && h.was_renamed, "a pack whose file was removed");
	(void)pthread_join(h.thread, NULL);
	ok(store_checkpoint(s, &err) == 0 && access(fixture_pack_path(&x->packs[0].id), F_OK) == 0,
	   "before it was entered has one again");
	store_close(s);
	s = fixture_open(false);
	ok(fixture_get(s, x, 0, x->packs[0].count, NULL) == 0, "and can be had");
	store_close(s);
}

/* ---- what an index lacks comes while it is looked at, and never becomes durable */

static int come_and_go(struct hook *h, enum file_op op, const char *path)
{
	if (op == FILE_READ && strncmp(path, "indexes/", 8) == 0 && h->ops++ == 0) {
		is_peer = true;
		if (fixture_put(h->s, &x->packs[0]) < 0)
			abort();
		is_peer = false;
	}
	return h->ops > 0 && op == FILE_SYNC && strncmp(path, "packs/", 6) == 0 ? -EIO : 0;
}

static void test_checked(void)
{
	struct hook h = {0};
	struct id manifest;
	struct store *s;
	struct err err;

	tree_remove(fixture_data);
	s = open_hooked(&h);
	if (!fixture_put_all(s, x) || fixture_seal(s, x, "p") < 0)
		abort();
	cache_clear(s);
	if (truncate(fixture_pack_path(&x->packs[0].id), 100) < 0 ||
	    fixture_get(s, x, 0, x->packs[0].count, NULL) == 0 || store_checkpoint(s, &err) < 0)
		abort();
	ok(store_index_check(s, &x->root, &err) == -ENODATA, "an index that lacks something");
	h.fn = come_and_go;
	ok(store_index_check(s, &x->root, &err) == -EIO && h.ops > 0,
	   "what comes while it is looked at, and cannot be made durable, does not count");
	h.fn = NULL;
	ok(store_index_check(s, &x->root, &err) == -ENODATA, "the next look says so");
	ok(fixture_put_all(s, x) && store_index_check(s, &x->root, &err) == 0 &&
		   store_put_manifest(s, "{}", 2, &manifest, &err) == 0,
	   "until it is sent again");
	store_close(s);
}

static void store_path(char ret[static 256], const char *name)
{
	(void)snprintf(ret, 256, "%s/store/%s", fixture_data, name);
}

/* ---- an index that nobody needs, and that is needed at the moment when gc removes it */

static void *seal_thread(void *arg)
{
	struct hook *h = arg;

	is_peer = true;
	h->sealed = fixture_seal(h->s, x, "p");
	atomic_store(&h->told->is_over, true);
	return NULL;
}

static int seal_at_removal(struct hook *h, enum file_op op, const char *path)
{
	if (op != FILE_REMOVE || strncmp(path, "indexes/", 8) != 0 || h->ops++ > 0)
		return 0;
	if (pthread_create(&h->thread, NULL, seal_thread, h) != 0)
		abort();
	wait_for_peer(h);
	return 0;
}

static void test_sealed_in_gc(struct told *t)
{
	struct hook h = {.told = t, .sealed = -1};
	struct index_info info;
	struct gc_result got;
	struct store *s;
	struct err err;

	memset(t, 0, sizeof(*t));
	tree_remove(fixture_data);
	s = fixture_open(false);
	if (!fixture_put_all(s, x) || fixture_seal(s, x, "p") < 0)
		abort();
	store_close(s); /* it ends here, before anybody has noted the root */
	s = open_hooked(&h);
	h.fn = seal_at_removal;
	ok(store_gc(s, no_roots, NULL, NULL, &got, &err) == 0 && h.ops == 1,
	   "gc removes an index that nobody needs");
	(void)pthread_join(h.thread, NULL);
	ok(h.sealed == 0 && store_index_info(s, &x->root, &info, &err) == 0,
	   "the one that was sealed anew meanwhile is there");
	store_close(s);
}

/* ---- an index that is found damaged at the moment when another one of its root is sealed */

static int seal_at_quarantine(struct hook *h, enum file_op op, const char *path)
{
	if (op != FILE_RENAME || strncmp(path, "quarantine/", 11) != 0 || h->ops++ > 0)
		return 0;
	if (pthread_create(&h->thread, NULL, seal_thread, h) != 0)
		abort();
	wait_for_peer(h);
	return 0;
}

static void test_sealed_in_quarantine(struct told *t)
{
	struct hook h = {.told = t, .sealed = -1};
	struct index_info info;
	char path[256], name[100], root[ID_TEXT_SIZE];
	struct store *s;
	struct err err;

	memset(t, 0, sizeof(*t));
	tree_remove(fixture_data);
	s = open_hooked(&h);
	id_to_text(&x->root, root);
	(void)snprintf(name, sizeof(name), "indexes/%s", root);
	store_path(path, name);
	if (!fixture_put_all(s, x) || fixture_seal(s, x, "p") < 0 || truncate(path, 100) < 0)
		abort();
	h.fn = seal_at_quarantine;
	ok(store_index_info(s, &x->root, &info, &err) == -EBADMSG && h.ops == 1,
	   "an index that is damaged is put away");
	(void)pthread_join(h.thread, NULL);
	ok(h.sealed == 0 && store_index_info(s, &x->root, &info, &err) == 0,
	   "and not the one that was sealed meanwhile");
	store_close(s);
}

/* ---- gc that cannot remove what it took out */

static int fail_removals(struct hook *h, enum file_op op, const char *path)
{
	(void)h;
	return op == FILE_REMOVE && strncmp(path, "packs/", 6) == 0 ? -EIO : 0;
}

static size_t count_files(void)
{
	size_t n = 0;

	for (size_t i = 0; i < x->packs_len; i++)
		n += access(fixture_pack_path(&x->packs[i].id), F_OK) == 0;
	return n;
}

static void test_not_removed(void)
{
	struct hook h = {.fn = fail_removals};
	struct gc_result got;
	struct store *s;
	struct err err;

	tree_remove(fixture_data);
	s = open_hooked(&h);
	ok(fixture_put_all(s, x) && store_gc(s, no_roots, NULL, NULL, &got, &err) == -EIO &&
		   count_files() == x->packs_len,
	   "gc cannot remove files");
	store_close(s);
	s = fixture_open(false);
	ok(store_gc(s, no_roots, NULL, NULL, &got, &err) == 0 && count_files() == 0,
	   "after the next start it can");
	store_close(s);
}

/* ---- killed while the index was removed to be made anew */

/* An index that was closed in order, and one more pack that is in its log alone. */
static void leave_log(void)
{
	struct store *s;
	struct err err;
	int status = 0;
	pid_t pid;

	tree_remove(fixture_data);
	s = fixture_open(false);
	if (fixture_put(s, &x->packs[0]) < 0)
		abort();
	store_close(s);
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		s = fixture_open(false);
		if (!fixture_put_all(s, x) || store_checkpoint(s, &err) < 0)
			_exit(1);
		(void)kill(getpid(), SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		abort();
}

static void test_rebuild_killed(void)
{
	const struct store_options o = {.rebuild = true, .no_thread = true};
	char path[256];
	struct store *s = NULL;
	struct err err;

	leave_log();
	store_path(path, "objects.db");
	ok(unlink(path) == 0, "killed before the log was removed");
	s = fixture_open(false);
	ok(fixture_lacks(s, x) == 0, "the next start makes the index anew");
	store_close(s);
	leave_log();
	store_path(path, "objects.db-shm"); /* what cannot be removed ends it as well */
	if (unlink(path) < 0 || mkdir(path, 0700) < 0)
		abort();
	ok(store_open_options(fixture_data, &o, &s, &err) == -EISDIR, "killed after it was");
	if (rmdir(path) < 0)
		abort();
	s = fixture_open(false);
	ok(fixture_lacks(s, x) == 0, "the next start does so too");
	store_close(s);
}

int main(void)
{
	struct told *t =
		mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	x = sample_new(SEED, &sample_small);
	fixture_begin();
	test_killed_in_gc(t);
	test_sent_in_gc(t);
	test_power_cut();
	test_unreadable();
	test_removed_between();
	test_checked();
	test_sealed_in_gc(t);
	test_sealed_in_quarantine(t);
	test_not_removed();
	test_rebuild_killed();
	fixture_end();
	sample_free(x);
	(void)munmap(t, sizeof(*t));
	return done();
}
