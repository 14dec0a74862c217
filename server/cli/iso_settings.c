#include "server/cli/iso_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/medium_settings.h"
#include "server/cli/iso_ssh.h"

static int add_given(struct ctx *c, json_t *settings, struct err *err)
{
	for (size_t i = 0; i < c->o.set.len; i++) {
		const char *item = c->o.set.items[i], *equals = strchr(item, '=');
		CLEANUP_FREE char *key = equals ? strndup(item, (size_t)(equals - item)) : NULL;
		int r;

		if (!key)
			return err_set(err, -EINVAL, "--set: '%.64s' is not of the form KEY=VALUE",
				       item);
		r = medium_settings_add(settings, key, equals + 1, err);
		if (r == 0)
			r = medium_settings_check(key, equals + 1, err);
		if (r < 0)
			return err_prefix(err, "--set");
	}
	return 0;
}

/* --ip and its like: one key, several values. */
static int add_list(const struct setting_list *l, const char *key, json_t *settings,
		    struct err *err)
{
	for (size_t i = 0; i < l->len; i++) {
		int r = medium_settings_add(settings, key, l->items[i], err);

		if (r == 0)
			r = medium_settings_check(key, l->items[i], err);
		if (r < 0)
			return err_prefix(err, "--%s", key);
	}
	return 0;
}

static int add_network(struct ctx *c, json_t *settings, struct err *err)
{
	int r = add_list(&c->o.bond, "bond", settings, err);

	if (r == 0)
		r = add_list(&c->o.vlan, "vlan", settings, err);
	if (r == 0)
		r = add_list(&c->o.ip, "ip", settings, err);
	if (r == 0)
		r = add_list(&c->o.route, "route", settings, err);
	return r == 0 ? add_list(&c->o.nameserver, "nameserver", settings, err) : r;
}

static int add_target(struct ctx *c, json_t *settings, struct err *err)
{
	int r = target_find(c, err);

	if (r == -EDESTADDRREQ && !c->o.new_token) /* no server is fine */
		return c->o.pin ? medium_settings_add(settings, "pin", c->o.pin, err) : 0;
	if (r == -EDESTADDRREQ) /* nobody to ask for the token */
		r = err->code = -EINVAL;
	if (r < 0)
		return r;
	if (!c->target_guessed)
		r = medium_settings_add(settings, "server", c->target.url, err);
	if (r == 0 && c->target.pin[0])
		r = medium_settings_add(settings, "pin", c->target.pin, err);
	return r;
}

static int read_stdin_token(char **token, struct err *err)
{
	char line[256];
	char *copy;

	if (!fgets(line, sizeof(line), stdin))
		return err_set(err, -EINVAL, "--token -: there is nothing on standard input");
	line[strcspn(line, "\r\n")] = '\0';
	copy = strdup(line);
	explicit_bzero(line, sizeof(line));
	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	free(*token);
	*token = copy;
	return 0;
}

/* Whoever limits the token of the medium is not to find that it has no limit. */
static bool token_is_described(const struct ctx *c)
{
	return c->o.note || c->o.uses != strtoul(ISO_USES, NULL, 10) ||
	       strcmp(c->o.expires, ISO_EXPIRES) != 0;
}

/* A token that is yet to be made stands there as one of its length: what else is wrong shows before it exists. */
static int add_token(struct ctx *c, json_t *settings, struct err *err)
{
	const char *secret = NULL;
	char likeness[65];
	int r = 0;

	if (c->o.new_token && c->o.token)
		return err_set(err, -EINVAL, "--token and --new-token exclude each other");
	if (c->o.job && !c->o.new_token) {
		return err_set(err, -EINVAL,
			       "--job is what the server orders by a token that it makes for the "
			       "medium: add --new-token");
	}
	if (!c->o.new_token && token_is_described(c)) {
		return err_set(err, -EINVAL,
			       "--uses, --expires and --note are of a token that the server makes "
			       "for the medium: %s",
			       c->o.token ? "--new-token in the place of --token"
					  : "add --new-token");
	}
	if (c->o.new_token) {
		memset(likeness, '0', sizeof(likeness) - 1);
		likeness[sizeof(likeness) - 1] = '\0';
		secret = likeness;
	} else if (c->o.token) {
		if (strcmp(c->o.token, "-") == 0)
			r = read_stdin_token(&c->o.token, err);
		secret = c->o.token;
	}
	if (r == 0 && secret)
		r = medium_settings_add(settings, "token", secret, err);
	return r;
}

int iso_settings_gather(struct ctx *c, json_t *settings, struct err *err)
{
	int r = add_target(c, settings, err);

	if (r == 0)
		r = add_network(c, settings, err);
	if (r == 0)
		r = add_given(c, settings, err);
	if (r == 0)
		r = iso_ssh_add(&c->o.ssh_keys, settings, err);
	if (r == 0)
		r = medium_settings_check_together(settings, err);
	if (r == 0)
		r = add_token(c, settings, err);
	if (r == 0 && json_object_size(settings) == 0)
		r = err_set(err, -EINVAL,
			    "there is nothing to write: name a server, a token or a setting");
	return r;
}

bool iso_settings_are_given(const struct ctx *c)
{
	const struct setting_list *lists[] = {&c->o.set,     &c->o.ip,	       &c->o.vlan,
					      &c->o.bond,    &c->o.nameserver, &c->o.route,
					      &c->o.ssh_keys};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		if (lists[i]->len > 0)
			return true;
	}
	return c->o.add.len == 0 || c->o.token || c->o.new_token || c->o.pin || c->o.server ||
	       c->o.download || token_is_described(c);
}
