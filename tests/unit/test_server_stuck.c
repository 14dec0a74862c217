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

int main(void)
{
	fixture_begin_fleet();
	watch_ends();
	test_first();
	test_own(false);
	test_own(true);
	fixture_end_fleet();
	return done();
}
