/* medium_settings.h - the settings of a medium as a JSON object, in order: the value of a key is a text, or an array of texts where it stands there several
 * times. */
#ifndef COMMON_MEDIUM_SETTINGS_H
#define COMMON_MEDIUM_SETTINGS_H
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/json.h"

/* A value in place of the one that is there, or beside it where the agent takes several.  -EINVAL: a medium cannot hold it. */
int medium_settings_add(json_t *settings, const char *key, const char *value,
			struct err *err) MUST_CHECK;
/* Would the live image take it?  -EINVAL with the sentence. */
int medium_settings_check(const char *key, const char *value, struct err *err) MUST_CHECK;
/* Do the lines of the network, each right by itself, go together?  Are there too many keys for SSH?  -EINVAL with the sentence. */
int medium_settings_check_together(const json_t *settings, struct err *err) MUST_CHECK;
/* Lines key=value, heap; to be wiped, there may be secrets in it. */
int medium_settings_text(const json_t *settings, char **ret, size_t *ret_size,
			 struct err *err) MUST_CHECK;
/* And back.  Lines that are no settings have an empty value.  -EPROTO: no UTF-8, or a zero byte. */
int medium_settings_parse(const char *text, size_t size, json_t *settings,
			  struct err *err) MUST_CHECK;
/* A copy, without the secrets unless these are wanted.  NULL: out of memory. */
json_t *medium_settings_masked(const json_t *settings, bool secrets);
/* Every key with every value of it. */
void medium_settings_each(const json_t *settings,
			  void (*fn)(void *arg, const char *key, const char *value), void *arg);
/* Is the value of that key a secret? */
bool medium_setting_is_secret(const char *key);
#endif
