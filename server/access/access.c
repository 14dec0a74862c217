/* Logins are counted before the password is looked at, so that many at one time count as many.  Given back when it was right, or when it
 * could not be looked at:
 *
 *	of one account	10, then one in 30 s: some 2,900 guesses a day, from however many addresses
 *	of one address	20, then one in 10 s
 *
 * Right ones are counted apart, 30 of one account, then one in 10 s: who has one password is not to keep all processors busy with it, nor
 * to fill the audit log.  Tokens are counted too: 60 of one account, then one in 10 s.
 *
 * What operators order, which the audit log is to hold, is counted, 5,000 of one account, then one in 2 s: else who orders and cancels, or
 * revokes one token, again and again pushes out in minutes what he did before.
 *
 * Names that are nobody's are counted apart (their table is bounded, and a new name may push an old one out): with many of them nobody
 * gets at the count of an account.  There is room for all accounts, so that none of theirs is pushed out. */
#include "server/access/access.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/bytes.h"
#include "common/log.h"
#include "server/access/address.h"
#include "server/api_error.h"
#include "server/rate.h"

#define TOUCH_S	  60 /* how late `used` may be */
#define SKEW_S	  60
#define PLENTY	  1000000u
#define PLENTY_KS 1000000000u
#define KEY_SIZE  16
#define ID_BYTES  ((TOKEN_ID_SIZE - 1) / 2)

static const struct rate_limits account_limits = {10, 33, PLENTY, PLENTY_KS};
static const struct rate_limits right_limits = {30, 100, PLENTY, PLENTY_KS};
static const struct rate_limits token_limits = {60, 100, PLENTY, PLENTY_KS};
static const struct rate_limits action_limits = {5000, 500, PLENTY, PLENTY_KS};
static const struct rate_limits address_limits = {20, 100, PLENTY, PLENTY_KS};

_Static_assert(OPERATORS_MAX < RATE_SOURCES, "each account has a place");

struct access {
	struct access_config config;
	struct passwords *passwords;
	pthread_mutex_t lock; /* what follows */
	struct rate accounts, strangers, addresses, right, tokens, actions;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int access_open(const struct access_config *config, struct access **ret, struct err *err)
{
	struct access *a = calloc(1, sizeof(*a));

	if (!a)
		return err_set(err, -ENOMEM, "start the server: out of memory");
	(void)pthread_mutex_init(&a->lock, NULL);
	a->config = *config;
	rate_init(&a->accounts, &account_limits, now_ms());
	rate_init(&a->strangers, &account_limits, now_ms());
	rate_init(&a->addresses, &address_limits, now_ms());
	rate_init(&a->right, &right_limits, now_ms());
	rate_init(&a->tokens, &token_limits, now_ms());
	rate_init(&a->actions, &action_limits, now_ms());
	a->passwords = passwords_new(&config->cost);
	if (!a->passwords) {
		access_close(a);
		return err_set(err, -ENOMEM, "make ready for passwords: not enough memory");
	}
	*ret = a;
	return 0;
}

void access_stop(struct access *a)
{
	passwords_stop(a->passwords);
}

void access_close(struct access *a)
{
	if (!a)
		return;
	passwords_free(a->passwords);
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}

/* ---- what is shown */

static int unknown(struct err *err)
{
	return err_set(err, API_UNAUTHORIZED,
		       "This is neither the operator's token nor a session or token that is known "
		       "(any more).");
}

static bool is_over(const struct access *a, const struct credential_row *c, int64_t now)
{
	if (c->expires <= now)
		return true;
	/* a clock that was set back does not make a session longer */
	return c->is_session &&
	       (now - c->used > a->config.session_idle_s || now < c->used - SKEW_S);
}

/* When it was last used is written now and then only. */
static void touch(struct access *a, const struct credential_row *c, int64_t now)
{
	int64_t every =
		a->config.session_idle_s / 4 < TOUCH_S ? a->config.session_idle_s / 4 : TOUCH_S;
	struct err err;

	if (now - c->used < every && now >= c->used)
		return;
	if (state_touch_credential(a->config.state, c->id, now, &err) < 0)
		log_event(LOG_WARN, "state_failed", "error=\"%s\"", err.msg);
}

int access_authorize(struct access *a, const char *secret, struct caller *ret, struct err *err)
{
	struct id hash = id_of(secret, strlen(secret));
	struct credential_row c;
	int64_t now = time(NULL);
	int r;

	if (gnutls_memcmp(hash.b, a->config.file_hash.b, ID_SIZE) == 0) {
		*ret = (struct caller){CALLER_FILE, ROLE_ADMIN, CALLER_FILE_NAME, "", 0};
		return 0;
	}
	r = state_find_credential(a->config.state, &hash, &c, err);
	if (r == -ENOENT)
		return unknown(err);
	if (r < 0)
		return r;
	if (is_over(a, &c, now))
		return err_set(err, API_UNAUTHORIZED, "This %s has expired.",
			       c.is_session ? "session" : "token");
	touch(a, &c, now);
	*ret = (struct caller){.kind = c.is_session ? CALLER_SESSION : CALLER_TOKEN,
			       .role = c.role,
			       .expires = c.expires};
	memcpy(ret->name, c.operator, sizeof(ret->name));
	memcpy(ret->credential, c.id, sizeof(ret->credential));
	return 0;
}

/* ---- logging in */

void access_grant_done(struct access_grant *g)
{
	explicit_bzero(g->secret, sizeof(g->secret));
}

/* `password`: the hash by which he has shown who he is, or NULL. */
static int grant(struct access *a, struct access_grant *g, const char *password, struct err *err)
{
	uint8_t bytes[(ACCESS_SECRET_SIZE - 1) / 2], id[ID_BYTES];
	struct id hash;

	if (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0 ||
	    gnutls_rnd(GNUTLS_RND_NONCE, id, sizeof(id)) < 0)
		return err_set(err, API_INTERNAL, "The server has no random numbers.");
	hex_encode(bytes, sizeof(bytes), g->secret);
	hex_encode(id, sizeof(id), g->row.id);
	explicit_bzero(bytes, sizeof(bytes));
	hash = id_of(g->secret, strlen(g->secret));
	return state_add_credential(a->config.state, &g->row, &hash, password, err);
}

static void name_key(const char *name, uint8_t ret[static KEY_SIZE])
{
	struct id hash = id_of(name, strlen(name));

	memcpy(ret, hash.b, KEY_SIZE);
}

/* Who knocks, for the counts. */
struct knock {
	bool known;
	uint8_t name[KEY_SIZE], address[KEY_SIZE];
};

static struct rate *names(struct access *a, const struct knock *k)
{
	return k->known ? &a->accounts : &a->strangers;
}

static int admit(struct access *a, struct knock *k, const char *name, const char *address,
		 struct err *err)
{
	uint64_t now = now_ms();
	bool yes;

	name_key(name, k->name);
	address_key(address, k->address);
	(void)pthread_mutex_lock(&a->lock);
	yes = rate_allow(&a->addresses, k->address, now) && rate_allow(names(a, k), k->name, now) &&
	      (!k->known || rate_allow(&a->right, k->name, now));
	(void)pthread_mutex_unlock(&a->lock);
	if (yes)
		return 0;
	return err_set(err, API_RATE_LIMITED,
		       "There were too many attempts for this name or from this address; try again "
		       "in half a minute.");
}

/* `r`: as of password_verify().  A wrong one does not count as a right one, and the other way round. */
static void settle(struct access *a, const struct knock *k, int r)
{
	(void)pthread_mutex_lock(&a->lock);
	if (r != 0) {
		rate_refund(&a->addresses, k->address);
		rate_refund(names(a, k), k->name);
	}
	if (r != 1 && k->known)
		rate_refund(&a->right, k->name);
	(void)pthread_mutex_unlock(&a->lock);
}

/* Is it his password?  Filled is `ret`, if so. */
static int check_password(struct access *a, const char *name, const char *password,
			  const char *address, struct operator_row *ret, struct err *err)
{
	struct err ignored;
	struct knock k;
	int r = state_get_operator(a->config.state, name, ret, &ignored);

	if (r < 0 && r != -ENOENT) {
		*err = ignored;
		return r;
	}
	k.known = r == 0;
	r = admit(a, &k, name, address, err);
	if (r < 0)
		return r;
	r = password_verify(a->passwords, k.known ? ret->password : NULL, password, k.address, err);
	settle(a, &k, r);
	if (r == 0)
		return err_set(err, API_WRONG_PASSWORD, "The name or the password is wrong.");
	return r < 0 ? r : 0;
}

/* Made at the cost of former days: with the password at hand it can be made anew. */
static void refresh(struct access *a, const struct operator_row *o, const char *password)
{
	char hash[PASSWORD_HASH_SIZE];
	struct err err;
	int r;

	if (!password_is_dated(a->passwords, o->password))
		return;
	r = password_hash(a->passwords, password, hash, &err);
	if (r == 0)
		r = state_rehash_operator(a->config.state, o->name, o->password, hash, &err);
	if (r < 0)
		log_event(LOG_WARN, "rehash_failed", "error=\"%s\"", err.msg);
}

int access_login(struct access *a, const char *name, const char *password, const char *address,
		 struct access_grant *ret, struct err *err)
{
	struct operator_row o = {.role = ROLE_NONE};
	int64_t now = time(NULL);
	int r = check_password(a, name, password, address, &o, err);

	if (r < 0)
		return r;
	*ret = (struct access_grant){.row = {.is_session = true,
					     .role = o.role,
					     .created = now,
					     .used = now,
					     .expires = now + a->config.session_life_s}};
	memcpy(ret->row.operator, o.name, sizeof(ret->row.operator));
	(void)snprintf(ret->row.address, sizeof(ret->row.address), "%s", address);
	r = grant(a, ret, o.password, err);
	if (r == 0)
		refresh(a, &o, password);
	explicit_bzero(o.password, sizeof(o.password));
	return r;
}

struct lookup {
	const struct caller *who;
	bool found;
};

static int look_for(void *arg, const struct credential_row *c)
{
	struct lookup *l = arg;

	l->found = l->found || (strcmp(c->id, l->who->credential) == 0 && c->role >= l->who->role);
	return 0;
}

/* A hash takes its time, and others may be before it: what was ended or lowered meanwhile orders nothing more. */
static int check_still(struct access *a, const struct caller *who, struct err *err)
{
	struct lookup l = {who, false};
	int r;

	if (!who || who->kind == CALLER_FILE)
		return 0;
	r = state_each_credential(a->config.state, who->name, look_for, &l, err);
	if (r < 0)
		return r;
	return l.found ? 0 : unknown(err);
}

/* `old`: the hash of the password that it is to replace, NULL: any. */
static int change(struct access *a, const struct caller *who, const char *name, enum role role,
		  const char *password, const char *old, struct err *err)
{
	char hash[PASSWORD_HASH_SIZE];
	struct operator_change c = {
		.role = role, .password = password ? hash : NULL, .old_password = old};
	int r = password ? password_hash(a->passwords, password, hash, err) : 0;

	if (r == 0)
		r = check_still(a, who, err);
	c.at = time(NULL);
	return r < 0 ? r : state_change_operator(a->config.state, name, &c, err);
}

int access_change_password(struct access *a, const struct caller *who, const char *old,
			   const char *password, const char *address, struct err *err)
{
	struct operator_row o = {.role = ROLE_NONE};
	int r = password_check(who->name, password, err);

	if (r == 0)
		r = check_password(a, who->name, old, address, &o, err);
	if (r == 0)
		r = change(a, NULL, who->name, ROLE_NONE, password, o.password, err);
	explicit_bzero(o.password, sizeof(o.password));
	return r;
}

/* One more, of those that `rate` counts, by the operator `name`? */
static bool allow(struct access *a, struct rate *rate, const char *name)
{
	uint8_t key[KEY_SIZE];
	bool yes;

	name_key(name, key);
	(void)pthread_mutex_lock(&a->lock);
	yes = rate_allow(rate, key, now_ms());
	(void)pthread_mutex_unlock(&a->lock);
	return yes;
}

int access_count_action(struct access *a, const struct caller *who, struct err *err)
{
	/* who has the file has the folder, and the log in it */
	if (who->kind == CALLER_FILE || allow(a, &a->actions, who->name))
		return 0;
	return err_set(err, API_RATE_LIMITED,
		       "'%s' does more than the audit log can hold; try again in some seconds.",
		       who->name);
}

int access_add_token(struct access *a, const struct credential_row *row, int64_t expires_s,
		     struct access_grant *ret, struct err *err)
{
	*ret = (struct access_grant){.row = *row};
	if (!allow(a, &a->tokens, row->operator)) {
		return err_set(err, API_RATE_LIMITED,
			       "Too many tokens are made for '%s'; try again in ten seconds.",
			       row->operator);
	}
	ret->row.created = time(NULL);
	ret->row.expires = ret->row.created + expires_s;
	return grant(a, ret, NULL, err);
}

/* ---- operators */

int access_add_operator(struct access *a, const struct caller *who, const char *name,
			enum role role, const char *password, struct err *err)
{
	struct operator_row o = {.role = role, .created = time(NULL)};
	int r = password_check(name, password, err);

	if (r == 0)
		r = password_hash(a->passwords, password, o.password, err);
	if (r == 0)
		r = check_still(a, who, err);
	if (r < 0)
		return r;
	o.changed = o.created;
	(void)snprintf(o.name, sizeof(o.name), "%s", name);
	r = state_add_operator(a->config.state, &o, err);
	explicit_bzero(o.password, sizeof(o.password));
	return r;
}

int access_change_operator(struct access *a, const struct caller *who, const char *name,
			   enum role role, const char *password, struct err *err)
{
	int r = password ? password_check(name, password, err) : 0;

	return r < 0 ? r : change(a, who, name, role, password, NULL, err);
}
