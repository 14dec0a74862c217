/* Operators: logging in and out, one's own password and tokens. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "server/api/api.h"

#define TOKEN_LIFE_MAX (366ull * 86400)

static const char *kind_name(enum caller_kind kind)
{
	static const char *const names[] = {"nobody", "file", "session", "token"};

	return names[kind];
}

static json_t *time_json(int64_t t)
{
	char text[TIME_TEXT_SIZE];

	if (t == 0)
		return json_null();
	time_to_text(t, text);
	return json_string(text);
}

static json_t *credential_json(const struct credential_row *c, const char *secret)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:s*}", "id", c->id, "operator",
			 c->operator, "name", c->name, "role", role_name(c->role), "address",
			 c->address, "created", time_json(c->created), "expires",
			 time_json(c->expires), "used", time_json(c->used), "token", secret);
}

/* ---- sessions */

void api_login(struct call *c)
{
	struct server *s = call_server(c);
	const char *name = "", *password = "";
	CLEANUP(access_grant_done) struct access_grant g = {.secret = ""};
	struct err err;
	int r = json_get_str(c->json, "name", NAME_MAX_LEN, &name, &err);

	if (r == 0)
		r = json_get_str(c->json, "password", PASSWORD_MAX, &password, &err);
	(void)snprintf(c->object, sizeof(c->object), "%s", name);
	if (r == 0)
		r = access_login(s->access, name, password, c->peer, &g, &err);
	if (r < 0) {
		call_fail_err(c, &err);
		return;
	}
	(void)snprintf(c->caller.name, sizeof(c->caller.name), "%s", name);
	memcpy(c->caller.credential, g.row.id, sizeof(c->caller.credential));
	call_answer(c, 201,
		    json_pack("{s:s, s:s, s:s, s:o, s:I}", "token", g.secret, "name",
			      g.row.operator, "role", role_name(g.row.role), "expires",
			      time_json(g.row.expires), "idle_s",
			      (json_int_t)s->config->session_idle_s));
}

void api_show_session(struct call *c)
{
	const struct caller *who = &c->caller;

	call_answer(c, 200,
		    json_pack("{s:s, s:s, s:s, s:o}", "name", who->name, "role",
			      role_name(who->role), "kind", kind_name(who->kind), "expires",
			      time_json(who->expires)));
}

void api_logout(struct call *c)
{
	struct err err;

	if (c->caller.kind == CALLER_FILE) {
		call_fail(c, API_CONFLICT,
			  "The token in operator.token is not ended like this: replace the file "
			  "and restart the server.");
	} else if (state_remove_credential(call_server(c)->state, c->caller.credential,
					   c->caller.name, &err) < 0) {
		call_fail_err(c, &err);
	} else {
		call_answer_empty(c);
	}
}

void api_change_password(struct call *c)
{
	const char *old = "", *password = "";
	struct err err;
	int r = json_get_str(c->json, "old", PASSWORD_MAX, &old, &err);

	(void)snprintf(c->object, sizeof(c->object), "%s", c->caller.name);
	if (r == 0)
		r = json_get_str(c->json, "new", PASSWORD_MAX, &password, &err);
	if (r == 0 && c->caller.kind != CALLER_SESSION)
		r = err_set(&err, API_FORBIDDEN, "This needs a session: log in first.");
	if (r == 0)
		r = access_change_password(call_server(c)->access, &c->caller, old, password,
					   c->peer, &err);
	if (r < 0)
		call_fail_err(c, &err);
	else
		call_answer_empty(c);
}

/* ---- tokens */

/* For oneself ("": none was named) by a session; whoever has the file may make them for others. */
static int check_owner(const struct call *c, const char **owner, struct err *err)
{
	if (c->caller.kind == CALLER_TOKEN)
		return err_set(err, API_FORBIDDEN,
			       "Tokens make no tokens: log in with the password first.");
	if (!**owner && c->caller.kind == CALLER_FILE)
		return err_set(err, API_BAD_REQUEST,
			       "field 'operator' is missing: whose token is it to be?");
	if (!**owner)
		*owner = c->caller.name;
	if (c->caller.kind != CALLER_FILE && strcmp(*owner, c->caller.name) != 0)
		return err_set(err, API_FORBIDDEN, "Tokens are made for oneself only.");
	return 0;
}

static int check_role(struct call *c, const char *owner, const char *wanted, enum role *ret,
		      struct err *err)
{
	struct operator_row o = {.role = ROLE_NONE};
	int r = state_get_operator(call_server(c)->state, owner, &o, err);

	if (r < 0)
		return r;
	explicit_bzero(o.password, sizeof(o.password));
	*ret = wanted ? role_from_name(wanted) : o.role;
	if (*ret == ROLE_NONE)
		return err_set(err, API_BAD_REQUEST,
			       "field 'role' is none of viewer, operator, admin");
	if (*ret > o.role) {
		return err_set(err, API_FORBIDDEN,
			       "A token's role is not above its owner's: '%s' is %s.", owner,
			       role_name(o.role));
	}
	return 0;
}

static int read_token(struct call *c, struct credential_row *t, uint64_t *ret_expires_s,
		      struct err *err)
{
	const char *name = "", *role = NULL, *owner = "";
	int r = json_get_str(c->json, "name", NAME_MAX_LEN, &name, err);

	if (r == 0 && !name_is_valid(name))
		r = err_set(err, API_BAD_REQUEST,
			    "field 'name' is not 1 to 64 letters, digits, '.', '_' or '-'");
	if (r == 0)
		r = json_opt_str(c->json, "role", 16, &role, err);
	if (r == 0)
		r = json_opt_str(c->json, "operator", NAME_MAX_LEN, &owner, err);
	if (r == 0)
		r = json_get_u64(c->json, "expires_s", 1, TOKEN_LIFE_MAX, ret_expires_s, err);
	if (r == 0)
		r = check_owner(c, &owner, err);
	if (r == 0)
		r = check_role(c, owner, role, &t->role, err);
	if (r < 0)
		return r;
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	(void)snprintf(t->operator, sizeof(t->operator), "%s", owner);
	(void)snprintf(t->address, sizeof(t->address), "%s", c->peer);
	return 0;
}

void api_create_access_token(struct call *c)
{
	CLEANUP(access_grant_done) struct access_grant g = {.secret = ""};
	struct credential_row t = {.is_session = false};
	uint64_t expires_s = 0;
	struct err err;
	int r = read_token(c, &t, &expires_s, &err);

	if (r == 0)
		r = access_add_token(call_server(c)->access, &t, (int64_t)expires_s, &g, &err);
	if (r == 0)
		(void)snprintf(c->object, sizeof(c->object), "%s '%s' of %s, %s", g.row.id, t.name,
			       t.operator, role_name(t.role));
	api_answer(c, r, 201, r < 0 ? NULL : credential_json(&g.row, g.secret), &err);
}

static int add_token(void *arg, const struct credential_row *t)
{
	if (t->is_session)
		return 0;
	return json_array_append_new(arg, credential_json(t, NULL)) < 0 ? -ENOMEM : 0;
}

/* One's own; an admin's is everybody's. */
static const char *reach(const struct call *c)
{
	return c->caller.role == ROLE_ADMIN ? NULL : c->caller.name;
}

void api_list_access_tokens(struct call *c)
{
	CLEANUP_JSON json_t *array = json_array();
	struct err err;
	int r = state_each_credential(call_server(c)->state, reach(c), add_token, array, &err);

	if (r == -ENOMEM)
		(void)err_set(&err, r, "The server is out of memory; ask again.");
	api_answer(c, r, 200, r < 0 ? NULL : json_pack("{s:O}", "access_tokens", array), &err);
}

void api_revoke_access_token(struct call *c)
{
	struct err err;

	if (state_remove_credential(call_server(c)->state, c->match.params[0], reach(c), &err) < 0)
		call_fail_err(c, &err);
	else
		call_answer_empty(c);
}
