#include "server/cli/print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "common/cleanup.h"
#include "common/text.h"

#define PROPERTY_WIDTH 14
#define LINE_SIZE      4400 /* a setting of a medium, whose value has up to 4096 bytes */

void size_to_text(uint64_t bytes, char ret[static SIZE_TEXT_SIZE])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes / 1024;
	size_t u = 0;

	if (bytes < 1024) {
		(void)snprintf(ret, SIZE_TEXT_SIZE, "%" PRIu64 " B", bytes);
		return;
	}
	for (; v >= 1023.95 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	(void)snprintf(ret, SIZE_TEXT_SIZE, "%.1f %s", v, units[u]);
}

void when_to_text(const char *rfc3339, char ret[static WHEN_TEXT_SIZE])
{
	struct tm tm = {0}, local;
	const char *end = rfc3339 ? strptime(rfc3339, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	time_t t;

	(void)snprintf(ret, WHEN_TEXT_SIZE, "-");
	if (!end || *end)
		return;
	t = timegm(&tm);
	if (localtime_r(&t, &local))
		(void)strftime(ret, WHEN_TEXT_SIZE, "%Y-%m-%d %H:%M", &local);
}

bool span_from_text(const char *text, uint64_t *ret)
{
	static const char units[] = "smhd";
	static const unsigned seconds[] = {1, 60, 3600, 86400};
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;

	if (digits == 0 || digits > 9 || !unit || text[digits + 1])
		return false;
	*ret = strtoull(text, NULL, 10) * seconds[unit - units];
	return true;
}

void span_to_text(uint64_t seconds, char ret[static SPAN_TEXT_SIZE])
{
	uint64_t minutes = seconds / 60, hours = minutes / 60;

	if (hours >= 48) {
		(void)snprintf(ret, SPAN_TEXT_SIZE, "%" PRIu64 " d %" PRIu64 " h", hours / 24,
			       hours % 24);
	} else if (hours) {
		(void)snprintf(ret, SPAN_TEXT_SIZE, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, hours,
			       minutes % 60, seconds % 60);
	} else {
		(void)snprintf(ret, SPAN_TEXT_SIZE, "%" PRIu64 ":%02" PRIu64, minutes,
			       seconds % 60);
	}
}

const char *json_text(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && *text ? text : "-";
}

uint64_t json_number(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 ? (uint64_t)v : 0;
}

void print_property(const char *name, const char *format, ...)
{
	char raw[1024], clean[1024];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	(void)text_clean(clean, sizeof(clean), raw, strlen(raw));
	(void)printf("%s:%*s%s\n", name,
		     strlen(name) < PROPERTY_WIDTH ? (int)(PROPERTY_WIDTH - strlen(name)) : 1, "",
		     clean);
}

void vprint_line(FILE *f, const char *format, va_list ap)
{
	char raw[LINE_SIZE], clean[LINE_SIZE];

	(void)vsnprintf(raw, sizeof(raw), format, ap);
	(void)text_clean(clean, sizeof(clean), raw, strlen(raw));
	(void)fprintf(f, "%s\n", clean);
}

void print_line(FILE *f, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprint_line(f, format, ap);
	va_end(ap);
}

void print_json(const json_t *j)
{
	size_t ascii = isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0;

	(void)json_dumpf(j, stdout, JSON_INDENT(2) | ascii);
	(void)fputc('\n', stdout);
}
