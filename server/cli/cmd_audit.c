/* audit */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/options.h"
#include "server/cli/print.h"

#define FOLLOW_MS 1000

static bool parse_date(const char *text, const char *format, int64_t *ret)
{
	struct tm tm = {.tm_isdst = -1};
	const char *end = strptime(text, format, &tm);
	bool utc = strchr(format, 'Z') != NULL;

	if (!end || *end)
		return false;
	*ret = utc ? timegm(&tm) : mktime(&tm);
	return true;
}

/* "2h" ago, "2026-01-31", "2026-01-31 13:00" (local), "2026-01-31T13:00:00Z". */
static bool parse_since(const char *text, int64_t *ret)
{
	uint64_t ago = 0;

	if (expires_parse(text, &ago) && ago > 0) {
		*ret = time(NULL) - (int64_t)ago;
		return true;
	}
	return parse_date(text, "%Y-%m-%d", ret) || parse_date(text, "%Y-%m-%d %H:%M", ret) ||
	       parse_date(text, "%Y-%m-%dT%H:%M:%SZ", ret);
}

static int check_since(const char *text, struct err *err)
{
	int64_t t;

	if (parse_since(text, &t))
		return 0;
	return err_set(err, -EINVAL,
		       "'%.32s' is neither a time ago like 90s, 12h, 7d nor a date like 2026-01-31 "
		       "or '2026-01-31 13:00'",
		       text);
}

static void print_row(struct ctx *c, const json_t *a)
{
	char when[WHEN_TEXT_SIZE];

	if (c->o.json) {
		print_json(a);
		return;
	}
	when_to_text(json_text(a, "at"), when);
	print_line(stdout, "%s  %s (%s)  %s %s: %s", when, json_text(a, "who"),
		   json_text(a, "address"), json_text(a, "action"), json_text(a, "object"),
		   json_text(a, "result"));
}

/* Those after the last one that was seen; how many is returned. */
static int print_page(struct ctx *c, const char *path, uint64_t *last, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *a;
	size_t i;
	int r = api(c, "GET", path, NULL, &answer, err);

	if (r < 0)
		return r;
	json_array_foreach(json_object_get(answer, "audit"), i, a)
	{
		print_row(c, a);
		*last = json_number(a, "id");
	}
	if (fflush(stdout) != 0)
		return err_set(err, -EIO, "write to standard output: %m");
	return (int)json_array_size(json_object_get(answer, "audit"));
}

static int run_audit(struct ctx *c, struct err *err)
{
	const struct timespec pause = {.tv_sec = FOLLOW_MS / 1000,
				       .tv_nsec = FOLLOW_MS % 1000 * 1000000};
	char path[PATH_SIZE] = "/v1/audit";
	bool paged = c->o.since != NULL;
	uint64_t last = 0;
	int64_t since = 0;
	int r = 0;

	if (paged && parse_since(c->o.since, &since))
		(void)snprintf(path, sizeof(path), "/v1/audit?since=%" PRId64,
			       since > 0 ? since : 0);
	for (;;) {
		r = print_page(c, path, &last, err);
		if (r < 0)
			return r;
		if (!c->o.follow && (r == 0 || !paged))
			return 0;
		if (r == 0)
			(void)nanosleep(&pause, NULL);
		(void)snprintf(path, sizeof(path), "/v1/audit?after=%" PRIu64, last);
		if (since > 0)
			(void)snprintf(path, sizeof(path),
				       "/v1/audit?after=%" PRIu64 "&since=%" PRId64, last, since);
	}
}

static const struct setting audit_options[] = {
	{.key = "since",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(since),
	 .value = "TIME",
	 .check = check_since,
	 .help = "From then on: a time ago (90s, 12h, 7d) or a date (2026-01-31, '2026-01-31 13:00')"},
	{.key = "follow",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(follow),
	 .help = "Go on printing what is added"},
};

const struct command cmd_audit = {
	.name = "audit",
	.operands = "",
	.summary = "Show who did what, and what was refused",
	.text = "The last 500 entries, or all since a time: when, who, from where, what, and how it went. The "
		"server keeps 100,000 entries of what was done and 10,000 of what was refused, and "
		"nobody can change one.\n"
		"--json prints an object for each.",
	.example = "hoist audit --since 7d",
	.takes = TAKES_SERVER | TAKES_JSON,
	OPTIONS(audit_options),
	.run = run_audit,
};
