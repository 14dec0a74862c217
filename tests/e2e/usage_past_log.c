/* usage_past_log.c - the map of an image as it lies on the disk, as if its log did not matter: the half of a replay that needs no copy.
 *
 *	usage_past_log IMAGE	prints what `hoist-agent map --json --extents` would
 *	usage_past_log A B	of two disks with `--replay`, by a replay that finds nothing in use */
#include <stdio.h>

#include "agent/usage/map.h"

static int replay_nothing(void *ctx, const struct usage_unclean *u, struct runs *ret,
			  struct err *err)
{
	(void)ctx;
	(void)u;
	(void)ret;
	(void)err;
	return 0;
}

/* As an array, if there are several. */
static int print(const struct usage_map *m, char **paths, size_t len)
{
	json_t *all = json_array();
	int r = all ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < len; i++)
		r = json_array_append_new(all, map_to_json(&m[i], paths[i], true));
	if (r == 0)
		r = json_dumpf(len > 1 ? all : json_array_get(all, 0), stdout, JSON_COMPACT);
	json_decref(all);
	return r;
}

int main(int argc, char **argv)
{
	const size_t len = argc == 3 ? 2 : 1;
	const struct usage_options options = {.is_past_log = len == 1,
					      .replay = len == 1 ? NULL : replay_nothing};
	struct usage_map m[2] = {0};
	struct blk *blk[2] = {NULL};
	struct err err = {0};
	int r = argc == 2 || argc == 3 ? 0 : -EINVAL;

	for (size_t i = 0; r == 0 && i < len; i++)
		r = blk_open_file(argv[i + 1], BLK_READ, BLK_LOOK, 0, &blk[i], &err);
	if (r == 0)
		r = usage_map_with(blk, len, &options, m, &err);
	if (r == 0)
		r = print(m, argv + 1, len);
	for (size_t i = 0; i < len; i++) {
		usage_map_done(&m[i]);
		blk_free(blk[i]);
	}
	if (r < 0)
		(void)fprintf(stderr, "usage_past_log: %s\n", err.msg);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
