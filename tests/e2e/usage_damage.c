/* usage_damage.c - the property that matters most: after any single damage to any metadata, the map still covers every byte that the undamaged map
 * calls in use (which includes the case that the partition has become raw).  After many damages it need not, but it ends, soon, and touches nothing that is
 * not its own (ASan).
 *
 * Damage goes where the mapper has read: to sectors whose loss it notices, and to any others that it reads. */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/usage/usage.h"
#include "tests/lib/image.h"

#define MILLISECONDS_MAX 20000

static uint64_t state = 1;

/* xorshift64*: the same on every machine */
static uint64_t next(uint64_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return below ? (state * 0x2545f4914f6cdd1dull >> 11) % below : 0;
}

struct rig {
	size_t len;
	struct blk *inner[IMAGE_DISKS_MAX], *disk[IMAGE_DISKS_MAX];
	struct usage_map base[IMAGE_DISKS_MAX];
	uint64_t *reads[IMAGE_DISKS_MAX]; /* sectors */
	size_t reads_len[IMAGE_DISKS_MAX];
	uint64_t *vital[IMAGE_DISKS_MAX]; /* of these, those whose loss is noticed */
	size_t vital_len[IMAGE_DISKS_MAX];
	char what[200]; /* the damage */
};

static void fail(const char *text)
{
	(void)fprintf(stderr, "usage_damage: %s\n", text);
	exit(2); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

static void map(struct rig *r, struct usage_map *ret)
{
	struct err err;
	struct timespec a, b;

	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	if (usage_map(r->disk, r->len, ret, &err) < 0)
		fail(err.msg);
	(void)clock_gettime(CLOCK_MONOTONIC, &b);
	if ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 > MILLISECONDS_MAX)
		fail("it took too long");
}

static bool is_same(const struct usage_map *a, const struct usage_map *b)
{
	return a->extents_len == b->extents_len && a->copied == b->copied &&
	       memcmp(a->extents, b->extents, a->extents_len * sizeof(*a->extents)) == 0;
}

/* The first byte below `size` that is in `a` and not in `b`; UINT64_MAX when there is none. */
static uint64_t missing(const struct usage_map *a, const struct usage_map *b, uint64_t size)
{
	size_t k = 0;

	for (size_t i = 0; i < a->extents_len; i++) {
		uint64_t at = a->extents[i].offset;
		uint64_t end = at + a->extents[i].length < size ? at + a->extents[i].length : size;

		while (at < end) {
			while (k < b->extents_len &&
			       b->extents[k].offset + b->extents[k].length <= at)
				k++;
			if (k == b->extents_len || b->extents[k].offset > at)
				return at;
			at = b->extents[k].offset + b->extents[k].length;
		}
	}
	return UINT64_MAX;
}

static void done_maps(const struct rig *r, struct usage_map *m)
{
	for (size_t i = 0; i < r->len; i++)
		usage_map_done(&m[i]);
}

static bool is_zero_sector(struct blk *b, uint64_t sector)
{
	uint8_t data[IMAGE_SECTOR];
	struct err err;

	if (blk_read(b, data, sizeof(data), sector * IMAGE_SECTOR, &err) < 0)
		return true;
	for (size_t i = 0; i < sizeof(data); i++) {
		if (data[i])
			return false;
	}
	return true;
}

static void zero_sector(struct blk *b, uint64_t sector)
{
	static const uint8_t zeros[IMAGE_SECTOR];

	image_overlay_poke(b, sector * IMAGE_SECTOR, zeros, sizeof(zeros));
}

/* Is the map another without the sectors `from` to `to` that are read of the disk? */
static bool is_noticed(struct rig *r, size_t disk, size_t from, size_t to)
{
	struct usage_map m[IMAGE_DISKS_MAX];
	bool is_other = false;
	bool is_empty = true;

	for (size_t k = from; k < to; k++) {
		if (is_zero_sector(r->inner[disk], r->reads[disk][k]))
			continue;
		zero_sector(r->disk[disk], r->reads[disk][k]);
		is_empty = false;
	}
	if (is_empty)
		return false;
	map(r, m);
	for (size_t i = 0; i < r->len; i++)
		is_other = is_other || !is_same(&m[i], &r->base[i]);
	done_maps(r, m);
	image_overlay_reset(r->disk[disk]);
	return is_other;
}

/* Of the sectors `from` to `to`, those whose loss is noticed: by halves, as most are not. */
static void find_vital(struct rig *r, size_t disk, size_t from, size_t to)
{
	if (from == to || !is_noticed(r, disk, from, to))
		return;
	if (to - from == 1) {
		r->vital[disk][r->vital_len[disk]++] = r->reads[disk][from];
		return;
	}
	find_vital(r, disk, from, from + (to - from) / 2);
	find_vital(r, disk, from + (to - from) / 2, to);
}

/* What the mapper reads, and which of it it cannot do without. */
static void find_reads(struct rig *r)
{
	for (size_t i = 0; i < r->len; i++) {
		r->reads[i] = image_overlay_reads(r->disk[i], &r->reads_len[i]);
		r->vital[i] = malloc((r->reads_len[i] + 1) * sizeof(uint64_t));
		if (!r->reads[i] || !r->vital[i])
			fail("out of memory");
	}
	for (size_t i = 0; i < r->len; i++)
		find_vital(r, i, 0, r->reads_len[i]);
}

static void rig_init(struct rig *r, char **paths, size_t len)
{
	struct err err;

	if (len == 0 || len > IMAGE_DISKS_MAX)
		fail("name one to three images");
	for (; r->len < len; r->len++) {
		if (blk_open_file(paths[r->len], BLK_READ, 0, 0, &r->inner[r->len], &err) < 0)
			fail(err.msg);
		r->disk[r->len] = image_overlay_new(r->inner[r->len]);
		if (!r->disk[r->len])
			fail("out of memory");
	}
	map(r, r->base);
	find_reads(r);
}

static void rig_done(struct rig *r)
{
	done_maps(r, r->base);
	for (size_t i = 0; i < r->len; i++) {
		free(r->reads[i]);
		free(r->vital[i]);
		blk_free(r->disk[i]);
		blk_free(r->inner[i]);
	}
}

/* A number at `at` in the sector, in either byte order: a little more, a little less, another power of two, anything. */
static void move_number(uint8_t *data, size_t at, size_t size, bool is_big)
{
	uint64_t n = 0;
	uint64_t delta = 1ull << next(8 * size - 2);

	for (size_t i = 0; i < size; i++)
		n = n << 8 | data[at + (is_big ? i : size - 1 - i)];
	switch (next(5)) {
	case 0:
		n += delta;
		break;
	case 1:
		n -= delta;
		break;
	case 2:
		n <<= 1 + next(3);
		break;
	case 3:
		n >>= 1 + next(3);
		break;
	default:
		n = next(UINT64_MAX) >> next(64);
		break;
	}
	for (size_t i = 0; i < size; i++) {
		data[at + (is_big ? size - 1 - i : i)] = (uint8_t)n;
		n >>= 8;
	}
}

static uint64_t pick_sector(struct rig *r, size_t disk)
{
	if (r->vital_len[disk] > 0 && next(10) < 6)
		return r->vital[disk][next(r->vital_len[disk])];
	return r->reads[disk][next(r->reads_len[disk])];
}

static void change(struct rig *r, size_t disk, uint8_t *data, size_t *ret_at)
{
	size_t at = next(IMAGE_SECTOR);
	size_t size = 1u << (1 + next(3));
	struct err err;

	*ret_at = at;
	switch (next(8)) {
	case 0:
	case 1:
		data[at] ^= (uint8_t)(1u << next(8));
		break;
	case 2:
		data[at] ^= (uint8_t)(1 + next(255));
		break;
	case 3:
		data[at] = next(2) ? 0 : 0xff;
		break;
	case 4:
	case 5:
		*ret_at = at / size * size;
		move_number(data, *ret_at, size, next(3) == 0);
		break;
	case 6:
		memset(data + at, 0, IMAGE_SECTOR - at);
		break;
	default:
		if (blk_read(r->inner[disk], data, IMAGE_SECTOR,
			     pick_sector(r, disk) * IMAGE_SECTOR, &err) < 0)
			fail(err.msg);
		break;
	}
}

static void damage(struct rig *r)
{
	size_t disk = next(r->len);
	uint64_t sector = pick_sector(r, disk);
	uint8_t data[IMAGE_SECTOR];
	struct err err;
	size_t at;

	if (next(40) == 0) {
		uint64_t size = 512 * (1 + next(blk_size(r->disk[disk]) / 512));

		image_overlay_cut(r->disk[disk], size);
		(void)snprintf(r->what, sizeof(r->what), "disk %zu cut to %" PRIu64 " bytes", disk,
			       size);
		return;
	}
	if ((sector + 1) * IMAGE_SECTOR > blk_size(r->disk[disk]))
		return;
	if (blk_read(r->disk[disk], data, sizeof(data), sector * IMAGE_SECTOR, &err) < 0)
		fail(err.msg);
	change(r, disk, data, &at);
	image_overlay_poke(r->disk[disk], sector * IMAGE_SECTOR, data, sizeof(data));
	(void)snprintf(r->what, sizeof(r->what), "disk %zu, sector %" PRIu64 ", byte %zu", disk,
		       sector, at);
}

/* One run; false when something in use is not covered. */
static bool run(struct rig *r, bool is_single)
{
	struct usage_map m[IMAGE_DISKS_MAX];
	size_t n = is_single ? 1 : 2 + next(20);
	bool good = true;

	for (size_t i = 0; i < n; i++)
		damage(r);
	map(r, m);
	for (size_t i = 0; i < r->len; i++) {
		uint64_t at = missing(&r->base[i], &m[i], blk_size(r->disk[i]));

		if (!is_single || at == UINT64_MAX)
			continue;
		good = false;
		printf("# after damage to %s: byte %" PRIu64 " of disk %zu is left out\n", r->what,
		       at, i);
		for (size_t k = 0; k < m[i].partitions_len; k++)
			printf("#   partition %u: %s %s\n", m[i].partitions[k].number,
			       usage_how_name(m[i].partitions[k].how), m[i].partitions[k].why);
	}
	done_maps(r, m);
	for (size_t i = 0; i < r->len; i++)
		image_overlay_reset(r->disk[i]);
	return good;
}

static void put_u32(FILE *f, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		(void)putc((int)(n >> 8 * i & 255), f);
}

/* The sectors without which the map is another, as an input for the fuzz targets. */
static void write_seed(const struct rig *r, const char *path)
{
	FILE *f = fopen(path, "we");
	struct err err;

	if (!f)
		fail(path);
	(void)putc((int)r->len, f);
	for (size_t i = 0; i < r->len; i++)
		put_u32(f, (uint32_t)(blk_size(r->inner[i]) / IMAGE_SECTOR));
	for (size_t i = 0; i < r->len; i++) {
		for (size_t k = 0; k < r->vital_len[i]; k++) {
			uint8_t data[IMAGE_SECTOR];

			if (blk_read(r->inner[i], data, sizeof(data), r->vital[i][k] * IMAGE_SECTOR,
				     &err) < 0)
				fail(err.msg);
			put_u32(f, (uint32_t)(r->vital[i][k] | i << IMAGE_DISK_SHIFT));
			(void)fwrite(data, sizeof(data), 1, f);
		}
	}
	if (fclose(f) != 0)
		fail(path);
}

/* What is left out of a seed must not matter: its map is that of the disks it was made from. */
static void check_seed(const struct rig *r, const char *path)
{
	static uint8_t data[4 << 20];
	struct blk *disks[IMAGE_DISKS_MAX];
	struct usage_map m[IMAGE_DISKS_MAX];
	FILE *f = fopen(path, "re");
	size_t size = f ? fread(data, 1, sizeof(data), f) : 0;
	struct err err;

	if (!f || fclose(f) != 0 || image_decode(data, size, disks) != r->len)
		fail(path);
	if (usage_map(disks, r->len, m, &err) < 0)
		fail(err.msg);
	for (size_t i = 0; i < r->len; i++) {
		if (!is_same(&m[i], &r->base[i]))
			fail("the seed's map is another");
		blk_free(disks[i]);
	}
	done_maps(r, m);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"runs", required_argument, NULL, 'r'},
						{"seed", required_argument, NULL, 's'},
						{"write-seed", required_argument, NULL, 'w'},
						{NULL, 0, NULL, 0}};
	struct rig r = {0};
	const char *seed_path = NULL;
	unsigned long runs = 200;
	unsigned long bad = 0;
	size_t vital = 0;
	size_t reads = 0;
	int c;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'r')
			runs = strtoul(optarg, NULL, 10);
		else if (c == 's')
			state = strtoull(optarg, NULL, 10) * 2 + 1;
		else if (c == 'w')
			seed_path = optarg;
		else
			fail("usage: usage_damage [--runs N] [--seed N] "
			     "[--write-seed FILE] IMAGE...");
	}
	rig_init(&r, argv + optind, (size_t)(argc - optind));
	for (size_t i = 0; i < r.len; i++)
		reads += r.reads_len[i];
	for (size_t i = 0; i < r.len; i++)
		vital += r.vital_len[i];
	for (unsigned long i = 0; i < runs; i++)
		bad += !run(&r, i % 4 != 3);
	if (seed_path) {
		write_seed(&r, seed_path);
		check_seed(&r, seed_path);
	}
	printf("# %s: %lu runs, %zu sectors matter of %zu that are read\n", argv[optind], runs,
	       vital, reads);
	rig_done(&r);
	return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}
