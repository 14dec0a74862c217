/* Segments are compared as they came: a fixed one has no characters that need escaping, so an escaped spelling of it is another path.
 * Decoding happens after the cut at '/', so that %2F in a name stays in that name. */
#include "server/http/route.h"

#include <string.h>

enum http_method http_method_from_name(const char *name)
{
	static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "HEAD"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0)
			return (enum http_method)i;
	}
	return HTTP_OTHER;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool percent_decode(const char *text, size_t size, char *ret, size_t ret_size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '%') {
			int high = i + 1 < size ? hex_value(text[i + 1]) : -1;
			int low = i + 2 < size ? hex_value(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = (unsigned char)(high << 4 | low);
			i += 2;
		}
		if (c < 0x20 || c == 0x7f || n + 1 >= ret_size)
			return false;
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return true;
}

static bool path_matches(const char *pattern, const char *path, struct route_match *ret)
{
	size_t params = 0;

	while (*pattern == '/' && *path == '/') {
		size_t p, q;

		p = strcspn(++pattern, "/");
		q = strcspn(++path, "/");
		if (p == 2 && memcmp(pattern, "{}", 2) == 0) {
			if (q == 0 || params == ROUTE_PARAMS_MAX ||
			    !percent_decode(path, q, ret->params[params], ROUTE_PARAM_SIZE))
				return false;
			params++;
		} else if (p != q || memcmp(pattern, path, p) != 0) {
			return false;
		}
		pattern += p;
		path += q;
	}
	return !*pattern && !*path;
}

enum route_result route_find(const struct route *routes, size_t len, enum http_method method,
			     const char *path, struct route_match *ret)
{
	enum route_result result = ROUTE_NOT_FOUND;

	for (size_t i = 0; i < len; i++) {
		struct route_match match = {.route = &routes[i]};

		if (!path_matches(routes[i].path, path, &match))
			continue;
		if (routes[i].method != method) {
			result = ROUTE_OTHER_METHOD;
			continue;
		}
		*ret = match;
		return ROUTE_FOUND;
	}
	return result;
}
