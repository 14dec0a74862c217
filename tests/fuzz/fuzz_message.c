/* JSON as it comes from a peer: orders and errors.  An order that decodes, encodes to one that decodes. */
#include <stdlib.h>

#include "common/limits.h"
#include "common/message.h"
#include "tests/fuzz/fuzz.h"

static void check_order(const json_t *j)
{
	struct order o = {0}, again = {0};
	struct err err;
	json_t *back;

	if (order_decode(j, &o, &err) < 0)
		return;
	back = order_encode(&o);
	if (back != NULL && order_decode(back, &again, &err) < 0)
		abort();
	json_decref(back);
	order_done(&o);
	order_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *j = NULL;
	struct err err;
	struct api_error e;

	(void)api_error_decode((const char *)data, size, &e);
	if (json_parse((const char *)data, size, JSON_MAX, &j, &err) < 0)
		return 0;
	check_order(j);
	json_decref(j);
	return 0;
}
