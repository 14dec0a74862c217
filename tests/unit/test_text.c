#include "common/text.h"

#include <string.h>

#include "tests/unit/tap.h"

static const struct {
	const char *name, *in;
	size_t in_size; /* 0: strlen */
	const char *out;
} cases[] = {
	{"plain text stays", "ST4000NM0035-1V4107", 0, "ST4000NM0035-1V4107"},
	{"white space is trimmed, and runs become one", " \t Samsung  SSD\n850 \r\n", 0,
	 "Samsung SSD 850"},
	{"nothing stays nothing", "", 0, ""},
	{"only white space becomes nothing", " \n\t ", 0, ""},
	{"text ends at NUL", "ab\0cd", 5, "ab"},
	{"text without NUL ends at its size", "abcdef", 3, "abc"},
	{"UTF-8 of two, three and four bytes stays", "ä€😀", 0, "ä€😀"},
	{"controls are replaced", "a\x1b[31mb\x7f", 0, "a\uFFFD[31mb\uFFFD"},
	{"C1 controls are replaced",
	 "a\xc2\x9b"
	 "b",
	 0, "a\uFFFDb"},
	{"a lone continuation byte is replaced",
	 "a\x80"
	 "b",
	 0, "a\uFFFDb"},
	{"a sequence cut short is replaced", "a\xe2\x82", 0, "a\uFFFD\uFFFD"},
	{"a sequence cut short by text is replaced",
	 "\xe2\x82"
	 "a",
	 0,
	 "\uFFFD\uFFFD"
	 "a"},
	{"overlong forms are replaced", "\xc0\xaf\xe0\x80\xaf", 0,
	 "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD"},
	{"surrogates are replaced", "\xed\xa0\x80", 0, "\uFFFD\uFFFD\uFFFD"},
	{"beyond Unicode is replaced", "\xf4\x90\x80\x80", 0, "\uFFFD\uFFFD\uFFFD\uFFFD"},
	{"bytes that never occur are replaced", "\xff\xfe", 0, "\uFFFD\uFFFD"},
	{"direction changes are replaced",
	 "a\u202e"
	 "b\u2066",
	 0, "a\uFFFDb\uFFFD"},
	{"invisible characters are replaced",
	 "a\u200b"
	 "b\ufeff",
	 0, "a\uFFFDb\uFFFD"},
	{"tags are replaced",
	 "a\U000e0041"
	 "b",
	 0, "a\uFFFDb"},
	{"noncharacters are replaced", "\uFDD0\U0001fffe", 0, "\uFFFD\uFFFD"},
	{"a no-break space is white space",
	 "a\u00a0"
	 "b",
	 0, "a b"},
};

static void test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char out[64];
		size_t size = cases[i].in_size ? cases[i].in_size : strlen(cases[i].in);
		size_t n = text_clean(out, sizeof(out), cases[i].in, size);

		ok(n == strlen(cases[i].out) && strcmp(out, cases[i].out) == 0, cases[i].name);
	}
}

static void test_bounds(void)
{
	char out[8] = "xxxxxxx";
	bool good = true;

	ok(text_clean(out, 6, "abcdefgh", 8) == 5 && strcmp(out, "abcde") == 0, "cut at the room");
	ok(text_clean(out, 6, "abc€", 6) == 3 && strcmp(out, "abc") == 0,
	   "a character is never cut in two");
	ok(text_clean(out, 4, "a b c", 5) == 3 && strcmp(out, "a b") == 0,
	   "nor is a space left at the end");
	ok(text_clean(out, 3, "a bc", 4) == 1 && strcmp(out, "a") == 0, "not even before a cut");
	ok(text_clean(out, 1, "abc", 3) == 0 && out[0] == '\0', "room for nothing gives nothing");
	/* Whatever the bytes: in bounds, and nothing left to clean. */
	for (unsigned seed = 0; seed < 20000; seed++) {
		unsigned char in[16];
		char once[40], twice[40];
		unsigned v = seed * 2654435761u;

		for (size_t i = 0; i < sizeof(in); i++) {
			v = v * 1664525u + 1013904223u;
			in[i] = (unsigned char)(v >> 24);
		}
		(void)text_clean(once, sizeof(once), in, sizeof(in));
		(void)text_clean(twice, sizeof(twice), once, strlen(once));
		good = good && strcmp(once, twice) == 0;
	}
	ok(good, "what is clean stays as it is");
}

static void test_ends(void)
{
	ok(text_begins("lib/x", "lib/") && text_begins("lib", "lib") && text_begins("x", ""),
	   "what a text begins with");
	ok(!text_begins("li", "lib") && !text_begins("xlib", "lib"), "and what not");
	ok(text_ends("a.ko", ".ko") && !text_ends("a.kox", ".ko") && !text_ends("ko", ".ko"),
	   "what a text ends with");
	ok(!text_ends(".ko", ".ko"), "with something before it");
}

int main(void)
{
	test_cases();
	test_bounds();
	test_ends();
	return done();
}
