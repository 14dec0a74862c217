/* media: what the server hands out. */
#include "server/cli/cli.h"
#include "server/cli/print.h"
#include "server/cli/table.h"

static void add_medium(struct table *t, const json_t *m)
{
	cell_text(t, "%s", json_text(m, "name"));
	cell_size(t, json_number(m, "size"));
	cell_text(t, "%s", json_is_true(json_object_get(m, "settings")) ? "yes" : "-");
}

static int run_media(struct ctx *c, struct err *err)
{
	static const struct column columns[] = {
		{"NAME", false}, {"SIZE", true}, {"SETTINGS", false}};
	static const struct listing list = {
		.key = "media",
		.form = TABLE_FORM(columns, add_medium, NULL),
		.none = "The server has no boot files; hoist-server --media names the folder of them.",
	};

	return list_print(c, "/v1/media", &list, err);
}

const struct command cmd_media = {
	.name = "media",
	.operands = "",
	.summary = "List the boot files that the server has",
	.text = "Those of the folder that hoist-server --media names. 'hoist iso --download' "
		"gets one with settings in it; with hoist-server --boot machines fetch them "
		"over the network.",
	.takes = TAKES_SERVER | TAKES_JSON,
	.run = run_media,
};
