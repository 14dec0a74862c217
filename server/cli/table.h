/* table.h - an aligned table, with a row for each element of a JSON array.  Text of others is cleaned on its way to the terminal. */
#ifndef SERVER_CLI_TABLE_H
#define SERVER_CLI_TABLE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/json.h"

struct column {
	const char *head;
	bool right; /* aligned */
};

struct table;
struct table_form {
	const struct column *columns; /* each as wide as it needs */
	size_t columns_len;
	void (*add)(struct table *t, const json_t *row); /* a cell for each column */
	const char *id; /* key of the ids that are shortened; NULL: there are none */
};
#define TABLE_FORM(columns_, add_, id_)                                                         \
	{                                                                                       \
		.columns = (columns_), .columns_len = sizeof(columns_) / sizeof((columns_)[0]), \
		.add = (add_), .id = (id_)                                                      \
	}

/* No array is one without elements.  False: out of memory. */
bool table_print(const struct table_form *form, const json_t *rows, FILE *f);

/* ---- cells, for `add` */
void cell_text(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cell_number(struct table *t, const json_t *row, const char *key);
void cell_size(struct table *t, uint64_t bytes);
/* Local time; "-" for none. */
void cell_when(struct table *t, const json_t *row, const char *key);
/* The id of this row: as many characters as tell those of all rows apart. */
void cell_id(struct table *t, const json_t *row);

/* So many characters of the ids in array[].key tell all of them apart; at least 8. */
size_t id_width(const json_t *array, const char *key);
/* Number of terminal columns of a text. */
size_t text_columns(const char *text);
#endif
