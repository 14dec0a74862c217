/* klog.h - did the kernel complain?  It mounts filesystems in which it has found errors; we do not believe such. */
#ifndef AGENT_REPLAY_KLOG_H
#define AGENT_REPLAY_KLOG_H
#include "agent/replay/sys.h"

/* One record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg): is it an error of `device` ("dm-3") or of something without a name that a
 * replay uses?  Then its text, without the rest, is left in `record`. */
bool klog_is_fault(char *record, const char *device);
/* All records since sys->log_open: 0, or -EUCLEAN with the first fault of one of the devices (`len` names), or -EOVERFLOW when records were
 * lost. */
int klog_check(const struct replay_sys *sys, int fd, const char *const *devices, size_t len,
	       struct err *err) MUST_CHECK;
#endif
