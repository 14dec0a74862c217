/* What a job must show for itself: the roots of source, server and target, and that what was sealed is still there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tests/lib/fleet_fixture.h"
#include "tests/unit/tap.h"

static json_t *get_roots(const char *id)
{
	CLEANUP_JSON json_t *job = NULL;
	const json_t *report;

	if (fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0)
		return NULL;
	report = json_object_get(job, "report");
	if (!json_is_string(json_object_get(json_object_get(report, "server"), "ended")))
		return NULL;
	return json_incref(json_array_get(json_object_get(report, "roots"), 0));
}

static bool is_root(const json_t *roots, const char *key)
{
	struct id got;

	return json_get_id(roots, key, &got, &fixture_err) == 0 &&
	       id_equal(&got, &fixture_sample->root);
}

static void order_restore(char ret_job[static JOB_ID_SIZE])
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s, s:s}", "kind", "restore", "machine",
					      MACHINE_B, "image", "web");
	CLEANUP_JSON json_t *job = NULL;

	if (fleet_create_job(fixture_fleet, body, &job, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
	(void)snprintf(ret_job, JOB_ID_SIZE, "%s", json_string_value(json_object_get(job, "id")));
}

static void test_roots(void)
{
	const struct id other = id_of("other", 5);
	char id[JOB_ID_SIZE];

	for (int lie = 1; lie >= 0; lie--) {
		CLEANUP_JSON json_t *said =
			fixture_say_root("disk", "root", lie ? &other : &fixture_sample->root);
		CLEANUP_JSON json_t *roots = NULL;

		fixture_order(MACHINE_A, id);
		fixture_capture(MACHINE_A, id);
		if (lie) {
			ok(fleet_job_done(fixture_fleet, MACHINE_A, id, said, &fixture_err) ==
					   API_INCOMPLETE &&
				   fixture_shows(id, "running", 0),
			   "a capture whose agent names another root than was finished");
			printf("# %s\n", fixture_err.msg);
			ok(fixture_says_done(MACHINE_A, id) == API_INCOMPLETE,
			   "is open again, also for one that names none");
			fixture_capture(MACHINE_A, id);
			ok(fixture_says_done(MACHINE_A, id) == 0,
			   "and ends when it was finished again");
			continue;
		}
		ok(fleet_job_done(fixture_fleet, MACHINE_A, id, said, &fixture_err) == 0,
		   "a capture");
		roots = get_roots(id);
		ok(is_root(roots, "server") && is_root(roots, "source") &&
			   json_is_true(json_object_get(roots, "agree")),
		   "source and server agree");
	}
	for (int lie = 1; lie >= 0; lie--) {
		CLEANUP_JSON json_t *said = fixture_say_root("target", "target_root",
							     lie ? &other : &fixture_sample->root);
		CLEANUP_JSON json_t *roots = NULL;

		order_restore(id);
		ok(fleet_job_done(fixture_fleet, MACHINE_B, id, said, &fixture_err) ==
			   (lie ? API_VERIFY_FAILED : 0),
		   lie ? "a restore whose target has another root" : "one with the right root");
		if (lie)
			printf("# %s\n", fixture_err.msg);
		roots = get_roots(id);
		ok(fixture_shows(id, lie ? "failed" : "done", (int)fixture_versions()) &&
			   is_root(roots, "server") && is_root(roots, "source") &&
			   is_root(roots, "target") == !lie &&
			   json_is_true(json_object_get(roots, "agree")) == !lie,
		   lie ? "is not done" : "is");
	}
	order_restore(id);
	ok(fleet_job_done(fixture_fleet, MACHINE_B, id, NULL, &fixture_err) == API_VERIFY_FAILED &&
		   fixture_shows(id, "failed", (int)fixture_versions()),
	   "a restore whose agent does not say it has failed");
	CLEANUP_JSON json_t *roots = get_roots(id);
	ok(is_root(roots, "server") && json_is_null(json_object_get(roots, "target")) &&
		   json_is_null(json_object_get(roots, "agree")),
	   "and it is open who agrees");
}

/* The server's clock was put right meanwhile: when it began and ended is as the clock said, how long it took is not. */
static void test_clock(int64_t years)
{
	CLEANUP_JSON json_t *said =
		fixture_say_root("target", "target_root", &fixture_sample->root);
	CLEANUP_JSON json_t *job = NULL;
	const struct progress p = {.phase = "check", .disk = -1};
	bool cancel = false;
	char id[JOB_ID_SIZE];
	const json_t *seconds;

	order_restore(id);
	if (fleet_progress(fixture_fleet, MACHINE_B, id, &p, &cancel, &fixture_err) < 0)
		abort();
	(void)pthread_mutex_lock(&fixture_fleet->lock);
	job_find(fixture_fleet, id)->row.started -= years * 31557600;
	(void)pthread_mutex_unlock(&fixture_fleet->lock);
	(void)usleep(1100000);
	if (fleet_job_done(fixture_fleet, MACHINE_B, id, said, &fixture_err) < 0 ||
	    fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0)
		abort();
	seconds = json_object_get(json_object_get(json_object_get(job, "report"), "server"),
				  "seconds");
	printf("# %lld s\n", (long long)json_integer_value(seconds));
	ok(json_integer_value(seconds) >= 1 && json_integer_value(seconds) < 600,
	   years > 0 ? "a clock that was put on is not in the time that a job took"
		     : "nor one that was put back");
}

static void set_damaged(bool is_damaged)
{
	if (state_set_damaged(fixture_state, "web", (uint32_t)fixture_versions(), is_damaged,
			      &fixture_err) < 0)
		abort();
}

static bool is_given(void)
{
	CLEANUP_JSON json_t *answer = NULL;

	if (fleet_poll(fixture_fleet, MACHINE_B, NULL, &answer, &fixture_err) < 0)
		abort();
	return json_is_object(json_object_get(answer, "order"));
}

/* A verify has found it since the restore was ordered. */
static void test_damaged_since(void)
{
	CLEANUP_JSON json_t *begun = json_pack("[i]", 0), *job = NULL, *cancelled = NULL;
	const struct progress p = {.phase = "restore", .disk = 0, .begun = begun};
	bool cancel = false;
	char id[JOB_ID_SIZE];

	order_restore(id);
	set_damaged(true);
	ok(!is_given() && fixture_shows(id, "failed", (int)fixture_versions()),
	   "a restore of a version that was found damaged meanwhile is not begun");
	if (fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0)
		abort();
	printf("# %s\n", json_string_value(json_object_get(job, "message")));
	ok(json_is_string(json_object_get(job, "code")) &&
		   strcmp(json_string_value(json_object_get(job, "code")), "store_damaged") == 0 &&
		   strstr(json_string_value(json_object_get(job, "message")), "is damaged"),
	   "and says why");
	set_damaged(false);
	order_restore(id);
	if (!is_given() ||
	    fleet_progress(fixture_fleet, MACHINE_B, id, &p, &cancel, &fixture_err) < 0)
		abort();
	set_damaged(true);
	ok(is_given(), "one that had begun has nothing to lose, and goes on");
	set_damaged(false);
	if (fleet_cancel_job(fixture_fleet, id, &cancelled, &fixture_err) < 0)
		abort();
}

/* What was sealed is gone when the capture is to be made a version. */
static void test_lost_index(void)
{
	char id[JOB_ID_SIZE], text[ID_TEXT_SIZE], file[256], away[256];
	size_t had = fixture_versions();

	id_to_text(&fixture_sample->root, text);
	(void)snprintf(file, sizeof(file), "%s/store/indexes/%s", fixture_data, text);
	(void)snprintf(away, sizeof(away), "%s/index", fixture_dir);
	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (rename(file, away) < 0)
		abort();
	ok(fixture_says_done(MACHINE_A, id) == API_STORE_DAMAGED &&
		   fixture_shows(id, "failed", 0) && fixture_versions() == had,
	   "a capture whose index is lost is no version");
	printf("# %s\n", fixture_err.msg);
	if (rename(away, file) < 0)
		abort();
}

/* The same of a pack: its disk is open again, and its agent sends what lacks. */
static void test_lost_pack(size_t n)
{
	const struct sample_pack *pack = &fixture_sample->packs[n];
	size_t had = fixture_versions();
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	fixture_capture(MACHINE_A, id);
	if (unlink(fixture_pack_path(&pack->id)) < 0)
		abort();
	cache_clear(fixture_store);
	if (fixture_get(fixture_store, fixture_sample, 0, fixture_sample->chunks_len, NULL) == 0 &&
	    fixture_get_nodes(fixture_store, fixture_sample) == 0)
		abort();
	ok(fixture_says_done(MACHINE_A, id) == API_INCOMPLETE && fixture_shows(id, "running", 0) &&
		   fixture_versions() == had,
	   n == 0 ? "a capture that has lost a chunk is no version yet" : "nor one without a node");
	printf("# %s\n", fixture_err.msg);
	ok(fixture_says_done(MACHINE_A, id) == API_INCOMPLETE, "its disk is to be finished again");
	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	fixture_capture(MACHINE_A, id);
	ok(fixture_says_done(MACHINE_A, id) == 0 &&
		   fixture_shows(id, "done", (int)fixture_versions()) &&
		   fixture_versions() == had + 1,
	   "and then it is one");
}

/* One source onto two targets: each has to hold it. */
static void test_two_targets(void)
{
	const struct id other = id_of("other", 5);
	struct job_disk_row disks[2] = {
		{.disk = "a", .source_disk = "s", .root = fixture_sample->root},
		{.disk = "b", .source_disk = "s", .root = fixture_sample->root},
	};
	char good[ID_TEXT_SIZE], bad[ID_TEXT_SIZE];

	id_to_text(&fixture_sample->root, good);
	id_to_text(&other, bad);
	for (int lie = 0; lie < 2; lie++) {
		CLEANUP_JSON json_t *said =
			json_pack("{s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "disks", "source", "s",
				  "target", "a", "target_root", good, "source", "s", "target", "b",
				  "target_root", lie ? bad : good);

		ok(report_check_targets(disks, 2, said, &fixture_err) ==
			   (lie ? API_VERIFY_FAILED : 0),
		   lie ? "a second target of the same disk is not taken for the first"
		       : "two targets of one disk");
	}
}

static int check_text(void *arg, const struct event_row *e)
{
	CLEANUP_JSON json_t *text = json_string(e->text);

	++*(size_t *)arg;
	return text ? 0 : -EPROTO;
}

/* What stands before the reason of an event leaves less room for that than its job has. */
static void test_long_reason(void)
{
	char id[JOB_ID_SIZE], reason[MESSAGE_SIZE];
	bool is_good = true;
	size_t n = 0;

	for (unsigned at = 0; is_good && at < 2; at++) {
		size_t len = at;

		memset(reason, 'x', at);
		while (len + 2 < sizeof(reason)) {
			memcpy(reason + len, "\xc3\xa9", 2);
			len += 2;
		}
		reason[len] = '\0';
		fixture_order(MACHINE_A, id);
		is_good = fleet_job_failed(fixture_fleet, MACHINE_A, id, "internal", reason, NULL,
					   &fixture_err) == 0 &&
			  fixture_shows(id, "failed", 0);
	}
	ok(is_good, "a job fails with as long a reason as there may be");
	ok(state_each_event(fixture_state, 0, 10000, check_text, &n, &fixture_err) == 0 && n > 4,
	   "which its event has as text, cut at a character");
}

static int count_reopened(void *arg, const struct event_row *e)
{
	*(unsigned *)arg += strcmp(e->event, "capture_reopened") == 0;
	return 0;
}

/* An agent that has its disk opened again and again: that is not to push all that has happened out of the events. */
static void test_reopened_often(void)
{
	const struct id other = id_of("other", 5);
	CLEANUP_JSON json_t *lie = fixture_say_root("disk", "root", &other);
	CLEANUP_JSON json_t *job = NULL;
	unsigned before = 0, after = 0, opened = 0;
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	(void)!state_each_event(fixture_state, 0, 10000, count_reopened, &before, &fixture_err);
	for (unsigned i = 0; i < 5; i++) {
		fixture_capture(MACHINE_A, id);
		opened += fleet_job_done(fixture_fleet, MACHINE_A, id, lie, &fixture_err) ==
			  API_INCOMPLETE;
	}
	(void)!state_each_event(fixture_state, 0, 10000, count_reopened, &after, &fixture_err);
	ok(opened == 5 && after == before + 1,
	   "a disk that is opened again and again is told of once in a while");
	if (fleet_cancel_job(fixture_fleet, id, &job, &fixture_err) < 0)
		abort();
}

/* An agent that says what is the server's to say. */
static void test_borrowed_words(void)
{
	static const char *const words[] = {"roots", "damage", "bytes_freed"};
	bool has = false;
	CLEANUP_JSON json_t *said =
		json_pack("{s:[{s:s, s:b}], s:s, s:i, s:s}", "roots", "disk", "file:a", "agree", 1,
			  "damage", "the image is lost", "bytes_freed", 1, "agent_version", "1");
	CLEANUP_JSON json_t *job = NULL;
	const json_t *report;
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_A, id);
	if (fleet_job_failed(fixture_fleet, MACHINE_A, id, "internal", "x", said, &fixture_err) <
		    0 ||
	    fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0)
		abort();
	report = json_object_get(job, "report");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		has = has || json_object_get(report, words[i]);
	ok(report && !has, "an agent's report has nothing that is the server's to say");
	ok(json_object_get(report, "agent_version") && json_object_get(said, "roots"),
	   "what is its own stays");
}

int main(void)
{
	fixture_begin_fleet();
	test_roots();
	test_clock(11);
	test_clock(-11);
	test_damaged_since();
	test_lost_index();
	test_lost_pack(0);
	test_lost_pack(fixture_sample->chunk_packs);
	test_two_targets();
	test_long_reason();
	test_borrowed_words();
	test_reopened_often();
	fixture_end_fleet();
	return done();
}
