/* What the server adds to a report: its own part, and the roots of each disk as everybody has them (docs/protocol.md, "Reports"). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "server/fleet/private.h"

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

/* By the clock only where there is nothing better: it may have been put right meanwhile. */
static int64_t seconds_of(const struct job *j, int64_t now)
{
	if (j->began_ms != 0)
		return (int64_t)(fleet_now_ms() - j->began_ms) / 1000;
	return j->row.started && now > j->row.started ? now - j->row.started : 0;
}

char *report_complete(const struct job *j, int64_t now, json_t *roots)
{
	const struct job_row *row = &j->row;
	CLEANUP_JSON json_t *report =
		row->report ? json_loads(row->report, 0, NULL) : json_object();
	json_t *server = json_pack("{s:s, s:o, s:o, s:I}", "version", HOIST_VERSION, "started",
				   view_time(row->started), "ended", view_time(now), "seconds",
				   (json_int_t)seconds_of(j, now));

	if (json_object_set_new(report, "server", server) < 0 ||
	    (roots && json_object_set(report, "roots", roots) < 0))
		return NULL;
	return json_dumps(report, JSON_COMPACT);
}

/* The disk of a report whose member `key` is `id`. */
static const json_t *find_disk(const json_t *report, const char *key, const char *id)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(report, "disks"), i, disk)
	{
		const char *text = json_string_value(json_object_get(disk, key));

		if (text && strcmp(text, id) == 0)
			return disk;
	}
	return NULL;
}

/* The report in the manifest of the job's version; NULL: there is none that can be read. */
static json_t *load_source_report(struct fleet *f, const struct job_row *row)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	CLEANUP_FREE char *text = NULL;
	CLEANUP_JSON json_t *manifest = NULL;
	struct err ignored;
	size_t size;

	if (state_get_version(f->config.state, row->image, row->version, &v, &ignored) < 0 ||
	    store_get_manifest(f->config.store, &v.manifest, &text, &size, &ignored) < 0)
		return NULL;
	manifest = json_loadb(text, size, 0, NULL);
	return json_incref(json_object_get(manifest, "report"));
}

#define ROOTS 3u /* of the source, the server, the target */

/* true, false, or null if one that is needed is not known and those that are do not differ. */
static json_t *judge(const struct id roots[static ROOTS], size_t needed)
{
	const struct id *first = NULL;
	size_t known = 0;

	for (size_t i = 0; i < ROOTS; i++) {
		if (id_is_zero(&roots[i]))
			continue;
		if (first && !id_equal(first, &roots[i]))
			return json_false();
		first = &roots[i];
		known++;
	}
	return known >= needed ? json_true() : json_null();
}

static json_t *root_json(const struct id *root)
{
	char text[ID_TEXT_SIZE];

	id_to_text(root, text);
	return id_is_zero(root) ? json_null() : json_string(text);
}

/* As it is said there; zero: it is not. */
static struct id said_root(const json_t *disk, const char *key)
{
	struct id root = {{0}};
	struct err ignored;

	if (json_get_id(disk, key, &root, &ignored) < 0)
		return (struct id){{0}};
	return root;
}

/* Of the index as it lies in the store now. */
static int hash_index(struct fleet *f, const struct id *named, struct id *ret, struct err *err)
{
	struct index_info info = {0};
	int r = store_index_info(f->config.store, named, &info, err);

	if (r == 0)
		*ret = info.root;
	index_info_done(&info);
	return r;
}

static json_t *disk_roots(enum job_kind kind, const struct job_disk_row *d,
			  const struct id roots[static ROOTS])
{
	bool is_restore = kind == JOB_RESTORE;
	json_t *o = json_pack("{s:s, s:o, s:o, s:o}", "disk",
			      kind == JOB_CAPTURE ? d->disk : d->source_disk, "source",
			      root_json(&roots[0]), "server", root_json(&roots[1]), "agree",
			      judge(roots, is_restore ? 3 : 2));

	if (o && is_restore &&
	    (json_object_set_new(o, "target_disk", json_string(d->disk)) < 0 ||
	     json_object_set_new(o, "target", root_json(&roots[2])) < 0)) {
		json_decref(o);
		return NULL;
	}
	return o;
}

int report_roots(struct fleet *f, const struct job_row *row, const struct job_disk_row *disks,
		 size_t len, const json_t *said, json_t **ret, struct err *err)
{
	bool is_capture = row->kind == JOB_CAPTURE;
	CLEANUP_JSON json_t *array = json_array(), *source = NULL;

	if (!is_capture)
		source = load_source_report(f, row);
	for (size_t n = 0; n < len; n++) {
		const struct job_disk_row *d = &disks[n];
		struct id roots[ROOTS] = {{{0}}};
		int r = hash_index(f, &d->root, &roots[1], err);

		/* of an image that is there for long the report says it, of a new one nobody is to be told that it is there */
		if (r < 0 && (is_capture || (r != -ENOENT && r != -EBADMSG)))
			return r;
		roots[0] = is_capture
				   ? said_root(find_disk(said, "disk", d->disk), "root")
				   : said_root(find_disk(source, "disk", d->source_disk), "root");
		if (row->kind == JOB_RESTORE)
			roots[2] = said_root(find_disk(said, "target", d->disk), "target_root");
		if (json_array_append_new(array, disk_roots(row->kind, d, roots)) < 0)
			return out_of_memory(err);
	}
	*ret = TAKE_PTR(array);
	return 0;
}

enum root_said report_says_root(const struct job_disk_row *d, const json_t *said)
{
	struct id got = said_root(find_disk(said, "disk", d->disk), "root");

	if (id_is_zero(&got))
		return ROOT_NOT_SAID;
	return id_equal(&got, &d->root) ? ROOT_SAME : ROOT_OTHER;
}

int report_check_targets(const struct job_disk_row *disks, size_t len, const json_t *said,
			 struct err *err)
{
	for (size_t n = 0; n < len; n++) {
		const struct job_disk_row *d = &disks[n];
		struct id got = said_root(find_disk(said, "target", d->disk), "target_root");
		char text[ID_TEXT_SIZE], want[ID_TEXT_SIZE];

		if (id_equal(&got, &d->root))
			continue;
		if (id_is_zero(&got)) {
			return err_set(
				err, API_VERIFY_FAILED,
				"The agent does not say what was read again from target '%s', so "
				"it is not known to hold the image.",
				d->disk);
		}
		id_to_text(&got, text);
		id_to_text(&d->root, want);
		return err_set(err, API_VERIFY_FAILED,
			       "What was read again from target '%s' has the root %s, and the "
			       "image's is %s: it does not hold the image.",
			       d->disk, text, want);
	}
	return 0;
}
