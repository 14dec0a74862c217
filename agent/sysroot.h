/* sysroot.h - /sys, /proc and /dev of this machine, or of another one dumped into a folder (scripts/dump-sysroot).
 *
 * Paths are given without a leading slash ("sys/block/sda/size"), printf-like.  Symbolic links cannot lead out of the root.  What is
 * absent or unreadable is simply not there: these functions have no error but "no". */
#ifndef AGENT_SYSROOT_H
#define AGENT_SYSROOT_H
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define SYSROOT_LIST_MAX 4096u

struct sysroot {
	int fd;
	bool is_live;	     /* this very machine: ioctls and CPUID tell the truth */
	char path[PATH_MAX]; /* "" when live: prefix of device nodes */
};

/* Names in a folder, without "." and "..", in natural order. */
struct name_list {
	char **names; /* heap */
	size_t len, room;
};

/* `dir` NULL: this machine. */
int sysroot_open(const char *dir, struct sysroot *ret, struct err *err) MUST_CHECK;
void sysroot_done(struct sysroot *r);

#define SYSROOT_PRINTF(n) __attribute__((format(printf, (n), (n) + 1)))

/* Up to `size` bytes of a file from its start; how many, or -1. */
ssize_t sysroot_read(const struct sysroot *r, void *buf, size_t size, const char *fmt, ...)
	SYSROOT_PRINTF(4);
/* Its text through text_clean; false and "" when it is not there or nothing is left of it. */
bool sysroot_text(const struct sysroot *r, char *ret, size_t size, const char *fmt, ...)
	SYSROOT_PRINTF(4);
/* Its decimal number, alone on the first line; false (ret untouched) otherwise. */
bool sysroot_u64(const struct sysroot *r, uint64_t *ret, const char *fmt, ...) SYSROOT_PRINTF(3);
bool sysroot_exists(const struct sysroot *r, const char *fmt, ...) SYSROOT_PRINTF(2);
/* Where a symbolic link leads, its own folder being free of links, as a normalised path in the root ("sys/devices/…"). */
bool sysroot_follow(const struct sysroot *r, char ret[static PATH_MAX], const char *fmt, ...)
	SYSROOT_PRINTF(3);
/* The last part of where a link leads: the name of a driver or subsystem. */
bool sysroot_link_name(const struct sysroot *r, char *ret, size_t size, const char *fmt, ...)
	SYSROOT_PRINTF(4);
/* Empty when the folder is not there. */
void sysroot_list(const struct sysroot *r, struct name_list *ret, const char *fmt, ...)
	SYSROOT_PRINTF(3);
bool name_list_add(struct name_list *l, const char *name);
/* Each name once, in order. */
void name_list_unique(struct name_list *l);
void name_list_done(struct name_list *l);
#define CLEANUP_NAMES __attribute__((cleanup(name_list_done)))
#endif
