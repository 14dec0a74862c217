/* audit.h - who did what: one row for each request of an operator that changes something, and for each that was refused.
 *
 * Refusals are recorded at a limited rate, so that whoever knocks without end fills neither the disk nor the log; what was left out is
 * counted, and the count recorded.  Wrong passwords for names that there are, which are limited themselves, are never left out.
 * All of it goes to the log on standard error too. */
#ifndef SERVER_ACCESS_AUDIT_H
#define SERVER_ACCESS_AUDIT_H
#include <stdbool.h>

#include "server/state/state.h"

struct audit;
struct audit *audit_new(struct state *s); /* NULL: out of memory */
void audit_free(struct audit *a);
/* `at` and `id` are set here.  Texts of others are cleaned. */
void audit_add(struct audit *a, const struct audit_row *row);
#endif
