/* iso_copy.h - the copy of a medium that `hoist iso` makes: it appears whole or not at all. */
#ifndef SERVER_CLI_ISO_COPY_H
#define SERVER_CLI_ISO_COPY_H
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"
#include "server/cli/cli.h"

/* The output while it is made. */
struct iso_copy {
	char *path; /* heap; NULL: there is none */
	int fd;
	uint64_t offset; /* of the settings area in it, where there is one */
	bool has_settings;
};

/* What --in or --download names, into a new file beside --out: all but the settings.  `copy`: its fd is -1, has_settings says whether there are
 * any to be written. */
int iso_copy_begin(struct ctx *c, struct iso_copy *copy, struct err *err) MUST_CHECK;
/* With these settings it takes the place of --out. */
int iso_copy_finish(const struct ctx *c, struct iso_copy *copy, const json_t *settings,
		    struct err *err) MUST_CHECK;
/* One that was not finished is removed. */
void iso_copy_done(struct iso_copy *copy);

/* A medium: a file or a disk; `flags` as of open(2). */
int iso_open(const char *path, int flags, int *ret, struct err *err) MUST_CHECK;
#endif
