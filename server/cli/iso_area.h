/* iso_area.h - settings to and from the settings area of a medium: docs/formats-settings.md.  The area is wiped from memory afterwards, there may be
 * secrets in it. */
#ifndef SERVER_CLI_ISO_AREA_H
#define SERVER_CLI_ISO_AREA_H
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"

/* Do they fit?  -E2BIG. */
int iso_area_check(const json_t *settings, struct err *err) MUST_CHECK;
/* In place of what the area at byte `offset` holds, and flushed. */
int iso_area_write(int fd, uint64_t offset, const json_t *settings, struct err *err) MUST_CHECK;
/* Added to the object `settings`. */
int iso_area_read(int fd, uint64_t offset, json_t *settings, struct err *err) MUST_CHECK;
#endif
