/* pairing.h - machines that have nothing but their screen to prove who they are by: docs/protocol.md "Pairing", the server's side.
 *
 *	begun --reveal--> waiting --the operator--> confirmed --registration--> registered
 *	   \_______________ \___________________> rejected, wrong_code, ended
 *
 * All is in memory, in a table that is made at the start and never grows.  A pairing keeps its place in it until its life is over, however it
 * ended, unless it was confirmed: so the size of the table, and how many of it one address and one machine may have, are also the rates.
 *
 * All functions may be called from any thread.  Errors are those of server/api_error.h, the sentence meant for the person who asked. */
#ifndef SERVER_FLEET_PAIRING_H
#define SERVER_FLEET_PAIRING_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/pairing.h"
#include "server/api_error.h"
#include "server/state/state.h"

#define PAIRING_TICKET_SIZE 65	   /* 64 hex digits and NUL */
#define PAIRING_QUIET_MS    60000u /* without a word of its agent a pairing ends */
#define PAIRING_REGISTRATIONS_MAX \
	30u /* by one ticket: answers are lost, but an agent waits longer after each */

struct pairings;

struct pairings_config {
	bool enabled;
	uint8_t key[32]; /* fingerprint of the server's key */
	unsigned life_s, max, per_peer_max;
	unsigned poll_s;	  /* longest wait of an agent */
	uint64_t (*now_ms)(void); /* monotonic; of tests, else NULL */
	/* Something happened that a person may want to read of later; no lock is held. */
	void (*event)(void *ctx, const char *event, const char *machine, const char *text);
	void *ctx;
};

/* NULL: out of memory. */
struct pairings *pairings_new(const struct pairings_config *config);
/* Wake all that wait, and let nobody wait any more. */
void pairings_stop(struct pairings *p);
void pairings_free(struct pairings *p);
/* End those whose time is over; to be called every second or so. */
void pairings_tick(struct pairings *p);

/* ---- agents */

struct pairing_begin {
	const char *machine; /* 32 hex digits */
	const char *name, *agent_version, *address;
	uint8_t commitment[PAIRING_COMMITMENT_SIZE];
};
struct pairing_begun {
	char ticket[PAIRING_TICKET_SIZE];
	uint8_t random[PAIRING_RANDOM_SIZE];
	unsigned life_s;
};
/* API_FORBIDDEN, API_CONFLICT, API_RATE_LIMITED with *ret_retry_s. */
int pairing_begin(struct pairings *p, const struct pairing_begin *b, struct pairing_begun *ret,
		  unsigned *ret_retry_s, struct err *err) MUST_CHECK;
struct pairing_status {
	const char *state; /* static */
	unsigned left_s;
	bool has_proof; /* once it is confirmed */
	uint32_t proof; /* what was typed beside the code: the machine's screen alone knows it */
};
/* API_NOT_FOUND; API_BAD_REQUEST: it is not what was committed to. */
int pairing_reveal(struct pairings *p, const char *ticket,
		   const uint8_t random[static PAIRING_RANDOM_SIZE], struct pairing_status *ret,
		   struct err *err) MUST_CHECK;
/* Waits while nobody has decided.  A later call for the same pairing ends this one's wait. */
int pairing_wait(struct pairings *p, const char *ticket, struct pairing_status *ret,
		 struct err *err) MUST_CHECK;
/* May `machine` register with this ticket? */
bool pairing_admits(struct pairings *p, const char *ticket, const char *machine);
/* It has.  (Its ticket goes on being good, a bounded number of times: the answer may have been lost.) */
void pairing_registered(struct pairings *p, const char *ticket);

/* The machine was forgotten: its tickets are worth nothing any more. */
void pairing_forget(struct pairings *p, const char *machine);

/* ---- operators; `machine` as in fleet_show_machine */

/* {"pairings": [PAIRING...]}; `known` tells whether a machine of that id has registered. */
int pairings_list(struct pairings *p, bool (*known)(void *ctx, const char *machine), void *ctx,
		  json_t **ret, struct err *err) MUST_CHECK;
/* The whole id of the machine that the operator means.  API_NOT_FOUND, API_CONFLICT */
int pairing_find(struct pairings *p, const char *name, char ret_machine[static MACHINE_ID_SIZE],
		 struct err *err) MUST_CHECK;
/* -> PAIRING.  API_NOT_FOUND, API_CONFLICT (several are meant), API_WRONG_CODE: it has ended. */
struct pairing_typed {
	uint32_t code; /* is compared here */
	uint32_t
		proof; /* is handed to the agent, if the code is right: it shows that the screen was looked at */
};
int pairing_confirm(struct pairings *p, const char *machine, const struct pairing_typed *typed,
		    json_t **ret, struct err *err) MUST_CHECK;
int pairing_reject(struct pairings *p, const char *machine, json_t **ret,
		   struct err *err) MUST_CHECK;
#endif
