#include "common/medium.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/tap.h"

static uint8_t area[MEDIUM_AREA_SIZE], other[MEDIUM_AREA_SIZE];

static bool decodes_to(const uint8_t *a, const char *want)
{
	const char *text = NULL;
	size_t size = 0;
	struct err err = {0};

	return medium_decode(a, &text, &size, &err) == 0 && size == strlen(want) &&
	       memcmp(text, want, size) == 0;
}

static bool is_refused(const uint8_t *a, const char *message)
{
	const char *text = "untouched";
	size_t size = 7;
	struct err err = {0};
	int r = medium_decode(a, &text, &size, &err);
	bool good = r == -EPROTO && strcmp(err.msg, message) == 0 && size == 7 &&
		    strcmp(text, "untouched") == 0;

	if (!good)
		printf("# %d %s\n", r, err.msg);
	return good;
}

static void test_encode(void)
{
	static char big[MEDIUM_AREA_SIZE];
	struct err err = {0};
	size_t most = 0;

	ok(medium_encode("a=b\n", 4, area, &err) == 0, "encode");
	ok(memcmp(area, "070701", 6) == 0 && memcmp(area + 54, "0000003d", 8) == 0 &&
		   memcmp(area + 94, "00000019", 8) == 0 &&
		   memcmp(area + 110, "hoist.d/HOIST-SETTINGS-1\0", 26) == 0 &&
		   memcmp(area + 136,
			  "HOIST-SETTINGS-1 size=65536 7d6f0f5e0c1b4a3f9e2d8c5b6a790e13\n",
			  61) == 0,
	   "encode: the marker as docs/formats-settings.md has it");
	ok(decodes_to(area, "a=b\n"), "decode it");
	ok(medium_encode("", 0, area, &err) == 0 && decodes_to(area, ""), "no settings");
	memset(big, 'x', sizeof(big));
	for (size_t n = MEDIUM_AREA_SIZE; n > 0 && !most; n--) {
		if (medium_encode(big, n, area, &err) == 0)
			most = n;
	}
	/* what the archive costs: two headers with names and the marker, and the trailer */
	ok(most == MEDIUM_AREA_SIZE - (136 + 64) - (110 + 18) - (110 + 14), "as much as fits");
	memcpy(other, area, sizeof(area));
	ok(medium_encode(big, most + 1, area, &err) == -E2BIG &&
		   memcmp(area, other, sizeof(area)) == 0,
	   "a byte more is refused, the area untouched");
}

/* Byte `at` changed to `to`. */
static const uint8_t *changed(size_t at, char to)
{
	memcpy(other, area, sizeof(area));
	other[at] = (uint8_t)to;
	return other;
}

static void test_decode(void)
{
	static const char header[] = "the settings area: there is no valid archive header";
	struct err err = {0};
	const size_t second = 200; /* where the header of hoist.d/settings begins */

	if (medium_encode("a=b\n", 4, area, &err) < 0)
		abort();
	ok(memcmp(area + second + 110, "hoist.d/settings", 17) == 0, "settings come second");
	ok(is_refused(changed(136, 'h'), "the settings area does not begin with its marker"),
	   "decode: no marker");
	ok(is_refused(changed(second, '1'), header), "decode: a header without magic");
	ok(is_refused(changed(second + 54, 'g'), header), "decode: a size that is no number");
	ok(is_refused(changed(second + 54, '\0'), header), "decode: a size with a zero byte");
	ok(is_refused(changed(second + 54, 'f'), "the settings area: it ends within a file"),
	   "decode: a huge file");
	ok(is_refused(changed(second + 94, 'F'),
		      "the settings area: there is a name of impossible size"),
	   "decode: a huge name");
	ok(is_refused(changed(second + 101, '0'), "the settings area: there is a name without end"),
	   "decode: a name without end");
	(void)changed(second + 58, 'f');
	other[second + 59] = 'f';
	ok(is_refused(other, "the settings area: it ends within a file"),
	   "decode: a file beyond the end");
	ok(is_refused(changed(second + 110, 'H'),
		      "the settings area holds no file hoist.d/settings"),
	   "decode: no settings");
	ok(is_refused(changed(MEDIUM_AREA_SIZE - 1, 'x'),
		      "the settings area is not zero behind its archive"),
	   "decode: something behind the archive");
}

/* An image of `size` bytes of noise that is nearly a marker everywhere, with areas at `a` and `b` (UINT64_MAX: none). */
static int find_in(uint64_t size, uint64_t a, uint64_t b, uint64_t *ret_offset, struct err *err)
{
	int fd = memfd_create("iso", MFD_CLOEXEC), r;
	uint8_t near[4096];

	memcpy(near, area, sizeof(near));
	near[136 + 60] = '!'; /* the marker's last byte */
	for (uint64_t at = 0; at < size; at += sizeof(near)) {
		if (pwrite(fd, near, size - at < sizeof(near) ? size - at : sizeof(near),
			   (off_t)at) < 0)
			abort();
	}
	if ((a != UINT64_MAX && pwrite(fd, area, sizeof(area), (off_t)a) < 0) ||
	    (b != UINT64_MAX && pwrite(fd, area, sizeof(area), (off_t)b) < 0) ||
	    ftruncate(fd, (off_t)size) < 0)
		abort();
	r = medium_find(fd, ret_offset, err);
	(void)close(fd);
	return r;
}

static void test_find(void)
{
	const uint64_t mib = 1 << 20, none = UINT64_MAX;
	struct err err = {0};
	uint64_t at = 77;

	if (medium_encode("a=b\n", 4, area, &err) < 0)
		abort();
	ok(find_in(3 * mib, none, none, &at, &err) == -ENOENT && at == 77 &&
		   strcmp(err.msg, "there is no place for settings in it: it is not a boot medium "
				   "of Hoist") == 0,
	   "find: near misses are none");
	ok(find_in(3 * mib, 0, none, &at, &err) == 0 && at == 0, "find: at the start");
	ok(find_in(3 * mib, 6144, none, &at, &err) == 0 && at == 6144, "find: at a sector");
	ok(find_in(3 * mib, mib - 2048, none, &at, &err) == 0 && at == mib - 2048,
	   "find: across a block of reading");
	ok(find_in(2 * mib, 2 * mib - MEDIUM_AREA_SIZE, none, &at, &err) == 0 &&
		   at == 2 * mib - MEDIUM_AREA_SIZE,
	   "find: at the very end");
	ok(find_in(2 * mib, 2 * mib - MEDIUM_AREA_SIZE + 2048, none, &at, &err) == -EPROTO,
	   "find: cut off");
	ok(find_in(3 * mib, 1024, none, &at, &err) == -ENOENT, "find: only at sectors");
	ok(find_in(3 * mib, mib, 2 * mib, &at, &err) == -EEXIST &&
		   strcmp(err.msg, "there is more than one place for settings in it (2)") == 0,
	   "find: two are too many");
	ok(find_in(0, none, none, &at, &err) == -ENOENT, "find: an empty file");
	ok(medium_find(-1, &at, &err) == -EBADF, "find: cannot be read");
}

static void test_check(void)
{
	static const struct {
		const char *key, *value;
		bool good;
	} cases[] = {
		{"server", "https://a:1", true},
		{"poll-port", "", true},
		{"a1", "a b", true},
		{"", "x", false},
		{"A", "x", false},
		{"a_b", "x", false},
		{"-a", "x", false},
		{"1a", "x", false},
		{"a b", "x", false},
		{"a", "x\ny", false},
		{"a", " x", false},
		{"a", "x ", false},
		{"a", "\x7f", false},
		{"a", "\xc3\xa4", true},
	};
	static char value[MEDIUM_LINE_MAX + 1];
	struct err err = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "check: case %zu", i);
		ok(medium_check_setting(cases[i].key, cases[i].value, &err) ==
			   (cases[i].good ? 0 : -EINVAL),
		   name);
	}
	memset(value, 'x', sizeof(value) - 1);
	value[MEDIUM_LINE_MAX - 2] = '\0';
	ok(medium_check_setting("a", value, &err) == 0, "check: the longest line");
	value[MEDIUM_LINE_MAX - 2] = 'x';
	value[MEDIUM_LINE_MAX - 1] = '\0';
	ok(medium_check_setting("a", value, &err) == -EINVAL, "check: a byte more");
}

int main(void)
{
	test_encode();
	test_decode();
	test_find();
	test_check();
	return done();
}
