#include "agent/pair_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/id.h"

#define LIFE_MAX_S     86400u
#define NAME_SHOWN_MAX 32u
#define CODE_DIGITS    6u

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_fit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '.' ||
	       c == '_' || c == '-' || c == '#';
}

void pair_clean_name(const char *name, char ret[static NAME_MAX_LEN + 1])
{
	size_t len = strnlen(name, NAME_SHOWN_MAX), digits = 0;

	for (size_t i = 0; i < len; i++) {
		ret[i] = (char)(is_fit(name[i]) ? name[i] : '?');
		digits += is_digit(name[i]);
	}
	for (size_t i = 0; i < len && digits >= CODE_DIGITS; i++)
		ret[i] = (char)(is_digit(ret[i]) ? '#' : ret[i]);
	ret[len] = '\0';
}

int pair_begun_decode(const json_t *json, struct pair_begun *ret, struct err *err)
{
	const char *ticket = "", *random = "", *name = "";
	uint64_t life_s = 0;
	struct pair_begun x = {.name = ""};
	struct id ignored;
	int r = json_get_str(json, "pairing", PAIR_TICKET_SIZE - 1, &ticket, err);

	if (r == 0)
		r = json_get_str(json, "random", 2 * PAIRING_RANDOM_SIZE, &random, err);
	if (r == 0)
		r = json_opt_str(json, "name", NAME_MAX_LEN, &name, err);
	if (r == 0)
		r = json_get_u64(json, "expires_s", 1, LIFE_MAX_S, &life_s, err);
	if (r < 0)
		return r;
	if (!id_from_text(ticket, &ignored))
		return err_set(err, -EPROTO, "field 'pairing' is not 64 hex digits");
	if (!hex_decode(random, x.random, sizeof(x.random)))
		return err_set(err, -EPROTO, "field 'random' is not 64 hex digits");
	pair_clean_name(name, x.name);
	memcpy(x.ticket, ticket, sizeof(x.ticket));
	x.life_s = (unsigned)life_s;
	*ret = x;
	return 0;
}

static int state_decode(const json_t *json, enum pair_state *ret, struct err *err)
{
	static const char *const names[] = {
		[PAIR_WAITING] = "waiting",   [PAIR_CONFIRMED] = "confirmed",
		[PAIR_REJECTED] = "rejected", [PAIR_WRONG_CODE] = "wrong_code",
		[PAIR_ENDED] = "ended",
	};
	const char *text = "";
	int r = json_get_str(json, "state", 16, &text, err);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum pair_state)i;
			return 0;
		}
	}
	return err_set(err, -EPROTO, "field 'state' has a word that is no state");
}

int pair_status_decode(const json_t *json, struct pair_status *ret, struct err *err)
{
	struct pair_status x = {PAIR_ENDED, 0};
	const char *proof = "";
	int r = state_decode(json, &x.state, err);

	if (r == 0 && x.state == PAIR_CONFIRMED)
		r = json_get_str(json, "proof", 6, &proof, err);
	if (r == 0 && x.state == PAIR_CONFIRMED && !pairing_code_from_text(proof, &x.proof))
		r = err_set(err, -EPROTO, "field 'proof' is not six digits");
	if (r == 0)
		*ret = x;
	return r;
}
