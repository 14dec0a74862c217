/* fuzz_folder.h - a folder for files, in memory if it can be. */
#ifndef TESTS_FUZZ_FUZZ_FOLDER_H
#define TESTS_FUZZ_FUZZ_FOLDER_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FUZZ_FOLDER_SIZE 64

static inline void fuzz_folder_new(char ret[static FUZZ_FOLDER_SIZE])
{
	(void)snprintf(ret, FUZZ_FOLDER_SIZE, "%s/hoist-fuzz-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/var/tmp");
	if (!mkdtemp(ret))
		abort();
}
#endif
