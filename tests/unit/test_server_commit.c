/* The commit of a capture, ended by a crash after each of its steps, and two at once; what is told to whom after a restart. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/lib/fleet_fixture.h"
#include "tests/unit/tap.h"

static void test_plain(void)
{
	CLEANUP_JSON json_t *report = fixture_say_root("disk", "root", &fixture_sample->root);
	CLEANUP_JSON json_t *without = json_pack("{s:[{s:s}]}", "disks", "disk", "file:a");
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	ok(fleet_job_done(fixture_fleet, MACHINE_A, id, report, &fixture_err) == API_INCOMPLETE,
	   "done before the disk is sealed");
	fixture_capture(MACHINE_A, id);
	ok(fleet_job_done(fixture_fleet, MACHINE_B, id, report, &fixture_err) == API_NOT_FOUND,
	   "done by another machine");
	fixture_restart();
	ok(fixture_shows(id, "running", 0), "a sealed disk outlives a restart");
	ok(fleet_job_done(fixture_fleet, MACHINE_A, id, without, &fixture_err) == API_BAD_REQUEST &&
		   fleet_job_done(fixture_fleet, MACHINE_A, id, NULL, &fixture_err) ==
			   API_BAD_REQUEST &&
		   fixture_shows(id, "running", 0),
	   "done without the root of what was read is refused");
	printf("# %s\n", fixture_err.msg);
	ok(fleet_job_done(fixture_fleet, MACHINE_A, id, report, &fixture_err) == 0 &&
		   fixture_shows(id, "done", 1),
	   "done");
	ok(fleet_job_done(fixture_fleet, MACHINE_A, id, report, &fixture_err) == 0, "done again");
	ok(fixture_versions() == 1 && fixture_manifests() == 1, "one version, one manifest");
	fixture_restart();
	ok(fleet_job_done(fixture_fleet, MACHINE_A, id, report, &fixture_err) == 0,
	   "and again after a restart");
	ok(fleet_job_failed(fixture_fleet, MACHINE_A, id, "x", "y", NULL, &fixture_err) ==
		   API_CONFLICT,
	   "but it cannot fail any more");
	ok(fixture_versions() == 1 && fixture_manifests() == 1, "still one");
}

/* An agent that is started again while the version is written would change what that is made of. */
static void test_committing(bool is_settled)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	const struct job_disk_row other = {.root = id_of("other", 5), .data_bytes = 1};
	struct partial *p = NULL;
	struct job *j = NULL;
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	j->commit_ms = UINT64_MAX;
	j->committing = !is_settled;
	j->row.manifest = is_settled ? strdup("{}") : NULL;
	ok(job_get_partial(fixture_fleet, j, 0, &p, &fixture_err) == API_BUSY && j->disks[0].sealed,
	   is_settled ? "a disk of a settled capture is not opened again"
		      : "nor one of a capture that is looked at");
	ok(job_set_sealed(fixture_fleet, j, 0, &other, &fixture_err) == API_BUSY &&
		   id_equal(&j->disks[0].root, &fixture_sample->root),
	   "nor finished with another root");
	free(j->row.manifest);
	j->row.manifest = NULL;
	j->committing = false;
	ok(job_set_sealed(fixture_fleet, j, 0, &other, &fixture_err) == 0 &&
		   job_get_partial(fixture_fleet, j, 0, &p, &fixture_err) == 0 &&
		   !j->disks[0].sealed,
	   "before that both are done");
	if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
		abort();
	ok(job_set_sealed(fixture_fleet, j, 0, &other, &fixture_err) == API_CANCELLED &&
		   job_get_partial(fixture_fleet, j, 0, &p, &fixture_err) == API_CANCELLED,
	   "and after its end neither");
	fleet_release(fixture_fleet, j);
}

/* When its manifest is settled it may be in the store, where it counts. */
static void test_settled(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	struct job *j = NULL;
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	j->row.manifest = strdup("{}");
	j->commit_ms = UINT64_MAX; /* the worker is to leave it alone */
	ok(fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) == API_CONFLICT &&
		   fixture_shows(id, "running", 0),
	   "a capture whose version is written is not cancelled");
	ok(fleet_job_failed(fixture_fleet, MACHINE_A, id, "x", "y", NULL, &fixture_err) ==
		   API_CONFLICT,
	   "nor does it fail");
	free(j->row.manifest);
	j->row.manifest = NULL;
	fleet_release(fixture_fleet, j);
	ok(fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) == 0 &&
		   fixture_shows(id, "cancelled", 0),
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
	(void)pthread_mutex_lock(&fixture_fleet->lock);
	for (struct job *j = fixture_fleet->jobs; j; j = j->next)
		j->commit_ms = strcmp(j->row.id, id) == 0 ? 0 : j->commit_ms;
	(void)pthread_cond_broadcast(&fixture_fleet->work);
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
	for (int i = 0; i < 300 && job_find(fixture_fleet, id); i++)
		(void)usleep(20000);
	return fixture_shows(id, "done", (int)version);
}

/* Its version cannot be written when its agent says that it is done, and that agent is not heard of again. */
static void test_settled_alone(bool says_failed)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	size_t had = fixture_versions();
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	spoil_manifests(true);
	ok(fixture_says_done(MACHINE_A, id) < 0 && fixture_shows(id, "running", (int)had + 1) &&
		   fixture_versions() == had,
	   "a version that cannot be written");
	printf("# %s\n", fixture_err.msg);
	ok(fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) == API_CONFLICT,
	   "is not given up by who cancels it");
	printf("# %s\n", fixture_err.msg);
	if (says_failed) {
		ok(fleet_job_failed(fixture_fleet, MACHINE_A, id, "x", "y", NULL, &fixture_err) ==
			   API_CONFLICT,
		   "nor by its agent");
	}
	spoil_manifests(false);
	ok(comes_to_be(id, (unsigned)had + 1) && fixture_versions() == had + 1,
	   "and comes to be without another word of its agent");
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_versions() == had + 1,
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
		     version, job, fixture_sample->geometry.size, text,
		     fixture_sample->data_bytes) < 0)
		abort();
	return manifest;
}

/* The crash is made: the state is put back to what it was after step 1, or after step 2. */
static void test_crash(bool after_manifest)
{
	struct job_row row = {.seq = 0};
	char id[JOB_ID_SIZE];
	size_t had = fixture_versions(), had_manifests = fixture_manifests();
	struct id manifest;
	struct job *j = NULL;
	char *text = NULL;

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	/* step 1 as job_commit does it, from a commit that cannot go on: its version is taken */
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	text = settled(id, had + 1, &fixture_sample->root);
	fleet_release(fixture_fleet, j);
	if (state_get_job(fixture_state, id, &row, &fixture_err) < 0)
		abort();
	row.version = (uint32_t)had + 1;
	row.manifest = text;
	if (state_save_job(fixture_state, &row, &fixture_err) < 0)
		abort();
	job_row_done(&row);
	if (after_manifest) {
		text = NULL;
		if (state_get_job(fixture_state, id, &row, &fixture_err) < 0 ||
		    store_put_manifest(fixture_store, row.manifest, strlen(row.manifest), &manifest,
				       &fixture_err) < 0)
			abort();
		job_row_done(&row);
	}
	fixture_restart();
	ok(fixture_shows(id, "done", (int)had + 1), "the server ends the commit at its start");
	ok(fixture_versions() == had + 1, "one version more");
	ok(fixture_manifests() == had_manifests + 1, "one manifest more");
	ok(fixture_says_done(MACHINE_A, id) == 0, "the agent, whose answer was lost, asks again");
	ok(fixture_versions() == had + 1, "nothing comes of it");
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

	CLEANUP_JSON json_t *report = fixture_say_root("disk", "root", d->root);

	d->result = fleet_job_done(fixture_fleet, d->machine, d->job, report, &mine);
	return NULL;
}

static void test_two(void)
{
	struct doing d[2] = {{.machine = MACHINE_A}, {.machine = MACHINE_B}};
	size_t had = fixture_versions();
	pthread_t t[2];

	for (int i = 0; i < 2; i++) {
		d[i].root = &fixture_sample->root;
		fixture_order(d[i].machine, d[i].job);
	}
	for (int i = 0; i < 2; i++)
		fixture_capture(d[i].machine, d[i].job);
	for (int i = 0; i < 2; i++) {
		if (pthread_create(&t[i], NULL, done_thread, &d[i]) != 0)
			abort();
	}
	for (int i = 0; i < 2; i++)
		(void)pthread_join(t[i], NULL);
	ok(d[0].result == 0 && d[1].result == 0, "two captures into one image commit at once");
	ok(fixture_versions() == had + 2, "and are two versions");
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
	fixture_store->files.fault = wait_at_gate;
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
	for (int i = 0; i < 300 && job_find(fixture_fleet, id); i++)
		(void)usleep(20000);
	return fixture_shows(id, want, (int)version);
}

/* A version is not kept waiting by the look at another capture, which may take long, nor by gc, which may take hours. */
static void test_not_held_up(void)
{
	struct doing d[2] = {{.machine = MACHINE_A}, {.machine = MACHINE_B}};
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", "gc"), *gc = NULL;
	struct sample *first = fixture_sample, *other = sample_new(5, &sample_small);
	unsigned had = (unsigned)fixture_versions();
	pthread_t t[2];

	if (!fixture_put_all(fixture_store, other))
		abort();
	for (int i = 0; i < 2; i++) {
		fixture_sample = i == 0 ? first : other;
		d[i].root = &fixture_sample->root;
		fixture_order(d[i].machine, d[i].job);
		fixture_capture(d[i].machine, d[i].job);
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
	ok(d[0].result == 0 && d[1].result == 0 && fixture_shows(d[0].job, "done", (int)had + 2),
	   "and that one too");

	fixture_store->files.fault = NULL;
	fixture_order(MACHINE_A, d[0].job);
	fixture_capture(MACHINE_A, d[0].job);
	spoil_manifests(true);
	if (fixture_says_done(MACHINE_A, d[0].job) == 0)
		abort();
	spoil_manifests(false);
	close_gate(&first->root);
	if (fleet_create_job(fixture_fleet, body, &gc, &fixture_err) < 0)
		abort();
	await_asked();
	ok(comes_to_be(d[0].job, had + 3), "a version is written again while gc runs");
	open_gate();
	ok(ends_as(json_string_value(json_object_get(gc, "id")), "done", 0), "which ends");
	fixture_store->files.fault = NULL;
	sample_free(other);
	fixture_sample = first;
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

	return state_each_event(fixture_state, 0, 10000, seek_event, &x, &fixture_err) == 0 &&
	       x.found;
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
		return settled(id, version + 1, &fixture_sample->root);
	case 3:
		return settled("0123456789abcdef", version, &fixture_sample->root);
	default:
		return settled(id, version, &other);
	}
}

/* What was settled is not what it was: nothing of it gets anywhere, and its job does not go on for ever. */
static void test_settled_damaged(int how, const char *what)
{
	size_t had = fixture_versions(), had_manifests = fixture_manifests();
	CLEANUP_JSON json_t *job = NULL;
	struct job_row row = {.seq = 0};
	char id[JOB_ID_SIZE];
	const char *code;

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (state_get_job(fixture_state, id, &row, &fixture_err) < 0)
		abort();
	row.version = (uint32_t)had + 1;
	row.manifest = settled_wrongly(how, id, had + 1);
	if (state_save_job(fixture_state, &row, &fixture_err) < 0)
		abort();
	job_row_done(&row);
	fixture_restart();
	ok(fixture_shows(id, "failed", 0), what);
	if (fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0)
		abort();
	code = json_string_value(json_object_get(job, "code"));
	ok(code && strcmp(code, "store_damaged") == 0 && has_event(id, "job_failed"),
	   "ends its job, with the reason and an event");
	printf("# %s\n", json_string_value(json_object_get(job, "message")));
	ok(fixture_versions() == had && fixture_manifests() == had_manifests,
	   "and does not get into the store");
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_shows(id, "done", (int)had + 1),
	   "the next capture is that version");
}

/* A manifest that this server would not read is found again by none. */
static void test_too_many_values(void)
{
	CLEANUP_JSON json_t *report = fixture_say_root("disk", "root", &fixture_sample->root);
	json_t *many = json_array();
	size_t had = fixture_versions();
	char id[JOB_ID_SIZE];

	for (unsigned i = 0; i < JSON_VALUES_MAX; i++)
		(void)json_array_append_new(many, json_null());
	(void)json_object_set_new(report, "many", many);
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	ok(fleet_job_done(fixture_fleet, MACHINE_A, id, report, &fixture_err) == API_TOO_LARGE &&
		   fixture_versions() == had && fixture_manifests() == had,
	   "a manifest of more values than are read is not written");
	printf("# %s\n", fixture_err.msg);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_shows(id, "done", (int)had + 1),
	   "another report is taken");
}

int main(void)
{
	fixture_begin_fleet();
	test_plain();
	test_too_many_values();
	test_committing(true);
	test_committing(false);
	test_settled();
	test_settled_alone(false);
	test_settled_alone(true);
	test_crash(false);
	test_crash(true);
	test_two();
	test_not_held_up();
	test_settled_damaged(0, "a settled manifest that is none");
	test_settled_damaged(1, "one that was cut off");
	test_settled_damaged(2, "one of another version");
	test_settled_damaged(3, "one of another job");
	test_settled_damaged(4, "one of another disk");
	fixture_end_fleet();
	return done();
}
