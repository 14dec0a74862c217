/* progress.h - how a job goes on, as one line of text. */
#ifndef SERVER_CLI_PROGRESS_H
#define SERVER_CLI_PROGRESS_H
#include <stddef.h>

#include "common/json.h"

/* "capture  45% [#####-----] 1.2 GiB of 2.6 GiB, 85.0 MiB/s, 0:25 left" of at most `columns` columns; the bar has what
 * room the rest leaves, and is left out below 10.  `columns` 0: without bar, as long as it is.  So is the sentence that says why a job
 * waits or is stalled. */
void progress_line(const json_t *job, size_t columns, char *buf, size_t size);
/* What there is to say of a job that has ended: "done: image web1, version 3; 8.0 GiB of disks, ..." */
void progress_summary(const json_t *job, char *buf, size_t size);
#endif
