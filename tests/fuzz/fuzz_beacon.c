/* What decodes, encodes again; and never more than a datagram may hold. */
#include <stdlib.h>

#include "common/beacon.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct beacon b;
	struct err err;
	uint8_t buf[BEACON_SIZE_MAX];

	if (beacon_decode(data, size, &b, &err) == 0 && beacon_encode(&b, buf) == 0)
		abort();
	return 0;
}
