/* The secrets of machines' sessions.  One is looked for by its hash among all machines; the comparison is constant in time, though a hash that
 * is compared tells an attacker nothing that helps to guess the secret.
 *
 * A secret is replaced by registering or by renewing.  The answer with the new one may be lost, so the former one stays good until the
 * new one was used: after registering, for registering once more; after renewing, for everything, and for a while after that, since
 * requests that were begun with it are still on their way.  Then it is worth nothing, and whoever uses it all the same is told of in an
 * event: a machine does not do that, somebody with a copy does. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#include "common/log.h"
#include "server/fleet/private.h"

#define MOVED_BACK_EVERY_MS 3600000u

struct id secret_hash(const char *secret)
{
	return id_of(secret, strlen(secret));
}

static bool is_secret(const struct id *known, const struct id *hash)
{
	return !id_is_zero(known) && gnutls_memcmp(known->b, hash->b, ID_SIZE) == 0;
}

int secret_make(char ret[static SECRET_TEXT_SIZE], struct err *err)
{
	uint8_t bytes[(SECRET_TEXT_SIZE - 1) / 2];

	if (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0)
		return err_set(err, API_INTERNAL, "The server has no random numbers.");
	hex_encode(bytes, sizeof(bytes), ret);
	gnutls_memset(bytes, 0, sizeof(bytes));
	return 0;
}

/* After a renewal whose new secret was used, for a while. */
static bool is_over(const struct machine *m)
{
	return m->former_until_ms != 0 && m->former_until_ms <= fleet_now_ms();
}

/* As long as the job is there: it is told of it when it asks for that again. */
static bool is_displaced(const struct machine *m, const struct id *hash)
{
	return m->job && strcmp(m->row.displaced_job, m->job->row.id) == 0 &&
	       (is_secret(&m->row.displaced_hash, hash) ||
		is_secret(&m->row.displaced_former, hash));
}

bool machine_knows_secret(const struct machine *m, const char *secret)
{
	struct id hash = secret_hash(secret);

	return is_secret(&m->row.secret_hash, &hash) ||
	       (!is_over(m) && is_secret(&m->row.former_hash, &hash));
}

bool machine_had_secret(const struct machine *m, const char *secret)
{
	size_t i = m->stale_len > STALE_KEPT ? m->stale_len - STALE_KEPT : 0;
	struct id hash = secret_hash(secret);

	for (i = i > m->stale_own ? i : m->stale_own; i < m->stale_len; i++) {
		if (is_secret(&m->stale[i % STALE_KEPT], &hash))
			return true;
	}
	return is_over(m) && is_secret(&m->row.former_hash, &hash);
}

bool machine_is_displaced(const struct machine *m, const char *secret)
{
	struct id hash = secret_hash(secret);

	return is_displaced(m, &hash);
}

/* ---- requests */

static void add_stale(struct machine *m, const struct id *hash)
{
	if (!id_is_zero(hash))
		m->stale[m->stale_len++ % STALE_KEPT] = *hash;
}

void secrets_replaced(struct machine *m, const struct id *kept)
{
	const struct id *const present[] = {&m->row.secret_hash, &m->row.former_hash};

	for (size_t i = 0; i < 2; i++) {
		if (!is_secret(present[i], kept))
			add_stale(m, present[i]);
	}
}

/* The lock is held. */
static void forget_former(struct fleet *f, struct machine *m)
{
	struct err err;

	add_stale(m, &m->row.former_hash);
	m->row.former_hash = (struct id){{0}};
	if (state_put_secrets(f->config.state, m->row.id, &m->row.secret_hash, &m->row.former_hash,
			      &err) < 0)
		log_event(LOG_WARN, "state_failed", "error=\"%s\"", err.msg);
}

/* The new one is used: its agent has it. */
static void settle(struct fleet *f, struct machine *m)
{
	if (id_is_zero(&m->row.former_hash))
		return;
	if (m->former_until_ms == UINT64_MAX)
		m->former_until_ms = fleet_now_ms() + f->config.grace_s * 1000ull;
	else if (m->former_until_ms == 0 || is_over(m))
		forget_former(f, m);
}

static bool is_stale(const struct machine *m, const struct id *hash)
{
	if (is_over(m) && is_secret(&m->row.former_hash, hash))
		return true;
	if (is_displaced(m, hash))
		return false;
	for (size_t i = 0; i < STALE_KEPT; i++) {
		if (is_secret(&m->stale[i], hash))
			return true;
	}
	return false;
}

static void note_stale(struct fleet *f, const struct id *hash, const char *address)
{
	for (struct machine *m = f->machines; m; m = m->next) {
		uint64_t now = fleet_now_ms();

		if (!is_stale(m, hash) || (m->stale_ms != 0 && now - m->stale_ms < TOLD_EVERY_MS))
			continue;
		m->stale_ms = now;
		fleet_event(f, "secret_reused", m->row.id, "",
			    "%s: a secret that was replaced long ago is used from %s", m->row.name,
			    address);
	}
}

/* A machine that got another address, or somebody with a copy of its secret.  One that is reached by two in turn is not told of each time. */
static void note_address(struct fleet *f, struct machine *m, const char *address)
{
	uint64_t now = fleet_now_ms();
	bool is_former = strcmp(m->former_address, address) == 0;

	if (strcmp(m->row.address, address) == 0)
		return;
	if (m->moved_ms == 0 ||
	    now - m->moved_ms >= (is_former ? MOVED_BACK_EVERY_MS : TOLD_EVERY_MS)) {
		m->moved_ms = now;
		fleet_event(f, "machine_moved", m->row.id, "", "%s: from %s to %s", m->row.name,
			    m->row.address, address);
	}
	memcpy(m->former_address, m->row.address, sizeof(m->former_address));
	(void)snprintf(m->row.address, sizeof(m->row.address), "%s", address);
}

static void machine_spoke(struct machine *m)
{
	m->spoke_ms = fleet_now_ms();
	m->is_unused = false;
}

int fleet_authorize(struct fleet *f, const char *secret, const char *address,
		    struct session_proof *ret, struct err *err)
{
	struct id hash = secret_hash(secret);
	struct machine *found = NULL;
	bool by_former = false;
	LOCK_FLEET(f);

	for (struct machine *m = f->machines; m; m = m->next) {
		if (is_secret(&m->row.secret_hash, &hash)) {
			found = m;
		} else if (m->former_until_ms != 0 && !is_over(m) &&
			   is_secret(&m->row.former_hash, &hash)) {
			found = m;
			by_former = true;
		}
	}
	if (!found) {
		note_stale(f, &hash, address);
		return err_set(err, API_UNAUTHORIZED,
			       "This session is not known (any more): register again.");
	}
	if (!by_former)
		settle(f, found);
	machine_heard(f, found);
	note_address(f, found, address);
	machine_spoke(found);
	memcpy(ret->machine, found->row.id, MACHINE_ID_SIZE);
	ret->shown = hash;
	ret->session = found->session;
	return 0;
}

/* Not whether the secret was renewed meanwhile: that is to end no request that was begun with it. */
int fleet_authorize_again(struct fleet *f, const struct session_proof *proof, struct err *err)
{
	struct machine *m;
	LOCK_FLEET(f);

	m = machine_find(f, proof->machine);
	if (m && m->session == proof->session) {
		machine_spoke(m);
		return 0;
	}
	return err_set(err, API_UNAUTHORIZED,
		       "This session is not known any more: register again.");
}

/* ---- renewing */

/* By the present one, or by the one before while nobody has used the present one. */
static bool may_renew(const struct machine *m, const struct id *shown)
{
	return is_secret(&m->row.secret_hash, shown) ||
	       (m->former_until_ms == UINT64_MAX && is_secret(&m->row.former_hash, shown));
}

static int renew_locked(struct fleet *f, const struct session_proof *proof, const char *secret,
			struct err *err)
{
	struct machine *m = machine_find(f, proof->machine);
	struct id hash = secret_hash(secret);
	int r;

	if (!m)
		return err_set(err, API_UNAUTHORIZED, "This machine is not known any more.");
	/* else who has a copy of the former one could take the session over */
	if (!may_renew(m, &proof->shown))
		return err_set(err, API_CONFLICT, "This secret has been replaced already.");
	/* each is written with the lock held */
	if (!bucket_take(&m->renewals, RENEWALS, RENEWALS_KS, fleet_now_ms())) {
		return err_set(err, API_RATE_LIMITED,
			       "This machine renews its secret too often; ask again later.");
	}
	r = state_put_secrets(f->config.state, m->row.id, &hash, &proof->shown, err);
	if (r < 0)
		return r;
	secrets_replaced(m, &proof->shown);
	m->row.secret_hash = hash;
	m->row.former_hash = proof->shown;
	m->former_until_ms = UINT64_MAX;
	return 0;
}

int fleet_renew(struct fleet *f, const struct session_proof *proof,
		char ret_secret[static SECRET_TEXT_SIZE], struct err *err)
{
	char secret[SECRET_TEXT_SIZE];
	int r = secret_make(secret, err);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&f->lock);
	r = renew_locked(f, proof, secret, err);
	(void)pthread_mutex_unlock(&f->lock);
	if (r == 0)
		memcpy(ret_secret, secret, sizeof(secret));
	explicit_bzero(secret, sizeof(secret));
	return r;
}
