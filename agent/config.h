/* config.h - the settings of `hoist-agent run`: one table for argv, hoist.* kernel arguments, the settings file, --help and the man page. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/setting.h"

struct config {
	char *server, *pin, *token, *token_file;
	char *name, *hostname, *id;
	struct setting_list disks;
	uint64_t memory;  /* bytes; 0 until config_finish */
	uint64_t workers; /* 0: as many as cores and memory allow */
	char *level_text; /* what was said; then: */
	int level;	  /* 0: adaptive */
	bool io_uring;
	bool discovery;
	uint64_t discovery_port;
	struct setting_list interfaces;
	struct setting_list consoles;
	char *state;
	char *settings, *cmdline; /* where the other settings come from */
	bool image, once, shell;
	char *replay;	 /* what was said; then: */
	bool may_replay; /* logs of filesystems, on a copy in memory */
	uint64_t progress_ms;
};

extern const struct setting_table config_table;

/* The word of `hoist-agent run`: 0; 1 when --help was asked for; -EINVAL with the sentence for a wrong option.
 * What is wrong in a settings file or on the kernel line does not keep a machine from starting: `warn` is told. */
int config_load(struct config *c, int argc, char **argv, void (*warn)(void *ctx, const char *line),
		void *ctx, struct err *err) MUST_CHECK;
void config_done(struct config *c);
#endif
