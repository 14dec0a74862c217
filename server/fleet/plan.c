/* Every refusal comes before a byte is sent, and names the disk and the number that is wrong.
 *
 * The inventory is what an agent said: its fields may be missing or of any type.  A disk of which we cannot be sure is refused. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "server/fleet/private.h"

const json_t *plan_find_disk(const json_t *inventory, const char *id)
{
	const json_t *disks = json_object_get(inventory, "disks"), *d;
	size_t i;

	json_array_foreach((json_t *)disks, i, d)
	{
		const char *text = json_string_value(json_object_get(d, "id"));

		if (text && id && strcmp(text, id) == 0)
			return d;
	}
	return NULL;
}

static int use_disk(const json_t *inventory, const char *id, struct job_disk_row *ret,
		    const json_t **ret_disk, struct err *err)
{
	const json_t *d = disk_id_is_valid(id) ? plan_find_disk(inventory, id) : NULL;
	struct err why;

	if (!d)
		return err_set(err, API_DISK_MISSING, "The machine has no disk '%.128s'.", id);
	if (json_get_u64(d, "size", DISK_SIZE_MIN, DISK_SIZE_MAX, &ret->size, &why) < 0)
		return err_set(err, API_BAD_REQUEST, "Disk '%s' cannot be used: its %s.", id,
			       why.msg);
	(void)snprintf(ret->disk, sizeof(ret->disk), "%s", id);
	*ret_disk = d;
	return 0;
}

static int check_unique(const struct job_disk_row *disks, size_t len, struct err *err)
{
	for (size_t i = 0; i + 1 < len; i++) {
		if (strcmp(disks[i].disk, disks[len - 1].disk) == 0)
			return err_set(err, API_BAD_REQUEST, "Disk '%s' is named twice.",
				       disks[i].disk);
	}
	return 0;
}

/* The id of the i-th disk of a capture: named, or as the inventory lists them. */
static const char *nth_id(const json_t *inventory, const json_t *ids, size_t i)
{
	const json_t *disks = json_object_get(inventory, "disks");

	if (ids)
		return json_string_value(json_array_get(ids, i));
	return json_string_value(json_object_get(json_array_get(disks, i), "id"));
}

int plan_capture(const json_t *inventory, const json_t *ids, struct job_disk_row *ret,
		 size_t *ret_len, struct err *err)
{
	size_t len = json_array_size(ids ? ids : json_object_get(inventory, "disks"));

	if (len == 0)
		return err_set(err, API_DISK_MISSING, "The machine has no disk to capture.");
	if (len > JOB_DISKS_MAX) {
		return err_set(err, API_TOO_LARGE,
			       "A job has at most %u disks, not %zu: name those that you want.",
			       JOB_DISKS_MAX, len);
	}
	for (size_t i = 0; i < len; i++) {
		const char *id = nth_id(inventory, ids, i);
		const json_t *disk;
		int r;

		if (!id)
			return err_set(err, API_BAD_REQUEST, "The id of disk %zu is no text.", i);
		ret[i] = (struct job_disk_row){0};
		r = use_disk(inventory, id, &ret[i], &disk, err);
		if (r == 0)
			r = check_unique(ret, i + 1, err);
		if (r < 0)
			return r;
	}
	*ret_len = len;
	return 0;
}

/* ---- restore */

static int list_is_damaged(struct err *err)
{
	return err_set(err, API_STORE_DAMAGED,
		       "The image's list of disks is damaged; verify the image, which mends that.");
}

static int read_source(const json_t *source, struct job_disk_row *d, struct err *err)
{
	uint64_t size = 0, sector = 0, physical = 0, data = 0, unreadable = 0;
	const char *id = NULL;
	int r = json_get_str(source, "disk", DISK_ID_MAX, &id, err);

	if (r == 0)
		r = json_get_u64(source, "size", DISK_SIZE_MIN, DISK_SIZE_MAX, &size, err);
	if (r == 0)
		r = json_get_u64(source, "sector_size", 512, 4096, &sector, err);
	if (r == 0)
		r = json_get_u64(source, "physical_sector_size", 512, 65536, &physical, err);
	if (r == 0)
		r = json_get_id(source, "root", &d->root, err);
	if (r == 0)
		r = json_opt_u64(source, "data_bytes", 0, DISK_SIZE_MAX, &data, err);
	if (r == 0)
		r = json_opt_u64(source, "unreadable_bytes", 0, DISK_SIZE_MAX, &unreadable, err);
	if (r < 0)
		return list_is_damaged(err);
	(void)snprintf(d->source_disk, sizeof(d->source_disk), "%s", id);
	d->geometry = (struct geometry){size, (uint32_t)sector, (uint32_t)physical};
	d->data_bytes = data;
	d->unreadable_bytes = unreadable;
	return 0;
}

static bool list_has(const json_t *list, const char *text)
{
	const json_t *v;
	size_t i;

	json_array_foreach((json_t *)list, i, v)
	{
		const char *s = json_string_value(v);

		if (s && strcmp(s, text) == 0)
			return true;
	}
	return false;
}

/* What is on the target: nothing, or something that the operator has named. */
static int check_content(const json_t *target, const json_t *overwrite, struct job_disk_row *d,
			 struct err *err)
{
	const char *text = json_string_value(json_object_get(target, "fingerprint"));
	const char *why = json_string_value(json_object_get(target, "error"));

	if (!text || !id_from_text(text, &d->fingerprint)) {
		return err_set(err, API_READ_ERROR,
			       "Target '%s' cannot be used, since what is on it could not be "
			       "read%s%.200s",
			       d->disk, why ? ": " : ".", why ? why : "");
	}
	d->overwrite = list_has(overwrite, text);
	if (json_is_true(json_object_get(target, "empty")) || d->overwrite)
		return 0;
	return err_set(err, API_TARGET_HOLDS_DATA,
		       "Target '%s' holds data. To lose it, overwrite the fingerprint %s.", d->disk,
		       text);
}

static int check_target(const json_t *target, const json_t *overwrite, struct job_disk_row *d,
			struct err *err)
{
	uint64_t sector = 0;
	int r = json_get_u64(target, "sector_size", 512, 65536, &sector, err);

	if (r < 0)
		return r;
	if (d->size < d->geometry.size) {
		return err_set(err, API_TARGET_TOO_SMALL,
			       "Target '%s' has %" PRIu64 " bytes; %" PRIu64
			       " are needed for '%s'.",
			       d->disk, d->size, d->geometry.size, d->source_disk);
	}
	if (sector != d->geometry.sector_size) {
		return err_set(err, API_SECTOR_SIZE,
			       "Target '%s' has sectors of %" PRIu64
			       " bytes, '%s' has %u: the restored system could not read it.",
			       d->disk, sector, d->source_disk, d->geometry.sector_size);
	}
	if (!json_is_false(json_object_get(target, "read_only")))
		return err_set(err, API_WRITE_ERROR, "Target '%s' is read-only.", d->disk);
	return check_content(target, overwrite, d, err);
}

static const json_t *find_source(const json_t *sources, const char *id)
{
	const json_t *d;
	size_t i;

	json_array_foreach((json_t *)sources, i, d)
	{
		const char *text = json_string_value(json_object_get(d, "disk"));

		if (text && strcmp(text, id) == 0)
			return d;
	}
	return NULL;
}

/* The i-th pair: named, or by the order of listing. */
static int nth_pair(const json_t *inventory, const json_t *sources, const json_t *pairs, size_t i,
		    const json_t **ret_source, const char **ret_target, struct err *err)
{
	const json_t *pair = json_array_get(pairs, i);
	const char *source = NULL;
	int r;

	if (!pairs) {
		*ret_source = json_array_get(sources, i);
		*ret_target = json_string_value(json_object_get(
			json_array_get(json_object_get(inventory, "disks"), i), "id"));
		if (!*ret_target)
			return err_set(err, API_DISK_MISSING, "The machine's disk %zu has no id.",
				       i);
		return 0;
	}
	r = json_get_str(pair, "source", DISK_ID_MAX, &source, err);
	if (r == 0)
		r = json_get_str(pair, "target", DISK_ID_MAX, ret_target, err);
	if (r < 0)
		return err_prefix(err, "disk %zu", i);
	*ret_source = find_source(sources, source);
	if (!*ret_source)
		return err_set(err, API_DISK_MISSING, "The image has no disk '%s'.", source);
	return 0;
}

static int plan_pair(const json_t *inventory, const json_t *source, const char *target,
		     const json_t *overwrite, struct job_disk_row *ret, struct err *err)
{
	struct job_disk_row d = {0};
	const json_t *disk = NULL;
	int r = read_source(source, &d, err);

	if (r == 0)
		r = use_disk(inventory, target, &d, &disk, err);
	if (r == 0)
		r = check_target(disk, overwrite, &d, err);
	if (r == 0)
		*ret = d;
	return r;
}

int plan_restore(const json_t *inventory, const json_t *sources, const json_t *pairs,
		 const json_t *overwrite, struct job_disk_row *ret, size_t *ret_len,
		 struct err *err)
{
	size_t targets = json_array_size(json_object_get(inventory, "disks"));
	size_t len = json_array_size(pairs ? pairs : sources);

	if (!json_is_array(sources))
		return list_is_damaged(err);
	if (!pairs && len != targets) {
		return err_set(err, API_DISK_MISSING,
			       "The image has %zu disks and the machine %zu: say which goes where.",
			       len, targets);
	}
	if (len == 0 || len > JOB_DISKS_MAX)
		return err_set(err, API_BAD_REQUEST, "A job has 1 to %u disks, not %zu.",
			       JOB_DISKS_MAX, len);
	for (size_t i = 0; i < len; i++) {
		const json_t *source = NULL;
		const char *target = NULL;
		int r = nth_pair(inventory, sources, pairs, i, &source, &target, err);

		if (r == 0)
			r = plan_pair(inventory, source, target, overwrite, &ret[i], err);
		if (r == 0)
			r = check_unique(ret, i + 1, err);
		if (r < 0)
			return r;
	}
	*ret_len = len;
	return 0;
}
