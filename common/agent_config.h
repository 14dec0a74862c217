/* agent_config.h - what `hoist-agent run` can be told: one table for argv, hoist.* kernel arguments, the settings file, --help and the man
 * page.  Here and not in agent/, because `hoist iso` checks with it what it writes onto a medium. */
#ifndef COMMON_AGENT_CONFIG_H
#define COMMON_AGENT_CONFIG_H
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/setting.h"

#define CONFIG_LEVEL_MAX 19

struct config {
	char *server, *pin, *token, *token_file;
	char *name, *hostname, *id;
	struct setting_list disks;
	uint64_t memory;     /* bytes; 0 until the agent has loaded all of it */
	uint64_t memory_max; /* what may be used when that does not suffice; set with it */
	uint64_t workers;    /* 0: as many as cores and memory allow */
	char *level_text;    /* what was said; then: */
	int level;	     /* 0: adaptive */
	uint64_t disk_wait;  /* seconds */
	bool io_uring;
	bool discovery;
	uint64_t discovery_port;
	struct setting_list interfaces;
	struct setting_list consoles;
	struct setting_list ip, vlan, bond, nameserver, route, ifname; /* common/netconf.h */
	struct setting_list ssh_keys;				       /* common/ssh_key.h */
	const char *locks; /* agent/locks.h; NULL: nobody is let in, and sources alone are locked */
	char *state;
	char *settings, *cmdline; /* where the other settings come from */
	bool image, once, shell;
	bool eject;
	char *replay;	 /* what was said; then: */
	bool may_replay; /* logs of filesystems, on a copy in memory */
	uint64_t progress_ms;
};

extern const struct setting_table agent_config_table;
/* 1 to CONFIG_LEVEL_MAX, or 0 for "auto".  -EINVAL */
int config_parse_level(const char *text, int *ret, struct err *err) MUST_CHECK;
#endif
