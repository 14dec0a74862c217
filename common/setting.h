/* setting.h - one table of settings feeds argv, hoist.* kernel arguments, a settings file, --help and the
 * man page.  A program declares the table; this module parses, prints and validates. */
#ifndef COMMON_SETTING_H
#define COMMON_SETTING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

enum setting_type {
	SETTING_TEXT, /* char * (heap) at `offset` */
	SETTING_BOOL, /* bool; "", "1", "yes", "true" / "0", "no", "false" */
	SETTING_U64,  /* uint64_t within min..max */
	SETTING_SIZE, /* uint64_t bytes; suffixes K M G T (1024) */
	SETTING_LIST, /* struct setting_list: may be given several times */
};

#define SETTING_ARGV   1u /* --key VALUE or --key=VALUE */
#define SETTING_KERNEL 2u /* hoist.key=VALUE on the kernel line */
#define SETTING_FILE   4u /* key=VALUE in a settings file */
#define SETTING_SECRET 8u /* never printed or logged */

struct setting_list {
	char **items; /* heap */
	size_t len;
};

struct setting {
	const char *key; /* lower case, '-' */
	enum setting_type type;
	unsigned sources;   /* SETTING_* */
	size_t offset;	    /* in the program's configuration struct */
	uint64_t min, max;  /* U64, SIZE */
	const char *preset; /* default as text; NULL = zero/empty */
	const char *value;  /* "URL", "SECONDS": for --help; NULL for BOOL */
	const char *help;   /* one sentence without final full stop */
	/* Further check of a value, or NULL: -EINVAL and a sentence. */
	int (*check)(const char *text, struct err *err);
};

struct setting_table {
	const struct setting *settings;
	size_t len;
};

/* Presets into a zeroed struct. */
int settings_init(const struct setting_table *t, void *config, struct err *err) MUST_CHECK;
void settings_done(const struct setting_table *t, void *config);
/* One key; `source` is the SETTING_* bit that it comes from.  -ENOENT unknown key (or not from this source),
 * -EINVAL bad value: the sentence names key, value, and what would be right. */
int settings_set(const struct setting_table *t, void *config, unsigned source, const char *key,
		 const char *value, struct err *err) MUST_CHECK;
/* argv after the subcommand; operands that are no options are left at argv[*ret_first] on ("--" ends them).
 * -EINVAL, and 1 when --help was asked for. */
int settings_parse_argv(const struct setting_table *t, void *config, int argc, char **argv,
			int *ret_first, struct err *err) MUST_CHECK;
/* The text of /proc/cmdline: hoist.KEY=VALUE words (quotes as the kernel knows them); other words are not ours.
 * A bad one does not stop the rest: the first error is reported after all were read. */
int settings_parse_cmdline(const struct setting_table *t, void *config, const char *text,
			   struct err *err) MUST_CHECK;
/* Cuts the next word out of the kernel line at *at, in place, as the kernel does; `ret_value` is NULL for a word without '='.  False at the
 * end. */
bool setting_next_word(char **at, char **ret_key, char **ret_value);
/* key=VALUE lines, '#' comments, blank lines; at most 64 KiB.  As above for errors, with the line number. */
int settings_parse_file(const struct setting_table *t, void *config, const char *text, size_t size,
			struct err *err) MUST_CHECK;
/* The options, aligned, <= 80 columns. */
void settings_print_help(const struct setting_table *t, FILE *f);
/* The options as troff for a man page, and KEY=VALUE of the present configuration (secrets as "***"). */
void settings_print_man(const struct setting_table *t, FILE *f);
void settings_dump(const struct setting_table *t, const void *config, FILE *f);
#endif
