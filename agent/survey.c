/* survey.c - the map that decides what a capture reads.
 *
 * It is made once, before the first byte is captured.  In the live image the disks are offline and locked, so that it stays true, and an agent
 * that is started again in the middle of a job makes the very same one: the same windows, the same nodes, nothing is sent twice.  Elsewhere
 * (a developer's machine) something may write to the disk meanwhile.  Then the image is torn as any image of a disk in use is, and besides
 * lacks what was written to places that were free when the map was made; the counters before and after tell (work_capture.c).
 *
 * Two read each partition table: the map's reader, and libblkid for the inventory.  Where libblkid has a partition that the map does not know of, and has not
 * in use anyway, the map is not believed, and the disk is copied whole.
 *
 * The map is an optimisation: while it is made, reads of a failing disk have a limit (guard.h), beyond which they all fail, which makes raw
 * whatever was still to be looked at.  The capture itself then tries with patience. */
#include "agent/survey.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/console.h"
#include "agent/guard.h"
#include "agent/replay/replay.h"
#include "agent/usage/map.h"
#include "common/cleanup.h"

#define LINES_MAX      40u   /* about what is whole; the report has all */
#define PARTS_MAX      2000u /* in the report, below 1 KiB each: a body of 4 MiB has to hold them */
#define WHY_ALL_BLOCKS "all blocks were ordered"

/* ---- the report */

static size_t parts_of(const struct usage_map *m)
{
	return m->partitions_len + m->volumes_len + m->areas_len;
}

/* `*parts`: how many there were on the disks before. */
static json_t *report_map(const struct usage_map *m, const char *path, size_t *parts)
{
	json_t *o = map_to_json(m, path, false);

	*parts += parts_of(m);
	if (!o)
		return NULL;
	(void)json_object_del(o, "path"); /* the report of the disk says so */
	(void)json_object_del(o, "size");
	if (*parts > PARTS_MAX) {
		(void)json_object_del(o, "partitions");
		(void)json_object_del(o, "volumes");
		(void)json_object_del(o, "areas");
		if (json_object_set_new(o, "left_out", json_integer((json_int_t)parts_of(m))) < 0)
			goto bad;
	}
	if (json_object_set_new(o, "how", json_string(usage_how_name(USAGE_MAP))) == 0)
		return o;
bad:
	json_decref(o);
	return NULL;
}

static json_t *report_whole(const char *why)
{
	return json_pack("{s:s, s:s}", "how", usage_how_name(USAGE_RAW), "why", why);
}

/* ---- what is said of it */

struct lines {
	struct job *job;
	unsigned said, unsaid;
};

static const char *describe_part(const struct usage_part *p, char *buf, size_t size)
{
	if (p->name[0])
		(void)snprintf(buf, size, ", %s", p->name);
	else if (p->number > 0)
		(void)snprintf(buf, size, ", partition %" PRIu32, p->number);
	else
		buf[0] = '\0';
	return buf;
}

static void say_part(struct lines *l, const struct disk *d, const struct usage_part *p)
{
	char name[192], copied[CONSOLE_AMOUNT_SIZE];

	if (p->how != USAGE_RAW && p->how != USAGE_HEADER && !p->is_replayed)
		return;
	if (l->said == LINES_MAX) {
		l->unsaid++;
		return;
	}
	l->said++;
	(void)describe_part(p, name, sizeof(name));
	(void)console_amount(p->copied, copied);
	if (p->is_replayed) {
		job_say(l->job, "disk '%s'%s (%s): copied by its map, %s: %s", d->id, name,
			p->content, copied, p->why);
	} else if (p->how == USAGE_HEADER) {
		job_say(l->job, "disk '%s'%s (%s): only its header is copied: %s", d->id, name,
			p->content, p->why);
	} else {
		job_say(l->job, "disk '%s'%s (%s): copied whole, %s: %s", d->id, name, p->content,
			copied, p->why);
	}
}

/* A volume over several disks is on the list of each. */
static bool was_said(const struct usage_map *maps, size_t len, const struct usage_part *v)
{
	for (size_t i = 0; i < len; i++) {
		for (size_t k = 0; k < maps[i].volumes_len; k++) {
			const struct usage_part *x = &maps[i].volumes[k];

			if (strcmp(x->name, v->name) == 0 && strcmp(x->uuid, v->uuid) == 0 &&
			    x->size == v->size)
				return true;
		}
	}
	return false;
}

static void say_all(struct job *job, const struct survey_disk *disks, const struct usage_map *maps,
		    size_t len)
{
	struct lines l = {.job = job};
	char used[CONSOLE_AMOUNT_SIZE], size[CONSOLE_AMOUNT_SIZE];

	for (size_t i = 0; i < len; i++) {
		const struct usage_map *m = &maps[i];

		if (m->size == 0) /* not believed */
			continue;
		job_say(job, "disk '%s': %s of %s are in use; the rest is free and not read",
			disks[i].disk->id, console_amount(disks[i].used_bytes, used),
			console_amount(m->size, size));
		for (size_t k = 0; k < m->partitions_len; k++)
			say_part(&l, disks[i].disk, &m->partitions[k]);
		for (size_t k = 0; k < m->volumes_len; k++) {
			if (!was_said(maps, i, &m->volumes[k]))
				say_part(&l, disks[i].disk, &m->volumes[k]);
		}
	}
	if (l.unsaid > 0)
		job_say(job, "%u more are copied whole or by their header: see the report",
			l.unsaid);
}

/* ---- making it */

static void say_replay(void *ctx, const char *line)
{
	job_say(ctx, "%s", line);
}

static int make_maps(struct job *job, const struct survey_disk *disks, size_t len,
		     const struct survey_options *o, struct usage_map *ret, struct err *err)
{
	struct replay replay = {.say = say_replay, .say_ctx = job};
	struct usage_options options = {o->may_replay ? replay_run : NULL, &replay, false};
	struct blk **guards = calloc(len, sizeof(struct blk *));
	int r = 0;

	if (!guards)
		return err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < len; i++) {
		guards[i] = guard_new(job, disks[i].blk, NULL, err);
		r = guards[i] ? 0 : err->code;
	}
	if (r == 0)
		r = usage_map_with(guards, len, &options, ret, err);
	for (size_t i = 0; i < len; i++)
		blk_free(guards[i]);
	free(guards);
	return r;
}

static int whole_disk(struct job *job, struct survey_disk *d, const char *why, struct err *err)
{
	if (used_init_whole(&d->used, blk_size(d->blk)) == 0)
		d->report = report_whole(why);
	if (!d->report)
		return err_set(err, -ENOMEM, "out of memory");
	d->used_bytes = blk_size(d->blk);
	job_say(job, "disk '%s': all of it is copied: %s", d->disk->id, why);
	return 0;
}

static bool map_has(const struct usage_map *m, const struct partition *p)
{
	for (size_t i = 0; i < m->partitions_len; i++) {
		if (m->partitions[i].offset == p->offset && m->partitions[i].size == p->size)
			return true;
	}
	return false;
}

/* A partition that libblkid has and the map has not, not even as bytes in use; or NULL.  Without a table on the disk itself libblkid's may be that of an array
 * that it is a member of. */
static const struct partition *find_missed(const struct disk *d, const struct usage_map *m)
{
	const struct used used = {m->extents, m->extents_len};
	bool has_table = m->table && strcmp(m->table, "none") != 0;

	for (size_t i = 0; has_table && i < d->contents.partitions_len; i++) {
		const struct partition *p = &d->contents.partitions[i];
		uint64_t size = p->offset < m->size ? m->size - p->offset : 0;

		if (size > p->size)
			size = p->size;
		if (!p->is_extended && !map_has(m, p) &&
		    used_within(&used, p->offset, size) != size)
			return p;
	}
	return NULL;
}

/* Of a map that is not believed nothing is left. */
static int take_map(struct job *job, struct survey_disk *d, struct usage_map *m, size_t *parts,
		    struct err *err)
{
	const struct partition *missed = find_missed(d->disk, m);
	char why[JOB_LINE_SIZE];

	if (missed) {
		(void)snprintf(why, sizeof(why),
			       "libblkid finds a partition at byte %" PRIu64
			       " (number %u) of which the map knows nothing",
			       missed->offset, missed->number);
		usage_map_done(m);
		return whole_disk(job, d, why, err);
	}
	d->report = report_map(m, d->disk->path, parts);
	if (!d->report)
		return err_set(err, -ENOMEM, "out of memory");
	used_take(&d->used, m->extents, m->extents_len);
	m->extents = NULL;
	d->used_bytes = used_bytes(&d->used);
	return 0;
}

static int by_map(struct job *job, struct survey_disk *disks, size_t len,
		  const struct survey_options *o, struct err *err)
{
	CLEANUP_FREE struct usage_map *maps = calloc(len, sizeof(*maps));
	size_t parts = 0;
	int r;

	if (!maps)
		return err_set(err, -ENOMEM, "out of memory");
	r = make_maps(job, disks, len, o, maps, err);
	for (size_t i = 0; r == 0 && i < len; i++)
		r = take_map(job, &disks[i], &maps[i], &parts, err);
	if (r == 0 && !job_is_stopped(job))
		say_all(job, disks, maps, len);
	for (size_t i = 0; i < len; i++)
		usage_map_done(&maps[i]);
	return r;
}

static int whole(struct job *job, struct survey_disk *disks, size_t len, const char *why,
		 struct err *err)
{
	for (size_t i = 0; i < len; i++) {
		int r = whole_disk(job, &disks[i], why, err);

		if (r < 0)
			return job_blame(job, "internal", r);
	}
	return 0;
}

int survey_disks(struct job *job, struct survey_disk *disks, size_t len,
		 const struct survey_options *o, struct err *err)
{
	char why[JOB_LINE_SIZE];
	struct err failure = {0};
	int r;

	if (o->all_blocks)
		return whole(job, disks, len, WHY_ALL_BLOCKS, err);
	r = by_map(job, disks, len, o, &failure);
	if (job_is_stopped(job)) /* a map that was cut short is of no use */
		return job_check(job, err);
	if (r == 0)
		return 0;
	survey_done(disks, len);
	(void)snprintf(why, sizeof(why), "what is in use could not be found out: %.400s",
		       failure.msg);
	return whole(job, disks, len, why, err);
}

void survey_done(struct survey_disk *disks, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		used_done(&disks[i].used);
		json_decref(disks[i].report);
		disks[i].report = NULL;
	}
}

uint64_t survey_memory(const struct survey_disk *disks, size_t len)
{
	uint64_t size = 0;

	for (size_t i = 0; i < len; i++)
		size += disks[i].used.len * sizeof(struct extent);
	return size;
}
