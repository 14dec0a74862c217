#include "server/cli/image_ref.h"

#include <errno.h>
#include <string.h>

#include "common/message.h"

int image_ref_parse(const char *text, struct image_ref *ret, struct err *err)
{
	const char *at = strchr(text, '@');
	size_t n = at ? (size_t)(at - text) : strlen(text);
	struct image_ref ref = {0};

	if (n < sizeof(ref.name))
		memcpy(ref.name, text, n);
	if (!name_is_valid(ref.name))
		return err_set(err, -EINVAL, "'%.80s' is not IMAGE or IMAGE@VERSION", text);
	if (at) {
		size_t digits = strspn(at + 1, "0123456789");

		for (size_t i = 1; i <= digits && digits <= 9; i++)
			ref.version = ref.version * 10 + (uint32_t)(at[i] - '0');
		if (at[1 + digits] != '\0' || ref.version == 0) {
			return err_set(err, -EINVAL,
				       "'%.80s': the version after '@' is a number from 1 on",
				       text);
		}
	}
	*ret = ref;
	return 0;
}
