/* unreadable.h - what of a machine's disks could not be read, for people. */
#ifndef SERVER_CLI_UNREADABLE_H
#define SERVER_CLI_UNREADABLE_H
#include "common/json.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

#define STATE_TEXT_SIZE 64
/* How a JOB is or ended: "running", "stalled", "done", "done with 4096 unreadable bytes". */
void job_state_to_text(const json_t *job, char ret[static STATE_TEXT_SIZE]);
/* ", 4096 bytes unreadable, 8.0 MiB to be saved (trim)" of a running JOB; "" if there is nothing to say. */
#define RESCUE_TEXT_SIZE 96
void job_rescue_to_text(const json_t *job, char ret[static RESCUE_TEXT_SIZE]);

/* A line for each place that the `report` of a capture lists. */
void unreadable_each(const json_t *report, line_fn fn, void *ctx);
#endif
