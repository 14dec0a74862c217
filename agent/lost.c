#include "agent/lost.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/guard.h"
#include "agent/usage/owners.h"
#include "common/cleanup.h"

#define LIMIT_MS (5u * 60000u)

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? json_string(text) : json_null();
}

static json_t *place_json(const struct owner *o)
{
	return json_pack("{s:I, s:I, s:o, s:o, s:o, s:s, s:o}", "offset", (json_int_t)o->offset,
			 "length", (json_int_t)o->length, "partition",
			 o->partition ? json_integer(o->partition) : json_null(), "volume",
			 text_or_null(o->volume), "content", text_or_null(o->content), "what",
			 owner_kind_name(o->kind), "name", text_or_null(o->name));
}

/* Whose they are, by the filesystems.  Every other disk is as it is; of this one what is bad is not tried again. */
static int find_owners(struct job *job, struct blk *const *disks, size_t len, size_t n,
		       const struct extents *bad, struct owner **ret, size_t *ret_len)
{
	CLEANUP_FREE struct blk **guards = calloc(len, sizeof(struct blk *));
	struct err err;
	int r = guards ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < len; i++) {
		guards[i] = guard_new(job, disks[i], i == n ? bad : NULL, &err);
		r = guards[i] ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = usage_owners(guards, len, n, bad, LIMIT_MS, ret, ret_len, &err);
	for (size_t i = 0; guards && i < len; i++)
		blk_free(guards[i]);
	return r;
}

/* A phase of its own: what is read for it is progress (guard.c), and none of the capture. */
static int find_owners_if_any(struct job *job, struct blk *const *disks, size_t len, size_t n,
			      const struct extents *bad, struct owner **ret, size_t *ret_len)
{
	const struct job_progress was = job_get_progress(job);
	int r;

	if (bad->len == 0)
		return 0;
	job_start_phase(job, PHASE_CHECK, 0);
	r = find_owners(job, disks, len, n, bad, ret, ret_len);
	job_resume_phase(job, &was);
	return r;
}

json_t *lost_report(struct job *job, struct blk *const *disks, size_t len, size_t n,
		    const struct extents *bad, size_t *room, size_t *ret_left_out)
{
	CLEANUP_FREE struct owner *owners = NULL;
	json_t *places = json_array();
	size_t owners_len = 0, shown, seen = 0;

	if (!places || find_owners_if_any(job, disks, len, n, bad, &owners, &owners_len) < 0) {
		json_decref(places);
		return NULL;
	}
	shown = owners_len < *room ? owners_len : *room;
	for (size_t i = 0; i < shown; i++) {
		if (json_array_append_new(places, place_json(&owners[i])) < 0) {
			json_decref(places);
			return NULL;
		}
	}
	*room -= shown;
	/* extents of which nothing is on the list */
	while (shown > 0 && seen < bad->len && bad->items[seen].offset <= owners[shown - 1].offset)
		seen++;
	*ret_left_out = bad->len - seen;
	return places;
}
