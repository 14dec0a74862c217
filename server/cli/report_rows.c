#include "server/cli/report_rows.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"
#include "server/cli/coverage.h"
#include "server/cli/print.h"
#include "server/cli/unreadable.h"

#define VALUE_SIZE 2048

struct adder {
	struct report_rows *rows;
	const char *section;
};

static char *clean(const char *text)
{
	char buf[VALUE_SIZE];

	(void)text_clean(buf, sizeof(buf), text, strlen(text));
	return strdup(buf);
}

static void add(struct adder *a, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void add(struct adder *a, const char *name, const char *format, ...)
{
	struct report_rows *r = a->rows;
	struct report_row *items = reallocarray(r->items, r->len + 1, sizeof(*items)), *row;
	char value[VALUE_SIZE];
	va_list ap;

	if (!items) {
		r->bad = true;
		return;
	}
	r->items = items;
	va_start(ap, format);
	(void)vsnprintf(value, sizeof(value), format, ap);
	va_end(ap);
	row = &items[r->len++];
	*row = (struct report_row){a->section, clean(name), clean(value)};
	r->bad = r->bad || !row->name || !row->value;
}

static void add_line(void *ctx, const char *line)
{
	add(ctx, "", "%s", line);
}

static bool has_text(const json_t *o, const char *key)
{
	return strcmp(json_text(o, key), "-") != 0;
}

static void add_text(struct adder *a, const char *name, const json_t *o, const char *key)
{
	if (has_text(o, key))
		add(a, name, "%s", json_text(o, key));
}

static void add_size(struct adder *a, const char *name, const json_t *o, const char *key,
		     const char *after)
{
	char size[SIZE_TEXT_SIZE];

	if (!json_is_integer(json_object_get(o, key)))
		return;
	size_to_text(json_number(o, key), size);
	add(a, name, "%s%s", size, after);
}

static void add_job(struct adder *a, const json_t *job)
{
	char state[STATE_TEXT_SIZE];

	job_state_to_text(job, state);
	add(a, "job", "%s", json_text(job, "id"));
	add(a, "kind", "%s", json_text(job, "kind"));
	add(a, "result", "%s", state);
	if (has_text(job, "code"))
		add(a, "because", "%s: %s", json_text(job, "code"), json_text(job, "message"));
	if (has_text(job, "machine"))
		add(a, "machine", "%s (%s)", json_text(job, "machine_name"),
		    json_text(job, "machine"));
	if (json_number(job, "version")) {
		add(a, "image", "%s@%" PRIu64, json_text(job, "image"),
		    json_number(job, "version"));
	} else {
		add_text(a, "image", job, "image");
	}
}

static const char *name_of(const json_t *disk)
{
	return has_text(disk, "disk") ? json_text(disk, "disk") : json_text(disk, "source");
}

static void add_disks(struct adder *a, const json_t *report)
{
	static const struct {
		const char *name, *key, *after;
	} amounts[] = {
		{"size", "size", ""},
		{"in use", "used_bytes", ", copied"},
		{"not in use", "skipped_bytes", ", left out"},
		{"data", "data_bytes", ""},
		{"read", "read_bytes", ""},
		{"target's size", "target_size", ""},
		{"written", "written_bytes", ""},
		{"zeroed", "zeroed_bytes", ""},
		{"right already", "kept_bytes", ""},
		{"fetched", "fetched_bytes", ""},
	};
	const json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(report, "disks"), i, disk)
	{
		add(a, "disk", "%s", name_of(disk));
		add_text(a, "target", disk, "target");
		add_text(a, "path", disk, "path");
		for (size_t k = 0; k < sizeof(amounts) / sizeof(amounts[0]); k++)
			add_size(a, amounts[k].name, disk, amounts[k].key, amounts[k].after);
	}
}

static void add_agreement(struct adder *a, const json_t *roots)
{
	const json_t *agree = json_object_get(roots, "agree");
	bool has_target = json_object_get(roots, "target") != NULL;

	if (json_is_true(agree))
		add(a, "agree", "yes, %s are the same", has_target ? "all three" : "both");
	else if (json_is_false(agree))
		add(a, "agree", "NO: they differ");
	else
		add(a, "agree", "not known: one is lacking");
}

static void add_roots(struct adder *a, const json_t *report)
{
	const json_t *list = json_object_get(report, "roots"), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		add(a, "disk", "%s", json_text(o, "disk"));
		add_text(a, "target", o, "target_disk");
		add(a, "by the source", "%s", json_text(o, "source"));
		add(a, "by the server", "%s", json_text(o, "server"));
		if (json_object_get(o, "target"))
			add(a, "read again", "%s", json_text(o, "target"));
		add_agreement(a, o);
	}
	if (json_is_array(list))
		return;
	json_array_foreach(json_object_get(report, "disks"), i, o) /* an older one */
	{
		if (has_text(o, "root"))
			add(a, "by the source", "%s: %s", name_of(o), json_text(o, "root"));
	}
}

/* Before, after. */
static void get_pair(const json_t *o, const char *key, uint64_t ret[static 2])
{
	const json_t *pair = json_object_get(o, key);

	for (size_t i = 0; i < 2; i++) {
		json_int_t n = json_integer_value(json_array_get(pair, i));

		ret[i] = n > 0 ? (uint64_t)n : 0;
	}
}

static void add_counters(struct adder *a, const json_t *report)
{
	const json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(report, "disks"), i, disk)
	{
		const json_t *c = json_object_get(disk, "counters");
		uint64_t writes[2], sectors[2];

		if (json_is_null(c))
			add(a, name_of(disk), "not counted: no block device");
		if (!json_is_object(c))
			continue;
		get_pair(c, "writes", writes);
		get_pair(c, "sectors_written", sectors);
		add(a, name_of(disk),
		    "writes %" PRIu64 " before, %" PRIu64 " after; sectors %" PRIu64
		    " before, %" PRIu64 " after; %s%s",
		    writes[0], writes[1], sectors[0], sectors[1],
		    writes[0] == writes[1] && sectors[0] == sectors[1] ? "not written to"
								       : "WRITTEN TO MEANWHILE",
		    json_is_true(json_object_get(c, "locked")) ? ", locked" : ", not locked");
	}
}

static void add_seconds(struct adder *a, const char *name, const json_t *o)
{
	double s = json_number_value(json_object_get(o, "seconds"));

	if (json_is_number(json_object_get(o, "seconds")) && s >= 0 && s < 1e12)
		add(a, name, "%.1f s", s);
}

static void add_times(struct adder *a, const json_t *job, const json_t *report)
{
	static const char *const whens[] = {"created", "started", "ended"};
	const json_t *phase;
	size_t i;

	for (i = 0; i < 3; i++) {
		char when[WHEN_TEXT_SIZE];

		when_to_text(json_text(job, whens[i]), when);
		add(a, whens[i], "%s", when);
	}
	add_seconds(a, "by the server", json_object_get(report, "server"));
	add_seconds(a, "by the agent", report);
	json_array_foreach(json_object_get(report, "phases"), i, phase)
	{
		add_seconds(a, json_text(phase, "phase"), phase);
	}
}

static void add_rates(struct adder *a, const json_t *report)
{
	const json_t *rates = json_object_get(report, "rates"), *phase;
	size_t i;

	add_size(a, "read", rates, "read", "/s");
	add_size(a, "written", rates, "written", "/s");
	add_size(a, "data", rates, "data", "/s");
	add_size(a, "on the wire", rates, "wire", "/s");
	json_array_foreach(json_object_get(report, "phases"), i, phase)
	{
		add_size(a, json_text(phase, "phase"), phase, "rate", "/s of disk");
	}
}

static void add_time_spent(struct adder *a, const json_t *report)
{
	static const char *const places[] = {"disk", "cpu", "network", "server"};
	const json_t *time = json_object_get(report, "time");

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		const json_t *share = json_object_get(json_object_get(time, places[i]), "share");
		double v = json_number_value(share);

		if (json_is_number(share) && v >= 0 && v <= 1)
			add(a, places[i], "%.0f %%", 100 * v);
	}
	add_text(a, "bottleneck", report, "bottleneck");
}

static void add_fix_ups(struct adder *a, const json_t *report)
{
	static const struct {
		const char *result, *text;
	} results[] = {
		{"moved", "the GPT was moved to the disk's end"},
		{"failed", "the GPT could not be moved and is as it was; the log says why"},
		{"untouched", "none"},
	};
	const json_t *disk;
	size_t i;

	json_array_foreach(json_object_get(report, "disks"), i, disk)
	{
		const char *gpt = json_text(disk, "gpt"), *text = gpt;

		for (size_t k = 0; k < sizeof(results) / sizeof(results[0]); k++) {
			if (strcmp(gpt, results[k].result) == 0)
				text = results[k].text;
		}
		if (has_text(disk, "gpt"))
			add(a, json_text(disk, "target"), "%s", text);
	}
}

static void add_upkeep(struct adder *a, const json_t *report)
{
	static const struct {
		const char *key, *name;
	} counts[] = {
		{"damaged", "damaged"},
		{"packs_removed", "packs removed"},
		{"packs_rewritten", "packs written anew"},
		{"objects_removed", "objects removed"},
	};
	const char *line = json_string_value(json_object_get(report, "damage"));

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (json_is_integer(json_object_get(report, counts[i].key)))
			add(a, counts[i].name, "%" PRIu64, json_number(report, counts[i].key));
	}
	add_size(a, "freed", report, "bytes_freed", "");
	while (line && *line) {
		size_t n = strcspn(line, "\n");

		add(a, "damage", "%.*s", (int)(n < VALUE_SIZE ? n : VALUE_SIZE), line);
		line += n + (line[n] == '\n');
	}
}

static void add_log(struct adder *a, const json_t *job)
{
	const json_t *line;
	size_t i;

	json_array_foreach(json_object_get(job, "log"), i, line)
	{
		add(a, "", "%s", json_string_value(line) ? json_string_value(line) : "-");
	}
}

void report_rows_init(struct report_rows *r, const json_t *job)
{
	const json_t *report = json_object_get(job, "report");
	struct adder a = {r, "Job"};

	*r = (struct report_rows){0};
	add_job(&a, job);
	a.section = "Roots";
	add_roots(&a, report);
	a.section = "Disks";
	add_disks(&a, report);
	a.section = "Writes to the source";
	add_counters(&a, report);
	a.section = "What was copied, and why";
	coverage_each(report, false, add_line, &a);
	a.section = "What could not be read, and is zeros";
	unreadable_each(report, add_line, &a);
	if (json_number(job, "unreadable"))
		add(&a, "bytes", "%" PRIu64, json_number(job, "unreadable"));
	a.section = "Fix-ups of the target";
	add_fix_ups(&a, report);
	a.section = "The store";
	add_upkeep(&a, report);
	a.section = "Times";
	add_times(&a, job, report);
	a.section = "Rates";
	add_rates(&a, report);
	a.section = "Where the time went";
	add_time_spent(&a, report);
	a.section = "Versions";
	add_text(&a, "agent", report, "agent_version");
	add_text(&a, "server", json_object_get(report, "server"), "version");
	a.section = "Log";
	add_log(&a, job);
}

void report_rows_done(struct report_rows *r)
{
	for (size_t i = 0; i < r->len; i++) {
		free(r->items[i].name);
		free(r->items[i].value);
	}
	free(r->items);
	*r = (struct report_rows){0};
}
