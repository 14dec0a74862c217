/* server info, gc, tokens. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

#define OUT_OF_MEMORY(err) err_set((err), -ENOMEM, "out of memory")

/* Who was heard by broadcast: anybody can send such a thing, it says only that something is there. */
static void print_rumours(const json_t *rumours)
{
	const json_t *m;
	size_t i;

	json_array_foreach((json_t *)rumours, i, m)
	{
		char seen[WHEN_TEXT_SIZE];

		when_to_text(json_text(m, "last_seen"), seen);
		print_property("heard", "%s at %s, %s, machine %.8s", json_text(m, "name"),
			       json_text(m, "address"), seen, json_text(m, "machine"));
	}
}

int cmd_server_info(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *s = NULL;
	const json_t *store, *memory;
	char uptime[SPAN_TEXT_SIZE], used[SIZE_TEXT_SIZE], room[SIZE_TEXT_SIZE];
	char resident[SIZE_TEXT_SIZE], caches[SIZE_TEXT_SIZE];
	int r = api(c, "GET", "/v1/server", NULL, &s, err);

	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(s);
		return 0;
	}
	store = json_object_get(s, "store");
	memory = json_object_get(s, "memory");
	size_to_text(json_number(memory, "resident"), resident);
	size_to_text(json_number(memory, "packs") + json_number(memory, "index") +
			     json_number(memory, "recent") + json_number(memory, "working"),
		     caches);
	span_to_text(json_number(s, "uptime_s"), uptime);
	size_to_text(json_number(store, "bytes"), used);
	size_to_text(json_number(store, "free_bytes"), room);
	print_property("server", "%s, version %s", json_text(s, "name"), json_text(s, "version"));
	print_property("address", "%s", c->target.url);
	print_property("fingerprint", "%s", json_text(s, "fingerprint"));
	print_property("up", "%s", uptime);
	print_property("store", "%s in %" PRIu64 " packs with %" PRIu64 " objects; %s free", used,
		       json_number(store, "packs"), json_number(store, "objects"), room);
	print_property("memory", "%s, of it %s in caches", resident, caches);
	print_property("machines", "%" PRIu64, json_number(s, "machines"));
	print_property("jobs running", "%" PRIu64, json_number(s, "jobs_running"));
	print_rumours(json_object_get(s, "rumours"));
	return 0;
}

int cmd_gc(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", "gc"), *job = NULL;
	int r = body ? api(c, "POST", "/v1/jobs", body, &job, err) : OUT_OF_MEMORY(err);

	return r < 0 ? r : job_started(c, job, err);
}

/* ---- tokens */

bool expires_parse(const char *text, uint64_t *ret)
{
	if (strcmp(text, "never") == 0) {
		*ret = 0;
		return true;
	}
	return span_from_text(text, ret) && *ret > 0 && *ret <= UINT64_C(3660) * 86400;
}

int check_expires(const char *text, struct err *err)
{
	uint64_t n;

	if (expires_parse(text, &n))
		return 0;
	return err_set(err, -EINVAL,
		       "'%.32s' is not a time like 90s, 30m, 12h, 7d, nor 'never' (at most 3660d)",
		       text);
}

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

int cmd_token_create(struct ctx *c, struct err *err)
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

int cmd_token_list(struct ctx *c, struct err *err)
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

int token_revoke(struct ctx *c, const char *id, struct err *err)
{
	char path[PATH_SIZE];

	path_make(path, "/v1/tokens/%s", id);
	return api(c, "DELETE", path, NULL, NULL, err);
}

int cmd_token_revoke(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *t = NULL;
	int r = api(c, "GET", "/v1/tokens", NULL, &answer, err);

	if (r == 0)
		r = find_by_prefix(json_object_get(answer, "tokens"), "id", c->operands[0], 4,
				   "token with the id", &t, err);
	if (r == 0)
		r = token_revoke(c, json_text(t, "id"), err);
	if (r < 0)
		return r;
	if (c->o.json)
		(void)puts("{}");
	else
		print_line(stdout, "revoked token %s", json_text(t, "id"));
	return 0;
}
