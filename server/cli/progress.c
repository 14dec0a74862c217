/* Following a job: a long poll that answers when the job's `seq` moves.  On a terminal one line is drawn again and
 * again on standard error; otherwise a line is written whenever the state or the phase changes, and now and then. */
#include "server/cli/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "server/cli/cli.h"
#include "server/cli/coverage.h"
#include "server/cli/print.h"
#include "server/cli/unreadable.h"

#define LINE_SIZE    512
#define WAIT_S	     25
#define LINE_EVERY_S 30 /* without a terminal */
#define RETRY_MAX_S  15
#define COLUMNS	     80
#define ALIKE	     24 /* that many first bytes make it the same sentence */
#define BAR_MIN	     10
#define BAR_MAX	     40

/* ---- lines */

static bool has_state(const json_t *job, const char *state)
{
	return strcmp(json_text(job, "state"), state) == 0;
}

static bool is_over(const json_t *job)
{
	return has_state(job, "done") || has_state(job, "failed") || has_state(job, "cancelled");
}

static void describe_amounts(const json_t *job, char *buf, size_t size)
{
	char done[SIZE_TEXT_SIZE], total[SIZE_TEXT_SIZE], rate[SIZE_TEXT_SIZE],
		left[SPAN_TEXT_SIZE];
	const json_t *eta = json_object_get(job, "eta_s");
	size_t n;

	size_to_text(json_number(job, "done"), done);
	size_to_text(json_number(job, "total"), total);
	size_to_text(json_number(job, "rate"), rate);
	(void)snprintf(buf, size, "%s of %s, %s/s", done, total, rate);
	n = strlen(buf);
	if (json_is_integer(eta)) {
		span_to_text(json_number(job, "eta_s"), left);
		(void)snprintf(buf + n, size - n, ", %s left", left);
		n = strlen(buf);
	}
	if (json_is_string(json_object_get(job, "bottleneck")))
		(void)snprintf(buf + n, size - n, ", limit: %.16s", json_text(job, "bottleneck"));
}

static void draw_bar(unsigned percent, size_t width, char *buf)
{
	size_t full = width * percent / 100;

	buf[0] = '[';
	for (size_t i = 0; i < width; i++)
		buf[1 + i] = i < full ? '#' : '-';
	buf[1 + width] = ']';
	buf[2 + width] = ' ';
	buf[3 + width] = '\0';
}

/* Why it does not go on, or that nobody has begun; false when there is progress to show. */
static bool describe_waiting(const json_t *job, char *buf, size_t size)
{
	bool waiting = has_state(job, "waiting");
	const char *message = json_text(job, "message");
	char clean[LINE_SIZE];

	if (json_is_true(json_object_get(job, "stalled")) ||
	    (waiting && strcmp(message, "-") != 0)) {
		(void)text_clean(clean, sizeof(clean), message, strlen(message));
		(void)snprintf(buf, size, "%s: %s", waiting ? "waiting" : "stalled", clean);
		return true;
	}
	if (waiting) {
		bool for_machine = json_is_string(json_object_get(job, "machine"));

		(void)snprintf(buf, size, "waiting%s",
			       for_machine ? " for the machine to take the job" : "");
	}
	return waiting;
}

static void describe_progress(const json_t *job, size_t columns, char *buf, size_t size)
{
	uint64_t done = json_number(job, "done"), total = json_number(job, "total");
	unsigned percent = done < total ? (unsigned)(100.0 * (double)done / (double)total) : 100;
	char head[64], amounts[256], bar[BAR_MAX + 8] = "", rescue[RESCUE_TEXT_SIZE];
	size_t used;

	(void)snprintf(head, sizeof(head), "%-8.16s %3u%% ", json_text(job, "phase"), percent);
	describe_amounts(job, amounts, sizeof(amounts));
	job_rescue_to_text(job, rescue);
	used = strlen(amounts);
	(void)snprintf(amounts + used, sizeof(amounts) - used, "%s", rescue);
	used = strlen(head) + strlen(amounts) + 3;
	if (columns > used + BAR_MIN)
		draw_bar(percent, columns - used > BAR_MAX ? BAR_MAX : columns - used, bar);
	(void)snprintf(buf, size, "%s%s%s", head, bar, amounts);
}

void progress_line(const json_t *job, size_t columns, char *buf, size_t size)
{
	if (describe_waiting(job, buf, size))
		return;
	if (json_number(job, "total") == 0) {
		(void)snprintf(buf, size, "%s",
			       json_text(job, has_state(job, "running") ? "phase" : "state"));
	} else {
		describe_progress(job, columns, buf, size);
	}
	if (columns && strlen(buf) > columns)
		buf[columns] = '\0';
}

/* "": an older server does not say. */
static void freed_to_text(const json_t *report, char *buf, size_t size)
{
	uint64_t removed = json_number(report, "packs_removed");
	uint64_t anew = json_number(report, "packs_rewritten");
	char freed[SIZE_TEXT_SIZE];

	buf[0] = '\0';
	size_to_text(json_number(report, "bytes_freed"), freed);
	if (removed + anew > 0) {
		(void)snprintf(buf, size,
			       ": %s freed, %" PRIu64 " packs removed, %" PRIu64 " written anew",
			       freed, removed, anew);
	} else if (json_is_object(report)) {
		(void)snprintf(buf, size, ": nothing to free");
	}
}

void progress_summary(const json_t *job, char *buf, size_t size)
{
	char total[SIZE_TEXT_SIZE], data[SIZE_TEXT_SIZE], sent[SIZE_TEXT_SIZE],
		skipped[SIZE_TEXT_SIZE];
	uint64_t left_out = json_number(job, "skipped"); /* of a capture */
	uint64_t lost = json_number(job, "unreadable");
	size_t n;
	const char *kind = json_text(job, "kind"), *message = json_text(job, "message");

	size_to_text(json_number(job, "total") + left_out, total);
	size_to_text(json_number(job, "data"), data);
	size_to_text(json_number(job, "sent"), sent);
	size_to_text(left_out, skipped);
	if (!has_state(job, "done"))
		(void)snprintf(buf, size, "%s %s: %s", kind, json_text(job, "state"), message);
	else if (strcmp(kind, "capture") == 0) {
		(void)snprintf(buf, size,
			       "captured %s@%" PRIu64 ": %s of disks%s%s%s, %s of data, %s sent",
			       json_text(job, "image"), json_number(job, "version"), total,
			       left_out ? " (" : "", left_out ? skipped : "",
			       left_out ? " free and left out)" : "", data, sent);
	} else if (strcmp(kind, "restore") == 0) {
		(void)snprintf(buf, size,
			       "restored %s@%" PRIu64 " onto %s and verified it: %s received",
			       json_text(job, "image"), json_number(job, "version"),
			       json_text(job, "machine_name"), sent);
	} else if (strcmp(kind, "verify") == 0) {
		(void)snprintf(buf, size, "verified %s@%" PRIu64 ": nothing of it is damaged",
			       json_text(job, "image"), json_number(job, "version"));
	} else {
		n = (size_t)snprintf(buf, size, "%s done", kind);
		if (n < size)
			freed_to_text(json_object_get(job, "report"), buf + n, size - n);
	}
	if (has_state(job, "done") && lost > 0) {
		n = strlen(buf);
		(void)snprintf(buf + n, size - n,
			       "; %" PRIu64 " bytes could not be read and are zeros", lost);
	}
}

/* ---- showing */

struct show {
	bool terminal;
	bool drawn;	      /* the terminal's line holds something */
	char said[LINE_SIZE]; /* what a terminal was shown in full, and when */
	time_t said_time;
	bool saying; /* no other line was shown since that fits */
	char last_key[64];
	time_t last_time;
};

static time_t now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* One whose line can be drawn again: not that of an editor's shell. */
static bool has_terminal(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody sets variables */
	const char *kind = getenv("TERM");

	return isatty(STDERR_FILENO) && !(kind && strcmp(kind, "dumb") == 0);
}

static size_t terminal_columns(void)
{
	struct winsize w;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
		return w.ws_col - 1u;
	return COLUMNS - 1;
}

static void show_clear(struct show *s)
{
	if (s->drawn)
		(void)fputs("\r\033[K", stderr);
	s->drawn = false;
}

/* What the terminal's line has no room for gets a line of its own, where it can be read to its end; the same with other numbers now and then. */
static void show_sentence(struct show *s, const char *text)
{
	bool fits = strlen(text) <= terminal_columns();
	bool alike = strncmp(text, s->said, ALIKE) == 0;

	if (!fits && !(s->saying && strcmp(text, s->said) == 0) &&
	    !(alike && now_s() - s->said_time < LINE_EVERY_S)) {
		show_clear(s);
		(void)fprintf(stderr, "%s\n", text);
		(void)snprintf(s->said, sizeof(s->said), "%s", text);
		s->said_time = now_s();
	}
	s->saying = !fits;
}

static void show_text(struct show *s, const char *text)
{
	char clean[LINE_SIZE];

	(void)text_clean(clean, sizeof(clean), text, strlen(text));
	if (s->terminal) {
		show_sentence(s, clean);
		(void)fprintf(stderr, "\r%.*s\033[K", (int)terminal_columns(), clean);
		(void)fflush(stderr);
		s->drawn = true;
	} else {
		(void)fprintf(stderr, "%s\n", clean);
	}
}

static void show_job(struct show *s, const json_t *job)
{
	bool stalled = json_is_true(json_object_get(job, "stalled"));
	char line[LINE_SIZE], key[64];

	if (is_over(job))
		return;
	(void)snprintf(key, sizeof(key), "%.20s %.20s%s", json_text(job, "state"),
		       json_text(job, "phase"), stalled ? " stalled" : "");
	if (!s->terminal && strcmp(key, s->last_key) == 0 && now_s() - s->last_time < LINE_EVERY_S)
		return;
	memcpy(s->last_key, key, sizeof(key));
	s->last_time = now_s();
	progress_line(job, s->terminal ? terminal_columns() : 0, line, sizeof(line));
	show_text(s, line);
}

/* ---- following */

static void pause_s(unsigned seconds)
{
	struct timespec ts = {.tv_sec = seconds};

	(void)nanosleep(&ts, NULL);
}

/* The job as it is when its seq has moved past `seq`; a server that is away is waited for. */
static int poll_job(struct ctx *c, const char *id, uint64_t seq, struct show *s, json_t **ret,
		    struct err *err)
{
	char path[PATH_SIZE], numbers[64];
	struct http_answer a;
	unsigned delay = 1;
	int r;

	(void)snprintf(numbers, sizeof(numbers), "?seq=%" PRIu64 "&wait=%d", seq, WAIT_S);
	path_make(path, "/v1/jobs/%s", id);
	(void)snprintf(path + strlen(path), sizeof(path) - strlen(path), "%s", seq ? numbers : "");
	for (;;) {
		char text[LINE_SIZE];
		struct http_call call = {.method = "GET", .path = path};

		r = http_json(c->http, &call, ret, &a, err);
		c->error = a.error;
		if (r >= 0 || !http_may_retry(r, &a))
			return r;
		(void)snprintf(text, sizeof(text), "%.400s; trying again", err->msg);
		if (s->terminal || strcmp(s->last_key, "away") != 0)
			show_text(s, text);
		(void)snprintf(s->last_key, sizeof(s->last_key), "away");
		pause_s(a.retry_after_s ? a.retry_after_s : delay);
		delay = delay * 2 > RETRY_MAX_S ? RETRY_MAX_S : delay * 2;
	}
}

static int follow(struct ctx *c, const char *id, struct show *s, json_t **ret, struct err *err)
{
	json_t *job = NULL;
	int r = 0;

	do {
		uint64_t seq = json_number(job, "seq");

		json_decref(job);
		job = NULL;
		r = poll_job(c, id, seq, s, &job, err);
		if (r < 0)
			return r;
		show_job(s, job);
	} while (!is_over(job));
	*ret = job;
	if (!has_state(job, "done"))
		return EXIT_FAILED;
	return strcmp(json_text(job, "result"), "done_with_unreadable") == 0 ? EXIT_UNREADABLE : 0;
}

/* What a verify found, line by line. */
static void print_damage(const json_t *job)
{
	const char *p =
		json_string_value(json_object_get(json_object_get(job, "report"), "damage"));

	for (; p && *p; p += strcspn(p, "\n"), p += *p == '\n') {
		char clean[LINE_SIZE];

		(void)text_clean(clean, sizeof(clean), p, strcspn(p, "\n"));
		(void)fprintf(stderr, "  %s\n", clean);
	}
}

static void print_note(void *ctx, const char *line)
{
	(void)ctx;
	char clean[LINE_SIZE];

	(void)text_clean(clean, sizeof(clean), line, strlen(line));
	(void)fprintf(stderr, "note: %s\n", clean);
}

static void print_unreadable(void *ctx, const char *line)
{
	(void)ctx;
	char clean[LINE_SIZE];

	(void)text_clean(clean, sizeof(clean), line, strlen(line));
	(void)fprintf(stderr, "unreadable: %s\n", clean);
}

int job_follow(struct ctx *c, const char *id, json_t **ret, struct err *err)
{
	struct show s = {.terminal = has_terminal()};
	char text[LINE_SIZE], clean[LINE_SIZE];
	json_t *job = NULL;
	int r = 0;

	if (!c->http) { /* the first request connects */
		char path[PATH_SIZE];

		path_make(path, "/v1/jobs/%s", id);
		r = api(c, "GET", path, NULL, NULL, err);
	}
	if (r == 0)
		r = follow(c, id, &s, &job, err);
	show_clear(&s);
	if (r < 0)
		return r;
	progress_summary(job, text, sizeof(text));
	(void)text_clean(clean, sizeof(clean), text, strlen(text));
	if (r == EXIT_FAILED) {
		(void)fprintf(stderr, "hoist: %s\n", clean);
		print_damage(job);
	} else {
		if (!c->o.json)
			(void)printf("%s\n", clean);
		coverage_each(json_object_get(job, "report"), true, print_note, NULL);
		unreadable_each(json_object_get(job, "report"), print_unreadable, NULL);
	}
	*ret = job;
	return r;
}

int job_started(struct ctx *c, const json_t *job, struct err *err)
{
	CLEANUP_JSON json_t *end = NULL;
	const char *id = NULL;
	int r = json_get_str(job, "id", JOB_TEXT_SIZE - 1, &id, err);

	if (r < 0)
		return err_prefix(err, "the server's answer");
	if (json_number(job, "unreadable") > 0) { /* of a restore: what is known already */
		print_line(stderr,
			   "warning: %" PRIu64 " bytes of %s@%" PRIu64
			   " could not be read when it was captured; they are restored as zeros",
			   json_number(job, "unreadable"), json_text(job, "image"),
			   json_number(job, "version"));
	}
	if (!c->o.wait) {
		if (c->o.json)
			print_json(job);
		else
			print_line(stdout, "job %s: %s is %s", id, json_text(job, "kind"),
				   json_text(job, "state"));
		return 0;
	}
	print_line(stderr, "job %s (it goes on if you interrupt this; hoist job show %.8s --wait)",
		   id, id);
	r = job_follow(c, id, &end, err);
	if (end && c->o.json)
		print_json(end);
	return r;
}
