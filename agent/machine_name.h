/* machine_name.h - what a machine is called, for people. */
#ifndef AGENT_MACHINE_NAME_H
#define AGENT_MACHINE_NAME_H
#include "agent/config.h"
#include "agent/inventory.h"
#include "common/limits.h"

/* The name given, else the host name, unless that is the live image's own; else model and serial number.  Printable ASCII. */
void machine_name_choose(const struct config *c, const struct inventory *i,
			 char ret[static NAME_MAX_LEN + 1]);
#endif
