/* media: what the server hands out. */
#include <errno.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

static int print_table(const json_t *media, struct err *err)
{
	static const struct column columns[] = {
		{"NAME", false}, {"SIZE", true}, {"SETTINGS", false}};
	struct table t;
	const json_t *m;
	bool good;
	size_t i;

	columns_init(&t, columns, sizeof(columns) / sizeof(columns[0]));
	json_array_foreach((json_t *)media, i, m)
	{
		char size[SIZE_TEXT_SIZE];

		size_to_text(json_number(m, "size"), size);
		columns_add(&t, "%s", json_text(m, "name"));
		columns_add(&t, "%s", size);
		columns_add(&t, "%s", json_is_true(json_object_get(m, "settings")) ? "yes" : "-");
	}
	good = columns_print(&t, stdout);
	columns_done(&t);
	return good ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int cmd_media(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *media;
	int r = api(c, "GET", "/v1/media", NULL, &answer, err);

	if (r < 0)
		return r;
	if (c->o.json) {
		print_json(answer);
		return 0;
	}
	media = json_object_get(answer, "media");
	if (json_array_size(media) > 0)
		return print_table(media, err);
	(void)puts("The server has no boot files; hoist-server --media names the folder of them.");
	return 0;
}
