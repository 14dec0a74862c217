#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/index.h"
#include "tests/unit/tap.h"

static bool geometry_ok(uint64_t size, uint32_t sector, uint32_t physical)
{
	struct geometry g = {size, sector, physical};
	struct err err;

	return geometry_check(&g, &err) == 0;
}

static void test_geometry(void)
{
	ok(geometry_ok(512, 512, 512) && geometry_ok(64ull << 40, 4096, 4096) &&
		   geometry_ok(1ull << 30, 512, 4096),
	   "lawful geometries");
	ok(!geometry_ok(0, 512, 512) && !geometry_ok(511, 512, 512) &&
		   !geometry_ok((64ull << 40) + 512, 512, 512),
	   "sizes out of range");
	ok(!geometry_ok(4096, 0, 512) && !geometry_ok(4096, 520, 520) &&
		   !geometry_ok(8192, 8192, 8192),
	   "sector sizes out of range");
	ok(!geometry_ok(4096, 1024, 512) && !geometry_ok(1 << 20, 512, 131072),
	   "physical sector sizes out of range");
	ok(!geometry_ok(4096 + 512, 4096, 4096), "no whole number of sectors");
}

static void test_extents(void)
{
	struct extent e[] = {{0, 512}, {1024, 512}, {4096, 4096}};
	struct extent touching[] = {{0, 512}, {512, 512}}, overlapping[] = {{0, 1024}, {512, 512}};
	struct extent empty[] = {{0, 0}}, outside[] = {{8192, 1}},
		      wrapping[] = {{4096, UINT64_MAX}};
	struct extent *back = NULL;
	size_t len = 9;
	uint8_t buf[8 + 3 * 16];
	struct err err;

	ok(extents_check(e, 3, 8192, &err) == 0, "lawful extents");
	ok(extents_check(touching, 2, 8192, &err) == -EINVAL &&
		   extents_check(overlapping, 2, 8192, &err) == -EINVAL,
	   "touching, overlapping");
	ok(extents_check(empty, 1, 8192, &err) == -EINVAL &&
		   extents_check(outside, 1, 8192, &err) == -EINVAL &&
		   extents_check(wrapping, 1, 8192, &err) == -EINVAL,
	   "empty, outside, wrapping around");
	index_encode_tail(e, 3, buf);
	ok(index_decode_tail(buf, sizeof(buf), 8192, &back, &len, &err) == 0 && len == 3 &&
		   memcmp(back, e, sizeof(e)) == 0,
	   "encoded and decoded");
	free(back);
	back = NULL;
	len = 9;
	ok(index_decode_tail(buf, sizeof(buf) - 1, 8192, &back, &len, &err) == -EPROTO &&
		   back == NULL && len == 9,
	   "cut off: refused");
	ok(index_decode_tail(buf, sizeof(buf), 8191, &back, &len, &err) == -EPROTO,
	   "outside the disk: refused");
	buf[4] = 1;
	ok(index_decode_tail(buf, sizeof(buf), 8192, &back, &len, &err) == -EPROTO,
	   "reserved field: refused");
}

static void test_header(void)
{
	struct geometry g = {1ull << 40, 512, 4096}, back = {0};
	uint8_t h[INDEX_HEADER_SIZE];
	struct err err;
	bool refused = true;

	index_encode_header(&g, h);
	ok(index_decode_header(h, &back, &err) == 0 && back.size == g.size &&
		   back.sector_size == 512 && back.physical_sector_size == 4096,
	   "encoded and decoded");
	for (size_t i = 0; i < sizeof(h); i++) {
		h[i] ^= 0x80;
		refused &= index_decode_header(h, &back, &err) == -EPROTO;
		h[i] ^= 0x80;
	}
	ok(refused, "any high bit changed: refused");
}

static void test_old_header(void)
{
	struct geometry g = {1ull << 40, 512, 4096}, back = {0};
	uint8_t h[INDEX_HEADER_SIZE];
	struct err err;

	index_encode_header(&g, h);
	h[7] = '1';
	ok(index_decode_header(h, &back, &err) == -EPROTONOSUPPORT &&
		   strstr(err.msg, "capture the disk again"),
	   "the version before is refused with a sentence");
}

int main(void)
{
	test_geometry();
	test_extents();
	test_header();
	test_old_header();
	return done();
}
