/* token create, token list, token revoke: with which machines register. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

int token_make(struct ctx *c, json_t **ret, struct err *err)
{
	CLEANUP_JSON json_t *body = NULL;
	uint64_t expires = 0;

	if (!expires_parse(c->o.expires, &expires))
		return err_set(err, -EINVAL, "--expires: '%.32s' is not a time", c->o.expires);
	body = json_pack("{s:I, s:o, s:s, s:s*}", "uses", (json_int_t)c->o.uses, "expires_s",
			 expires ? json_integer((json_int_t)expires) : json_null(), "note",
			 c->o.note ? c->o.note : "", "job", c->o.job);
	return body ? api(c, "POST", "/v1/tokens", body, ret, err) : OUT_OF_MEMORY(err);
}

static int run_token_create(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *t = NULL;
	const char *secret = NULL;
	char expires[WHEN_TEXT_SIZE];
	int r = token_make(c, &t, err);

	if (r == 0)
		r = json_get_str(t, "token", 128, &secret, err);
	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(t);
		return 0;
	}
	print_line(stdout, "%s", secret);
	when_to_text(json_text(t, "expires"), expires);
	print_line(stderr, "token %s: enrols %" PRIu64 " machine%s, %s%s; it is not shown again",
		   json_text(t, "id"), json_number(t, "uses"),
		   json_number(t, "uses") == 1 ? "" : "s",
		   strcmp(expires, "-") == 0 ? "never expires" : "expires ",
		   strcmp(expires, "-") == 0 ? "" : expires);
	return 0;
}

static const struct setting token_options[] = {
	TOKEN_OPTIONS("1", "24h"),
};

const struct command cmd_token_create = {
	.name = "token create",
	.operands = "",
	.summary = "Make a token with which machines may register",
	.text = "The token alone goes to standard output; it cannot be shown again. A "
		"machine registers with it once, and comes back without using it up.\nWith --job the "
		"server orders that job for a machine when the token lets it in, once: 'capture' goes "
		"into an image named after the machine and the first digits of its id; 'restore' writes to empty disks alone. Where it "
		"cannot be done, the server's log says why, and the machine waits for orders.",
	.example = "hoist token create --uses 20 --expires 7d --note 'hall 3'",
	.takes = TAKES_SERVER | TAKES_JSON,
	OPTIONS(token_options),
	.run = run_token_create,
};

static const char *token_state(const json_t *t)
{
	char now[TIME_TEXT_SIZE];

	time_to_text(time(NULL), now); /* such texts compare as times do */
	if (json_is_true(json_object_get(t, "revoked")))
		return "revoked";
	if (json_is_string(json_object_get(t, "expires")) &&
	    strcmp(json_text(t, "expires"), now) <= 0)
		return "expired";
	return json_number(t, "uses_left") == 0 ? "used up" : "valid";
}

static void add_token(struct table *t, const json_t *o)
{
	cell_text(t, "%s", json_text(o, "id"));
	cell_number(t, o, "uses_left");
	cell_number(t, o, "uses");
	cell_when(t, o, "created");
	if (json_is_string(json_object_get(o, "expires")))
		cell_when(t, o, "expires");
	else
		cell_text(t, "never");
	cell_text(t, "%s", token_state(o));
	cell_text(t, "%s", json_text(o, "job"));
	cell_text(t, "%s", json_text(o, "note"));
}

static int run_token_list(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"TOKEN", false},   {"USES LEFT", true}, {"OF", true},	 {"CREATED", false},
		{"EXPIRES", false}, {"STATE", false},	 {"JOB", false}, {"NOTE", false},
	};
	static const struct listing list = {
		.key = "tokens",
		.form = TABLE_FORM(columns, add_token, NULL),
	};

	return list_print(c, "/v1/tokens", &list, err);
}

const struct command cmd_token_list = {
	.name = "token list",
	.operands = "",
	.summary = "List the enrolment tokens",
	.text = "Lists the tokens by their ids, never the tokens themselves.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_token_list,
};

int token_revoke(struct ctx *c, const char *id, struct err *err)
{
	char path[PATH_SIZE];

	path_make(path, "/v1/tokens/%s", id);
	return api(c, "DELETE", path, NULL, NULL, err);
}

static int run_token_revoke(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *t = NULL;
	int r = api(c, "GET", "/v1/tokens", NULL, &answer, err);

	if (r == 0)
		r = find_by_prefix(json_object_get(answer, "tokens"), "id", c->operands[0], 4,
				   "token with the id", &t, err);
	if (r == 0)
		r = token_revoke(c, json_text(t, "id"), err);
	return r < 0 ? r : done_print(c, NULL, "revoked token %s", json_text(t, "id"));
}

const struct command cmd_token_revoke = {
	.name = "token revoke",
	.operands = "ID",
	.summary = "Revoke an enrolment token",
	.text = "Nobody can register with it any more. Machines that did stay registered; "
		"'hoist machine forget' is for them.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_token_revoke,
};
