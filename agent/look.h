/* look.h - the agent looks at its machine: at the start, and again when something has come or gone. */
#ifndef AGENT_LOOK_H
#define AGENT_LOOK_H
#include <stdint.h>

#include "agent/config.h"
#include "agent/console.h"
#include "agent/inventory.h"
#include "common/err.h"

/* The disks of the inventory are locked as the settings say, and their paths joined.  `ret`: heap; `ret_devices`: as of look_for_devices, from
 * before. */
int look_around(const struct config *c, struct console *console, struct inventory **ret,
		uint64_t *ret_devices, struct err *err) MUST_CHECK;
/* The names of all block devices but those that we make ourselves, as a number: it differs when one has come or gone, or when the live
 * image's drivers have done with the hardware. */
uint64_t look_for_devices(void);
#endif
