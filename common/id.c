#include "common/id.h"

#include <string.h>

#include "common/blake3.h"
#include "common/bytes.h"

static const char DIGITS[] = "0123456789abcdef";

struct id id_of(const void *data, size_t size)
{
	struct id id;

	blake3_hash(data, size, id.b);
	return id;
}

bool id_equal(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, ID_SIZE) == 0;
}

bool id_is_zero(const struct id *a)
{
	return bytes_are_zero(a->b, ID_SIZE);
}

void id_to_text(const struct id *a, char ret_text[static ID_TEXT_SIZE])
{
	hex_encode(a->b, ID_SIZE, ret_text);
}

bool id_from_text(const char *text, struct id *ret)
{
	if (strspn(text, DIGITS) != (size_t)2 * ID_SIZE)
		return false;
	return hex_decode(text, ret->b, ID_SIZE);
}

void hex_encode(const void *data, size_t size, char *ret_text)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		*ret_text++ = DIGITS[p[i] >> 4];
		*ret_text++ = DIGITS[p[i] & 15];
	}
	*ret_text = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool hex_decode(const char *text, void *ret, size_t size)
{
	uint8_t *out = ret;

	if (strnlen(text, 2 * size + 1) != 2 * size)
		return false;
	for (size_t i = 0; i < 2 * size; i++) {
		if (digit_value(text[i]) < 0)
			return false;
	}
	for (size_t i = 0; i < size; i++)
		out[i] = (uint8_t)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
	return true;
}
