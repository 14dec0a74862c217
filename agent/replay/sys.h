/* sys.h - all that agent/replay/ asks of the system, so that tests can make each of it fail.
 *
 * Numbers are results or negative errnos. */
#ifndef AGENT_REPLAY_SYS_H
#define AGENT_REPLAY_SYS_H
#include <stdint.h>
#include <sys/types.h>

#include "common/blk.h"

struct replay_sys {
	int (*open)(const char *path, int flags);
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	/* A control device whose module is loaded when it is opened (its numbers are aliases of that), so it has to be made before. */
	int (*make_node)(const char *path, unsigned major, unsigned minor);
	/* The numbers of a block device. */
	int (*number)(const char *path, unsigned *ret_major, unsigned *ret_minor);
	/* A file of `size` bytes in memory that has no name. */
	int (*memory_file)(uint64_t size);
	/* Bytes that can be had without taking them from anyone. */
	int (*memory_free)(uint64_t *ret);
	int (*fsopen)(const char *type);
	int (*fsconfig)(int fd, unsigned command, const char *key, const char *value);
	/* /dev/kmsg from now on, and its next record; 0 when there is none yet. */
	int (*log_open)(void);
	ssize_t (*log_read)(int fd, char *buf, size_t size);
	int (*open_blk)(const char *path, struct blk **ret, struct err *err);
};

extern const struct replay_sys replay_sys_real;
#endif
