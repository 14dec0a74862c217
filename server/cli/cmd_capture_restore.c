/* capture, restore: what a machine is told to do. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/message.h"
#include "server/cli/cli.h"
#include "server/cli/image_ref.h"
#include "server/cli/options.h"
#include "server/cli/print.h"

#define DISK_PREFIX_MIN	       4
#define FINGERPRINT_PREFIX_MIN 16

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

/* Its member "rescue", if any of it was given.  False: out of memory. */
static bool add_rescue(const struct ctx *c, json_t *options)
{
	struct rescue_wish w = RESCUE_WISH_NONE;
	uint64_t n;

	if (c->o.rescue_time && span_from_text(c->o.rescue_time, &n))
		w.seconds = (int64_t)n;
	if (c->o.rescue_area_time && span_from_text(c->o.rescue_area_time, &n))
		w.area_seconds = (int64_t)n;
	if (c->o.rescue_retries)
		w.retries = strtol(c->o.rescue_retries, NULL, 10);
	return rescue_wish_encode(&w, options) == 0;
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
	return good && add_rescue(c, options);
}

static int run_capture(struct ctx *c, struct err *err)
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

static int check_span(const char *text, struct err *err)
{
	uint64_t n;

	if (span_from_text(text, &n) && n <= RESCUE_SECONDS_MAX)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is not a time like 90s, 10m, 4h, 2d (at most 30d)",
		       text);
}

static int check_retries(const char *text, struct err *err)
{
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && digits <= 3 && !text[digits] &&
	    strtoul(text, NULL, 10) <= RESCUE_RETRIES_MAX)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is not a number from 0 to %u", text,
		       RESCUE_RETRIES_MAX);
}

static int check_end(const char *text, struct err *err)
{
	enum end_action e;
	struct err ignored;

	if (end_action_from_name(text, &e, &ignored) == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is none of stay, reboot, poweroff", text);
}

#define END_OPTION(help_text)                                                            \
	{                                                                                \
		.key = "end", .type = SETTING_TEXT, ARGV, AT(end),                       \
		.value = "stay|reboot|poweroff", .check = check_end, .help = (help_text) \
	}

static const struct setting capture_options[] = {
	{.key = "image",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(image),
	 .value = "NAME",
	 .check = check_name,
	 .help = "Image to make, or to add a version to"},
	{.key = "disk",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(disks),
	 .value = "ID",
	 .help = "A disk by its id (or an unambiguous beginning of it) as 'hoist machine show' "
		 "lists it; without this all disks"},
	{.key = "level",
	 .type = SETTING_U64,
	 ARGV,
	 AT(level),
	 .min = 1,
	 .max = 19,
	 .value = "N",
	 .help = "Compression, 1 (fast) to 19 (small); when it is not given the agent chooses, and changes "
		 "it as disk, processor, network and server allow"},
	{.key = "all-blocks",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(all_blocks),
	 .help = "Also copy what the filesystems do not use, with whatever was deleted there; "
		 "without this free space is left out and restored as zeros"},
	{.key = "rescue-time",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(rescue_time),
	 .value = "TIME",
	 .check = check_span,
	 .help = "How long to try on places of a disk that cannot be read, as 90s, 10m, 4h, 2d; default: 2h"},
	{.key = "rescue-area-time",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(rescue_area_time),
	 .value = "TIME",
	 .check = check_span,
	 .help = "The same for each 4 MiB of it; default: 5m"},
	{.key = "rescue-retries",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(rescue_retries),
	 .value = "N",
	 .check = check_retries,
	 .help = "How often each sector that could not be read alone is tried again, 0 to 100; default: 1"},
	END_OPTION("What the machine does afterwards; default: stay"),
};

const struct command cmd_capture = {
	.name = "capture",
	.operands = "MACHINE",
	.summary = "Capture a machine's disks as a new version of an image",
	.text = "The disks are only read. What the server has already is not sent again.\n"
		"What the filesystems call free is left out, where there is no doubt about "
		"it; else the partition is copied whole. 'hoist job show' tells what was "
		"copied how, and why.\n"
		"Of a disk with places that cannot be read all else is copied first, then what can "
		"be saved around them, down to the sector. What is lost is zeros in the image and "
		"listed with it; the job is then 'done with N unreadable bytes', with exit "
		"status 3. Another capture tries these places again.\n"
		"Without --wait the command ends when the server has taken the job.",
	.example = "hoist capture web1 --image web1 --wait",
	.takes = TAKES_SERVER | TAKES_JSON | TAKES_WAIT,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(capture_options),
	.run = run_capture,
};

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

static int run_restore(struct ctx *c, struct err *err)
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

static const struct setting restore_options[] = {
	{.key = "disk",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(disks),
	 .value = "SRC=DST",
	 .help = "Put the image's disk SRC onto the machine's disk DST; without this the disks are "
		 "matched in order of listing, if there are as many of one as of the other"},
	{.key = "overwrite",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(overwrite),
	 .value = "FINGERPRINT",
	 .help = "Lose what is on the disk with this fingerprint (or its first 16 digits), as "
		 "'hoist machine show' lists it"},
	END_OPTION("What the machine does afterwards; default: reboot"),
};

const struct command cmd_restore = {
	.name = "restore",
	.operands = "IMAGE[@VERSION] MACHINE",
	.summary = "Write an image onto a machine's disks and verify it",
	.text = "The latest version is taken when none is named. It is refused before the "
		"first byte is written if a target is too small, has another sector size, "
		"is read-only, or holds data that --overwrite does not name.\n"
		"The server's own 'done' means: read back from the target and equal to the "
		"image.",
	.example = "hoist restore web1@3 4c4c4544 --wait",
	.takes = TAKES_SERVER | TAKES_JSON | TAKES_WAIT,
	.operands_min = 2,
	.operands_max = 2,
	OPTIONS(restore_options),
	.run = run_restore,
};
