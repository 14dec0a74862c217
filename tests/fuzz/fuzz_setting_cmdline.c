/* The text of /proc/cmdline. */
#include <stdint.h>

#include "common/cleanup.h"
#include "tests/fuzz/fuzz_setting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE char *text = strndup((const char *)data, size);
	struct config c = {0};
	struct err err = {0};
	int r;

	if (settings_init(&table, &c, &err) < 0)
		abort();
	r = settings_parse_cmdline(&table, &c, text, &err);
	check_config(&c, r, size);
	if ((r < 0) != (err.msg[0] != '\0'))
		abort();
	settings_done(&table, &c);
	return 0;
}
