/* operator add, list, role, passwd, remove; access-token create, list, revoke. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/ask.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

#define OUT_OF_MEMORY(err) err_set((err), -ENOMEM, "out of memory")

static int say(struct ctx *c, const json_t *answer, const char *what, const char *name)
{
	if (!c->o.json)
		print_line(stdout, "%s %s", what, name);
	else if (answer)
		print_json(answer);
	else
		(void)puts("{}");
	return 0;
}

/* The body goes with the password in it. */
static int send_password(struct ctx *c, const char *path, json_t *take_body, char *password,
			 json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *body = take_body;

	explicit_bzero(password, ASK_SIZE);
	return body ? api(c, "POST", path, body, ret, err) : OUT_OF_MEMORY(err);
}

/* Operators are not changed by a token: one's password makes a session.  *ret: to be ended with own_session_end(). */
static int own_session_begin(struct ctx *c, bool *ret, struct err *err)
{
	CLEANUP_JSON json_t *me = NULL;
	char password[ASK_SIZE] = "";
	int r = api(c, "GET", "/v1/session", NULL, &me, err);

	if (r < 0 || strcmp(json_text(me, "kind"), "token") != 0)
		return r;
	r = ask_password("Your own password", c->o.old_password_file, false, password, err);
	if (r == 0)
		r = session_begin(c, json_text(me, "name"), password, err);
	explicit_bzero(password, sizeof(password));
	*ret = r == 0;
	return r;
}

static void own_session_end(struct ctx *c, bool begun)
{
	struct err ignored;

	if (begun)
		(void)!session_end(c, &ignored); /* it ends by itself soon */
}

int cmd_operator_add(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const char *name = c->operands[0];
	char password[ASK_SIZE] = "";
	bool begun = false;
	int r;

	if (!c->o.role)
		return err_set(err, -EINVAL, "--role is missing: viewer, operator or admin");
	r = own_session_begin(c, &begun, err);
	if (r == 0)
		r = ask_password("Password of the new operator", c->o.password_file, true, password,
				 err);
	if (r == 0) {
		r = send_password(c, "/v1/operators",
				  json_pack("{s:s, s:s, s:s}", "name", name, "role", c->o.role,
					    "password", password),
				  password, &answer, err);
	}
	own_session_end(c, begun);
	return r < 0 ? r : say(c, answer, "added operator", name);
}

static void add_operator(struct table *t, const json_t *o)
{
	cell_text(t, "%s", json_text(o, "name"));
	cell_text(t, "%s", json_text(o, "role"));
	cell_when(t, o, "created");
	cell_when(t, o, "changed");
}

int cmd_operator_list(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"OPERATOR", false}, {"ROLE", false}, {"CREATED", false}, {"CHANGED", false}};
	static const struct listing list = {
		.key = "operators",
		.form = TABLE_FORM(columns, add_operator, NULL),
	};

	return list_print(c, "/v1/operators", &list, err);
}

int cmd_operator_role(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "role", c->operands[1]), *answer = NULL;
	char path[PATH_SIZE];
	bool begun = false;
	int r = body ? own_session_begin(c, &begun, err) : OUT_OF_MEMORY(err);

	path_make(path, "/v1/operators/%s", c->operands[0]);
	if (r == 0)
		r = api(c, "POST", path, body, &answer, err);
	own_session_end(c, begun);
	return r < 0 ? r : say(c, answer, "changed the role of", c->operands[0]);
}

/* One's own: by the old one, which also makes the session that this needs. */
static int change_own(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *me = NULL;
	char old[ASK_SIZE] = "", password[ASK_SIZE] = "";
	const char *name = NULL;
	int r = api(c, "GET", "/v1/session", NULL, &me, err);

	if (r == 0)
		r = json_get_str(me, "name", 64, &name, err);
	if (r == 0 && strcmp(json_text(me, "kind"), "file") == 0)
		r = err_set(err, -EINVAL, "whose password? What is missing is: NAME");
	if (r == 0)
		r = ask_password("Present password", c->o.old_password_file, false, old, err);
	if (r == 0)
		r = ask_password("New password", c->o.password_file, true, password, err);
	if (r == 0)
		r = session_begin(c, name, old, err);
	if (r == 0) {
		r = send_password(c, "/v1/password",
				  json_pack("{s:s, s:s}", "old", old, "new", password), password,
				  NULL, err);
	}
	explicit_bzero(old, sizeof(old));
	explicit_bzero(password, sizeof(password));
	return r < 0 ? r : say(c, NULL, "changed the password of", name);
}

int cmd_operator_passwd(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	char password[ASK_SIZE] = "", path[PATH_SIZE];
	bool begun = false;
	int r;

	if (c->operands_len == 0)
		return change_own(c, err);
	path_make(path, "/v1/operators/%s", c->operands[0]);
	r = own_session_begin(c, &begun, err);
	if (r == 0)
		r = ask_password("New password", c->o.password_file, true, password, err);
	if (r == 0)
		r = send_password(c, path, json_pack("{s:s}", "password", password), password,
				  &answer, err);
	own_session_end(c, begun);
	return r < 0 ? r : say(c, answer, "changed the password of", c->operands[0]);
}

int cmd_operator_remove(struct ctx *c, struct err *err)
{
	char path[PATH_SIZE];
	bool begun = false;
	int r = own_session_begin(c, &begun, err);

	path_make(path, "/v1/operators/%s", c->operands[0]);
	if (r == 0)
		r = api(c, "DELETE", path, NULL, NULL, err);
	own_session_end(c, begun);
	return r < 0 ? r : say(c, NULL, "removed operator", c->operands[0]);
}

/* ---- access tokens */

static int make_token(struct ctx *c, const char *password, json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *me = NULL, *body = NULL;
	uint64_t expires = 0;
	struct err ignored;
	bool by_file;
	int r = api(c, "GET", "/v1/session", NULL, &me, err);

	if (r < 0)
		return r;
	if (!expires_parse(c->o.expires, &expires) || expires == 0)
		return err_set(err, -EINVAL, "--expires: '%.32s' is not a time", c->o.expires);
	by_file = strcmp(json_text(me, "kind"), "file") == 0;
	if (by_file && !c->o.operator)
		return err_set(err, -EINVAL, "--operator is missing: whose token is it to be?");
	body = json_pack("{s:s, s:I, s:s*, s:s*}", "name", c->operands[0], "expires_s",
			 (json_int_t)expires, "role", c->o.role, "operator", c->o.operator);
	if (!body)
		return OUT_OF_MEMORY(err);
	if (!by_file)
		r = session_begin(c, json_text(me, "name"), password, err);
	if (r == 0)
		r = api(c, "POST", "/v1/access-tokens", body, ret, err);
	if (r == 0 && !by_file)
		(void)!session_end(c, &ignored); /* it ends by itself soon */
	return r;
}

/* Is a password needed: is it not by the file operator.token? */
static int needs_password(struct ctx *c, bool *ret, struct err *err)
{
	CLEANUP_JSON json_t *me = NULL;
	int r = api(c, "GET", "/v1/session", NULL, &me, err);

	if (r == 0)
		*ret = strcmp(json_text(me, "kind"), "file") != 0;
	return r;
}

int cmd_access_token_create(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *token = NULL;
	char password[ASK_SIZE] = "", expires[WHEN_TEXT_SIZE];
	bool ask = false;
	int r = needs_password(c, &ask, err);

	if (r == 0 && ask)
		r = ask_password("Password", c->o.password_file, false, password, err);
	if (r == 0)
		r = make_token(c, password, &token, err);
	explicit_bzero(password, sizeof(password));
	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(token);
		return 0;
	}
	print_line(stdout, "%s", json_text(token, "token"));
	when_to_text(json_text(token, "expires"), expires);
	print_line(stderr, "token %s of %s: %s until %s; it is not shown again",
		   json_text(token, "id"), json_text(token, "operator"), json_text(token, "role"),
		   expires);
	return 0;
}

static void add_access_token(struct table *t, const json_t *o)
{
	static const char *const texts[] = {"id", "operator", "name", "role", "address"};
	static const char *const times[] = {"created", "used", "expires"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cell_text(t, "%s", json_text(o, texts[i]));
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		cell_when(t, o, times[i]);
}

int cmd_access_token_list(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"TOKEN", false}, {"OPERATOR", false}, {"NAME", false}, {"ROLE", false},
		{"FROM", false},  {"CREATED", false},  {"USED", false}, {"EXPIRES", false},
	};
	static const struct listing list = {
		.key = "access_tokens",
		.form = TABLE_FORM(columns, add_access_token, NULL),
	};

	return list_print(c, "/v1/access-tokens", &list, err);
}

int cmd_access_token_revoke(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *t = NULL;
	char path[PATH_SIZE];
	int r = api(c, "GET", "/v1/access-tokens", NULL, &answer, err);

	if (r == 0)
		r = find_by_prefix(json_object_get(answer, "access_tokens"), "id", c->operands[0],
				   4, "token with the id", &t, err);
	if (r == 0) {
		path_make(path, "/v1/access-tokens/%s", json_text(t, "id"));
		r = api(c, "DELETE", path, NULL, NULL, err);
	}
	return r < 0 ? r : say(c, NULL, "revoked token", json_text(t, "id"));
}
