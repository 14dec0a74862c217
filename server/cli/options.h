/* options.h - what the tables of options and commands are written down with, and the options that several commands have. */
#ifndef SERVER_CLI_OPTIONS_H
#define SERVER_CLI_OPTIONS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/setting.h"
#include "server/cli/cli.h"

/* Of a setting: its member of struct options; that it is given on the command line alone. */
#define AT(field) .offset = offsetof(struct options, field)
#define ARGV	  .sources = SETTING_ARGV
/* Of a command: its own options, an array. */
#define OPTIONS(o) .options = (o), .options_len = sizeof(o) / sizeof((o)[0])

/* ---- checks */

/* Of an image, a VM, an operator. */
int check_name(const char *text, struct err *err);
int check_role(const char *text, struct err *err);
/* "90s", "30m", "12h", "7d", "never" (0) in seconds; false for anything else. */
bool expires_parse(const char *text, uint64_t *ret);
int check_expires(const char *text, struct err *err);
/* Of an access token: none is good for ever. */
int check_life(const char *text, struct err *err);

/* ---- options */

/* Of an enrolment token. */
#define TOKEN_OPTIONS(uses_text, expires_text)                                                                                                   \
	{.key = "uses",                                                                                                                          \
	 .type = SETTING_U64,                                                                                                                    \
	 ARGV,                                                                                                                                   \
	 AT(uses),                                                                                                                               \
	 .min = 1,                                                                                                                               \
	 .max = 10000,                                                                                                                           \
	 .preset = (uses_text),                                                                                                                  \
	 .value = "N",                                                                                                                           \
	 .help = "How many machines it may enrol"},                                                                                              \
		{.key = "expires",                                                                                                               \
		 .type = SETTING_TEXT,                                                                                                           \
		 ARGV,                                                                                                                           \
		 AT(expires),                                                                                                                    \
		 .preset = (expires_text),                                                                                                       \
		 .value = "TIME",                                                                                                                \
		 .check = check_expires,                                                                                                         \
		 .help = "How long it is good: 90s, 30m, 12h, 7d, never"},                                                                       \
		{.key = "note",                                                                                                                  \
		 .type = SETTING_TEXT,                                                                                                           \
		 ARGV,                                                                                                                           \
		 AT(note),                                                                                                                       \
		 .value = "TEXT",                                                                                                                \
		 .help = "What it is for, shown in the list"},                                                                                   \
	{                                                                                                                                        \
		.key = "job", .type = SETTING_TEXT, ARGV, AT(job), .value = "RULE",                                                              \
		.help = "What each machine that it enrols is told to do at once: capture, capture=IMAGE, restore=IMAGE or restore=IMAGE@VERSION" \
	}

#define PASSWORD_OPTION(field, key_text, help_text)                                        \
	{                                                                                  \
		.key = (key_text), .type = SETTING_TEXT, ARGV, AT(field), .value = "FILE", \
		.help = (help_text)                                                        \
	}
#define PASSWORD_HELP \
	"Read the password from FILE's first line ('-': standard input), not from the terminal"
#define ROLE_OPTION(help_text)                                                             \
	{                                                                                  \
		.key = "role", .type = SETTING_TEXT, ARGV, AT(role),                       \
		.value = "viewer|operator|admin", .check = check_role, .help = (help_text) \
	}
/* Of an access token. */
#define LIFE_OPTION(preset_text)                                                      \
	{                                                                             \
		.key = "expires", .type = SETTING_TEXT, ARGV, AT(expires),            \
		.preset = (preset_text), .value = "TIME", .check = check_life,        \
		.help = "How long the token is good: 90s, 30m, 12h, 7d; at most 366d" \
	}
#endif
