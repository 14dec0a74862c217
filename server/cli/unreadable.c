#include "server/cli/unreadable.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/message.h"
#include "server/cli/print.h"

#define LINE_SIZE 900

void job_state_to_text(const json_t *job, char ret[static STATE_TEXT_SIZE])
{
	bool stalled = json_is_true(json_object_get(job, "stalled"));

	if (strcmp(json_text(job, "result"), "done_with_unreadable") == 0) {
		(void)snprintf(ret, STATE_TEXT_SIZE, "done with %" PRIu64 " unreadable bytes",
			       json_number(job, "unreadable"));
	} else {
		(void)snprintf(ret, STATE_TEXT_SIZE, "%.32s",
			       stalled ? "stalled" : json_text(job, "state"));
	}
}

void job_rescue_to_text(const json_t *job, char ret[static RESCUE_TEXT_SIZE])
{
	const json_t *rescue = json_object_get(job, "rescue");
	uint64_t lost = json_number(job, "unreadable"), left = json_number(rescue, "left");
	char size[SIZE_TEXT_SIZE];
	size_t n = 0;

	ret[0] = '\0';
	if (lost > 0)
		n = (size_t)snprintf(ret, RESCUE_TEXT_SIZE, ", %" PRIu64 " bytes unreadable", lost);
	if (left == 0)
		return;
	size_to_text(left, size);
	(void)snprintf(ret + n, RESCUE_TEXT_SIZE - n, ", %s to be saved (%.8s)", size,
		       json_is_string(json_object_get(rescue, "pass")) ? json_text(rescue, "pass")
								       : "later");
}

static void tell_place(const json_t *disk, const json_t *place, line_fn fn, void *ctx)
{
	const char *name = json_text(place, "name"), *content = json_text(place, "content");
	char line[LINE_SIZE], where[160] = "";
	uint64_t number = json_number(place, "partition");

	if (json_is_string(json_object_get(place, "volume")))
		(void)snprintf(where, sizeof(where), ", %.100s", json_text(place, "volume"));
	else if (number > 0)
		(void)snprintf(where, sizeof(where), ", partition %" PRIu64, number);
	(void)snprintf(line, sizeof(line), "%s%s: %" PRIu64 " bytes at %" PRIu64 "%s%s%s: %s%s%s",
		       json_text(disk, "disk"), where, json_number(place, "length"),
		       json_number(place, "offset"), strcmp(content, "-") ? " (" : "",
		       strcmp(content, "-") ? content : "", strcmp(content, "-") ? ")" : "",
		       json_text(place, "what"), strcmp(name, "-") ? " " : "",
		       strcmp(name, "-") ? name : "");
	fn(ctx, line);
}

void unreadable_each(const json_t *report, line_fn fn, void *ctx)
{
	const json_t *disk, *place;
	size_t i, k;

	json_array_foreach(json_object_get(report, "disks"), i, disk)
	{
		uint64_t left_out = json_number(disk, "unreadable_left_out");
		char line[LINE_SIZE];

		json_array_foreach(json_object_get(disk, "unreadable"), k, place)
		{
			tell_place(disk, place, fn, ctx);
		}
		if (left_out == 0)
			continue;
		(void)snprintf(line, sizeof(line), "%s: %" PRIu64 " more places",
			       json_text(disk, "disk"), left_out);
		fn(ctx, line);
	}
}
