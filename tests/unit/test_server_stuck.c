/* What the server's storage does not take or give: no job is left behind by it, and each says why. */
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/state/sqlite.h"
#include "tests/lib/fleet_fixture.h"
#include "tests/unit/tap.h"

#define TRIES 300 /* of 20 ms */

static atomic_bool refuses; /* the state, the end of a job */
static atomic_uint refused;

static void judge(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
	(void)argc;
	(void)argv;
	if (atomic_load(&refuses)) {
		sqlite3_result_error(ctx, "disk I/O error", -1);
		(void)atomic_fetch_add(&refused, 1);
	}
}

static void watch_ends(void)
{
	if (sqlite3_create_function(fixture_state->db, "judge", 0, SQLITE_UTF8 | SQLITE_INNOCUOUS,
				    NULL, judge, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(fixture_state->db,
			 "CREATE TEMP TRIGGER ends BEFORE UPDATE OF state ON jobs"
			 " WHEN NEW.state NOT IN ('waiting', 'running') BEGIN SELECT judge(); END",
			 NULL, NULL, NULL) != SQLITE_OK)
		abort();
}

static void order(json_t *take_body, char ret_job[static JOB_ID_SIZE])
{
	CLEANUP_JSON json_t *body = take_body, *job = NULL;

	if (fleet_create_job(fixture_fleet, body, &job, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
	(void)snprintf(ret_job, JOB_ID_SIZE, "%s", json_string_value(json_object_get(job, "id")));
}

static bool is_refused(void)
{
	for (int i = 0; i < TRIES && atomic_load(&refused) == 0; i++)
		(void)usleep(20000);
	return atomic_load(&refused) > 0;
}

/* As if the time until the next try were over. */
static bool ends_as(const char *id, const char *want, int version)
{
	for (int i = 0; i < TRIES && job_find(fixture_fleet, id); i++) {
		(void)pthread_mutex_lock(&fixture_fleet->lock);
		(void)pthread_cond_broadcast(&fixture_fleet->work);
		(void)pthread_mutex_unlock(&fixture_fleet->lock);
		(void)usleep(20000);
	}
	return fixture_shows(id, want, version);
}

static void test_first(void)
{
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_versions() == 1, "a version");
}

/* The thread that did it is the only one that can end it. */
static void test_own(bool is_stopped)
{
	char id[JOB_ID_SIZE];

	atomic_store(&refused, 0);
	atomic_store(&refuses, true);
	order(json_pack("{s:s, s:s}", "kind", "verify", "image", "web"), id);
	ok(is_refused() && fixture_shows(id, "running", 1), "a verify whose end is not taken");
	if (is_stopped) {
		fixture_restart();
		watch_ends();
	}
	atomic_store(&refuses, false);
	ok(ends_as(id, "done", 1), is_stopped ? "ends after a restart" : "ends when it is");
}

/* What operators see of it; `why`: a part of the reason, or NULL: it is not stalled. */
static bool shows_why(const char *id, const char *want_state, const char *why)
{
	CLEANUP_JSON json_t *job = NULL;
	const char *message;

	fleet_tell_stalls(fixture_fleet);
	if (fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0)
		return false;
	message = json_string_value(json_object_get(job, "message"));
	printf("# %s: %s\n", json_string_value(json_object_get(job, "state")),
	       message ? message : "-");
	return strcmp(json_string_value(json_object_get(job, "state")), want_state) == 0 &&
	       json_is_true(json_object_get(job, "stalled")) == !!why &&
	       (why ? message && strstr(message, why) : !message);
}

static void set_away(unsigned s)
{
	(void)pthread_mutex_lock(&fixture_fleet->lock);
	fixture_fleet->config.away_s = s;
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
}

/* The agent asks again and again, which is no progress; or it is gone, and the server alone tries again. */
static void test_commit(void)
{
	const unsigned away_s = fixture_fleet->config.away_s;
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	atomic_store(&refuses, true);
	ok(fixture_says_done(MACHINE_A, id) < 0 && fixture_says_done(MACHINE_A, id) < 0 &&
		   shows_why(id, "running", "disk I/O error"),
	   "a capture whose version is not taken says so");
	set_away(0);
	ok(shows_why(id, "running", "disk I/O error"), "also when its agent is gone");
	set_away(away_s);
	atomic_store(&refuses, false);
	ok(fixture_says_done(MACHINE_A, id) == 0 && fixture_shows(id, "done", 2),
	   "and is done when it is");
}

static int no_index(void *arg, enum file_op op, const char *file)
{
	(void)arg;
	return op == FILE_READ && strncmp(file, "indexes/", 8) == 0 ? -EIO : 0;
}

static json_t *restore_to(const char *machine)
{
	return json_pack("{s:s, s:s, s:s}", "kind", "restore", "machine", machine, "image", "web");
}

/* As if it had been ordered long ago. */
static void set_silent(const char *id)
{
	(void)pthread_mutex_lock(&fixture_fleet->lock);
	job_find(fixture_fleet, id)->heard_ms -= 1000ull * fixture_fleet->config.away_s;
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
}

/* The index of its image cannot be read just then. */
static void test_restore(void)
{
	CLEANUP_JSON json_t *report =
		fixture_say_root("target", "target_root", &fixture_sample->root);
	CLEANUP_JSON json_t *none = NULL, *answer = NULL;
	char id[JOB_ID_SIZE];

	order(restore_to(MACHINE_B), id);
	set_silent(id);
	fixture_store->files.fault = no_index;
	ok(fleet_poll(fixture_fleet, MACHINE_B, NULL, &none, &fixture_err) < 0 &&
		   shows_why(id, "waiting", "Input/output error"),
	   "a restore whose order cannot be made says so");
	fixture_store->files.fault = NULL;
	ok(fleet_poll(fixture_fleet, MACHINE_B, NULL, &answer, &fixture_err) == 0 &&
		   json_is_object(json_object_get(answer, "order")) &&
		   shows_why(id, "waiting", NULL),
	   "until it can");
	fixture_store->files.fault = no_index;
	ok(fleet_job_done(fixture_fleet, MACHINE_B, id, report, &fixture_err) < 0 &&
		   shows_why(id, "running", "Input/output error"),
	   "one whose end cannot be looked at too");
	fixture_store->files.fault = NULL;
	ok(fleet_job_done(fixture_fleet, MACHINE_B, id, report, &fixture_err) == 0 &&
		   fixture_shows(id, "done", 2),
	   "and then it is done");
}

/* What the server does at the end of a job is not to be called what it is not. */
static void test_too_late(void)
{
	static const enum job_kind kinds[] = {JOB_CAPTURE, JOB_RESTORE};
	CLEANUP_JSON json_t *cancelled = NULL;
	char id[JOB_ID_SIZE];

	for (size_t i = 0; i < 2; i++) {
		bool is_capture = kinds[i] == JOB_CAPTURE;
		struct job *j;

		if (is_capture)
			fixture_order(MACHINE_A, id);
		else
			order(restore_to(MACHINE_B), id);
		j = job_find(fixture_fleet, id);
		j->committing = true; /* nobody else is there */
		ok(fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) == API_CONFLICT &&
			   is_capture == !!strstr(fixture_err.msg, "version") &&
			   fleet_job_failed(fixture_fleet, is_capture ? MACHINE_A : MACHINE_B, id,
					    "internal", "x", NULL, &fixture_err) == API_BUSY &&
			   is_capture == !!strstr(fixture_err.msg, "version"),
		   is_capture ? "a capture that is about to be done writes its version"
			      : "a restore that is about to end writes none");
		j->committing = false;
		if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
			abort();
		json_decref(cancelled);
		cancelled = NULL;
	}
}

static void test_begin(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	char id[JOB_ID_SIZE];
	struct job *j = NULL;

	fixture_order(MACHINE_A, id);
	fixture_fill_state(true);
	ok(fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0 &&
		   shows_why(id, "waiting", "readonly"),
	   "a job whose beginning is not taken says so");
	fixture_fill_state(false);
	ok(fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) == 0 &&
		   shows_why(id, "running", NULL),
	   "until it is");
	fleet_release(fixture_fleet, j);
	if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
		abort();
}

static int ask_leave(const char *id, const char *which, json_t *take_disks)
{
	CLEANUP_JSON json_t *disks = take_disks;
	struct progress p = {.phase = "restore", .disk = 0};
	bool cancel = false;

	if (strcmp(which, "begun") == 0)
		p.begun = disks;
	else if (strcmp(which, "released") == 0)
		p.released = disks;
	return fleet_progress(fixture_fleet, MACHINE_B, id, &p, &cancel, &fixture_err);
}

/* A restore may not write, nor make startable what it has written, before that is written down here. */
static void test_leave(const char *which)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	char id[JOB_ID_SIZE];

	order(restore_to(MACHINE_B), id);
	ok(ask_leave(id, "none", NULL) == 0 && shows_why(id, "running", NULL), "a restore runs");
	fixture_fill_state(true);
	ok(ask_leave(id, which, json_pack("[i]", 0)) < 0 && shows_why(id, "running", "readonly"),
	   "one whose leave is not taken says so");
	ok(ask_leave(id, "none", NULL) == 0 && shows_why(id, "running", "readonly"),
	   "its progress changes nothing in that");
	fixture_fill_state(false);
	ok(ask_leave(id, which, json_pack("[i]", 0)) == 0 && shows_why(id, "running", NULL),
	   "until it is");
	if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
		abort();
}

static int says_failed(const char *id)
{
	return fleet_job_failed(fixture_fleet, MACHINE_A, id, "read_error", "It is sick.", NULL,
				&fixture_err);
}

static void test_failed(void)
{
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	atomic_store(&refuses, true);
	ok(says_failed(id) < 0 && shows_why(id, "running", "disk I/O error"),
	   "a capture whose failure is not taken says so");
	atomic_store(&refuses, false);
	ok(says_failed(id) == 0 && fixture_shows(id, "failed", 0), "and has failed when it is");
}

/* What comes while the watchdog waits for the lock is later than the time that it goes by. */
static void test_late(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	char id[JOB_ID_SIZE];
	struct job *j = NULL;

	fixture_order(MACHINE_A, id);
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	(void)pthread_mutex_lock(&fixture_fleet->lock);
	j->heard_ms = j->progress_ms = fleet_now_ms() + 60000;
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
	ok(shows_why(id, "running", NULL), "a job that was heard of just now does not stall");
	fleet_release(fixture_fleet, j);
	if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
		abort();
}

static void say_progress(const char *id, const char *phase, uint64_t done, uint64_t total)
{
	const struct progress p = {.phase = phase, .done = done, .total = total, .disk = -1};
	bool cancel = false;

	if (fleet_progress(fixture_fleet, MACHINE_B, id, &p, &cancel, &fixture_err) < 0)
		abort();
}

static void be_slow(const char *id)
{
	const uint64_t ms = 1000ull * fixture_fleet->config.stall_s;

	(void)pthread_mutex_lock(&fixture_fleet->lock);
	job_find(fixture_fleet, id)->progress_ms -= ms;
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
}

/* An agent that was started again begins with a phase that has no total, and hangs in it.  What the phase before had come to is no progress of it. */
static void test_restarted(void)
{
	CLEANUP_JSON json_t *cancelled = NULL;
	char id[JOB_ID_SIZE];

	order(restore_to(MACHINE_B), id);
	say_progress(id, "restore", 5000, 10000);
	say_progress(id, "check", 0, 0);
	be_slow(id);
	say_progress(id, "check", 0, 0);
	ok(shows_why(id, "running", "though its agent answers"),
	   "an agent that hangs at the start");
	say_progress(id, "check", 4096, 0);
	ok(shows_why(id, "running", NULL), "and goes on");
	be_slow(id);
	say_progress(id, "check", 4096, 0);
	ok(shows_why(id, "running", "though its agent answers"), "and hangs again");
	if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
		abort();
}

int main(void)
{
	fixture_begin_fleet();
	watch_ends();
	test_first();
	test_own(false);
	test_own(true);
	test_commit();
	test_restore();
	test_too_late();
	test_begin();
	test_leave("begun");
	test_leave("released");
	test_failed();
	test_late();
	test_restarted();
	fixture_end_fleet();
	return done();
}
