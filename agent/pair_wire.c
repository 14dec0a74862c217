#include "agent/pair_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/id.h"

#define LIFE_MAX_S 86400u

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
	for (size_t i = 0; name[i]; i++)
		x.name[i] = (char)(name[i] < 0x20 || name[i] > 0x7e ? '?' : name[i]);
	memcpy(x.ticket, ticket, sizeof(x.ticket));
	x.life_s = (unsigned)life_s;
	*ret = x;
	return 0;
}

int pair_state_decode(const json_t *json, enum pair_state *ret, struct err *err)
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
	return err_set(err, -EPROTO, "field 'state' is '%.16s', which is no state", text);
}
