/* crc32c.c - a nibble at a time over four bytes' tables would be slower, one table of 256 is slow enough to be seen with btrfs: so eight
 * tables, eight bytes a step; built once. */
#include "agent/usage/crc32c.h"

#include <pthread.h>

#define POLYNOMIAL 0x82f63b78u

static uint32_t tables[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void build(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (unsigned bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
		tables[0][i] = c;
	}
	for (unsigned t = 1; t < 8; t++) {
		for (unsigned i = 0; i < 256; i++)
			tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
	}
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
	const uint8_t *p = data;

	(void)pthread_once(&once, build);
	crc = ~crc;
	for (; size >= 8; size -= 8, p += 8) {
		crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
		       (uint32_t)p[3] << 24;
		crc = tables[7][crc & 255] ^ tables[6][crc >> 8 & 255] ^
		      tables[5][crc >> 16 & 255] ^ tables[4][crc >> 24] ^ tables[3][p[4]] ^
		      tables[2][p[5]] ^ tables[1][p[6]] ^ tables[0][p[7]];
	}
	for (; size > 0; size--, p++)
		crc = crc >> 8 ^ tables[0][(crc ^ *p) & 255];
	return ~crc;
}

uint32_t crc32c_without(const void *data, size_t size, size_t at)
{
	static const uint8_t zeros[4];
	const uint8_t *p = data;
	uint32_t crc = crc32c(0, p, at);

	crc = crc32c(crc, zeros, sizeof(zeros));
	return crc32c(crc, p + at + sizeof(zeros), size - at - sizeof(zeros));
}
