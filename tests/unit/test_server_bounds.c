/* Bounds: of machines, registrations, jobs, and of what a capture sends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/limits.h"
#include "common/text.h"
#include "server/state/sqlite.h"
#include "tests/lib/fleet_fixture.h"
#include "tests/unit/tap.h"

#define ANSWER_MAX (8u << 20) /* common/http.c */

static void test_removed_machine(void)
{
	CLEANUP_JSON json_t *job = NULL;
	char id[JOB_ID_SIZE];

	fixture_order(MACHINE_B, id);
	ok(fleet_remove_machine(fixture_fleet, MACHINE_B, &fixture_err) == API_CONFLICT,
	   "a machine that has a job stays");
	if (state_remove_machine(fixture_state, MACHINE_B, &fixture_err) < 0)
		abort();
	fixture_restart();
	ok(fixture_shows(id, "failed", 0), "a job whose machine is gone fails at the start");
	ok(fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) == 0 &&
		   strcmp(json_string_value(json_object_get(job, "code")), "agent_lost") == 0,
	   "and says why");
}

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
	int r = fleet_register(fixture_fleet, &reg, ret_secret, &retry_s, &fixture_err);

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

	if (state_add_token(fixture_state, &t, &hash, &fixture_err) < 0 ||
	    come("0000000000000000000000000000000c", token, NULL, secret) < 0)
		abort();
	while (n < 2 * REGISTRATIONS &&
	       come("0000000000000000000000000000000c", NULL, secret, next) == 0) {
		memcpy(secret, next, sizeof(secret));
		n++;
	}
	ok(n >= REGISTRATIONS && n < REGISTRATIONS + 20 && fixture_err.code == API_RATE_LIMITED,
	   "a machine registers so often at once, and then slowly");
	printf("# %u times: %s\n", n, fixture_err.msg);
	ok(come("0000000000000000000000000000000d", token, NULL, next) == 0,
	   "which does not keep others from it");
	m = fixture_fleet->machines;
	m->inventory_size = INVENTORIES_MAX;
	ok(come("0000000000000000000000000000000e", token, NULL, next) == API_CONFLICT &&
		   strstr(fixture_err.msg, "inventories"),
	   "inventories have a bound together");
	m->inventory_size = 2;
	for (unsigned i = 0; i < MACHINES_MAX; i++) {
		m = machine_add(fixture_fleet);
		if (!m)
			abort();
		(void)snprintf(m->row.id, sizeof(m->row.id), "f%031x", i);
	}
	ok(come("0000000000000000000000000000000e", token, NULL, next) == API_CONFLICT &&
		   strstr(fixture_err.msg, "as many as it takes"),
	   "so have machines");
	fixture_restart();
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
		(void)pthread_mutex_lock(&fixture_fleet->lock);
		job_enlist(fixture_fleet, j, NULL);
		(void)pthread_mutex_unlock(&fixture_fleet->lock);
	}
	ok(fleet_create_job(fixture_fleet, body, &job, &fixture_err) == API_CONFLICT,
	   "jobs of the server itself");
	fixture_restart();
	ok(fixture_does("gc"), "(without them)"); /* and what comes next has the store for itself */
}

static void test_taken(void)
{
	char id[JOB_ID_SIZE];
	struct job *j = NULL;

	fixture_order(MACHINE_A, id);
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	fleet_note_taken(fixture_fleet, j, 2 * fixture_sample->geometry.size + TAKEN_SPARE - 1);
	ok(fleet_check_taken(fixture_fleet, j, &fixture_err) == 0,
	   "a capture that sends its disks twice");
	fleet_note_taken(fixture_fleet, j, 1);
	ok(fleet_check_taken(fixture_fleet, j, &fixture_err) == API_TOO_LARGE &&
		   fixture_shows(id, "failed", 0),
	   "and more fails");
	printf("# %s\n", fixture_err.msg);
	ok(fleet_check_taken(fixture_fleet, j, &fixture_err) == API_TOO_LARGE,
	   "also for who is late");
	fleet_release(fixture_fleet, j);
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

	if (fixture_put(fixture_store, &x->packs[(*pack)++]) < 0)
		abort();
	fixture_store->files.fault = fails ? no_sync : NULL;
	is_durable = store_checkpoint(fixture_store, &fixture_err) == 0;
	fixture_store->files.fault = NULL;
	return is_durable;
}

/* What the store has lost is sent again, as often as that happens. */
static void test_taken_dropped(void)
{
	const uint64_t most = 2 * fixture_sample->geometry.size + TAKEN_SPARE;
	struct sample *other = sample_new(4, &sample_small);
	char id[JOB_ID_SIZE];
	struct job *j = NULL;
	unsigned pack = 0;

	fixture_order(MACHINE_A, id);
	if (fleet_acquire(fixture_fleet, MACHINE_A, id, JOB_CAPTURE, &j, &fixture_err) < 0)
		abort();
	for (int i = 0; i < 2; i++) {
		fleet_note_taken(fixture_fleet, j, most - 1);
		ok(!makes_checkpoint(other, &pack, true) &&
			   fleet_check_taken(fixture_fleet, j, &fixture_err) == 0 && j->taken == 0,
		   "what a checkpoint has dropped was not sent for nothing");
	}
	fleet_note_taken(fixture_fleet, j, 1);
	ok(makes_checkpoint(other, &pack, false), "a checkpoint");
	fleet_note_taken(fixture_fleet, j, most - 2);
	ok(makes_checkpoint(other, &pack, false) && makes_checkpoint(other, &pack, false) &&
		   fleet_check_taken(fixture_fleet, j, &fixture_err) == 0 &&
		   !makes_checkpoint(other, &pack, true) &&
		   fleet_check_taken(fixture_fleet, j, &fixture_err) == 0,
	   "what is durable was taken");
	fleet_note_taken(fixture_fleet, j, 1);
	ok(fleet_check_taken(fixture_fleet, j, &fixture_err) == API_TOO_LARGE &&
		   fixture_shows(id, "failed", 0),
	   "and counts");
	fleet_release(fixture_fleet, j);
	sample_free(other);
}

/* As the command line reads it. */
static bool can_be_read(json_t *take_list)
{
	CLEANUP_JSON json_t *list = take_list, *again = NULL;
	CLEANUP_FREE char *text = list ? json_dumps(list, JSON_COMPACT) : NULL;

	if (!text || json_parse(text, strlen(text), ANSWER_MAX, &again, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		return false;
	}
	return true;
}

static bool is_listed(const json_t *list, const char *id)
{
	const json_t *job;
	size_t i;

	json_array_foreach(json_object_get(list, "jobs"), i, job)
	{
		if (strcmp(json_string_value(json_object_get(job, "id")), id) == 0)
			return true;
	}
	return false;
}

/* Each of two reports may be as long as that; and what the list leaves out is there where one job is asked for. */
static void test_list_of_jobs(void)
{
	CLEANUP_JSON json_t *numbers = json_array(), *report = json_pack("{s:O}", "n", numbers);
	CLEANUP_JSON json_t *job = NULL;
	json_t *list = NULL;
	char id[JOB_ID_SIZE];

	for (unsigned i = 0; i < JSON_VALUES_MAX - 10; i++)
		(void)json_array_append_new(numbers, json_integer(1));
	for (unsigned i = 0; i < 2; i++) {
		fixture_order(MACHINE_A, id);
		if (fleet_job_failed(fixture_fleet, MACHINE_A, id, "internal", "x", report,
				     &fixture_err) < 0)
			abort();
	}
	ok(fleet_list_jobs(fixture_fleet, NULL, NULL, NULL, &list, &fixture_err) == 0 &&
		   can_be_read(list),
	   "the list of jobs can be read, whatever they report");
	ok(fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) == 0 &&
		   json_array_size(json_object_get(json_object_get(job, "report"), "n")) ==
			   json_array_size(numbers),
	   "which is shown with each");
}

/* One that newer ones have pushed out of the list is found by its id's beginning, as it is shown and written. */
static void test_list_is_long(void)
{
	CLEANUP_JSON json_t *list = NULL, *found = NULL;
	char first[JOB_ID_SIZE], id[JOB_ID_SIZE], begin[9] = "";

	fixture_order(MACHINE_A, first);
	memcpy(id, first, sizeof(id));
	memcpy(begin, first, sizeof(begin) - 1);
	for (unsigned i = 0; i < JOBS_LISTED; i++) {
		if (fleet_job_failed(fixture_fleet, MACHINE_A, id, "internal", "x", NULL,
				     &fixture_err) < 0)
			abort();
		fixture_order(MACHINE_A, id);
	}
	ok(fleet_list_jobs(fixture_fleet, NULL, NULL, NULL, &list, &fixture_err) == 0 &&
		   json_array_size(json_object_get(list, "jobs")) == JOBS_LISTED &&
		   !is_listed(list, first),
	   "the list of jobs has an end");
	ok(fleet_list_jobs(fixture_fleet, NULL, NULL, begin, &found, &fixture_err) == 0 &&
		   is_listed(found, first),
	   "those beyond it are found by how their ids begin");
	if (fleet_job_failed(fixture_fleet, MACHINE_A, id, "internal", "x", NULL, &fixture_err) < 0)
		abort();
}

static void test_list_of_machines(void)
{
	const char *token = "of the list";
	struct token_row t = {.uses = 2, .uses_left = 2, .id = "list"};
	struct id hash = id_of(token, strlen(token));
	CLEANUP_JSON json_t *deep = json_array(), *many = json_array();
	char secret[SECRET_TEXT_SIZE];
	unsigned retry_s = 0;
	json_t *list = NULL;

	for (unsigned depth = 1; depth < 30; depth++) {
		json_t *around = json_array();

		(void)json_array_append_new(around, deep);
		deep = around;
	}
	for (unsigned i = 0; i < JSON_VALUES_MAX - 10; i++)
		(void)json_array_append_new(many, json_object());
	if (state_add_token(fixture_state, &t, &hash, &fixture_err) < 0)
		abort();
	for (unsigned i = 0; i < 2; i++) {
		CLEANUP_JSON json_t *inventory = json_pack("{s:O}", "disks", i ? many : deep);
		struct registration reg = {.token = token,
					   .machine = i ? "0000000000000000000000000000001a"
							: "0000000000000000000000000000001b",
					   .name = "m",
					   .agent_version = "1",
					   .address = "x",
					   .inventory = inventory};

		if (fleet_register(fixture_fleet, &reg, secret, &retry_s, &fixture_err) < 0)
			abort();
		ok(fleet_list_machines(fixture_fleet, &list, &fixture_err) == 0 &&
			   can_be_read(list),
		   i ? "also when it is of many things"
		     : "the list of machines can be read, whatever one says that it has");
	}
}

/* 256 disks of which each text is as long as may be. */
static json_t *long_inventory(const char *unit)
{
	static const char *const keys[] = {"id", "path", "model", "serial"};
	json_t *disks = json_array();
	size_t len = strlen(unit), end = 0;
	char text[TEXT_SIZE] = "";

	for (; end + len < sizeof(text); end += len)
		memcpy(text + end, unit, len);
	text[end] = '\0';
	for (unsigned i = 0; i < 256; i++) {
		json_t *disk = json_pack("{s:i}", "size", 512);

		for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			(void)json_object_set_new(disk, keys[k], json_string(text));
		(void)json_array_append_new(disks, disk);
	}
	return json_pack("{s:o, s:{s:s}}", "disks", disks, "firmware", "kind", text);
}

/* Machines of one token that each say little too much. */
static void test_list_of_many_machines(void)
{
	const char *token = "of many";
	struct token_row t = {.uses = 100, .uses_left = 100, .id = "many"};
	struct id hash = id_of(token, strlen(token));
	char secret[SECRET_TEXT_SIZE], id[MACHINE_ID_SIZE];
	json_t *list = NULL, *disks;
	unsigned retry_s = 0;

	if (state_add_token(fixture_state, &t, &hash, &fixture_err) < 0)
		abort();
	for (unsigned i = 0; i < 60; i++) {
		CLEANUP_JSON json_t *inventory = long_inventory(i % 2 ? "x" : "\x01");
		struct registration reg = {.token = token,
					   .machine = id,
					   .name = "m",
					   .agent_version = "1",
					   .address = "x",
					   .inventory = inventory};

		(void)snprintf(id, sizeof(id), "%030x2c", i);
		if (fleet_register(fixture_fleet, &reg, secret, &retry_s, &fixture_err) < 0)
			abort();
	}
	if (fleet_list_machines(fixture_fleet, &list, &fixture_err) < 0)
		abort();
	disks = json_object_get(json_array_get(json_object_get(list, "machines"), 0), "disks");
	ok(json_is_string(json_object_get(json_array_get(disks, 0), "id")),
	   "where many say too much, one that does not is shown as ever");
	ok(json_array_size(json_object_get(list, "machines")) >= 60 && can_be_read(list),
	   "and the list can be read");
}

static int count_commit(void *arg)
{
	++*(unsigned *)arg;
	return 0;
}

/* A server that has run for months has as many as jobs are kept. */
static void test_leftovers(void)
{
	unsigned commits = 0;
	char id[JOB_ID_SIZE];

	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	for (unsigned i = 0; i < 3; i++) {
		CLEANUP_JSON json_t *job = NULL;

		fixture_order(MACHINE_A, id);
		fixture_capture(MACHINE_A, id);
		if (fleet_cancel_job(fixture_fleet, id, &job, &fixture_err) < 0)
			abort();
	}
	(void)sqlite3_commit_hook(fixture_state->db, count_commit, &commits);
	jobs_remove_leftovers(fixture_fleet);
	(void)sqlite3_commit_hook(fixture_state->db, NULL, NULL);
	ok(commits == 1, "what ended jobs may have left is forgotten at once, not one by one");
	printf("# %u\n", commits);
}

int main(void)
{
	fixture_begin_fleet();
	test_removed_machine();
	test_registrations();
	test_own_jobs();
	test_taken();
	test_taken_dropped();
	test_list_of_jobs();
	test_list_is_long();
	test_list_of_machines();
	test_list_of_many_machines();
	test_leftovers();
	fixture_end_fleet();
	return done();
}
