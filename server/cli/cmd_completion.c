/* completion: what the shell can know of the table of commands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/cli/cli.h"

static void print_options(const struct command *cmd)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct setting_table table = command_options(cmd, buf);

	for (size_t i = 0; i < table.len; i++)
		(void)printf("--%s ", table.settings[i].key);
	(void)printf("--help");
}

/* After an option that has a value: files, folders, one of a few words, or nothing that the shell could know. */
static void print_value(const struct setting *s)
{
	(void)printf("\t--%s) ", s->key);
	if (strcmp(s->value, "FILE") == 0) {
		(void)printf("compopt -o default; ");
	} else if (strcmp(s->value, "DIR") == 0) {
		(void)printf("compopt -o dirnames; ");
	} else if (strchr(s->value, '|')) {
		(void)printf("mapfile -t COMPREPLY < <(compgen -W '");
		for (const char *c = s->value; *c; c++)
			(void)putchar(*c == '|' ? ' ' : *c);
		(void)printf("' -- \"$cur\"); ");
	}
	(void)puts("return ;;");
}

/* The first line for an option counts. */
static void print_values(void)
{
	(void)puts("\tcase $prev in\n"
		   "\t--token-file) compopt -o default; return ;;\n"
		   "\t--data) compopt -o dirnames; return ;;\n"
		   "\t--server | --pin) return ;;\n"
		   "\t--state) mapfile -t COMPREPLY < <(compgen -W 'waiting running done failed "
		   "cancelled' -- \"$cur\"); return ;;");
	for (size_t i = 0; i < commands_len; i++) {
		for (size_t k = 0; k < commands[i]->options_len; k++) {
			if (commands[i]->options[k].type != SETTING_BOOL)
				print_value(&commands[i]->options[k]);
		}
	}
	(void)puts("\tesac");
}

static int run_completion(struct ctx *c, struct err *err)
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
		(void)printf("\t'%s '*) words='", commands[i]->name);
		print_options(commands[i]);
		(void)printf("%s' ;;\n", strcmp(commands[i]->name, "completion") ? "" : " bash");
	}
	for (size_t i = 0; i < commands_len; i++) {
		size_t n = strcspn(commands[i]->name, " ");

		if (commands[i]->name[n] != ' ' ||
		    (i > 0 && strncmp(commands[i]->name, commands[i - 1]->name, n + 1) == 0))
			continue;
		(void)printf("\t'%.*s ') words='", (int)n, commands[i]->name);
		for (size_t k = i; k < commands_len; k++) {
			if (strncmp(commands[k]->name, commands[i]->name, n + 1) == 0)
				(void)printf("%s ", commands[k]->name + n + 1);
		}
		(void)puts("' ;;");
	}
	(void)printf("\t' ') words='--help --version");
	for (size_t i = 0; i < commands_len; i++) {
		size_t n = strcspn(commands[i]->name, " ");

		if (i == 0 || strncmp(commands[i]->name, commands[i - 1]->name, n + 1) != 0)
			(void)printf(" %.*s", (int)n, commands[i]->name);
	}
	(void)puts("' ;;\n\tesac\n"
		   "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\n"
		   "complete -F _hoist hoist");
	return 0;
}

const struct command cmd_completion = {
	.name = "completion",
	.operands = "bash",
	.summary = "Print a completion script for the shell",
	.text = "For bash: hoist completion bash >/etc/bash_completion.d/hoist",
	.operands_min = 1,
	.operands_max = 1,
	.run = run_completion,
};
