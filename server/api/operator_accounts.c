/* Admins: who the operators are. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "server/api/api.h"

static json_t *operator_json(const struct operator_row *o)
{
	char created[TIME_TEXT_SIZE], changed[TIME_TEXT_SIZE];

	time_to_text(o->created, created);
	time_to_text(o->changed, changed);
	return json_pack("{s:s, s:s, s:s, s:s}", "name", o->name, "role", role_name(o->role),
			 "created", created, "changed", changed);
}

static int add_operator(void *arg, const struct operator_row *o)
{
	return json_array_append_new(arg, operator_json(o)) < 0 ? -ENOMEM : 0;
}

void api_list_operators(struct call *c)
{
	CLEANUP_JSON json_t *array = json_array();
	struct err err;
	int r = state_each_operator(call_server(c)->state, add_operator, array, &err);

	if (r == -ENOMEM)
		(void)err_set(&err, r, "The server is out of memory; ask again.");
	api_answer(c, r, 200, r < 0 ? NULL : json_pack("{s:O}", "operators", array), &err);
}

/* What may be absent stays as it is. */
static int read_change(const json_t *body, enum role *role, const char **password, struct err *err)
{
	const char *name = NULL;
	int r = json_opt_str(body, "role", 16, &name, err);

	if (r == 0 && name) {
		*role = role_from_name(name);
		if (*role == ROLE_NONE)
			r = err_set(err, API_BAD_REQUEST,
				    "field 'role' is none of viewer, operator, admin");
	}
	return r < 0 ? r : json_opt_str(body, "password", PASSWORD_MAX, password, err);
}

/* Who finds a token is not to make himself an operator who outlives it. */
static int check_kind(const struct call *c, struct err *err)
{
	if (c->caller.kind != CALLER_TOKEN)
		return 0;
	return err_set(err, API_FORBIDDEN, "Operators are not changed by a token: log in first.");
}

static void answer_operator(struct call *c, unsigned status, const char *name)
{
	struct operator_row o = {.role = ROLE_NONE};
	struct err err;
	int r = state_get_operator(call_server(c)->state, name, &o, &err);

	api_answer(c, r, status, r < 0 ? NULL : operator_json(&o), &err);
	explicit_bzero(o.password, sizeof(o.password));
}

void api_create_operator(struct call *c)
{
	const char *name = "", *password = NULL;
	enum role role = ROLE_NONE;
	struct err err;
	int r = check_kind(c, &err);

	if (r == 0)
		r = json_get_str(c->json, "name", NAME_MAX_LEN, &name, &err);
	if (r == 0 && !name_is_valid(name)) {
		r = err_set(
			&err, API_BAD_REQUEST,
			"field 'name' is not 1 to 64 letters, digits, '.', '_' or '-', the first "
			"one a letter or digit");
	}
	if (r == 0)
		r = read_change(c->json, &role, &password, &err);
	if (r == 0 && (role == ROLE_NONE || !password))
		r = err_set(&err, API_BAD_REQUEST, "an operator needs 'role' and 'password'");
	(void)snprintf(c->object, sizeof(c->object), "%s, %s", name, role_name(role));
	if (r == 0)
		r = access_add_operator(call_server(c)->access, &c->caller, name, role, password,
					&err);
	if (r < 0)
		call_fail_err(c, &err);
	else
		answer_operator(c, 201, name);
}

void api_change_operator(struct call *c)
{
	const char *name = c->match.params[0], *password = NULL;
	enum role role = ROLE_NONE;
	struct err err;
	int r = check_kind(c, &err);

	if (r == 0)
		r = read_change(c->json, &role, &password, &err);
	if (r == 0 && role == ROLE_NONE && !password)
		r = err_set(&err, API_BAD_REQUEST,
			    "nothing to change: neither 'role' nor 'password'");
	(void)snprintf(c->object, sizeof(c->object), "%.64s%s%s%s", name,
		       role != ROLE_NONE ? ", " : "", role != ROLE_NONE ? role_name(role) : "",
		       password ? ", password" : "");
	if (r == 0)
		r = access_change_operator(call_server(c)->access, &c->caller, name, role, password,
					   &err);
	if (r < 0)
		call_fail_err(c, &err);
	else
		answer_operator(c, 200, name);
}

void api_remove_operator(struct call *c)
{
	struct err err;
	int r = check_kind(c, &err);

	if (r == 0)
		r = state_remove_operator(call_server(c)->state, c->match.params[0], &err);
	if (r < 0)
		call_fail_err(c, &err);
	else
		call_answer_empty(c);
}
