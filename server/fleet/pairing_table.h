/* pairing_table.h - between the files of pairing: one table, one lock.  Events are told after the lock was given back: they are written to the
 * state.
 *
 * A ticket is kept as its hash, as all secrets are. */
#ifndef SERVER_FLEET_PAIRING_TABLE_H
#define SERVER_FLEET_PAIRING_TABLE_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/id.h"
#include "common/pairing.h"
#include "server/fleet/pairing.h"

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
/* As the API has them. */
extern const char *const pairing_state_names[];

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
	unsigned registrations;
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

/* ---- the lock */

pthread_mutex_t *pairings_hold(struct pairings *p);
void pairings_unholdp(pthread_mutex_t **m);
/* Hold the lock for the current scope. */
#define LOCK(p)                                                              \
	CLEANUP(pairings_unholdp) pthread_mutex_t *held_ = pairings_hold(p); \
	(void)held_

/* ---- events */

/* An event in the making: told when the lock is given back. */
struct pairing_note {
	const char *event; /* NULL: none */
	char machine[MACHINE_ID_SIZE];
	char text[256];
};
void pairing_note(struct pairing_note *n, const char *event, const struct pairing *x,
		  const char *more);
/* The lock is not held. */
void pairings_tell(struct pairings *p, const struct pairing_note *n);

/* ---- the table; the lock is held */

/* Whoever waits is woken. */
void pairing_set_state(struct pairings *p, struct pairing *x, enum pairing_state state);
/* Nobody has decided yet. */
bool pairing_is_open(const struct pairing *x);
/* Of its life; 0: it is over. */
uint64_t pairing_left_ms(const struct pairings *p, const struct pairing *x);
/* NULL: there is none (any more). */
struct pairing *pairing_by_ticket(struct pairings *p, const char *ticket);

/* ---- times */

/* By the clock that the configuration names. */
uint64_t pairings_now(const struct pairings *p);
/* CLOCK_MONOTONIC, by which threads wait. */
uint64_t pairing_clock_ms(void);
#endif
