#include "server/fleet/rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/fleet/private.h"

#define VERSION_DIGITS 9u
#define ID_SHOWN       8u /* digits of a machine's id in the name of its image */

static int refuse(const char *text, struct err *err)
{
	return err_set(err, API_BAD_REQUEST,
		       "'%.80s' is not a job for a token: write capture, capture=IMAGE, "
		       "restore=IMAGE or restore=IMAGE@VERSION.",
		       text);
}

/* IMAGE[@VERSION]. */
static bool parse_image(const char *text, bool may_have_version, struct rule *r)
{
	size_t len = strcspn(text, "@");
	const char *digits = text[len] ? text + len + 1 : NULL;

	if (len == 0 || len > NAME_MAX_LEN || (digits && !may_have_version))
		return false;
	memcpy(r->image, text, len);
	r->image[len] = '\0';
	if (digits) {
		size_t n = strspn(digits, "0123456789");

		if (n == 0 || n > VERSION_DIGITS || digits[n] || digits[0] == '0')
			return false;
		r->version = (uint32_t)strtoul(digits, NULL, 10);
	}
	return name_is_valid(r->image);
}

int rule_parse(const char *text, struct rule *ret, struct err *err)
{
	struct rule r = {.kind = JOB_CAPTURE};
	bool good;

	if (strcmp(text, "capture") == 0)
		good = true;
	else if (strncmp(text, "capture=", 8) == 0)
		good = parse_image(text + 8, false, &r);
	else if (strncmp(text, "restore=", 8) == 0)
		good = parse_image(text + 8, true, &r);
	else
		good = false;
	if (!good)
		return refuse(text, err);
	if (text[0] == 'r')
		r.kind = JOB_RESTORE;
	*ret = r;
	return 0;
}

/* The name of a machine is any text, and several may have the same; that of an image is neither. */
static void name_image(const char *name, const char *machine, char ret[static NAME_MAX_LEN + 1])
{
	(void)snprintf(ret, NAME_MAX_LEN + 1, "%.*s-%.*s", (int)(NAME_MAX_LEN - ID_SHOWN - 1), name,
		       (int)ID_SHOWN, machine);
	for (char *p = ret; *p; p++) {
		const char one[] = {'m', *p, '\0'};

		if (!name_is_valid(one))
			*p = '-';
	}
	if (!name_is_valid(ret))
		ret[0] = 'm';
}

json_t *rule_job(const struct rule *r, const char *machine, const char *name)
{
	char image[NAME_MAX_LEN + 1];
	json_t *body;

	if (r->image[0])
		(void)snprintf(image, sizeof(image), "%s", r->image);
	else
		name_image(name, machine, image);
	body = json_pack("{s:s, s:s, s:s}", "kind", job_kind_name(r->kind), "machine", machine,
			 "image", image);
	if (body && r->version > 0 &&
	    json_object_set_new(body, "version", json_integer(r->version)) < 0) {
		json_decref(body);
		return NULL;
	}
	return body;
}
