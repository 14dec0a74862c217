/* Machines: who was heard when, what operators see of them, the poll.  They register in register.c; their secrets are in secrets.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "common/log.h"
#include "server/fleet/private.h"

#define PREFIX_MIN 4u

struct machine *machine_find(struct fleet *f, const char *id)
{
	for (struct machine *m = f->machines; m; m = m->next) {
		if (strcmp(m->row.id, id) == 0)
			return m;
	}
	return NULL;
}

int machine_resolve(struct fleet *f, const char *name, struct machine **ret, struct err *err)
{
	size_t len = strlen(name);
	struct machine *found = machine_find(f, name);
	unsigned by_prefix = 0, by_name = 0;
	struct machine *prefixed = NULL, *named = NULL;

	for (struct machine *m = f->machines; m && !found; m = m->next) {
		if (len >= PREFIX_MIN && strncmp(m->row.id, name, len) == 0) {
			prefixed = m;
			by_prefix++;
		}
		if (strcmp(m->row.name, name) == 0) {
			named = m;
			by_name++;
		}
	}
	if (!found && by_name <= 1 && by_prefix <= 1 && (!named || !prefixed || named == prefixed))
		found = named ? named : prefixed;
	if (found) {
		*ret = found;
		return 0;
	}
	if (by_name + by_prefix > 0) {
		return err_set(err, API_CONFLICT,
			       "'%s' may mean several machines; name one by more digits of its id.",
			       name);
	}
	return err_set(err, API_NOT_FOUND, "There is no machine '%s'.", name);
}

void machine_heard(struct fleet *f, struct machine *m)
{
	(void)f;
	m->heard_ms = fleet_now_ms();
	m->row.last_seen = fleet_now();
}

bool machine_is_away(const struct fleet *f, const struct machine *m)
{
	return m->waiters == 0 &&
	       (m->heard_ms == 0 || fleet_now_ms() - m->heard_ms > f->config.away_s * 1000ull);
}

static struct machine *machine_new(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (m)
		cond_init(&m->cond);
	return m;
}

static void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_row_done(&m->row);
	json_decref(m->inventory);
	(void)pthread_cond_destroy(&m->cond);
	free(m);
}

void machines_free(struct fleet *f)
{
	while (f->machines) {
		struct machine *m = f->machines;

		f->machines = m->next;
		machine_free(m);
	}
}

static void append(struct fleet *f, struct machine *m)
{
	struct machine **p = &f->machines;

	while (*p)
		p = &(*p)->next;
	*p = m;
}

struct machine *machine_add(struct fleet *f)
{
	struct machine *m = machine_new();

	if (m)
		append(f, m);
	return m;
}

static int load_one(void *arg, const struct machine_row *row)
{
	struct fleet *f = arg;
	struct machine *m = machine_new();

	if (!m)
		return -ENOMEM;
	m->row = *row;
	m->row.inventory = NULL;
	m->inventory_size = strlen(row->inventory);
	m->inventory = json_loads(row->inventory, 0, NULL);
	if (!m->inventory) {
		machine_free(m);
		log_event(LOG_ERROR, "machine_unreadable", "machine=%s", row->id);
		return 0;
	}
	append(f, m);
	return 0;
}

int machines_load(struct fleet *f, struct err *err)
{
	int r = state_each_machine(f->config.state, load_one, f, err);

	if (r == -ENOMEM)
		return err_set(err, r, "read the machines: out of memory");
	return r;
}

/* ---- what operators see */

struct pairings *fleet_pairings(struct fleet *f)
{
	return f->pairings;
}

static bool is_known(void *ctx, const char *machine)
{
	return machine_find(ctx, machine) != NULL;
}

/* A pairing takes the place of the machine that had this id, with its job: what that may read, it may read. */
static int check_takeover(struct fleet *f, const char *id, bool replace, bool *ret_known,
			  struct err *err)
{
	const struct machine *m;
	LOCK_FLEET(f);

	m = machine_find(f, id);
	*ret_known = m;
	if (!m || !m->job || replace)
		return 0;
	return err_set(err, API_CONFLICT,
		       "A machine with this id, '%s', has registered before and has a job under "
		       "way, which would go on with this one. If it is that very machine, started "
		       "again, confirm it with --replace.",
		       m->row.name);
}

int fleet_confirm_pairing(struct fleet *f, const char *name, const struct pairing_typed *typed,
			  bool replace, json_t **ret, struct err *err)
{
	char machine[MACHINE_ID_SIZE];
	bool known = false;
	int r = pairing_find(f->pairings, name, machine, err);

	if (r == 0)
		r = check_takeover(f, machine, replace, &known, err);
	if (r == 0)
		r = pairing_confirm(f->pairings, machine, typed, ret, err);
	if (r == 0 && json_object_set_new(*ret, "known", json_boolean(known)) < 0)
		r = err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	return r;
}

int fleet_list_pairings(struct fleet *f, json_t **ret, struct err *err)
{
	LOCK_FLEET(f);

	return pairings_list(f->pairings, is_known, f, ret, err);
}

int fleet_list_machines(struct fleet *f, json_t **ret, struct err *err)
{
	json_t *list;
	LOCK_FLEET(f);

	list = view_machines(f);
	if (!list)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	*ret = json_pack("{s:o}", "machines", list);
	return 0;
}

int fleet_show_machine(struct fleet *f, const char *name, json_t **ret, struct err *err)
{
	struct machine *m = NULL;
	LOCK_FLEET(f);
	int r = machine_resolve(f, name, &m, err);

	if (r == 0)
		*ret = view_machine(f, m);
	return r;
}

static int remove_locked(struct fleet *f, const char *name, char *ret_id, struct err *err)
{
	struct machine *m = NULL, **p = &f->machines;
	int r = machine_resolve(f, name, &m, err);

	if (r < 0 || !m)
		return r;
	if (m->job) {
		return err_set(err, API_CONFLICT,
			       "Machine '%s' has job %s; cancel it first or wait for its end.",
			       m->row.name, m->job->row.id);
	}
	r = state_remove_machine(f->config.state, m->row.id, err);
	if (r < 0)
		return r;
	pairing_forget(f->pairings, m->row.id);
	memcpy(ret_id, m->row.id, MACHINE_ID_SIZE);
	while (*p && *p != m)
		p = &(*p)->next;
	if (*p)
		*p = m->next;
	m->removed = true;
	if (m->waiters == 0)
		machine_free(m);
	else
		(void)pthread_cond_broadcast(&m->cond);
	return 0;
}

int fleet_remove_machine(struct fleet *f, const char *name, struct err *err)
{
	char id[MACHINE_ID_SIZE];
	int r;

	(void)pthread_mutex_lock(&f->lock);
	r = remove_locked(f, name, id, err);
	(void)pthread_mutex_unlock(&f->lock);
	if (r == 0)
		fleet_event(f, "machine_removed", id, "", "%s", name);
	return r;
}

void fleet_count(struct fleet *f, unsigned *ret_machines, unsigned *ret_jobs_running)
{
	unsigned machines = 0, running = 0;
	LOCK_FLEET(f);

	for (struct machine *m = f->machines; m; m = m->next)
		machines++;
	for (struct job *j = f->jobs; j; j = j->next)
		running += j->row.state == JOB_RUNNING;
	*ret_machines = machines;
	*ret_jobs_running = running;
}

/* ---- the poll */

/* Is there something that this agent does not know? */
static bool has_news(const struct machine *m, const char *job)
{
	bool same = m->job && job && strcmp(m->job->row.id, job) == 0;

	if (!job)
		return m->job != NULL;
	return !same && strcmp(m->told_cancel, job) != 0;
}

static int wait_for_news(struct fleet *f, struct machine *m, const char *job, struct err *err)
{
	uint64_t deadline = fleet_now_ms() + f->config.poll_s * 1000ull;
	uint64_t session = m->session;

	if (!has_news(m, job))
		log_event(LOG_DEBUG, "waiting", "machine=%s", m->row.id);
	while (!m->removed && m->session == session && !f->stopping && !has_news(m, job)) {
		if (!fleet_wait(f, &m->cond, deadline))
			break;
	}
	if (m->removed || m->session != session)
		return err_set(err, API_UNAUTHORIZED,
			       "This session is not known any more: register again.");
	if (f->stopping)
		return err_set(err, API_BUSY, "The server is stopping; ask again.");
	return 0;
}

/* The lock is held; gives the present job with a reference, or NULL. */
static int poll_locked(struct fleet *f, const char *machine, const char *job, struct job **ret,
		       bool *ret_cancel, struct err *err)
{
	struct machine *m = machine_find(f, machine);
	int r;

	if (!m)
		return err_set(err, API_UNAUTHORIZED, "This machine is not known any more.");
	if (job && m->job && strcmp(m->job->row.id, job) == 0) {
		m->job->heard_ms = fleet_now_ms();
		r = job_start(f, m->job, err);
		if (r < 0)
			return r;
	}
	m->waiters++;
	r = wait_for_news(f, m, job, err);
	m->waiters--;
	if (m->removed) {
		if (m->waiters == 0)
			machine_free(m);
		return r;
	}
	if (r < 0)
		return r;
	machine_heard(f, m);
	*ret = m->job;
	if (m->job)
		m->job->refs++;
	*ret_cancel = job && (!m->job || strcmp(m->job->row.id, job) != 0);
	if (*ret_cancel)
		(void)snprintf(m->told_cancel, sizeof(m->told_cancel), "%s", job);
	return 0;
}

/* A verify may have found damage since the restore was ordered: its end is known then, and as long as nothing was written nothing need be lost for it. */
static int check_undamaged(struct fleet *f, const struct job *j, const struct job_disk_row *rows,
			   struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	struct err ignored;

	for (size_t n = 0; n < j->disks_len; n++) {
		if (rows[n].begun)
			return 0;
	}
	if (j->row.kind != JOB_RESTORE ||
	    state_get_version(f->config.state, j->row.image, j->row.version, &v, &ignored) < 0 ||
	    !v.damaged)
		return 0;
	return err_set(err, -EBADMSG,
		       "Version %u of image '%s' is damaged, as a verify has found since this "
		       "restore was ordered. Nothing was written to any target.",
		       v.version, v.image);
}

/* An order that cannot be made ends its job. */
static int order_of(struct fleet *f, struct job *j, json_t **ret, struct err *err)
{
	CLEANUP_FREE struct job_disk_row *rows = calloc(JOB_DISKS_MAX, sizeof(*rows));
	struct err order_err, ignored;
	int r;

	if (!rows)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	(void)pthread_mutex_lock(&f->lock);
	memcpy(rows, j->disks, j->disks_len * sizeof(*rows));
	(void)pthread_mutex_unlock(&f->lock);
	r = check_undamaged(f, j, rows, &order_err);
	if (r == 0)
		r = job_make_order(f, j, rows, ret, &order_err);
	LOCK_FLEET(f);
	if (j->row.kind == JOB_RESTORE) /* that of a capture needs nothing of the store */
		job_note_step(j, r, &order_err);
	if (r == 0)
		return 0;
	if (r != -ENOENT && r != -EBADMSG && r != API_TOO_LARGE) {
		j->heard_ms = fleet_now_ms(); /* its agent asks for it */
		*err = order_err;
		return r;
	}
	if (j->machine) {
		(void)!job_end(f, j, JOB_FAILED,
			       r == API_TOO_LARGE ? API_TOO_LARGE : API_STORE_DAMAGED,
			       order_err.msg, &ignored); /* else it fails again at the next poll */
	}
	*ret = json_null();
	return 0;
}

int fleet_poll(struct fleet *f, const char *machine, const char *job, json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *order = json_null();
	struct job *j = NULL;
	bool cancel = false;
	int r;

	(void)pthread_mutex_lock(&f->lock);
	r = poll_locked(f, machine, job, &j, &cancel, err);
	(void)pthread_mutex_unlock(&f->lock);
	if (r == 0 && j)
		r = order_of(f, j, &order, err);
	if (j)
		fleet_release(f, j);
	if (r < 0)
		return r;
	*ret = json_pack("{s:O, s:o}", "order", order, "cancel",
			 cancel ? json_pack("[s]", job) : json_array());
	return 0;
}

/* ---- last_seen */

struct touch {
	char id[MACHINE_ID_SIZE], address[ADDRESS_SIZE];
	int64_t last_seen;
};

/* The next machine whose last_seen is to be written; the lock is taken here. */
static bool next_touch(struct fleet *f, bool all, struct touch *ret)
{
	uint64_t now = fleet_now_ms();
	LOCK_FLEET(f);

	for (struct machine *m = f->machines; m; m = m->next) {
		if (m->heard_ms <= m->touched_ms || (!all && now - m->touched_ms < TOUCH_EVERY_MS))
			continue;
		m->touched_ms = now;
		memcpy(ret->id, m->row.id, sizeof(ret->id));
		memcpy(ret->address, m->row.address, sizeof(ret->address));
		ret->last_seen = m->row.last_seen;
		return true;
	}
	return false;
}

void machines_touch(struct fleet *f, bool all)
{
	struct touch t;
	struct err err;

	while (next_touch(f, all, &t)) {
		if (state_touch_machine(f->config.state, t.id, t.last_seen, t.address, &err) < 0) {
			log_event(LOG_WARN, "state_failed", "error=\"%s\"", err.msg);
			break;
		}
		fleet_note_tick(f); /* many of them take their time on a disk that is busy */
	}
}
