/* The order that an agent gets for its job. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/fleet/private.h"

/* Each takes up to 43 bytes of an answer of at most 4 MiB. */
#define ORDER_EXTENTS_MAX 90000u

static int fill_source(struct fleet *f, const struct job_disk_row *d, struct order_disk *o,
		       struct err *err)
{
	struct index_info info = {0};
	int r = store_index_info(f->config.store, &d->root, &info, err);

	if (r < 0)
		return err_prefix(err, "the index of disk '%s' in the image", d->source_disk);
	o->source = info.geometry;
	o->unreadable = TAKE_PTR(info.unreadable);
	o->unreadable_len = info.unreadable_len;
	index_info_done(&info);
	return 0;
}

static int fill_disks(struct fleet *f, const struct job_disk_row *rows, struct order *o,
		      struct err *err)
{
	size_t extents = 0;

	for (uint32_t n = 0; n < o->disks_len; n++) {
		struct order_disk *d = &o->disks[n];
		int r;

		memcpy(d->disk, rows[n].disk, sizeof(d->disk));
		d->size = rows[n].size;
		if (o->kind == JOB_CAPTURE)
			continue;
		d->fingerprint = rows[n].fingerprint;
		/* A target that may have been whole may have been started since, and look as it did before the restore: the fingerprint does not tell what a
		 * volume that is encrypted, or has volumes in it, holds.  It has its mark, or what is on it is nobody's to lose. */
		d->overwrite = rows[n].overwrite && !rows[n].released;
		d->begun = rows[n].begun;
		memcpy(d->source_disk, rows[n].source_disk, sizeof(d->source_disk));
		d->root = rows[n].root;
		d->data_bytes = rows[n].data_bytes;
		r = fill_source(f, &rows[n], d, err);
		if (r < 0)
			return r;
		extents += d->unreadable_len;
	}
	if (extents > ORDER_EXTENTS_MAX) {
		return err_set(err, API_TOO_LARGE,
			       "The disks have %zu unreadable places, more than %u for one order: "
			       "restore them one by one.",
			       extents, ORDER_EXTENTS_MAX);
	}
	return 0;
}

int job_make_order(struct fleet *f, const struct job *j, const struct job_disk_row *rows,
		   json_t **ret, struct err *err)
{
	CLEANUP(order_done)
	struct order o = {.kind = j->row.kind,
			  .end = j->row.end_action,
			  .level = j->row.level,
			  .all_blocks = j->row.all_blocks,
			  .rescue = j->row.rescue,
			  .disks_len = (uint32_t)j->disks_len};
	int r;

	memcpy(o.job, j->row.id, sizeof(o.job));
	o.disks = calloc(j->disks_len, sizeof(*o.disks));
	if (!o.disks)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	r = fill_disks(f, rows, &o, err);
	if (r < 0)
		return r;
	*ret = order_encode(&o);
	return *ret ? 0 : err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}
