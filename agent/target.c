/* target.c - the server has asked the same questions of an older inventory; what counts is the disk as it is now.  First whether it
 * could hold the image at all, then whether it is the very one. */
#include "agent/target.h"

#include <errno.h>
#include <inttypes.h>

#include "agent/fingerprint.h"

static int check_shape(const struct disk *d, const struct order_disk *o, struct job *job,
		       struct err *err)
{
	if (d->size < o->source.size) {
		return job_blame(job, "target_too_small",
				 err_set(err, -ENOSPC,
					 "target '%s' (%s) has %" PRIu64 " bytes, and %" PRIu64
					 " are needed: %" PRIu64 " too few",
					 d->id, d->path, d->size, o->source.size,
					 o->source.size - d->size));
	}
	if (d->sector_size != o->source.sector_size) {
		return job_blame(job, "sector_size",
				 err_set(err, -EINVAL,
					 "target '%s' (%s) has sectors of %" PRIu32
					 " bytes, and the image was made of a disk with %" PRIu32,
					 d->id, d->path, d->sector_size, o->source.sector_size));
	}
	if (d->size != o->size) {
		return job_blame(job, "target_changed",
				 err_set(err, -ESTALE,
					 "target '%s' (%s) has %" PRIu64 " bytes, and had %" PRIu64
					 " when the restore was ordered",
					 d->id, d->path, d->size, o->size));
	}
	if (d->is_read_only) {
		return job_blame(job, "write_error",
				 err_set(err, -EROFS, "target '%s' (%s) is write-protected", d->id,
					 d->path));
	}
	return 0;
}

static int check_content(const struct contents *c, const struct disk *d, const struct order_disk *o,
			 struct job *job, struct err *err)
{
	char text[ID_TEXT_SIZE];

	if (!c->has_fingerprint) {
		return job_blame(job, "target_changed",
				 err_set(err, -ESTALE,
					 "what is on target '%s' (%s) cannot be told, so it is not "
					 "overwritten: %s",
					 d->id, d->path,
					 c->error[0] ? c->error : "it has no fingerprint"));
	}
	id_to_text(&c->fingerprint, text);
	if (!id_equal(&c->fingerprint, &o->fingerprint)) {
		return job_blame(
			job, "target_changed",
			err_set(err, -ESTALE,
				"what is on target '%s' (%s) has changed since the restore was "
				"ordered; its fingerprint now is %s",
				d->id, d->path, text));
	}
	if (!c->is_empty && !o->overwrite) {
		return job_blame(
			job, "target_holds_data",
			err_set(err, -EEXIST,
				"target '%s' (%s) is not empty; to have it overwritten, name its "
				"fingerprint %s when ordering",
				d->id, d->path, text));
	}
	return 0;
}

int target_check_shape(const struct disk *d, const struct blk *b, struct job *job, struct err *err)
{
	int r = disk_check_opened(d, b, err);

	if (r < 0)
		(void)err_prefix(err, "target");
	return job_blame(job, "target_changed", r);
}

bool target_is_as_ordered(const struct disk *d, const struct order_disk *o)
{
	const struct contents *c = &d->contents;

	return c->has_fingerprint && id_equal(&c->fingerprint, &o->fingerprint) &&
	       (c->is_empty || o->overwrite);
}

int target_check_again(const struct disk *d, struct blk *b, const struct order_disk *o,
		       struct job *job, struct err *err)
{
	const struct contents *c = &d->contents;
	bool is_zero;
	struct id id;
	int r = fingerprint_of_disk(b, c->partitions, c->partitions_len, &id, &is_zero, err);

	if (r < 0) {
		err_prefix(err, "target '%s'", d->id);
		return job_blame(job, "target_changed", r);
	}
	if (id_equal(&id, &o->fingerprint))
		return 0;
	return job_blame(
		job, "target_changed",
		err_set(err, -ESTALE,
			"target '%s' (%s) has just changed: what was looked at is not what "
			"is there now that it is opened for writing",
			d->id, d->path));
}

int target_check(const struct disk *d, const struct order_disk *o, struct job *job, struct err *err)
{
	int r;

	if (!d) {
		return job_blame(
			job, "disk_missing",
			err_set(err, -ENODEV, "there is no disk '%s' in this machine", o->disk));
	}
	r = check_shape(d, o, job, err);
	if (r < 0 || o->begun) /* then its content may be our own */
		return r;
	return check_content(&d->contents, d, o, job, err);
}
