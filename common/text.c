#include "common/text.h"

#include <stdint.h>
#include <string.h>

#define REPLACEMENT 0xfffdu

/* One character from 1..size bytes: RFC 3629, no overlong forms, no surrogates.  Returns how many bytes it took. */
static size_t decode(const uint8_t *s, size_t size, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80       ? 1
		     : s[0] >> 5 == 6  ? 2
		     : s[0] >> 4 == 14 ? 3
		     : s[0] >> 3 == 30 ? 4
				       : 0;
	uint32_t c;

	*ret = REPLACEMENT;
	if (len == 0 || len > size)
		return 1;
	c = len == 1 ? s[0] : s[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (s[i] >> 6 != 2)
			return 1;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 1;
	*ret = c;
	return len;
}

static size_t encode(uint32_t c, char s[static 4])
{
	if (c < 0x80) {
		s[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		s[0] = (char)(0xc0 | c >> 6);
		s[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		s[0] = (char)(0xe0 | c >> 12);
		s[1] = (char)(0x80 | (c >> 6 & 0x3f));
		s[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	s[0] = (char)(0xf0 | c >> 18);
	s[1] = (char)(0x80 | (c >> 12 & 0x3f));
	s[2] = (char)(0x80 | (c >> 6 & 0x3f));
	s[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Characters that a person does not see, or that change what is seen around them (Unicode categories Cc, Cf, Zl, Zp as far as they
 * occur below the tags; noncharacters; tags). */
static bool is_unfit(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x00, 0x1f},	    {0x7f, 0x9f},     {0xad, 0xad},	{0x600, 0x605},
		{0x61c, 0x61c},	    {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},
		{0x2060, 0x206f},   {0xfdd0, 0xfdef}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb},
		{0xe0000, 0xe0fff},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return (c & 0xfffe) == 0xfffe;
}

static bool is_space(uint32_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || c == 0x3000;
}

size_t text_clean(char *ret, size_t ret_size, const void *src, size_t size)
{
	const uint8_t *s = src;
	size_t n = 0;
	bool space = false;

	size = strnlen(src, size);
	for (size_t i = 0; i < size;) {
		uint32_t c;
		char out[4];
		size_t out_len;

		i += decode(s + i, size - i, &c);
		if (is_space(c)) {
			space = n > 0;
			continue;
		}
		out_len = encode(is_unfit(c) ? REPLACEMENT : c, out);
		if (n + space + out_len >= ret_size)
			break;
		if (space)
			ret[n++] = ' ';
		space = false;
		memcpy(ret + n, out, out_len);
		n += out_len;
	}
	ret[n] = '\0';
	return n;
}

bool text_begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

bool text_ends(const char *text, const char *with)
{
	size_t n = strlen(text), m = strlen(with);

	return n > m && strcmp(text + n - m, with) == 0;
}
