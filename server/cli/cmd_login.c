/* login, logout, whoami.  The password makes a session, the session a token that this machine keeps, and then the session is ended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/cli/ask.h"
#include "server/cli/cli.h"
#include "server/cli/options.h"
#include "server/cli/print.h"

#define SECRET_MAX 128u

/* Names of tokens are plain. */
static void token_name(char *ret, size_t size)
{
	char host[64] = "";

	(void)gethostname(host, sizeof(host) - 1);
	(void)snprintf(ret, size, "hoist-on-%.50s", host);
	for (char *p = ret; *p; p++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
			    *p))
			*p = '-';
	}
}

static int default_name(struct ctx *c, const char **ret, struct err *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread, and nobody sets variables */
	const char *user = getenv("USER");

	*ret = c->operands_len > 0 ? c->operands[0] : user;
	if (*ret && **ret)
		return 0;
	return err_set(err, -EINVAL, "what is missing is: NAME");
}

/* A token in the session's place. */
static int make_token(struct ctx *c, json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *body = NULL;
	uint64_t expires = 0;
	char name[64];

	if (!expires_parse(c->o.expires, &expires) || expires == 0)
		return err_set(err, -EINVAL, "--expires: '%.32s' is not a time", c->o.expires);
	token_name(name, sizeof(name));
	body = json_pack("{s:s, s:I}", "name", name, "expires_s", (json_int_t)expires);
	return body ? api(c, "POST", "/v1/access-tokens", body, ret, err) : OUT_OF_MEMORY(err);
}

static int run_login(struct ctx *c, struct err *err)
{
	static const struct question asked = {"Password", "--password-file", false};
	CLEANUP_JSON json_t *token = NULL;
	char password[ASK_SIZE] = "", expires[WHEN_TEXT_SIZE];
	const char *name = NULL, *secret = NULL;
	struct err ignored;
	int r = default_name(c, &name, err);

	if (r == 0)
		r = target_check(c, err); /* before a password is typed in vain */
	if (r == 0)
		r = ask_password(&asked, c->o.password_file, password, err);
	if (r == 0)
		r = session_begin(c, name, password, err);
	explicit_bzero(password, sizeof(password));
	if (r < 0)
		return r;
	r = make_token(c, &token, err);
	(void)!session_end(c, &ignored); /* it ends by itself soon */
	if (r == 0)
		r = json_get_str(token, "token", SECRET_MAX, &secret, err);
	if (r == 0)
		r = login_save(c, secret, err);
	if (r < 0 && secret) { /* nobody has it */
		http_set_secret(c->http, secret);
		(void)!session_end(c, &ignored);
	}
	if (r < 0)
		return r;
	when_to_text(json_text(token, "expires"), expires);
	print_line(stdout, "logged in as %s (%s) until %s", name, json_text(token, "role"),
		   expires);
	return 0;
}

static const struct setting login_options[] = {
	PASSWORD_OPTION(password_file, "password-file", PASSWORD_HELP),
	LIFE_OPTION("30d"),
};

const struct command cmd_login = {
	.name = "login",
	.operands = "[NAME]",
	.summary = "Log in, so that later commands need no token file",
	.text = "Asks for the password of operator NAME (default: $USER) and keeps a token in "
		"~/.config/hoist/tokens, readable by you alone and used for this server only. It "
		"is listed by 'hoist access-token list' under this machine's name. On a machine "
		"that has no configuration yet give --server and --pin, or write them there.",
	.example = "hoist login alice --server hoist.example.org --pin FINGERPRINT",
	.takes = TAKES_SERVER,
	.operands_max = 1,
	OPTIONS(login_options),
	.run = run_login,
};

static int run_logout(struct ctx *c, struct err *err)
{
	int r = target_find(c, err);

	if (r == 0 && !c->logged_in)
		return err_set(err, -ENOENT, "nobody is logged in here at this server");
	if (r == 0)
		r = session_end(c, err);
	/* a server that does not know the token (any more) has nothing to end */
	if (r == 0 || strcmp(c->error.code, "unauthorized") == 0)
		r = login_forget(c, err);
	if (r == 0)
		(void)puts("logged out");
	return r;
}

const struct command cmd_logout = {
	.name = "logout",
	.operands = "",
	.summary = "Revoke and forget the token of 'hoist login'",
	.text = "Afterwards commands use what they used before: a token file, or the server's data "
		"folder.",
	.takes = TAKES_SERVER,
	.run = run_logout,
};

static int run_whoami(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *s = NULL;
	char expires[WHEN_TEXT_SIZE];
	int r = api(c, "GET", "/v1/session", NULL, &s, err);

	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(s);
		return 0;
	}
	when_to_text(json_text(s, "expires"), expires);
	print_property("name", "%s", json_text(s, "name"));
	print_property("role", "%s", json_text(s, "role"));
	print_property("by", "%s", json_text(s, "kind"));
	print_property("until", "%s", expires);
	return 0;
}

const struct command cmd_whoami = {
	.name = "whoami",
	.operands = "",
	.summary = "Show as whom, and with which role, commands are done",
	.text = "'(operator.token)' is whoever has the file of that name in the server's data "
		"folder, who may do everything.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_whoami,
};
