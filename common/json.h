/* json.h - reading fields out of hostile JSON with one sentence for what is wrong (jansson beneath). */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"

/* json_decrefp is jansson's own. */
#define CLEANUP_JSON __attribute__((cleanup(json_decrefp)))

/* Parse one document of at most `max` bytes: UTF-8, depth <= 32, at most JSON_VALUES_MAX values, no duplicate keys, no NUL in strings,
 * the top an object.  -EPROTO with the place, -EMSGSIZE, -ENOMEM. */
int json_parse(const char *text, size_t size, size_t max, json_t **ret, struct err *err) MUST_CHECK;

/* Fields of an object.  Missing or of another type or out of bounds: -EPROTO and "field 'x' ...".
 * json_get_* need the field; json_opt_* leave *ret as it is when it is absent or null. */
int json_get_str(const json_t *o, const char *key, size_t max_len, const char **ret,
		 struct err *err) MUST_CHECK;
int json_opt_str(const json_t *o, const char *key, size_t max_len, const char **ret,
		 struct err *err) MUST_CHECK;
int json_get_u64(const json_t *o, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		 struct err *err) MUST_CHECK;
int json_opt_u64(const json_t *o, const char *key, uint64_t min, uint64_t max, uint64_t *ret,
		 struct err *err) MUST_CHECK;
int json_opt_bool(const json_t *o, const char *key, bool *ret, struct err *err) MUST_CHECK;
int json_get_id(const json_t *o, const char *key, struct id *ret, struct err *err) MUST_CHECK;
/* Borrowed array of at most max_len members / object. */
int json_get_array(const json_t *o, const char *key, size_t max_len, const json_t **ret,
		   struct err *err) MUST_CHECK;
int json_opt_array(const json_t *o, const char *key, size_t max_len, const json_t **ret,
		   struct err *err) MUST_CHECK;
int json_get_object(const json_t *o, const char *key, const json_t **ret,
		    struct err *err) MUST_CHECK;
int json_opt_object(const json_t *o, const char *key, const json_t **ret,
		    struct err *err) MUST_CHECK;

/* "2026-01-31T12:00:00Z" */
#define TIME_TEXT_SIZE 21
void time_to_text(int64_t unix_seconds, char ret[static TIME_TEXT_SIZE]);
#endif
