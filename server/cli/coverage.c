#include "server/cli/coverage.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/cli/print.h"

#define LINE_SIZE 900

/* What the report calls a way to copy, for people. */
static const char *way_of(const json_t *part)
{
	static const struct {
		const char *how, *text;
	} ways[] = {
		{"raw", "copied whole"},
		{"map", "what is in use"},
		{"header", "only its header"},
		{"none", "nothing"},
	};
	const char *how = json_text(part, "how");

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(how, ways[i].how) == 0)
			return ways[i].text;
	}
	return how;
}

static bool is_whole(const json_t *o)
{
	return strcmp(json_text(o, "how"), "raw") == 0;
}

static void describe_name(const json_t *part, char *buf, size_t size)
{
	if (json_is_string(json_object_get(part, "name")))
		(void)snprintf(buf, size, ", %s", json_text(part, "name"));
	else if (json_number(part, "number") > 0)
		(void)snprintf(buf, size, ", partition %" PRIu64, json_number(part, "number"));
	else
		buf[0] = '\0';
}

static void tell_part(const json_t *disk, const json_t *part, line_fn fn, void *ctx)
{
	char name[192], copied[SIZE_TEXT_SIZE], size[SIZE_TEXT_SIZE], line[LINE_SIZE];
	const char *why = json_text(part, "why");
	bool has_why = strcmp(why, "-") != 0 && *why != '\0';

	describe_name(part, name, sizeof(name));
	size_to_text(json_number(part, "copied"), copied);
	size_to_text(json_number(part, "size"), size);
	(void)snprintf(line, sizeof(line), "%s%s (%s): %s, %s of %s%s%s", json_text(disk, "disk"),
		       name, json_text(part, "content"), way_of(part), copied, size,
		       has_why ? ": " : "", has_why ? why : "");
	fn(ctx, line);
}

static void tell_parts(const json_t *disk, const char *list, bool doubts_only, line_fn fn,
		       void *ctx)
{
	const json_t *part;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(disk, "map"), list), i, part)
	{
		if (!doubts_only || is_whole(part))
			tell_part(disk, part, fn, ctx);
	}
}

static void tell_disk(const json_t *disk, bool doubts_only, line_fn fn, void *ctx)
{
	const json_t *map = json_object_get(disk, "map");
	char used[SIZE_TEXT_SIZE], size[SIZE_TEXT_SIZE], line[LINE_SIZE];

	if (!json_is_object(map) || (doubts_only && !is_whole(map)))
		return;
	size_to_text(json_number(disk, "used_bytes"), used);
	size_to_text(json_number(disk, "size"), size);
	if (is_whole(map)) {
		(void)snprintf(line, sizeof(line), "%s: copied whole, %s: %s",
			       json_text(disk, "disk"), size, json_text(map, "why"));
	} else {
		(void)snprintf(line, sizeof(line), "%s: %s of %s", json_text(disk, "disk"), used,
			       size);
	}
	fn(ctx, line);
}

void coverage_each(const json_t *report, bool doubts_only, line_fn fn, void *ctx)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(report, "disks"), i, disk)
	{
		tell_disk(disk, doubts_only, fn, ctx);
		tell_parts(disk, "partitions", doubts_only, fn, ctx);
		tell_parts(disk, "volumes", doubts_only, fn, ctx);
	}
}
