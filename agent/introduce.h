/* introduce.h - the first that a machine's console says: who it is, what disks and cards it has, and what is not seen, why, and what to do. */
#ifndef AGENT_INTRODUCE_H
#define AGENT_INTRODUCE_H
#include "agent/console.h"
#include "agent/inventory.h"

void introduce_machine(const struct inventory *i, const char *name, struct console *c);
#endif
