/* map_main.c - the command line of `hoist-agent map`, and its output for people. */
#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "agent/replay/replay.h"
#include "agent/subcommand.h"
#include "agent/usage/map.h"
#include "common/setting.h"

struct config {
	bool json, extents, replay;
	uint64_t sector;
};

static const struct setting settings[] = {
	{"json", SETTING_BOOL, SETTING_ARGV, offsetof(struct config, json), 0, 0, NULL, NULL,
	 "print JSON: an object, or with several disks a list of them", NULL},
	{"extents", SETTING_BOOL, SETTING_ARGV, offsetof(struct config, extents), 0, 0, NULL, NULL,
	 "with --json: list what would be copied, as [offset, length] in bytes", NULL},
	{"replay", SETTING_BOOL, SETTING_ARGV, offsetof(struct config, replay), 0, 0, NULL, NULL,
	 "let the kernel replay the log of an unclean ext4, XFS or btrfs on a copy in memory; sets the disks read-only",
	 NULL},
	{"sector", SETTING_U64, SETTING_ARGV, offsetof(struct config, sector), BLK_SECTOR_SIZE_MIN,
	 BLK_SECTOR_SIZE_MAX, "512", "BYTES", "the sector size of plain files", NULL},
};
const struct setting_table map_table = {settings, sizeof(settings) / sizeof(*settings)};

static void print_size(FILE *f, uint64_t n)
{
	static const char units[] = "KMGTP";
	double x = (double)n / 1024;
	size_t i = 0;

	for (; x >= 1000 && i + 2 < sizeof(units); i++)
		x /= 1024;
	(void)fprintf(f, "%6.1f %ciB", x, units[i]);
}

static void print_part(FILE *f, const struct usage_part *p, const char *name)
{
	(void)fprintf(f, "  %-14s ", name);
	print_size(f, p->copied);
	(void)fputs(" of ", f);
	print_size(f, p->size);
	(void)fprintf(f, "  %-6s  %s%s%s%s%s\n", usage_how_name(p->how), p->content,
		      p->label[0] != '\0' ? " " : "", p->label,
		      p->content[0] && p->why[0] ? ": " : "", p->why);
}

void map_print(const struct usage_map *m, const char *path, FILE *f)
{
	(void)fprintf(f, "%s: ", path);
	print_size(f, m->copied);
	(void)fputs(" of ", f);
	print_size(f, m->size);
	(void)fprintf(f, " would be copied (partition table: %s)\n", m->table);
	for (size_t i = 0; i < m->partitions_len; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "%" PRIu32, m->partitions[i].number);
		print_part(f, &m->partitions[i], m->partitions[i].number ? name : "disk");
	}
	for (size_t i = 0; i < m->volumes_len; i++)
		print_part(f, &m->volumes[i], m->volumes[i].name);
	for (size_t i = 0; i < m->areas_len; i++)
		print_part(f, &m->areas[i], "unpartitioned");
}

struct disks {
	struct blk **items;
	struct usage_map *maps;
	size_t len;
};

static void disks_done(struct disks *d)
{
	for (size_t i = 0; i < d->len; i++) {
		usage_map_done(&d->maps[i]);
		blk_free(d->items[i]);
	}
	free(d->maps);
	free(d->items);
}

static int map_disks(const struct config *c, char **paths, size_t len, struct disks *d,
		     struct err *err)
{
	struct replay replay = {0};
	struct usage_options options = {c->replay ? replay_run : NULL, &replay, false};

	assert(len > 0);
	d->items = calloc(len, sizeof(struct blk *));
	d->maps = calloc(len, sizeof(*d->maps));
	if (!d->items || !d->maps)
		return err_set(err, -ENOMEM, "map: out of memory");
	for (; d->len < len; d->len++) {
		int r = blk_open_file(paths[d->len], BLK_READ, c->replay ? 0 : BLK_LOOK,
				      (uint32_t)c->sector, &d->items[d->len], err);

		if (r < 0)
			return r;
	}
	return usage_map_with(d->items, d->len, &options, d->maps, err);
}

static int print_json(const struct config *c, const struct disks *d, char **paths, struct err *err)
{
	json_t *list = json_array();
	int r = list ? 0 : -1;

	for (size_t i = 0; r == 0 && i < d->len; i++)
		r = json_array_append_new(list, map_to_json(&d->maps[i], paths[i], c->extents));
	if (r == 0)
		r = json_dumpf(d->len == 1 ? json_array_get(list, 0) : list, stdout,
			       c->extents ? JSON_COMPACT : JSON_INDENT(2));
	json_decref(list);
	(void)putchar('\n');
	return r < 0 ? err_set(err, -ENOMEM, "print the map: out of memory") : 0;
}

static int run(const struct config *c, char **paths, size_t len, struct err *err)
{
	CLEANUP(disks_done) struct disks d = {0};
	int r = map_disks(c, paths, len, &d, err);

	if (r < 0)
		return r;
	if (c->json) {
		r = print_json(c, &d, paths, err);
	} else {
		for (size_t i = 0; i < len; i++)
			map_print(&d.maps[i], paths[i], stdout);
	}
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		r = err_set(err, -EIO, "write the map to standard output: %m");
	return r;
}

static void print_help(void)
{
	(void)fputs(
		"Usage: hoist-agent map [OPTION...] DEVICE|FILE...\n\n"
		"Print what a capture would copy of the disks, and why.  Nothing is written to any\n"
		"disk.  Name all disks of a volume group or array together.\n\n",
		stdout);
	settings_print_help(&map_table, stdout);
	(void)fputs("\nExamples:\n"
		    "  hoist-agent map /dev/sda\n"
		    "  hoist-agent map --json --extents a.img b.img\n",
		    stdout);
}

int map_main(int argc, char **argv)
{
	static const struct subcommand self = {&map_table, print_help, "no disk is named"};
	struct config c = {0};
	struct err err = {0};
	int first, status;

	if (!subcommand_begin(&self, &c, argc, argv, &first, &status))
		return status;
	return subcommand_end(run(&c, argv + first, (size_t)(argc - first), &err), &err);
}
