/* pairing.h - the short code that a machine's screen and the server show: docs/protocol.md "Pairing".  Pure. */
#ifndef COMMON_PAIRING_H
#define COMMON_PAIRING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAIRING_RANDOM_SIZE	32u
#define PAIRING_COMMITMENT_SIZE 32u
#define PAIRING_CODES		1000000u
#define PAIRING_TEXT_SIZE	8u /* "482 913" and NUL */
#define PAIRING_BEGINS_MAX	3u /* of one machine at one server within one life of a pairing */

/* What both sides put into the code. */
struct pairing_facts {
	uint8_t machine[16];
	uint8_t key[32]; /* fingerprint of the server's key, as each side knows it by itself */
	uint8_t agent_random[PAIRING_RANDOM_SIZE];
	uint8_t server_random[PAIRING_RANDOM_SIZE];
	const char *name; /* of the machine, 1 to NAME_MAX_LEN bytes */
};

/* What the agent sends before it knows anything of the server's random value. */
void pairing_commit(const uint8_t machine[static 16],
		    const uint8_t agent_random[static PAIRING_RANDOM_SIZE],
		    uint8_t ret[static PAIRING_COMMITMENT_SIZE]);
/* 0 to 999,999. */
uint32_t pairing_code(const struct pairing_facts *f);
/* "482 913".  Returns `ret`. */
const char *pairing_code_text(uint32_t code, char ret[static PAIRING_TEXT_SIZE]);
/* Six digits, spaces and '-' between them ignored; false for anything else. */
bool pairing_code_from_text(const char *text, uint32_t *ret);
#endif
