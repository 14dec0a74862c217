/* What a person reads about the settings: all made from the same table that parses them. */
#include <string.h>

#include "common/setting.h"

#define HELP_INDENT 28
#define HELP_WIDTH  80

/* "--key=VALUE" as the person would write it, for the first source that takes it. */
static void spell(const struct setting *s, char *buf, size_t size)
{
	const char *key = s->key;

	if (s->type == SETTING_BOOL && (s->sources & (SETTING_ARGV | SETTING_KERNEL))) {
		(void)snprintf(buf, size, "%s%s", s->sources & SETTING_ARGV ? "--" : "hoist.", key);
	} else if (s->sources & SETTING_ARGV) {
		(void)snprintf(buf, size, "--%s %s", key, s->value);
	} else {
		(void)snprintf(buf, size, "%s%s=%s", s->sources & SETTING_KERNEL ? "hoist." : "",
			       key, s->value ? s->value : "yes");
	}
}

/* `text` in words from column `column` on, wrapped and indented. */
static void print_wrapped(FILE *f, const char *text, int column)
{
	while (*text) {
		int n = (int)strcspn(text, " ");

		if (column + 1 + n > HELP_WIDTH && column > HELP_INDENT) {
			(void)fprintf(f, "\n%*s", HELP_INDENT, "");
			column = HELP_INDENT;
		} else if (column > HELP_INDENT) {
			(void)fputc(' ', f);
			column++;
		}
		(void)fprintf(f, "%.*s", n, text);
		column += n;
		text += n;
		text += strspn(text, " ");
	}
	(void)fputc('\n', f);
}

void settings_print_help(const struct setting_table *t, FILE *f)
{
	for (size_t i = 0; i < t->len; i++) {
		const struct setting *s = &t->settings[i];
		char option[128], text[1024];
		int n;

		spell(s, option, sizeof(option));
		if (s->preset && *s->preset && s->type != SETTING_BOOL) {
			(void)snprintf(text, sizeof(text), "%s (default: %s)", s->help, s->preset);
		} else {
			(void)snprintf(text, sizeof(text), "%s", s->help);
		}
		n = fprintf(f, "  %s", option);
		if (n > HELP_INDENT - 2) {
			(void)fputc('\n', f);
			n = 0;
		}
		(void)fprintf(f, "%*s", HELP_INDENT - n, "");
		print_wrapped(f, text, HELP_INDENT);
	}
}

/* troff: '-' is a hyphen and '\' an escape unless said otherwise, and a '.' must not begin a line. */
static void print_man_text(FILE *f, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p == '-' || *p == '\\') {
			(void)fputs(*p == '-' ? "\\-" : "\\e", f);
		} else if (p == text && (*p == '.' || *p == '\'')) {
			(void)fprintf(f, "\\&%c", *p);
		} else {
			(void)fputc(*p, f);
		}
	}
}

/* The spelling of one source, with its name in bold and its value in italics. */
static void print_man_spelling(FILE *f, const struct setting *s, unsigned source, bool first)
{
	if (!first)
		(void)fputs(", ", f);
	(void)fputs("\\fB", f);
	(void)fputs(source == SETTING_ARGV     ? "\\-\\-"
		    : source == SETTING_KERNEL ? "hoist."
					       : "",
		    f);
	print_man_text(f, s->key);
	(void)fputs("\\fR", f);
	if (s->type == SETTING_BOOL && source != SETTING_FILE)
		return;
	(void)fputs(source == SETTING_ARGV ? " \\fI" : "=\\fI", f);
	print_man_text(f, s->value ? s->value : "yes");
	(void)fputs("\\fR", f);
}

void settings_print_man(const struct setting_table *t, FILE *f)
{
	for (size_t i = 0; i < t->len; i++) {
		const struct setting *s = &t->settings[i];
		bool first = true;

		(void)fputs(".TP\n", f);
		for (unsigned source = SETTING_ARGV; source <= SETTING_FILE; source <<= 1) {
			bool same = source == SETTING_FILE && (s->sources & SETTING_KERNEL);

			if (!(s->sources & source) || same)
				continue;
			print_man_spelling(f, s, source, first);
			first = false;
		}
		(void)fputc('\n', f);
		print_man_text(f, s->help);
		(void)fputs(".\n", f);
		if (s->type == SETTING_LIST)
			(void)fputs("May be given several times.\n", f);
		if (s->preset && *s->preset && s->type != SETTING_BOOL) {
			(void)fputs("The default is ", f);
			print_man_text(f, s->preset);
			(void)fputs(".\n", f);
		}
	}
}

static void dump_text(FILE *f, const struct setting *s, const char *text)
{
	(void)fprintf(f, "%s=%s\n", s->key, s->sources & SETTING_SECRET ? "***" : text);
}

void settings_dump(const struct setting_table *t, const void *config, FILE *f)
{
	for (size_t i = 0; i < t->len; i++) {
		const struct setting *s = &t->settings[i];
		const void *at = (const char *)config + s->offset;
		const struct setting_list *list = at;

		switch (s->type) {
		case SETTING_TEXT:
			if (*(char *const *)at)
				dump_text(f, s, *(char *const *)at);
			break;
		case SETTING_BOOL:
			dump_text(f, s, *(const bool *)at ? "yes" : "no");
			break;
		case SETTING_U64:
		case SETTING_SIZE:
			(void)fprintf(f, "%s=%llu\n", s->key,
				      (unsigned long long)*(const uint64_t *)at);
			break;
		case SETTING_LIST:
			for (size_t k = 0; k < list->len; k++)
				dump_text(f, s, list->items[k]);
			break;
		}
	}
}
