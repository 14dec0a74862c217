/* config.h - the settings of hoist-server. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H
#include <stdbool.h>
#include <stdint.h>

#include "common/log.h"
#include "common/setting.h"

struct config {
	char *data; /* the data directory */
	struct setting_list listen;
	char *media; /* the folder of boot files; NULL: none */
	struct setting_list boot;
	char *discovery; /* "yes" or "no" */
	uint64_t discovery_port;
	char *pairing; /* "yes" or "no" */
	uint64_t pairing_expiry_s, pairings, pairings_per_peer;
	char *name; /* NULL: the host's name */
	char *log_level;
	bool rebuild_index, print_fingerprint, version;
	uint64_t poll_s, stall_s, away_s, renew_s;
	uint64_t session_idle_s, session_life_s; /* of operators */
	uint64_t connections, connections_per_peer, inactivity_s, body_s;
	uint64_t reserve; /* bytes of the filesystem that stay free */
	uint64_t memory;  /* bytes of bodies in memory */
};

extern const struct setting_table config_table;

int log_level_from_name(const char *name, enum log_level *ret);
#endif
