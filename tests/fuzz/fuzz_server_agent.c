/* What agents send: registering, polls, progress, packs, windows, the end of disks and jobs, questions of a restore; in any order. */
#include "tests/fuzz/fuzz.h"
#include "tests/lib/api_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	api_rig_run(data, size, false);
	return 0;
}
