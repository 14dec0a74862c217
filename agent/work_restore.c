/* work_restore.c - all targets are looked at, and held, before the first is touched; all are written before the first is verified, only what
 * was verified is fixed up, and what the firmware would start from comes last of all: head.h.
 *
 * A disk that this job had begun before is gone on with if it has the job's marker, or is still as ordered (then the marker was not yet written). One that is neither is
 * whole, or it is somebody's: it is compared with the image before anything is written, and not written to. If it is the image, and others of the job are not whole, it is marked
 * again with them, so that no system starts beside disks that are half written, whatever becomes of the job. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/console.h"
#include "agent/fixup_gpt.h"
#include "agent/head.h"
#include "agent/ledger.h"
#include "agent/partitions.h"
#include "agent/restore.h"
#include "agent/target.h"
#include "agent/work.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/limits.h"

#define END_SIZE (1u << 20) /* as much as the fingerprint covers */

struct target_disk {
	const struct disk *disk; /* of the inventory */
	struct blk *blk;
	struct head *head;
	bool is_only_compared; /* begun, but neither marked nor as ordered */
	bool goes_on;	       /* marked when the job was taken up */
	bool is_held;	       /* marked now, to be released */
	struct restore *restore;
	struct restore_counts counts;
	bool is_written;
	uint64_t cleared; /* bytes behind the image */
	struct id root;	  /* of what was read again; zero: not all was, or it was wrong */
	const char *gpt;  /* what became of it, for the report */
};

static uint32_t file_sector_size(const struct disk *d)
{
	return d->kind == DISK_FILE ? d->sector_size : 0;
}

static int check_all(struct work *w, struct target_disk *t, struct err *err)
{
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < w->order->disks_len; n++) {
		t[n].disk = inventory_find_disk(w->inventory, w->order->disks[n].disk);
		r = target_check(t[n].disk, &w->order->disks[n], w->job, err);
		w->was_begun = w->was_begun || w->order->disks[n].begun;
	}
	return r;
}

/* A sector that was being written when the power failed may be unreadable until it is written anew; who may do that is not for us to say. */
static int say_unread(struct work *w, const struct target_disk *t, int r, struct err *err)
{
	const struct err why = *err;

	if (r == -ENOMEM)
		return job_blame(w->job, "internal", r);
	return job_blame(
		w->job, "read_error",
		err_set(err, r,
			"the beginning of target '%s' (%s) cannot be read, so it is not known "
			"whether it bears this restore's mark, and it is not written to. If only a "
			"power cut has torn that sector, zeros over the disk's first 4096 bytes "
			"mend it; then order a restore anew: %s",
			t->disk->id, t->disk->path, why.msg));
}

/* What is known of it was read through its path, and may be of another disk or time: from now on nobody else has it. */
static int open_target(struct work *w, uint32_t n, struct target_disk *t, struct err *err)
{
	const struct order_disk *o = &w->order->disks[n];
	struct marker m = {.disk = n};
	int r = blk_open_file(t->disk->path, BLK_WRITE, BLK_DIRECT | BLK_LIFT_READ_ONLY,
			      file_sector_size(t->disk), &t->blk, err);

	memcpy(m.job, w->order->job, sizeof(m.job));
	if (r < 0)
		return job_blame(w->job, "write_error", r);
	r = target_check_shape(t->disk, t->blk, w->job, err);
	if (r < 0)
		return r;
	r = head_new(t->blk, o->source.size, &m, &t->head, err);
	if (r < 0)
		return say_unread(w, t, r, err);
	t->goes_on = head_is_marked(t->head);
	if (t->goes_on) {
		w->has_written = true;
		return 0;
	}
	if (o->begun && !target_is_as_ordered(t->disk, o)) {
		t->is_only_compared = w->has_compared = true;
		head_forbid(t->head);
		return 0;
	}
	return target_check_again(t->disk, t->blk, o, w->job, err);
}

static int open_all(struct work *w, struct target_disk *t, struct err *err)
{
	int r = 0;

	for (uint32_t n = 0; r == 0 && n < w->order->disks_len; n++)
		r = open_target(w, n, &t[n], err);
	return r;
}

static uint64_t unreadable_of(const struct order_disk *o)
{
	uint64_t n = 0;

	for (size_t i = 0; i < o->unreadable_len; i++)
		n += o->unreadable[i].length;
	return n;
}

/* Before and after: what the image lacks the target lacks, too. */
static void say_unreadable(struct work *w, const struct order_disk *o, const char *what)
{
	if (o->unreadable_len == 0)
		return;
	job_say(w->job,
		"warning: %" PRIu64
		" bytes in %zu places of disk '%s' could not be read when it was captured, and %s zeros",
		unreadable_of(o), o->unreadable_len, o->source_disk, what);
}

static int new_restore(struct work *w, uint32_t n, struct target_disk *t,
		       const struct crew_peers *peers, struct err *err)
{
	struct restore_setup setup = {
		.job = w->job,
		.disk = n,
		.order = &w->order->disks[n],
		.target = head_blk(t->head),
		.peers = peers->peers,
		.workers = peers->len,
		.is_serial = t->disk->rotational == 1,
	};

	return restore_new(&setup, &t->restore, err);
}

/* The server knows it before the first byte changes, and says whether it still may. */
static int begin(struct work *w, uint32_t n, struct target_disk *t, struct peer *peer,
		 struct err *err)
{
	int r = peer_blame(peer, w->job, peer->ops->begin(peer, &n, 1, err));

	if (r == 0) /* the heartbeat may have heard of it since */
		r = job_check(w->job, err);
	if (r < 0)
		return r;
	if (t->is_only_compared) {
		job_say(w->job, "'%s' (%s) is whole; it is marked again until the others are",
			t->disk->id, t->disk->path);
		head_allow(t->head);
	}
	w->has_written = t->is_held = true;
	return job_blame(w->job, "write_error", head_mark(t->head, err));
}

/* All are marked before the first is written: a power cut starts no old system among half-written disks.  None, if all are whole. */
static int begin_all(struct work *w, struct target_disk *t, struct peer *peer, struct err *err)
{
	uint32_t len = w->order->disks_len, whole = 0;
	int r = 0;

	for (uint32_t n = 0; n < len; n++)
		whole += t[n].is_only_compared;
	for (uint32_t n = 0; r == 0 && n < len && whole < len; n++)
		r = begin(w, n, &t[n], peer, err);
	if (r == 0 && whole < len)
		w->has_compared = false;
	return r;
}

/* Something would have had to be written to a disk that is only compared. */
static int say_changed(struct work *w, const struct order_disk *o, const struct target_disk *t,
		       int r, struct err *err)
{
	char code[JOB_CODE_SIZE];
	/* the image's table names another end */
	const char *whole = blk_size(t->blk) > o->source.size
				    ? ", or it is whole and its GPT was moved to the disk's end"
				    : "";
	const char *others = w->order->disks_len > 1 ? ", if the other targets are whole, too" : "";

	job_get_code(w->job, code);
	if (!t->is_only_compared || strcmp(code, "target_changed") != 0)
		return r;
	return err_set(
		err, r,
		"target '%s' (%s) is not as this restore left it: its mark is gone, and it is not "
		"the image. It is another disk, or its system was started%s. It is left as it is: "
		"if it starts, nothing is to be done%s; "
		"to have it overwritten, order a restore anew and name its fingerprint",
		t->disk->id, t->disk->path, whole, others);
}

static int write_one(struct work *w, uint32_t n, struct target_disk *t, struct err *err)
{
	char size[CONSOLE_AMOUNT_SIZE];
	int r;

	job_say(w->job, "%s disk '%s' %s '%s' (%s), %s",
		t->is_only_compared ? "comparing"
		: t->goes_on	    ? "going on restoring"
				    : "restoring",
		w->order->disks[n].source_disk, t->is_only_compared ? "with" : "onto", t->disk->id,
		t->disk->path, console_amount(w->order->disks[n].source.size, size));
	job_set_disk(w->job, n);
	say_unreadable(w, &w->order->disks[n], "are written as");
	r = restore_write(t->restore, &t->counts, err);
	t->is_written = r == 0;
	return say_changed(w, &w->order->disks[n], t, r, err);
}

static int write_all(struct work *w, struct target_disk *t, const struct crew_peers *peers,
		     uint64_t total, struct err *err)
{
	uint32_t len = w->order->disks_len;
	int r = 0;

	job_start_phase(w->job, PHASE_RESTORE, total);
	for (uint32_t n = 0; r == 0 && n < len; n++)
		r = new_restore(w, n, &t[n], peers, err);
	for (uint32_t n = 0; r == 0 && n < len; n++)
		r = t[n].is_only_compared ? write_one(w, n, &t[n], err) : 0;
	if (r == 0)
		r = begin_all(w, t, peers->peers[0], err);
	for (uint32_t n = 0; r == 0 && n < len; n++)
		r = t[n].is_only_compared ? 0 : write_one(w, n, &t[n], err);
	if (r < 0)
		return r;
	job_say(w->job, "all is written, reading it again");
	job_start_phase(w->job, PHASE_VERIFY, total);
	for (uint32_t n = 0; r == 0 && n < len; n++)
		r = restore_verify(t[n].restore, &t[n].root, err);
	return r;
}

/* At the end of a disk are the superblocks of some RAIDs (MD 0.90 and 1.0, DDF, Intel's), ZFS labels, and the backup of a GPT: from a former life of a target that is larger than
 * the image they would make the system take it for what it is no more. That it is overwritten was allowed, or it was empty. */
static int clear_end(struct work *w, struct target_disk *t, uint64_t source_size, struct err *err)
{
	uint64_t size = blk_size(t->blk), from = size > END_SIZE ? size - END_SIZE : 0;
	CLEANUP_FREE uint8_t *buf = aligned_alloc(BLK_DIRECT_ALIGN, END_SIZE);
	struct blk *b = head_blk(t->head);
	int r;

	from = from > source_size ? from : source_size;
	if (from >= size || t->is_only_compared)
		return 0;
	if (!buf)
		return job_blame(w->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	size -= from;
	r = blk_read(b, buf, size, from, err);
	if (r == 0 && bytes_are_zero(buf, size))
		return 0;
	t->cleared = size;
	r = blk_zero(b, from, size, err);
	if (r == 0)
		r = blk_drop_cache(b, err);
	if (r < 0)
		return job_blame(w->job, "write_error", r);
	r = blk_read(b, buf, size, from, err);
	if (r == 0 && !bytes_are_zero(buf, size)) {
		r = err_set(err, -EBADMSG,
			    "'%s' does not hold what was written to it: its last %" PRIu64
			    " bytes are not zeros",
			    blk_name(b), size);
	}
	return job_blame(w->job, "verify_failed", r);
}

/* A target that was not written to is left with the lock that it had (agent/locks.h). */
static void close_target(struct work *w, struct target_disk *t)
{
	struct err err;

	if (t->blk && !t->is_held && blk_lock_again(t->blk, &err) < 0)
		job_say(w->job, "warning: %s", err.msg);
	restore_free(t->restore);
	head_free(t->head);
	blk_free(t->blk);
}

/* What cannot be fixed up is no failure of the restore: the target holds the image, byte for byte, unless it failed while that was put back. */
static int fix_up(struct work *w, struct target_disk *t, uint64_t source_size, struct err *err)
{
	struct gpt_fixup f = {.result = GPT_NONE};
	struct err why;
	int r;

	if (t->disk->size == source_size || t->is_only_compared)
		return 0;
	r = fixup_gpt(head_blk(t->head), source_size, &f, &why);
	if (r == -ENOTRECOVERABLE) {
		*err = why;
		return job_blame(w->job, "write_error", r);
	}
	if (r < 0) {
		job_say(w->job,
			"warning: %s. The target holds the image as it was, and its partitions are "
			"found by the primary table if that is sound. 'sgdisk --verify' shows "
			"whether it is, and 'sgdisk --move-second-header' then moves the backup; if "
			"not, restore onto a disk of %" PRIu64
			" bytes, at whose end the backup is found",
			why.msg, source_size);
		t->gpt = "failed";
	} else if (f.result == GPT_MOVED) {
		job_say(w->job, "the GPT of '%s' was moved to the disk's end%s", t->disk->id,
			f.is_hybrid ? "; its hybrid MBR was left as it was" : "");
		t->gpt = "moved";
	}
	return 0;
}

static int report_disk(struct work *w, uint32_t n, const struct target_disk *t)
{
	const struct order_disk *o = &w->order->disks[n];
	char root[ID_TEXT_SIZE], target_root[ID_TEXT_SIZE];

	id_to_text(&o->root, root);
	id_to_text(&t->root, target_root);
	return json_array_append_new(
		w->disks,
		json_pack("{s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
			  "source", o->source_disk, "target", t->disk->id, "path", t->disk->path,
			  "root", root, "target_root", id_is_zero(&t->root) ? NULL : target_root,
			  "size", (json_int_t)o->source.size, "target_size",
			  (json_int_t)t->disk->size, "written_bytes", (json_int_t)t->counts.written,
			  "zeroed_bytes", (json_int_t)t->counts.zeroed, "kept_bytes",
			  (json_int_t)t->counts.kept, "fetched_bytes",
			  (json_int_t)t->counts.fetched, "unreadable_bytes",
			  (json_int_t)unreadable_of(o), "cleared_bytes", (json_int_t)t->cleared,
			  "gpt", t->gpt ? t->gpt : "untouched"));
}

/* Of all disks that were written, whatever came after that. */
static int report_all(struct work *w, const struct target_disk *t)
{
	int r = 0;

	for (uint32_t n = 0; n < w->order->disks_len; n++) {
		if (t[n].restore)
			w->read_bytes += restore_bytes_read(t[n].restore);
		w->written_bytes += t[n].counts.written + t[n].counts.zeroed;
		if (t[n].is_written)
			r |= report_disk(w, n, &t[n]);
	}
	return r;
}

/* All that was held back, the first sectors of all disks last, and of them that of disk 0, from which most machines start.  On failure none of them is left whole. */
static int release_all(struct work *w, struct target_disk *t, struct err *err)
{
	uint32_t len = w->order->disks_len, n;
	struct err ignored;
	int r = 0;

	for (n = 0; r == 0 && n < len; n++)
		r = t[n].is_held ? head_place(t[n].head, err) : 0;
	for (n = len; r == 0 && n-- > 0;)
		r = t[n].is_held ? head_release(t[n].head, err) : 0;
	if (r == 0)
		return 0;
	for (n = 0; n < len; n++) {
		if (t[n].is_held)
			(void)!head_mark(t[n].head, &ignored);
	}
	return job_blame(w->job, "write_error", r);
}

/* Of a cancel that has come meanwhile nobody else might tell: verifying needs no server. */
static int ask_release(struct work *w, const struct target_disk *t, struct peer *peer,
		       struct err *err)
{
	uint32_t disks[JOB_DISKS_MAX];
	size_t len = 0;

	for (uint32_t n = 0; n < w->order->disks_len; n++) {
		if (t[n].is_held)
			disks[len++] = n;
	}
	if (len == 0)
		return job_check(w->job, err);
	return peer_blame(peer, w->job, peer->ops->release(peer, disks, len, err));
}

/* Then close, so that the kernel can look at them. */
static int finish_all(struct work *w, struct target_disk *t, struct peer *peer, uint64_t total,
		      struct err *err)
{
	uint32_t len = w->order->disks_len;
	int r = 0;

	job_start_phase(w->job, PHASE_FINISH, total);
	job_add(w->job, total, 0, 0);
	for (uint32_t n = 0; r == 0 && n < len; n++)
		r = clear_end(w, &t[n], w->order->disks[n].source.size, err);
	for (uint32_t n = 0; r == 0 && n < len; n++)
		r = fix_up(w, &t[n], w->order->disks[n].source.size, err);
	if (r == 0)
		r = ask_release(w, t, peer, err);
	if (r == 0)
		r = release_all(w, t, err);
	for (uint32_t n = 0; r < 0 && n < len; n++)
		t[n].root = (struct id){{0}}; /* of what is not there as it was verified */
	for (uint32_t n = 0; r == 0 && n < len; n++) {
		head_free(t[n].head);
		t[n].head = NULL;
		blk_free(t[n].blk);
		t[n].blk = NULL;
		partitions_reread(t[n].disk->path);
		say_unreadable(w, &w->order->disks[n], "are");
		job_add_unreadable(w->job, unreadable_of(&w->order->disks[n]));
	}
	return r;
}

int work_restore(struct work *w, struct err *err)
{
	const struct order *o = w->order;
	struct target_disk *t = calloc(o->disks_len, sizeof(*t));
	struct crew_peers peers = {.len = 0};
	unsigned workers = 0;
	uint64_t ledgers = 0, ledger_max = 0, heads = (uint64_t)o->disks_len * HEAD_SIZE, total = 0;
	int r;

	if (!t)
		return job_blame(w->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	for (uint32_t n = 0; n < o->disks_len; n++) {
		uint64_t size = ledger_memory(o->disks[n].source.size);

		ledgers += size; /* kept until verified, which takes another one */
		ledger_max = size > ledger_max ? size : ledger_max;
		total += o->disks[n].source.size;
	}
	r = check_all(w, t, err);
	if (r == 0)
		r = open_all(w, t, err);
	if (r == 0)
		r = work_need_workers(w, RESTORE_WORKER_MEMORY, heads + ledgers + ledger_max,
				      &workers, err);
	if (r == 0)
		r = work_open_peers(w, workers, &peers, err);
	if (r == 0)
		r = write_all(w, t, &peers, total, err);
	if (r == 0)
		r = finish_all(w, t, peers.peers[0], total, err);
	if (report_all(w, t) < 0 && r == 0)
		r = job_blame(w->job, "internal", err_set(err, -ENOMEM, "out of memory"));
	for (uint32_t n = 0; n < o->disks_len; n++)
		close_target(w, &t[n]);
	work_close_peers(w, &peers);
	free(t);
	return r;
}
