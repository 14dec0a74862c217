/* Agents without a token: docs/protocol.md "Pairing". */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "server/api/api.h"

#define VERSION_MAX    (AGENT_VERSION_SIZE - 1)
#define MACHINE_DIGITS (MACHINE_ID_SIZE - 1)
#define DIGITS	       64u /* of commitments, random values and tickets */

/* A field of exactly 32 bytes in hex. */
static int read_32(const json_t *body, const char *key, uint8_t *ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(body, key, DIGITS, &text, err);

	if (r == 0 && (!api_is_hex(text, DIGITS) || !hex_decode(text, ret, DIGITS / 2)))
		r = err_set(err, API_BAD_REQUEST, "field '%s' is not 64 hex digits", key);
	return r;
}

static int read_ticket(const json_t *body, const char **ret, struct err *err)
{
	int r = json_get_str(body, "pairing", DIGITS, ret, err);

	if (r == 0 && !api_is_hex(*ret, DIGITS))
		r = err_set(err, API_BAD_REQUEST, "field 'pairing' is not 64 hex digits");
	return r;
}

static int read_begin(const json_t *body, struct pairing_begin *b, struct err *err)
{
	int r = json_get_str(body, "machine_id", MACHINE_DIGITS, &b->machine, err);

	if (r == 0)
		r = json_get_str(body, "name", NAME_MAX_LEN, &b->name, err);
	if (r == 0)
		r = json_get_str(body, "agent_version", VERSION_MAX, &b->agent_version, err);
	if (r == 0)
		r = read_32(body, "commitment", b->commitment, err);
	if (r < 0)
		return r;
	if (!api_is_hex(b->machine, MACHINE_DIGITS))
		return err_set(err, API_BAD_REQUEST, "field 'machine_id' is not 32 hex digits");
	if (!api_is_plain(b->name, NAME_MAX_LEN))
		return err_set(err, API_BAD_REQUEST,
			       "field 'name' is not 1 to 64 printable ASCII characters");
	if (!api_is_plain(b->agent_version, VERSION_MAX))
		return err_set(err, API_BAD_REQUEST,
			       "field 'agent_version' is not 1 to 32 printable ASCII characters");
	return 0;
}

void api_pair(struct call *c)
{
	struct server *s = call_server(c);
	struct pairing_begin b = {.address = c->peer};
	struct pairing_begun begun = {{0}, {0}, 0};
	char random[2 * PAIRING_RANDOM_SIZE + 1];
	unsigned retry_s = 0;
	struct err err;
	int r = read_begin(c->json, &b, &err);

	if (r == 0)
		r = pairing_begin(fleet_pairings(s->fleet), &b, &begun, &retry_s, &err);
	if (r < 0) {
		call_fail_err(c, &err);
		if (retry_s > 0)
			c->retry_after_s = retry_s;
		return;
	}
	hex_encode(begun.random, sizeof(begun.random), random);
	call_answer(c, 201,
		    json_pack("{s:s, s:s, s:s, s:I}", "pairing", begun.ticket, "random", random,
			      "name", s->name, "expires_s", (json_int_t)begun.life_s));
	explicit_bzero(&begun, sizeof(begun));
}

static const char *proof_text(const struct pairing_status *status, char buf[static 8])
{
	(void)snprintf(buf, 8, "%06u", (unsigned)(status->proof % PAIRING_CODES));
	return status->has_proof ? buf : NULL;
}

static void answer_status(struct call *c, int r, const struct pairing_status *status,
			  const struct err *err)
{
	char proof[8];
	json_t *answer =
		r < 0 ? NULL
		      : json_pack("{s:s, s:I, s:s*}", "state", status->state, "expires_s",
				  (json_int_t)status->left_s, "proof", proof_text(status, proof));

	api_answer(c, r, 200, answer, err);
}

void api_pair_reveal(struct call *c)
{
	uint8_t random[PAIRING_RANDOM_SIZE];
	struct pairing_status status = {.state = NULL};
	const char *ticket = NULL;
	struct err err;
	int r = read_ticket(c->json, &ticket, &err);

	if (r == 0)
		r = read_32(c->json, "random", random, &err);
	if (r == 0)
		r = pairing_reveal(fleet_pairings(call_server(c)->fleet), ticket, random, &status,
				   &err);
	answer_status(c, r, &status, &err);
}

void api_pair_wait(struct call *c)
{
	struct pairing_status status = {.state = NULL};
	const char *ticket = NULL;
	struct err err;
	int r = read_ticket(c->json, &ticket, &err);

	if (r == 0)
		r = pairing_wait(fleet_pairings(call_server(c)->fleet), ticket, &status, &err);
	answer_status(c, r, &status, &err);
}
