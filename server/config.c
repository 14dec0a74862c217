#include "server/config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/message.h"
#include "server/listen.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};

int log_level_from_name(const char *name, enum log_level *ret)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int check_level(const char *text, struct err *err)
{
	enum log_level level;

	if (log_level_from_name(text, &level) == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is none of error, warn, info, debug", text);
}

static int check_name(const char *text, struct err *err)
{
	if (name_is_valid(text))
		return 0;
	return err_set(
		err, -EINVAL,
		"'%.64s' is no name: 1 to 64 letters, digits, '.', '_' or '-', the first one "
		"a letter or digit",
		text);
}

static int check_yes_no(const char *text, struct err *err)
{
	if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is neither yes nor no", text);
}

#define AT(field) .sources = SETTING_ARGV, .offset = offsetof(struct config, field)

static const struct setting settings[] = {
	{.key = "data",
	 .type = SETTING_TEXT,
	 AT(data),
	 .value = "DIR",
	 .help = "Folder of all that the server keeps; it is made if it is not there"},
	{.key = "listen",
	 .type = SETTING_LIST,
	 AT(listen),
	 .value = "ADDR:PORT",
	 .check = listen_check,
	 .help = "Address for HTTPS; may be repeated; port 0 takes a free one [[::]:4647]"},
	{.key = "media",
	 .type = SETTING_TEXT,
	 AT(media),
	 .value = "DIR",
	 .help = "Folder of boot files to hand out to operators, with settings in them: hoist.iso, those of make netboot"},
	{.key = "boot",
	 .type = SETTING_LIST,
	 AT(boot),
	 .value = "ADDR:PORT",
	 .check = listen_check,
	 .help = "Address for plain HTTP at which machines fetch these to boot them (iPXE, UEFI HTTP boot); may be repeated; without a port 4648 [none]"},
	{.key = "name",
	 .type = SETTING_TEXT,
	 AT(name),
	 .value = "NAME",
	 .check = check_name,
	 .help = "What the server calls itself [the host's name]"},
	{.key = "discovery",
	 .type = SETTING_TEXT,
	 AT(discovery),
	 .preset = "yes",
	 .value = "yes|no",
	 .check = check_yes_no,
	 .help = "Answer machines that look for a server by broadcast"},
	{.key = "discovery-port",
	 .type = SETTING_U64,
	 AT(discovery_port),
	 .min = 1,
	 .max = 65535,
	 .preset = "4647",
	 .value = "PORT",
	 .help = "UDP port of the discovery"},
	{.key = "pairing",
	 .type = SETTING_TEXT,
	 AT(pairing),
	 .preset = "yes",
	 .value = "yes|no",
	 .check = check_yes_no,
	 .help = "Let machines without a token show a code for the operator to confirm"},
	{.key = "pairing-expiry",
	 .type = SETTING_U64,
	 AT(pairing_expiry_s),
	 .min = 2,
	 .max = 86400,
	 .preset = "600",
	 .value = "SECONDS",
	 .help = "How long a code is good"},
	{.key = "pairings",
	 .type = SETTING_U64,
	 AT(pairings),
	 .min = 1,
	 .max = 65536,
	 .preset = "256",
	 .value = "COUNT",
	 .help = "Pairings that may be begun within that time"},
	{.key = "pairings-per-peer",
	 .type = SETTING_U64,
	 AT(pairings_per_peer),
	 .min = 1,
	 .max = 65536,
	 .preset = "16",
	 .value = "COUNT",
	 .help = "Of these from one address"},
	{.key = "reserve",
	 .type = SETTING_SIZE,
	 AT(reserve),
	 .min = 0,
	 .max = 1ull << 50,
	 .preset = "1G",
	 .value = "SIZE",
	 .help = "Take no more data when less than this is free on the disk"},
	{.key = "stall",
	 .type = SETTING_U64,
	 AT(stall_s),
	 .min = 1,
	 .max = 86400,
	 .preset = "300",
	 .value = "SECONDS",
	 .help = "Call a job stalled when it made no progress for so long"},
	{.key = "away",
	 .type = SETTING_U64,
	 AT(away_s),
	 .min = 1,
	 .max = 86400,
	 .preset = "60",
	 .value = "SECONDS",
	 .help = "Call a machine away when it was not heard for so long; a diskless one that was "
		 "restarted waits as long until its token lets it in again"},
	{.key = "poll",
	 .type = SETTING_U64,
	 AT(poll_s),
	 .min = 1,
	 .max = 30,
	 .preset = "25",
	 .value = "SECONDS",
	 .help = "How long a machine's question for orders may stay open"},
	{.key = "renew",
	 .type = SETTING_U64,
	 AT(renew_s),
	 .min = 1,
	 .max = 86400,
	 .preset = "3600",
	 .value = "SECONDS",
	 .help = "How often a machine is to take another secret for its session"},
	{.key = "session-idle",
	 .type = SETTING_U64,
	 AT(session_idle_s),
	 .min = 1,
	 .max = 86400,
	 .preset = "1800",
	 .value = "SECONDS",
	 .help = "End an operator's session that was not used for so long"},
	{.key = "session-life",
	 .type = SETTING_U64,
	 AT(session_life_s),
	 .min = 1,
	 .max = 604800,
	 .preset = "43200",
	 .value = "SECONDS",
	 .help = "End it after that in any case"},
	{.key = "connections",
	 .type = SETTING_U64,
	 AT(connections),
	 .min = 4,
	 .max = 65536,
	 .preset = "512",
	 .value = "COUNT",
	 .help = "Connections at one time, for each address listened at"},
	{.key = "connections-per-peer",
	 .type = SETTING_U64,
	 AT(connections_per_peer),
	 .min = 1,
	 .max = 65536,
	 .preset = "64",
	 .value = "COUNT",
	 .help = "Of these from one address"},
	{.key = "inactivity",
	 .type = SETTING_U64,
	 AT(inactivity_s),
	 .min = 1,
	 .max = 3600,
	 .preset = "60",
	 .value = "SECONDS",
	 .help = "End connections on which nothing moves for so long"},
	{.key = "body-time",
	 .type = SETTING_U64,
	 AT(body_s),
	 .min = 1,
	 .max = 3600,
	 .preset = "60",
	 .value = "SECONDS",
	 .help = "What a body may take, and a second more for each 4096 bytes of it"},
	{.key = "memory",
	 .type = SETTING_SIZE,
	 AT(memory),
	 .min = 64ull << 20,
	 .max = 1ull << 40,
	 .preset = "512M",
	 .value = "SIZE",
	 .help = "Memory for what is being received and sent; as much again for JSON"},
	{.key = "log-level",
	 .type = SETTING_TEXT,
	 AT(log_level),
	 .preset = "info",
	 .value = "LEVEL",
	 .check = check_level,
	 .help = "error, warn, info or debug; the log goes to standard error"},
	{.key = "rebuild-index",
	 .type = SETTING_BOOL,
	 AT(rebuild_index),
	 .help = "Read all packs and make the index of objects anew, then serve"},
	{.key = "print-fingerprint",
	 .type = SETTING_BOOL,
	 AT(print_fingerprint),
	 .help = "Print the fingerprint of the server's key and end"},
	{.key = "version", .type = SETTING_BOOL, AT(version), .help = "Print the version and end"},
};

const struct setting_table config_table = {settings, sizeof(settings) / sizeof(settings[0])};
