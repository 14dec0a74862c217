/* --help and the man page: all from the table. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/man.h"
#include "server/cli/cli.h"

#define WIDTH 80

/* A paragraph, wrapped, each line begun with `indent` blanks. */
static void print_wrapped(FILE *f, const char *text, int indent)
{
	int column = 0;

	for (; *text; text += strspn(text, " ")) {
		int n = (int)strcspn(text, " \n");

		if (column && column + 1 + n > WIDTH) {
			(void)fputc('\n', f);
			column = 0;
		}
		column += column ? fprintf(f, " %.*s", n, text)
				 : fprintf(f, "%*s%.*s", indent, "", n, text);
		text += n;
		if (*text == '\n') {
			(void)fputs("\n\n", f);
			column = 0;
			text++;
		}
	}
	(void)fputc('\n', f);
}

void print_command_help(const struct command *cmd, FILE *f)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct setting_table table = command_options(cmd, buf);

	(void)fprintf(f, "Usage: hoist %s%s%s%s\n\n%s.\n\n", cmd->name, *cmd->operands ? " " : "",
		      cmd->operands, table.len ? " [OPTION]..." : "", cmd->summary);
	print_wrapped(f, cmd->text, 0);
	if (table.len) {
		(void)fputs("\nOptions:\n", f);
		settings_print_help(&table, f);
	}
	if (cmd->example)
		(void)fprintf(f, "\nExample:\n  %s\n", cmd->example);
}

void print_help(FILE *f)
{
	(void)fputs(
		"Usage: hoist COMMAND [OPERAND]... [OPTION]...\n\n"
		"Lifts physical machines into virtual ones: what a hoist-server can do, from the\n"
		"command line.\n\nCommands:\n",
		f);
	for (size_t i = 0; i < commands_len; i++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s %s", commands[i]->name,
			       commands[i]->operands);
		if (strlen(left) > 22)
			(void)fprintf(f, "  %s\n%26s%s\n", left, "", commands[i]->summary);
		else
			(void)fprintf(f, "  %-22s  %s\n", left, commands[i]->summary);
	}
	(void)fputs("\nOf all that talk to the server:\n", f);
	settings_print_help(&server_options, f);
	(void)fputs("\nExamples:\n"
		    "  hoist machines --data /var/lib/hoist\n"
		    "  hoist capture web1 --image web1 --wait\n"
		    "  hoist restore web1 4c4c4544 --wait\n\n"
		    "'hoist COMMAND --help' says more of each; hoist(1) has it all.\n",
		    f);
}

/* ---- man page */

static void man_command(const struct command *cmd, FILE *f)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct command own = *cmd;
	struct setting_table table;
	char head[128], text[2048];

	own.takes &= TAKES_WAIT; /* those of all commands stand at the top */
	table = command_options(&own, buf);
	(void)snprintf(head, sizeof(head), "hoist %s%s%s", cmd->name, *cmd->operands ? " " : "",
		       cmd->operands);
	(void)snprintf(text, sizeof(text), "%s.\n%s%s%s", cmd->summary, cmd->text,
		       cmd->example ? "\n  " : "", cmd->example ? cmd->example : "");
	man_print_part(&(struct man_part){head, text, &table}, f);
}

static const struct man_part before[] = {
	{"DESCRIPTION",
	 "Machines that were booted from Hoist's boot medium register with hoist-server(8). hoist lists "
	 "them, captures their disks as images, writes images onto the disks of other machines, and looks "
	 "after images, jobs and enrolment tokens.\n"
	 "What is long may be shortened as long as it stays unambiguous: ids of machines, jobs and disks to "
	 "4 characters, fingerprints of disks to 16.",
	 NULL},
	{"OPTIONS",
	 "Of all commands that talk to the server; they may stand before the command as well. --json prints "
	 "the server's answer as it is, --help explains a command, --version without a command prints the "
	 "version. Where key=value is given, too, it may stand in the configuration file.",
	 &server_options},
	{"COMMANDS", NULL, NULL},
};

static const struct man_part after[] = {
	{"EXIT STATUS",
	 "0: done; without --wait: the server has taken the job.\n"
	 "1: failed, cancelled or refused; the sentence on standard error says why.\n"
	 "2: wrong usage; nothing was done.\n"
	 "3: with --wait: a capture or restore was done, but parts of the source could not be read when it was "
	 "captured; they are zeros. 'hoist image show IMAGE@VERSION' lists them.",
	 NULL},
	{"FILES",
	 "~/.config/hoist/config: lines key=value for server, pin, token-file and data, so that they need not "
	 "be given. A token that it names beside pin or data, or that of a data folder, is not shown to a server "
	 "of another key that --pin or HOIST_PIN names.\n"
	 "~/.config/hoist/tokens: what 'hoist login' keeps, a file for each server's key. Stronger than a data "
	 "folder, weaker than --token-file.\n"
	 "/var/lib/hoist: the data folder of the service, taken when nothing else is given and it can be read.",
	 NULL},
	{"ENVIRONMENT",
	 "HOIST_SERVER, HOIST_PIN, HOIST_TOKEN_FILE and HOIST_DATA stand for the options of these names. Options "
	 "are stronger, the configuration file is weaker.",
	 NULL},
	{"SEE ALSO", "hoist-server(8), hoist-agent(8)", NULL},
};

void print_man(FILE *f)
{
	static const struct man_page page = {
		.name = "hoist",
		.section = 1,
		.summary = "lift physical machines into virtual ones",
		.synopsis = "hoist COMMAND [OPERAND]... [OPTION]...",
		.parts = before,
		.parts_len = sizeof(before) / sizeof(before[0]),
	};

	man_print(&page, f);
	for (size_t i = 0; i < commands_len; i++)
		man_command(commands[i], f);
	for (size_t i = 0; i < sizeof(after) / sizeof(after[0]); i++)
		man_print_part(&after[i], f);
}
