/* main.c - hoist-agent: a table of subcommands, and nothing else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory.h"
#include "agent/man.h"
#include "agent/network/network.h"
#include "agent/run.h"
#include "agent/ssh/ssh.h"
#include "agent/usage/map.h"
#include "common/standard_fds.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns the exit status */
	const char *help;
} commands[] = {
	{"inventory", inventory_main, "list this machine's disks, firmware and network cards"},
	{"run", run_main, "wait for orders: capture this machine's disks, or restore onto them"},
	{"network", network_main, "set up the live image's network"},
	{"ssh", ssh_main, "let those in by SSH whose keys are in the live image's settings"},
	{"map", map_main, "print what a capture would copy of a disk, and why"},
};

static void print_help(FILE *f)
{
	(void)fputs("Usage: hoist-agent COMMAND [OPTION...]\n\n", f);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		(void)fprintf(f, "  %-12s %s\n", commands[i].name, commands[i].help);
	(void)fputs("\n'hoist-agent COMMAND --help' says more of each.\n", f);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	standard_fds_keep();
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
		print_help(stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(name, "--print-man") == 0) { /* for `make man` */
		agent_print_man(stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(name, "--version") == 0) {
		(void)puts("hoist-agent " HOIST_VERSION);
		return EXIT_SUCCESS;
	}
	if (name[0]) {
		(void)fprintf(stderr,
			      "hoist-agent: there is no command '%s'. Try 'hoist-agent --help'.\n",
			      name);
	} else {
		print_help(stderr);
	}
	return 2;
}
