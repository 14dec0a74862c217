/* standard_fds.h - descriptors 0, 1 and 2 are there. */
#ifndef COMMON_STANDARD_FDS_H
#define COMMON_STANDARD_FDS_H
#include <fcntl.h>

/* First thing in main().  Whoever starts a program with one of them closed would give its number to the next file, socket or disk that is
 * opened, and what is said for a person would be written there.  What stands in for it takes nothing: to write is an error, as it was. */
static inline void standard_fds_keep(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			(void)!open("/dev/null", O_RDONLY); /* the lowest number that is free */
	}
}
#endif
