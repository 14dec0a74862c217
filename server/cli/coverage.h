/* coverage.h - what a capture copied of its disks, and why, from its report (docs/protocol.md "Reports"). */
#ifndef SERVER_CLI_COVERAGE_H
#define SERVER_CLI_COVERAGE_H
#include <stdbool.h>

#include "common/json.h"
#include "server/cli/print.h"

/* Calls `fn` with one line each: disks, their partitions and volumes; with `doubts_only` just those that were copied whole though the
 * capture was to leave out what is free.  Nothing for reports without such things. */
void coverage_each(const json_t *report, bool doubts_only, line_fn fn, void *ctx);
#endif
