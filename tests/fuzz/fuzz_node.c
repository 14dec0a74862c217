/* What decodes, encodes to the very same bytes: a node has one encoding. */
#include <stdlib.h>
#include <string.h>

#include "common/node.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct node n;
	static uint8_t buf[NODE_SIZE_MAX];
	struct err err;

	if (node_decode(data, size, &n, &err) < 0)
		return 0;
	if (node_encode(&n, buf) != size || memcmp(buf, data, size) != 0 ||
	    node_data_bytes(&n) > n.length)
		abort();
	return 0;
}
