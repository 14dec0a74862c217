/* The header in which a server says how long it worked: nothing but a number of microseconds of an hour at most comes out of it, and the times
 * of a request stay what they are together. */
#include <stdlib.h>

#include "common/http_time.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_time spent = {.cpu = 10, .network = 400, .server = 100}, more;
	uint64_t us = 0;

	if (!http_time_parse((const char *)data, size, &us) && us != 0)
		abort();
	if (us > 3600000000u)
		abort();
	more = http_time_correction(&spent, us);
	if (more.cpu != 0 || more.network + more.server != 0 || more.network < -spent.network ||
	    more.server < 0)
		abort();
	return 0;
}
