/* pairing.c - what an agent does after the beginning: it reveals, waits and registers. */
#include "server/fleet/pairing.h"

#include <string.h>
#include <time.h>

#include "server/fleet/pairing_table.h"

static int no_pairing(struct err *err)
{
	return err_set(err, API_NOT_FOUND, "There is no such pairing (any more): begin a new one.");
}

static struct pairing_status status_of(const struct pairings *p, const struct pairing *x)
{
	return (struct pairing_status){.state = pairing_state_names[x->state],
				       .left_s = (unsigned)(pairing_left_ms(p, x) / 1000),
				       .has_proof = x->state == PAIRING_CONFIRMED ||
						    x->state == PAIRING_REGISTERED,
				       .proof = x->proof};
}

/* ---- revealing and waiting */

static int reveal_locked(struct pairings *p, const char *ticket, const uint8_t *random,
			 struct pairing_status *ret, struct pairing_note *n, struct err *err)
{
	struct pairing *x = pairing_by_ticket(p, ticket);
	uint8_t commitment[PAIRING_COMMITMENT_SIZE];

	if (!x)
		return no_pairing(err);
	x->heard_ms = pairings_now(p);
	if (x->state == PAIRING_BEGUN) {
		pairing_commit(x->facts.machine, random, commitment);
		if (memcmp(commitment, x->commitment, sizeof(commitment)) != 0) {
			pairing_set_state(p, x, PAIRING_ENDED);
			pairing_note(n, "pairing_forged", x,
				     ", revealed what it had not committed to");
			return err_set(err, API_BAD_REQUEST,
				       "This is not what was committed to; the pairing has ended.");
		}
		memcpy(x->facts.agent_random, random, PAIRING_RANDOM_SIZE);
		x->code = pairing_code(&x->facts);
		pairing_set_state(p, x, PAIRING_WAITING);
	}
	*ret = status_of(p, x);
	return 0;
}

int pairing_reveal(struct pairings *p, const char *ticket,
		   const uint8_t random[static PAIRING_RANDOM_SIZE], struct pairing_status *ret,
		   struct err *err)
{
	struct pairing_note n = {.event = NULL};
	int r;

	(void)pthread_mutex_lock(&p->lock);
	r = reveal_locked(p, ticket, random, ret, &n, err);
	(void)pthread_mutex_unlock(&p->lock);
	pairings_tell(p, &n);
	return r;
}

/* The lock is held; it is given back while waiting, and the pairing may be gone then. */
static struct pairing *wait_locked(struct pairings *p, const char *ticket)
{
	struct pairing *x = pairing_by_ticket(p, ticket);
	uint64_t me = ++p->waiters, end = pairing_clock_ms() + p->config.poll_s * 1000ull;
	struct timespec until = {.tv_sec = (time_t)(end / 1000),
				 .tv_nsec = (long)(end % 1000) * 1000000};

	if (x) {
		x->waiter = me;
		if (x->state != PAIRING_BEGUN) /* one that reveals nothing is not kept alive */
			x->heard_ms = pairings_now(p);
		(void)pthread_cond_broadcast(&p->changed); /* of its former call */
	}
	while (x && pairing_is_open(x) && x->waiter == me && !p->stopping) {
		int r = pthread_cond_timedwait(&p->changed, &p->lock, &until);

		x = pairing_by_ticket(p, ticket);
		if (x && x->waiter == me && x->state != PAIRING_BEGUN)
			x->heard_ms = pairings_now(p);
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

	x = pairing_by_ticket(p, ticket);
	return x && (x->state == PAIRING_CONFIRMED || x->state == PAIRING_REGISTERED) &&
	       x->registrations < PAIRING_REGISTRATIONS_MAX && strcmp(x->machine, machine) == 0;
}

void pairing_registered(struct pairings *p, const char *ticket)
{
	struct pairing *x;
	LOCK(p);

	x = pairing_by_ticket(p, ticket);
	if (x)
		x->registrations++;
	if (x && x->state == PAIRING_CONFIRMED)
		pairing_set_state(p, x, PAIRING_REGISTERED);
}

void pairing_forget(struct pairings *p, const char *machine)
{
	LOCK(p);

	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if (strcmp(x->machine, machine) == 0 &&
		    (x->state == PAIRING_CONFIRMED || x->state == PAIRING_REGISTERED))
			pairing_set_state(p, x, PAIRING_ENDED);
	}
}
