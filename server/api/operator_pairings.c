/* Operators: machines that pair. */
#include <stdio.h>

#include "common/json.h"
#include "server/api/api.h"

#define CODE_TEXT_MAX 16u

void api_list_pairings(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_list_pairings(call_server(c)->fleet, &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

static int read_digits(const json_t *body, const char *key, uint32_t *ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(body, key, CODE_TEXT_MAX, &text, err);

	if (r == 0 && !pairing_code_from_text(text, ret))
		r = err_set(err, API_BAD_REQUEST, "field '%s' is not six digits", key);
	return r;
}

void api_confirm_pairing(struct call *c)
{
	struct pairing_typed typed = {0, 0};
	bool replace = false;
	json_t *answer = NULL;
	struct err err;
	int r = read_digits(c->json, "code", &typed.code, &err);

	if (r == 0)
		r = read_digits(c->json, "proof", &typed.proof, &err);
	if (r == 0)
		r = json_opt_bool(c->json, "replace", &replace, &err);
	if (replace)
		(void)snprintf(c->object, sizeof(c->object), "%.128s, replace", c->match.params[0]);
	if (r == 0)
		r = fleet_confirm_pairing(call_server(c)->fleet, c->match.params[0], &typed,
					  replace, &answer, &err);
	api_answer(c, r, 200, answer, &err);
}

void api_reject_pairing(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = pairing_reject(fleet_pairings(call_server(c)->fleet), c->match.params[0], &answer,
			       &err);

	api_answer(c, r, 200, answer, &err);
}
