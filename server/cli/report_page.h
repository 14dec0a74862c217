/* report_page.h - rows of a report as a page of text or of HTML. */
#ifndef SERVER_CLI_REPORT_PAGE_H
#define SERVER_CLI_REPORT_PAGE_H
#include <stdio.h>

#include "server/cli/report_rows.h"

void report_print_text(const struct report_rows *r, FILE *f);
/* One file that needs no other, without script, all text of others escaped. */
void report_print_html(const struct report_rows *r, FILE *f);
#endif
