/* Versions that a backup of the state, a lost state or a lost index leaves unknown: they are found again, their numbers are not given out twice, and gc
 * leaves what they are made of. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"
#include "tests/lib/fleet_fixture.h"
#include "tests/unit/tap.h"

static void test_first(void)
{
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_versions() == 1, "a version");
}

static bool verifies(unsigned version)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s, s:i}", "kind", "verify", "image", "web",
					      "version", (int)version);
	CLEANUP_JSON json_t *job = NULL;
	const char *id;

	if (fleet_create_job(fixture_fleet, body, &job, &fixture_err) < 0)
		abort();
	id = json_string_value(json_object_get(job, "id"));
	for (int i = 0; i < 300 && job_find(fixture_fleet, id); i++)
		(void)usleep(20000);
	return fixture_shows(id, "done", (int)version);
}

/* A bit of the state turns where it says what a version is made of.  Its manifest, which has a sum, says that too. */
static void test_list(const char *with, const char *what)
{
	char root[ID_TEXT_SIZE], *sql = NULL;

	id_to_text(&fixture_sample->root, root);
	if (asprintf(&sql, "UPDATE versions SET disks=replace(disks, '%s', '%s') WHERE image='web'",
		     root, with) < 0 ||
	    sqlite3_exec(fixture_state->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		abort();
	free(sql);
	ok(!fixture_does("gc") && strstr(fixture_reason, "image 'web', version 1") &&
		   strstr(fixture_reason, "verify it"),
	   "gc does not know what a version needs, and says what to do");
	printf("# %s\n", fixture_reason);
	ok(verifies(1), what);
	ok(fixture_does("gc") && fixture_lacks(fixture_store, fixture_sample) == 0 && verifies(1),
	   "and then gc leaves all of it");
}

/* Only the job's row names the index of a disk that was sealed before the server started. */
static void test_sealed_before(void)
{
	struct sample *first = fixture_sample;
	size_t had = fixture_versions();
	char id[JOB_ID_SIZE];

	fixture_sample = sample_new(2, &sample_small); /* of no version */
	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	fixture_restart();
	ok(fixture_does("gc"), "gc after a restart, while a capture has a disk that is sealed");
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_shows(id, "done", (int)had + 1),
	   "leaves that disk's index");
	sample_free(fixture_sample);
	fixture_sample = first;
}

/* The manifest of a capture is settled, and not yet written when its agent begins anew and puts other windows. */
static void test_settled_before(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	struct sample *first = fixture_sample;
	struct partial *p = NULL;
	struct job *j = NULL;
	char id[JOB_ID_SIZE], root[ID_TEXT_SIZE];
	int r;

	fixture_sample = sample_new(3, &sample_small);
	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	id_to_text(&fixture_sample->root, root);
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	r = job_get_partial(fixture_fleet, j, 0, &p, &fixture_err);
	j->commit_ms = UINT64_MAX; /* the worker is to leave it alone */
	if (asprintf(&j->row.manifest, "{\"disks\":[{\"root\":\"%s\"}]}", root) < 0)
		abort();
	for (uint32_t i = 0; r == 0 && i < first->windows; i++)
		r = partial_set_one(p, i, &first->nodes[i], &fixture_err);
	ok(r == 0 && fixture_does("gc") && fixture_lacks(fixture_store, fixture_sample) == 0,
	   "gc leaves what a settled manifest names");
	free(j->row.manifest);
	j->row.manifest = NULL;
	fleet_release(fixture_fleet, j);
	ok(fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) == 0,
	   "which a capture without one");
	ok(fixture_does("gc") && fixture_lacks(fixture_store, fixture_sample) > 0, "does not keep");
	sample_free(fixture_sample);
	fixture_sample = first;
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
	struct sample *first = fixture_sample;
	struct last last = {.version = 0};

	fixture_sample = sample_new(is_listed ? 6 : 7, &sample_small);
	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	id_to_text(&fixture_sample->root, text);
	(void)snprintf(file, sizeof(file), "%s/store/indexes/%s", fixture_data, text);
	if (fixture_says_done(MACHINE_A, id) < 0 || unlink(file) < 0 ||
	    state_each_version(fixture_state, "web", find_last, &last, &fixture_err) < 0)
		abort();
	if (!is_listed &&
	    (state_begin_removal(fixture_state, "web", last.version, &fixture_err) < 0 ||
	     state_remove_version(fixture_state, "web", last.version, &fixture_err) < 0))
		abort();
	id_to_text(&last.manifest, text);
	(void)snprintf(version, sizeof(version), "image 'web', version %" PRIu32 ",%s",
		       last.version, is_listed ? " manifest" : " which is not listed, manifest");
	ok(!fixture_does("gc") && strstr(fixture_reason, version) && strstr(fixture_reason, text),
	   "gc without an index names the version and its manifest");
	printf("# %s\n", fixture_reason);
	if (is_listed &&
	    state_set_damaged(fixture_state, "web", last.version, true, &fixture_err) < 0)
		abort();
	if (!is_listed && store_remove_manifest(fixture_store, &last.manifest, &fixture_err) < 0)
		abort();
	ok(fixture_does("gc"), is_listed ? "and goes on when it is known that it is damaged"
					 : "and when that one is taken away");
	if (is_listed && /* whole again, for those that come */
	    (!fixture_put_all(fixture_store, fixture_sample) ||
	     fixture_seal(fixture_store, fixture_sample, "again") < 0 ||
	     state_set_damaged(fixture_state, "web", last.version, false, &fixture_err) < 0))
		abort();
	partial_remove(fixture_store, "again");
	sample_free(fixture_sample);
	fixture_sample = first;
}

static void test_recovery(void)
{
	size_t had = fixture_versions();

	fixture_close_fleet();
	if (unlink(fixture_state_path) < 0)
		abort();
	fixture_open_fleet();
	ok(fixture_versions() == had, "without its database the images are found again");
	fixture_restart();
	ok(fixture_versions() == had, "once");
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
	struct sample *first = fixture_sample;
	size_t had = fixture_versions();
	char id[JOB_ID_SIZE], backup[160];
	struct id other;

	(void)snprintf(backup, sizeof(backup), "%s/backup.db", fixture_dir);
	fixture_close_fleet();
	copy(fixture_state_path, backup);
	fixture_open_fleet();
	fixture_sample = sample_new(40, &sample_small); /* of no version before */
	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_versions() == had + 1,
	   "a capture after the backup");
	fixture_close_fleet();
	copy(backup, fixture_state_path);
	fixture_open_fleet();
	ok(fixture_versions() == had + 1, "is there though the state was put back");
	ok(fixture_does("gc") && fixture_lacks(fixture_store, fixture_sample) == 0,
	   "and gc leaves it");
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_shows(id, "done", (int)had + 2),
	   "its number is not given out again");
	if (state_begin_removal(fixture_state, "web", (uint32_t)had + 1, &fixture_err) < 0 ||
	    state_remove_version(fixture_state, "web", (uint32_t)had + 1, &fixture_err) < 0 ||
	    state_begin_removal(fixture_state, "web", (uint32_t)had + 2, &fixture_err) < 0 ||
	    state_remove_version(fixture_state, "web", (uint32_t)had + 2, &fixture_err) < 0)
		abort();
	ok(fixture_does("gc") && fixture_lacks(fixture_store, fixture_sample) == 0,
	   "nor does gc remove what a manifest names that is in no list");
	if (store_put_manifest(fixture_store, junk, sizeof(junk) - 1, &other, &fixture_err) < 0)
		abort();
	ok(!fixture_does("gc"), "or may name");
	fixture_restart();
	ok(fixture_versions() == had + 2, "which does not keep the server from starting");
	if (!flip_manifest(&other))
		abort();
	ok(fixture_does("gc"), "one that is damaged says nothing");
	sample_free(fixture_sample);
	fixture_sample = first;
}

static int no_manifest(void *arg, enum file_op op, const char *file)
{
	(void)arg;
	return op == FILE_READ && strncmp(file, "manifests/", 10) == 0 ? -EIO : 0;
}

/* As if the time until the next try were over. */
static bool catches_up(size_t want)
{
	(void)pthread_mutex_lock(&fixture_fleet->lock);
	fixture_fleet->catch_up_ms = 0;
	(void)pthread_cond_broadcast(&fixture_fleet->work);
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
	for (int i = 0; i < 300 && fixture_versions() != want; i++)
		(void)usleep(20000);
	return fixture_versions() == want;
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
	size_t had = fixture_versions();
	char id[JOB_ID_SIZE], backup[160];
	struct last last;

	(void)snprintf(backup, sizeof(backup), "%s/backup.db", fixture_dir);
	fixture_close_fleet();
	copy(fixture_state_path, backup);
	fixture_open_fleet();
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (fixture_says_done(MACHINE_A, id) < 0 ||
	    state_each_version(fixture_state, "web", find_last, &last, &fixture_err) < 0)
		abort();
	fixture_close_fleet();
	copy(backup, fixture_state_path);
	if (trouble == DAMAGED)
		turn_manifest(&last.manifest);
	fixture_fault = trouble == UNREAD ? no_manifest : NULL;
	fixture_state_is_full = trouble == FULL;
	fixture_open_fleet();
	ok(fixture_versions() == had, what);
	if (trouble == FULL)
		fixture_fill_state(false); /* else there would be no capture to ask */
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (trouble == FULL)
		fixture_fill_state(true);
	if (waits) {
		ok(fixture_says_done(MACHINE_A, id) == API_BUSY && fixture_shows(id, "running", 0),
		   "does not give its number to a capture, which waits");
		printf("# %s\n", fixture_err.msg);
		fleet_tell_stalls(fixture_fleet);
		ok(fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) == 0 &&
			   json_is_true(json_object_get(job, "stalled")) &&
			   strstr(json_string_value(json_object_get(job, "message")), "number"),
		   "and whose job says why");
	}
	fixture_store->files.fault = fixture_fault = NULL;
	if (trouble == FULL)
		fixture_fill_state(fixture_state_is_full = false);
	if (waits)
		ok(catches_up(had + 1), "it is taken up when that is over");
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_shows(id, "done", (int)had + 2),
	   "the capture is the version after it");
}

int main(void)
{
	const struct id other = id_of("other", 5);
	char text[ID_TEXT_SIZE];

	fixture_begin_fleet();
	test_first();
	id_to_text(&other, text);
	test_list(text, "a verify finds the list of its disks in the manifest");
	test_list("\\", "also when the one of the state is no JSON");
	test_sealed_before();
	test_settled_before();
	test_gc_without_index(true);
	test_older_state();
	test_recovery();
	fixture_enrol(MACHINE_A);
	test_not_recovered(UNREAD, "a server that cannot read a manifest at its start");
	test_not_recovered(FULL, "one whose state takes nothing starts, and");
	test_not_recovered(DAMAGED, "one that finds it damaged");
	test_gc_without_index(false);
	fixture_end_fleet();
	return done();
}
