/* The server's file server.json and the configuration file of the CLI: a target is found that is well-formed, or it is said what is wrong.
 *
 * The input: which of them (1), the file. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/lib/sample.h"

static char dir[FUZZ_FOLDER_SIZE], server_json[96], config[96];

static void end(void)
{
	tree_remove(dir);
}

static void begin(void)
{
	char folder[96];

	fuzz_folder_new(dir);
	(void)atexit(end);
	(void)snprintf(server_json, sizeof(server_json), "%s/server.json", dir);
	(void)snprintf(folder, sizeof(folder), "%s/hoist", dir);
	(void)snprintf(config, sizeof(config), "%s/hoist/config", dir);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
	if (mkdir(folder, 0700) < 0 || setenv("XDG_CONFIG_HOME", dir, 1) < 0)
		abort();
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
	FILE *f = fopen(path, "we");

	if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ctx c = {.command = commands[0]};
	struct err err = {0};
	int r;

	if (size < 1)
		return 0;
	if (!*dir)
		begin();
	(void)unlink(server_json);
	(void)unlink(config);
	if (data[0] & 1) {
		write_file(config, data + 1, size - 1);
	} else {
		write_file(server_json, data + 1, size - 1);
		c.o.data = dir;
	}
	r = target_find(&c, &err);
	if (r == 0 &&
	    (strncmp(c.target.url, "https://", 8) != 0 ||
	     (c.target.pin[0] && strlen(c.target.pin) != PIN_TEXT_SIZE - 1) || !c.o.token_file))
		abort();
	if (r < 0 && !err.msg[0])
		abort();
	free(c.o.token_file);
	return 0;
}
