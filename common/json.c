#include "common/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "common/limits.h"

#define DEPTH_MAX 32

/* Depth and the number of values are checked on the text, before jansson recurses over it and takes some hundred bytes for each
 * "[]," of it. */
static int check_shape(const char *text, size_t size, struct err *err)
{
	size_t depth = 0, values = 1;
	bool in_string = false;

	for (size_t i = 0; i < size; i++) {
		char c = text[i];

		if (in_string) {
			if (c == '\\') {
				i++;
			} else if (c == '"') {
				in_string = false;
			}
			continue;
		}
		if (c == '"') {
			in_string = true;
		} else if (c == '[' || c == '{') {
			depth++;
			values++;
		} else if (c == ',') {
			values++;
		} else if ((c == ']' || c == '}') && depth > 0) {
			depth--;
		}
		if (depth > DEPTH_MAX)
			return err_set(err, -EPROTO, "JSON: nested deeper than %d", DEPTH_MAX);
		if (values > JSON_VALUES_MAX)
			return err_set(err, -EPROTO, "JSON: more than %u values", JSON_VALUES_MAX);
	}
	return 0;
}

int json_parse(const char *text, size_t size, size_t max, json_t **ret, struct err *err)
{
	json_error_t e;
	json_t *j;
	int r;

	if (size > max)
		return err_set(err, -EMSGSIZE, "JSON: %zu bytes are more than %zu", size, max);
	r = check_shape(text, size, err);
	if (r < 0)
		return r;
	j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
	if (j == NULL) {
		return err_set(err,
			       json_error_code(&e) == json_error_out_of_memory ? -ENOMEM : -EPROTO,
			       "JSON: %s (line %d, column %d)", e.text, e.line, e.column);
	}
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(err, -EPROTO, "JSON: the document is not an object");
	}
	*ret = j;
	return 0;
}

/* The member, NULL when absent or null. */
static const json_t *member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return v == NULL || json_is_null(v) ? NULL : v;
}

static int missing(const char *key, struct err *err)
{
	return err_set(err, -EPROTO, "field '%s' is missing", key);
}

int json_opt_str(const json_t *o, const char *key, size_t max_len, const char **ret,
		 struct err *err)
{
	const json_t *v = member(o, key);

	if (v == NULL)
		return 0;
	if (!json_is_string(v))
		return err_set(err, -EPROTO, "field '%s' is not a text", key);
	if (json_string_length(v) > max_len)
		return err_set(err, -EPROTO, "field '%s' is longer than %zu bytes", key, max_len);
	*ret = json_string_value(v);
	return 0;
}

int json_get_str(const json_t *o, const char *key, size_t max_len, const char **ret,
		 struct err *err)
{
	if (member(o, key) == NULL)
		return missing(key, err);
	return json_opt_str(o, key, max_len, ret, err);
}

int json_opt_u64(const json_t *o, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		 struct err *err)
{
	const json_t *v = member(o, key);
	json_int_t n;

	if (v == NULL)
		return 0;
	if (!json_is_integer(v))
		return err_set(err, -EPROTO, "field '%s' is not a whole number", key);
	n = json_integer_value(v);
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
		return err_set(err, -EPROTO, "field '%s' is not in %" PRIu64 "..%" PRIu64, key, min,
			       max);
	}
	*ret = (uint64_t)n;
	return 0;
}

int json_get_u64(const json_t *o, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		 struct err *err)
{
	if (member(o, key) == NULL)
		return missing(key, err);
	return json_opt_u64(o, key, min, max, ret, err);
}

int json_opt_bool(const json_t *o, const char *key, bool *ret, struct err *err)
{
	const json_t *v = member(o, key);

	if (v == NULL)
		return 0;
	if (!json_is_boolean(v))
		return err_set(err, -EPROTO, "field '%s' is neither true nor false", key);
	*ret = json_is_true(v);
	return 0;
}

int json_get_id(const json_t *o, const char *key, struct id *ret, struct err *err)
{
	const char *text = NULL;
	int r = json_get_str(o, key, ID_TEXT_SIZE - 1, &text, err);

	if (r < 0)
		return r;
	if (!id_from_text(text, ret)) {
		return err_set(err, -EPROTO, "field '%s' is not an id of 64 lower-case hex digits",
			       key);
	}
	return 0;
}

int json_opt_array(const json_t *o, const char *key, size_t max_len, const json_t **ret,
		   struct err *err)
{
	const json_t *v = member(o, key);

	if (v == NULL)
		return 0;
	if (!json_is_array(v))
		return err_set(err, -EPROTO, "field '%s' is not a list", key);
	if (json_array_size(v) > max_len)
		return err_set(err, -EPROTO, "field '%s' has more than %zu members", key, max_len);
	*ret = v;
	return 0;
}

int json_get_array(const json_t *o, const char *key, size_t max_len, const json_t **ret,
		   struct err *err)
{
	if (member(o, key) == NULL)
		return missing(key, err);
	return json_opt_array(o, key, max_len, ret, err);
}

int json_opt_object(const json_t *o, const char *key, const json_t **ret, struct err *err)
{
	const json_t *v = member(o, key);

	if (v == NULL)
		return 0;
	if (!json_is_object(v))
		return err_set(err, -EPROTO, "field '%s' is not an object", key);
	*ret = v;
	return 0;
}

int json_get_object(const json_t *o, const char *key, const json_t **ret, struct err *err)
{
	if (member(o, key) == NULL)
		return missing(key, err);
	return json_opt_object(o, key, ret, err);
}

void time_to_text(int64_t unix_seconds, char ret[static TIME_TEXT_SIZE])
{
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	/* A year that does not fit in four digits can only come from a broken clock. */
	if (gmtime_r(&t, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 8099)
		memset(&tm, 0, sizeof(tm)), tm.tm_year = -1900, tm.tm_mday = 1;
	(void)strftime(ret, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (strlen(ret) != TIME_TEXT_SIZE - 1)
		memcpy(ret, "0000-01-01T00:00:00Z", TIME_TEXT_SIZE);
}
