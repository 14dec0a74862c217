/* config.h - the settings of `hoist-agent run`, from argv, hoist.* kernel arguments and the settings file. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H
#include "common/agent_config.h"

/* The word of `hoist-agent run`: 0; 1 when --help was asked for; -EINVAL with the sentence for a wrong option.
 * What is wrong in a settings file or on the kernel line does not keep a machine from starting: `warn` is told. */
int config_load(struct config *c, int argc, char **argv, void (*warn)(void *ctx, const char *line),
		void *ctx, struct err *err) MUST_CHECK;
void config_done(struct config *c);
#endif
