/* timeouts.h - how long the kernel waits for a disk that does not answer.
 *
 * Half a minute for a command, which it then repeats, is right for a disk in service; where thousands of sectors are bad it is days.  While a sick disk is captured
 * these are lowered, in the live image only, where nobody else uses the disk; they are as before when it is done. */
#ifndef AGENT_TIMEOUTS_H
#define AGENT_TIMEOUTS_H
#include "agent/sysroot.h"

#define TIMEOUT_S    8u /* of a command: more than a disk needs to start turning */
#define TIMEOUT_EH_S 4u /* of the handling of its error */

struct timeouts {
	char sysname[64];
	/* What was there; 0: was left alone. */
	uint64_t command_s, eh_s, queue_ms;
};

/* Lower those of disk `sysname` ("sda"), never raise one.  True: something was lowered. */
bool timeouts_lower(const struct sysroot *r, const char *sysname, struct timeouts *ret);
/* As they were.  A zeroed value: nothing to be done. */
void timeouts_restore(const struct sysroot *r, struct timeouts *t);
#endif
