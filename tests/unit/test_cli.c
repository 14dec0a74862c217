#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/image_ref.h"
#include "server/cli/options.h"
#include "server/cli/print.h"
#include "server/cli/progress.h"
#include "server/cli/report_page.h"
#include "server/cli/table.h"
#include "tests/unit/tap.h"

static bool same(const char *got, const char *want)
{
	bool good = strcmp(got, want) == 0;

	if (!good)
		printf("# got    '%s'\n# wanted '%s'\n", got, want);
	return good;
}

static void test_sizes(void)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} cases[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{1048575, "1.0 MiB"},
		{1048576, "1.0 MiB"},
		{8589934592, "8.0 GiB"},
		{1073741823, "1.0 GiB"},
		{1000204886016, "931.5 GiB"},
		{64ull << 40, "64.0 TiB"},
		{UINT64_MAX, "16.0 EiB"},
	};
	char text[SIZE_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "size %" PRIu64, cases[i].bytes);
		size_to_text(cases[i].bytes, text);
		ok(same(text, cases[i].want), name);
	}
}

static void test_times(void)
{
	char text[WHEN_TEXT_SIZE], span[SPAN_TEXT_SIZE];

	/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */
	(void)setenv("TZ", "XXX-2", 1); /* two hours east */
	tzset();
	/* NOLINTEND(concurrency-mt-unsafe) */
	when_to_text("2026-01-31T23:30:00Z", text);
	ok(same(text, "2026-02-01 01:30"), "time: local");
	when_to_text("2026-01-31", text);
	ok(same(text, "-"), "time: none");
	when_to_text(NULL, text);
	ok(same(text, "-"), "time: NULL");
	span_to_text(7, span);
	ok(same(span, "0:07"), "span: seconds");
	span_to_text(3599, span);
	ok(same(span, "59:59"), "span: minutes");
	span_to_text(3600 * 47 + 61, span);
	ok(same(span, "47:01:01"), "span: hours");
	span_to_text(3600 * 50, span);
	ok(same(span, "2 d 2 h"), "span: days");
}

static void test_ids(void)
{
	CLEANUP_JSON json_t *one = json_pack("[{s:s}]", "id", "aaaaaaaaaaaaaaaa"),
			    *none = json_array();
	CLEANUP_JSON json_t *three = json_pack("[{s:s}, {s:s}, {s:s}]", "id", "aaaaaaaaaabb", "id",
					       "bbbbbbbbbbbb", "id", "aaaaaaaaaacc");
	CLEANUP_JSON json_t *exact = json_pack("[{s:s}, {s:s}]", "id", "sda-big", "id", "sda");
	const json_t *found = NULL;
	struct err err = {0};

	ok(id_width(none, "id") == 8 && id_width(one, "id") == 8, "ids: 8 are enough for one");
	ok(id_width(three, "id") == 11, "ids: as many as tell them apart");
	ok(find_by_prefix(three, "id", "bbbb", 4, "job", &found, &err) == 0 &&
		   strcmp(json_text(found, "id"), "bbbbbbbbbbbb") == 0,
	   "prefix: one");
	found = NULL;
	ok(find_by_prefix(three, "id", "aaaa", 4, "job", &found, &err) == -EEXIST && !found &&
		   same(err.msg, "'aaaa' is the beginning of more than one job: write more of it"),
	   "prefix: two");
	ok(find_by_prefix(three, "id", "aaaaaaaaaab", 4, "job", &found, &err) == 0,
	   "prefix: longer");
	found = NULL;
	ok(find_by_prefix(three, "id", "bbb", 4, "job", &found, &err) == -ENOENT && !found &&
		   same(err.msg, "there is no job 'bbb'"),
	   "prefix: too short");
	ok(find_by_prefix(exact, "id", "sda", 4, "disk", &found, &err) == 0 &&
		   strcmp(json_text(found, "id"), "sda") == 0,
	   "prefix: a whole id counts, however short");
	ok(find_by_prefix(NULL, "id", "sda", 4, "disk", &found, &err) == -ENOENT,
	   "prefix: no list");
}

static void add_row(struct table *t, const json_t *row)
{
	cell_id(t, row);
	cell_text(t, "%s", json_text(row, "name"));
	cell_number(t, row, "size");
	cell_size(t, json_number(row, "size"));
	cell_when(t, row, "at");
	cell_text(t, "%s", json_text(row, "note"));
}

static void test_table(void)
{
	static const struct column columns[] = {{"ID", false},	{"NAME", false}, {"N", true},
						{"SIZE", true}, {"AT", false},	 {"NOTE", false}};
	static const struct table_form form = TABLE_FORM(columns, add_row, "id");
	CLEANUP_JSON json_t *rows = json_pack(
		"[{s:s, s:s, s:i, s:s}, {s:s, s:s, s:i, s:s}]", "id", "aaaaaaaaaXXXX", "name",
		"b\xc3\xa4r", "size", 12345, "note", "a\x1b[2Jb", "id", "aaaaaaaaaYYYY", "name",
		"\xe6\xbc\xa2" /* two columns wide */, "size", 1, "note", "x");
	char text[512] = "";
	FILE *f = fmemopen(text, sizeof(text), "w");

	ok(table_print(&form, rows, f), "table: printed");
	(void)fclose(f);
	ok(same(text, "ID          NAME      N      SIZE  AT  NOTE\n"
		      "aaaaaaaaaX  b\xc3\xa4r   12345  12.1 KiB  -   a\xef\xbf\xbd[2Jb\n"
		      "aaaaaaaaaY  \xe6\xbc\xa2        1       1 B  -   x\n"),
	   "table: aligned by columns of the terminal, control characters tamed");
	f = fmemopen(text, sizeof(text), "w");
	ok(table_print(&form, NULL, f), "table: of nothing");
	(void)fclose(f);
	ok(same(text, "ID  NAME  N  SIZE  AT  NOTE\n"), "table: its head only");
}

static void test_path(void)
{
	char path[PATH_SIZE], big[3 * PATH_SIZE];

	path_make(path, "/v1/machines/%s", "web 1/../x?y#z%\xc3\xa4");
	ok(same(path, "/v1/machines/web%201%2F..%2Fx%3Fy%23z%25%C3%A4"), "path: escaped");
	path_make(path, "/v1/%s/b/%s?c", "a-._~", "");
	ok(same(path, "/v1/a-._~/b/?c"), "path: two arguments");
	memset(big, '/', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	path_make(path, "/v1/%s", big);
	ok(strlen(path) < PATH_SIZE, "path: bounded");
}

static void test_image_ref(void)
{
	static const struct {
		const char *text, *name;
		uint32_t version;
	} good[] = {{"web1", "web1", 0},
		    {"web1@1", "web1", 1},
		    {"a.b-c_d@999999999", "a.b-c_d", 999999999}};
	static const char *const bad[] = {
		"",	   "@1",       "web1@",		  "web1@0", "web1@x", "web1@-1",
		"web1@1x", "web1@1@2", "web1@1000000000", "we/b",   "-web"};
	struct image_ref ref = {.version = 77};
	struct err err = {0};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(image_ref_parse(bad[i], &ref, &err) == -EINVAL && ref.version == 77, bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ok(image_ref_parse(good[i].text, &ref, &err) == 0 &&
			   strcmp(ref.name, good[i].name) == 0 && ref.version == good[i].version,
		   good[i].text);
	}
}

static void check_line(const char *json, size_t columns, const char *want, const char *name)
{
	CLEANUP_JSON json_t *job = json_loads(json, 0, NULL);
	char line[512];

	progress_line(job, columns, line, sizeof(line));
	ok(job && same(line, want), name);
}

static void check_summary(const char *json, const char *want, const char *name)
{
	CLEANUP_JSON json_t *job = json_loads(json, 0, NULL);
	char line[512];

	progress_summary(job, line, sizeof(line));
	ok(job && same(line, want), name);
}

static void test_progress(void)
{
	static const char running[] =
		"{\"state\":\"running\",\"phase\":\"capture\",\"done\":1073741824,"
		"\"total\":4294967296,\"rate\":104857600,\"eta_s\":31}";

	check_line(running, 0, "capture   25% 1.0 GiB of 4.0 GiB, 100.0 MiB/s, 0:31 left",
		   "progress: without bar");
	check_line(
		running, 80,
		"capture   25% [#####----------------] 1.0 GiB of 4.0 GiB, 100.0 MiB/s, 0:31 left",
		"progress: with bar");
	check_line("{\"state\":\"running\",\"phase\":\"capture\",\"done\":1,\"total\":4,"
		   "\"rate\":1,\"eta_s\":3,\"bottleneck\":\"network\"}",
		   0, "capture   25% 1 B of 4 B, 1 B/s, 0:03 left, limit: network",
		   "progress: what holds it up");
	check_line(running, 60, "capture   25% 1.0 GiB of 4.0 GiB, 100.0 MiB/s, 0:31 left",
		   "progress: no room for a bar");
	check_line(running, 20, "capture   25% 1.0 Gi", "progress: a narrow terminal");
	check_line("{\"state\":\"running\",\"phase\":\"check\",\"total\":0}", 80, "check",
		   "progress: nothing to count");
	check_line("{\"state\":\"running\",\"phase\":\"x\",\"done\":9,\"total\":3,\"rate\":0}", 0,
		   "x        100% 9 B of 3 B, 0 B/s", "progress: never more than all");
	check_line("{\"state\":\"waiting\"}", 80, "waiting", "progress: waiting for nobody");
	check_line("{\"state\":\"waiting\",\"machine\":\"aa\"}", 80,
		   "waiting for the machine to take the job", "progress: waiting");
	check_line("{\"state\":\"waiting\",\"message\":\"It is away.\"}", 80,
		   "waiting: It is away.", "progress: waiting, and why");
	check_line(
		"{\"state\":\"running\",\"stalled\":true,\"message\":\"No word\\u001b for 300 s.\"}",
		80, "stalled: No word\xef\xbf\xbd for 300 s.", "progress: stalled, and why");
	check_line("{\"state\":\"running\",\"stalled\":true,\"message\":\"No word for 300 s.\"}",
		   20, "stalled: No word for 300 s.", "progress: why, to its end");
	check_summary("{\"kind\":\"capture\",\"state\":\"done\",\"image\":\"web1\",\"version\":3,"
		      "\"total\":8589934592,\"data\":1048576,\"sent\":1024}",
		      "captured web1@3: 8.0 GiB of disks, 1.0 MiB of data, 1.0 KiB sent",
		      "summary: capture");
	check_summary(
		"{\"kind\":\"capture\",\"state\":\"done\",\"image\":\"web1\",\"version\":3,"
		"\"total\":1073741824,\"skipped\":7516192768,\"data\":1048576,\"sent\":1024}",
		"captured web1@3: 8.0 GiB of disks (7.0 GiB free and left out), 1.0 MiB of data, "
		"1.0 KiB sent",
		"summary: capture of what is in use");
	check_summary("{\"kind\":\"restore\",\"state\":\"failed\",\"message\":\"It broke.\"}",
		      "restore failed: It broke.", "summary: failure");
	check_summary("{\"kind\":\"gc\",\"state\":\"done\",\"message\":null}", "gc done",
		      "summary: gc");
	check_summary("{\"kind\":\"gc\",\"state\":\"done\",\"message\":null,\"report\":"
		      "{\"packs_removed\":12,\"packs_rewritten\":3,\"bytes_freed\":1048576}}",
		      "gc done: 1.0 MiB freed, 12 packs removed, 3 written anew",
		      "summary: gc, and what came of it");
	check_summary("{\"kind\":\"gc\",\"state\":\"done\",\"message\":null,\"report\":"
		      "{\"packs_removed\":0,\"packs_rewritten\":0,\"bytes_freed\":0}}",
		      "gc done: nothing to free", "summary: gc, and nothing did");
	check_summary("{\"kind\":\"verify\",\"state\":\"done\",\"image\":\"web1\",\"version\":3,"
		      "\"message\":null}",
		      "verified web1@3: nothing of it is damaged", "summary: verify");
}

/* ---- the table of commands */

static char *printed(const struct command *cmd)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		abort();
	if (cmd)
		print_command_help(cmd, f);
	else
		print_help(f);
	(void)fclose(f);
	return text;
}

static size_t longest_line(const char *text)
{
	size_t longest = 0;

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		longest = strcspn(text, "\n") > longest ? strcspn(text, "\n") : longest;
	return longest;
}

static bool is_sane(const struct command *cmd)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct setting_table table = command_options(cmd, buf);

	for (size_t i = 0; i < table.len; i++) {
		for (size_t k = 0; k < i; k++) {
			if (strcmp(table.settings[i].key, table.settings[k].key) == 0)
				return false;
		}
		if (table.settings[i].type != SETTING_BOOL && !table.settings[i].value)
			return false;
	}
	return cmd->run && cmd->summary[strlen(cmd->summary) - 1] != '.' &&
	       cmd->text[strlen(cmd->text) - 1] != '\n' && cmd->operands_max >= cmd->operands_min &&
	       (*cmd->operands != '\0') == (cmd->operands_max > 0);
}

static void test_commands(void)
{
	char *help = printed(NULL);

	ok(longest_line(help) <= 80, "help: at most 80 columns");
	for (size_t i = 0; i < commands_len; i++) {
		char *text = printed(commands[i]), name[64];

		(void)snprintf(name, sizeof(name), "command %s", commands[i]->name);
		ok(is_sane(commands[i]) && longest_line(text) <= 80 &&
			   strstr(help, commands[i]->summary) != NULL,
		   name);
		free(text);
	}
	free(help);
}

static void test_expires(void)
{
	static const char *const good[] = {"1s", "90m", "12h", "7d", "3660d", "never"};
	static const char *const bad[] = {"",	 "0s",	"7",	 "d",		"7w",
					  "7dd", "-1d", "3661d", "1000000000s", "Never"};
	struct err err = {0};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ok(check_expires(good[i], &err) == 0, good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(check_expires(bad[i], &err) == -EINVAL, bad[i]);
}

static void test_life(void)
{
	static const char *const good[] = {"1s", "90m", "12h", "7d", "366d", "8784h"};
	static const char *const bad[] = {"", "0s", "7", "7w", "367d", "8785h", "never"};
	struct err err = {0};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		ok(check_life(good[i], &err) == 0, good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(check_life(bad[i], &err) == -EINVAL && !strstr(err.msg, "nor 'never'"), bad[i]);
}

static char *page_of(const char *job_text, bool html)
{
	CLEANUP_JSON json_t *job = json_loads(job_text, 0, NULL);
	CLEANUP(report_rows_done) struct report_rows rows = {0};
	char *page = NULL;
	size_t size;
	FILE *f = open_memstream(&page, &size);

	if (!job || !f)
		abort();
	report_rows_init(&rows, job);
	if (html)
		report_print_html(&rows, f);
	else
		report_print_text(&rows, f);
	(void)fclose(f);
	return page;
}

#define ROOT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_report(void)
{
	/* all that is text is hostile: a disk's name, a label, a file's name, a line of log, an escape of the terminal, a direction mark */
	static const char hostile[] =
		"{\"id\":\"0123456789abcdef\",\"kind\":\"restore\",\"state\":\"failed\",\"code\":\"x\",\"message\":\"<b>&'\\\"\","
		"\"machine\":\"aa\",\"machine_name\":\"<script>alert(1)</script>\\u001b[31m\\u202e\","
		"\"image\":\"web\",\"version\":2,\"log\":[\"</td><img src=x onerror=y>\"],\"report\":{"
		"\"agent_version\":\"<i>\",\"rates\":{\"read\":1048576,\"wire\":\"x\"},\"phases\":[{\"phase\":\"<u>\",\"seconds\":1e300},7],"
		"\"time\":{\"disk\":{\"share\":0.5},\"cpu\":{\"share\":9}},\"roots\":[{\"disk\":\"<d>\",\"target_disk\":\"t\",\"source\":\"" ROOT
		"\",\"server\":\"" ROOT "\",\"target\":null,\"agree\":null},3],"
		"\"disks\":[{\"disk\":\"<d>\",\"gpt\":\"<g>\",\"target\":\"<t>\",\"counters\":{\"writes\":[1],\"sectors_written\":7},"
		"\"map\":{\"how\":\"raw\",\"why\":\"<why>\"},\"unreadable\":[{\"offset\":1,\"length\":2,\"what\":\"file\",\"name\":\"/<f>\"}]},\"x\"]}}";
	static const char old[] =
		"{\"id\":\"0123456789abcdef\",\"kind\":\"capture\",\"state\":\"done\",\"result\":\"done\",\"machine\":\"aa\",\"machine_name\":\"m\","
		"\"image\":\"web\",\"version\":1,\"log\":[],\"report\":{\"agent_version\":\"0.1\",\"seconds\":2.5,\"disks\":[{\"disk\":\"d\",\"root\":\"" ROOT
		"\"}]}}";
	static const char equal[] =
		"{\"id\":\"0\",\"report\":{\"roots\":[{\"disk\":\"d\",\"source\":\"" ROOT
		"\",\"server\":\"" ROOT "\",\"target\":\"" ROOT
		"\",\"agree\":true},{\"disk\":\"e\",\"source\":\"" ROOT
		"\",\"server\":\"x\",\"agree\":false}]}}";
	CLEANUP_FREE char *html = page_of(hostile, true), *text = page_of(hostile, false);
	CLEANUP_FREE char *old_text = page_of(old, false), *equal_text = page_of(equal, false);
	CLEANUP_FREE char *none = page_of("{\"report\":null}", true);
	CLEANUP_FREE char *gpt = page_of(
		"{\"kind\":\"restore\",\"report\":{\"disks\":[{\"gpt\":\"failed\",\"target\":\"t\"}]}}",
		false);
	CLEANUP_FREE char *gc = page_of(
		"{\"kind\":\"gc\",\"report\":{\"packs_rewritten\":2,\"objects_removed\":3}}",
		false);

	ok(gc && strstr(gc, "packs written anew") && strstr(gc, "objects removed") &&
		   !strchr(gc, '_'),
	   "a page names what a gc did in words");
	ok(strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt;") &&
		   strstr(html, "&lt;b&gt;&amp;&#39;&quot;") && strstr(html, "/&lt;f&gt;") &&
		   strstr(html, "&lt;why&gt;") && strstr(html, "&lt;g&gt;"),
	   "HTML: text of others is escaped");
	ok(!strstr(html, "<script") && !strstr(html, "<img") && !strstr(html, "<b>") &&
		   !strstr(html, "<d>") && !strstr(html, "<t>") && !strstr(html, "<u>") &&
		   !strstr(html, "<i>") && !strstr(html, "<f>"),
	   "and nothing of it is markup");
	ok(!strchr(html, '\033') && !strchr(text, '\033') && !strstr(text, "\u202e") &&
		   strstr(text, "alert(1)"),
	   "no page has a control character");
	ok(strstr(text, "not known: one is lacking") && strstr(text, "1.0 MiB/s") &&
		   !strstr(text, "1e"),
	   "what there is is shown, and what is no number is not");
	ok(strstr(old_text, "by the source  d: " ROOT) && strstr(old_text, "2.5 s") &&
		   !strstr(old_text, "agree"),
	   "an older report shows what it has");
	ok(strstr(equal_text, "yes, all three are the same") &&
		   strstr(equal_text, "NO: they differ"),
	   "roots that agree, and roots that do not");
	ok(strstr(gpt, "t  the GPT could not be moved") && !strstr(gpt, "good"),
	   "of a GPT that could not be moved nobody says that it is good");
	ok(strstr(none, "</html>"), "no report is a page, too");
}

int main(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	test_sizes();
	test_times();
	test_ids();
	test_table();
	test_path();
	test_image_ref();
	test_progress();
	test_commands();
	test_expires();
	test_life();
	test_report();
	return done();
}
