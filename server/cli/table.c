#include "server/cli/table.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "common/text.h"
#include "server/cli/print.h"

#define ID_WIDTH_MIN 8

struct table {
	const struct table_form *form;
	size_t id_width;
	char **cells; /* row by row; heap, each heap */
	size_t cells_len;
	bool bad; /* out of memory */
};

/* ---- cells */

void cell_text(struct table *t, const char *format, ...)
{
	char raw[512], clean[512];
	char **cells = reallocarray(t->cells, t->cells_len + 1, sizeof(*cells));
	va_list ap;

	if (!cells) {
		t->bad = true;
		return;
	}
	t->cells = cells;
	va_start(ap, format);
	(void)vsnprintf(raw, sizeof(raw), format, ap);
	va_end(ap);
	(void)text_clean(clean, sizeof(clean), raw, strlen(raw));
	cells[t->cells_len] = strdup(clean);
	if (cells[t->cells_len])
		t->cells_len++;
	else
		t->bad = true;
}

void cell_number(struct table *t, const json_t *row, const char *key)
{
	cell_text(t, "%" PRIu64, json_number(row, key));
}

void cell_size(struct table *t, uint64_t bytes)
{
	char text[SIZE_TEXT_SIZE];

	size_to_text(bytes, text);
	cell_text(t, "%s", text);
}

void cell_when(struct table *t, const json_t *row, const char *key)
{
	char text[WHEN_TEXT_SIZE];

	when_to_text(json_text(row, key), text);
	cell_text(t, "%s", text);
}

void cell_id(struct table *t, const json_t *row)
{
	cell_text(t, "%.*s", (int)t->id_width, json_text(row, t->form->id));
}

/* ---- widths */

static size_t common_prefix(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

size_t id_width(const json_t *array, const char *key)
{
	size_t len = json_array_size(array), width = ID_WIDTH_MIN;

	for (size_t i = 0; i < len; i++) {
		const char *a = json_text(json_array_get(array, i), key);

		for (size_t k = 0; k < i; k++) {
			const char *b = json_text(json_array_get(array, k), key);
			size_t same = strcmp(a, b) == 0 ? 0 : common_prefix(a, b);

			width = same >= width ? same + 1 : width;
		}
	}
	return width;
}

size_t text_columns(const char *text)
{
	wchar_t wide[512];
	size_t n = mbstowcs(wide, text, sizeof(wide) / sizeof(wide[0]) - 1);
	int columns;

	if (n == (size_t)-1)
		return strlen(text);
	wide[n] = L'\0';
	columns = wcswidth(wide, n);
	return columns < 0 ? n : (size_t)columns;
}

/* ---- the whole */

static const char *cell(const struct table *t, size_t row, size_t column)
{
	return row == 0 ? t->form->columns[column].head
			: t->cells[(row - 1) * t->form->columns_len + column];
}

static void print_cell(const struct table *t, const char *text, size_t column, size_t width,
		       FILE *f)
{
	size_t n = text_columns(text);
	int pad = n < width ? (int)(width - n) : 0;
	bool last = column + 1 == t->form->columns_len;

	if (t->form->columns[column].right)
		(void)fprintf(f, "%*s%s%s", pad, "", text, last ? "" : "  ");
	else
		(void)fprintf(f, "%s%*s", text, last ? 0 : pad + 2, "");
}

static bool print_cells(const struct table *t, FILE *f)
{
	size_t columns = t->form->columns_len, rows = t->cells_len / columns + 1;
	size_t *widths = calloc(columns, sizeof(*widths));

	if (!widths)
		return false;
	for (size_t row = 0; row < rows; row++) {
		for (size_t i = 0; i < columns; i++) {
			size_t n = text_columns(cell(t, row, i));

			widths[i] = n > widths[i] ? n : widths[i];
		}
	}
	for (size_t row = 0; row < rows; row++) {
		for (size_t i = 0; i < columns; i++)
			print_cell(t, cell(t, row, i), i, widths[i], f);
		(void)fputc('\n', f);
	}
	free(widths);
	return true;
}

bool table_print(const struct table_form *form, const json_t *rows, FILE *f)
{
	struct table t = {.form = form, .id_width = form->id ? id_width(rows, form->id) : 0};
	const json_t *row;
	bool good;
	size_t i;

	json_array_foreach((json_t *)rows, i, row)
	{
		form->add(&t, row);
	}
	good = !t.bad && print_cells(&t, f);
	for (i = 0; i < t.cells_len; i++)
		free(t.cells[i]);
	free(t.cells);
	return good;
}
