/* Operators: images. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "server/api/api.h"

#define MANIFEST_MAX (8u << 20)

void api_list_images(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_list_images(call_server(c)->fleet, &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

void api_show_image(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = fleet_show_image(call_server(c)->fleet, c->match.params[0], &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

static int read_version(const char *text, uint32_t *ret, struct err *err)
{
	size_t n = strlen(text);
	unsigned long v = n <= 9 ? strtoul(text, NULL, 10) : 0;

	if (v == 0 || strspn(text, "0123456789") != n)
		return err_set(err, API_NOT_FOUND, "'%.16s' is no number of a version.", text);
	*ret = (uint32_t)v;
	return 0;
}

static int get_manifest(struct call *c, json_t **ret, struct err *err)
{
	CLEANUP(version_row_done) struct version_row v = {0};
	struct server *s = call_server(c);
	CLEANUP_FREE char *text = NULL;
	uint32_t version = 0;
	size_t size;
	int r = read_version(c->match.params[1], &version, err);

	if (r == 0)
		r = state_get_version(s->state, c->match.params[0], version, &v, err);
	if (r < 0)
		return r;
	r = store_get_manifest(s->store, &v.manifest, &text, &size, err);
	if (r == -ENOENT)
		err->code = r = API_STORE_DAMAGED;
	if (r == 0)
		r = json_parse(text, size, MANIFEST_MAX, ret, err);
	return r;
}

void api_show_manifest(struct call *c)
{
	json_t *answer = NULL;
	struct err err;
	int r = get_manifest(c, &answer, &err);

	api_answer(c, r, 200, answer, &err);
}

void api_remove_image(struct call *c)
{
	char text[CALL_QUERY_MAX_SIZE];
	uint32_t version = 0;
	struct err err;
	int r = call_query(c, "version", text, &err);

	if (r >= 0 && call_query_count(c) != r) {
		r = err_set(&err, API_BAD_REQUEST,
			    "The query is 'version=N', or there is none and the whole image is "
			    "removed; nothing was removed.");
	}
	if (r > 0)
		r = read_version(text, &version, &err);
	if (version > 0)
		(void)snprintf(c->object, sizeof(c->object), "%.64s@%u", c->match.params[0],
			       version);
	if (r >= 0)
		r = fleet_remove_image(call_server(c)->fleet, c->match.params[0], version, &err);
	if (r < 0)
		call_fail_err(c, &err);
	else
		call_answer_empty(c);
}
