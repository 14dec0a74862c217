/* images, image show, image verify, image rm. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/image_ref.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/table.h"
#include "server/cli/unreadable.h"

/* What has lost bytes is never called just good: an image, of whose versions the latest counts, or a version. */
static void cell_state(struct table *t, const json_t *o)
{
	uint64_t unreadable = json_number(o, "unreadable_bytes");

	if (json_is_true(json_object_get(o, "damaged")))
		cell_text(t, "damaged");
	else if (unreadable > 0)
		cell_text(t, "%" PRIu64 " unreadable bytes", unreadable);
	else
		cell_text(t, "good");
}

static void add_image(struct table *t, const json_t *i)
{
	const json_t *versions = json_object_get(i, "versions");

	cell_text(t, "%s", json_text(i, "name"));
	if (json_is_array(versions))
		cell_text(t, "%zu", json_array_size(versions));
	else
		cell_number(t, i, "versions");
	cell_number(t, i, "latest");
	cell_size(t, json_number(i, "size"));
	cell_when(t, i, "created");
	cell_state(t, i);
}

static int run_images(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"IMAGE", false}, {"VERSIONS", true}, {"LATEST", true},
		{"SIZE", true},	  {"CREATED", false}, {"STATE", false},
	};
	static const struct listing list = {
		.key = "images",
		.form = TABLE_FORM(columns, add_image, NULL),
	};

	return list_print(c, "/v1/images", &list, err);
}

const struct command cmd_images = {
	.name = "images",
	.operands = "",
	.summary = "List the images",
	.text = "Lists the images with their number of versions, the latest version and the "
		"size of its disks.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_images,
};

/* ---- one image */

static uint64_t sum_of(const json_t *disks, const char *key)
{
	uint64_t sum = 0;
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)disks, i, d)
	{
		sum += json_number(d, key);
	}
	return sum;
}

static void add_version(struct table *t, const json_t *v)
{
	const json_t *disks = json_object_get(v, "disks");

	cell_number(t, v, "version");
	cell_when(t, v, "created");
	cell_text(t, "%s", json_text(v, "machine_name"));
	cell_text(t, "%zu", json_array_size(disks));
	cell_size(t, sum_of(disks, "size"));
	cell_size(t, json_number(v, "data_bytes"));
	cell_state(t, v);
}

static bool print_versions(const json_t *versions)
{
	static const struct column columns[] = {
		{"VERSION", true}, {"CREATED", false}, {"MACHINE", false}, {"DISKS", true},
		{"SIZE", true},	   {"DATA", true},     {"STATE", false},
	};
	static const struct table_form form = TABLE_FORM(columns, add_version, NULL);

	return table_print(&form, versions, stdout);
}

static void add_disk(struct table *t, const json_t *d)
{
	cell_text(t, "%s", json_text(d, "disk"));
	cell_size(t, json_number(d, "size"));
	cell_number(t, d, "sector_size");
	cell_size(t, json_number(d, "data_bytes"));
	cell_size(t, json_number(d, "unreadable_bytes"));
	cell_text(t, "%.16s", json_text(d, "root"));
}

static bool print_version_disks(const json_t *disks)
{
	static const struct column columns[] = {
		{"DISK", false}, {"SIZE", true},       {"SECTOR", true},
		{"DATA", true},	 {"UNREADABLE", true}, {"ROOT", false},
	};
	static const struct table_form form = TABLE_FORM(columns, add_disk, NULL);

	return table_print(&form, disks, stdout);
}

static void print_place(void *ctx, const char *line)
{
	(void)ctx;
	print_line(stdout, "  %s", line);
}

static int show_version(struct ctx *c, const struct image_ref *ref, struct err *err)
{
	CLEANUP_JSON json_t *m = NULL;
	char path[PATH_SIZE], version[16], created[WHEN_TEXT_SIZE];
	int r;

	(void)snprintf(version, sizeof(version), "%" PRIu32, ref->version);
	path_make(path, "/v1/images/%s/versions/%s", ref->name, version);
	r = api(c, "GET", path, NULL, &m, err);
	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(m);
		return 0;
	}
	when_to_text(json_text(m, "created"), created);
	print_property("image", "%s", json_text(m, "image"));
	print_property("version", "%" PRIu64, json_number(m, "version"));
	print_property("created", "%s", created);
	print_property("machine", "%s", json_text(m, "machine"));
	print_property("job", "%s", json_text(m, "job"));
	(void)puts("");
	if (!print_version_disks(json_object_get(m, "disks")))
		return OUT_OF_MEMORY(err);
	if (sum_of(json_object_get(m, "disks"), "unreadable_bytes") > 0) {
		(void)puts("\nCould not be read, and are zeros:");
		unreadable_each(json_object_get(m, "report"), print_place, NULL);
	}
	return 0;
}

static int run_image_show(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *i = NULL;
	struct image_ref ref = {0};
	char path[PATH_SIZE];
	int r = image_ref_parse(c->operands[0], &ref, err);

	if (r < 0)
		return r;
	if (ref.version)
		return show_version(c, &ref, err);
	path_make(path, "/v1/images/%s", ref.name);
	r = api(c, "GET", path, NULL, &i, err);
	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(i);
		return 0;
	}
	return print_versions(json_object_get(i, "versions")) ? 0 : OUT_OF_MEMORY(err);
}

const struct command cmd_image_show = {
	.name = "image show",
	.operands = "IMAGE[@VERSION]",
	.summary = "Show an image's versions, or a version's disks",
	.text = "With --json and a version: the manifest.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_image_show,
};

static int run_image_verify(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = NULL, *job = NULL;
	struct image_ref ref = {0};
	int r = image_ref_parse(c->operands[0], &ref, err);

	if (r < 0)
		return r;
	body = json_pack("{s:s, s:s, s:o*}", "kind", "verify", "image", ref.name, "version",
			 ref.version ? json_integer(ref.version) : NULL);
	if (!body)
		return OUT_OF_MEMORY(err);
	r = api(c, "POST", "/v1/jobs", body, &job, err);
	return r < 0 ? r : job_started(c, job, err);
}

const struct command cmd_image_verify = {
	.name = "image verify",
	.operands = "IMAGE[@VERSION]",
	.summary = "Read and hash everything that an image is made of",
	.text = "The server reads, decodes and hashes every chunk of the version (the latest "
		"when none is named). What is damaged is named in the job's message.",
	.example = "hoist image verify web1 --wait",
	.takes = TAKES_SERVER | TAKES_JSON | TAKES_WAIT,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_image_verify,
};

/* Without --all only an image of one version goes as a whole. */
static int check_single(struct ctx *c, const char *name, struct err *err)
{
	CLEANUP_JSON json_t *i = NULL;
	char path[PATH_SIZE];
	size_t len;
	int r;

	path_make(path, "/v1/images/%s", name);
	r = api(c, "GET", path, NULL, &i, err);
	if (r < 0)
		return r;
	len = json_array_size(json_object_get(i, "versions"));
	if (len > 1) {
		return err_set(err, -EBUSY,
			       "image '%s' has %zu versions; nothing was removed. Name one "
			       "(%s@VERSION), or say --all",
			       name, len, name);
	}
	return 0;
}

static int run_image_rm(struct ctx *c, struct err *err)
{
	struct image_ref ref = {0};
	char path[PATH_SIZE];
	size_t n;
	int r = image_ref_parse(c->operands[0], &ref, err);

	if (r == 0 && !ref.version && !c->o.all)
		r = check_single(c, ref.name, err);
	if (r < 0)
		return r;
	path_make(path, "/v1/images/%s", ref.name);
	n = strlen(path);
	if (ref.version)
		(void)snprintf(path + n, sizeof(path) - n, "?version=%" PRIu32, ref.version);
	r = api(c, "DELETE", path, NULL, NULL, err);
	return r < 0 ? r
		     : done_print(c, NULL, "removed %s '%s'", ref.version ? "version" : "image",
				  c->operands[0]);
}

static const struct setting image_rm_options[] = {
	{.key = "all",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(all),
	 .help = "Remove the image although it has several versions"},
};

const struct command cmd_image_rm = {
	.name = "image rm",
	.operands = "IMAGE[@VERSION]",
	.summary = "Remove a version, or an image",
	.text = "Without a version the whole image is removed; if it has several versions "
		"only with --all. The room is given back by 'hoist gc'.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(image_rm_options),
	.run = run_image_rm,
};
