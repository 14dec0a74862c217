/* iso_settings.h - what a medium is to be told, from the options of `hoist iso`. */
#ifndef SERVER_CLI_ISO_SETTINGS_H
#define SERVER_CLI_ISO_SETTINGS_H
#include <stdbool.h>

#include "common/err.h"
#include "common/json.h"
#include "server/cli/cli.h"

/* What a token is that the server makes for a medium when nothing else is said. */
#define ISO_USES    "100"
#define ISO_EXPIRES "30d"

/* Is there anything to be told?  The medium keeps its settings when something is added and nothing else is said. */
bool iso_settings_are_given(const struct ctx *c);
/* All of it, added to the object `settings`; the more explicit word counts.  A token that is yet to be made stands there as zeros.  -EINVAL. */
int iso_settings_gather(struct ctx *c, json_t *settings, struct err *err) MUST_CHECK;
#endif
