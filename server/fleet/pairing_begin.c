/* pairing_begin.c - who may begin a pairing. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "server/fleet/pairing_table.h"

#define REFUSED_LOG_MS 10000u /* refusals are logged so often at most */

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
		uint64_t left = pairing_left_ms(p, x);

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
			c.open = pairing_is_open(x) ? x : c.open;
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
	    pairings_now(p) - c->open->heard_ms < PAIRING_QUIET_MS) {
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
			struct pairing_begun *ret, unsigned *ret_retry_s, struct pairing_note *n,
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
		pairing_set_state(p, c.open, PAIRING_ENDED); /* it was restarted */
	memcpy(fresh.facts.key, p->config.key, sizeof(fresh.facts.key));
	fresh.life_ms = fresh.heard_ms = pairings_now(p);
	fresh.begun = time(NULL);
	*c.free = fresh;
	c.free->facts.name = c.free->name;
	pairing_note(n, "pairing_begun", c.free, c.open ? ", in place of the one before" : "");
	ret->life_s = p->config.life_s;
	return 0;
}

/* A flood shall not fill the log. */
static void log_refusal(struct pairings *p, const struct pairing_begin *b, const struct err *err)
{
	unsigned times;

	(void)pthread_mutex_lock(&p->lock);
	times = ++p->refused;
	if (p->refused_ms != 0 && pairings_now(p) - p->refused_ms < REFUSED_LOG_MS) {
		times = 0;
	} else {
		p->refused = 0;
		p->refused_ms = pairings_now(p) ? pairings_now(p) : 1;
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (times > 0)
		log_event(LOG_WARN, "pairing_refused", "machine=%s peer=%s times=%u reason=\"%s\"",
			  b->machine, b->address, times, err->msg);
}

int pairing_begin(struct pairings *p, const struct pairing_begin *b, struct pairing_begun *ret,
		  unsigned *ret_retry_s, struct err *err)
{
	struct pairing_note n = {.event = NULL};
	int r;

	*ret_retry_s = 0;
	pairings_tick(p);
	(void)pthread_mutex_lock(&p->lock);
	r = begin_locked(p, b, ret, ret_retry_s, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	pairings_tell(p, &n);
	if (r < 0)
		log_refusal(p, b, err);
	return r;
}
