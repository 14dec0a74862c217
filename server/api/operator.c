/* Operators: the server, machines, jobs, events. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "server/api/api.h"

#define WAIT_MAX_S    30
#define EVENTS_LISTED 500u

/* ---- the server */

static json_t *rumours_json(struct server *s)
{
	struct rumour *items = calloc(RUMOURS_MAX, sizeof(*items));
	json_t *array = json_array();
	size_t len = items ? rumours_copy(&s->rumours, items) : 0;

	for (size_t i = 0; i < len; i++) {
		char time[TIME_TEXT_SIZE];

		time_to_text(items[i].last_seen, time);
		(void)json_array_append_new(
			array, json_pack("{s:s, s:s, s:s, s:s, s:s}", "machine", items[i].machine,
					 "name", items[i].name, "version", items[i].version,
					 "address", items[i].address, "last_seen", time));
	}
	free(items);
	return array;
}

static json_t *datagrams_json(struct server *s)
{
	uint64_t heard, unanswered;

	rumours_counted(&s->rumours, &heard, &unanswered);
	return json_pack("{s:I, s:I}", "heard", (json_int_t)heard, "unanswered",
			 (json_int_t)unanswered);
}

/* Bytes of this process in memory; 0 where /proc does not say (proc(5), statm). */
static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128], *second = NULL;

	if (f && fgets(line, sizeof(line), f))
		second = strchr(line, ' ');
	if (f)
		(void)fclose(f);
	return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static json_t *memory_json(struct store *store)
{
	struct mallinfo2 heap = mallinfo2();
	size_t allocated = heap.uordblks + heap.hblkhd;
	struct store_memory m;

	store_memory(store, &m);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "resident", (json_int_t)resident(),
			 "allocated", (json_int_t)allocated, "packs", (json_int_t)m.packs, "index",
			 (json_int_t)m.index, "recent", (json_int_t)m.recent, "working",
			 (json_int_t)m.working);
}

void api_get_server(struct call *c)
{
	struct server *s = call_server(c);
	struct store_stat st;
	unsigned machines, running;
	struct err err;
	int r = store_stat(s->store, &st, &err);

	if (r < 0) {
		call_fail_err(c, &err);
		return;
	}
	fleet_count(s->fleet, &machines, &running);
	call_answer(
		c, 200,
		json_pack(
			"{s:s, s:s, s:s, s:i, s:I, s:{s:I, s:I, s:I, s:I}, s:o, s:i, s:i, s:o, s:o}",
			"name", s->name, "version", HOIST_VERSION, "fingerprint",
			s->identity.fingerprint_text, "port", (int)listen_port(&s->listens[0]),
			"uptime_s", (json_int_t)((server_now_ms() - s->started_ms) / 1000), "store",
			"packs", (json_int_t)st.packs, "bytes", (json_int_t)st.bytes, "objects",
			(json_int_t)st.objects, "free_bytes", (json_int_t)st.free_bytes, "memory",
			memory_json(s->store), "machines", (int)machines, "jobs_running",
			(int)running, "rumours", rumours_json(s), "datagrams", datagrams_json(s)));
}

/* ---- machines */

void api_list_machines(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_list_machines(call_server(c)->fleet, &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

void api_show_machine(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_show_machine(call_server(c)->fleet, c->match.params[0], &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

void api_remove_machine(struct call *c)
{
	struct err err;

	if (fleet_remove_machine(call_server(c)->fleet, c->match.params[0], &err) < 0)
		call_fail_err(c, &err);
	else
		call_answer_empty(c);
}

/* ---- jobs */

/* For the audit log.  A `verify` and a `gc` have no machine, and a `gc` no image: these are null then. */
static void name_job(struct call *c, const json_t *job)
{
	const char *id = json_string_value(json_object_get(job, "id"));
	const char *kind = json_string_value(json_object_get(job, "kind"));
	const char *image = json_string_value(json_object_get(job, "image"));
	const char *machine = json_string_value(json_object_get(job, "machine_name"));

	if (id && kind) {
		(void)snprintf(c->object, sizeof(c->object), "%s: %s%s%s%s%s", id, kind,
			       image ? " " : "", image ? image : "", machine ? " " : "",
			       machine ? machine : "");
	}
}

void api_create_job(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_create_job(call_server(c)->fleet, c->json, &answer, &err);

	if (r == 0)
		name_job(c, answer);
	api_answer(c, r, 201, answer, &err);
}

void api_list_jobs(struct call *c)
{
	char machine[CALL_QUERY_MAX_SIZE], state[CALL_QUERY_MAX_SIZE], id[CALL_QUERY_MAX_SIZE];
	json_t *answer = NULL;
	struct err err;
	int has_machine, has_state, has_id, r;

	has_machine = r = call_query(c, "machine", machine, &err);
	if (r >= 0)
		has_state = r = call_query(c, "state", state, &err);
	if (r >= 0)
		has_id = r = call_query(c, "id", id, &err);
	if (r >= 0)
		r = fleet_list_jobs(call_server(c)->fleet, has_machine ? machine : NULL,
				    has_state ? state : NULL, has_id ? id : NULL, &answer, &err);
	api_answer(c, r, 200, answer, &err);
}

void api_show_job(struct call *c)
{
	uint64_t seq = 0, wait = WAIT_MAX_S;
	json_t *answer = NULL;
	struct err err;
	int has_seq, r;

	has_seq = r = call_query_u64(c, "seq", 0, INT64_MAX, &seq, &err);
	if (r >= 0)
		r = call_query_u64(c, "wait", 0, WAIT_MAX_S, &wait, &err);
	if (r >= 0)
		r = fleet_show_job(call_server(c)->fleet, c->match.params[0], seq,
				   has_seq ? (unsigned)wait : 0, &answer, &err);
	api_answer(c, r, 200, answer, &err);
}

void api_cancel_job(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_cancel_job(call_server(c)->fleet, c->match.params[0], &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

/* ---- events */

static int add_event(void *arg, const struct event_row *e)
{
	char time[TIME_TEXT_SIZE];

	time_to_text(e->at, time);
	return json_array_append_new(arg,
				     json_pack("{s:I, s:s, s:s, s:s*, s:s*, s:s}", "id",
					       (json_int_t)e->id, "at", time, "event", e->event,
					       "machine", *e->machine ? e->machine : NULL, "job",
					       *e->job ? e->job : NULL, "text", e->text)) < 0
		       ? -ENOMEM
		       : 0;
}

void api_list_events(struct call *c)
{
	CLEANUP_JSON json_t *array = json_array();
	uint64_t after = 0;
	struct err err;
	int r = call_query_u64(c, "after", 0, INT64_MAX, &after, &err);

	if (r >= 0)
		r = state_each_event(call_server(c)->state, after, EVENTS_LISTED, add_event, array,
				     &err);
	if (r == -ENOMEM)
		(void)err_set(&err, r, "The server is out of memory; ask again.");
	api_answer(c, r, 200, r < 0 ? NULL : json_pack("{s:O}", "events", array), &err);
}
