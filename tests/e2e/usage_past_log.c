/* usage_past_log.c - the map of an image as it lies on the disk, as if its log did not matter: the half of a replay that needs no copy.
 *
 *	usage_past_log IMAGE	prints what `hoist-agent map --json --extents` would */
#include <stdio.h>

#include "agent/usage/map.h"

int main(int argc, char **argv)
{
	const struct usage_options options = {.is_past_log = true};
	CLEANUP(usage_map_done) struct usage_map m = {0};
	CLEANUP(blk_freep) struct blk *blk = NULL;
	struct err err = {0};
	json_t *o = NULL;
	int r = -EINVAL;

	if (argc == 2)
		r = blk_open_file(argv[1], BLK_READ, BLK_LOOK, 0, &blk, &err);
	if (r == 0)
		r = usage_map_with(&blk, 1, &options, &m, &err);
	if (r == 0) {
		o = map_to_json(&m, argv[1], true);
		r = o ? json_dumpf(o, stdout, JSON_COMPACT) : -ENOMEM;
		json_decref(o);
	}
	if (r < 0)
		(void)fprintf(stderr, "usage_past_log: %s\n", err.msg);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
