#include "tests/fuzz/fuzz_usage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_usage(data, size);
}
