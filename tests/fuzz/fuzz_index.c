/* A header, then a tail. */
#include <stdlib.h>
#include <string.h>

#include "common/index.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct geometry g;
	struct extent *e = NULL;
	size_t len = 0;
	struct err err;
	uint8_t again[INDEX_HEADER_SIZE];

	if (size < INDEX_HEADER_SIZE || index_decode_header(data, &g, &err) < 0)
		return 0;
	index_encode_header(&g, again);
	if (memcmp(again, data, sizeof(again)) != 0)
		abort();
	if (index_decode_tail(data + INDEX_HEADER_SIZE, size - INDEX_HEADER_SIZE, g.size, &e, &len,
			      &err) == 0 &&
	    index_tail_size(len) != size - INDEX_HEADER_SIZE)
		abort();
	free(e);
	return 0;
}
