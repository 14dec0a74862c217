/* pairing.c - one lock, one table.  Events are told after the lock was given back: they are written to the state.
 *
 * A ticket is kept as its hash, as all secrets are. */
#include "server/fleet/pairing.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/cond.h"
#include "common/json.h"
#include "common/log.h"

#define PREFIX_MIN     4u
#define REFUSED_LOG_MS 10000u /* refusals are logged so often at most */

enum pairing_state {
	PAIRING_FREE,
	PAIRING_BEGUN,	    /* there is no code yet */
	PAIRING_WAITING,    /* for the operator */
	PAIRING_CONFIRMED,  /* for the registration */
	PAIRING_REGISTERED, /* only so that the registration can be repeated */
	PAIRING_REJECTED,
	PAIRING_WRONG_CODE,
	PAIRING_ENDED, /* another one took its place, its agent fell silent, its commitment was broken */
};

static const char *const state_names[] = {
	[PAIRING_FREE] = "ended",
	[PAIRING_BEGUN] = "begun",
	[PAIRING_WAITING] = "waiting",
	[PAIRING_CONFIRMED] = "confirmed",
	[PAIRING_REGISTERED] = "confirmed",
	[PAIRING_REJECTED] = "rejected",
	[PAIRING_WRONG_CODE] = "wrong_code",
	[PAIRING_ENDED] = "ended",
};

struct pairing {
	enum pairing_state state;
	char machine[MACHINE_ID_SIZE];
	char name[NAME_SIZE];
	char agent_version[AGENT_VERSION_SIZE];
	char address[ADDRESS_SIZE];
	struct id ticket_hash;
	struct pairing_facts facts; /* name: the one above */
	uint8_t commitment[PAIRING_COMMITMENT_SIZE];
	uint32_t code;	  /* from PAIRING_WAITING on */
	uint32_t proof;	  /* from PAIRING_CONFIRMED on */
	uint64_t life_ms; /* when its life began: with the begin, and anew when it is confirmed */
	uint64_t heard_ms;
	int64_t begun;	 /* seconds since 1970 */
	uint64_t waiter; /* number of the last call that waits */
};

struct pairings {
	struct pairings_config config;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t changed;
	bool stopping;
	uint64_t waiters;
	uint64_t refused_ms;   /* when a refusal was last logged */
	unsigned refused;      /* since then */
	struct pairing *items; /* config.max */
};

static uint64_t clock_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t now(const struct pairings *p)
{
	return p->config.now_ms();
}

static pthread_mutex_t *hold(struct pairings *p)
{
	(void)pthread_mutex_lock(&p->lock);
	return &p->lock;
}
static void unholdp(pthread_mutex_t **m)
{
	(void)pthread_mutex_unlock(*m);
}
/* Hold the lock for the current scope. */
#define LOCK(p)                                            \
	CLEANUP(unholdp) pthread_mutex_t *held_ = hold(p); \
	(void)held_

/* An event in the making: told when the lock is given back. */
struct note {
	const char *event; /* NULL: none */
	char machine[MACHINE_ID_SIZE];
	char text[256];
};

static void note(struct note *n, const char *event, const struct pairing *x, const char *more)
{
	n->event = event;
	memcpy(n->machine, x->machine, sizeof(n->machine));
	(void)snprintf(n->text, sizeof(n->text), "%s at %s%s", x->name, x->address, more);
}

static void tell(struct pairings *p, const struct note *n)
{
	if (n->event && p->config.event)
		p->config.event(p->config.ctx, n->event, n->machine, n->text);
}

struct pairings *pairings_new(const struct pairings_config *config)
{
	struct pairings *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->config = *config;
	if (!p->config.now_ms)
		p->config.now_ms = clock_now_ms;
	p->items = calloc(config->max ? config->max : 1, sizeof(*p->items));
	if (!p->items) {
		free(p);
		return NULL;
	}
	(void)pthread_mutex_init(&p->lock, NULL);
	cond_init(&p->changed);
	return p;
}

void pairings_stop(struct pairings *p)
{
	if (!p)
		return;
	LOCK(p);
	p->stopping = true;
	(void)pthread_cond_broadcast(&p->changed);
}

void pairings_free(struct pairings *p)
{
	if (!p)
		return;
	explicit_bzero(p->items, p->config.max * sizeof(*p->items));
	free(p->items);
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

/* ---- the table; the lock is held */

static void set_state(struct pairings *p, struct pairing *x, enum pairing_state state)
{
	x->state = state;
	(void)pthread_cond_broadcast(&p->changed);
}

static bool is_open(const struct pairing *x)
{
	return x->state == PAIRING_BEGUN || x->state == PAIRING_WAITING;
}

static uint64_t left_ms(const struct pairings *p, const struct pairing *x)
{
	uint64_t end = x->life_ms + p->config.life_s * 1000ull, at = now(p);

	return end > at ? end - at : 0;
}

/* The next one whose time is over; false: there is none.  What it was is in `ret`, if there is something to tell. */
static bool end_one(struct pairings *p, struct note *ret)
{
	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if (x->state == PAIRING_FREE)
			continue;
		if (left_ms(p, x) == 0) {
			if (is_open(x) || x->state == PAIRING_CONFIRMED)
				note(ret, "pairing_expired", x, "");
			explicit_bzero(x, sizeof(*x));
			set_state(p, x, PAIRING_FREE);
			return true;
		}
		if (is_open(x) && now(p) - x->heard_ms >= PAIRING_QUIET_MS) {
			note(ret, "pairing_ended", x,
			     ", its agent has not been heard for a minute");
			set_state(p, x, PAIRING_ENDED);
			return true;
		}
	}
	return false;
}

void pairings_tick(struct pairings *p)
{
	bool go = true;

	while (go) {
		struct note n = {.event = NULL};

		(void)pthread_mutex_lock(&p->lock);
		go = end_one(p, &n);
		(void)pthread_mutex_unlock(&p->lock);
		tell(p, &n);
	}
}

static struct pairing *find_ticket(struct pairings *p, const char *ticket)
{
	struct id hash = id_of(ticket, strlen(ticket));
	struct pairing *found = NULL;

	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if (x->state != PAIRING_FREE &&
		    gnutls_memcmp(x->ticket_hash.b, hash.b, ID_SIZE) == 0 && left_ms(p, x) > 0)
			found = x;
	}
	return found;
}

static int no_pairing(struct err *err)
{
	return err_set(err, API_NOT_FOUND, "There is no such pairing (any more): begin a new one.");
}

static struct pairing_status status_of(const struct pairings *p, const struct pairing *x)
{
	return (struct pairing_status){.state = state_names[x->state],
				       .left_s = (unsigned)(left_ms(p, x) / 1000),
				       .has_proof = x->state == PAIRING_CONFIRMED ||
						    x->state == PAIRING_REGISTERED,
				       .proof = x->proof};
}

/* ---- beginning */

struct census {
	unsigned all, of_peer, of_machine;
	uint64_t all_ms, peer_ms, machine_ms; /* until there is room again */
	struct pairing *free, *spare;	      /* a place; one that somebody registered from */
	struct pairing *open;		      /* the machine's present pairing */
};

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static struct census count(struct pairings *p, const struct pairing_begin *b)
{
	struct census c = {.all_ms = UINT64_MAX, .peer_ms = UINT64_MAX, .machine_ms = UINT64_MAX};

	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];
		uint64_t left = left_ms(p, x);

		if (x->state == PAIRING_FREE || left == 0) {
			c.free = x;
			continue;
		}
		if (x->state == PAIRING_REGISTERED) {
			c.spare = x;
			continue;
		}
		c.all++;
		c.all_ms = sooner(c.all_ms, left);
		if (x->state == PAIRING_CONFIRMED)
			continue;
		if (strcmp(x->address, b->address) == 0) {
			c.of_peer++;
			c.peer_ms = sooner(c.peer_ms, left);
		}
		if (strcmp(x->machine, b->machine) == 0) {
			c.of_machine++;
			c.machine_ms = sooner(c.machine_ms, left);
			c.open = is_open(x) ? x : c.open;
		}
	}
	if (!c.free)
		c.free = c.spare;
	return c;
}

static int refuse(uint64_t wait_ms, unsigned *ret_retry_s, struct err *err, const char *what)
{
	*ret_retry_s = (unsigned)(wait_ms / 1000 + 1);
	return err_set(err, API_RATE_LIMITED, "%s; there is room again in %u s.", what,
		       *ret_retry_s);
}

/* May it begin?  The lock is held. */
static int check_begin(struct pairings *p, const struct pairing_begin *b, const struct census *c,
		       unsigned *ret_retry_s, struct err *err)
{
	if (!p->config.enabled) {
		return err_set(err, API_FORBIDDEN,
			       "This server takes no machines by pairing; a personalised medium or "
			       "an enrolment token is needed.");
	}
	if (c->open && strcmp(c->open->address, b->address) != 0 &&
	    now(p) - c->open->heard_ms < PAIRING_QUIET_MS) {
		return err_set(err, API_CONFLICT,
			       "A machine with this id is pairing with this server from another "
			       "address.");
	}
	if (c->of_machine >= PAIRING_BEGINS_MAX)
		return refuse(c->machine_ms, ret_retry_s, err,
			      "This machine has begun too many pairings");
	if (c->of_peer >= p->config.per_peer_max)
		return refuse(c->peer_ms, ret_retry_s, err,
			      "Too many pairings were begun from this address");
	if (c->all >= p->config.max || !c->free)
		return refuse(c->all_ms, ret_retry_s, err,
			      "Too many machines are pairing with this server");
	return 0;
}

static int fill(struct pairing *x, const struct pairing_begin *b, struct pairing_begun *ret,
		struct err *err)
{
	uint8_t ticket[32];

	if (gnutls_rnd(GNUTLS_RND_KEY, ticket, sizeof(ticket)) < 0 ||
	    gnutls_rnd(GNUTLS_RND_KEY, x->facts.server_random, PAIRING_RANDOM_SIZE) < 0)
		return err_set(err, API_INTERNAL, "The server has no random numbers.");
	hex_encode(ticket, sizeof(ticket), ret->ticket);
	explicit_bzero(ticket, sizeof(ticket));
	x->ticket_hash = id_of(ret->ticket, strlen(ret->ticket));
	memcpy(ret->random, x->facts.server_random, PAIRING_RANDOM_SIZE);
	memcpy(x->commitment, b->commitment, PAIRING_COMMITMENT_SIZE);
	(void)snprintf(x->machine, sizeof(x->machine), "%s", b->machine);
	(void)snprintf(x->name, sizeof(x->name), "%s", b->name);
	(void)snprintf(x->agent_version, sizeof(x->agent_version), "%s", b->agent_version);
	(void)snprintf(x->address, sizeof(x->address), "%s", b->address);
	if (!hex_decode(b->machine, x->facts.machine, sizeof(x->facts.machine)))
		return err_set(err, API_BAD_REQUEST, "field 'machine_id' is not 32 hex digits");
	return 0;
}

static int begin_locked(struct pairings *p, const struct pairing_begin *b,
			struct pairing_begun *ret, unsigned *ret_retry_s, struct note *n,
			struct err *err)
{
	struct census c = count(p, b);
	struct pairing fresh = {.state = PAIRING_BEGUN};
	int r = check_begin(p, b, &c, ret_retry_s, err);

	if (r == 0)
		r = fill(&fresh, b, ret, err);
	if (r < 0 || !c.free)
		return r;
	if (c.open)
		set_state(p, c.open, PAIRING_ENDED); /* it was restarted */
	memcpy(fresh.facts.key, p->config.key, sizeof(fresh.facts.key));
	fresh.life_ms = fresh.heard_ms = now(p);
	fresh.begun = time(NULL);
	*c.free = fresh;
	c.free->facts.name = c.free->name;
	note(n, "pairing_begun", c.free, c.open ? ", in place of the one before" : "");
	ret->life_s = p->config.life_s;
	return 0;
}

/* A flood shall not fill the log. */
static void log_refusal(struct pairings *p, const struct pairing_begin *b, const struct err *err)
{
	unsigned times;

	(void)pthread_mutex_lock(&p->lock);
	times = ++p->refused;
	if (p->refused_ms != 0 && now(p) - p->refused_ms < REFUSED_LOG_MS) {
		times = 0;
	} else {
		p->refused = 0;
		p->refused_ms = now(p) ? now(p) : 1;
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (times > 0)
		log_event(LOG_WARN, "pairing_refused", "machine=%s peer=%s times=%u reason=\"%s\"",
			  b->machine, b->address, times, err->msg);
}

int pairing_begin(struct pairings *p, const struct pairing_begin *b, struct pairing_begun *ret,
		  unsigned *ret_retry_s, struct err *err)
{
	struct note n = {.event = NULL};
	int r;

	*ret_retry_s = 0;
	pairings_tick(p);
	(void)pthread_mutex_lock(&p->lock);
	r = begin_locked(p, b, ret, ret_retry_s, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	tell(p, &n);
	if (r < 0)
		log_refusal(p, b, err);
	return r;
}

/* ---- revealing and waiting */

static int reveal_locked(struct pairings *p, const char *ticket, const uint8_t *random,
			 struct pairing_status *ret, struct note *n, struct err *err)
{
	struct pairing *x = find_ticket(p, ticket);
	uint8_t commitment[PAIRING_COMMITMENT_SIZE];

	if (!x)
		return no_pairing(err);
	x->heard_ms = now(p);
	if (x->state == PAIRING_BEGUN) {
		pairing_commit(x->facts.machine, random, commitment);
		if (memcmp(commitment, x->commitment, sizeof(commitment)) != 0) {
			set_state(p, x, PAIRING_ENDED);
			note(n, "pairing_forged", x, ", revealed what it had not committed to");
			return err_set(err, API_BAD_REQUEST,
				       "This is not what was committed to; the pairing has ended.");
		}
		memcpy(x->facts.agent_random, random, PAIRING_RANDOM_SIZE);
		x->code = pairing_code(&x->facts);
		set_state(p, x, PAIRING_WAITING);
	}
	*ret = status_of(p, x);
	return 0;
}

int pairing_reveal(struct pairings *p, const char *ticket,
		   const uint8_t random[static PAIRING_RANDOM_SIZE], struct pairing_status *ret,
		   struct err *err)
{
	struct note n = {.event = NULL};
	int r;

	(void)pthread_mutex_lock(&p->lock);
	r = reveal_locked(p, ticket, random, ret, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	tell(p, &n);
	return r;
}

/* The lock is held; it is given back while waiting, and the pairing may be gone then. */
static struct pairing *wait_locked(struct pairings *p, const char *ticket)
{
	struct pairing *x = find_ticket(p, ticket);
	uint64_t me = ++p->waiters, end = clock_now_ms() + p->config.poll_s * 1000ull;
	struct timespec until = {.tv_sec = (time_t)(end / 1000),
				 .tv_nsec = (long)(end % 1000) * 1000000};

	if (x) {
		x->waiter = me;
		if (x->state != PAIRING_BEGUN) /* one that reveals nothing is not kept alive */
			x->heard_ms = now(p);
		(void)pthread_cond_broadcast(&p->changed); /* of its former call */
	}
	while (x && is_open(x) && x->waiter == me && !p->stopping) {
		int r = pthread_cond_timedwait(&p->changed, &p->lock, &until);

		x = find_ticket(p, ticket);
		if (x && x->waiter == me && x->state != PAIRING_BEGUN)
			x->heard_ms = now(p);
		if (r != 0)
			break;
	}
	return x;
}

int pairing_wait(struct pairings *p, const char *ticket, struct pairing_status *ret,
		 struct err *err)
{
	const struct pairing *x;
	LOCK(p);

	x = wait_locked(p, ticket);
	if (p->stopping)
		return err_set(err, API_BUSY, "The server is stopping; ask again.");
	if (!x)
		return no_pairing(err);
	*ret = status_of(p, x);
	return 0;
}

/* ---- registering */

bool pairing_admits(struct pairings *p, const char *ticket, const char *machine)
{
	const struct pairing *x;
	LOCK(p);

	x = find_ticket(p, ticket);
	return x && (x->state == PAIRING_CONFIRMED || x->state == PAIRING_REGISTERED) &&
	       strcmp(x->machine, machine) == 0;
}

void pairing_registered(struct pairings *p, const char *ticket)
{
	struct pairing *x;
	LOCK(p);

	x = find_ticket(p, ticket);
	if (x && x->state == PAIRING_CONFIRMED)
		set_state(p, x, PAIRING_REGISTERED);
}

void pairing_forget(struct pairings *p, const char *machine)
{
	LOCK(p);

	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if (strcmp(x->machine, machine) == 0 &&
		    (x->state == PAIRING_CONFIRMED || x->state == PAIRING_REGISTERED))
			set_state(p, x, PAIRING_ENDED);
	}
}

/* ---- operators */

static json_t *view(const struct pairings *p, const struct pairing *x, bool known)
{
	char begun[TIME_TEXT_SIZE], code[8];

	time_to_text(x->begun, begun);
	(void)snprintf(code, sizeof(code), "%06u", (unsigned)x->code);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s, s:I, s:b}", "machine", x->machine,
			 "name", x->name, "address", x->address, "agent_version", x->agent_version,
			 "state", state_names[x->state], "code",
			 x->state == PAIRING_BEGUN ? NULL : code, "begun", begun, "expires_s",
			 (json_int_t)(left_ms(p, x) / 1000), "known", (int)known);
}

static bool is_shown(const struct pairing *x)
{
	return is_open(x) || x->state == PAIRING_CONFIRMED || x->state == PAIRING_REJECTED ||
	       x->state == PAIRING_WRONG_CODE;
}

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "The server is out of memory; ask again.");
}

int pairings_list(struct pairings *p, bool (*known)(void *ctx, const char *machine), void *ctx,
		  json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *list = json_array();
	LOCK(p);

	for (size_t i = 0; i < p->config.max; i++) {
		const struct pairing *x = &p->items[i];

		if (!is_shown(x) || left_ms(p, x) == 0)
			continue;
		if (json_array_append_new(list, view(p, x, known(ctx, x->machine))) < 0)
			return out_of_memory(err);
	}
	*ret = json_pack("{s:O}", "pairings", list);
	return *ret ? 0 : out_of_memory(err);
}

static bool is_meant(const struct pairing *x, const char *name)
{
	size_t len = strlen(name);

	return (len >= PREFIX_MIN && strncmp(x->machine, name, len) == 0) ||
	       strcmp(x->name, name) == 0;
}

/* Whoever is in between chooses ids and names of pairings, as many as there is room for, and need not show their codes before one fits.  So
 * whatever may be meant by a name must be of one machine, whether it waits, has only begun or has ended: its codes are counted.  A whole
 * id means that machine and no other. */
static const char *resolve_machine(struct pairings *p, const char *name, struct err *err)
{
	const char *found = NULL;

	for (size_t i = 0; i < p->config.max; i++) {
		const struct pairing *x = &p->items[i];

		if (x->state != PAIRING_FREE && left_ms(p, x) > 0 && strcmp(x->machine, name) == 0)
			return x->machine;
	}
	for (size_t i = 0; i < p->config.max; i++) {
		const struct pairing *x = &p->items[i];

		if (x->state == PAIRING_FREE || left_ms(p, x) == 0)
			continue;
		if (!is_meant(x, name))
			continue;
		if (found && strcmp(found, x->machine) != 0) {
			(void)err_set(
				err, API_CONFLICT,
				"'%s' may mean several machines that are pairing; name one by "
				"its whole id, which stands on its screen.",
				name);
			return NULL;
		}
		found = x->machine;
	}
	if (!found) {
		(void)err_set(err, API_NOT_FOUND,
			      "No machine '%s' is pairing with this server now; look at what is "
			      "on its screen.",
			      name);
	}
	return found;
}

/* The pairing, in one of two states, of the machine that the operator means. */
static int resolve(struct pairings *p, const char *name, enum pairing_state a, enum pairing_state b,
		   struct pairing **ret, struct err *err)
{
	const char *machine = resolve_machine(p, name, err);

	if (!machine)
		return err->code;
	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if ((x->state != a && x->state != b) || left_ms(p, x) == 0 ||
		    strcmp(x->machine, machine) != 0)
			continue;
		*ret = x;
		return 0;
	}
	return err_set(err, API_NOT_FOUND,
		       "Machine '%s' shows no code of this server now; look at what is on its "
		       "screen.",
		       name);
}

int pairing_find(struct pairings *p, const char *name, char ret_machine[static MACHINE_ID_SIZE],
		 struct err *err)
{
	const char *machine;
	LOCK(p);

	machine = resolve_machine(p, name, err);
	if (!machine)
		return err->code;
	(void)snprintf(ret_machine, MACHINE_ID_SIZE, "%s", machine);
	return 0;
}

static int confirm_locked(struct pairings *p, const char *machine,
			  const struct pairing_typed *typed, json_t **ret, struct note *n,
			  struct err *err)
{
	struct pairing *x = NULL;
	int r = resolve(p, machine, PAIRING_WAITING, PAIRING_WAITING, &x, err);

	if (r < 0 || !x)
		return r;
	if (x->code != typed->code) {
		set_state(p, x, PAIRING_WRONG_CODE);
		note(n, "pairing_wrong_code", x,
		     ", another code was typed than the one it has here");
		return err_set(
			err, API_WRONG_CODE,
			"This is not the code of '%s' at this server, and the pairing has ended. Either "
			"it was mistyped, or somebody is between that machine and this server. "
			"The machine shows a new code in a moment; if that one is wrong too, look "
			"at the network before anything else.",
			x->name);
	}
	*ret = view(p, x, false);
	if (!*ret)
		return out_of_memory(err);
	(void)json_object_set_new(*ret, "state", json_string(state_names[PAIRING_CONFIRMED]));
	(void)json_object_del(*ret, "known");
	x->proof = typed->proof;
	x->life_ms = now(p);
	set_state(p, x, PAIRING_CONFIRMED);
	note(n, "pairing_confirmed", x, "");
	return 0;
}

int pairing_confirm(struct pairings *p, const char *machine, const struct pairing_typed *typed,
		    json_t **ret, struct err *err)
{
	struct note n = {.event = NULL};
	int r;

	pairings_tick(p);
	(void)pthread_mutex_lock(&p->lock);
	r = confirm_locked(p, machine, typed, ret, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	tell(p, &n);
	return r;
}

static int reject_locked(struct pairings *p, const char *machine, json_t **ret, struct note *n,
			 struct err *err)
{
	struct pairing *x = NULL;
	int r = resolve(p, machine, PAIRING_WAITING, PAIRING_CONFIRMED, &x, err);

	if (r < 0 || !x)
		return r;
	set_state(p, x, PAIRING_REJECTED);
	note(n, "pairing_rejected", x, "");
	*ret = view(p, x, false);
	if (!*ret)
		return out_of_memory(err);
	(void)json_object_del(*ret, "known");
	return 0;
}

int pairing_reject(struct pairings *p, const char *machine, json_t **ret, struct err *err)
{
	struct note n = {.event = NULL};
	int r;

	pairings_tick(p);
	(void)pthread_mutex_lock(&p->lock);
	r = reject_locked(p, machine, ret, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	tell(p, &n);
	return r;
}
