/* What operators do, as it is recorded; and reading that. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "server/api/api.h"

#define AUDIT_LISTED 500u

/* What only reads has no name of its own. */
static void record(struct call *c, const char *result, bool refused)
{
	const struct route *r = c->match.route;
	char request[64];
	const struct audit_row row = {.refused = refused,
				      .who = c->caller.name,
				      .credential = c->caller.credential,
				      .address = c->peer,
				      .action = r->action ? r->action : request,
				      .object = *c->object ? c->object : c->match.params[0],
				      .result = result};

	(void)snprintf(request, sizeof(request), "%s %s", c->method, r->path);
	audit_add(call_server(c)->audit, &row);
}

void api_refused(struct call *c, const struct err *err)
{
	record(c, api_code_name(api_code_of(err->code)), true);
}

void api_answered(struct call *c)
{
	const char *code = "ok";

	if (!c->match.route->action)
		return;
	if (c->status >= 400)
		code = json_string_value(
			json_object_get(json_object_get(c->answer_json, "error"), "code"));
	record(c, code ? code : "internal", c->status >= 400);
}

static int add_row(void *arg, const struct audit_row *a)
{
	char time[TIME_TEXT_SIZE];

	time_to_text(a->at, time);
	return json_array_append_new(arg, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s}",
						    "id", (json_int_t)a->id, "at", time, "who",
						    a->who, "credential", a->credential, "address",
						    a->address, "action", a->action, "object",
						    a->object, "result", a->result)) < 0
		       ? -ENOMEM
		       : 0;
}

void api_list_audit(struct call *c)
{
	CLEANUP_JSON json_t *array = json_array();
	struct audit_filter f = {.limit = AUDIT_LISTED};
	uint64_t since = 0;
	struct err err;
	int has_after = call_query_u64(c, "after", 0, INT64_MAX, &f.after, &err);
	int has_since =
		has_after < 0 ? has_after : call_query_u64(c, "since", 0, INT64_MAX, &since, &err);
	int r = has_since;

	f.since = (int64_t)since;
	f.newest = has_after == 0 && has_since == 0;
	if (r >= 0)
		r = state_each_audit(call_server(c)->state, &f, add_row, array, &err);
	if (r == -ENOMEM)
		(void)err_set(&err, r, "The server is out of memory; ask again.");
	api_answer(c, r, 200, r < 0 ? NULL : json_pack("{s:O}", "audit", array), &err);
}
