#include "agent/usage/volume.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/blk_fault.h"
#include "tests/unit/tap.h"

#define DISK	 (1u << 20)
#define MIRROR	 500000u /* there both disks are the same, for so many bytes: */
#define MIRRORED 8192u

static uint32_t seed = 7;

static uint32_t next(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

/* Byte `i` of disk `n` tells where it is. */
static uint8_t byte_at(unsigned n, uint64_t i)
{
	if (i >= MIRROR && i < MIRROR + MIRRORED)
		n = 0;
	return (uint8_t)((i * 31 + (i >> 9) * 7 + n * 101) & 0xff);
}

static struct blk *make_disk(unsigned n)
{
	uint8_t *buf = malloc(DISK);

	for (uint64_t i = 0; buf && i < DISK; i++)
		buf[i] = byte_at(n, i);
	return blk_new_memory(buf, DISK, 512);
}

struct rig {
	struct blk *blk[2];
	struct cache *cache;
	struct volume *disk[2];
	struct err err;
};

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->cache = cache_new();
	for (unsigned i = 0; i < 2; i++) {
		r->blk[i] = make_disk(i);
		if (!r->cache || !r->blk[i] ||
		    volume_new_disk(r->blk[i], r->cache, 1000, &r->disk[i], &r->err) < 0)
			abort();
	}
}

static void rig_done(struct rig *r)
{
	for (unsigned i = 0; i < 2; i++) {
		volume_free(r->disk[i]);
		blk_free(r->blk[i]);
	}
	cache_free(r->cache);
}

static struct segment segment(uint64_t at, uint64_t length, uint32_t stripes, uint32_t mirrors,
			      const struct area *areas)
{
	struct segment s = {at, length, 4096, stripes, mirrors, NULL};

	s.areas = malloc(sizeof(*areas) * stripes * mirrors);
	if (!s.areas)
		abort();
	memcpy(s.areas, areas, sizeof(*areas) * stripes * mirrors);
	return s;
}

/* 40960 bytes on disk 0, then 81920 striped over both, then 8192 that are on both. */
static struct volume *make_composed(struct rig *r)
{
	struct segment *s = malloc(3 * sizeof(*s));
	struct volume *v;

	if (!s)
		abort();
	s[0] = segment(0, 40960, 1, 1, (struct area[]){{r->disk[0], 1000}});
	s[1] = segment(40960, 81920, 2, 1,
		       (struct area[]){{r->disk[0], 200000}, {r->disk[1], 300000}});
	s[2] = segment(122880, MIRRORED, 1, 2,
		       (struct area[]){{r->disk[0], MIRROR}, {r->disk[1], MIRROR}});
	if (volume_new_composed("composed", 512, s, 3, &v, &r->err) < 0)
		abort();
	return v;
}

/* The place of byte `i` of that volume, written down a second time in the plainest way. */
static uint64_t place_of(uint64_t i, unsigned *disk)
{
	*disk = 0;
	if (i < 40960)
		return 1000 + i;
	if (i < 122880) {
		uint64_t stripe = (i - 40960) / 4096;

		*disk = stripe % 2;
		return (*disk ? 300000 : 200000) + stripe / 2 * 4096 + (i - 40960) % 4096;
	}
	return MIRROR + (i - 122880);
}

static void test_read(struct rig *r, struct volume *v)
{
	static uint8_t buf[131072];
	bool good = true;

	for (unsigned n = 0; n < 300; n++) {
		uint64_t offset = next((uint32_t)volume_size(v));
		uint32_t size = next((uint32_t)(volume_size(v) - offset) + 1);
		unsigned disk;

		if (n % 3)
			size %= 5000;
		good = good && volume_read(v, buf, size, offset, &r->err) == 0;
		for (uint32_t i = 0; good && i < size; i++) {
			uint64_t at = place_of(offset + i, &disk);

			good = buf[i] == byte_at(disk, at);
		}
	}
	ok(good, "reads arrive at the right bytes of the right disks");
	ok(volume_read(v, buf, 2, volume_size(v) - 1, &r->err) == -ERANGE,
	   "reading past the end is refused");
	ok(blk_write(&v->blk, buf, 1, 0, &r->err) == -EROFS &&
		   blk_zero(&v->blk, 0, 1, &r->err) == -EROFS,
	   "writing is refused");
}

static void test_mark(struct rig *r, struct volume *v)
{
	static uint8_t model[2][DISK];
	bool good = true;

	memset(model, 0, sizeof(model));
	for (unsigned n = 0; n < 60; n++) {
		uint64_t offset = next((uint32_t)volume_size(v));
		uint64_t size = next(n % 4 ? 3000 : 30000);
		unsigned disk;

		volume_mark(v, offset, size);
		for (uint64_t i = offset; i < offset + size && i < volume_size(v); i++) {
			uint64_t at = place_of(i, &disk);

			model[disk][at] = 1;
			if (i >= 122880)
				model[1][at] = 1;
		}
		good = good && (size == 0 || offset + size > volume_size(v) ||
				volume_is_marked(v, offset, size));
	}
	ok(good, "what was marked is marked");
	for (unsigned d = 0; d < 2; d++) {
		uint64_t sum = 0;

		good = true;
		for (uint64_t i = 0; i < DISK; i++) {
			good = good && runs_cover(&r->disk[d]->runs, i, 1) == model[d][i];
			sum += model[d][i];
		}
		ok(good, "marks arrive at the right bytes, on every mirror");
		ok(volume_copied(v, r->disk[d]) == sum && volume_touches(v, r->disk[d]),
		   "and are counted");
	}
	ok(!volume_is_marked(v, volume_size(v), 1) && !volume_is_marked(v, 0, UINT64_MAX),
	   "what is outside is not marked");
	volume_mark(v, volume_size(v) + 1, 5);
	volume_mark(v, volume_size(v) - 1, UINT64_MAX);
	ok(volume_is_marked(v, volume_size(v) - 1, 1), "marking past the end marks up to it");
}

/* The byte before and the one after are not the same. */
static void test_mirror(struct rig *r)
{
	struct segment *s = malloc(sizeof(*s));
	struct volume *v;
	uint8_t buf[MIRRORED + 2];
	uint8_t byte;

	if (!s)
		abort();
	s[0] = segment(
		0, sizeof(buf), 1, 3,
		(struct area[]){{NULL, 0}, {r->disk[0], MIRROR - 1}, {r->disk[1], MIRROR - 1}});
	if (volume_new_composed("mirror", 512, s, 1, &v, &r->err) < 0)
		abort();
	ok(volume_read(v, buf, MIRRORED, 1, &r->err) == 0 && buf[0] == byte_at(0, MIRROR) &&
		   !v->is_torn,
	   "copies that are the same are read, and one that is not there is none");
	ok(volume_read(v, &byte, 1, 0, &r->err) == -EUCLEAN && v->is_torn &&
		   strstr(r->err.msg, "its copies differ"),
	   "those that differ are not, and that is kept");
	v->is_torn = false;
	ok(volume_read(v, buf, sizeof(buf) - 1, 1, &r->err) == -EUCLEAN && v->is_torn,
	   "be it by the last byte");
	volume_free(v);
}

/* The disks differ in the byte before and the one after. */
static void test_glance(struct rig *r)
{
	struct glance g = {.is_on = true};
	struct segment *s = malloc(sizeof(*s));
	struct volume *v, *slice;
	uint8_t buf[MIRRORED + 2];
	bool good = true;

	if (!s)
		abort();
	s[0] = segment(0, sizeof(buf), 1, 2,
		       (struct area[]){{r->disk[0], MIRROR - 1}, {r->disk[1], MIRROR - 1}});
	if (volume_new_composed("mirror", 512, s, 1, &v, &r->err) < 0 ||
	    volume_new_slice("slice", v, 0, 100, &slice, &r->err) < 0)
		abort();
	volume_set_glance(v, &g);
	ok(volume_read(v, buf, MIRRORED, 1, &r->err) == 0 && !g.is_torn && g.copies == 2,
	   "a glance at copies that are the same");
	for (g.copy = 0; g.copy < 4; g.copy++)
		good = good && volume_read(v, buf, 1, 0, &r->err) == 0 &&
		       buf[0] == byte_at(g.copy % 2, MIRROR - 1);
	ok(good && g.is_torn && !v->is_torn, "at others: each in turn");
	volume_see_torn(r->disk[0]);
	volume_see_torn(v);
	volume_see_torn(slice);
	ok(v->is_on_torn && slice->is_on_torn && !r->disk[0]->is_on_torn,
	   "which is known of what lies on it, too");
	volume_mark(v, 1, MIRRORED);
	ok(!volume_is_torn_in_use(v), "where it differs it is not in use");
	runs_add(&r->disk[1]->runs, MIRROR - 1, 1);
	ok(volume_is_torn_in_use(v), "or it is, on one of them");
	g.is_on = false;
	ok(volume_read(v, buf, 1, 0, &r->err) == -EUCLEAN && v->is_torn,
	   "without a glance they must not differ");
	volume_free(slice);
	volume_free(v);
}

/* One copy that cannot be read, the first or the second. */
static void test_bad_copy(unsigned bad)
{
	struct blk_fault_plan plan = {.bad = {{MIRROR, 512, 0}}, .bad_len = 1};
	struct segment *s = malloc(sizeof(*s));
	struct rig r;
	struct volume *v;
	uint8_t byte;

	rig_init(&r);
	volume_free(r.disk[bad]);
	r.blk[bad] = blk_fault_new(r.blk[bad], &plan);
	if (!s || !r.blk[bad] ||
	    volume_new_disk(r.blk[bad], r.cache, 1000, &r.disk[bad], &r.err) < 0)
		abort();
	s[0] = segment(0, MIRRORED, 1, 2,
		       (struct area[]){{r.disk[0], MIRROR}, {r.disk[1], MIRROR}});
	if (volume_new_composed("mirror", 512, s, 1, &v, &r.err) < 0)
		abort();
	ok(volume_read(v, &byte, 1, 7, &r.err) == 0 && byte == byte_at(0, MIRROR + 7) &&
		   !v->is_torn,
	   "a copy that cannot be read does no harm");
	volume_free(v);
	rig_done(&r);
}

static void test_missing(struct rig *r)
{
	struct segment *s = malloc(sizeof(*s));
	struct volume *v;
	char c;

	if (!s)
		abort();
	s[0] = segment(0, 16384, 2, 1, (struct area[]){{r->disk[1], 0}, {NULL, 0}});
	if (volume_new_composed("half", 512, s, 1, &v, &r->err) < 0)
		abort();
	ok(volume_read(v, &c, 1, 0, &r->err) == 0 && volume_read(v, &c, 1, 4096, &r->err) == -ENXIO,
	   "a missing disk is an error only where it is needed");
	volume_mark_all(v);
	ok(runs_cover(&r->disk[1]->runs, 0, 8192) && !runs_cover(&r->disk[1]->runs, 8192, 1),
	   "and marking marks what is there");
	ok(!volume_touches(v, r->disk[0]), "a disk that nothing lies on is not touched");
	volume_free(v);
}

static void test_faults(void)
{
	struct blk_fault_plan plan = {.bad = {{70000, 512, 0}}, .bad_len = 1};
	struct blk *b = blk_fault_new(make_disk(0), &plan);
	struct cache *cache = cache_new();
	struct volume *v;
	struct err err = {0};
	uint8_t buf[600];

	if (!b || !cache || volume_new_disk(b, cache, 100, &v, &err) < 0)
		abort();
	ok(volume_read(v, buf, 512, 69000, &err) == 0 && buf[0] == byte_at(0, 69000),
	   "a bad sector nearby does no harm");
	ok(volume_read(v, buf, 512, 69900, &err) == -EIO, "but on it there is an error");
	ok(volume_read(v, buf, 512, 71000, &err) == 0 && buf[511] == byte_at(0, 71511),
	   "and after it none");
	volume_free(v);
	cache_free(cache);
	blk_free(b);
}

int main(void)
{
	struct rig r;
	struct volume *v;
	struct volume *slice;
	char a[100];
	char b[100];

	rig_init(&r);
	v = make_composed(&r);
	test_read(&r, v);
	test_mark(&r, v);
	if (volume_new_slice("slice", v, 40000, 50000, &slice, &r.err) < 0)
		abort();
	ok(volume_read(slice, a, 100, 900, &r.err) == 0 &&
		   volume_read(v, b, 100, 40900, &r.err) == 0 && memcmp(a, b, 100) == 0,
	   "a slice reads through");
	volume_free(slice);
	volume_free(v);
	test_mirror(&r);
	test_glance(&r);
	test_missing(&r);
	rig_done(&r);
	test_faults();
	test_bad_copy(0);
	test_bad_copy(1);
	return done();
}
