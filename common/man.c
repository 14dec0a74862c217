#include "common/man.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* troff: '-' is a hyphen and '\' an escape unless said otherwise; '.' and ''' must not begin a line. */
static void put_text(const char *text, size_t len, FILE *f)
{
	if (len && (*text == '.' || *text == '\''))
		(void)fputs("\\&", f);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '-' || text[i] == '\\')
			(void)fputs(text[i] == '-' ? "\\-" : "\\e", f);
		else
			(void)fputc(text[i], f);
	}
}

static void put_string(const char *text, FILE *f)
{
	put_text(text, strlen(text), f);
}

static void put_paragraphs(const char *text, FILE *f)
{
	bool verbatim = false, first = true;

	for (size_t n; *text; text += n + (text[n] == '\n'), first = false) {
		bool indented = strncmp(text, "  ", 2) == 0;

		n = strcspn(text, "\n");
		if (indented && !verbatim)
			(void)fputs(".PP\n.RS 4\n.EX\n", f);
		if (!indented && verbatim)
			(void)fputs(".EE\n.RE\n", f);
		if (!indented && !first)
			(void)fputs(".PP\n", f);
		verbatim = indented;
		put_text(text + (indented ? 2 : 0), n - (indented ? 2 : 0), f);
		(void)fputc('\n', f);
	}
	if (verbatim)
		(void)fputs(".EE\n.RE\n", f);
}

void man_print_part(const struct man_part *part, FILE *f)
{
	(void)fprintf(f, ".%s \"", islower((unsigned char)part->head[0]) ? "SS" : "SH");
	put_string(part->head, f);
	(void)fputs("\"\n", f);
	if (part->text)
		put_paragraphs(part->text, f);
	if (part->options)
		settings_print_man(part->options, f);
}

static void put_upper(const char *text, FILE *f)
{
	for (; *text; text++)
		(void)fputc(toupper((unsigned char)*text), f);
}

void man_print(const struct man_page *page, FILE *f)
{
	(void)fprintf(f, ".\\\" Made by `%s --print-man`, from the tables of the program.\n.TH ",
		      page->name);
	put_upper(page->name, f);
	(void)fprintf(f, " %u \"\" \"Hoist " HOIST_VERSION "\" \"Hoist\"\n.SH NAME\n",
		      page->section);
	put_string(page->name, f);
	(void)fputs(" \\- ", f);
	put_string(page->summary, f);
	(void)fputs("\n.SH SYNOPSIS\n", f);
	put_paragraphs(page->synopsis, f);
	for (size_t i = 0; i < page->parts_len; i++)
		man_print_part(&page->parts[i], f);
}
