/* Operators: machines that pair. */
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

void api_confirm_pairing(struct call *c)
{
	json_t *answer = NULL;
	const char *text = NULL;
	uint32_t code = 0;
	struct err err;
	int r = json_get_str(c->json, "code", CODE_TEXT_MAX, &text, &err);

	if (r == 0 && !pairing_code_from_text(text, &code))
		r = err_set(&err, API_BAD_REQUEST, "field 'code' is not a code of six digits");
	if (r == 0)
		r = pairing_confirm(fleet_pairings(call_server(c)->fleet), c->match.params[0], code,
				    &answer, &err);
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
