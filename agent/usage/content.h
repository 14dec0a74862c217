/* content.h - what is in a place, be it on a mirror whose copies differ where nothing is in use. */
#ifndef AGENT_USAGE_CONTENT_H
#define AGENT_USAGE_CONTENT_H
#include "agent/usage/scan.h"
#include "agent/usage/table.h"

/* formats_find (into p->part) and table_read of the place in one: 1 when it has a table, 0, or their errors.  Where the copies of a mirror differ on the way: 0 when
 * they all show the same content (the mirror's `torn` has the places), otherwise -EUCLEAN, and the mirror's is_torn. */
int content_find(struct scan *s, struct place *p, const struct format **ret_format,
		 struct table *ret_table, struct err *err) MUST_CHECK;
#endif
