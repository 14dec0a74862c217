/* report_rows.h - the report of a job (docs/protocol.md, "Reports") as sections of rows for people; report_page.c makes a page of them.
 *
 * What the rows say comes from agents and disks: it is cleaned here (common/text.h), and may hold what means something to HTML. */
#ifndef SERVER_CLI_REPORT_ROWS_H
#define SERVER_CLI_REPORT_ROWS_H
#include <stdbool.h>
#include <stddef.h>

#include "common/json.h"

struct report_row {
	const char *section; /* static */
	char *name, *value;  /* heap */
};
struct report_rows {
	struct report_row *items; /* heap; those of a section lie together */
	size_t len;
	bool bad; /* out of memory */
};
/* Of a JOB.  What an older report does not have is left out. */
void report_rows_init(struct report_rows *r, const json_t *job);
void report_rows_done(struct report_rows *r);
#endif
