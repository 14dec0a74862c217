/* server info, gc. */
#include <inttypes.h>
#include <string.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

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

static int run_server_info(struct ctx *c, struct err *err)
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

const struct command cmd_server_info = {
	.name = "server info",
	.operands = "",
	.summary = "Show the server: version, fingerprint, store, load",
	.text = "Also a way to try address, fingerprint and token. Machines that were heard by "
		"broadcast are listed whether or not they have registered: that is where to look "
		"when one does not come.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_server_info,
};

static int run_gc(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "kind", "gc"), *job = NULL;
	int r = body ? api(c, "POST", "/v1/jobs", body, &job, err) : OUT_OF_MEMORY(err);

	return r < 0 ? r : job_started(c, job, err);
}

const struct command cmd_gc = {
	.name = "gc",
	.operands = "",
	.summary = "Give back the room of what no image needs any more",
	.text = "Nothing that an image needs is touched. What a capture that is under way "
		"had sent before may go, where its index does not name it yet: it sends "
		"that again by itself.",
	.takes = TAKES_SERVER | TAKES_JSON | TAKES_WAIT,
	.run = run_gc,
};
