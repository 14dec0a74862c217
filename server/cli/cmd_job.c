/* jobs, job show, job report, job cancel. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/coverage.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/report_page.h"
#include "server/cli/report_rows.h"
#include "server/cli/table.h"
#include "server/cli/unreadable.h"

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

static int run_jobs(struct ctx *c, struct err *err)
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

static int check_state(const char *text, struct err *err)
{
	static const char *const states[] = {"waiting", "running", "done", "failed", "cancelled"};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (strcmp(text, states[i]) == 0)
			return 0;
	}
	return err_set(err, -EINVAL, "'%.32s' is none of waiting, running, done, failed, cancelled",
		       text);
}

static const struct setting jobs_options[] = {
	{.key = "machine",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(machine),
	 .value = "MACHINE",
	 .help = "Only those of this machine"},
	{.key = "state",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(state),
	 .value = "STATE",
	 .check = check_state,
	 .help = "Only those that are waiting, running, done, failed or cancelled"},
};

const struct command cmd_jobs = {
	.name = "jobs",
	.operands = "",
	.summary = "List the jobs, newest first",
	.text = "Lists the 200 newest jobs.",
	.takes = TAKES_SERVER | TAKES_JSON,
	OPTIONS(jobs_options),
	.run = run_jobs,
};

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
	if (strcmp(json_text(job, "kind"), "capture") == 0) {
		print_property("progress", "%s: %s of %s, data %s, sent %s",
			       json_text(job, "phase"), done, total, data, sent);
	} else if (strcmp(json_text(job, "kind"), "restore") == 0) {
		print_property("progress", "%s: %s of %s, received %s", json_text(job, "phase"),
			       done, total, sent);
	} else {
		print_property("progress", "%s of %s", done, total);
	}
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
	if (json_is_object(json_object_get(job, "report")))
		print_property("report", "hoist job report %s", json_text(job, "id"));
}

static int run_job_show(struct ctx *c, struct err *err)
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

const struct command cmd_job_show = {
	.name = "job show",
	.operands = "JOB",
	.summary = "Show a job: its progress, its messages, its log",
	.text = "JOB is the job's id or a beginning of it. With --wait it is followed to its "
		"end, and the exit status tells how it ended.",
	.takes = TAKES_SERVER | TAKES_JSON | TAKES_WAIT,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_job_show,
};

static int run_job_report(struct ctx *c, struct err *err)
{
	CLEANUP(report_rows_done) struct report_rows rows = {0};
	CLEANUP_JSON json_t *job = NULL;
	char id[JOB_TEXT_SIZE], path[PATH_SIZE];
	int r = job_resolve(c, c->operands[0], id, err);

	if (r < 0)
		return r;
	path_make(path, "/v1/jobs/%s", id);
	r = api(c, "GET", path, NULL, &job, err);
	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(json_object_get(job, "report"));
		return 0;
	}
	report_rows_init(&rows, job);
	if (rows.bad)
		return err_set(err, -ENOMEM, "out of memory");
	if (c->o.html)
		report_print_html(&rows, stdout);
	else
		report_print_text(&rows, stdout);
	return 0;
}

static const struct setting report_options[] = {
	{.key = "html",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(html),
	 .help = "As one file of HTML, to be kept or handed on"},
};

const struct command cmd_job_report = {
	.name = "job report",
	.operands = "JOB",
	.summary = "Show the report of a job as a page for people",
	.text = "The root of each disk as source, server and target have it, and whether they "
		"agree; writes to the source before and after; what was copied whole, and "
		"why; what could not be read, with the names of files; times, rates, "
		"versions, fix-ups.\n"
		"--json prints what the page is made of.",
	.example = "hoist job report 3f2a --html >report.html",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(report_options),
	.run = run_job_report,
};

static int run_job_cancel(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *job = NULL;
	char id[JOB_TEXT_SIZE], path[PATH_SIZE];
	int r = job_resolve(c, c->operands[0], id, err);

	if (r < 0)
		return r;
	path_make(path, "/v1/jobs/%s/cancel", id);
	r = api(c, "POST", path, NULL, &job, err);
	return r < 0 ? r
		     : done_print(c, job, "job %s: %s", id,
				  strcmp(json_text(job, "state"), "cancelled") == 0
					  ? "cancelled"
					  : "being stopped");
}

const struct command cmd_job_cancel = {
	.name = "job cancel",
	.operands = "JOB",
	.summary = "Cancel a job",
	.text = "What a capture has sent stays in the store until 'hoist gc'. A target that a "
		"cancelled restore had begun to write to holds neither the old nor the new, "
		"and nothing starts from it.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_job_cancel,
};
