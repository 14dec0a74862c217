/* What operators order: jobs made, shown, awaited, cancelled. */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/fleet/private.h"
#include "server/fleet/rule.h"

#define LEVEL_MAX 19u

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

/* Names in the body are looked at before anything else: {0} when absent. */
struct wish {
	const char *machine, *image;
	uint64_t version, level;
	bool all_blocks;
	struct rescue_wish rescue;
	enum end_action end;
	const json_t *disks, *overwrite;
};

static int read_image(const json_t *body, bool needed, struct wish *w, struct err *err)
{
	int r = needed ? json_get_str(body, "image", NAME_MAX_LEN, &w->image, err) : 0;

	if (r == 0 && needed && !name_is_valid(w->image)) {
		return err_set(
			err, API_BAD_REQUEST,
			"The name of an image begins with a letter or digit and has up to 64 "
			"letters, digits, '.', '_' or '-'.");
	}
	return r;
}

static int read_end(const json_t *body, const char *preset, struct wish *w, struct err *err)
{
	const char *end = preset;
	int r = json_opt_str(body, "end", 16, &end, err);

	return r < 0 ? r : end_action_from_name(end, &w->end, err);
}

static int read_agent_wish(const json_t *body, enum job_kind kind, struct wish *w, struct err *err)
{
	const json_t *options = NULL;
	int r = json_get_str(body, "machine", NAME_MAX_LEN, &w->machine, err);

	if (r == 0)
		r = read_end(body, kind == JOB_RESTORE ? "reboot" : "stay", w, err);
	if (r == 0)
		r = json_opt_array(body, "disks", JOB_DISKS_MAX, &w->disks, err);
	if (r == 0 && kind == JOB_RESTORE)
		r = json_opt_array(body, "overwrite", JOB_DISKS_MAX, &w->overwrite, err);
	if (r == 0)
		r = json_opt_object(body, "options", &options, err);
	if (r == 0 && options)
		r = json_opt_u64(options, "level", 1, LEVEL_MAX, &w->level, err);
	if (r == 0 && options && kind == JOB_CAPTURE)
		r = json_opt_bool(options, "all_blocks", &w->all_blocks, err);
	if (r == 0 && kind == JOB_CAPTURE)
		r = rescue_wish_decode(options, &w->rescue, err);
	return r;
}

static int read_wish(const json_t *body, enum job_kind *ret_kind, struct wish *w, struct err *err)
{
	const char *kind;
	int r = json_get_str(body, "kind", 16, &kind, err);

	if (r == 0)
		r = job_kind_from_name(kind, ret_kind, err);
	if (r == 0)
		r = read_image(body, *ret_kind != JOB_GC, w, err);
	if (r == 0 && *ret_kind != JOB_CAPTURE)
		r = json_opt_u64(body, "version", 1, UINT32_MAX, &w->version, err);
	if (r == 0 && (*ret_kind == JOB_CAPTURE || *ret_kind == JOB_RESTORE))
		r = read_agent_wish(body, *ret_kind, w, err);
	return r;
}

static int plan_from_image(struct fleet *f, const struct machine *m, const struct wish *w,
			   struct job *j, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	CLEANUP_JSON json_t *sources = NULL, *order = NULL;
	int r = state_get_version(f->config.state, w->image, (uint32_t)w->version, &v, err);

	if (r < 0)
		return r;
	j->row.version = v.version;
	if (!m)
		return 0;
	if (v.damaged) { /* its end is known, and the target's content would be lost for it */
		return err_set(
			err, API_STORE_DAMAGED,
			"Version %u of image '%s' is damaged, as a verify found, and its restore "
			"would fail: restore another version; or capture the machine again, "
			"which brings back what is the same, and verify this one anew.",
			v.version, w->image);
	}
	sources = json_loads(v.disks, 0, NULL);
	r = plan_restore(m->inventory, sources, w->disks, w->overwrite, j->disks, &j->disks_len,
			 err);
	if (r == 0)
		r = job_make_order(f, j, j->disks, &order, err);
	if (r == -ENOENT || r == -EBADMSG)
		err->code = r = API_STORE_DAMAGED;
	return r;
}

/* The lock is held: what is planned here cannot change before the job is on the list. */
static int plan(struct fleet *f, const struct wish *w, struct job *j, struct machine **ret_machine,
		struct err *err)
{
	struct machine *m = NULL;
	int r;

	if (j->row.kind == JOB_VERIFY)
		return plan_from_image(f, NULL, w, j, err);
	if (j->row.kind == JOB_GC)
		return 0;
	r = machine_resolve(f, w->machine, &m, err);
	if (r < 0)
		return r;
	if (m->job) {
		return err_set(err, API_CONFLICT,
			       "Machine '%s' has job %s already; cancel it or wait for its end.",
			       m->row.name, m->job->row.id);
	}
	j->disks = calloc(JOB_DISKS_MAX, sizeof(*j->disks));
	if (!j->disks)
		return out_of_memory(err);
	memcpy(j->row.machine, m->row.id, sizeof(j->row.machine));
	memcpy(j->row.machine_name, m->row.name, sizeof(j->row.machine_name));
	*ret_machine = m;
	if (j->row.kind == JOB_CAPTURE)
		return plan_capture(m->inventory, w->disks, j->disks, &j->disks_len, err);
	return plan_from_image(f, m, w, j, err);
}

/* JOB of a live job; the lock is held. */
static int view_live(struct fleet *f, struct job *j, json_t **ret, struct err *err)
{
	*ret = view_job(f, &j->row, j);
	return *ret ? 0 : out_of_memory(err);
}

/* verify and gc are done one after the other, and wait in memory. */
static int check_own_jobs(const struct fleet *f, enum job_kind kind, struct err *err)
{
	unsigned n = 0;

	if (kind != JOB_VERIFY && kind != JOB_GC)
		return 0;
	for (const struct job *j = f->jobs; j; j = j->next)
		n += j->row.kind == JOB_VERIFY || j->row.kind == JOB_GC;
	if (n < OWN_JOBS_MAX)
		return 0;
	return err_set(
		err, API_CONFLICT,
		"%u jobs of the server itself (verify, gc) have not ended yet, as many as it "
		"takes; wait for one, or cancel some.",
		n);
}

static int create_locked(struct fleet *f, const struct wish *w, struct job *j, json_t **ret,
			 struct err *err)
{
	struct machine *m = NULL;
	int r = check_own_jobs(f, j->row.kind, err);

	if (r == 0)
		r = plan(f, w, j, &m, err);

	for (size_t n = 0; r == 0 && n < j->disks_len; n++)
		j->row.unreadable += j->disks[n].unreadable_bytes; /* of a restore: known now */
	if (r == 0)
		r = state_add_job(f->config.state, &j->row, j->disks, j->disks_len, err);
	if (r < 0) {
		job_unref(f, j);
		return r;
	}
	job_enlist(f, j, m);
	fleet_event(f, "job_created", j->row.machine, j->row.id, "%s%s%s",
		    job_kind_name(j->row.kind), *j->row.image ? " of " : "", j->row.image);
	return view_live(f, j, ret, err);
}

int fleet_create_job(struct fleet *f, const json_t *body, json_t **ret, struct err *err)
{
	uint8_t id[(JOB_ID_SIZE - 1) / 2];
	enum job_kind kind = JOB_GC;
	struct wish w = {.rescue = RESCUE_WISH_NONE};
	struct job *j;
	int r = read_wish(body, &kind, &w, err);

	if (r < 0)
		return r;
	if (gnutls_rnd(GNUTLS_RND_NONCE, id, sizeof(id)) < 0)
		return err_set(err, API_INTERNAL, "The server has no random numbers.");
	j = job_new();
	if (!j)
		return out_of_memory(err);
	hex_encode(id, sizeof(id), j->row.id);
	j->row.kind = kind;
	j->row.created = fleet_now();
	j->row.end_action = w.end;
	j->row.level = (int)w.level;
	j->row.all_blocks = w.all_blocks;
	j->row.rescue = w.rescue;
	j->row.seq = 1;
	if (w.image)
		(void)snprintf(j->row.image, sizeof(j->row.image), "%s", w.image);
	LOCK_FLEET(f);
	return create_locked(f, &w, j, ret, err);
}

/* An image that is called after a machine has versions of that machine alone: another may bear the same name and as many digits of the id. */
static int check_own_image(struct fleet *f, const char *machine, const char *image, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	int r = state_get_version(f->config.state, image, 0, &v, err);

	if (r == 0 && strcmp(v.machine, machine) != 0) {
		return err_set(err, API_CONFLICT, "The image '%s' is of another machine, %.8s.",
			       image, v.machine);
	}
	return r == -ENOENT ? 0 : r;
}

static int order_by_rule(struct fleet *f, const char *machine, const char *name, const char *text,
			 struct err *err)
{
	CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	struct rule rule;
	int r = rule_parse(text, &rule, err);

	if (r < 0)
		return r;
	body = rule_job(&rule, machine, name);
	if (!body)
		return out_of_memory(err);
	if (!rule.image[0]) {
		r = check_own_image(f, machine, json_string_value(json_object_get(body, "image")),
				    err);
	}
	return r < 0 ? r : fleet_create_job(f, body, &answer, err);
}

/* Mass storage (01xx) and Fibre Channel (0c04) by PCI's classes.  The network cards of Chelsio (1425) have functions of them that nobody uses. */
static bool may_have_disks(const json_t *unclaimed)
{
	const char *class = json_string_value(json_object_get(unclaimed, "class"));
	const char *id = json_string_value(json_object_get(unclaimed, "id"));

	return class && (strncmp(class, "01", 2) == 0 || strcmp(class, "0c04") == 0) &&
	       !(id && strncmp(id, "1425:", 5) == 0);
}

/* Why disks may be missing in an inventory, which nobody has looked over, as a clause; NULL: nothing says so. */
static const char *why_disks_lack(const json_t *inventory)
{
	const json_t *skipped = json_object_get(inventory, "skipped"), *s;
	const json_t *unclaimed = json_object_get(inventory, "unclaimed");
	size_t i;

	if (json_is_true(json_object_get(inventory, "unsettled"))) {
		return "drivers of the machine are still busy with its hardware, and disks may be "
		       "missing; order it yourself if none is";
	}
	json_array_foreach((json_t *)skipped, i, s)
	{
		const char *reason = json_string_value(json_object_get(s, "reason"));

		if (reason && strcmp(reason, "no_size") == 0) {
			return "the machine has a disk that is not in its list, since it says "
			       "nothing of its size ('hoist machine show' names it); order "
			       "the job yourself if it is not wanted";
		}
	}
	json_array_foreach((json_t *)unclaimed, i, s)
	{
		if (may_have_disks(s)) {
			return "no driver has taken a controller of the machine, and what hangs on "
			       "it is not in its list of disks ('hoist machine show' names it); "
			       "order the job yourself if that is not wanted";
		}
	}
	return NULL;
}

void order_what_is_owed(struct fleet *f, const char *machine, const char *name,
			const json_t *inventory)
{
	const char *doubt = why_disks_lack(inventory);
	char job[TOKEN_JOB_SIZE];
	struct err err;
	int r = state_owed_job(f->config.state, machine, job, &err);

	if (r == 0 && job[0] == '\0')
		return;
	if (r == 0 && doubt) {
		fleet_event(f, "job_held", machine, "",
			    "%s: '%s', the job of its enrolment token, waits: %s", name, job,
			    doubt);
		return;
	}
	if (r == 0)
		r = order_by_rule(f, machine, name, job, &err);
	if (r < 0) {
		fleet_event(f, "job_refused", machine, "",
			    "%s: '%s', the job of its enrolment token, cannot be: %s", name, job,
			    err.msg);
	}
	/* Should the server end here, it is tried again when the machine registers next: which then has that job. */
	if (state_job_given(f->config.state, machine, &err) < 0)
		log_event(LOG_WARN, "state_failed", "error=\"%s\"", err.msg);
}

/* ---- one that may have ended */

static int show_ended(struct fleet *f, const char *id, json_t **ret, struct err *err)
{
	CLEANUP(job_row_done) struct job_row row = {0};
	int r = state_get_job(f->config.state, id, &row, err);

	if (r < 0)
		return r;
	*ret = view_job(f, &row, NULL);
	return *ret ? 0 : out_of_memory(err);
}

int fleet_show_job(struct fleet *f, const char *id, uint64_t seq, unsigned wait_s, json_t **ret,
		   struct err *err)
{
	uint64_t deadline = fleet_now_ms() + wait_s * 1000ull;
	struct job *j;
	LOCK_FLEET(f);
	int r;

	j = job_find(f, id);
	if (!j)
		return show_ended(f, id, ret, err);
	j->refs++;
	while (j->row.seq <= seq && !f->stopping && job_find(f, id) == j) {
		if (!fleet_wait(f, &j->cond, deadline))
			break;
	}
	if (job_find(f, id) == j)
		r = view_live(f, j, ret, err);
	else
		r = show_ended(f, id, ret, err);
	job_unref(f, j);
	return r;
}

static int cancel_locked(struct fleet *f, struct job *j, struct err *err)
{
	static const char *const what[] = {
		[JOB_CAPTURE] = "Cancelled by the operator. The source is as it was.",
		[JOB_RESTORE] = "Cancelled by the operator.",
		[JOB_VERIFY] = "Cancelled by the operator.",
		[JOB_GC] = "Cancelled by the operator.",
	};
	const char *message = what[j->row.kind];
	bool released = false;

	if (j->committing) {
		return err_set(
			err, API_CONFLICT,
			j->row.kind == JOB_CAPTURE
				? "The job is about to be done: its version is being written."
				: "The job has ended at its agent, and is about to end here: "
				  "it is too late to cancel it.");
	}
	if (!j->machine && j->row.state == JOB_RUNNING) {
		j->cancel = true; /* the worker ends it */
		return 0;
	}
	for (size_t n = 0; n < j->disks_len; n++) {
		if (j->disks[n].begun && !released)
			message = "Cancelled by the operator. The target had been written to: what "
				  "was on it is lost, and it holds no complete image.";
		if (j->disks[n].released) {
			released = true;
			message =
				"Cancelled by the operator, after all was written and verified and "
				"its agent had leave to make the target startable: what was on it "
				"is lost, and unless it still bears its mark it holds the complete "
				"image and starts.";
		}
	}
	return job_end(f, j, JOB_CANCELLED, API_CANCELLED, message, err);
}

int fleet_cancel_job(struct fleet *f, const char *id, json_t **ret, struct err *err)
{
	struct job *j;
	LOCK_FLEET(f);
	int r;

	j = job_find(f, id);
	if (!j) {
		r = show_ended(f, id, ret, err);
		if (r < 0)
			return r;
		if (strcmp(json_string_value(json_object_get(*ret, "state")), "cancelled") == 0)
			return 0;
		json_decref(*ret);
		*ret = NULL;
		return err_set(err, API_CONFLICT, "The job has ended already.");
	}
	j->refs++;
	r = cancel_locked(f, j, err);
	if (r == 0)
		r = view_live(f, j, ret, err);
	job_unref(f, j);
	return r;
}

/* ---- the list */

struct listing {
	struct fleet *fleet;
	json_t *array;
};

static int list_one(void *arg, const struct job_row *row)
{
	struct listing *l = arg;
	struct job *j = job_find(l->fleet, row->id);
	struct job_row brief = j ? j->row : *row;
	json_t *v;

	/* 200 reports would be as large as agents like */
	brief.report = brief.log = NULL;
	v = view_job(l->fleet, &brief, j);
	if (v && j)
		(void)json_object_set_new(v, "log", json_array());
	return json_array_append_new(l->array, v) < 0 ? -ENOMEM : 0;
}

int fleet_list_jobs(struct fleet *f, const char *machine, const char *state, const char *id,
		    json_t **ret, struct err *err)
{
	struct job_filter filter = {.id = id, .limit = JOBS_LISTED};
	CLEANUP_JSON json_t *array = json_array();
	struct listing l = {f, array};
	struct machine *m = NULL;
	LOCK_FLEET(f);
	int r;

	if (state && !job_state_from_name(state, &filter.state))
		return err_set(err, API_BAD_REQUEST, "'%.32s' is no state of a job.", state);
	filter.by_state = state != NULL;
	if (machine) {
		r = machine_resolve(f, machine, &m, err);
		if (r < 0)
			return r;
		filter.machine = m->row.id;
	}
	r = state_each_job(f->config.state, &filter, list_one, &l, err);
	if (r == -ENOMEM)
		return out_of_memory(err);
	if (r < 0)
		return r;
	*ret = json_pack("{s:O}", "jobs", array);
	return *ret ? 0 : out_of_memory(err);
}
