#include "common/medium_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/agent_config.h"
#include "common/cleanup.h"
#include "common/medium.h"
#include "common/netconf.h"
#include "common/ssh_key.h"

#define LISTED_MAX 512u /* lines on a medium */

bool medium_setting_is_secret(const char *key)
{
	return strcmp(key, "token") == 0 || strcmp(key, "secret") == 0;
}

static bool may_repeat(const char *key)
{
	for (size_t i = 0; i < agent_config_table.len; i++) {
		if (strcmp(agent_config_table.settings[i].key, key) == 0)
			return agent_config_table.settings[i].type == SETTING_LIST;
	}
	return false;
}

/* Takes the value.  Negative: no UTF-8, or out of memory. */
static int add_beside(json_t *settings, const char *key, json_t *take_value)
{
	json_t *present = json_object_get(settings, key);

	if (!present)
		return json_object_set_new(settings, key, take_value);
	if (!json_is_array(present)) {
		json_t *several = json_pack("[O]", present);

		if (json_object_set_new(settings, key, several) < 0) {
			json_decref(take_value);
			return -1;
		}
		present = several;
	}
	return json_array_append_new(present, take_value);
}

int medium_settings_add(json_t *settings, const char *key, const char *value, struct err *err)
{
	int r = medium_check_setting(key, value, err);

	if (r < 0)
		return r;
	if (may_repeat(key))
		r = add_beside(settings, key, json_string(value));
	else
		r = json_object_set_new(settings, key, json_string(value));
	return r < 0 ? err_set(err, -EINVAL, "%s: the value is not valid UTF-8", key) : 0;
}

/* The agent's own table judges: a machine that finds a setting that it does not know, or a wrong value, is far away. */
int medium_settings_check(const char *key, const char *value, struct err *err)
{
	struct config scratch = {.server = NULL};
	int r = settings_set(&agent_config_table, &scratch, SETTING_FILE, key, value, err);

	settings_done(&agent_config_table, &scratch);
	if (r != -ENOENT)
		return r;
	return err_set(err, -EINVAL,
		       "the live image takes no setting '%.64s' from its medium; hoist-agent(8) "
		       "names them",
		       key);
}

void medium_settings_each(const json_t *settings,
			  void (*fn)(void *arg, const char *key, const char *value), void *arg)
{
	const char *key;
	const json_t *value, *one;
	size_t i;

	json_object_foreach((json_t *)settings, key, value)
	{
		if (!json_is_array(value))
			fn(arg, key, json_string_value(value));
		json_array_foreach((json_t *)value, i, one)
		{
			fn(arg, key, json_string_value(one));
		}
	}
}

struct together {
	struct netconf *plan;
	unsigned ssh_keys;
	struct err *err;
	int r;
};

static void add_together(void *arg, const char *key, const char *value)
{
	struct together *t = arg;

	if (t->r == 0 && netconf_is_key(key))
		t->r = netconf_add(t->plan, key, value, t->err);
	if (strcmp(key, "ssh-key") == 0)
		t->ssh_keys++;
}

int medium_settings_check_together(const json_t *settings, struct err *err)
{
	CLEANUP_FREE struct netconf *plan = calloc(1, sizeof(*plan));
	struct together t = {.plan = plan, .err = err};

	if (!plan)
		return err_set(err, -ENOMEM, "out of memory");
	medium_settings_each(settings, add_together, &t);
	if (t.r == 0 && t.ssh_keys > SSH_KEYS_MAX)
		return err_set(err, -EINVAL, "ssh-key: there are %u keys, and a medium takes %u",
			       t.ssh_keys, SSH_KEYS_MAX);
	return t.r == -E2BIG ? err->code = -EINVAL : t.r;
}

static void write_line(void *arg, const char *key, const char *value)
{
	(void)fprintf(arg, "%s=%s\n", key, value);
}

int medium_settings_text(const json_t *settings, char **ret, size_t *ret_size, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	bool good;

	if (!f)
		return err_set(err, -ENOMEM, "out of memory");
	medium_settings_each(settings, write_line, f);
	good = !ferror(f);
	if (fclose(f) != 0 || !good) {
		free(text);
		return err_set(err, -ENOMEM, "out of memory");
	}
	*ret = text;
	*ret_size = size;
	return 0;
}

/* As the live image reads it (common/setting.c): blanks around a key or a value count nothing. */
static size_t trim(const char **text, size_t size)
{
	while (size > 0 && strchr(" \t\r", (*text)[0]) && (*text)[0]) {
		(*text)++;
		size--;
	}
	while (size > 0 && strchr(" \t\r", (*text)[size - 1]) && (*text)[size - 1])
		size--;
	return size;
}

int medium_settings_parse(const char *text, size_t size, json_t *settings, struct err *err)
{
	const char *end = text + size;
	unsigned n = 0;

	/* who reads them up to it and who reads on would see different settings */
	if (memchr(text, '\0', size))
		return err_set(err, -EPROTO, "there is a zero byte in the settings");
	while (text < end && n++ < LISTED_MAX) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((newline ? newline : end) - text);
		const char *equals = memchr(text, '=', len);
		const char *value = equals ? equals + 1 : text + len, *name = text;
		size_t name_size = trim(&name, equals ? (size_t)(equals - text) : len);
		size_t value_size = (size_t)(text + len - value);
		CLEANUP_FREE char *key = strndup(name, name_size);

		value_size = trim(&value, value_size);
		if (key && *key && *key != '#' &&
		    add_beside(settings, key, json_stringn(value, value_size)) < 0)
			return err_set(err, -EPROTO, "the settings are not valid UTF-8");
		text += len + 1;
	}
	return 0;
}

json_t *medium_settings_masked(const json_t *settings, bool secrets)
{
	json_t *copy = json_copy((json_t *)settings);
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)settings, key, value)
	{
		if (!secrets && medium_setting_is_secret(key))
			(void)json_object_set_new(copy, key, json_string("***"));
	}
	return copy;
}
