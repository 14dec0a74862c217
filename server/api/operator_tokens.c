/* Operators: enrolment tokens. */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/json.h"
#include "server/api/api.h"
#include "server/fleet/rule.h"

#define USES_MAX    10000u
#define EXPIRES_MAX (10ull * 366 * 86400)

static json_t *token_json(const struct token_row *t, const char *token)
{
	char created[TIME_TEXT_SIZE], expires[TIME_TEXT_SIZE];

	time_to_text(t->created, created);
	time_to_text(t->expires, expires);
	return json_pack("{s:s, s:s, s:s?, s:I, s:I, s:s, s:s?, s:b, s:s*}", "id", t->id, "note",
			 t->note, "job", t->job[0] ? t->job : NULL, "uses", (json_int_t)t->uses,
			 "uses_left", (json_int_t)t->uses_left, "created", created, "expires",
			 t->expires ? expires : NULL, "revoked", (int)t->revoked, "token", token);
}

static bool has_control(const char *text)
{
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return true;
	}
	return false;
}

static int read_token(const json_t *body, struct token_row *t, struct err *err)
{
	uint64_t uses, expires = 0;
	const char *note = "", *job = "";
	struct rule rule;
	int r = json_get_u64(body, "uses", 1, USES_MAX, &uses, err);

	if (r == 0)
		r = json_opt_u64(body, "expires_s", 1, EXPIRES_MAX, &expires, err);
	if (r == 0)
		r = json_opt_str(body, "note", NOTE_SIZE - 1, &note, err);
	if (r == 0 && has_control(note))
		r = err_set(err, API_BAD_REQUEST, "field 'note' has control characters");
	if (r == 0)
		r = json_opt_str(body, "job", TOKEN_JOB_SIZE - 1, &job, err);
	if (r == 0 && job[0])
		r = rule_parse(job, &rule, err);
	if (r < 0)
		return r;
	t->uses = t->uses_left = (uint32_t)uses;
	t->created = time(NULL);
	t->expires = expires ? t->created + (int64_t)expires : 0;
	(void)snprintf(t->note, sizeof(t->note), "%s", note);
	(void)snprintf(t->job, sizeof(t->job), "%s", job);
	return 0;
}

void api_create_token(struct call *c)
{
	struct server *s = call_server(c);
	uint8_t bytes[32], id_bytes[(TOKEN_ID_SIZE - 1) / 2];
	struct token_row t = {0};
	char token[SECRET_TEXT_SIZE];
	struct id hash;
	struct err err;
	int r = read_token(c->json, &t, &err);

	if (r == 0 && (gnutls_rnd(GNUTLS_RND_KEY, bytes, sizeof(bytes)) < 0 ||
		       gnutls_rnd(GNUTLS_RND_NONCE, id_bytes, sizeof(id_bytes)) < 0))
		r = err_set(&err, API_INTERNAL, "The server has no random numbers.");
	if (r < 0) {
		call_fail_err(c, &err);
		return;
	}
	hex_encode(bytes, sizeof(bytes), token);
	hex_encode(id_bytes, sizeof(id_bytes), t.id);
	hash = id_of(token, strlen(token));
	r = state_add_token(s->state, &t, &hash, &err);
	(void)snprintf(c->object, sizeof(c->object), "%s%s%s", t.id, t.job[0] ? ", " : "", t.job);
	if (r == 0)
		fleet_event(s->fleet, "token_created", "", "", "%s, %u uses", t.id, t.uses);
	api_answer(c, r, 201, r < 0 ? NULL : token_json(&t, token), &err);
	explicit_bzero(token, sizeof(token));
	explicit_bzero(bytes, sizeof(bytes));
}

static int add_token(void *arg, const struct token_row *t)
{
	return json_array_append_new(arg, token_json(t, NULL)) < 0 ? -ENOMEM : 0;
}

void api_list_tokens(struct call *c)
{
	CLEANUP_JSON json_t *array = json_array();
	struct err err;
	int r = state_each_token(call_server(c)->state, add_token, array, &err);

	if (r == -ENOMEM)
		(void)err_set(&err, r, "The server is out of memory; ask again.");
	api_answer(c, r, 200, r < 0 ? NULL : json_pack("{s:O}", "tokens", array), &err);
}

void api_revoke_token(struct call *c)
{
	struct server *s = call_server(c);
	struct err err;

	if (state_revoke_token(s->state, c->match.params[0], &err) < 0) {
		call_fail_err(c, &err);
		return;
	}
	fleet_event(s->fleet, "token_revoked", "", "", "%s", c->match.params[0]);
	call_answer_empty(c);
}
