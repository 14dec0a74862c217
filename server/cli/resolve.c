#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/message.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

#define JOB_PREFIX_MIN 4

int find_by_prefix(const json_t *array, const char *key, const char *text, size_t min,
		   const char *what, const json_t **ret, struct err *err)
{
	const json_t *found = NULL, *item;
	size_t n = strlen(text), i;

	json_array_foreach((json_t *)array, i, item)
	{
		const char *value = json_text(item, key);

		if (strcmp(value, text) == 0) {
			*ret = item;
			return 0;
		}
		if (n < min || strncmp(value, text, n) != 0)
			continue;
		if (found) {
			return err_set(
				err, -EEXIST,
				"'%.64s' is the beginning of more than one %s: write more of "
				"it",
				text, what);
		}
		found = item;
	}
	if (!found)
		return err_set(err, -ENOENT, "there is no %s '%.128s'", what, text);
	*ret = found;
	return 0;
}

int job_resolve(struct ctx *c, const char *text, char ret[static JOB_TEXT_SIZE], struct err *err)
{
	CLEANUP_JSON json_t *answer = NULL;
	const json_t *job = NULL;
	char path[PATH_SIZE];
	int r;

	if (strlen(text) == JOB_ID_SIZE - 1) {
		(void)snprintf(ret, JOB_TEXT_SIZE, "%s", text);
		return 0;
	}
	if (strlen(text) >= JOB_ID_SIZE)
		return err_set(err, -ENOENT, "there is no job '%.128s'", text);
	path_make(path, "/v1/jobs?id=%s", text); /* the list alone has no more than 200 */
	r = api(c, "GET", path, NULL, &answer, err);
	if (r == 0)
		r = find_by_prefix(json_object_get(answer, "jobs"), "id", text, JOB_PREFIX_MIN,
				   "job", &job, err);
	if (r == 0)
		(void)snprintf(ret, JOB_TEXT_SIZE, "%s", json_text(job, "id"));
	return r;
}
