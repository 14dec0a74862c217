/* access-token create, list, revoke: with which programs, and people who are logged in, do what operators may. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/ask.h"
#include "server/cli/cli.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

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

static int run_access_token_create(struct ctx *c, struct err *err)
{
	static const struct question asked = {"Password", "--password-file", false};
	CLEANUP_JSON json_t *token = NULL;
	char password[ASK_SIZE] = "", expires[WHEN_TEXT_SIZE];
	bool ask = false;
	int r = needs_password(c, &ask, err);

	if (r == 0 && ask)
		r = ask_password(&asked, c->o.password_file, password, err);
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

static const struct setting access_token_options[] = {
	ROLE_OPTION("What may be done with it; default: the owner's role"),
	LIFE_OPTION("90d"),
	{.key = "operator",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(operator),
	 .value = "NAME",
	 .check = check_name,
	 .help = "Whose it is to be, with the file operator.token; else one's own"},
	PASSWORD_OPTION(password_file, "password-file", PASSWORD_HELP),
};

const struct command cmd_access_token_create = {
	.name = "access-token create",
	.operands = "NAME",
	.summary = "Make a token for a program, with a role of its own",
	.text = "Takes the password: a token makes no further ones. The token alone goes to "
		"standard output; it cannot be shown again. A program gives it by --token-file. "
		"Tokens with which machines register are another thing: 'hoist token create'.",
	.example = "hoist access-token create nightly --role viewer >token",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(access_token_options),
	.run = run_access_token_create,
};

static void add_access_token(struct table *t, const json_t *o)
{
	static const char *const texts[] = {"id", "operator", "name", "role", "address"};
	static const char *const times[] = {"created", "used", "expires"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cell_text(t, "%s", json_text(o, texts[i]));
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		cell_when(t, o, times[i]);
}

static int run_access_token_list(struct ctx *c, struct err *err)
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

const struct command cmd_access_token_list = {
	.name = "access-token list",
	.operands = "",
	.summary = "List one's tokens; an admin sees everybody's",
	.text = "By their ids, never the tokens themselves. USED is exact to a minute.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_access_token_list,
};

static int run_access_token_revoke(struct ctx *c, struct err *err)
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
	return r < 0 ? r : done_print(c, NULL, "revoked token %s", json_text(t, "id"));
}

const struct command cmd_access_token_revoke = {
	.name = "access-token revoke",
	.operands = "ID",
	.summary = "Revoke a token, from now on",
	.text = "One's own; an admin anybody's.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_access_token_revoke,
};
