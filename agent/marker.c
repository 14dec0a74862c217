#include "agent/marker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/limits.h"

#define TEXT                                                                                   \
	"hoist: this disk is being restored and is not complete: nothing can start from it.\n" \
	"Boot the Hoist medium to go on, or order a restore onto it anew.\n"                   \
	"marker 1\n"

_Static_assert(sizeof(TEXT) + sizeof("job 0123456789abcdef\ndisk 4294967295\n") < 440,
	       "it ends before the partition table of an MBR");

void marker_encode(const struct marker *m, uint8_t ret[static MARKER_SIZE])
{
	memset(ret, 0, MARKER_SIZE);
	(void)snprintf((char *)ret, MARKER_SIZE, TEXT "job %s\ndisk %" PRIu32 "\n", m->job,
		       m->disk);
}

/* It is one if encoding what it says gives the same bytes. */
bool marker_decode(const uint8_t *sector, struct marker *ret)
{
	const size_t job = sizeof(TEXT) - 1 + strlen("job "),
		     disk = job + JOB_ID_SIZE - 1 + strlen("\ndisk ");
	uint8_t again[MARKER_SIZE];
	struct marker m = {.disk = 0};

	if (memcmp(sector, TEXT, sizeof(TEXT) - 1) != 0)
		return false;
	memcpy(m.job, sector + job, JOB_ID_SIZE - 1);
	if (strspn(m.job, "0123456789abcdef") != JOB_ID_SIZE - 1)
		return false;
	for (size_t i = disk; i < disk + 2 && sector[i] >= '0' && sector[i] <= '9'; i++)
		m.disk = m.disk * 10 + (uint32_t)(sector[i] - '0');
	marker_encode(&m, again);
	if (m.disk >= JOB_DISKS_MAX || memcmp(again, sector, MARKER_SIZE) != 0)
		return false;
	*ret = m;
	return true;
}
