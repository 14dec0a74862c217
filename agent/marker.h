/* marker.h - what stands at the beginning of a target while it is not whole; docs/formats.md "Marker of a restore". */
#ifndef AGENT_MARKER_H
#define AGENT_MARKER_H
#include <stdbool.h>
#include <stdint.h>

#include "common/message.h"

#define MARKER_SIZE 512u /* as the smallest sector, so that it is there or it is not */

struct marker {
	char job[JOB_ID_SIZE];
	uint32_t disk; /* its place in the order */
};

void marker_encode(const struct marker *m, uint8_t ret[static MARKER_SIZE]);
/* False (ret untouched) unless it is one, in each byte. */
bool marker_decode(const uint8_t *sector, struct marker *ret);
#endif
