/* iso_added.h - archives of modules and firmware for a medium: docs/formats-added.md */
#ifndef SERVER_CLI_ISO_ADDED_H
#define SERVER_CLI_ISO_ADDED_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"
#include "server/cli/iso_place.h"

#define ADDED_MAX 64u /* archives */

/* The archive in the file `path` as it is put onto the medium as number `number`, with modules for the kernel `release` alone; heap.
 * -EINVAL: there is something in it that a medium cannot use. */
int added_pack(const char *path, const char *release, unsigned number, uint8_t **ret,
	       size_t *ret_size, struct err *err) MUST_CHECK;
/* What was added, in order, the first being number `first`: {"name", "packed", "files": [{"path", "size"}]} each, appended to the array `ret`.  -EPROTO. */
int added_list(const uint8_t *data, size_t size, unsigned first, json_t *ret,
	       struct err *err) MUST_CHECK;

/* All archives of a medium, as they lie behind one another in it. */
struct added {
	uint8_t *data; /* heap */
	size_t size;
	json_t *list; /* as of added_list */
};
/* What is at the place `p`; `a`: all 0. */
int added_read(int fd, const struct iso_place *p, struct added *a, struct err *err) MUST_CHECK;
/* The archive in the file `path` behind them. */
int added_append(struct added *a, const char *path, const char *release,
		 struct err *err) MUST_CHECK;
void added_done(struct added *a);

/* The list, for people. */
void added_print(const json_t *list);
#endif
