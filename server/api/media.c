/* Boot files: to operators over HTTPS, and to everybody over the plain address that boot loaders use. */
#include <string.h>

#include "common/cleanup.h"
#include "common/medium_settings.h"
#include "server/api/api.h"
#include "server/listen.h"
#include "server/media/media.h"

static void free_file(struct media_file **f)
{
	media_file_free(*f);
}

static int open_file(struct call *c, const char *folder, const char *name, struct media_file **ret,
		     struct err *err)
{
	struct media *m = call_server(c)->media;

	if (!m) {
		return err_set(err, API_NOT_FOUND,
			       "This server has no boot files: start it with --media DIR, the "
			       "folder that they are in.");
	}
	return media_file_open(m, folder, name, ret, err);
}

static void send_file(struct call *c, struct media_file **take)
{
	struct media_file *f = TAKE_PTR(*take);

	call_answer_stream(
		c, &(struct call_stream){media_file_size(f), media_file_read, media_file_free, f});
}

/* ---- what a medium is told of this server */

static int add_server(struct call *c, json_t *settings, struct err *err)
{
	const struct server *s = call_server(c);
	char url[LISTEN_TEXT_SIZE];
	struct sockaddr_storage local;
	bool named = json_object_get(settings, "server") || json_object_get(settings, "pin");
	int r = 0;

	if (named) /* another server, or this one by an address that the operator knows better */
		return 0;
	if (call_local(c, &local) && listen_url(s->listens, s->listens_len, &local, url) == 0)
		r = medium_settings_add(settings, "server", url, err);
	if (r == 0)
		r = medium_settings_add(settings, "pin", s->identity.fingerprint_text, err);
	return r;
}

/* ---- operators */

static int add_listed(void *arg, const char *name, uint64_t size, bool takes_settings)
{
	json_t *one = json_pack("{s:s, s:I, s:b}", "name", name, "size", (json_int_t)size,
				"settings", (int)takes_settings);

	return json_array_append_new(arg, one) < 0 ? -ENOMEM : 0;
}

void api_list_media(struct call *c)
{
	CLEANUP_JSON json_t *array = json_array();
	struct media *m = call_server(c)->media;
	struct err err;
	int r = m ? media_each(m, add_listed, array, &err) : 0;

	api_answer(c, r, 200, r < 0 ? NULL : json_pack("{s:O}", "media", array), &err);
}

static void get_file(struct call *c, const char *folder, const char *name)
{
	CLEANUP(free_file) struct media_file *f = NULL;
	struct err err;

	if (open_file(c, folder, name, &f, &err) < 0)
		call_fail_err(c, &err);
	else
		send_file(c, &f);
}

void api_get_medium(struct call *c)
{
	get_file(c, NULL, c->match.params[0]);
}

void api_get_medium_in(struct call *c)
{
	get_file(c, c->match.params[0], c->match.params[1]);
}

static int add_value(json_t *settings, const char *key, const json_t *value, struct err *err)
{
	const char *text = json_string_value(value);
	int r;

	if (!text) {
		return err_set(err, API_BAD_REQUEST,
			       "field 'settings': the value of '%.64s' is neither a text nor an "
			       "array of texts",
			       key);
	}
	r = medium_settings_add(settings, key, text, err);
	if (r == 0)
		r = medium_settings_check(key, text, err);
	if (r == -EINVAL)
		r = err->code = API_BAD_REQUEST;
	return r;
}

static int read_settings(const json_t *body, json_t *settings, struct err *err)
{
	const json_t *given = json_object_get(body, "settings"), *value, *one;
	const char *key;
	size_t i;
	int r = 0;

	if (given && !json_is_object(given))
		return err_set(err, API_BAD_REQUEST, "field 'settings' is not an object");
	json_object_foreach((json_t *)given, key, value)
	{
		if (!json_is_array(value))
			r = add_value(settings, key, value, err);
		json_array_foreach((json_t *)value, i, one)
		{
			if (r == 0)
				r = add_value(settings, key, one, err);
		}
		if (r < 0)
			return r;
	}
	r = medium_settings_check_together(settings, err);
	return r == -EINVAL ? err->code = API_BAD_REQUEST : r;
}

static int personalise(struct call *c, struct media_file *f, struct err *err)
{
	const json_t *with_server = json_object_get(c->json, "server");
	CLEANUP_JSON json_t *settings = json_object(), *old = json_object();
	int r = read_settings(c->json, settings, err);

	if (r == 0 && with_server && !json_is_boolean(with_server))
		r = err_set(err, API_BAD_REQUEST, "field 'server' is neither true nor false");
	if (r == 0 && !media_file_takes_settings(f))
		r = err_set(err, API_CONFLICT, "There is no place for settings in this file.");
	if (r == 0) /* what is there must be an area that is whole */
		r = media_file_settings(f, old, err);
	if (r == 0 && !json_is_false(with_server))
		r = add_server(c, settings, err);
	if (r == 0)
		r = media_file_set(f, settings, err);
	if (r == -E2BIG)
		r = err->code = API_TOO_LARGE;
	return r;
}

static void make_file(struct call *c, const char *folder, const char *name)
{
	CLEANUP(free_file) struct media_file *f = NULL;
	struct err err;
	int r = open_file(c, folder, name, &f, &err);

	if (r == 0)
		r = personalise(c, f, &err);
	if (r < 0) {
		call_fail_err(c, &err);
		return;
	}
	fleet_event(call_server(c)->fleet, "medium_made", "", "", "%s", name);
	send_file(c, &f);
}

void api_make_medium(struct call *c)
{
	make_file(c, NULL, c->match.params[0]);
}

void api_make_medium_in(struct call *c)
{
	make_file(c, c->match.params[0], c->match.params[1]);
}

/* ---- boot loaders */

static bool holds_secret(const json_t *settings)
{
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)settings, key, value)
	{
		if (medium_setting_is_secret(key))
			return true;
	}
	return false;
}

/* Whoever asks gets it, and whoever is on the way sees it. */
static int make_public(struct call *c, struct media_file *f, const char *name, struct err *err)
{
	CLEANUP_JSON json_t *settings = json_object();
	int r = media_file_settings(f, settings, err);

	if (r < 0)
		return err_prefix(err, "'%s'", name);
	if (holds_secret(settings)) {
		return err_set(err, API_FORBIDDEN,
			       "'%s' holds a secret, which is not sent without TLS: take the token "
			       "out of it (hoist iso --reset), machines that boot it are paired",
			       name);
	}
	r = add_server(c, settings, err);
	return r < 0 ? r : media_file_set(f, settings, err);
}

static void boot_file(struct call *c, const char *folder, const char *name)
{
	CLEANUP(free_file) struct media_file *f = NULL;
	struct err err;
	int r = open_file(c, folder, name, &f, &err);

	if (r == 0 && media_file_takes_settings(f))
		r = make_public(c, f, name, &err);
	if (r < 0) {
		call_fail_err(c, &err);
		return;
	}
	send_file(c, &f);
}

static void boot_get(struct call *c)
{
	boot_file(c, NULL, c->match.params[0]);
}

static void boot_get_in(struct call *c)
{
	boot_file(c, c->match.params[0], c->match.params[1]);
}

const struct route boot_routes[] = {
	{HTTP_GET, AUTH_ANYONE, "/{}", BODY_NONE, 0, boot_get, NULL},
	{HTTP_HEAD, AUTH_ANYONE, "/{}", BODY_NONE, 0, boot_get, NULL},
	{HTTP_GET, AUTH_ANYONE, "/{}/{}", BODY_NONE, 0, boot_get_in, NULL},
	{HTTP_HEAD, AUTH_ANYONE, "/{}/{}", BODY_NONE, 0, boot_get_in, NULL},
};
const size_t boot_routes_len = sizeof(boot_routes) / sizeof(boot_routes[0]);
