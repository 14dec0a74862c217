#include "common/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static atomic_int max_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	atomic_store(&max_level, (int)level);
}

/* What comes from peers may hold escape sequences: nothing but printable bytes and UTF-8 leaves. */
static void escape(const char *in, char *out, size_t out_size)
{
	size_t n = 0;

	for (; *in != '\0' && n + 5 < out_size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c >= 0x20 && c != 0x7f) {
			out[n++] = (char)c;
		} else {
			n += (size_t)snprintf(out + n, out_size - n, "\\x%02x", c);
		}
	}
	out[n] = '\0';
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	char text[2048], clean[4096], when[32];
	struct timespec now;
	struct tm tm;
	va_list ap;

	if ((int)level > atomic_load(&max_level))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	escape(text, clean, sizeof(clean));
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &tm) == NULL)
		memset(&tm, 0, sizeof(tm));
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	/* One call, so that the lines of threads do not mix. */
	(void)fprintf(stderr, "%s.%03ldZ %s %s %s\n", when, now.tv_nsec / 1000000, names[level],
		      event, clean);
}
