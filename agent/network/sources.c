#include "agent/network/sources.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/machine.h"
#include "common/cleanup.h"
#include "common/setting.h"

struct reading {
	struct netconf *plan;
	void (*bad)(void *ctx, const char *line);
	void *ctx;
	size_t lines; /* of the network, right or wrong */
};

static void take(struct reading *r, const char *key, const char *value)
{
	struct err err = {0};

	r->lines++;
	if (netconf_add(r->plan, key, value, &err) < 0) {
		r->plan->had_bad = true;
		r->bad(r->ctx, err.msg);
	}
}

/* `text` is cut up. */
static void take_lines(struct reading *r, char *text)
{
	char *line;

	while ((line = strsep(&text, "\n"))) {
		char *equals = strchr(line, '='), *end;

		line += strspn(line, " \t");
		end = line + strcspn(line, " \t=");
		if (!equals || *line == '#')
			continue;
		equals += 1 + strspn(equals + 1, " \t");
		for (char *last = equals + strlen(equals);
		     last > equals && strchr(" \t\r", last[-1]);)
			*--last = '\0';
		*end = '\0';
		if (netconf_is_key(line))
			take(r, line, equals);
	}
}

/* dracut's own names, and "hoist." before those of the settings. */
static void take_cmdline(struct reading *r, char *text)
{
	char *key, *value;

	while (setting_next_word(&text, &key, &value)) {
		bool is_ours = strncmp(key, "hoist.", 6) == 0;
		const char *name = is_ours ? key + 6 : key;

		/* "route" alone is nobody's on a kernel line */
		if (value && netconf_is_key(name) && (is_ours || strcmp(name, "route") != 0))
			take(r, name, value);
	}
}

int sources_read(const char *path, char **ret, size_t *ret_size, struct err *err)
{
	return config_read_file(path, ret, ret_size, err);
}

static int load_file(struct reading *r, const char *path, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int result = sources_read(path, &text, &size, err);

	if (result == 0 && text) {
		take_lines(r, text);
		explicit_bzero(text, size); /* the medium's token is among them */
	}
	return result;
}

static int load_cmdline(struct reading *r, const char *given, struct err *err)
{
	CLEANUP_FREE char *text = given ? strdup(given) : NULL;
	size_t size;
	int result = 0;

	if (!given)
		result = sources_read(CONFIG_IMAGE_CMDLINE, &text, &size, err);
	else if (!text)
		result = err_set(err, -ENOMEM, "out of memory");
	if (result == 0)
		take_cmdline(r, text);
	return result;
}

static void take_firmware(void *ctx, const char *key, const char *value)
{
	take(ctx, key, value);
}

/* Over which card, and with which address, the disk is reached from which firmware started this machine. */
static void load_firmware(struct reading *r, const char *path)
{
	CLEANUP(sysroot_done) struct sysroot root = {.fd = -1};
	struct err err = {0};

	if (sysroot_open(path, &root, &err) < 0)
		r->bad(r->ctx, err.msg);
	else
		ibft_network(&root, take_firmware, r);
}

int sources_load(const struct sources *s, struct netconf *ret,
		 void (*bad)(void *ctx, const char *line), void *ctx, struct err *err)
{
	struct reading r = {.plan = ret, .bad = bad, .ctx = ctx};
	struct err unread = {0};
	int result = 0;

	if (s->override && access(s->override, F_OK) == 0)
		return load_file(&r, s->override, err);
	if (s->cmdline || s->image)
		result = load_cmdline(&r, s->cmdline, s->image ? &unread : err);
	if (unread.msg[0]) {
		bad(ctx, unread.msg);
		result = 0;
	}
	if (result < 0 || r.lines > 0)
		return result;
	if (s->settings)
		result = load_file(&r, s->settings, err);
	else if (s->image && access(CONFIG_IMAGE_SETTINGS, F_OK) == 0 &&
		 load_file(&r, CONFIG_IMAGE_SETTINGS, &unread) < 0)
		bad(ctx, unread.msg);
	if (result == 0 && r.lines == 0 && (s->sysroot || s->image))
		load_firmware(&r, s->sysroot);
	return result;
}
