/* console.c - terminals are opened non-blocking: a serial line whose other end holds it up must not hold up a transfer. */
#include "agent/console.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/clock.h"

#define SHOW_MS	     2000u
#define SHOW_IDLE_MS 10000u

struct console {
	const struct setting_list *devices; /* outlives the console */
	pthread_mutex_t lock;		    /* over all below, and over writing */
	int *fds;			    /* one a device, or -1 */
	struct job_progress shown;	    /* the last progress line */
	uint64_t shown_ms;		    /* when; 0: none yet in this phase */
};

struct console *console_new(const struct setting_list *devices)
{
	struct console *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->devices = devices;
	c->fds = calloc(devices->len + 1, sizeof(*c->fds));
	if (!c->fds) {
		free(c);
		return NULL;
	}
	for (size_t i = 0; i < devices->len; i++)
		c->fds[i] = -1;
	(void)pthread_mutex_init(&c->lock, NULL);
	return c;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->devices->len; i++) {
		if (c->fds[i] >= 0)
			(void)close(c->fds[i]);
	}
	free(c->fds);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

/* A short or failed write loses the line: it is for eyes only. */
static void write_all(struct console *c, const char *line, size_t size)
{
	(void)!write(STDERR_FILENO, line, size);
	for (size_t i = 0; i < c->devices->len; i++) {
		if (c->fds[i] < 0) {
			c->fds[i] = open(c->devices->items[i],
					 O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		}
		if (c->fds[i] >= 0)
			(void)!write(c->fds[i], line, size);
	}
}

/* What a terminal would obey: a control character, also one of the second set (U+0080 to U+009F). */
static bool is_control(const char *p)
{
	const unsigned char *c = (const unsigned char *)p;

	return c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0);
}

void console_line(struct console *c, const char *line)
{
	char text[CONSOLE_LINE_SIZE + 16];
	time_t now = time(NULL);
	struct tm tm;
	size_t n;

	(void)gmtime_r(&now, &tm);
	n = strftime(text, sizeof(text), "%H:%M:%S ", &tm);
	(void)snprintf(text + n, sizeof(text) - n - 1, "%s", line);
	for (char *p = text; *p; p++) {
		if (is_control(p))
			*p = '?';
	}
	n = strlen(text);
	text[n++] = '\n';
	(void)pthread_mutex_lock(&c->lock);
	write_all(c, text, n);
	(void)pthread_mutex_unlock(&c->lock);
}

void console_say(struct console *c, const char *fmt, ...)
{
	char line[CONSOLE_LINE_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	console_line(c, line);
}

const char *console_amount(uint64_t bytes, char ret[static CONSOLE_AMOUNT_SIZE])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	double n = (double)bytes;

	while (n >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
		n /= 1024;
		unit++;
	}
	(void)snprintf(ret, CONSOLE_AMOUNT_SIZE, unit == 0 || n >= 100 ? "%.0f %s" : "%.1f %s", n,
		       units[unit]);
	return ret;
}

static void eta_text(const struct job_progress *p, uint64_t rate, char *ret, size_t size)
{
	uint64_t s = rate > 0 ? (p->total - p->done + rate - 1) / rate : 0;

	if (rate == 0) {
		(void)snprintf(ret, size, "no progress at present");
	} else if (s >= 3600) {
		(void)snprintf(ret, size, "%" PRIu64 ":%02" PRIu64 " h left", s / 3600,
			       s / 60 % 60);
	} else {
		(void)snprintf(ret, size, "%" PRIu64 ":%02" PRIu64 " min left", s / 60, s % 60);
	}
}

/* ", 4.0 KiB unreadable, 8.0 MiB to be saved (trim)" */
static void rescue_text(const struct job_progress *p, char *ret, size_t size)
{
	const char *pass = rescue_pass_name(p->rescue_pass);
	char lost[CONSOLE_AMOUNT_SIZE], sick[CONSOLE_AMOUNT_SIZE];
	size_t n = 0;

	ret[0] = '\0';
	if (p->unreadable > 0)
		n = (size_t)snprintf(ret, size, ", %s unreadable",
				     console_amount(p->unreadable, lost));
	if (p->sick > 0) {
		(void)snprintf(ret + n, size - n, ", %s to be saved%s%s%s",
			       console_amount(p->sick, sick), pass ? " (" : "", pass ? pass : "",
			       pass ? ")" : "");
	}
}

void console_progress_text(const struct job_progress *p, uint64_t rate, uint64_t sent_rate,
			   char ret[static CONSOLE_LINE_SIZE])
{
	char total[CONSOLE_AMOUNT_SIZE], speed[CONSOLE_AMOUNT_SIZE], sent[CONSOLE_AMOUNT_SIZE],
		wire[CONSOLE_AMOUNT_SIZE], eta[48], rescue[128];
	double percent = p->total ? 100.0 * (double)p->done / (double)p->total : 100.0;

	const char *limit = meter_place_name(p->bottleneck);

	rescue_text(p, rescue, sizeof(rescue));
	eta_text(p, rate, eta, sizeof(eta));
	(void)snprintf(ret, CONSOLE_LINE_SIZE,
		       "%-7s %5.1f %% of %s%s, %s/s, %s %s (%s/s), %s%s%s%s",
		       job_phase_name(p->phase), percent, console_amount(p->total, total),
		       p->skipped > 0 ? " in use" : "", console_amount(rate, speed),
		       p->phase == PHASE_RESTORE || p->phase == PHASE_VERIFY ? "received" : "sent",
		       console_amount(p->sent, sent), console_amount(sent_rate, wire), eta,
		       limit ? ", limit: " : "", limit ? limit : "", rescue);
}

static uint64_t per_second(uint64_t now, uint64_t before, uint64_t ms)
{
	return now > before && ms > 0 ? (now - before) * 1000 / ms : 0;
}

void console_progress(struct console *c, const struct job_progress *p)
{
	char line[CONSOLE_LINE_SIZE];
	uint64_t now = clock_ms(), ms;
	bool show = false;

	(void)pthread_mutex_lock(&c->lock);
	if (c->shown_ms == 0 || c->shown.phase != p->phase || c->shown.done > p->done) {
		c->shown = *p; /* a new beginning: rates count from here */
		c->shown_ms = now;
	}
	ms = now - c->shown_ms;
	if (p->total > 0 && ms >= SHOW_MS &&
	    (ms >= SHOW_IDLE_MS || p->done - c->shown.done >= p->total / 100)) {
		show = true;
		console_progress_text(p, per_second(p->done, c->shown.done, ms),
				      per_second(p->sent, c->shown.sent, ms), line);
		c->shown = *p;
		c->shown_ms = now;
	}
	(void)pthread_mutex_unlock(&c->lock);
	if (show)
		console_line(c, line);
}
