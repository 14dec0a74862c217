/* What operators send, with what agents send between: jobs, tokens, images, and the queries of their requests. */
#include "tests/fuzz/fuzz.h"
#include "tests/lib/api_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	api_rig_run(data, size, true);
	return 0;
}
