/* man.h - a program's manual page, made from the tables that its options are parsed by. */
#ifndef COMMON_MAN_H
#define COMMON_MAN_H
#include <stdio.h>

#include "common/setting.h"

/* A part of a page. */
struct man_part {
	const char *head; /* "OPTIONS"; what begins with a small letter is a subsection */
	/* Paragraphs, parted by newlines; what begins with two blanks is shown as it is.  NULL for none. */
	const char *text;
	const struct setting_table *options; /* after the text; NULL for none */
};

struct man_page {
	const char *name; /* "hoist-server" */
	unsigned section;
	const char *summary; /* one line without full stop */
	const char *synopsis;
	const struct man_part *parts;
	size_t parts_len;
};

void man_print(const struct man_page *page, FILE *f);
/* The pieces: a part, and text with its paragraphs. */
void man_print_part(const struct man_part *part, FILE *f);
#endif
