/* Registering: who may speak as a machine.
 *
 * A machine's id is no secret, its announcements say it aloud, and a token is shared by all machines of a medium.  So a token proves that one
 * may be a machine, and not which: it takes no place of a machine that speaks.  A live image keeps its session's secret in memory, and loses
 * it with its power: nothing proves a restart but silence.  That counts only while this server hears.
 *
 * Who is silent for so long by a cut network finds somebody else in its place, perhaps.  A job goes back to the session that it was ordered
 * for, whose secret is kept as `displaced` until the job has ended: else whoever came in between could keep the machine out of its own job by
 * speaking as it.  No other secret is worth that, or a token's holder who was a machine once could take a later job of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "server/fleet/private.h"

enum admission { BY_SECRET, BY_HAD_SECRET, BY_DISPLACED, BY_PAIRING, BY_TOKEN };

/* One that was let in. */
struct admitted {
	enum admission by;
	bool is_known;
	char before[ADDRESS_SIZE]; /* where the machine was, if it is known */
	uint64_t silent_s;
};

/* ---- silence */

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* As far as this server can know. */
static uint64_t silent_ms(const struct fleet *f, const struct machine *m)
{
	uint64_t now = fleet_now_ms();

	if (now - f->tick_ms > DEAF_MS)
		return 0; /* it was stopped, and what came meanwhile has not been read yet */
	if (m->job && m->job->committing)
		return 0; /* it waits for this server's answer */
	return now - later(later(m->spoke_ms, m->registered_ms), f->hears_ms);
}

/* A poll is one word, and the next one comes when it is over. */
static uint64_t silence_needed_ms(const struct fleet *f)
{
	unsigned poll_s = f->config.poll_s + POLL_LATE_S;

	return (f->config.away_s > poll_s ? f->config.away_s : poll_s) * 1000ull;
}

/* Until a token may take its place; 0: now.  The answer with the first secret may be lost: the same agent asks again then. */
static uint64_t until_replaceable_ms(const struct fleet *f, const struct machine *m,
				     const char *address)
{
	uint64_t needed = silence_needed_ms(f), silent = silent_ms(f, m);

	if (id_is_zero(&m->row.secret_hash) ||
	    (m->is_unused && strcmp(m->row.address, address) == 0))
		return 0;
	return silent >= needed ? 0 : needed - silent;
}

/* Twice the same place, and the one who has it spoke in between: they are two.  A restart looks different. */
static void note_contest(struct fleet *f, struct machine *m, const char *address)
{
	uint64_t now = fleet_now_ms();

	if (m->claimed_ms == 0 || m->claimed_ms > m->spoke_ms) {
		if (m->claimed_ms == 0)
			m->claimed_ms = now;
		return;
	}
	m->claimed_ms = now;
	if (m->contest_told_ms != 0 && now - m->contest_told_ms < TOLD_EVERY_MS)
		return;
	m->contest_told_ms = now;
	fleet_event(f, "machine_contested", m->row.id, m->job ? m->job->row.id : "",
		    "%s: is at %s and speaks; %s has a token and wants to be it", m->row.name,
		    m->row.address, address);
}

static int refuse_replacing(struct fleet *f, struct machine *m, const char *address,
			    uint64_t wait_ms, unsigned *ret_retry_s, struct err *err)
{
	unsigned wait_s = (unsigned)((wait_ms + 999) / 1000);

	note_contest(f, m, address);
	*ret_retry_s = wait_s;
	return err_set(
		err, API_CONFLICT,
		"A machine with this id is connected from %s and was heard %llu s ago. If it "
		"is this one, before a restart, it is let in after %u s without a word of "
		"that; if not, another machine has its id, or somebody has its token.",
		m->row.address, (unsigned long long)(silent_ms(f, m) / 1000), wait_s);
}

/* ---- letting in */

/* Anybody can have himself refused: that is not to push the rest out of the service's journal, where the audit log's lines are too. */
static void log_refusal(struct fleet *f, const struct registration *reg, const struct err *why)
{
	if (!bucket_take(&f->refusals, REFUSALS, REFUSALS_KS, fleet_now_ms())) {
		f->refused++;
		return;
	}
	log_event(LOG_WARN, "register_refused", "machine=%s peer=%s left_out=%u reason=\"%s\"",
		  reg->machine, reg->address, f->refused, why->msg);
	f->refused = 0;
}

static int admit_by_token(struct fleet *f, struct machine *m, const struct registration *reg,
			  enum admission *ret, unsigned *ret_retry_s, struct err *err)
{
	bool had_secret = m && reg->secret && machine_had_secret(m, reg->secret);
	uint64_t wait_ms = m && !had_secret ? until_replaceable_ms(f, m, reg->address) : 0;
	struct id hash = secret_hash(reg->token);
	struct err why;
	unsigned may = wait_ms == 0 ? TOKEN_MAY_TAKE : 0;
	int r;

	if (!m || !m->job)
		may |= TOKEN_MAY_ENROL;
	r = state_use_token(f->config.state, &hash, reg->machine, may, fleet_now(), &why);
	if (r == -EACCES) {
		log_refusal(f, reg, &why);
		return err_set(err, API_FORBIDDEN,
			       "The enrolment token is unknown, expired, revoked or used up.");
	}
	if (r < 0)
		*err = why;
	else if (wait_ms > 0)
		r = refuse_replacing(f, m, reg->address, wait_ms, ret_retry_s, err);
	*ret = had_secret ? BY_HAD_SECRET : BY_TOKEN;
	return r;
}

/* May it come in?  By its former secret, a pairing that the operator confirmed, or a token. */
static int admit(struct fleet *f, struct machine *m, const struct registration *reg,
		 enum admission *ret, unsigned *ret_retry_s, struct err *err)
{
	if (reg->secret && m && machine_knows_secret(m, reg->secret)) {
		*ret = BY_SECRET;
		return 0;
	}
	if (reg->secret && m && machine_is_displaced(m, reg->secret)) {
		*ret = BY_DISPLACED;
		return 0;
	}
	if (reg->pairing) {
		*ret = BY_PAIRING;
		if (pairing_admits(f->pairings, reg->pairing, reg->machine))
			return 0;
		return err_set(err, API_FORBIDDEN,
			       "This pairing is unknown, has expired or was not confirmed.");
	}
	if (!reg->token) {
		return err_set(err, API_FORBIDDEN,
			       "An enrolment token that is valid, or the secret of this machine's "
			       "last session, is needed.");
	}
	return admit_by_token(f, m, reg, ret, ret_retry_s, err);
}

/* Whose is the job that the machine has?  Of the session that it was ordered for, whoever takes the place by a token. */
static void keep_displaced(const struct machine *m, enum admission by, struct machine_row *row)
{
	bool is_kept = m->job && strcmp(m->row.displaced_job, m->job->row.id) == 0;

	if (!m->job || by == BY_DISPLACED || by == BY_PAIRING || (by != BY_TOKEN && !is_kept))
		return;
	row->displaced_hash = is_kept ? m->row.displaced_hash : m->row.secret_hash;
	if (is_kept)
		row->displaced_former = m->row.displaced_former;
	else if (m->former_until_ms == 0 || m->former_until_ms == UINT64_MAX)
		row->displaced_former = m->row.former_hash; /* the present one was not used yet */
	(void)snprintf(row->displaced_job, sizeof(row->displaced_job), "%s", m->job->row.id);
}

static void fill_row(const struct machine *m, const struct registration *reg, const char *secret,
		     enum admission by, struct machine_row *row)
{
	row->first_seen = m ? m->row.first_seen : fleet_now();
	row->last_seen = fleet_now();
	row->secret_hash = secret_hash(secret);
	if (by == BY_SECRET || by == BY_DISPLACED) /* the answer with the new one may be lost */
		row->former_hash = secret_hash(reg->secret);
	if (m)
		keep_displaced(m, by, row);
	(void)snprintf(row->id, sizeof(row->id), "%s", reg->machine);
	(void)snprintf(row->name, sizeof(row->name), "%s", reg->name);
	(void)snprintf(row->agent_version, sizeof(row->agent_version), "%s", reg->agent_version);
	(void)snprintf(row->address, sizeof(row->address), "%s", reg->address);
}

/* What machines say of themselves is kept in memory, and written with the lock held. */
static int check_bounds(struct fleet *f, struct machine *m, enum admission by,
			size_t inventory_size, unsigned *ret_retry_s, struct err *err)
{
	size_t machines = 0, bytes = inventory_size;
	/* Whoever has a machine's place is not to use up what lets it back in. */
	bool is_counted = by != BY_DISPLACED && by != BY_PAIRING;

	for (const struct machine *i = f->machines; i; i = i->next) {
		machines++;
		bytes += i == m ? 0 : i->inventory_size;
	}
	if (!m && machines >= MACHINES_MAX) {
		return err_set(err, API_CONFLICT,
			       "The server knows %zu machines, as many as it takes: some are to be "
			       "forgotten there (hoist machine remove).",
			       machines);
	}
	/* Others' are no reason to keep a machine out that is known and small. */
	if (bytes > INVENTORIES_MAX && !(m && inventory_size <= INVENTORY_SMALL)) {
		return err_set(err, API_CONFLICT,
			       "The inventories of the server's machines would have more than %u "
			       "MiB: some are to be forgotten there (hoist machine remove).",
			       INVENTORIES_MAX >> 20);
	}
	if (m && is_counted &&
	    !bucket_take(&m->registrations, REGISTRATIONS, REGISTRATIONS_KS, fleet_now_ms())) {
		*ret_retry_s = 1000 / REGISTRATIONS_KS;
		return err_set(err, API_RATE_LIMITED,
			       "This machine registers too often; ask again in %u s.",
			       *ret_retry_s);
	}
	return 0;
}

static int write_machine(struct fleet *f, struct machine_row *row, char *inventory, struct err *err)
{
	int r;

	row->inventory = inventory;
	r = state_put_machine(f->config.state, row, err);
	row->inventory = NULL;
	return r;
}

/* A new session, which nobody has used yet. */
static void begin_session(struct fleet *f, struct machine *m, const struct machine_row *row,
			  enum admission by, const json_t *inventory)
{
	secrets_replaced(m, &row->former_hash);
	if (by != BY_SECRET && by != BY_HAD_SECRET)
		m->stale_own = m->stale_len;
	m->row = *row;
	m->former_until_ms = 0;
	json_decref(m->inventory);
	m->inventory = json_incref((json_t *)inventory);
	m->session = ++f->sessions;
	m->told_cancel[0] = '\0';
	m->former_address[0] = '\0';
	m->registered_ms = fleet_now_ms();
	m->is_unused = true;
	m->claimed_ms = 0;
	machine_heard(f, m);
	(void)pthread_cond_broadcast(&m->cond); /* a poll of the session before */
}

struct fresh {
	const char *secret;
	char *inventory; /* JSON */
};

static int register_locked(struct fleet *f, const struct registration *reg,
			   const struct fresh *fresh, struct admitted *ret, unsigned *ret_retry_s,
			   struct err *err)
{
	size_t size = strlen(fresh->inventory);
	struct machine *m = machine_find(f, reg->machine);
	struct machine_row row = {.first_seen = 0};
	int r = admit(f, m, reg, &ret->by, ret_retry_s, err);

	if (r == 0)
		r = check_bounds(f, m, ret->by, size, ret_retry_s, err);
	if (r < 0)
		return r;
	ret->is_known = m;
	if (m) {
		memcpy(ret->before, m->row.address, sizeof(ret->before));
		ret->silent_s = silent_ms(f, m) / 1000;
	}
	fill_row(m, reg, fresh->secret, ret->by, &row);
	r = write_machine(f, &row, fresh->inventory, err);
	if (r < 0)
		return r;
	if (!m)
		m = machine_add(f);
	if (!m)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	m->inventory_size = size;
	begin_session(f, m, &row, ret->by, reg->inventory);
	return 0;
}

/* Who came in another way than by the secret of the session before is told of. */
static void tell(struct fleet *f, const struct registration *reg, const struct admitted *a)
{
	if (a->is_known && a->by == BY_DISPLACED) {
		fleet_event(f, "machine_reclaimed", reg->machine, "",
			    "%s: at %s, by the secret of the session that its job was ordered for; "
			    "whoever was in its place by a token, at %s, is not any more",
			    reg->name, reg->address, a->before);
	} else if (a->is_known && a->by == BY_HAD_SECRET) {
		fleet_event(f, "machine_reclaimed", reg->machine, "",
			    "%s: at %s, by a token and a secret that its session had before; "
			    "whoever renewed that with a copy, at %s, is not any more",
			    reg->name, reg->address, a->before);
	} else if (a->is_known && a->by != BY_SECRET) {
		fleet_event(f, "machine_replaced", reg->machine, "",
			    "%s: at %s by %s; before at %s, silent for %llu s", reg->name,
			    reg->address, a->by == BY_TOKEN ? "a token" : "pairing", a->before,
			    (unsigned long long)a->silent_s);
	}
	fleet_event(f, "machine_registered", reg->machine, "", "%s at %s", reg->name, reg->address);
}

int fleet_register(struct fleet *f, const struct registration *reg,
		   char ret_secret[static SECRET_TEXT_SIZE], unsigned *ret_retry_s, struct err *err)
{
	char secret[SECRET_TEXT_SIZE];
	CLEANUP_FREE char *inventory = json_dumps(reg->inventory, JSON_COMPACT);
	const struct fresh fresh = {secret, inventory};
	struct admitted a = {.by = BY_SECRET};
	int r;

	if (!inventory)
		return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
	r = secret_make(secret, err);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&f->lock);
	r = register_locked(f, reg, &fresh, &a, ret_retry_s, err);
	(void)pthread_mutex_unlock(&f->lock);
	if (r == 0) {
		memcpy(ret_secret, secret, sizeof(secret));
		if (reg->pairing)
			pairing_registered(f->pairings, reg->pairing);
		tell(f, reg, &a);
		order_what_is_owed(f, reg->machine, reg->name, reg->inventory);
	}
	explicit_bzero(secret, sizeof(secret));
	return r;
}
