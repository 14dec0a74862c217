/* config.h - the settings of `hoist-agent run`, from argv, hoist.* kernel arguments and the settings file. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H
#include "common/agent_config.h"

/* Where the live image has its settings, and the kernel line. */
#define CONFIG_IMAGE_SETTINGS "/hoist.d/settings"
#define CONFIG_IMAGE_CMDLINE  "/proc/cmdline"

/* The whole of a small file, heap, NUL-terminated: what is behind 64 KiB is left out. */
int config_read_file(const char *path, char **ret, size_t *ret_size, struct err *err) MUST_CHECK;
/* The word of `hoist-agent run`: 0; 1 when --help was asked for; -EINVAL with the sentence for a wrong option.
 * What is wrong in a settings file or on the kernel line does not keep a machine from starting: `warn` is told. */
int config_load(struct config *c, int argc, char **argv, void (*warn)(void *ctx, const char *line),
		void *ctx, struct err *err) MUST_CHECK;
void config_done(struct config *c);
#endif
