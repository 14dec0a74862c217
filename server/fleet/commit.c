/* The commit of a capture, in an order that a crash cannot hurt (docs/database.md): first the manifest's bytes are settled in the
 * job's row, then they are written to the store, then one transaction makes the version and ends the job.  Whoever comes back in
 * between does the rest again with the same bytes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/fleet/private.h"

#define MANIFEST_MAX (8u << 20)

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

static json_t *disk_json(const struct job_disk_row *d)
{
	char root[ID_TEXT_SIZE];

	id_to_text(&d->root, root);
	return json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:I}", "disk", d->disk, "size",
			 (json_int_t)d->geometry.size, "sector_size",
			 (json_int_t)d->geometry.sector_size, "physical_sector_size",
			 (json_int_t)d->geometry.physical_sector_size, "root", root, "data_bytes",
			 (json_int_t)d->data_bytes, "unreadable_bytes",
			 (json_int_t)d->unreadable_bytes);
}

static json_t *disks_json(const struct job *j)
{
	json_t *array = json_array();

	for (size_t n = 0; n < j->disks_len; n++) {
		if (json_array_append_new(array, disk_json(&j->disks[n])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* Who reads it, as a start without state.db does, takes no more than that of a document: each of the two that it is made of may have as much. */
static int check_readable(const char *text, struct err *err)
{
	CLEANUP_JSON json_t *again = NULL;
	struct err why;
	size_t size = strlen(text);
	int r = 0;

	if (size > MANIFEST_MAX) {
		return err_set(err, API_TOO_LARGE,
			       "The manifest would have %zu bytes, more than %u: the agent's "
			       "inventory and report are too long.",
			       size, MANIFEST_MAX);
	}
	r = json_parse(text, size, MANIFEST_MAX, &again, &why);
	if (r == -ENOMEM)
		return out_of_memory(err);
	return r < 0 ? err_set(err, API_TOO_LARGE,
			       "The manifest could not be read again (%.200s): the agent's "
			       "inventory and report are too long.",
			       why.msg)
		     : 0;
}

/* Settle version and manifest in the row; the lock and commit_lock are held. */
static int settle(struct fleet *f, struct job *j, json_t *roots, struct err *err)
{
	CLEANUP_FREE char *report_text = NULL, *text = NULL;
	CLEANUP_JSON json_t *report = NULL, *manifest = NULL;
	struct job_row old = j->row;
	int64_t now = fleet_now();
	uint32_t version;
	int r = state_next_version(f->config.state, j->row.image, &version, err);

	if (r < 0)
		return r;
	report_text = report_complete(j, now, roots);
	report = report_text ? json_loads(report_text, 0, NULL) : NULL;
	manifest = json_pack("{s:i, s:s, s:I, s:o, s:s, s:s, s:s, s:O?, s:o, s:O}", "hoist", 1,
			     "image", j->row.image, "version", (json_int_t)version, "created",
			     view_time(now), "job", j->row.id, "machine", j->row.machine,
			     "machine_name", j->row.machine_name, "inventory",
			     j->machine ? j->machine->inventory : NULL, "disks", disks_json(j),
			     "report", report);
	text = manifest ? json_dumps(manifest, JSON_COMPACT) : NULL;
	if (!report_text || !text)
		return out_of_memory(err);
	r = check_readable(text, err);
	if (r < 0)
		return r;
	j->row.version = version;
	j->row.manifest = text;
	j->row.report = report_text;
	r = state_save_job(f->config.state, &j->row, err);
	if (r < 0) {
		j->row = old;
		return r;
	}
	free(old.report);
	(void)TAKE_PTR(text); /* they are the row's now */
	(void)TAKE_PTR(report_text);
	return 0;
}

/* Does it tell of the disks that were finished? */
static int check_disks(const struct job *j, const json_t *m, struct err *err)
{
	const json_t *disks = json_object_get(m, "disks");

	if (json_array_size(disks) != j->disks_len)
		return err_set(err, -EBADMSG, "it has %zu disks, and the job %zu",
			       json_array_size(disks), j->disks_len);
	for (size_t n = 0; n < j->disks_len; n++) {
		struct id root;
		int r = json_get_id(json_array_get(disks, n), "root", &root, err);

		if (r < 0 || !id_equal(&root, &j->disks[n].root))
			return err_set(err, -EBADMSG,
				       "its disk %zu is not the one that was finished", n);
	}
	return 0;
}

/* The row of the version from the settled manifest.  That has lain in the database, which has no sum over it, and becomes the truth about the image: so it
 * has to say what the job's other columns say.  -EBADMSG */
static int make_version(const struct job *j, struct version_row *ret, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	const struct id id = id_of(j->row.manifest, strlen(j->row.manifest));
	json_error_t why;
	CLEANUP_JSON json_t *m = json_loads(j->row.manifest, 0, &why);
	int r;

	if (!m && json_error_code(&why) == json_error_out_of_memory)
		return out_of_memory(err);
	if (!m)
		return err_set(err, -EBADMSG, "it is no JSON: %s", why.text);
	r = version_from_manifest(m, &id, &v, err);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return err->code = -EBADMSG;
	if (strcmp(v.image, j->row.image) != 0 || v.version != j->row.version ||
	    strcmp(v.job, j->row.id) != 0) {
		return err_set(err, -EBADMSG,
			       "it is that of image '%s', version %" PRIu32 ", job '%s'", v.image,
			       v.version, v.job);
	}
	r = check_disks(j, m, err);
	if (r < 0)
		return r;
	*ret = v;
	v = (struct version_row){0};
	return 0;
}

/* What was settled is damaged, and will be in a minute too: the job ends, and nothing of it gets into the store. */
static int give_up(struct fleet *f, struct job *j, struct err *err)
{
	const uint32_t version = j->row.version;
	char *manifest = j->row.manifest;
	struct err why = *err, trouble;
	LOCK_FLEET(f);

	(void)err_set(
		err, API_STORE_DAMAGED,
		"The manifest of version %" PRIu32 " of image '%s', which was about to be made, is "
		"damaged in the server's 'state.db': %.200s. There is no such version; see to the "
		"server's storage, and capture again: little is sent twice.",
		version, j->row.image, why.msg);
	log_event(LOG_ERROR, "manifest_damaged", "job=%s error=\"%s\"", j->row.id, why.msg);
	j->row.manifest = NULL;
	j->row.version = 0;
	if (job_end(f, j, JOB_FAILED, API_STORE_DAMAGED, err->msg, &trouble) < 0) {
		j->row.manifest = manifest;
		j->row.version = version;
		log_event(LOG_ERROR, "state_failed", "job=%s error=\"%s\"", j->row.id, trouble.msg);
		return err->code;
	}
	free(manifest);
	return err->code;
}

/* By what was sealed, not by what the agent said on the way. */
static uint64_t unreadable_of(const struct job *j)
{
	uint64_t n = 0;

	for (size_t i = 0; i < j->disks_len; i++)
		n += j->disks[i].unreadable_bytes;
	return n;
}

static int end_with(struct fleet *f, struct job *j, struct version_row *v, struct err *err)
{
	struct job_row old;
	LOCK_FLEET(f);
	int r = job_pack_log(j, err);

	if (r < 0)
		return r;
	old = j->row;
	j->row.state = JOB_DONE;
	j->row.unreadable = unreadable_of(j);
	j->row.ended = fleet_now();
	j->row.seq++;
	j->row.code[0] = j->row.message[0] = '\0';
	j->row.manifest = NULL;
	r = state_commit_job(f->config.state, &j->row, v, err);
	if (r < 0) {
		j->row = old;
		return r;
	}
	free(old.manifest);
	if (j->row.unreadable > 0) {
		fleet_event(f, "job_done_with_unreadable", j->row.machine, j->row.id,
			    "capture of %s, version %u: %" PRIu64
			    " bytes could not be read and are zeros in it",
			    j->row.image, j->row.version, j->row.unreadable);
	} else {
		fleet_event(f, "job_done", j->row.machine, j->row.id, "capture of %s, version %u",
			    j->row.image, j->row.version);
	}
	job_ended(f, j);
	return 0;
}

/* Something of disk `n` was lost after it was finished: it is open again, and its agent, which has the disk, sends what lacks. */
static int reopen(struct fleet *f, struct job *j, size_t n, struct err *err)
{
	char why[sizeof(err->msg)];
	int r;
	LOCK_FLEET(f);

	memcpy(why, err->msg, sizeof(why));
	j->disks[n].sealed = false;
	r = state_save_job_disk(f->config.state, j->row.id, (uint32_t)n, &j->disks[n], err);
	if (r < 0)
		return r;
	fleet_event(f, "capture_reopened", j->row.machine, j->row.id,
		    "disk %zu (%s) has lost something since it was finished: %s", n,
		    j->disks[n].disk, why);
	return err_set(
		err, API_INCOMPLETE,
		"The store has lost something of disk %zu (%s) since it was finished: %.300s; "
		"it is to be finished again.",
		n, j->disks[n].disk, why);
}

/* Packs of a disk that was finished hours ago may have turned out damaged since. */
static int check_stored(struct fleet *f, struct job *j, const struct job_disk_row *disks,
			size_t len, struct err *err)
{
	int r = 0;

	for (size_t n = 0; r == 0 && n < len; n++) {
		r = store_index_check(f->config.store, &disks[n].root, err);
		if (r == -ENODATA)
			r = reopen(f, j, n, err);
	}
	return r;
}

/* What was sealed, looked at once more before it becomes a version.  An index that is damaged by now ends the job: what the disk held cannot be said any more. */
static int look_again(struct fleet *f, struct job *j, json_t **ret_roots, struct err *err)
{
	CLEANUP_JSON json_t *said = NULL;
	CLEANUP_FREE struct job_disk_row *disks = calloc(j->disks_len, sizeof(*disks));
	struct err why, ignored;
	int r;

	if (!disks)
		return out_of_memory(err);
	(void)pthread_mutex_lock(&f->lock);
	memcpy(disks, j->disks, j->disks_len * sizeof(*disks));
	said = j->row.report ? json_loads(j->row.report, 0, NULL) : NULL;
	(void)pthread_mutex_unlock(&f->lock);
	r = report_roots(f, &j->row, disks, j->disks_len, said, ret_roots, &why);
	if (r == 0)
		r = check_stored(f, j, disks, j->disks_len, &why);
	if (r == 0)
		return 0;
	*err = why;
	if (r != -ENOENT && r != -EBADMSG)
		return r;
	r = err_set(err, API_STORE_DAMAGED,
		    "The store has lost what was captured before it became a version: %s. "
		    "Another capture sends it again.",
		    why.msg);
	LOCK_FLEET(f);
	if (job_end(f, j, JOB_FAILED, API_STORE_DAMAGED, err->msg, &ignored) < 0)
		log_event(LOG_ERROR, "state_failed", "job=%s error=\"%s\"", j->row.id, ignored.msg);
	return r;
}

/* While the list of versions is not known to be whole, the number that is next may be that of a version which it lacks. */
static int know_numbers(struct fleet *f, struct job *j, struct err *err)
{
	struct err why;

	if (!f->is_unrecovered || images_catch_up(f, &why) == 0 || !f->is_unrecovered)
		return 0;
	(void)err_set(err, API_BUSY,
		      "The version cannot be written: which number is free is not known, since "
		      "the list of versions is not whole: %.180s. It is tried again; a manifest "
		      "that is not needed can be moved away.",
		      why.msg);
	LOCK_FLEET(f);
	(void)snprintf(j->held, sizeof(j->held), "%.*s", (int)sizeof(j->held) - 1, err->msg);
	return err->code;
}

/* commit_lock is held; nobody else settles this job, or touches its manifest when it is. */
static int commit(struct fleet *f, struct job *j, json_t *roots, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	struct id manifest;
	int r = j->row.manifest ? 0 : know_numbers(f, j, err);

	(void)pthread_mutex_lock(&f->lock);
	if (r == 0 && !j->row.manifest)
		r = settle(f, j, roots, err);
	(void)pthread_mutex_unlock(&f->lock);
	if (r != 0)
		return r;
	r = make_version(j, &v, err);
	if (r == -EBADMSG)
		return give_up(f, j, err);
	if (r == 0)
		r = store_put_manifest(f->config.store, j->row.manifest, strlen(j->row.manifest),
				       &manifest, err);
	if (r == 0)
		r = end_with(f, j, &v, err);
	return r;
}

/* The look at what was captured may take long, and others need not wait for it. */
int job_commit(struct fleet *f, struct job *j, struct err *err)
{
	CLEANUP_JSON json_t *roots = NULL;
	int r = j->row.manifest ? 0 : look_again(f, j, &roots, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&f->commit_lock);
	r = commit(f, j, roots, err);
	(void)pthread_mutex_unlock(&f->commit_lock);
	return r;
}
