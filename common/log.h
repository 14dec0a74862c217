/* log.h - structured lines: "2026-01-31T12:00:00.123Z level event key=value ..." on standard error (and
 * nowhere else).  Only main programs and their top layers log; common/ itself does not. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_set_level(enum log_level level);
/* `event` is one word; fmt gives "key=value key=value"; control characters are escaped.  Thread-safe. */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
#endif
