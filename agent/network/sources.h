/* sources.h - where the lines of the network come from. */
#ifndef AGENT_NETWORK_SOURCES_H
#define AGENT_NETWORK_SOURCES_H
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/netconf.h"

struct sources {
	const char *override; /* file whose lines count alone, if it is there; NULL: none */
	const char *cmdline;  /* text of a kernel line; NULL: that of the machine, if image */
	const char *settings; /* file; NULL: that of the medium, if image */
	const char *
		sysroot; /* whose firmware's table (iBFT) counts where no line says anything; NULL: this machine's, if image */
	bool image;
};

/* One word of the network on the kernel line puts all lines of the settings aside.  `bad` is told of each line that is wrong, which is passed
 * over; had_bad of the plan says so.  Errors: a file that was named and cannot be read, -ENOMEM. */
int sources_load(const struct sources *s, struct netconf *ret,
		 void (*bad)(void *ctx, const char *line), void *ctx, struct err *err) MUST_CHECK;
/* The text of a small file, heap, NUL-terminated. */
int sources_read(const char *path, char **ret, size_t *ret_size, struct err *err) MUST_CHECK;
#endif
