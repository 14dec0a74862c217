/* login, logout, whoami.  The password makes a session, the session a token that this machine keeps, and then the session is ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/cli/ask.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

#define OUT_OF_MEMORY(err) err_set((err), -ENOMEM, "out of memory")
#define SECRET_MAX	   128u

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

int session_begin(struct ctx *c, const char *name, const char *password, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "name", name, "password", password);
	CLEANUP_JSON json_t *answer = NULL;
	const char *secret = NULL;
	int r;

	if (!body)
		return OUT_OF_MEMORY(err);
	c->no_token = true;
	if (c->http)
		http_set_secret(c->http, "");
	r = api(c, "POST", "/v1/login", body, &answer, err);
	(void)json_object_clear(body);
	if (r == 0)
		r = json_get_str(answer, "token", SECRET_MAX, &secret, err);
	if (r == 0)
		http_set_secret(c->http, secret);
	return r;
}

int session_end(struct ctx *c, struct err *err)
{
	return api(c, "DELETE", "/v1/session", NULL, NULL, err);
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

int cmd_login(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *token = NULL;
	char password[ASK_SIZE] = "", expires[WHEN_TEXT_SIZE];
	const char *name = NULL, *secret = NULL;
	struct err ignored;
	int r = default_name(c, &name, err);

	if (r == 0)
		r = target_find(c, err);
	if (r == 0)
		r = ask_password("Password", c->o.password_file, false, password, err);
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
	if (r < 0)
		return r;
	when_to_text(json_text(token, "expires"), expires);
	print_line(stdout, "logged in as %s (%s) until %s", name, json_text(token, "role"),
		   expires);
	return 0;
}

int cmd_logout(struct ctx *c, struct err *err)
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

int cmd_whoami(struct ctx *c, struct err *err)
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
