#include "common/cleanup.h"
#include "server/cli/cli.h"

#define SECRET_MAX 128u

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
