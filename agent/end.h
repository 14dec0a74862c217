/* end.h - what becomes of the machine after a job. */
#ifndef AGENT_END_H
#define AGENT_END_H
#include <stdbool.h>

#include "agent/console.h"
#include "common/message.h"

/* Eject our own CD, if the machine was booted from one, then restart or switch off.  Only in the live image; elsewhere it says what it
 * would have done.  Returns when it could not, or END_STAY. */
void end_machine(enum end_action end, bool is_image, struct console *console);
/* The medium that the live image came from is needed no more: says so, and ejects it when it is a CD and that was asked for. */
void end_boot_medium(bool may_eject, struct console *console);
#endif
