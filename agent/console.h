/* console.h - what a person in front of the machine sees: plain lines, on screen and serial line alike.  Thread-safe, and never
 * waits for a terminal: what it does not take is lost. */
#ifndef AGENT_CONSOLE_H
#define AGENT_CONSOLE_H
#include <stdbool.h>
#include <stdint.h>

#include "agent/job.h"
#include "common/setting.h"

struct console;

/* Lines go to standard error and to each of `devices`; one that cannot be opened is tried again at each line. NULL: out of memory. */
struct console *console_new(const struct setting_list *devices) MUST_CHECK;
void console_free(struct console *c);

/* "14:02:31 text"; control characters are shown as '?'. */
void console_line(struct console *c, const char *line);
void console_say(struct console *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How far a job is; shows it when that is worth a line: every 2 s at most, and only after 1 % or 10 s. */
void console_progress(struct console *c, const struct job_progress *p);

#define CONSOLE_LINE_SIZE   600u
#define CONSOLE_AMOUNT_SIZE 24u

/* "512 B", "3.4 GiB": for a person.  Returns `ret`. */
const char *console_amount(uint64_t bytes, char ret[static CONSOLE_AMOUNT_SIZE]);

/* The text of a progress line.  `rate` bytes of disk per second, `sent_rate` on the wire. */
void console_progress_text(const struct job_progress *p, uint64_t rate, uint64_t sent_rate,
			   char ret[static CONSOLE_LINE_SIZE]);
#endif
