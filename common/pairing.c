/* pairing.c - what is hashed has a fixed size but for the name, which comes last: two different sets of facts never give the same bytes. */
#include "common/pairing.h"

#include <stdio.h>
#include <string.h>

#include "common/blake3.h"
#include "common/limits.h"

#define LABEL_SIZE 32

static void begin(struct blake3 *h, const char *label)
{
	char padded[LABEL_SIZE] = {0};

	(void)snprintf(padded, sizeof(padded), "%s", label);
	blake3_init(h);
	blake3_update(h, padded, sizeof(padded));
}

void pairing_commit(const uint8_t machine[static 16],
		    const uint8_t agent_random[static PAIRING_RANDOM_SIZE],
		    uint8_t ret[static PAIRING_COMMITMENT_SIZE])
{
	struct blake3 h;

	begin(&h, "hoist pairing v1: commitment");
	blake3_update(&h, machine, 16);
	blake3_update(&h, agent_random, PAIRING_RANDOM_SIZE);
	blake3_final(&h, ret);
}

uint32_t pairing_code(const struct pairing_facts *f)
{
	uint8_t hash[BLAKE3_OUT_SIZE];
	struct blake3 h;
	uint64_t v = 0;

	begin(&h, "hoist pairing v1: code");
	blake3_update(&h, f->machine, sizeof(f->machine));
	blake3_update(&h, f->key, sizeof(f->key));
	blake3_update(&h, f->agent_random, sizeof(f->agent_random));
	blake3_update(&h, f->server_random, sizeof(f->server_random));
	blake3_update(&h, f->name, strnlen(f->name, NAME_MAX_LEN));
	blake3_final(&h, hash);
	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)hash[i] << 8 * i;
	return (uint32_t)(v % PAIRING_CODES);
}

const char *pairing_code_text(uint32_t code, char ret[static PAIRING_TEXT_SIZE])
{
	code %= PAIRING_CODES;
	(void)snprintf(ret, PAIRING_TEXT_SIZE, "%03u %03u", (unsigned)(code / 1000),
		       (unsigned)(code % 1000));
	return ret;
}

bool pairing_code_from_text(const char *text, uint32_t *ret)
{
	uint32_t code = 0;
	unsigned digits = 0;

	for (const char *p = text; *p; p++) {
		if (*p == ' ' || *p == '-')
			continue;
		if (*p < '0' || *p > '9' || digits == 6)
			return false;
		code = code * 10 + (uint32_t)(*p - '0');
		digits++;
	}
	if (digits != 6)
		return false;
	*ret = code;
	return true;
}
