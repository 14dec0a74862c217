/* The thread that does verify and gc, one after the other: both read the whole store and would only slow each other down. */
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "common/rate.h"
#include "server/fleet/private.h"

#define DAMAGE_TEXT_MAX (1u << 20)
#define TELL_MS		500u /* a step is a pack, hundreds a second: not each of them is told */

/* One job's walk through the store. */
struct walk {
	struct fleet *fleet;
	struct job *job;
	uint64_t before; /* bytes of disks that are behind us */
	uint64_t total;	 /* 0: as the store says */
	uint64_t began_ms, told_ms;
	json_t *roots; /* verify */
};

static bool walk_progress(void *arg, uint64_t done, uint64_t total)
{
	struct walk *w = arg;
	struct job *j = w->job;
	uint64_t now = fleet_now_ms();
	LOCK_FLEET(w->fleet);

	j->row.done = w->before + done;
	j->row.total = w->total ? w->total : total;
	if (j->row.total < j->row.done)
		j->row.total = j->row.done;
	pace_add(&j->pace, now, j->row.done);
	j->progress_ms = j->heard_ms = now;
	if (now - w->told_ms >= TELL_MS) {
		job_changed(j);
		w->told_ms = now;
	}
	return j->cancel || w->fleet->stopping;
}

/* ---- verify */

struct findings {
	uint64_t damaged;
	char *text; /* heap; lines */
	size_t size;
};

static void add_findings(struct findings *f, uint64_t damaged, const char *text)
{
	size_t n = text ? strlen(text) : 0;
	char *p;

	f->damaged += damaged;
	if (n == 0 || f->size + n > DAMAGE_TEXT_MAX)
		return;
	p = realloc(f->text, f->size + n + 1);
	if (!p)
		return; /* the number counts, the lines explain */
	memcpy(p + f->size, text, n + 1);
	f->text = p;
	f->size += n;
}

static int verify_disk(struct walk *w, const json_t *disk, struct findings *found, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	uint64_t damaged = 0;
	struct id root;
	int r = json_get_id(disk, "root", &root, err);

	if (r == 0)
		r = store_verify(w->fleet->config.store, &root, walk_progress, w, &damaged, &text,
				 err);
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	if (r < 0)
		add_findings(found, 1, err->msg);
	add_findings(found, damaged, text);
	w->before = w->job->row.done;
	return 0;
}

/* Each disk's root, by the index that was just verified and by what its source has said. */
static int list_roots(struct walk *w, const json_t *disks, struct err *err)
{
	size_t len = json_array_size(disks), i;
	CLEANUP_FREE struct job_disk_row *rows = calloc(len + 1, sizeof(*rows));
	const json_t *d;

	if (!rows)
		return err_set(err, -ENOMEM, "The server is out of memory.");
	json_array_foreach((json_t *)disks, i, d)
	{
		const char *id = "";
		int r = json_get_str(d, "disk", DISK_ID_MAX, &id, err);

		if (r == 0)
			r = json_get_id(d, "root", &rows[i].root, err);
		if (r < 0)
			return r;
		(void)snprintf(rows[i].source_disk, sizeof(rows[i].source_disk), "%s", id);
	}
	return report_roots(w->fleet, &w->job->row, rows, len, NULL, &w->roots, err);
}

/* The manifest, as it is intact, says what its version is made of.  The state's copy of that has no sum, and gc goes by it: a bit that turned there would
 * make a version look lost that is all there. */
static int mend_list(struct walk *w, struct version_row *v, const char *manifest, size_t size,
		     struct err *err)
{
	CLEANUP_JSON json_t *m = json_loadb(manifest, size, 0, NULL);
	CLEANUP_JSON json_t *listed = json_loads(v->disks, 0, NULL);
	const json_t *disks = json_object_get(m, "disks");
	CLEANUP_FREE char *text = NULL;
	int r;

	if (!json_is_array(disks) || json_equal(disks, listed))
		return 0;
	text = json_dumps(disks, JSON_COMPACT);
	if (!text)
		return err_set(err, -ENOMEM, "The server is out of memory.");
	r = state_set_disks(w->fleet->config.state, v->image, v->version, text, err);
	if (r < 0)
		return r;
	free(v->disks);
	v->disks = TAKE_PTR(text);
	fleet_event(w->fleet, "version_mended", "", w->job->row.id,
		    "%s, version %" PRIu32 ": the list of its disks in 'state.db' was damaged, and "
		    "is that of its manifest again; see to the server's storage",
		    v->image, v->version);
	return 0;
}

static int verify_version(struct walk *w, struct findings *found, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	CLEANUP_JSON json_t *disks = NULL;
	CLEANUP_FREE char *manifest = NULL;
	struct state *state = w->fleet->config.state;
	const json_t *d;
	size_t i, size;
	int r = state_get_version(state, w->job->row.image, w->job->row.version, &v, err);

	if (r < 0)
		return r;
	r = store_get_manifest(w->fleet->config.store, &v.manifest, &manifest, &size, err);
	if (r == 0) {
		r = mend_list(w, &v, manifest, size, err);
	} else if (r == -ENOENT || r == -EBADMSG) {
		add_findings(found, 1, err->msg);
		r = 0;
	}
	if (r < 0)
		return r;
	disks = json_loads(v.disks, 0, NULL);
	if (!json_is_array(disks)) {
		return err_set(err, API_STORE_DAMAGED,
			       "in 'state.db' the list of the disks of image '%s', version %" PRIu32
			       " is damaged, and its manifest, which would mend it, too: put them "
			       "back from a backup, or capture the machine again",
			       v.image, v.version);
	}
	json_array_foreach(disks, i, d)
	{
		r = verify_disk(w, d, found, err);
		if (r < 0)
			return r;
	}
	r = list_roots(w, disks, err);
	if (r < 0)
		return r;
	return state_set_damaged(state, v.image, v.version, found->damaged > 0, err);
}

static int set_report(struct job *j, json_t *take_report, struct err *err)
{
	char *text = take_report ? json_dumps(take_report, JSON_COMPACT) : NULL;

	json_decref(take_report);
	if (!text)
		return err_set(err, -ENOMEM, "The server is out of memory.");
	free(j->row.report);
	j->row.report = text;
	return 0;
}

/* Adds what both have in common. */
static json_t *add_rates(const struct walk *w, json_t *take_report)
{
	uint64_t rate = rate_of(w->job->row.done, fleet_now_ms() - w->began_ms);

	if (take_report && json_object_set_new(take_report, "rates",
					       json_pack("{s:I}", "read", (json_int_t)rate)) < 0) {
		json_decref(take_report);
		return NULL;
	}
	return take_report;
}

static int do_verify(struct walk *w, struct err *err)
{
	struct findings found = {0};
	int r = verify_version(w, &found, err);

	if (r == -EUCLEAN) /* the image is not to blame */
		err->code = API_STORE_DAMAGED;
	if (r == 0) {
		LOCK_FLEET(w->fleet);
		r = set_report(
			w->job,
			add_rates(w, json_pack("{s:I, s:s, s:O?}", "damaged",
					       (json_int_t)found.damaged, "damage",
					       found.text ? found.text : "", "roots", w->roots)),
			err);
	}
	if (r == 0 && found.damaged > 0) {
		r = err_set(err, API_STORE_DAMAGED,
			    "%" PRIu64
			    " objects of image '%s', version %u, are damaged or missing. "
			    "A new capture of the same machine sends them again.",
			    found.damaged, w->job->row.image, w->job->row.version);
	}
	free(found.text);
	return r;
}

/* ---- gc */

struct roots {
	struct gc_root *items;
	size_t len, room;
	char unclear[sizeof(((struct gc_root *)0)->of)]; /* whose list of disks is damaged */
};

static int add_root(struct roots *roots, const struct gc_root *root)
{
	if (roots->len == roots->room) {
		size_t room = roots->room ? 2 * roots->room : 64;
		struct gc_root *p = realloc(roots->items, room * sizeof(*p));

		if (!p)
			return -ENOMEM;
		roots->items = p;
		roots->room = room;
	}
	roots->items[roots->len++] = *root;
	return 0;
}

/* Of a version, or of a manifest; each as `root` but for its id. */
static int add_disks(struct roots *roots, struct gc_root *root, const json_t *disks)
{
	const json_t *d;
	struct err err;
	size_t i;
	int r = 0;

	if (!json_is_array(disks))
		r = -EBADMSG; /* whatever it needs must not be thrown away */
	json_array_foreach((json_t *)disks, i, d)
	{
		r = json_get_id(d, "root", &root->id, &err) < 0 ? -EBADMSG : add_root(roots, root);
		if (r < 0)
			break;
	}
	if (r == -EBADMSG)
		memcpy(roots->unclear, root->of, sizeof(roots->unclear));
	return r;
}

static int add_version(void *arg, const struct version_row *v)
{
	CLEANUP_JSON json_t *disks = json_loads(v->disks, 0, NULL);
	bool is_given_up = v->damaged || v->removing;
	struct gc_root root = {.may_lack = is_given_up,
			       .may_lack_index = is_given_up,
			       .manifest = v->manifest,
			       .remedy = "verify it, and gc does without it"};

	(void)snprintf(root.of, sizeof(root.of), "image '%s', version %" PRIu32, v->image,
		       v->version);
	return add_disks(arg, &root, disks);
}

/* It counts, whatever became of the job's disks since. */
static int add_settled(struct roots *roots, const struct job_row *row)
{
	CLEANUP_JSON json_t *manifest = json_loads(row->manifest, 0, NULL);
	struct gc_root root = {.may_lack = false};

	(void)snprintf(root.of, sizeof(root.of), "the version that job %s makes", row->id);
	return add_disks(roots, &root, json_object_get(manifest, "disks"));
}

/* Looked at again before it is part of a version. */
static int add_sealed_disk(struct roots *roots, const char *job, const struct job_disk_row *d)
{
	struct gc_root root = {.id = d->root,
			       .may_lack = true,
			       .remedy = "wait for the end of that job, which is told"};

	(void)snprintf(root.of, sizeof(root.of), "the capture of job %s", job);
	return d->sealed ? add_root(roots, &root) : 0;
}

/* Disks that are complete, of captures that are not: the store knows them by itself until it is closed only (partial_seal). */
static int add_sealed(struct fleet *f, struct roots *roots)
{
	LOCK_FLEET(f);

	for (const struct job *j = f->jobs; j; j = j->next) {
		int r = j->row.manifest ? add_settled(roots, &j->row) : 0;

		for (size_t n = 0; r == 0 && j->row.kind == JOB_CAPTURE && n < j->disks_len; n++)
			r = add_sealed_disk(roots, j->row.id, &j->disks[n]);
		if (r < 0)
			return r;
	}
	return 0;
}

struct unlisted {
	struct fleet *fleet;
	struct roots *roots;
};

static void name_unlisted(const json_t *manifest, char *ret, size_t ret_size)
{
	const char *image = json_string_value(json_object_get(manifest, "image"));
	json_int_t version = json_integer_value(json_object_get(manifest, "version"));

	(void)snprintf(ret, ret_size, "an image that is not listed");
	if (image && name_is_valid(image)) {
		(void)snprintf(ret, ret_size,
			       "image '%s', version %" JSON_INTEGER_FORMAT ", which is not listed",
			       image, version);
	}
}

/* Of a version that the state does not know: it may be older than the store. */
static int add_unlisted(void *arg, const struct id *id, struct err *err)
{
	struct unlisted *u = arg;
	CLEANUP_FREE char *data = NULL;
	CLEANUP_JSON json_t *manifest = NULL;
	struct gc_root root = {.may_lack = true,
			       .manifest = *id,
			       .remedy = "if it is not needed move its manifest away"};
	char text[ID_TEXT_SIZE];
	size_t size;
	int r = store_get_manifest(u->fleet->config.store, id, &data, &size, err);

	if (r == -ENOENT || r == -EBADMSG)
		return 0; /* nobody can say any more what it needs */
	if (r < 0)
		return r;
	manifest = json_loadb(data, size, 0, NULL);
	id_to_text(id, text);
	name_unlisted(manifest, root.of, sizeof(root.of));
	r = add_disks(u->roots, &root, json_object_get(manifest, "disks"));
	if (r == -EBADMSG) {
		return err_set(err, API_STORE_DAMAGED,
			       "nothing was removed: 'manifests/%s.json', of an image that is not "
			       "in the list, cannot be understood, so what it needs is not known; "
			       "if it is not needed move it away",
			       text);
	}
	return r < 0 ? err_set(err, r, "The server is out of memory.") : 0;
}

/* Disks that are not complete need not be named: their partials speak for them.  Captures first, so that none slips through when it becomes a version
 * meanwhile. */
static int collect_known(struct fleet *f, struct roots *roots, struct err *err)
{
	int r = add_sealed(f, roots);

	if (r == 0)
		r = state_each_version(f->config.state, NULL, add_version, roots, err);
	if (r == -EBADMSG) {
		return err_set(err, API_STORE_DAMAGED,
			       "nothing was removed: in 'state.db' the list of the disks of %s is "
			       "damaged; verify it, which mends that",
			       roots->unclear);
	}
	return r == -ENOMEM ? err_set(err, r, "The server is out of memory.") : r;
}

static int collect_roots(void *arg, struct gc_root **ret_roots, size_t *ret_len, struct err *err)
{
	const struct walk *w = arg;
	struct roots roots = {0};
	struct unlisted unlisted = {w->fleet, &roots};
	int r;

	/* a version that is taken up meanwhile would be in neither list */
	(void)pthread_mutex_lock(&w->fleet->commit_lock);
	r = collect_known(w->fleet, &roots, err);
	if (r == 0)
		r = images_each_unlisted(w->fleet, add_unlisted, &unlisted, err);
	(void)pthread_mutex_unlock(&w->fleet->commit_lock);
	if (r < 0) {
		free(roots.items);
		return r;
	}
	*ret_roots = roots.items;
	*ret_len = roots.len;
	return 0;
}

static int do_gc(struct walk *w, struct err *err)
{
	struct gc_result result = {0};
	struct err ignored; /* the reason counts, the lines explain */
	int r = store_gc(w->fleet->config.store, collect_roots, walk_progress, w, &result, err);

	if (r == -EUCLEAN)
		err->code = API_STORE_DAMAGED;
	LOCK_FLEET(w->fleet);
	if (r < 0) {
		(void)!set_report(w->job, json_pack("{s:s*}", "damage", result.damage), &ignored);
		free(result.damage);
		return r;
	}
	return set_report(
		w->job,
		add_rates(w, json_pack("{s:I, s:I, s:I, s:I}", "packs_removed",
				       (json_int_t)result.packs_removed, "packs_rewritten",
				       (json_int_t)result.packs_rewritten, "objects_removed",
				       (json_int_t)result.objects_removed, "bytes_freed",
				       (json_int_t)result.bytes_freed)),
		err);
}

/* ---- the thread */

/* The oldest that waits for this thread; running. */
static struct job *find_own(struct fleet *f)
{
	struct job *found = NULL;

	for (struct job *j = f->jobs; j; j = j->next) {
		if ((j->row.kind == JOB_VERIFY || j->row.kind == JOB_GC) &&
		    j->row.state == JOB_WAITING)
			found = j;
	}
	return found;
}

/* Held, and running.  NULL when the server stops. */
static struct job *next_job(struct fleet *f)
{
	struct err err;
	LOCK_FLEET(f);

	while (!f->stopping) {
		struct job *next = find_own(f);

		if (next && job_start(f, next, &err) == 0) {
			(void)snprintf(next->row.phase, sizeof(next->row.phase), "%s",
				       job_kind_name(next->row.kind));
			next->refs++;
			return next;
		}
		if (next) {
			log_event(LOG_ERROR, "state_failed", "error=\"%s\"", err.msg);
			(void)fleet_wait(f, &f->work, fleet_now_ms() + 10 * TICK_MS);
		} else {
			(void)pthread_cond_wait(&f->work, &f->lock);
		}
	}
	return NULL;
}

/* Nobody else ends it: what the state does not take now is tried again.  The lock is held, and let go meanwhile. */
static int end_own(struct fleet *f, struct job *j, enum job_state state, enum api_code code,
		   const char *message)
{
	struct err err;
	int r;

	while ((r = job_end(f, j, state, code, message, &err)) < 0 && !f->stopping) {
		log_event(LOG_ERROR, "state_failed", "job=%s error=\"%s\"", j->row.id, err.msg);
		job_note_step(j, r, &err);
		(void)fleet_wait(f, &f->work, fleet_now_ms() + 10 * TICK_MS);
	}
	return r;
}

static void finish_job(struct fleet *f, struct job *j, int r, const struct err *why)
{
	LOCK_FLEET(f);

	if (f->stopping && r == -ECANCELED && !j->cancel)
		r = 0; /* it stays, and begins anew at the next start */
	else if (r == 0)
		r = end_own(f, j, JOB_DONE, API_END, "");
	else if (r == -ECANCELED && j->cancel)
		r = end_own(f, j, JOB_CANCELLED, API_CANCELLED, "Cancelled by the operator.");
	else
		r = end_own(f, j, JOB_FAILED, api_code_of(why->code), why->msg);
	if (r < 0)
		log_event(LOG_WARN, "job_begins_anew", "job=%s", j->row.id);
	job_unref(f, j);
}

static void walk(struct fleet *f, struct job *j)
{
	struct walk w = {.fleet = f, .job = j, .began_ms = fleet_now_ms()};
	struct err err = {0};
	int r = j->row.kind == JOB_VERIFY ? do_verify(&w, &err) : do_gc(&w, &err);

	json_decref(w.roots);
	(void)malloc_trim(0); /* the whole store went through memory */
	finish_job(f, j, r, &err);
}

void *worker_run(void *fleet)
{
	struct fleet *f = fleet;
	struct job *j;

	while ((j = next_job(f)))
		walk(f, j);
	return NULL;
}
