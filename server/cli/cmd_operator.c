/* operator add, list, role, passwd, remove. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/ask.h"
#include "server/cli/cli.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

static const struct question own_password = {"Your own password", "--old-password-file", false},
			     present_password = {"Present password", "--old-password-file", false},
			     first_password = {"Password of the new operator", "--password-file",
					       true},
			     new_password = {"New password", "--password-file", true};

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
	r = ask_password(&own_password, c->o.old_password_file, password, err);
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

static int run_operator_add(struct ctx *c, struct err *err)
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
		r = ask_password(&first_password, c->o.password_file, password, err);
	if (r == 0) {
		r = send_password(c, "/v1/operators",
				  json_pack("{s:s, s:s, s:s}", "name", name, "role", c->o.role,
					    "password", password),
				  password, &answer, err);
	}
	own_session_end(c, begun);
	return r < 0 ? r : done_print(c, answer, "added operator %s", name);
}

#define OWN_PASSWORD_OPTION                                                                     \
	PASSWORD_OPTION(old_password_file, "old-password-file",                                 \
			"Read one's own password, which is needed when one is logged in, from " \
			"FILE's first line ('-': standard input), not from the terminal")

static const struct setting operator_add_options[] = {
	ROLE_OPTION("What the operator may do"),
	PASSWORD_OPTION(password_file, "password-file", PASSWORD_HELP),
	OWN_PASSWORD_OPTION,
};

const struct command cmd_operator_add = {
	.name = "operator add",
	.operands = "NAME",
	.summary = "Add an operator, with a role and a password",
	.text = "A viewer sees machines, images and jobs. An operator also captures, restores, "
		"cancels, lets machines in and forgets them. An admin also removes images, looks "
		"after operators, and reads the audit log.\n"
		"A password has 10 to 128 bytes. It is asked for, or read from a file, and never "
		"taken from the command line.",
	.example = "hoist operator add alice --role operator",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(operator_add_options),
	.run = run_operator_add,
};

static void add_operator(struct table *t, const json_t *o)
{
	cell_text(t, "%s", json_text(o, "name"));
	cell_text(t, "%s", json_text(o, "role"));
	cell_when(t, o, "created");
	cell_when(t, o, "changed");
}

static int run_operator_list(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"OPERATOR", false}, {"ROLE", false}, {"CREATED", false}, {"CHANGED", false}};
	static const struct listing list = {
		.key = "operators",
		.form = TABLE_FORM(columns, add_operator, NULL),
	};

	return list_print(c, "/v1/operators", &list, err);
}

const struct command cmd_operator_list = {
	.name = "operator list",
	.operands = "",
	.summary = "List the operators and their roles",
	.text = "Who has the file operator.token is not among them.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_operator_list,
};

static int run_operator_role(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "role", c->operands[1]), *answer = NULL;
	char path[PATH_SIZE];
	bool begun = false;
	int r = body ? check_role(c->operands[1], err) : OUT_OF_MEMORY(err);

	if (r == 0)
		r = own_session_begin(c, &begun, err);
	path_make(path, "/v1/operators/%s", c->operands[0]);
	if (r == 0)
		r = api(c, "POST", path, body, &answer, err);
	own_session_end(c, begun);
	return r < 0 ? r : done_print(c, answer, "changed the role of %s", c->operands[0]);
}

static const struct setting operator_options[] = {OWN_PASSWORD_OPTION};

const struct command cmd_operator_role = {
	.name = "operator role",
	.operands = "NAME ROLE",
	.summary = "Give an operator another role",
	.text = "Ends the operator's sessions, and revokes the tokens that are above the new role.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 2,
	.operands_max = 2,
	OPTIONS(operator_options),
	.run = run_operator_role,
};

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
		r = ask_password(&present_password, c->o.old_password_file, old, err);
	if (r == 0)
		r = ask_password(&new_password, c->o.password_file, password, err);
	if (r == 0)
		r = session_begin(c, name, old, err);
	if (r == 0) {
		r = send_password(c, "/v1/password",
				  json_pack("{s:s, s:s}", "old", old, "new", password), password,
				  NULL, err);
	}
	explicit_bzero(old, sizeof(old));
	explicit_bzero(password, sizeof(password));
	return r < 0 ? r : done_print(c, NULL, "changed the password of %s", name);
}

static int run_operator_passwd(struct ctx *c, struct err *err)
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
		r = ask_password(&new_password, c->o.password_file, password, err);
	if (r == 0)
		r = send_password(c, path, json_pack("{s:s}", "password", password), password,
				  &answer, err);
	own_session_end(c, begun);
	return r < 0 ? r : done_print(c, answer, "changed the password of %s", c->operands[0]);
}

static const struct setting operator_passwd_options[] = {
	PASSWORD_OPTION(
		password_file, "password-file",
		"Read the new password from FILE's first line ('-': standard input), not from the "
		"terminal"),
	OWN_PASSWORD_OPTION,
};

const struct command cmd_operator_passwd = {
	.name = "operator passwd",
	.operands = "[NAME]",
	.summary = "Change a password: one's own, or as an admin another's",
	.text = "Without NAME one's own, which takes the present one too. Ends the operator's "
		"sessions; tokens stay until they expire or are revoked.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_max = 1,
	OPTIONS(operator_passwd_options),
	.run = run_operator_passwd,
};

static int run_operator_remove(struct ctx *c, struct err *err)
{
	char path[PATH_SIZE];
	bool begun = false;
	int r = own_session_begin(c, &begun, err);

	path_make(path, "/v1/operators/%s", c->operands[0]);
	if (r == 0)
		r = api(c, "DELETE", path, NULL, NULL, err);
	own_session_end(c, begun);
	return r < 0 ? r : done_print(c, NULL, "removed operator %s", c->operands[0]);
}

const struct command cmd_operator_remove = {
	.name = "operator remove",
	.operands = "NAME",
	.summary = "Remove an operator, with sessions and tokens",
	.text = "What was done stays in the audit log under that name.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	OPTIONS(operator_options),
	.run = run_operator_remove,
};
