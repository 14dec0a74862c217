/* hoist: finds the command in the table, parses its options, runs it, reports. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/standard_fds.h"
#include "server/cli/cli.h"

/* How many words of argv are options that stand before the command: "hoist --data DIR machines". */
static int leading_options(int argc, char **argv)
{
	int n = 0;

	while (n < argc && strncmp(argv[n], "--", 2) == 0 && strcmp(argv[n], "--help") != 0) {
		const char *key = argv[n++] + 2;

		for (size_t i = 0; i < server_options.len; i++) {
			if (strcmp(key, server_options.settings[i].key) == 0) {
				n++; /* its value is the next word */
				break;
			}
		}
	}
	return n < argc ? n : 0;
}

/* How many words of argv name the command `cmd`; 0 if they name another. */
static int match(const struct command *cmd, int argc, char **argv)
{
	const char *rest = cmd->name;
	int n = 0;

	while (n < argc) {
		size_t len = strcspn(rest, " ");

		if (strlen(argv[n]) != len || memcmp(argv[n], rest, len) != 0)
			return 0;
		n++;
		rest += len;
		if (!*rest)
			return n;
		rest++;
	}
	return 0;
}

/* `ret_words`: how many words name it; 0 where none is named. */
static const struct command *find_command(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < commands_len; i++) {
		int n = match(commands[i], argc, argv);

		if (n) {
			*ret_words = n;
			return commands[i];
		}
	}
	return NULL;
}

/* Has the command two words, of which `word` is the first: "hoist machine"? */
static bool is_of_family(const struct command *cmd, const char *word)
{
	size_t len = strlen(word);

	return strncmp(cmd->name, word, len) == 0 && cmd->name[len] == ' ';
}

static bool is_family(const char *word)
{
	bool found = false;

	for (size_t i = 0; i < commands_len; i++)
		found = found || is_of_family(commands[i], word);
	return found;
}

static void print_family(const char *word, FILE *f)
{
	for (size_t i = 0; i < commands_len; i++) {
		if (is_of_family(commands[i], word))
			(void)fprintf(f, "  hoist %s %s\n      %s\n", commands[i]->name,
				      commands[i]->operands, commands[i]->summary);
	}
}

static int wrong_usage(const char *what, const char *command)
{
	(void)fprintf(stderr, "hoist: %s\nTry 'hoist%s%s --help'.\n", what, *command ? " " : "",
		      command);
	return EXIT_USAGE;
}

/* What to do about a refusal, beyond the server's own sentence. */
static void print_hint(const struct ctx *c)
{
	static const struct {
		const char *code, *hint;
	} hints[] = {
		{"unauthorized",
		 "Is --token-file a copy of this server's operator.token? Or log in "
		 "with 'hoist login NAME'."},
		{"target_holds_data",
		 "To lose what is on it, repeat the command with --overwrite and that fingerprint."},
		{"target_changed",
		 "Look at the disk with 'hoist machine show' and order again with its new fingerprint."},
		{"target_too_small",
		 "Make the machine's disk larger, restart it, and order again."},
		{"disk_missing",
		 "'hoist machine show' lists a machine's disks, 'hoist image show' an "
		 "image's; --disk says which."},
		{"sector_size", "Give the machine a disk with the same logical sector size."},
		{"no_space",
		 "Make room on the server's disk, or remove images and run 'hoist gc'."},
		{"store_damaged", "'hoist image verify' names what is damaged; capture the machine "
				  "again to replace it."},
		{"rate_limited", "Wait a little and repeat."},
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		if (strcmp(c->error.code, hints[i].code) == 0)
			(void)fprintf(stderr, "%s\n", hints[i].hint);
	}
}

static int report(const struct ctx *c, int r, const struct err *err)
{
	if (r >= 0)
		return r;
	if (r == -EINVAL)
		return wrong_usage(err->msg, c->command->name);
	(void)fprintf(stderr, "hoist: %s\n", err->msg);
	if (r == -ECONNREFUSED)
		(void)fprintf(stderr, "Is hoist-server running there, and is the port right?\n");
	print_hint(c);
	return EXIT_FAILED;
}

/* "MACHINE CODE" without its first `n` words; the last one, which may stand for several, stays. */
static const char *operands_from(const char *text, int n)
{
	for (const char *next = strchr(text, ' '); next && n > 0; n--) {
		text = next + 1;
		next = strchr(text, ' ');
	}
	return text;
}

static int check_operands(const struct ctx *c, struct err *err)
{
	const struct command *cmd = c->command;

	if (c->operands_len < cmd->operands_min)
		return err_set(err, -EINVAL, "what is missing is: %s",
			       operands_from(cmd->operands, c->operands_len));
	for (int i = 0; i < c->operands_len && i < cmd->operands_max; i++) {
		const char *name = operands_from(cmd->operands, i);

		if (!c->operands[i][0]) /* a variable of a script that was never set */
			return err_set(err, -EINVAL, "%.*s is empty", (int)strcspn(name, " "),
				       name);
	}
	if (c->operands_len > cmd->operands_max)
		return err_set(err, -EINVAL, "'%.64s' is one word too many",
			       c->operands[cmd->operands_max]);
	return 0;
}

static int run_command(const struct command *cmd, int argc, char **argv)
{
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct setting_table table = command_options(cmd, buf);
	struct ctx c = {.command = cmd, .operands = argv};
	struct err err = {0};
	int first = 0;
	int r = settings_init(&table, &c.o, &err);

	if (r == 0)
		r = settings_parse_argv(&table, &c.o, argc, argv, &first, &err);
	if (r == 1) {
		print_command_help(cmd, stdout);
		settings_done(&table, &c.o);
		return EXIT_SUCCESS;
	}
	c.operands = argv + first;
	c.operands_len = argc - first;
	if (r == 0)
		r = check_operands(&c, &err);
	if (r == 0)
		r = cmd->run(&c, &err);
	if (fflush(stdout) != 0 && r == 0)
		r = err_set(&err, -EIO, "write to standard output: %m");
	else if (ferror(stdout) && r == 0) /* of long output the end may have had room again */
		r = err_set(&err, -EIO, "write to standard output: not all of it was taken");
	r = report(&c, r, &err);
	http_free(c.http);
	explicit_bzero(c.target.secret, sizeof(c.target.secret));
	settings_done(&table, &c.o);
	return r;
}

static int no_command(const char *word)
{
	char what[128];

	if (is_family(word)) {
		(void)fprintf(stderr, "hoist: after '%s' one of these is meant:\n", word);
		print_family(word, stderr);
		return EXIT_USAGE;
	}
	if (strncmp(word, "--", 2) == 0)
		return wrong_usage("no command is named", "");
	(void)snprintf(what, sizeof(what), "there is no command '%.64s'", word);
	return wrong_usage(what, "");
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	const struct command *cmd;
	int words = 0, leading;

	standard_fds_keep();
	(void)signal(SIGPIPE, SIG_DFL);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread */
	(void)setlocale(LC_CTYPE,
			"C.UTF-8"); /* the width of characters; numbers stay as they are */
	if (!*word || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
	    (strcmp(word, "help") == 0 && argc == 2)) {
		print_help(*word ? stdout : stderr);
		return *word ? EXIT_SUCCESS : EXIT_USAGE;
	}
	if (strcmp(word, "--version") == 0) {
		(void)puts("hoist " HOIST_VERSION);
		return EXIT_SUCCESS;
	}
	if (strcmp(word, "--print-man") == 0) {
		print_man(stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(word, "help") == 0) { /* hoist help capture */
		cmd = find_command(argc - 2, argv + 2, &words);
		if (!words)
			return no_command(argv[2]);
		print_command_help(cmd, stdout);
		return EXIT_SUCCESS;
	}
	leading = leading_options(argc - 1, argv + 1);
	cmd = find_command(argc - 1 - leading, argv + 1 + leading, &words);
	if (words) { /* the options go behind the words that name the command */
		memmove(argv + 1 + words, argv + 1, (size_t)leading * sizeof(*argv));
		return run_command(cmd, argc - 1 - words, argv + 1 + words);
	}
	if (is_family(word) && argc == 3 && strcmp(argv[2], "--help") == 0) {
		print_family(word, stdout);
		return EXIT_SUCCESS;
	}
	return no_command(argv[1 + leading]);
}
