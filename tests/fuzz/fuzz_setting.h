/* fuzz_setting.h - a table with a setting of each kind, for the fuzz targets of common/setting.c. */
#ifndef TESTS_FUZZ_FUZZ_SETTING_H
#define TESTS_FUZZ_FUZZ_SETTING_H
#include <stdlib.h>
#include <string.h>

#include "common/setting.h"

struct config {
	char *server, *token;
	bool shell;
	uint64_t port, memory;
	struct setting_list disks;
};

#define ALL	  (SETTING_ARGV | SETTING_KERNEL | SETTING_FILE)
#define AT(field) offsetof(struct config, field)
static const struct setting settings[] = {
	{"server", SETTING_TEXT, ALL, AT(server), 0, 0, NULL, "URL", "Server", NULL},
	{"token", SETTING_TEXT, ALL | SETTING_SECRET, AT(token), 0, 0, "a", "TOKEN", "Token", NULL},
	{"shell", SETTING_BOOL, ALL, AT(shell), 0, 0, NULL, NULL, "Shell", NULL},
	{"poll-port", SETTING_U64, ALL, AT(port), 1, 65535, "4647", "PORT", "Port", NULL},
	{"memory", SETTING_SIZE, ALL, AT(memory), 1, 1 << 30, "64M", "SIZE", "Memory", NULL},
	{"disk", SETTING_LIST, ALL, AT(disks), 0, 0, NULL, "FILE", "Disk", NULL},
};
static const struct setting_table table = {settings, sizeof(settings) / sizeof(settings[0])};

/* A value came out of `text`, so it is no longer than that, and nothing in it can confuse a terminal. */
static inline void check_text(const char *value, size_t text_size)
{
	if (!value)
		return;
	if (strlen(value) > text_size && strcmp(value, "a") != 0)
		abort();
	for (; *value; value++) {
		if ((unsigned char)*value < 0x20 || *value == 0x7f)
			abort();
	}
}

static inline void check_config(const struct config *c, int r, size_t text_size)
{
	check_text(c->server, text_size);
	check_text(c->token, text_size);
	for (size_t i = 0; i < c->disks.len; i++)
		check_text(c->disks.items[i], text_size);
	if (c->port < 1 || c->port > 65535 || c->memory < 1 || c->memory > 1 << 30)
		abort();
	if (r > 0)
		abort();
}
#endif
