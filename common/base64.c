#include "common/base64.h"

#include <errno.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *data, size_t size, char *ret)
{
	for (size_t i = 0; i < size; i += 3) {
		unsigned v = (unsigned)data[i] << 16;

		v |= i + 1 < size ? (unsigned)data[i + 1] << 8 : 0;
		v |= i + 2 < size ? data[i + 2] : 0;
		*ret++ = digits[v >> 18];
		*ret++ = digits[v >> 12 & 63];
		*ret++ = (i + 1 < size ? digits + (v >> 6 & 63) : "=")[0];
		*ret++ = (i + 2 < size ? digits + (v & 63) : "=")[0];
	}
	*ret = '\0';
}

/* 0 to 63, or -1. */
static int digit_value(char c)
{
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

/* Four characters, of which the last `pad` are padding. */
static int decode_group(const char *text, size_t pad, uint8_t ret[static 3])
{
	unsigned v = 0;

	for (size_t i = 0; i < 4; i++) {
		int d = i < 4 - pad ? digit_value(text[i]) : 0;

		if (d < 0)
			return -EINVAL;
		v = v << 6 | (unsigned)d;
	}
	if ((pad == 1 && (v & 0xff)) || (pad == 2 && (v & 0xffff)))
		return -EINVAL;
	ret[0] = (uint8_t)(v >> 16);
	ret[1] = (uint8_t)(v >> 8);
	ret[2] = (uint8_t)v;
	return 0;
}

ssize_t base64_decode(const char *text, size_t len, uint8_t *ret, size_t max)
{
	size_t pad = 0, size;

	if (len % 4 != 0)
		return -EINVAL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	size = len / 4 * 3 - pad;
	if (size > max)
		return -E2BIG;
	for (size_t i = 0, at = 0; i < len; i += 4, at += 3) {
		uint8_t group[3];
		size_t left = size - at;
		int r = decode_group(text + i, i + 4 == len ? pad : 0, group);

		if (r < 0)
			return r;
		memcpy(ret + at, group, left < 3 ? left : 3);
	}
	return (ssize_t)size;
}
