#include "agent/sick_disk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/cleanup.h"

bool sick_disk_is_dead(const char *state)
{
	static const char *const dead[] = {"offline",  "transport-offline", "cancel", "deleted",
					   "deleting", "deleting (no IO)",  "dead"};

	for (size_t i = 0; i < sizeof(dead) / sizeof(*dead); i++) {
		if (strcmp(state, dead[i]) == 0)
			return true;
	}
	return false;
}

/* SCSI and ATA disks that did not answer for long enough are taken offline: from then on every read is an I/O error, at once. */
static bool is_offline(const struct disk *d, char state[static 32])
{
	struct sysroot root;
	struct err ignored;
	bool is_dead;

	if (sysroot_open(NULL, &root, &ignored) < 0)
		return false;
	is_dead = sysroot_text(&root, state, 32, "sys/block/%s/device/state", d->sysname) &&
		  sick_disk_is_dead(state);
	sysroot_done(&root);
	return is_dead;
}

int sick_disk_check(const struct sick_disk *s, struct err *err)
{
	CLEANUP(blk_freep) struct blk *now = NULL;
	char state[32] = "";
	int r = blk_open_file(s->disk->path, BLK_READ, BLK_LOOK, 0, &now, err);

	if (r < 0)
		return err_prefix(err, "disk '%s' is not there any more", s->disk->id);
	if (blk_size(now) != blk_size(s->blk)) {
		return err_set(err, -ENODEV,
			       "disk '%s' (%s) had %" PRIu64
			       " bytes when its capture began, and has %" PRIu64 " now",
			       s->disk->id, s->disk->path, blk_size(s->blk), blk_size(now));
	}
	if (s->disk->kind == DISK_PLAIN && is_offline(s->disk, state)) {
		return err_set(err, -ENODEV,
			       "disk '%s' (%s) does not answer any more: the kernel calls it %s",
			       s->disk->id, s->disk->path, state);
	}
	return 0;
}

static int check(void *ctx, struct err *err)
{
	return sick_disk_check(ctx, err);
}

static void on_sick(void *ctx)
{
	struct sick_disk *s = ctx;
	struct sysroot root;
	struct err ignored;

	job_say(s->job,
		"warning: disk '%s' has places that cannot be read; the rest of it comes first, then what can be saved around them",
		s->disk->id);
	if (!s->is_image || s->disk->kind != DISK_PLAIN || sysroot_open(NULL, &root, &ignored) < 0)
		return;
	if (timeouts_lower(&root, s->disk->sysname, &s->timeouts))
		job_say(s->job, "the kernel waits for disk '%s' no longer than %u s, meanwhile",
			s->disk->id, TIMEOUT_S);
	sysroot_done(&root);
}

void sick_disk_options(struct sick_disk *s, const struct order *o, size_t windows,
		       struct rescue_options *ret)
{
	rescue_options_init(ret);
	if (o->rescue.seconds >= 0)
		ret->total_ms = (uint64_t)o->rescue.seconds * 1000;
	if (o->rescue.area_seconds >= 0)
		ret->area_ms = (uint64_t)o->rescue.area_seconds * 1000;
	if (o->rescue.retries >= 0)
		ret->retries = (unsigned)o->rescue.retries;
	ret->windows = windows;
	ret->on_sick = on_sick;
	ret->check = check;
	ret->ctx = s;
}

void sick_disk_done(struct sick_disk *s)
{
	struct sysroot root;
	struct err ignored;

	if (sysroot_open(NULL, &root, &ignored) < 0)
		return;
	timeouts_restore(&root, &s->timeouts);
	sysroot_done(&root);
}
