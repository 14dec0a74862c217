/* pair_wire.h - what a server answers a machine that pairs: docs/protocol.md "Pairing".  Pure. */
#ifndef AGENT_PAIR_WIRE_H
#define AGENT_PAIR_WIRE_H
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/pairing.h"

#define PAIR_TICKET_SIZE 65 /* 64 hex digits and NUL */

/* The name of a server that nobody knows, fit to stand beside a code on the screen: it shall not look like one, or it would be he who
 * chose the name who chose what the person types.  Letters, digits, '.', '_', '-', at most 32; one with six digits or more shows none. */
void pair_clean_name(const char *name, char ret[static NAME_MAX_LEN + 1]);

struct pair_begun {
	char ticket[PAIR_TICKET_SIZE];
	uint8_t random[PAIRING_RANDOM_SIZE];
	char name[NAME_MAX_LEN + 1]; /* of the server, cleaned */
	unsigned life_s;
};
/* -EPROTO */
int pair_begun_decode(const json_t *json, struct pair_begun *ret, struct err *err) MUST_CHECK;

enum pair_state { PAIR_WAITING, PAIR_CONFIRMED, PAIR_REJECTED, PAIR_WRONG_CODE, PAIR_ENDED };
struct pair_status {
	enum pair_state state;
	uint32_t proof; /* PAIR_CONFIRMED: what the operator typed beside the code */
};
/* -EPROTO */
int pair_status_decode(const json_t *json, struct pair_status *ret, struct err *err) MUST_CHECK;
#endif
