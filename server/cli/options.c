#include "server/cli/options.h"

#include <errno.h>
#include <string.h>

#include "common/message.h"
#include "server/cli/print.h"

int check_name(const char *text, struct err *err)
{
	if (name_is_valid(text))
		return 0;
	return err_set(
		err, -EINVAL,
		"'%.80s' is no name: 1 to 64 letters, digits, '.', '_' or '-', the first one "
		"a letter or digit",
		text);
}

int check_role(const char *text, struct err *err)
{
	if (strcmp(text, "viewer") == 0 || strcmp(text, "operator") == 0 ||
	    strcmp(text, "admin") == 0)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is none of viewer, operator, admin", text);
}

bool expires_parse(const char *text, uint64_t *ret)
{
	if (strcmp(text, "never") == 0) {
		*ret = 0;
		return true;
	}
	return span_from_text(text, ret) && *ret > 0 && *ret <= UINT64_C(3660) * 86400;
}

int check_life(const char *text, struct err *err)
{
	uint64_t n;

	if (expires_parse(text, &n) && n > 0 && n <= UINT64_C(366) * 86400)
		return 0;
	return err_set(err, -EINVAL, "'%.32s' is not a time like 90s, 30m, 12h, 7d (at most 366d)",
		       text);
}

int check_expires(const char *text, struct err *err)
{
	uint64_t n;

	if (expires_parse(text, &n))
		return 0;
	return err_set(err, -EINVAL,
		       "'%.32s' is not a time like 90s, 30m, 12h, 7d, nor 'never' (at most 3660d)",
		       text);
}
