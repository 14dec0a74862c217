#include "server/cli/iso_token.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/medium_settings.h"
#include "common/text.h"
#include "server/cli/print.h"

#define NOTE_LEN 200 /* of a token: more is refused by the server */

/* The note by which a lost medium's token is found again. */
static int note_medium(struct ctx *c, struct err *err)
{
	const char *slash = strrchr(c->o.out, '/');
	CLEANUP_FREE char *raw = NULL;
	char note[NOTE_LEN + 1];

	if (asprintf(&raw, "medium %s", slash ? slash + 1 : c->o.out) < 0) {
		raw = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	(void)text_clean(note, sizeof(note), raw, strlen(raw));
	c->o.note = strdup(note);
	return c->o.note ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int iso_token_make(struct ctx *c, json_t *settings, json_t **ret, struct err *err)
{
	const char *secret = NULL;
	int r = c->o.note ? 0 : note_medium(c, err);

	if (r == 0)
		r = token_make(c, ret, err);
	if (r == 0)
		r = json_get_str(*ret, "token", 128, &secret, err);
	if (r == 0)
		r = medium_settings_add(settings, "token", secret, err);
	if (*ret)
		(void)json_object_del(*ret, "token");
	return r;
}

void iso_token_drop(struct ctx *c, const json_t *token)
{
	const char *id = json_text(token, "id");
	struct err err;

	if (token_revoke(c, id, &err) == 0) {
		print_line(stderr, "hoist: note: token %s, made for the medium, was revoked", id);
		return;
	}
	print_line(stderr,
		   "hoist: note: token %s, made for the medium, is still valid (%s): hoist token "
		   "revoke %s ends it",
		   id, err.msg, id);
}

void iso_token_print(const json_t *token)
{
	const char *id = json_text(token, "id");
	const char *job = json_string_value(json_object_get(token, "job"));
	char expires[WHEN_TEXT_SIZE];
	uint64_t uses = json_number(token, "uses");
	bool never;

	when_to_text(json_text(token, "expires"), expires);
	never = strcmp(expires, "-") == 0;
	print_line(stdout,
		   "token %s: enrols up to %" PRIu64
		   " machine%s%s%s, %s%.10s (hoist token revoke %s "
		   "ends it)",
		   id, uses, uses == 1 ? "" : "s", job ? " for " : "", job ? job : "",
		   never ? "never expires" : "until ", never ? "" : expires, id);
}
