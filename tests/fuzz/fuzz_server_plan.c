/* Inventories of agents and manifests of the store: whatever they say, a plan has disks of possible sizes, each once, or is refused. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "server/fleet/private.h"
#include "tests/fuzz/fuzz.h"

static struct job_disk_row rows[JOB_DISKS_MAX];

static void check(size_t len)
{
	if (len < 1 || len > JOB_DISKS_MAX)
		abort();
	for (size_t i = 0; i < len; i++) {
		if (!disk_id_is_valid(rows[i].disk) || rows[i].size < DISK_SIZE_MIN ||
		    rows[i].size > DISK_SIZE_MAX)
			abort();
		for (size_t k = 0; k < i; k++) {
			if (strcmp(rows[i].disk, rows[k].disk) == 0)
				abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const json_t *sources, *pairs, *overwrite;
	struct version_row v = {.version = 0};
	CLEANUP_JSON json_t *j = NULL;
	struct id id = {{0}};
	struct err err;
	size_t len;

	if (json_parse((const char *)data, size, JSON_BIG_MAX, &j, &err) < 0)
		return 0;
	sources = json_object_get(j, "sources");
	pairs = json_object_get(j, "pairs");
	overwrite = json_object_get(j, "overwrite");
	if (plan_capture(j, json_is_array(pairs) ? pairs : NULL, rows, &len, &err) == 0)
		check(len);
	if (plan_restore(j, sources, json_is_array(pairs) ? pairs : NULL, overwrite, rows, &len,
			 &err) == 0) {
		check(len);
		for (size_t i = 0; i < len; i++) {
			if (rows[i].size < rows[i].geometry.size)
				abort();
		}
	}
	if (version_from_manifest(j, &id, &v, &err) == 0 && !name_is_valid(v.image))
		abort();
	version_row_done(&v);
	return 0;
}
