/* The commit of a capture, ended by a crash after each of its steps, and two at once; what is told to whom after a restart. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/fleet/private.h"
#include "server/state/sqlite.h"
#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

#define MACHINE_A "0000000000000000000000000000000a"
#define MACHINE_B "0000000000000000000000000000000b"
#define KEY	  "sample"

static char path[128];
static struct sample *sample;
static struct state *state;
static struct store *store;
static struct fleet *fleet;
static struct err err;

/* At the next start: of the store's files, and of the state. */
static files_fault_fn fault;
static bool is_state_full;

/* It takes nothing any more, as on a disk that is full. */
static void fill_state(bool is_full)
{
	if (sqlite3_exec(state->db, is_full ? "PRAGMA query_only = 1" : "PRAGMA query_only = 0",
			 NULL, NULL, NULL) != SQLITE_OK)
		abort();
}

static void open_all(void)
{
	struct fleet_config config = {.poll_s = 1, .stall_s = 100, .away_s = 100};
	bool is_new;

	store = fixture_open(false);
	store->files.fault = fault;
	if (state_open(path, &state, &is_new, &err) < 0)
		abort();
	if (is_state_full)
		fill_state(true);
	config.state = state;
	config.store = store;
	if (fleet_open(&config, &fleet, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
}

static void close_all(void)
{
	fleet_stop(fleet);
	fleet_close(fleet);
	store_close(store);
	state_close(state);
}

/* All that is not on disk is lost; what a killed server would have written later, too. */
static void restart(void)
{
	close_all();
	open_all();
}

static void enrol(const char *machine)
{
	CLEANUP_JSON json_t *inventory = json_pack(
		"{s:[{s:s, s:I, s:i, s:b, s:b, s:s}]}", "disks", "id", "file:a", "size",
		(json_int_t)sample->geometry.size, "sector_size", 512, "read_only", 0, "empty", 1,
		"fingerprint", "0000000000000000000000000000000000000000000000000000000000000000");
	struct registration reg = {.token = machine,
				   .machine = machine,
				   .name = machine,
				   .agent_version = "1",
				   .address = "x",
				   .inventory = inventory};
	struct token_row t = {.uses = 1, .uses_left = 1};
	struct id hash = id_of(machine, strlen(machine));
	char secret[SECRET_TEXT_SIZE];
	unsigned retry_s = 0;

	(void)snprintf(t.id, sizeof(t.id), "%s", machine + 26);
	if (state_add_token(state, &t, &hash, &err) < 0 ||
	    fleet_register(fleet, &reg, secret, &retry_s, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
}

static void order(const char *machine, char ret_job[static JOB_ID_SIZE])
{
	CLEANUP_JSON json_t *body =
		json_pack("{s:s, s:s, s:s}", "kind", "capture", "machine", machine, "image", "web");
	CLEANUP_JSON json_t *job = NULL;

	if (fleet_create_job(fleet, body, &job, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	(void)snprintf(ret_job, JOB_ID_SIZE, "%s", json_string_value(json_object_get(job, "id")));
}

/* All but `done`. */
static void capture(const char *machine, const char *id)
{
	struct job_disk_row sealed = {.geometry = sample->geometry,
				      .root = sample->root,
				      .data_bytes = sample->data_bytes};
	struct index_info info = {.geometry = sample->geometry};
	struct seal_result result = {0};
	struct partial *p = NULL;
	struct job *j = NULL;
	int r;

	r = fleet_acquire(fleet, machine, id, JOB_CAPTURE, &j, &err);
	if (r == 0)
		r = job_get_partial(fleet, j, 0, &p, &err);
	for (uint32_t i = 0; r == 0 && i < sample->windows; i++)
		r = partial_set_one(p, i, &sample->nodes[i], &err);
	if (r == 0)
		r = partial_seal(p, &info, &sample->root, &result, &err);
	if (r == 0)
		r = job_set_sealed(fleet, j, 0, &sealed, &err);
	if (r < 0 || result.missing_len > 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	fleet_release(fleet, j);
}

static json_t *say_root(const char *disk_key, const char *key, const struct id *root)
{
	char text[ID_TEXT_SIZE];

	id_to_text(root, text);
	return json_pack("{s:[{s:s, s:s}]}", "disks", disk_key, "file:a", key, text);
}

/* The agent says that a capture is done, as it has read it. */
static int says_done(const char *machine, const char *id)
{
	CLEANUP_JSON json_t *report = say_root("disk", "root", &sample->root);

	return fleet_job_done(fleet, machine, id, report, &err);
}

static bool shows(const char *id, const char *want_state, int want_version)
{
	CLEANUP_JSON json_t *job = NULL;
	const char *got;

	if (fleet_show_job(fleet, id, 0, 0, &job, &err) < 0) {
		printf("# %s\n", err.msg);
		return false;
	}
	got = json_string_value(json_object_get(job, "state"));
	if (strcmp(got, want_state) == 0 &&
	    json_integer_value(json_object_get(job, "version")) == want_version)
		return true;
	printf("# is %s, version %d\n", got,
	       (int)json_integer_value(json_object_get(job, "version")));
	return false;
}

static size_t versions(void)
{
	CLEANUP_JSON json_t *image = NULL;

	if (fleet_show_image(fleet, "web", &image, &err) < 0)
		return 0;
	return json_array_size(json_object_get(image, "versions"));
}

static int count(void *arg, const struct id *id, struct err *ret_err)
{
	(void)id;
	(void)ret_err;
	++*(size_t *)arg;
	return 0;
}

static size_t manifests(void)
{
	size_t n = 0;

	(void)!store_each_manifest(store, count, &n, &err);
	return n;
}

/* ---- */

static void test_plain(void)
{
	CLEANUP_JSON json_t *report = say_root("disk", "root", &sample->root);
	CLEANUP_JSON json_t *without = json_pack("{s:[{s:s}]}", "disks", "disk", "file:a");
	char id[JOB_ID_SIZE];

	order(MACHINE_A, id);
	ok(fleet_job_done(fleet, MACHINE_A, id, report, &err) == API_INCOMPLETE,
	   "done before the disk is sealed");
	capture(MACHINE_A, id);
	ok(fleet_job_done(fleet, MACHINE_B, id, report, &err) == API_NOT_FOUND,
	   "done by another machine");
	restart();
	ok(shows(id, "running", 0), "a sealed disk outlives a restart");
	ok(fleet_job_done(fleet, MACHINE_A, id, without, &err) == API_BAD_REQUEST &&
		   fleet_job_done(fleet, MACHINE_A, id, NULL, &err) == API_BAD_REQUEST &&
		   shows(id, "running", 0),
	   "done without the root of what was read is refused");
	printf("# %s\n", err.msg);
	ok(fleet_job_done(fleet, MACHINE_A, id, report, &err) == 0 && shows(id, "done", 1), "done");
	ok(fleet_job_done(fleet, MACHINE_A, id, report, &err) == 0, "done again");
	ok(versions() == 1 && manifests() == 1, "one version, one manifest");
	restart();
	ok(fleet_job_done(fleet, MACHINE_A, id, report, &err) == 0, "and again after a restart");
	ok(fleet_job_failed(fleet, MACHINE_A, id, "x", "y", NULL, &err) == API_CONFLICT,
	   "but it cannot fail any more");
	ok(versions() == 1 && manifests() == 1, "still one");
}

static char reason[512]; /* of the end of the job that does() has done */

/* A job without a machine, to its end. */
static bool does(const char *kind)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", kind), *job = NULL;
	char id[JOB_ID_SIZE];

	if (fleet_create_job(fleet, body, &job, &err) < 0) {
		printf("# %s\n", err.msg);
		return false;
	}
	(void)snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(job, "id")));
	for (int i = 0; i < 600; i++) {
		CLEANUP_JSON json_t *now = NULL;
		const char *is;

		if (fleet_show_job(fleet, id, 0, 0, &now, &err) < 0)
			return false;
		is = json_string_value(json_object_get(now, "state"));
		if (strcmp(is, "running") == 0 || strcmp(is, "waiting") == 0) {
			(void)usleep(100000);
			continue;
		}
		is = json_string_value(json_object_get(now, "message"));
		(void)snprintf(reason, sizeof(reason), "%s", is ? is : "");
		return shows(id, "done", 0);
	}
	return false;
}

/* Only the job's row names the index of a disk that was sealed before the server started. */
static void test_sealed_before(void)
{
	struct sample *first = sample;
	size_t had = versions();
	char id[JOB_ID_SIZE];

	sample = sample_new(2, &sample_small); /* of no version */
	if (!fixture_put_all(store, sample))
		abort();
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	restart();
	ok(does("gc"), "gc after a restart, while a capture has a disk that is sealed");
	ok(says_done(MACHINE_A, id) == 0 && shows(id, "done", (int)had + 1),
	   "leaves that disk's index");
	sample_free(sample);
	sample = first;
}

struct last {
	struct id manifest;
	uint32_t version;
};

static int find_last(void *arg, const struct version_row *v)
{
	*(struct last *)arg = (struct last){v->manifest, v->version};
	return 0;
}

/* A version of which an index is gone: gc says whose it is until that is known. */
static void test_gc_without_index(bool is_listed)
{
	char id[JOB_ID_SIZE], file[256], version[64], text[ID_TEXT_SIZE];
	struct sample *first = sample;
	struct last last = {.version = 0};

	sample = sample_new(is_listed ? 6 : 7, &sample_small);
	if (!fixture_put_all(store, sample))
		abort();
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	id_to_text(&sample->root, text);
	(void)snprintf(file, sizeof(file), "%s/store/indexes/%s", fixture_data, text);
	if (says_done(MACHINE_A, id) < 0 || unlink(file) < 0 ||
	    state_each_version(state, "web", find_last, &last, &err) < 0)
		abort();
	if (!is_listed && (state_begin_removal(state, "web", last.version, &err) < 0 ||
			   state_remove_version(state, "web", last.version, &err) < 0))
		abort();
	id_to_text(&last.manifest, text);
	(void)snprintf(version, sizeof(version), "image 'web', version %" PRIu32 ",%s",
		       last.version, is_listed ? " manifest" : " which is not listed, manifest");
	ok(!does("gc") && strstr(reason, version) && strstr(reason, text),
	   "gc without an index names the version and its manifest");
	printf("# %s\n", reason);
	if (is_listed && state_set_damaged(state, "web", last.version, true, &err) < 0)
		abort();
	if (!is_listed && store_remove_manifest(store, &last.manifest, &err) < 0)
		abort();
	ok(does("gc"), is_listed ? "and goes on when it is known that it is damaged"
				 : "and when that one is taken away");
	if (is_listed && /* whole again, for those that come */
	    (!fixture_put_all(store, sample) || fixture_seal(store, sample, "again") < 0 ||
	     state_set_damaged(state, "web", last.version, false, &err) < 0))
		abort();
	partial_remove(store, "again");
	sample_free(sample);
	sample = first;
}

/* The manifest of a capture is settled, and not yet written when its agent begins anew and puts other windows. */
static void test_settled_before(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	struct sample *first = sample;
	struct partial *p = NULL;
	struct job *j = NULL;
	char id[JOB_ID_SIZE], root[ID_TEXT_SIZE];
	int r;

	sample = sample_new(3, &sample_small);
	if (!fixture_put_all(store, sample))
		abort();
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	id_to_text(&sample->root, root);
	if (fleet_acquire(fleet, MACHINE_A, id, JOB_CAPTURE, &j, &err) < 0)
		abort();
	r = job_get_partial(fleet, j, 0, &p, &err);
	j->commit_ms = UINT64_MAX; /* the worker is to leave it alone */
	if (asprintf(&j->row.manifest, "{\"disks\":[{\"root\":\"%s\"}]}", root) < 0)
		abort();
	for (uint32_t i = 0; r == 0 && i < first->windows; i++)
		r = partial_set_one(p, i, &first->nodes[i], &err);
	ok(r == 0 && does("gc") && fixture_lacks(store, sample) == 0,
	   "gc leaves what a settled manifest names");
	free(j->row.manifest);
	j->row.manifest = NULL;
	fleet_release(fleet, j);
	ok(fleet_cancel_job(fleet, id, &cancelled, &err) == 0, "which a capture without one");
	ok(does("gc") && fixture_lacks(store, sample) > 0, "does not keep");
	sample_free(sample);
	sample = first;
}

/* An agent that is started again while the version is written would change what that is made of. */
static void test_committing(bool is_settled)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	const struct job_disk_row other = {.root = id_of("other", 5), .data_bytes = 1};
	struct partial *p = NULL;
	struct job *j = NULL;
	char id[JOB_ID_SIZE];

	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (fleet_acquire(fleet, MACHINE_A, id, JOB_CAPTURE, &j, &err) < 0)
		abort();
	j->commit_ms = UINT64_MAX;
	j->committing = !is_settled;
	j->row.manifest = is_settled ? strdup("{}") : NULL;
	ok(job_get_partial(fleet, j, 0, &p, &err) == API_BUSY && j->disks[0].sealed,
	   is_settled ? "a disk of a settled capture is not opened again"
		      : "nor one of a capture that is looked at");
	ok(job_set_sealed(fleet, j, 0, &other, &err) == API_BUSY &&
		   id_equal(&j->disks[0].root, &sample->root),
	   "nor finished with another root");
	free(j->row.manifest);
	j->row.manifest = NULL;
	j->committing = false;
	ok(job_set_sealed(fleet, j, 0, &other, &err) == 0 &&
		   job_get_partial(fleet, j, 0, &p, &err) == 0 && !j->disks[0].sealed,
	   "before that both are done");
	if (fleet_cancel_job(fleet, id, &cancelled, &err) < 0)
		abort();
	ok(job_set_sealed(fleet, j, 0, &other, &err) == API_CANCELLED &&
		   job_get_partial(fleet, j, 0, &p, &err) == API_CANCELLED,
	   "and after its end neither");
	fleet_release(fleet, j);
}

/* When its manifest is settled it may be in the store, where it counts. */
static void test_settled(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	struct job *j = NULL;
	char id[JOB_ID_SIZE];

	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (fleet_acquire(fleet, MACHINE_A, id, JOB_CAPTURE, &j, &err) < 0)
		abort();
	j->row.manifest = strdup("{}");
	j->commit_ms = UINT64_MAX; /* the worker is to leave it alone */
	ok(fleet_cancel_job(fleet, id, &cancelled, &err) == API_CONFLICT && shows(id, "running", 0),
	   "a capture whose version is written is not cancelled");
	ok(fleet_job_failed(fleet, MACHINE_A, id, "x", "y", NULL, &err) == API_CONFLICT,
	   "nor does it fail");
	free(j->row.manifest);
	j->row.manifest = NULL;
	fleet_release(fleet, j);
	ok(fleet_cancel_job(fleet, id, &cancelled, &err) == 0 && shows(id, "cancelled", 0),
	   "before that it is");
}

/* Nobody can write a version while this is a file. */
static void spoil_manifests(bool is_spoilt)
{
	char folder[128], away[128];

	(void)snprintf(folder, sizeof(folder), "%s/store/manifests", fixture_data);
	(void)snprintf(away, sizeof(away), "%s/manifests", fixture_dir);
	if (is_spoilt) {
		CLEANUP_CLOSE int fd = -1;

		if (rename(folder, away) < 0)
			abort();
		fd = open(folder, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			abort();
	} else if (unlink(folder) < 0 || rename(away, folder) < 0) {
		abort();
	}
}

/* As if the time until the next try were over. */
static bool comes_to_be(const char *id, unsigned version)
{
	(void)pthread_mutex_lock(&fleet->lock);
	for (struct job *j = fleet->jobs; j; j = j->next)
		j->commit_ms = strcmp(j->row.id, id) == 0 ? 0 : j->commit_ms;
	(void)pthread_cond_broadcast(&fleet->work);
	(void)pthread_mutex_unlock(&fleet->lock);
	for (int i = 0; i < 300 && job_find(fleet, id); i++)
		(void)usleep(20000);
	return shows(id, "done", (int)version);
}

/* Its version cannot be written when its agent says that it is done, and that agent is not heard of again. */
static void test_settled_alone(bool says_failed)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	size_t had = versions();
	char id[JOB_ID_SIZE];

	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	spoil_manifests(true);
	ok(says_done(MACHINE_A, id) < 0 && shows(id, "running", (int)had + 1) && versions() == had,
	   "a version that cannot be written");
	printf("# %s\n", err.msg);
	ok(fleet_cancel_job(fleet, id, &cancelled, &err) == API_CONFLICT,
	   "is not given up by who cancels it");
	printf("# %s\n", err.msg);
	if (says_failed)
		ok(fleet_job_failed(fleet, MACHINE_A, id, "x", "y", NULL, &err) == API_CONFLICT,
		   "nor by its agent");
	spoil_manifests(false);
	ok(comes_to_be(id, (unsigned)had + 1) && versions() == had + 1,
	   "and comes to be without another word of its agent");
	ok(says_done(MACHINE_A, id) == 0 && versions() == had + 1,
	   "who is told so if it asks after all");
}

/* As a capture of the sample settles it, but for what is given. */
static char *settled(const char *job, size_t version, const struct id *root)
{
	char text[ID_TEXT_SIZE], *manifest = NULL;

	id_to_text(root, text);
	if (asprintf(&manifest,
		     "{\"hoist\":1,\"image\":\"web\",\"version\":%zu,\"created\":"
		     "\"2026-01-31T12:00:00Z\",\"job\":\"%s\",\"machine\":\"" MACHINE_A
		     "\",\"machine_name\":\"n\",\"disks\":[{\"disk\":\"file:a\",\"size\":%" PRIu64
		     ",\"sector_size\":512,\"physical_sector_size\":512,\"root\":\"%s\","
		     "\"data_bytes\":%" PRIu64 ",\"unreadable_bytes\":0}]}",
		     version, job, sample->geometry.size, text, sample->data_bytes) < 0)
		abort();
	return manifest;
}

/* The crash is made: the state is put back to what it was after step 1, or after step 2. */
static void test_crash(bool after_manifest)
{
	struct job_row row = {.seq = 0};
	char id[JOB_ID_SIZE];
	size_t had = versions(), had_manifests = manifests();
	struct id manifest;
	struct job *j = NULL;
	char *text = NULL;

	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	/* step 1 as job_commit does it, from a commit that cannot go on: its version is taken */
	if (fleet_acquire(fleet, MACHINE_A, id, JOB_CAPTURE, &j, &err) < 0)
		abort();
	text = settled(id, had + 1, &sample->root);
	fleet_release(fleet, j);
	if (state_get_job(state, id, &row, &err) < 0)
		abort();
	row.version = (uint32_t)had + 1;
	row.manifest = text;
	if (state_save_job(state, &row, &err) < 0)
		abort();
	job_row_done(&row);
	if (after_manifest) {
		text = NULL;
		if (state_get_job(state, id, &row, &err) < 0 ||
		    store_put_manifest(store, row.manifest, strlen(row.manifest), &manifest, &err) <
			    0)
			abort();
		job_row_done(&row);
	}
	restart();
	ok(shows(id, "done", (int)had + 1), "the server ends the commit at its start");
	ok(versions() == had + 1, "one version more");
	ok(manifests() == had_manifests + 1, "one manifest more");
	ok(says_done(MACHINE_A, id) == 0, "the agent, whose answer was lost, asks again");
	ok(versions() == had + 1, "nothing comes of it");
}

struct doing {
	const char *machine;
	const struct id *root;
	char job[JOB_ID_SIZE];
	int result;
};

static void *done_thread(void *arg)
{
	struct doing *d = arg;
	struct err mine;

	CLEANUP_JSON json_t *report = say_root("disk", "root", d->root);

	d->result = fleet_job_done(fleet, d->machine, d->job, report, &mine);
	return NULL;
}

static void test_two(void)
{
	struct doing d[2] = {{.machine = MACHINE_A}, {.machine = MACHINE_B}};
	size_t had = versions();
	pthread_t t[2];

	for (int i = 0; i < 2; i++) {
		d[i].root = &sample->root;
		order(d[i].machine, d[i].job);
	}
	for (int i = 0; i < 2; i++)
		capture(d[i].machine, d[i].job);
	for (int i = 0; i < 2; i++) {
		if (pthread_create(&t[i], NULL, done_thread, &d[i]) != 0)
			abort();
	}
	for (int i = 0; i < 2; i++)
		(void)pthread_join(t[i], NULL);
	ok(d[0].result == 0 && d[1].result == 0, "two captures into one image commit at once");
	ok(versions() == had + 2, "and are two versions");
}

/* A storage that does not answer for one index. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	char file[FILES_PATH_SIZE];
	bool is_asked, is_over;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int wait_at_gate(void *arg, enum file_op op, const char *file)
{
	(void)arg;
	if (op != FILE_READ || strcmp(file, gate.file) != 0)
		return 0;
	(void)pthread_mutex_lock(&gate.lock);
	gate.is_asked = true;
	(void)pthread_cond_broadcast(&gate.cond);
	while (!gate.is_over)
		(void)pthread_cond_wait(&gate.cond, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
	return 0;
}

static void close_gate(const struct id *root)
{
	files_path_index(gate.file, root);
	gate.is_asked = gate.is_over = false;
	store->files.fault = wait_at_gate;
}

static void await_asked(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (!gate.is_asked)
		(void)pthread_cond_wait(&gate.cond, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.is_over = true;
	(void)pthread_cond_broadcast(&gate.cond);
	(void)pthread_mutex_unlock(&gate.lock);
}

static bool ends_as(const char *id, const char *want, unsigned version)
{
	for (int i = 0; i < 300 && job_find(fleet, id); i++)
		(void)usleep(20000);
	return shows(id, want, (int)version);
}

/* A version is not kept waiting by the look at another capture, which may take long, nor by gc, which may take hours. */
static void test_not_held_up(void)
{
	struct doing d[2] = {{.machine = MACHINE_A}, {.machine = MACHINE_B}};
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", "gc"), *gc = NULL;
	struct sample *first = sample, *other = sample_new(5, &sample_small);
	unsigned had = (unsigned)versions();
	pthread_t t[2];

	if (!fixture_put_all(store, other))
		abort();
	for (int i = 0; i < 2; i++) {
		sample = i == 0 ? first : other;
		d[i].root = &sample->root;
		order(d[i].machine, d[i].job);
		capture(d[i].machine, d[i].job);
	}
	close_gate(&first->root);
	for (int i = 0; i < 2; i++) {
		if (pthread_create(&t[i], NULL, done_thread, &d[i]) != 0)
			abort();
		if (i == 0)
			await_asked();
	}
	ok(ends_as(d[1].job, "done", had + 1), "a capture ends while another one is looked at");
	open_gate();
	for (int i = 0; i < 2; i++)
		(void)pthread_join(t[i], NULL);
	ok(d[0].result == 0 && d[1].result == 0 && shows(d[0].job, "done", (int)had + 2),
	   "and that one too");

	store->files.fault = NULL;
	order(MACHINE_A, d[0].job);
	capture(MACHINE_A, d[0].job);
	spoil_manifests(true);
	if (says_done(MACHINE_A, d[0].job) == 0)
		abort();
	spoil_manifests(false);
	close_gate(&first->root);
	if (fleet_create_job(fleet, body, &gc, &err) < 0)
		abort();
	await_asked();
	ok(comes_to_be(d[0].job, had + 3), "a version is written again while gc runs");
	open_gate();
	ok(ends_as(json_string_value(json_object_get(gc, "id")), "done", 0), "which ends");
	store->files.fault = NULL;
	sample_free(other);
	sample = first;
}

static json_t *get_roots(const char *id)
{
	CLEANUP_JSON json_t *job = NULL;
	const json_t *report;

	if (fleet_show_job(fleet, id, 0, 0, &job, &err) < 0)
		return NULL;
	report = json_object_get(job, "report");
	if (!json_is_string(json_object_get(json_object_get(report, "server"), "ended")))
		return NULL;
	return json_incref(json_array_get(json_object_get(report, "roots"), 0));
}

static bool is_root(const json_t *roots, const char *key)
{
	struct id got;

	return json_get_id(roots, key, &got, &err) == 0 && id_equal(&got, &sample->root);
}

static void order_restore(char ret_job[static JOB_ID_SIZE])
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s, s:s}", "kind", "restore", "machine",
					      MACHINE_B, "image", "web");
	CLEANUP_JSON json_t *job = NULL;

	if (fleet_create_job(fleet, body, &job, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	(void)snprintf(ret_job, JOB_ID_SIZE, "%s", json_string_value(json_object_get(job, "id")));
}

static void test_roots(void)
{
	const struct id other = id_of("other", 5);
	char id[JOB_ID_SIZE];

	for (int lie = 1; lie >= 0; lie--) {
		CLEANUP_JSON json_t *said = say_root("disk", "root", lie ? &other : &sample->root);
		CLEANUP_JSON json_t *roots = NULL;

		order(MACHINE_A, id);
		capture(MACHINE_A, id);
		if (lie) {
			ok(fleet_job_done(fleet, MACHINE_A, id, said, &err) == API_INCOMPLETE &&
				   shows(id, "running", 0),
			   "a capture whose agent names another root than was finished");
			printf("# %s\n", err.msg);
			ok(says_done(MACHINE_A, id) == API_INCOMPLETE,
			   "is open again, also for one that names none");
			capture(MACHINE_A, id);
			ok(says_done(MACHINE_A, id) == 0, "and ends when it was finished again");
			continue;
		}
		ok(fleet_job_done(fleet, MACHINE_A, id, said, &err) == 0, "a capture");
		roots = get_roots(id);
		ok(is_root(roots, "server") && is_root(roots, "source") &&
			   json_is_true(json_object_get(roots, "agree")),
		   "source and server agree");
	}
	for (int lie = 1; lie >= 0; lie--) {
		CLEANUP_JSON json_t *said =
			say_root("target", "target_root", lie ? &other : &sample->root);
		CLEANUP_JSON json_t *roots = NULL;

		order_restore(id);
		ok(fleet_job_done(fleet, MACHINE_B, id, said, &err) ==
			   (lie ? API_VERIFY_FAILED : 0),
		   lie ? "a restore whose target has another root" : "one with the right root");
		if (lie)
			printf("# %s\n", err.msg);
		roots = get_roots(id);
		ok(shows(id, lie ? "failed" : "done", (int)versions()) &&
			   is_root(roots, "server") && is_root(roots, "source") &&
			   is_root(roots, "target") == !lie &&
			   json_is_true(json_object_get(roots, "agree")) == !lie,
		   lie ? "is not done" : "is");
	}
	order_restore(id);
	ok(fleet_job_done(fleet, MACHINE_B, id, NULL, &err) == API_VERIFY_FAILED &&
		   shows(id, "failed", (int)versions()),
	   "a restore whose agent does not say it has failed");
	CLEANUP_JSON json_t *roots = get_roots(id);
	ok(is_root(roots, "server") && json_is_null(json_object_get(roots, "target")) &&
		   json_is_null(json_object_get(roots, "agree")),
	   "and it is open who agrees");
}

/* What was sealed is gone when the capture is to be made a version. */
static void test_lost_index(void)
{
	char id[JOB_ID_SIZE], text[ID_TEXT_SIZE], file[256], away[256];
	size_t had = versions();

	id_to_text(&sample->root, text);
	(void)snprintf(file, sizeof(file), "%s/store/indexes/%s", fixture_data, text);
	(void)snprintf(away, sizeof(away), "%s/index", fixture_dir);
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (rename(file, away) < 0)
		abort();
	ok(says_done(MACHINE_A, id) == API_STORE_DAMAGED && shows(id, "failed", 0) &&
		   versions() == had,
	   "a capture whose index is lost is no version");
	printf("# %s\n", err.msg);
	if (rename(away, file) < 0)
		abort();
}

/* The same of a pack: its disk is open again, and its agent sends what lacks. */
static void test_lost_pack(size_t n)
{
	const struct sample_pack *pack = &sample->packs[n];
	size_t had = versions();
	char id[JOB_ID_SIZE];

	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (unlink(fixture_pack_path(&pack->id)) < 0)
		abort();
	cache_clear(store);
	if (fixture_get(store, sample, 0, sample->chunks_len, NULL) == 0 &&
	    fixture_get_nodes(store, sample) == 0)
		abort();
	ok(says_done(MACHINE_A, id) == API_INCOMPLETE && shows(id, "running", 0) &&
		   versions() == had,
	   n == 0 ? "a capture that has lost a chunk is no version yet" : "nor one without a node");
	printf("# %s\n", err.msg);
	ok(says_done(MACHINE_A, id) == API_INCOMPLETE, "its disk is to be finished again");
	if (!fixture_put_all(store, sample))
		abort();
	capture(MACHINE_A, id);
	ok(says_done(MACHINE_A, id) == 0 && shows(id, "done", (int)versions()) &&
		   versions() == had + 1,
	   "and then it is one");
}

/* One source onto two targets: each has to hold it. */
static void test_two_targets(void)
{
	const struct id other = id_of("other", 5);
	struct job_disk_row disks[2] = {
		{.disk = "a", .source_disk = "s", .root = sample->root},
		{.disk = "b", .source_disk = "s", .root = sample->root},
	};
	char good[ID_TEXT_SIZE], bad[ID_TEXT_SIZE];

	id_to_text(&sample->root, good);
	id_to_text(&other, bad);
	for (int lie = 0; lie < 2; lie++) {
		CLEANUP_JSON json_t *said =
			json_pack("{s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "disks", "source", "s",
				  "target", "a", "target_root", good, "source", "s", "target", "b",
				  "target_root", lie ? bad : good);

		ok(report_check_targets(disks, 2, said, &err) == (lie ? API_VERIFY_FAILED : 0),
		   lie ? "a second target of the same disk is not taken for the first"
		       : "two targets of one disk");
	}
}

static void test_removed_machine(void)
{
	CLEANUP_JSON json_t *job = NULL;
	char id[JOB_ID_SIZE];

	order(MACHINE_B, id);
	ok(fleet_remove_machine(fleet, MACHINE_B, &err) == API_CONFLICT,
	   "a machine that has a job stays");
	if (state_remove_machine(state, MACHINE_B, &err) < 0)
		abort();
	restart();
	ok(shows(id, "failed", 0), "a job whose machine is gone fails at the start");
	ok(fleet_show_job(fleet, id, 0, 0, &job, &err) == 0 &&
		   strcmp(json_string_value(json_object_get(job, "code")), "agent_lost") == 0,
	   "and says why");
}

/* ---- bounds */

static int come(const char *machine, const char *token, const char *secret,
		char ret_secret[static SECRET_TEXT_SIZE])
{
	CLEANUP_JSON json_t *inventory = json_pack("{s:[]}", "disks");
	struct registration reg = {.token = token,
				   .secret = secret,
				   .machine = machine,
				   .name = "m",
				   .agent_version = "1",
				   .address = "x",
				   .inventory = inventory};
	unsigned retry_s = 0;
	int r = fleet_register(fleet, &reg, ret_secret, &retry_s, &err);

	if (r == API_RATE_LIMITED && retry_s == 0)
		abort();
	return r;
}

static void test_registrations(void)
{
	const char *token = "a token";
	struct token_row t = {.uses = 100, .uses_left = 100, .id = "t"};
	struct id hash = id_of(token, strlen(token));
	char secret[SECRET_TEXT_SIZE], next[SECRET_TEXT_SIZE];
	struct machine *m;
	unsigned n = 0;

	if (state_add_token(state, &t, &hash, &err) < 0 ||
	    come("0000000000000000000000000000000c", token, NULL, secret) < 0)
		abort();
	while (n < 2 * REGISTRATIONS &&
	       come("0000000000000000000000000000000c", NULL, secret, next) == 0) {
		memcpy(secret, next, sizeof(secret));
		n++;
	}
	ok(n >= REGISTRATIONS && n < REGISTRATIONS + 20 && err.code == API_RATE_LIMITED,
	   "a machine registers so often at once, and then slowly");
	printf("# %u times: %s\n", n, err.msg);
	ok(come("0000000000000000000000000000000d", token, NULL, next) == 0,
	   "which does not keep others from it");
	m = fleet->machines;
	m->inventory_size = INVENTORIES_MAX;
	ok(come("0000000000000000000000000000000e", token, NULL, next) == API_CONFLICT &&
		   strstr(err.msg, "inventories"),
	   "inventories have a bound together");
	m->inventory_size = 2;
	for (unsigned i = 0; i < MACHINES_MAX; i++) {
		m = machine_add(fleet);
		if (!m)
			abort();
		(void)snprintf(m->row.id, sizeof(m->row.id), "f%031x", i);
	}
	ok(come("0000000000000000000000000000000e", token, NULL, next) == API_CONFLICT &&
		   strstr(err.msg, "as many as it takes"),
	   "so have machines");
	restart();
	ok(come("0000000000000000000000000000000e", token, NULL, next) == 0, "(without them)");
}

static void test_own_jobs(void)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", "gc");
	CLEANUP_JSON json_t *job = NULL;

	for (unsigned i = 0; i < OWN_JOBS_MAX; i++) {
		struct job *j = job_new();

		if (!j)
			abort();
		(void)snprintf(j->row.id, sizeof(j->row.id), "f%015x", i);
		j->row.kind = JOB_GC;
		j->row.state = JOB_RUNNING;
		(void)pthread_mutex_lock(&fleet->lock);
		job_enlist(fleet, j, NULL);
		(void)pthread_mutex_unlock(&fleet->lock);
	}
	ok(fleet_create_job(fleet, body, &job, &err) == API_CONFLICT, "jobs of the server itself");
	restart();
	ok(does("gc"), "(without them)"); /* and what comes next has the store for itself */
}

static void test_taken(void)
{
	char id[JOB_ID_SIZE];
	struct job *j = NULL;

	order(MACHINE_A, id);
	if (fleet_acquire(fleet, MACHINE_A, id, JOB_CAPTURE, &j, &err) < 0)
		abort();
	fleet_note_taken(fleet, j, 2 * sample->geometry.size + TAKEN_SPARE - 1);
	ok(fleet_check_taken(fleet, j, &err) == 0, "a capture that sends its disks twice");
	fleet_note_taken(fleet, j, 1);
	ok(fleet_check_taken(fleet, j, &err) == API_TOO_LARGE && shows(id, "failed", 0),
	   "and more fails");
	printf("# %s\n", err.msg);
	ok(fleet_check_taken(fleet, j, &err) == API_TOO_LARGE, "also for who is late");
	fleet_release(fleet, j);
}

static int no_sync(void *arg, enum file_op op, const char *file)
{
	(void)arg;
	(void)file;
	return op == FILE_SYNC ? -EIO : 0;
}

/* With a pack in it that was not there before; is what it covers durable? */
static bool makes_checkpoint(const struct sample *x, unsigned *pack, bool fails)
{
	bool is_durable;

	if (fixture_put(store, &x->packs[(*pack)++]) < 0)
		abort();
	store->files.fault = fails ? no_sync : NULL;
	is_durable = store_checkpoint(store, &err) == 0;
	store->files.fault = NULL;
	return is_durable;
}

/* What the store has lost is sent again, as often as that happens. */
static void test_taken_dropped(void)
{
	const uint64_t most = 2 * sample->geometry.size + TAKEN_SPARE;
	struct sample *other = sample_new(4, &sample_small);
	char id[JOB_ID_SIZE];
	struct job *j = NULL;
	unsigned pack = 0;

	order(MACHINE_A, id);
	if (fleet_acquire(fleet, MACHINE_A, id, JOB_CAPTURE, &j, &err) < 0)
		abort();
	for (int i = 0; i < 2; i++) {
		fleet_note_taken(fleet, j, most - 1);
		ok(!makes_checkpoint(other, &pack, true) &&
			   fleet_check_taken(fleet, j, &err) == 0 && j->taken == 0,
		   "what a checkpoint has dropped was not sent for nothing");
	}
	fleet_note_taken(fleet, j, 1);
	ok(makes_checkpoint(other, &pack, false), "a checkpoint");
	fleet_note_taken(fleet, j, most - 2);
	ok(makes_checkpoint(other, &pack, false) && makes_checkpoint(other, &pack, false) &&
		   fleet_check_taken(fleet, j, &err) == 0 &&
		   !makes_checkpoint(other, &pack, true) && fleet_check_taken(fleet, j, &err) == 0,
	   "what is durable was taken");
	fleet_note_taken(fleet, j, 1);
	ok(fleet_check_taken(fleet, j, &err) == API_TOO_LARGE && shows(id, "failed", 0),
	   "and counts");
	fleet_release(fleet, j);
	sample_free(other);
}

static void test_recovery(void)
{
	size_t had = versions();

	close_all();
	if (unlink(path) < 0)
		abort();
	open_all();
	ok(versions() == had, "without its database the images are found again");
	restart();
	ok(versions() == had, "once");
}

static void copy(const char *from, const char *to)
{
	char data[65536];
	FILE *in = fopen(from, "rbe"), *out = fopen(to, "wbe");
	size_t n;

	if (!in || !out)
		abort();
	while ((n = fread(data, 1, sizeof(data), in)) > 0)
		if (fwrite(data, 1, n, out) != n)
			abort();
	if (ferror(in) || fclose(in) != 0 || fclose(out) != 0)
		abort();
}

static bool flip_manifest(const struct id *id)
{
	char file[256], text[ID_TEXT_SIZE];
	FILE *f;

	id_to_text(id, text);
	(void)snprintf(file, sizeof(file), "%s/store/manifests/%s.json", fixture_data, text);
	f = fopen(file, "r+be");
	return f && fputc('x', f) == 'x' && fclose(f) == 0;
}

/* What was committed since a backup of the state is found again: none of it is removed, and no number is given out twice. */
static void test_older_state(void)
{
	const char junk[] = "{\"hoist\":2}";
	struct sample *first = sample;
	size_t had = versions();
	char id[JOB_ID_SIZE], backup[160];
	struct id other;

	(void)snprintf(backup, sizeof(backup), "%s/backup.db", fixture_dir);
	close_all();
	copy(path, backup);
	open_all();
	sample = sample_new(40, &sample_small); /* of no version before */
	if (!fixture_put_all(store, sample))
		abort();
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	ok(says_done(MACHINE_A, id) == 0 && versions() == had + 1, "a capture after the backup");
	close_all();
	copy(backup, path);
	open_all();
	ok(versions() == had + 1, "is there though the state was put back");
	ok(does("gc") && fixture_lacks(store, sample) == 0, "and gc leaves it");
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	ok(says_done(MACHINE_A, id) == 0 && shows(id, "done", (int)had + 2),
	   "its number is not given out again");
	if (state_begin_removal(state, "web", (uint32_t)had + 1, &err) < 0 ||
	    state_remove_version(state, "web", (uint32_t)had + 1, &err) < 0 ||
	    state_begin_removal(state, "web", (uint32_t)had + 2, &err) < 0 ||
	    state_remove_version(state, "web", (uint32_t)had + 2, &err) < 0)
		abort();
	ok(does("gc") && fixture_lacks(store, sample) == 0,
	   "nor does gc remove what a manifest names that is in no list");
	if (store_put_manifest(store, junk, sizeof(junk) - 1, &other, &err) < 0)
		abort();
	ok(!does("gc"), "or may name");
	restart();
	ok(versions() == had + 2, "which does not keep the server from starting");
	if (!flip_manifest(&other))
		abort();
	ok(does("gc"), "one that is damaged says nothing");
	sample_free(sample);
	sample = first;
}

static bool has_event(const char *id, const char *name);

static int no_manifest(void *arg, enum file_op op, const char *file)
{
	(void)arg;
	return op == FILE_READ && strncmp(file, "manifests/", 10) == 0 ? -EIO : 0;
}

/* As if the time until the next try were over. */
static bool catches_up(size_t want)
{
	(void)pthread_mutex_lock(&fleet->lock);
	fleet->catch_up_ms = 0;
	(void)pthread_cond_broadcast(&fleet->work);
	(void)pthread_mutex_unlock(&fleet->lock);
	for (int i = 0; i < 300 && versions() != want; i++)
		(void)usleep(20000);
	return versions() == want;
}

/* A bit of it turns, and it is still JSON. */
static void turn_manifest(const struct id *id)
{
	char file[256], text[ID_TEXT_SIZE], data[65536];
	FILE *f;
	size_t n;
	char *at;

	id_to_text(id, text);
	(void)snprintf(file, sizeof(file), "%s/store/manifests/%s.json", fixture_data, text);
	f = fopen(file, "r+be");
	n = f ? fread(data, 1, sizeof(data) - 1, f) : 0;
	data[n] = '\0';
	at = strstr(data, "\"machine_name\":\"");
	if (!at || fseek(f, at - data + 16, SEEK_SET) < 0 || fputc('x', f) != 'x' || fclose(f) != 0)
		abort();
}

enum trouble { UNREAD, DAMAGED, FULL };

/* state.db was put back from a backup, and at the start the version that came since cannot be taken up: the server starts, and its number is not given
 * to another one. */
static void test_not_recovered(enum trouble trouble, const char *what)
{
	const bool waits = trouble != DAMAGED;
	CLEANUP_JSON json_t *job = NULL;
	size_t had = versions();
	char id[JOB_ID_SIZE], backup[160];
	struct last last;

	(void)snprintf(backup, sizeof(backup), "%s/backup.db", fixture_dir);
	close_all();
	copy(path, backup);
	open_all();
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (says_done(MACHINE_A, id) < 0 ||
	    state_each_version(state, "web", find_last, &last, &err) < 0)
		abort();
	close_all();
	copy(backup, path);
	if (trouble == DAMAGED)
		turn_manifest(&last.manifest);
	fault = trouble == UNREAD ? no_manifest : NULL;
	is_state_full = trouble == FULL;
	open_all();
	ok(versions() == had, what);
	if (trouble == FULL)
		fill_state(false); /* else there would be no capture to ask */
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (trouble == FULL)
		fill_state(true);
	if (waits) {
		ok(says_done(MACHINE_A, id) == API_BUSY && shows(id, "running", 0),
		   "does not give its number to a capture, which waits");
		printf("# %s\n", err.msg);
		fleet_tell_stalls(fleet);
		ok(fleet_show_job(fleet, id, 0, 0, &job, &err) == 0 &&
			   json_is_true(json_object_get(job, "stalled")) &&
			   strstr(json_string_value(json_object_get(job, "message")), "number"),
		   "and whose job says why");
	}
	store->files.fault = fault = NULL;
	if (trouble == FULL)
		fill_state(is_state_full = false);
	if (waits)
		ok(catches_up(had + 1), "it is taken up when that is over");
	ok(says_done(MACHINE_A, id) == 0 && shows(id, "done", (int)had + 2),
	   "the capture is the version after it");
}

struct sought {
	const char *job, *name;
	bool found;
};

static int seek_event(void *arg, const struct event_row *e)
{
	struct sought *x = arg;

	x->found = x->found || (strcmp(e->job, x->job) == 0 && strcmp(e->event, x->name) == 0);
	return 0;
}

static bool has_event(const char *id, const char *name)
{
	struct sought x = {id, name, false};

	return state_each_event(state, 0, 10000, seek_event, &x, &err) == 0 && x.found;
}

static char *settled_wrongly(int how, const char *id, size_t version)
{
	const struct id other = id_of("other", 5);

	switch (how) {
	case 0:
		return strdup("{}");
	case 1:
		return strdup("{\"hoist\":1,");
	case 2:
		return settled(id, version + 1, &sample->root);
	case 3:
		return settled("0123456789abcdef", version, &sample->root);
	default:
		return settled(id, version, &other);
	}
}

/* What was settled is not what it was: nothing of it gets anywhere, and its job does not go on for ever. */
static void test_settled_damaged(int how, const char *what)
{
	size_t had = versions(), had_manifests = manifests();
	CLEANUP_JSON json_t *job = NULL;
	struct job_row row = {.seq = 0};
	char id[JOB_ID_SIZE];
	const char *code;

	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	if (state_get_job(state, id, &row, &err) < 0)
		abort();
	row.version = (uint32_t)had + 1;
	row.manifest = settled_wrongly(how, id, had + 1);
	if (state_save_job(state, &row, &err) < 0)
		abort();
	job_row_done(&row);
	restart();
	ok(shows(id, "failed", 0), what);
	if (fleet_show_job(fleet, id, 0, 0, &job, &err) < 0)
		abort();
	code = json_string_value(json_object_get(job, "code"));
	ok(code && strcmp(code, "store_damaged") == 0 && has_event(id, "job_failed"),
	   "ends its job, with the reason and an event");
	printf("# %s\n", json_string_value(json_object_get(job, "message")));
	ok(versions() == had && manifests() == had_manifests, "and does not get into the store");
	order(MACHINE_A, id);
	capture(MACHINE_A, id);
	ok(says_done(MACHINE_A, id) == 0 && shows(id, "done", (int)had + 1),
	   "the next capture is that version");
}

int main(void)
{
	log_set_level(LOG_ERROR);
	fixture_begin();
	(void)snprintf(path, sizeof(path), "%s/state.db", fixture_dir);
	sample = sample_new(1, &sample_small);
	open_all();
	ok(fixture_put_all(store, sample), "the sample's packs");
	enrol(MACHINE_A);
	enrol(MACHINE_B);
	test_plain();
	test_committing(true);
	test_committing(false);
	test_settled();
	test_settled_alone(false);
	test_settled_alone(true);
	test_crash(false);
	test_crash(true);
	test_two();
	test_not_held_up();
	test_sealed_before();
	test_settled_before();
	test_gc_without_index(true);
	test_older_state();
	test_roots();
	test_lost_index();
	test_lost_pack(0);
	test_lost_pack(sample->chunk_packs);
	test_two_targets();
	test_removed_machine();
	test_registrations();
	test_own_jobs();
	test_taken();
	test_taken_dropped();
	test_recovery();
	enrol(MACHINE_A);
	test_settled_damaged(0, "a settled manifest that is none");
	test_settled_damaged(1, "one that was cut off");
	test_settled_damaged(2, "one of another version");
	test_settled_damaged(3, "one of another job");
	test_settled_damaged(4, "one of another disk");
	test_not_recovered(UNREAD, "a server that cannot read a manifest at its start");
	test_not_recovered(FULL, "one whose state takes nothing starts, and");
	test_not_recovered(DAMAGED, "one that finds it damaged");
	test_gc_without_index(false);
	close_all();
	sample_free(sample);
	fixture_end();
	return done();
}
