/* formats.h - what is in a space: every format that we know asked in turn, those whose maps we read and those that we only name. */
#ifndef AGENT_USAGE_FORMATS_H
#define AGENT_USAGE_FORMATS_H
#include "agent/usage/scan.h"

/* Who claims `v`: `ret_part` gets content, label and uuid of the only one, or "unknown" when there is none (`*ret_format` is NULL then,
 * and also for content that is only named).  -EUCLEAN when several do, with their names; another errno when it cannot be read. */
int formats_find(struct volume *v, struct usage_part *ret_part, const struct format **ret_format,
		 struct err *err) MUST_CHECK;

#define SIGNATURES_MAX 8u

/* The names of content that is only known by its signature, at most SIGNATURES_MAX; static strings.  `is_at_end`: only by one that is counted from the end,
 * as firmware has for its RAID sets.  Returns how many, or a negative errno. */
int signatures_find(struct volume *v, bool is_at_end, const char **ret_names,
		    struct err *err) MUST_CHECK;
#endif
