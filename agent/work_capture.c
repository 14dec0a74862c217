/* work_capture.c - the disks of an order one after the other. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/capture.h"
#include "agent/console.h"
#include "agent/ledger.h"
#include "agent/locks.h"
#include "agent/lost.h"
#include "agent/sick_disk.h"
#include "agent/survey.h"
#include "agent/work.h"
#include "common/limits.h"

#define RESCUE_WINDOWS_MAX 1024u /* 4 GiB */

struct source_disk {
	const struct disk *disk; /* of the inventory */
	struct blk *blk;
	bool has_counters;
	struct blk_counters before;
	struct timespec changed; /* of a plain file: when it was written to last */
};

/* All zero if there is no telling. */
static struct timespec time_of_change(const struct disk *d)
{
	struct stat st = {0};

	if (d->kind == DISK_FILE)
		(void)!stat(d->path, &st);
	return st.st_mtim;
}

static int open_source(struct work *w, const struct order_disk *o, struct source_disk *ret,
		       struct err *err)
{
	const struct disk *d = inventory_find_disk(w->inventory, o->disk);
	struct err ignored;
	int r;

	if (!d) {
		return job_blame(
			w->job, "disk_missing",
			err_set(err, -ENODEV, "there is no disk '%s' in this machine", o->disk));
	}
	if (d->size != o->size) {
		return job_blame(w->job, "disk_missing",
				 err_set(err, -ENODEV,
					 "disk '%s' (%s) has %" PRIu64 " bytes, and had %" PRIu64
					 " when the capture was ordered: it is not the same",
					 d->id, d->path, d->size, o->size));
	}
	r = blk_open_file(d->path, BLK_READ, BLK_DIRECT, d->kind == DISK_FILE ? d->sector_size : 0,
			  &ret->blk, err);
	if (r == 0)
		r = job_blame(w->job, "disk_missing", disk_check_opened(d, ret->blk, err));
	if (r == 0)
		r = locks_keep(w->config->locks, d, err);
	if (r < 0)
		return job_blame(w->job, "read_error", r);
	ret->disk = d;
	ret->changed = time_of_change(d);
	/* a plain file has none */
	ret->has_counters = blk_read_counters(ret->blk, &ret->before, &ignored) == 0;
	return 0;
}

#define TORN                                                                                      \
	"; the image is not of one moment, and lacks what went to places that were free when it " \
	"began"

static void warn_if_file_changed(struct work *w, const struct source_disk *s)
{
	struct timespec now = time_of_change(s->disk);

	if (now.tv_sec != s->changed.tv_sec || now.tv_nsec != s->changed.tv_nsec)
		job_say(w->job, "warning: '%s' was written to while it was captured" TORN,
			s->disk->path);
}

/* Were there writes, by whomever, while we read? */
static json_t *counters_report(struct work *w, const struct source_disk *s)
{
	struct blk_counters after;
	struct err err;

	warn_if_file_changed(w, s);
	if (!s->has_counters || blk_read_counters(s->blk, &after, &err) < 0)
		return json_null();
	if (after.writes != s->before.writes || after.discards != s->before.discards) {
		job_say(w->job,
			"warning: disk '%s' was written to while it was captured, by something else: "
			"%" PRIu64 " writes, %" PRIu64 " discards" TORN,
			s->disk->id, after.writes - s->before.writes,
			after.discards - s->before.discards);
	}
	return json_pack("{s:[I,I], s:[I,I], s:b}", "writes", (json_int_t)s->before.writes,
			 (json_int_t)after.writes, "sectors_written",
			 (json_int_t)s->before.sectors_written, (json_int_t)after.sectors_written,
			 "locked", (int)blk_is_locked(s->blk));
}

/* What all disks share. */
struct capture_means {
	struct crew_peers peers;
	unsigned workers;
	struct level *level;
	size_t rescue_windows;
	struct blk **disks; /* all of the order */
	size_t lost_room;   /* for places in the report */
};

static json_t *report_lost(struct work *w, uint32_t n, const struct source *source,
			   struct capture_means *means, size_t *ret_left_out)
{
	if (source->unreadable.len > 0)
		job_say(w->job, "looking whose the unreadable places of disk '%s' are",
			w->order->disks[n].disk);
	return lost_report(w->job, means->disks, w->order->disks_len, n, &source->unreadable,
			   &means->lost_room, ret_left_out);
}

static int report_disk(struct work *w, uint32_t n, const struct source_disk *s,
		       const struct survey_disk *survey, const struct source *source,
		       const struct capture_result *result, struct capture_means *means)
{
	char root[ID_TEXT_SIZE];
	size_t left_out = 0;
	json_t *places = report_lost(w, n, source, means, &left_out);
	const struct extents *bad = &source->unreadable;

	id_to_text(&result->root, root);
	return json_array_append_new(
		w->disks,
		json_pack(
			"{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:O, s:o, s:I}",
			"disk", s->disk->id, "path", s->disk->path, "size",
			(json_int_t)blk_size(s->blk), "root", root, "used_bytes",
			(json_int_t)survey->used_bytes, "skipped_bytes",
			(json_int_t)(blk_size(s->blk) - survey->used_bytes), "data_bytes",
			(json_int_t)result->data_bytes, "read_bytes",
			(json_int_t)source->bytes_read, "io_uring_bytes",
			(json_int_t)source->bytes_ring, "read_errors", (json_int_t)source->errors,
			"unreadable_bytes", (json_int_t)extents_bytes(bad), "unreadable_extents",
			(json_int_t)bad->len, "passes", (json_int_t)result->passes, "counters",
			counters_report(w, s), "map", survey->report, "unreadable", places,
			"unreadable_left_out", (json_int_t)left_out));
}

static int capture_one(struct work *w, uint32_t n, const struct source_disk *s,
		       const struct survey_disk *survey, struct capture_means *means,
		       struct err *err)
{
	struct sick_disk sick = {
		.job = w->job, .disk = s->disk, .blk = s->blk, .is_image = w->config->image};
	struct source source;
	struct capture_result result = {0};
	struct capture_setup setup = {
		.job = w->job,
		.disk = n,
		.source = &source,
		.peers = means->peers.peers,
		.workers = means->workers,
		.codec = w->codec,
		.level = means->level,
	};
	char size[CONSOLE_AMOUNT_SIZE];
	int r;

	sick_disk_options(&sick, w->order, means->rescue_windows, &setup.rescue);
	source_init(&source, s->blk, &survey->used, s->disk->rotational == 1);
	source.may_ring = w->config->io_uring;
	job_say(w->job, "capturing disk '%s' (%s), %s", s->disk->id, s->disk->path,
		console_amount(survey->used_bytes, size));
	r = capture_disk(&setup, &result, err);
	sick_disk_done(&sick);
	if (r == 0 && source.unreadable.len > 0) {
		job_say(w->job,
			"warning: %" PRIu64
			" bytes in %zu places of disk '%s' could not be read, and are zeros in the image",
			extents_bytes(&source.unreadable), source.unreadable.len, s->disk->id);
	}
	if (r == 0 && report_disk(w, n, s, survey, &source, &result, means) < 0)
		r = job_blame(w->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	w->read_bytes += source.bytes_read;
	source_done(&source);
	return r;
}

static int capture_all(struct work *w, const struct source_disk *disks,
		       const struct survey_disk *surveys, struct capture_means *means,
		       struct err *err)
{
	uint64_t total = 0, size = 0;
	int r = 0;

	for (uint32_t n = 0; n < w->order->disks_len; n++) {
		size += blk_size(disks[n].blk);
		total += surveys[n].used_bytes;
	}
	job_set_skipped(w->job, size - total);
	job_start_phase(w->job, PHASE_CAPTURE, total);
	for (uint32_t n = 0; r == 0 && n < w->order->disks_len; n++)
		r = capture_one(w, n, &disks[n], &surveys[n], means, err);
	if (r == 0) {
		job_start_phase(w->job, PHASE_FINISH, total);
		job_add(w->job, total, 0, 0);
	}
	return r;
}

static unsigned count_workers(const struct work *w, int level, uint64_t aside)
{
	return work_count_workers(w, capture_worker_memory(w->codec, level), aside);
}

/* The one ordered, or the highest below it for which there is memory. */
static int fit_ordered(struct work *w, int wanted, uint64_t aside)
{
	int level = wanted;

	while (level > 1 && count_workers(w, level, aside) == 0)
		level--;
	if (level < wanted) {
		job_say(w->job, "compressing at level %d, since there is no memory for level %d",
			level, wanted);
	}
	return level;
}

/* How high an adaptive one may go: as long as there is memory for a worker more than there are cores, or for no fewer of them than at level 1. */
static int fit_adaptive(const struct work *w, uint64_t aside)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned need = count_workers(w, 1, aside);
	int level = LEVEL_AUTO_MAX;

	if (cores > 0 && need > (unsigned)cores + 1)
		need = (unsigned)cores + 1;
	while (level > 1 && count_workers(w, level, aside) < need)
		level--;
	return level;
}

/* Returns the highest that there may be: for that there is to be memory. */
static int choose_level(struct work *w, uint64_t aside, struct level *ret)
{
	int level = w->order->level ? w->order->level : w->config->level, max;

	if (level > 0) {
		max = level = fit_ordered(w, level, aside);
	} else {
		max = fit_adaptive(w, aside);
	}
	level_init(ret, w->codec, level, max);
	return max;
}

static int open_sources(struct work *w, struct source_disk *disks, struct survey_disk *surveys,
			uint64_t *ret_ledger, struct err *err)
{
	const struct order *o = w->order;
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < o->disks_len; n++) {
		uint64_t size = ledger_memory(o->disks[n].size);

		/* one disk at a time */
		*ret_ledger = size > *ret_ledger ? size : *ret_ledger;
		r = open_source(w, &o->disks[n], &disks[n], err);
		surveys[n].disk = disks[n].disk;
		surveys[n].blk = disks[n].blk;
	}
	return r;
}

int work_capture(struct work *w, struct err *err)
{
	const struct order *o = w->order;
	struct source_disk *disks = calloc(o->disks_len, sizeof(*disks));
	struct survey_disk *surveys = calloc(o->disks_len, sizeof(*surveys));
	struct level level;
	struct capture_means means = {.level = &level, .lost_room = LOST_PLACES_MAX};
	uint64_t memory = 0; /* put aside: a ledger, and what is in use */
	const struct survey_options options = {o->all_blocks, w->config->may_replay};
	int max, r;

	means.disks = calloc(o->disks_len, sizeof(struct blk *));
	if (!disks || !surveys || !means.disks) {
		free(disks);
		free(surveys);
		free(means.disks);
		return job_blame(w->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	}
	r = open_sources(w, disks, surveys, &memory, err);
	for (uint32_t n = 0; n < o->disks_len; n++)
		means.disks[n] = disks[n].blk;
	if (r == 0)
		r = survey_disks(w->job, surveys, o->disks_len, &options, err);
	if (r == 0) {
		memory += survey_memory(surveys, o->disks_len);
		max = choose_level(w, memory, &level);
		r = work_need_workers(w, capture_worker_memory(w->codec, max), memory,
				      &means.workers, err);
		if (r == 0) {
			r = work_open_peers(w, means.workers + capture_senders(means.workers),
					    &means.peers, err);
		}
		means.rescue_windows =
			work_count_spare(w, capture_worker_memory(w->codec, max), means.workers,
					 memory, WINDOW_SIZE, RESCUE_WINDOWS_MAX);
		if (r == 0)
			r = capture_all(w, disks, surveys, &means, err);
		w->levels = level_report(&level);
		level_done(&level);
	}
	work_close_peers(w, &means.peers);
	survey_done(surveys, o->disks_len);
	for (uint32_t n = 0; n < o->disks_len; n++)
		blk_free(disks[n].blk);
	free(surveys);
	free(disks);
	free(means.disks);
	return r;
}
