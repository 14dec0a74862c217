/* --help, the man page and the completion: all from the table. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

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

		(void)snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].operands);
		if (strlen(left) > 22)
			(void)fprintf(f, "  %s\n%26s%s\n", left, "", commands[i].summary);
		else
			(void)fprintf(f, "  %-22s  %s\n", left, commands[i].summary);
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

static void man_text(FILE *f, const char *text)
{
	bool line_begins = true;

	for (; *text; text++) {
		if (line_begins && (*text == '.' || *text == '\''))
			(void)fputs("\\&", f);
		line_begins = *text == '\n';
		if (*text == '\n')
			(void)fputs("\n.PP\n", f);
		else if (*text == '-')
			(void)fputs("\\-", f);
		else if (*text == '\\')
			(void)fputs("\\e", f);
		else
			(void)fputc(*text, f);
	}
}

static void man_command(FILE *f, const struct command *cmd)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct command own = *cmd;
	struct setting_table table;

	(void)fputs(".SS \"hoist ", f);
	man_text(f, cmd->name);
	(void)fprintf(f, "%s", *cmd->operands ? " " : "");
	man_text(f, cmd->operands);
	(void)fputs("\"\n", f);
	man_text(f, cmd->summary);
	(void)fputs(".\n.PP\n", f);
	man_text(f, cmd->text);
	(void)fputc('\n', f);
	own.takes &= TAKES_WAIT; /* those of all commands stand at the top */
	table = command_options(&own, buf);
	settings_print_man(&table, f);
	if (cmd->example) {
		(void)fputs(".PP\nExample:\n.PP\n.RS\n.EX\n", f);
		man_text(f, cmd->example);
		(void)fputs("\n.EE\n.RE\n", f);
	}
}

void print_man(FILE *f)
{
	(void)fputs(
		".\\\" Made by `hoist --print-man`.\n"
		".TH HOIST 1 \"\" \"Hoist " HOIST_VERSION "\" \"Hoist\"\n"
		".SH NAME\nhoist \\- lift physical machines into virtual ones\n"
		".SH SYNOPSIS\n.B hoist\n.I COMMAND\n.RI [ OPERAND ]...\n.RI [ OPTION ]...\n"
		".SH DESCRIPTION\n"
		"Machines that were booted from Hoist's boot medium register with a\n"
		".BR hoist\\-server (8).\n"
		".B hoist\n"
		"lists them, captures their disks as images, writes images onto the disks of other\n"
		"machines, and looks after images, jobs and enrolment tokens.\n"
		".PP\nWhat is long may be shortened as long as it stays unambiguous: ids of machines,\n"
		"jobs and disks to 4 characters, fingerprints of disks to 16.\n"
		".SH OPTIONS\nOf all commands that talk to the server:\n",
		f);
	settings_print_man(&server_options, f);
	(void)fputs(".TP\n\\fB\\-\\-json\\fR\nPrint the server's answer as JSON.\n"
		    ".TP\n\\fB\\-\\-help\\fR\nExplain the command.\n"
		    ".TP\n\\fB\\-\\-version\\fR\nIn the place of a command: print the version.\n"
		    ".SH COMMANDS\n",
		    f);
	for (size_t i = 0; i < commands_len; i++)
		man_command(f, &commands[i]);
	(void)fputs(
		".SH EXIT STATUS\n"
		".TP\n0\ndone; without \\fB\\-\\-wait\\fR: the server has taken the job\n"
		".TP\n1\nfailed, cancelled or refused; the sentence on standard error says why\n"
		".TP\n2\nwrong usage; nothing was done\n"
		".SH FILES\n.TP\n.I ~/.config/hoist/config\n"
		"Lines \\fIkey\\fR=\\fIvalue\\fR for server, pin, token\\-file and data, so that they need\n"
		"not be given.\n"
		".TP\n.I /var/lib/hoist\n"
		"The data folder of the service: taken when nothing else is given and it can be read.\n"
		".SH ENVIRONMENT\n"
		".BR HOIST_SERVER ,\n.BR HOIST_PIN ,\n.BR HOIST_TOKEN_FILE ,\n.B HOIST_DATA\n"
		"stand for the options of these names; options are stronger, the file is weaker.\n"
		".SH SEE ALSO\n.BR hoist\\-server (8),\n.BR hoist\\-agent (8)\n",
		f);
}

/* ---- completion */

static void print_options(const struct command *cmd)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct setting_table table = command_options(cmd, buf);

	for (size_t i = 0; i < table.len; i++)
		(void)printf("--%s ", table.settings[i].key);
	(void)printf("--help");
}

/* Options whose value is a file or folder, those whose value is one of a few words, and those with another value. */
static void print_values(void)
{
	(void)puts(
		"\tcase $prev in\n"
		"\t--token-file | --in | --out | --show | --reset) compopt -o default; return ;;\n"
		"\t--data) compopt -o dirnames; return ;;\n"
		"\t--end) mapfile -t COMPREPLY < <(compgen -W 'stay reboot poweroff' -- \"$cur\"); "
		"return ;;\n"
		"\t--state) mapfile -t COMPREPLY < <(compgen -W 'waiting running done failed "
		"cancelled' -- \"$cur\"); return ;;");
	(void)printf("\t");
	for (size_t i = 0, n = 0; i < commands_len; i++) {
		for (size_t k = 0; k < commands[i].options_len; k++) {
			const struct setting *s = &commands[i].options[k];

			if (s->type != SETTING_BOOL &&
			    !strstr("in out show reset end state", s->key))
				(void)printf("%s--%s", n++ ? " | " : "", s->key);
		}
	}
	(void)puts(" | --server | --pin) return ;;\n\tesac");
}

int cmd_completion(struct ctx *c, struct err *err)
{
	if (strcmp(c->operands[0], "bash") != 0)
		return err_set(err, -EINVAL, "completion is there for bash, not for '%.32s'",
			       c->operands[0]);
	(void)puts("# bash completion for hoist; made by `hoist completion bash`.\n"
		   "_hoist()\n{\n"
		   "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n"
		   "\tCOMPREPLY=()");
	print_values();
	(void)puts("\tcase \"${COMP_WORDS[*]:1:COMP_CWORD-1} \" in");
	for (size_t i = 0; i < commands_len; i++) {
		(void)printf("\t'%s '*) words='", commands[i].name);
		print_options(&commands[i]);
		(void)printf("%s' ;;\n", strcmp(commands[i].name, "completion") ? "" : " bash");
	}
	for (size_t i = 0; i < commands_len; i++) {
		size_t n = strcspn(commands[i].name, " ");

		if (commands[i].name[n] != ' ' ||
		    (i > 0 && strncmp(commands[i].name, commands[i - 1].name, n + 1) == 0))
			continue;
		(void)printf("\t'%.*s ') words='", (int)n, commands[i].name);
		for (size_t k = i; k < commands_len; k++) {
			if (strncmp(commands[k].name, commands[i].name, n + 1) == 0)
				(void)printf("%s ", commands[k].name + n + 1);
		}
		(void)puts("' ;;");
	}
	(void)printf("\t' ') words='--help --version");
	for (size_t i = 0; i < commands_len; i++) {
		size_t n = strcspn(commands[i].name, " ");

		if (i == 0 || strncmp(commands[i].name, commands[i - 1].name, n + 1) != 0)
			(void)printf(" %.*s", (int)n, commands[i].name);
	}
	(void)puts("' ;;\n\tesac\n"
		   "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n"
		   "complete -F _hoist hoist");
	return 0;
}
