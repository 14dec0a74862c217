#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

int list_print(struct ctx *c, const char *path, const struct listing *l, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *rows;
	const char *note;
	int r = api(c, "GET", path, NULL, &answer, err);

	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(answer);
		return 0;
	}
	rows = json_object_get(answer, l->key);
	if (!table_print(&l->form, rows, stdout))
		return err_set(err, -ENOMEM, "out of memory");
	note = json_array_size(rows) > 0 ? l->some : l->none;
	if (note)
		(void)fprintf(stderr, "%s\n", note);
	return 0;
}

int done_print(const struct ctx *c, const json_t *answer, const char *format, ...)
{
	va_list ap;

	if (c->o.json && answer) {
		print_json(answer);
	} else if (c->o.json) {
		(void)puts("{}");
	} else {
		va_start(ap, format);
		vprint_line(stdout, format, ap);
		va_end(ap);
	}
	return 0;
}
