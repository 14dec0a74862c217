/* Paths and listening addresses as they come: nothing is read beyond the end, what is decoded has no control characters and fits. */
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "server/http/route.h"
#include "server/listen.h"
#include "tests/fuzz/fuzz.h"

static const struct route routes[] = {
	{HTTP_GET, AUTH_ANYONE, "/v1/a", BODY_NONE, 0, NULL, NULL},
	{HTTP_GET, AUTH_ANYONE, "/v1/a/{}", BODY_NONE, 0, NULL, NULL},
	{HTTP_PUT, AUTH_ANYONE, "/v1/a/{}/b/{}", BODY_NONE, 0, NULL, NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct route_match m;
	struct listen_addr a;
	struct err err;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (route_find(routes, 3, size % 2 ? HTTP_GET : HTTP_PUT, text, &m) == ROUTE_FOUND &&
	    m.route != &routes[0]) {
		for (const char *p = m.params[0]; *p; p++) {
			if ((unsigned char)*p < 0x20 || p == &m.params[0][ROUTE_PARAM_SIZE - 1])
				abort();
		}
	}
	(void)!listen_parse(text, 4647, &a, &err);
	free(text);
	return 0;
}
