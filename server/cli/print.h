/* print.h - what people read: sizes, times, properties, lines.  Text of others (names of machines, labels of disks) is
 * cleaned on its way to the terminal. */
#ifndef SERVER_CLI_PRINT_H
#define SERVER_CLI_PRINT_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/json.h"

/* "512 B", "1.5 KiB", "8.0 GiB", "12.0 TiB" */
#define SIZE_TEXT_SIZE 24
void size_to_text(uint64_t bytes, char ret[static SIZE_TEXT_SIZE]);
/* RFC 3339 UTC -> "2026-01-31 13:00" in local time; "-" for what is no time (NULL too). */
#define WHEN_TEXT_SIZE 32
void when_to_text(const char *rfc3339, char ret[static WHEN_TEXT_SIZE]);
/* "0:07", "12:30", "3:05:00", "2 d 4 h" */
#define SPAN_TEXT_SIZE 32
/* "90s", "30m", "12h", "7d" in seconds; false for anything else. */
bool span_from_text(const char *text, uint64_t *ret);
void span_to_text(uint64_t seconds, char ret[static SPAN_TEXT_SIZE]);

/* Who is told of lines, one by one. */
typedef void (*line_fn)(void *ctx, const char *line);

/* Fields for printing: "-" / 0 for what is not there. */
const char *json_text(const json_t *o, const char *key);
uint64_t json_number(const json_t *o, const char *key);

/* "name:   text" of a list of properties; cleaned. */
void print_property(const char *name, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A line; cleaned. */
void print_line(FILE *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
void vprint_line(FILE *f, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));
/* The document on standard output, in ASCII on a terminal: others wrote its texts. */
void print_json(const json_t *j);
#endif
