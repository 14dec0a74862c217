#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/message.h"
#include "server/cli/cli.h"
#include "server/cli/coverage.h"
#include "server/cli/image_ref.h"
#include "server/cli/print.h"
#include "server/cli/table.h"
#include "server/cli/unreadable.h"

#define DISK_PREFIX_MIN	       4
#define FINGERPRINT_PREFIX_MIN 16

#define OUT_OF_MEMORY(err) err_set((err), -ENOMEM, "out of memory")

/* ---- listing */

static void describe_image(const json_t *job, char *buf, size_t size)
{
	uint64_t version = json_number(job, "version");

	if (version)
		(void)snprintf(buf, size, "%s@%" PRIu64, json_text(job, "image"), version);
	else
		(void)snprintf(buf, size, "%s", json_text(job, "image"));
}

static void describe_progress(const json_t *job, char *buf, size_t size)
{
	uint64_t done = json_number(job, "done"), total = json_number(job, "total");
	char rescue[RESCUE_TEXT_SIZE];

	job_rescue_to_text(job, rescue);
	if (strcmp(json_text(job, "state"), "running") != 0 || total == 0)
		(void)snprintf(buf, size, "-");
	else
		(void)snprintf(buf, size, "%s %.0f%%%s", json_text(job, "phase"),
			       100.0 * (double)done / (double)total, rescue);
}

static void add_job(struct table *t, const json_t *job)
{
	char image[128], progress[192], state[STATE_TEXT_SIZE];

	job_state_to_text(job, state);
	describe_image(job, image, sizeof(image));
	describe_progress(job, progress, sizeof(progress));
	cell_id(t, job);
	cell_text(t, "%s", json_text(job, "kind"));
	cell_text(t, "%s", state);
	cell_text(t, "%s", json_text(job, "machine_name"));
	cell_text(t, "%s", image);
	cell_text(t, "%s", progress);
	cell_when(t, job, "created");
	cell_text(t, "%s", json_text(job, "message"));
}

static void jobs_path(const struct ctx *c, char path[static PATH_SIZE])
{
	if (c->o.machine && c->o.state)
		path_make(path, "/v1/jobs?machine=%s&state=%s", c->o.machine, c->o.state);
	else if (c->o.machine)
		path_make(path, "/v1/jobs?machine=%s", c->o.machine);
	else if (c->o.state)
		path_make(path, "/v1/jobs?state=%s", c->o.state);
	else
		path_make(path, "/v1/jobs");
}

int cmd_jobs(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"JOB", false},	  {"KIND", false},     {"STATE", false},   {"MACHINE", false},
		{"IMAGE", false}, {"PROGRESS", false}, {"CREATED", false}, {"MESSAGE", false},
	};
	static const struct listing list = {
		.key = "jobs",
		.form = TABLE_FORM(columns, add_job, "id"),
	};
	char path[PATH_SIZE];

	jobs_path(c, path);
	return list_print(c, path, &list, err);
}

/* ---- one job */

static void print_time(const char *name, const json_t *job, const char *key)
{
	char text[WHEN_TEXT_SIZE];

	if (!json_is_string(json_object_get(job, key)))
		return;
	when_to_text(json_text(job, key), text);
	print_property(name, "%s", text);
}

static void print_amounts(const json_t *job)
{
	char done[SIZE_TEXT_SIZE], total[SIZE_TEXT_SIZE], data[SIZE_TEXT_SIZE],
		sent[SIZE_TEXT_SIZE], rescue[RESCUE_TEXT_SIZE];

	size_to_text(json_number(job, "done"), done);
	size_to_text(json_number(job, "total"), total);
	size_to_text(json_number(job, "data"), data);
	size_to_text(json_number(job, "sent"), sent);
	print_property("progress", "%s: %s of %s, data %s, sent %s", json_text(job, "phase"), done,
		       total, data, sent);
	if (json_number(job, "skipped") > 0) {
		size_to_text(json_number(job, "skipped"), data);
		print_property("left out", "%s that are not in use", data);
	}
	job_rescue_to_text(job, rescue);
	if (rescue[0])
		print_property("unreadable", "%s", rescue + 2);
}

/* What holds it up now, or where its time went. */
static void print_time_shares(const json_t *job)
{
	static const char *const places[] = {"disk", "cpu", "network", "server"};
	const json_t *time = json_object_get(json_object_get(job, "report"), "time");
	char text[128] = "";
	size_t n = 0;

	if (json_is_string(json_object_get(job, "bottleneck")))
		print_property("bottleneck", "%s", json_text(job, "bottleneck"));
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && n < sizeof(text); i++) {
		const json_t *share = json_object_get(json_object_get(time, places[i]), "share");
		double v = json_number_value(share);

		if (!(v >= 0 && v <= 1) || !json_is_number(share))
			return;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %.0f %%", n > 0 ? ", " : "",
				      places[i], 100 * v);
	}
	print_property("time spent", "%s", text);
}

static void print_lost(void *ctx, const char *line)
{
	(void)ctx;
	print_property("lost", "%s", line);
}

static void print_copied(void *ctx, const char *line)
{
	(void)ctx;
	print_property("copied", "%s", line);
}

static void print_job(const json_t *job)
{
	CLEANUP_FREE char *report = NULL;
	char image[128], state[STATE_TEXT_SIZE];
	const json_t *line;
	size_t i;

	job_state_to_text(job, state);
	describe_image(job, image, sizeof(image));
	print_property("job", "%s", json_text(job, "id"));
	print_property("kind", "%s", json_text(job, "kind"));
	print_property("state", "%s%s",
		       strcmp(state, "stalled") == 0 ? json_text(job, "state") : state,
		       json_is_true(json_object_get(job, "stalled")) ? ", stalled" : "");
	if (json_is_string(json_object_get(job, "machine")))
		print_property("machine", "%s (%s)", json_text(job, "machine_name"),
			       json_text(job, "machine"));
	if (json_is_string(json_object_get(job, "image")))
		print_property("image", "%s", image);
	print_time("created", job, "created");
	print_time("started", job, "started");
	print_time("ended", job, "ended");
	if (json_number(job, "total") > 0)
		print_amounts(job);
	print_time_shares(job);
	if (json_is_string(json_object_get(job, "message")))
		print_property("message", "%s", json_text(job, "message"));
	if (json_is_true(json_object_get(job, "all_blocks")))
		print_property("options", "all blocks");
	if (strcmp(json_text(job, "kind"), "capture") == 0)
		coverage_each(json_object_get(job, "report"), false, print_copied, NULL);
	unreadable_each(json_object_get(job, "report"), print_lost, NULL);
	json_array_foreach(json_object_get(job, "log"), i, line)
	{
		print_property("log", "%s",
			       json_string_value(line) ? json_string_value(line) : "-");
	}
	if (json_is_object(json_object_get(job, "report"))) {
		report = json_dumps(json_object_get(job, "report"),
				    JSON_INDENT(2) | JSON_ENSURE_ASCII);
		(void)printf("report:\n%s\n", report ? report : "-");
	}
}

int cmd_job_show(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *job = NULL;
	char id[JOB_TEXT_SIZE], path[PATH_SIZE];
	int status = 0, r = job_resolve(c, c->operands[0], id, err);

	if (r < 0)
		return r;
	path_make(path, "/v1/jobs/%s", id);
	r = c->o.wait ? status = job_follow(c, id, &job, err)
		      : api(c, "GET", path, NULL, &job, err);
	if (r < 0)
		return r;
	if (c->o.json)
		print_json(job);
	else
		print_job(job);
	return status;
}

int cmd_job_cancel(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *job = NULL;
	char id[JOB_TEXT_SIZE], path[PATH_SIZE];
	int r = job_resolve(c, c->operands[0], id, err);

	if (r < 0)
		return r;
	path_make(path, "/v1/jobs/%s/cancel", id);
	r = api(c, "POST", path, NULL, &job, err);
	if (r < 0)
		return r;
	if (c->o.json)
		print_json(job);
	else {
		print_line(stdout, "job %s: %s", id,
			   strcmp(json_text(job, "state"), "cancelled") == 0
				   ? "cancelled"
				   : "its machine was told to stop");
	}
	return 0;
}

/* ---- capture and restore */

static int get_machine(struct ctx *c, const char *name, json_t **ret, struct err *err)
{
	char path[PATH_SIZE];

	path_make(path, "/v1/machines/%s", name);
	return api(c, "GET", path, NULL, ret, err);
}

/* The full id of a disk in `disks`, whose ids are under `key`. */
static int disk_id(const json_t *disks, const char *key, const char *text, const char *what,
		   const char **ret, struct err *err)
{
	const json_t *disk = NULL;
	int r = find_by_prefix(disks, key, text, DISK_PREFIX_MIN, what, &disk, err);

	if (r == 0)
		*ret = json_text(disk, key);
	return r;
}

static int capture_disks(struct ctx *c, const json_t *machine, json_t *array, struct err *err)
{
	for (size_t i = 0; i < c->o.disks.len; i++) {
		const char *id = NULL;
		int r = disk_id(json_object_get(machine, "disks"), "id", c->o.disks.items[i],
				"disk of this machine", &id, err);

		if (r < 0)
			return r;
		if (json_array_append_new(array, json_string(id)) < 0)
			return OUT_OF_MEMORY(err);
	}
	return 0;
}

/* Adds members that were given; false when out of memory. */
static bool add_members(const struct ctx *c, json_t *body, json_t *disks)
{
	bool good = true;

	if (json_array_size(disks) > 0)
		good = json_object_set(body, "disks", disks) == 0;
	if (c->o.end)
		good = good && json_object_set_new(body, "end", json_string(c->o.end)) == 0;
	return good;
}

static bool add_options(const struct ctx *c, json_t *body)
{
	json_t *options = json_object();
	bool good = json_object_set_new(body, "options", options) == 0;

	if (c->o.level)
		good = good && json_object_set_new(options, "level",
						   json_integer((json_int_t)c->o.level)) == 0;
	if (c->o.all_blocks)
		good = good && json_object_set_new(options, "all_blocks", json_true()) == 0;
	return good && unreadable_add_options(c, options);
}

int cmd_capture(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = NULL, *machine = NULL, *job = NULL, *disks = json_array();
	int r;

	if (!c->o.image)
		return err_set(err, -EINVAL, "--image NAME is missing: the image to make");
	r = get_machine(c, c->operands[0], &machine, err);
	if (r == 0)
		r = capture_disks(c, machine, disks, err);
	if (r < 0)
		return r;
	body = json_pack("{s:s, s:s, s:s}", "kind", "capture", "machine", json_text(machine, "id"),
			 "image", c->o.image);
	if (!body || !add_members(c, body, disks) || !add_options(c, body))
		return OUT_OF_MEMORY(err);
	r = api(c, "POST", "/v1/jobs", body, &job, err);
	return r < 0 ? r : job_started(c, job, err);
}

/* The version's disks as the server lists them. */
static int get_sources(struct ctx *c, const struct image_ref *ref, json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *image = NULL;
	uint64_t wanted;
	const json_t *v;
	char path[PATH_SIZE];
	size_t i;
	int r;

	path_make(path, "/v1/images/%s", ref->name);
	r = api(c, "GET", path, NULL, &image, err);
	if (r < 0)
		return r;
	wanted = ref->version ? ref->version : json_number(image, "latest");
	json_array_foreach(json_object_get(image, "versions"), i, v)
	{
		if (json_number(v, "version") == wanted) {
			*ret = json_incref(json_object_get(v, "disks"));
			return 0;
		}
	}
	return err_set(err, -ENOENT, "image '%s' has no version %" PRIu64, ref->name, wanted);
}

static int add_pair(const json_t *sources, const json_t *targets, const char *text, json_t *array,
		    struct err *err)
{
	const char *equals = strchr(text, '='), *source = NULL, *target = NULL;
	char head[DISK_ID_MAX + 1];
	int r;

	if (!equals || (size_t)(equals - text) >= sizeof(head))
		return err_set(err, -EINVAL, "--disk: '%.128s' is not of the form SRC=DST", text);
	(void)snprintf(head, sizeof(head), "%.*s", (int)(equals - text), text);
	r = disk_id(sources, "disk", head, "disk of this image", &source, err);
	if (r == 0)
		r = disk_id(targets, "id", equals + 1, "disk of this machine", &target, err);
	if (r < 0)
		return r;
	return json_array_append_new(
		       array, json_pack("{s:s, s:s}", "source", source, "target", target)) < 0
		       ? OUT_OF_MEMORY(err)
		       : 0;
}

static int add_overwrite(const json_t *targets, const char *text, json_t *array, struct err *err)
{
	const json_t *disk = NULL;
	int r;

	if (strlen(text) < FINGERPRINT_PREFIX_MIN) {
		return err_set(err, -EINVAL,
			       "--overwrite: '%.64s' is too short: give at least the first %d "
			       "digits of the fingerprint",
			       text, FINGERPRINT_PREFIX_MIN);
	}
	r = find_by_prefix(targets, "fingerprint", text, FINGERPRINT_PREFIX_MIN,
			   "disk of this machine with the fingerprint", &disk, err);
	if (r < 0)
		return r;
	return json_array_append_new(array, json_string(json_text(disk, "fingerprint"))) < 0
		       ? OUT_OF_MEMORY(err)
		       : 0;
}

static int restore_lists(struct ctx *c, const struct image_ref *ref, const json_t *machine,
			 json_t *pairs, json_t *overwrite, struct err *err)
{
	const json_t *targets = json_object_get(machine, "disks");
	CLEANUP_JSON json_t *sources = NULL;
	int r = c->o.disks.len ? get_sources(c, ref, &sources, err) : 0;

	for (size_t i = 0; r == 0 && i < c->o.disks.len; i++)
		r = add_pair(sources, targets, c->o.disks.items[i], pairs, err);
	for (size_t i = 0; r == 0 && i < c->o.overwrite.len; i++)
		r = add_overwrite(targets, c->o.overwrite.items[i], overwrite, err);
	return r;
}

int cmd_restore(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = NULL, *machine = NULL, *job = NULL;
	CLEANUP_JSON json_t *pairs = json_array(), *overwrite = json_array();
	struct image_ref ref = {0};
	int r = image_ref_parse(c->operands[0], &ref, err);

	if (r == 0)
		r = get_machine(c, c->operands[1], &machine, err);
	if (r == 0)
		r = restore_lists(c, &ref, machine, pairs, overwrite, err);
	if (r < 0)
		return r;
	body = json_pack("{s:s, s:s, s:s, s:O, s:o*}", "kind", "restore", "machine",
			 json_text(machine, "id"), "image", ref.name, "overwrite", overwrite,
			 "version", ref.version ? json_integer(ref.version) : NULL);
	if (!body || !add_members(c, body, pairs))
		return OUT_OF_MEMORY(err);
	r = api(c, "POST", "/v1/jobs", body, &job, err);
	return r < 0 ? r : job_started(c, job, err);
}
