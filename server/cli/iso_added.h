/* iso_added.h - archives of modules and firmware for a medium: docs/formats-added.md */
#ifndef SERVER_CLI_ISO_ADDED_H
#define SERVER_CLI_ISO_ADDED_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"

#define ADDED_MAX      64u
#define ADDED_FILES    10000u
#define ADDED_SIZE_MAX (256u << 20)

/* The archive in the file `path` as it is put onto the medium as number `number`, with modules for the kernel `release` alone; heap.
 * -EINVAL: there is something in it that a medium cannot use. */
int added_pack(const char *path, const char *release, unsigned number, uint8_t **ret,
	       size_t *ret_size, struct err *err) MUST_CHECK;
/* What was added, in order, the first being number `first`: {"name", "packed", "files": [{"path", "size"}]} each, appended to the array `ret`.  -EPROTO. */
int added_list(const uint8_t *data, size_t size, unsigned first, json_t *ret,
	       struct err *err) MUST_CHECK;
/* For people. */
void added_print(const json_t *list);
#endif
