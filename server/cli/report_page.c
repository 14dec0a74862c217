#include "server/cli/report_page.h"

#include <string.h>

#include "server/cli/table.h"

/* Does row `i` begin a section? */
static bool begins(const struct report_rows *r, size_t i)
{
	return i == 0 || strcmp(r->items[i].section, r->items[i - 1].section) != 0;
}

/* Of the names in the section that begins with row `i`. */
static size_t name_width(const struct report_rows *r, size_t i)
{
	size_t width = 0, first = i;

	for (; i < r->len && (i == first || !begins(r, i)); i++) {
		size_t n = text_columns(r->items[i].name);

		width = n > width ? n : width;
	}
	return width;
}

void report_print_text(const struct report_rows *r, FILE *f)
{
	size_t width = 0;

	for (size_t i = 0; i < r->len; i++) {
		const struct report_row *row = &r->items[i];
		size_t n = text_columns(row->name);

		if (begins(r, i)) {
			(void)fprintf(f, "%s%s\n", i > 0 ? "\n" : "", row->section);
			width = name_width(r, i);
		}
		(void)fprintf(f, "  %s%*s%s\n", row->name, (int)(width > 0 ? width - n + 2 : 0), "",
			      row->value);
	}
}

static void print_escaped(const char *text, FILE *f)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			(void)fputs("&amp;", f);
			break;
		case '<':
			(void)fputs("&lt;", f);
			break;
		case '>':
			(void)fputs("&gt;", f);
			break;
		case '"':
			(void)fputs("&quot;", f);
			break;
		case '\'':
			(void)fputs("&#39;", f);
			break;
		default:
			(void)fputc(*text, f);
		}
	}
}

void report_print_html(const struct report_rows *r, FILE *f)
{
	(void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
		    "style-src 'unsafe-inline'\">\n<title>Hoist: report of a job</title>\n<style>"
		    "body{font:14px sans-serif;margin:2em;max-width:75em}"
		    "h2{font-size:1.1em;margin:1.5em 0 .3em}table{border-collapse:collapse}"
		    "th{text-align:left;font-weight:normal;color:#555;padding:0 1.5em 0 0;"
		    "vertical-align:top;white-space:nowrap}td{overflow-wrap:anywhere}"
		    "</style>\n</head>\n<body>\n<h1>Report of a job</h1>\n",
		    f);
	for (size_t i = 0; i < r->len; i++) {
		if (begins(r, i))
			(void)fprintf(f, "%s<h2>%s</h2>\n<table>\n", i > 0 ? "</table>\n" : "",
				      r->items[i].section);
		(void)fputs("<tr><th>", f);
		print_escaped(r->items[i].name, f);
		(void)fputs("</th><td>", f);
		print_escaped(r->items[i].value, f);
		(void)fputs("</td></tr>\n", f);
	}
	(void)fprintf(f, "%s</body>\n</html>\n", r->len > 0 ? "</table>\n" : "");
}
