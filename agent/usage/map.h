/* map.h - `hoist-agent map`: what would be copied of a disk, and why. */
#ifndef AGENT_USAGE_MAP_H
#define AGENT_USAGE_MAP_H
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "agent/usage/usage.h"
#include "common/setting.h"

/* argv[0] is the subcommand; returns the exit status. */
int map_main(int argc, char **argv);
/* Its options. */
extern const struct setting_table map_table;

/* One disk, as docs/inventory.md describes it; NULL when out of memory. */
json_t *map_to_json(const struct usage_map *m, const char *path, bool with_extents) MUST_CHECK;
/* The same for people. */
void map_print(const struct usage_map *m, const char *path, FILE *f);
#endif
