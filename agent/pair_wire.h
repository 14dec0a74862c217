/* pair_wire.h - what a server answers a machine that pairs: docs/protocol.md "Pairing".  Pure. */
#ifndef AGENT_PAIR_WIRE_H
#define AGENT_PAIR_WIRE_H
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/pairing.h"

#define PAIR_TICKET_SIZE 65 /* 64 hex digits and NUL */

struct pair_begun {
	char ticket[PAIR_TICKET_SIZE];
	uint8_t random[PAIRING_RANDOM_SIZE];
	char name[NAME_MAX_LEN + 1]; /* of the server; printable ASCII, perhaps "" */
	unsigned life_s;
};
/* -EPROTO */
int pair_begun_decode(const json_t *json, struct pair_begun *ret, struct err *err) MUST_CHECK;

enum pair_state { PAIR_WAITING, PAIR_CONFIRMED, PAIR_REJECTED, PAIR_WRONG_CODE, PAIR_ENDED };
/* -EPROTO */
int pair_state_decode(const json_t *json, enum pair_state *ret, struct err *err) MUST_CHECK;
#endif
