/* The settings area of a boot medium; what is left out of it counts as zeros. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/medium.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *area = calloc(1, MEDIUM_AREA_SIZE);
	const char *text = NULL;
	size_t text_size = 0;
	struct err err = {0};

	if (!area)
		abort();
	memcpy(area, data, size < MEDIUM_AREA_SIZE ? size : MEDIUM_AREA_SIZE);
	if (medium_decode(area, &text, &text_size, &err) == 0) {
		const uint8_t *p = (const uint8_t *)text;

		if (p < area || text_size > MEDIUM_AREA_SIZE ||
		    p + text_size > area + MEDIUM_AREA_SIZE)
			abort();
	} else if (err.msg[0] == '\0') {
		abort();
	}
	free(area);
	return 0;
}
