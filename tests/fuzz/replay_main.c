/* Runs a fuzz target over its corpus with any compiler, as a TAP test: $(O)/replay/fuzz_X reads every file of
 * tests/fuzz/corpus/X (or the files and folders named).  A crash or sanitizer report is the failure; an empty
 * or missing corpus is one as well. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs;

static bool run_file(const char *path)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE uint8_t *data = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	data = malloc(st.st_size ? (size_t)st.st_size : 1); /* exact: the sanitizer sees the end */
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return false;
	printf("# %s\n", path);
	(void)fflush(stdout); /* the last line before a crash names the input */
	(void)LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	inputs++;
	return true;
}

static bool run_path(const char *path)
{
	struct dirent **names = NULL;
	int n = scandir(path, &names, NULL, alphasort);
	bool good = true;

	if (n < 0)
		return run_file(path);
	for (int i = 0; i < n; i++) {
		char file[4096];

		(void)snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			good = run_file(file) && good;
		free(names[i]);
	}
	free(names);
	return good;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	char corpus[4096];
	bool good = true;

	(void)snprintf(corpus, sizeof(corpus), "tests/fuzz/corpus/%s",
		       strncmp(name, "fuzz_", 5) == 0 ? name + 5 : name);
	if (argc < 2)
		good = run_path(corpus);
	for (int i = 1; i < argc; i++)
		good = run_path(argv[i]) && good;
	good = good && inputs > 0;
	printf("%sok 1 - %s: %u inputs\n1..1\n", good ? "" : "not ", name, inputs);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
