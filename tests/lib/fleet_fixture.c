#include "tests/lib/fleet_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "server/state/sqlite.h"

char fixture_state_path[128];
struct sample *fixture_sample;
struct state *fixture_state;
struct store *fixture_store;
struct fleet *fixture_fleet;
struct err fixture_err;
char fixture_reason[512];
files_fault_fn fixture_fault;
bool fixture_state_is_full;

void fixture_fill_state(bool is_full)
{
	if (sqlite3_exec(fixture_state->db,
			 is_full ? "PRAGMA query_only = 1" : "PRAGMA query_only = 0", NULL, NULL,
			 NULL) != SQLITE_OK)
		abort();
}

void fixture_open_fleet(void)
{
	struct fleet_config config = {.poll_s = 1, .stall_s = 100, .away_s = 100};
	bool is_new;

	fixture_store = fixture_open(false);
	fixture_store->files.fault = fixture_fault;
	if (state_open(fixture_state_path, &fixture_state, &is_new, &fixture_err) < 0)
		abort();
	if (fixture_state_is_full)
		fixture_fill_state(true);
	config.state = fixture_state;
	config.store = fixture_store;
	if (fleet_open(&config, &fixture_fleet, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
}

void fixture_close_fleet(void)
{
	fleet_stop(fixture_fleet);
	fleet_close(fixture_fleet);
	store_close(fixture_store);
	state_close(fixture_state);
}

void fixture_restart(void)
{
	fixture_close_fleet();
	fixture_open_fleet();
}

void fixture_enrol(const char *machine)
{
	CLEANUP_JSON json_t *inventory =
		json_pack("{s:[{s:s, s:I, s:i, s:b, s:b, s:s}]}", "disks", "id", "file:a", "size",
			  (json_int_t)fixture_sample->geometry.size, "sector_size", 512,
			  "read_only", 0, "empty", 1, "fingerprint",
			  "0000000000000000000000000000000000000000000000000000000000000000");
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
	if (state_add_token(fixture_state, &t, &hash, &fixture_err) < 0 ||
	    fleet_register(fixture_fleet, &reg, secret, &retry_s, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
}

void fixture_order(const char *machine, char ret_job[static JOB_ID_SIZE])
{
	CLEANUP_JSON json_t *body =
		json_pack("{s:s, s:s, s:s}", "kind", "capture", "machine", machine, "image", "web");
	CLEANUP_JSON json_t *job = NULL;

	if (fleet_create_job(fixture_fleet, body, &job, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
	(void)snprintf(ret_job, JOB_ID_SIZE, "%s", json_string_value(json_object_get(job, "id")));
}

void fixture_capture(const char *machine, const char *id)
{
	struct job_disk_row sealed = {.geometry = fixture_sample->geometry,
				      .root = fixture_sample->root,
				      .data_bytes = fixture_sample->data_bytes};
	struct index_info info = {.geometry = fixture_sample->geometry};
	struct seal_result result = {0};
	struct partial *p = NULL;
	struct job *j = NULL;
	int r;

	r = fleet_acquire(fixture_fleet, machine, id, JOB_CAPTURE, &j, &fixture_err);
	if (r == 0)
		r = job_get_partial(fixture_fleet, j, 0, &p, &fixture_err);
	for (uint32_t i = 0; r == 0 && i < fixture_sample->windows; i++)
		r = partial_set_one(p, i, &fixture_sample->nodes[i], &fixture_err);
	if (r == 0)
		r = partial_seal(p, &info, &fixture_sample->root, &result, &fixture_err);
	if (r == 0)
		r = job_set_sealed(fixture_fleet, j, 0, &sealed, &fixture_err);
	if (r < 0 || result.missing_len > 0) {
		printf("# %s\n", fixture_err.msg);
		abort();
	}
	fleet_release(fixture_fleet, j);
}

json_t *fixture_say_root(const char *disk_key, const char *key, const struct id *root)
{
	char text[ID_TEXT_SIZE];

	id_to_text(root, text);
	return json_pack("{s:[{s:s, s:s}]}", "disks", disk_key, "file:a", key, text);
}

int fixture_says_done(const char *machine, const char *id)
{
	CLEANUP_JSON json_t *report = fixture_say_root("disk", "root", &fixture_sample->root);

	return fleet_job_done(fixture_fleet, machine, id, report, &fixture_err);
}

bool fixture_shows(const char *id, const char *want_state, int want_version)
{
	CLEANUP_JSON json_t *job = NULL;
	const char *got;

	if (fleet_show_job(fixture_fleet, id, 0, 0, &job, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
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

size_t fixture_versions(void)
{
	CLEANUP_JSON json_t *image = NULL;

	if (fleet_show_image(fixture_fleet, "web", &image, &fixture_err) < 0)
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

size_t fixture_manifests(void)
{
	size_t n = 0;

	(void)!store_each_manifest(fixture_store, count, &n, &fixture_err);
	return n;
}

bool fixture_does(const char *kind)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", kind), *job = NULL;
	char id[JOB_ID_SIZE];

	if (fleet_create_job(fixture_fleet, body, &job, &fixture_err) < 0) {
		printf("# %s\n", fixture_err.msg);
		return false;
	}
	(void)snprintf(id, sizeof(id), "%s", json_string_value(json_object_get(job, "id")));
	for (int i = 0; i < 600; i++) {
		CLEANUP_JSON json_t *now = NULL;
		const char *is;

		if (fleet_show_job(fixture_fleet, id, 0, 0, &now, &fixture_err) < 0)
			return false;
		is = json_string_value(json_object_get(now, "state"));
		if (strcmp(is, "running") == 0 || strcmp(is, "waiting") == 0) {
			(void)usleep(100000);
			continue;
		}
		is = json_string_value(json_object_get(now, "message"));
		(void)snprintf(fixture_reason, sizeof(fixture_reason), "%s", is ? is : "");
		return fixture_shows(id, "done", 0);
	}
	return false;
}

void fixture_begin_fleet(void)
{
	log_set_level(LOG_ERROR);
	fixture_begin();
	(void)snprintf(fixture_state_path, sizeof(fixture_state_path), "%s/state.db", fixture_dir);
	fixture_sample = sample_new(1, &sample_small);
	fixture_open_fleet();
	if (!fixture_put_all(fixture_store, fixture_sample))
		abort();
	fixture_enrol(MACHINE_A);
	fixture_enrol(MACHINE_B);
}

void fixture_end_fleet(void)
{
	fixture_close_fleet();
	sample_free(fixture_sample);
	fixture_end();
}
