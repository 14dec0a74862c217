/* subcommand.h - what the subcommands of hoist-agent have in common: their options, --help, and how they end. */
#ifndef AGENT_SUBCOMMAND_H
#define AGENT_SUBCOMMAND_H
#include <stdbool.h>

#include "common/err.h"
#include "common/setting.h"

#define SUBCOMMAND_USAGE 2 /* exit status: called wrongly */

struct subcommand {
	const struct setting_table *options;
	void (*print_help)(void);
	const char *needs; /* what is said when there is no operand; NULL: it takes none */
};

/* argv[0] is its name.  Fills `config`, zeroed before, which settings_done() is for in any case; the operands begin at argv[*ret_first].  False: all is said, by
 * --help or an error on standard error, and *ret_status is the exit status. */
bool subcommand_begin(const struct subcommand *s, void *config, int argc, char **argv,
		      int *ret_first, int *ret_status);
/* Says what is wrong and where help is.  Returns the exit status. */
int subcommand_misused(const char *name, const struct err *err);
/* The exit status of a result; an error (< 0) is said. */
int subcommand_end(int r, const struct err *err);
#endif
