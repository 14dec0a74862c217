#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "agent/inventory.h"
#include "agent/subcommand.h"
#include "common/cleanup.h"
#include "common/setting.h"

struct config {
	char *sysroot, *id;
	bool json;
	struct setting_list disks;
};

static const struct setting settings[] = {
	{"sysroot", SETTING_TEXT, SETTING_ARGV, offsetof(struct config, sysroot), 0, 0, NULL, "DIR",
	 "read the machine dumped into DIR (scripts/dump-sysroot)", NULL},
	{"json", SETTING_BOOL, SETTING_ARGV, offsetof(struct config, json), 0, 0, NULL, NULL,
	 "print JSON, as docs/inventory.md describes it", NULL},
	{"disk", SETTING_LIST, SETTING_ARGV, offsetof(struct config, disks), 0, 0, NULL,
	 "FILE[,sector=N][,name=NAME][,ro]",
	 "a plain file that stands for a disk; real disks are not looked at then", NULL},
	{"id", SETTING_TEXT, SETTING_ARGV, offsetof(struct config, id), 0, 0, NULL, "TEXT",
	 "the machine's id, in place of the one that its hardware gives", NULL},
};
const struct setting_table inventory_table = {settings, sizeof(settings) / sizeof(*settings)};

static void config_done(struct config *c)
{
	settings_done(&inventory_table, c);
}

static int print_json(const struct inventory *i, struct err *err)
{
	json_t *json = inventory_to_json(i);
	int r = json ? json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : -1;

	json_decref(json);
	(void)putchar('\n');
	return r < 0 ? err_set(err, -ENOMEM, "print the inventory: out of memory") : 0;
}

static int run(const struct config *c, struct err *err)
{
	struct inventory_options o = {
		.sysroot = c->sysroot,
		.id = c->id && c->id[0] ? c->id : NULL,
		.disks = c->disks.items,
		.disks_len = c->disks.len,
	};
	CLEANUP_FREE struct inventory *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return err_set(err, -ENOMEM, "out of memory");
	r = inventory_collect(&o, i, err);
	if (r < 0)
		return r;
	if (c->json)
		r = print_json(i, err);
	else
		inventory_print(i, stdout);
	inventory_done(i);
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		r = err_set(err, -EIO, "write the inventory to standard output: %m");
	return r;
}

static void print_help(void)
{
	(void)fputs(
		"Usage: hoist-agent inventory [OPTION...]\n\n"
		"List this machine's disks and what is on them, its firmware, memory and network\n"
		"cards.  Nothing is written to any disk.\n\n",
		stdout);
	settings_print_help(&inventory_table, stdout);
	(void)fputs("\nExamples:\n"
		    "  hoist-agent inventory\n"
		    "  hoist-agent inventory --json --disk a.img --disk b.img,sector=4096\n",
		    stdout);
}

int inventory_main(int argc, char **argv)
{
	static const struct subcommand self = {&inventory_table, print_help, NULL};
	CLEANUP(config_done) struct config c = {0};
	struct err err = {0};
	int first, status;

	if (!subcommand_begin(&self, &c, argc, argv, &first, &status))
		return status;
	return subcommand_end(run(&c, &err), &err);
}
