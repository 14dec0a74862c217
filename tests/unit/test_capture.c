/* The capture engine against a server in memory. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/capture.h"
#include "agent/ledger.h"
#include "agent/wire.h"
#include "tests/lib/blk_fault.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

#define SIZE (23u * WINDOW_SIZE + 5 * 4096 + 512 * 3) /* no multiple of anything but sectors */

static struct blk *disk_of(uint64_t size, uint64_t seed, uint32_t sector_size)
{
	return blk_new_memory(rig_make_disk(size, seed), size, sector_size);
}

/* Does the sealed image hold what the disk does? */
static bool image_equals(struct sink *s, struct blk *b)
{
	uint64_t size = blk_size(b);
	uint8_t *image = sink_read_disk(s, 0), *disk = malloc(size);
	struct err err;
	bool same = image && disk && sink_is_sealed(s, 0) &&
		    blk_read(b, disk, size, 0, &err) == 0 && memcmp(image, disk, size) == 0;

	free(image);
	free(disk);
	return same;
}

static void test_whole(uint64_t size, uint32_t sector_size, unsigned workers)
{
	struct sink *s = sink_new();
	struct blk *b = disk_of(size, size + sector_size, sector_size);
	struct rig g;
	struct job_progress p;
	char name[128];
	int r;

	sink_add_disk(s, 0, size);
	rig_init(&g, s, b, workers);
	r = rig_capture(&g);
	(void)snprintf(name, sizeof(name),
		       "%llu bytes, sectors of %u, %u workers: ", (unsigned long long)size,
		       sector_size, workers);
	printf("# %s\n", name);
	ok(r == 0, "captured");
	if (r < 0)
		printf("# %s: %s\n", g.code, g.err.msg);
	ok(strcmp(sink_breach(s), "") == 0, "by the rules");
	if (sink_breach(s)[0])
		printf("# %s\n", sink_breach(s));
	ok(image_equals(s, b), "the image is the disk");
	ok(id_equal(&g.result.root, &(struct id[]){sink_root(s, 0)}[0]), "the root is the image's");
	ok(sink_get_stats(s).chunks_again == 0, "no chunk was sent twice");
	ok(r < 0 || g.result.passes == 1, "no node came before its chunks");
	p = job_get_progress(&g.job);
	ok(p.done == size && p.data == g.result.data_bytes, "progress adds up");
	ok(p.sent > 0 || g.result.data_bytes == 0, "what was sent is counted");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* A disk that was captured before costs no pack; a changed block costs itself. */
static void test_again(void)
{
	struct sink *s = sink_new();
	struct blk *b = disk_of(SIZE, 7, 512);
	struct rig g;
	struct sink_stats st;
	struct err err;
	uint8_t block[4096];

	memset(block, 0x5a, sizeof(block));
	sink_add_disk(s, 0, SIZE);
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0, "first capture");
	rig_done(&g);
	sink_clear_stats(s);
	sink_add_disk(s, 0, SIZE);
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0, "second capture");
	st = sink_get_stats(s);
	ok(st.chunk_packs == 0 && st.node_packs == 0, "an unchanged disk sends no pack");
	ok(st.windows == window_count(SIZE), "only its windows");
	ok(st.ids_asked <= window_count(SIZE), "and asks for no chunk");
	rig_done(&g);

	sink_clear_stats(s);
	sink_add_disk(s, 0, SIZE);
	ok(blk_write(b, block, sizeof(block), 11ull * WINDOW_SIZE + 40960, &err) == 0,
	   "change a block");
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0, "third capture");
	st = sink_get_stats(s);
	ok(st.chunk_packs == 1 && st.nodes == 1 && st.chunks >= 1 && st.chunks <= 4,
	   "a changed block sends one pack and one node");
	ok(image_equals(s, b), "the image is the disk");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* Windows that are full are four packs each, and no pack is of two windows. */
static void test_packs_end_with_windows(void)
{
	const uint32_t windows = 12;
	const uint64_t size = (uint64_t)windows * WINDOW_SIZE;
	uint8_t *data = malloc(size);
	struct sink *s = sink_new();
	uint64_t x = 5;
	struct sink_stats st;
	struct blk *b;
	struct rig g;

	for (uint64_t i = 0; data && i < size; i += 8) {
		uint64_t v = rig_random(&x);

		memcpy(data + i, &v, 8);
	}
	b = blk_new_memory(data, size, 512);
	sink_add_disk(s, 0, size);
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0 && image_equals(s, b), "a full disk");
	st = sink_get_stats(s);
	ok(st.chunk_packs == 4 * windows && st.least_pack > PACK_PLAIN_AIM * 3 / 4,
	   "four even packs a window");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* An interrupted job goes on with what is there. */
static void test_resume(void)
{
	struct sink *s = sink_new();
	struct blk *b = disk_of(SIZE, 9, 512);
	struct sink_plan plan = {.ops = SINK_PACK, .nth = 20, .code = -ECANCELED};
	struct rig g;
	uint64_t first;

	sink_add_disk(s, 0, SIZE);
	sink_set_plan(s, &plan);
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == -ECANCELED, "interrupted");
	ok(g.code[0] == '\0', "which is nobody's fault");
	rig_done(&g);
	first = sink_get_stats(s).chunks;
	ok(first > 0, "some chunks are there");
	sink_set_plan(s, &(struct sink_plan){0});
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0, "resumed");
	ok(sink_get_stats(s).chunks_again == 0, "nothing acknowledged was sent again");
	ok(image_equals(s, b), "the image is the disk");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* Whatever operation fails, the capture fails with its error, and a later one succeeds. */
static void test_every_failure(void)
{
	const uint64_t size = 5ull * WINDOW_SIZE + 4096;
	struct blk *b = disk_of(size, 11, 512);
	bool all_failed = true, all_coded = true, all_recovered = true;
	unsigned n = 1, failures = 0;

	for (; n <= 200; n++) {
		struct sink *s = sink_new();
		struct sink_plan plan = {.nth = n};
		struct rig g;
		int r;

		sink_add_disk(s, 0, size);
		sink_set_plan(s, &plan);
		rig_init(&g, s, b, 2);
		r = rig_capture(&g);
		rig_done(&g);
		if (r == 0) {
			sink_free(s);
			break;
		}
		failures++;
		all_failed = all_failed && r == -EREMOTEIO &&
			     strcmp(g.err.msg, "failed as planned") == 0 && !sink_is_sealed(s, 0);
		all_coded = all_coded && strcmp(g.code, "conflict") == 0;
		rig_init(&g, s, b, 2);
		all_recovered = all_recovered && rig_capture(&g) == 0 && image_equals(s, b) &&
				sink_breach(s)[0] == '\0';
		rig_done(&g);
		sink_free(s);
	}
	printf("# %u operations failed in turn\n", failures);
	ok(failures >= 10 && failures < 200, "there were operations to fail, and an end of them");
	ok(all_failed, "each failure ends the capture with its sentence");
	ok(all_coded, "and its code");
	ok(all_recovered, "and the next capture succeeds");
	blk_free(b);
}

/* A server that loses what it acknowledged. */
static void test_losses(void)
{
	struct sink *s = sink_new();
	struct blk *b = disk_of(SIZE, 13, 512);
	struct sink_plan plan = {.lose_after = 15};
	struct rig g;

	sink_add_disk(s, 0, SIZE);
	sink_set_plan(s, &plan);
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0, "a server that loses chunks on the way");
	if (g.result.passes < 2)
		printf("# %u passes\n", g.result.passes);
	ok(g.result.passes > 1, "costs another pass");
	ok(image_equals(s, b), "the image is the disk");
	ok(sink_breach(s)[0] == '\0', "by the rules");
	ok(job_get_progress(&g.job).done == SIZE, "and progress ends at the disk's size");
	rig_done(&g);

	/* all windows known to it, but some node gone, and a chunk of another */
	ok(sink_drop_node(s, 3) && sink_drop_chunk(s, 50), "lose a node and a chunk");
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == 0, "a server that names missing windows");
	ok(image_equals(s, b), "the image is the disk");
	rig_done(&g);

	sink_set_plan(s, &(struct sink_plan){.always_incomplete = true});
	sink_add_disk(s, 0, SIZE);
	rig_init(&g, s, b, 3);
	ok(rig_capture(&g) == -ESTALE && strcmp(g.code, "incomplete") == 0,
	   "a server that always loses is given up");
	ok(strstr(g.err.msg, "it loses what it acknowledges") != NULL, "with a sentence");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

static void test_bad_places(uint32_t sector_size)
{
	struct sink *s = sink_new();
	struct blk_fault_plan plan = {.bad = {{4096ull * 100, sector_size, 0},
					      {5ull * WINDOW_SIZE + 1000 * 4096, 20000, 0},
					      {SIZE / 4096 * 4096, 1, 0}},
				      .bad_len = 3};
	struct blk *b =
		blk_fault_new(disk_of(SIZE / sector_size * sector_size, 17, sector_size), &plan);
	uint64_t size = blk_size(b);
	uint8_t *image, *disk = rig_make_disk(size, 17);
	struct rig g;
	const struct extents *bad;

	sink_add_disk(s, 0, size);
	rig_init(&g, s, b, 2);
	bad = &g.source.unreadable;
	ok(rig_capture(&g) == 0, "bad places do not stop a capture");
	if (!ok(bad->len >= 2, "bad places are listed"))
		exit(done()); /* NOLINT(concurrency-mt-unsafe): no other thread now */
	ok(bad->items[0].offset == 4096ull * 100 && bad->items[0].length == sector_size,
	   "one bad sector costs itself alone");
	ok(bad->items[1].offset <= 5ull * WINDOW_SIZE + 1000 * 4096 &&
		   bad->items[1].length >= 20000 && bad->items[1].length < 20000 + 2 * sector_size,
	   "a run of them no more than its sectors");
	for (size_t i = 0; i < bad->len; i++)
		memset(disk + bad->items[i].offset, 0, bad->items[i].length);
	image = sink_read_disk(s, 0);
	ok(image && memcmp(image, disk, size) == 0, "all else is there, and these are zeros");
	ok(sink_is_sealed(s, 0) && sink_breach(s)[0] == '\0', "the root tells of them");
	free(image);
	free(disk);
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

static void test_cancelled(void)
{
	struct sink *s = sink_new();
	struct blk *b = disk_of(4096, 1, 512);
	struct rig g;

	rig_init(&g, s, b, 1);
	job_stop(&g.job, JOB_CANCELLED);
	ok(rig_capture(&g) == -ECANCELED && strcmp(g.err.msg, "the job was cancelled") == 0,
	   "a cancelled job does nothing");
	ok(sink_get_stats(s).lacks == 0, "not even ask");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

static void *capture(void *arg)
{
	(void)rig_capture(arg);
	return NULL;
}

/* Packs are on their way side by side, and what is acknowledged in another order is as good. */
static void test_senders(unsigned workers)
{
	struct sink *s = sink_new();
	struct blk *b = disk_of(SIZE, 29, 512);
	struct sink_plan plan = {.hold = capture_senders(workers)};
	struct rig g;

	sink_add_disk(s, 0, SIZE);
	sink_set_plan(s, &plan);
	rig_init(&g, s, b, workers);
	ok(rig_capture(&g) == 0 && image_equals(s, b) && sink_breach(s)[0] == '\0' &&
		   g.result.passes == 1,
	   "as many packs at once as there are senders");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* A server that takes no pack: nothing counts as done, memory is not filled, and whatever ends the job ends it, though all wait. */
static void test_stuck(unsigned workers, bool is_disk_gone)
{
	struct sink *s = sink_new();
	/* in the third window, which is read before all wait */
	struct blk_fault_plan fault = {.ops = is_disk_gone ? BLK_FAULT_READ : 0,
				       .nth = is_disk_gone ? 10 : 0,
				       .from_there = true,
				       .code = -ENODEV};
	struct blk *b = blk_fault_new(disk_of(SIZE, 31, 512), &fault);
	struct sink_plan plan = {.hold = UINT32_MAX};
	struct sink_stats stats;
	struct rig g;
	pthread_t t;

	sink_add_disk(s, 0, SIZE);
	sink_set_plan(s, &plan);
	rig_init(&g, s, b, workers);
	if (pthread_create(&t, NULL, capture, &g) != 0)
		abort();
	if (!is_disk_gone) {
		ok(sink_wait_held(s, capture_senders(workers), 60), "all senders are stuck");
		job_stop(&g.job, JOB_CANCELLED);
	}
	(void)pthread_join(t, NULL);
	stats = sink_get_stats(s);
	if (is_disk_gone) {
		ok(g.err.code == -ENODEV && strcmp(g.code, "disk_gone") == 0,
		   "a disk that goes away meanwhile is what is reported");
	} else {
		ok(g.err.code == -ECANCELED && g.code[0] == '\0', "and the job is cancelled");
		ok(g.source.bytes_read <= (workers * 4 + 1ull) * WINDOW_SIZE,
		   "the disk was not read far ahead");
	}
	ok(stats.chunks == 0 && stats.node_packs == 0 && job_get_progress(&g.job).sent == 0,
	   "nothing was acknowledged, and nothing counts as sent");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* Blocks that are not in use are not read and count as zeros. */
static void test_usage(void)
{
	const uint64_t size = 8ull * WINDOW_SIZE;
	struct extent used[] = {{0, 4096},
				{4096 * 3 + 512, 1024},
				{WINDOW_SIZE - 512, 1024},
				{3ull * WINDOW_SIZE, WINDOW_SIZE},
				{size - 512, 512}};
	struct sink *s = sink_new();
	struct blk_fault_plan none = {0};
	struct blk *b = blk_fault_new(disk_of(size, 23, 512), &none);
	uint8_t *disk = rig_make_disk(size, 23), *want = calloc(1, size), *image;
	struct rig g;

	for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
		memcpy(want + used[i].offset, disk + used[i].offset, used[i].length);
	sink_add_disk(s, 0, size);
	rig_init(&g, s, b, 2);
	used_done(&g.used);
	g.used = (struct used){malloc(sizeof(used)), sizeof(used) / sizeof(used[0])};
	memcpy(g.used.extents, used, sizeof(used));
	ok(rig_capture(&g) == 0, "a disk of which little is in use");
	image = sink_read_disk(s, 0);
	ok(image && memcmp(image, want, size) == 0, "what is not in use is zeros");
	ok(blk_fault_get_stats(b).read_size < WINDOW_SIZE + 8 * 4096, "and is not read");
	ok(job_get_progress(&g.job).done == used_bytes(&g.used), "progress counts what is in use");
	free(image);
	free(disk);
	free(want);
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* Some used extents of a disk of `size` bytes at random, down to sectors. */
static struct used random_used(uint64_t size, uint64_t seed)
{
	enum { MAX = 400 };
	struct used u = {calloc(MAX, sizeof(struct extent)), 0};
	uint64_t x = seed * 2 + 1, at = 0;

	while (u.len < MAX) {
		uint64_t gap = rig_random(&x) % (seed % 2 ? 40 : 4000) + 1;
		uint64_t length = rig_random(&x) % 300 + 1;

		at += (gap + (rig_random(&x) % 50 == 0 ? 20000 : 0)) * 512;
		if (at >= size)
			break;
		if (length * 512 > size - at)
			length = (size - at) / 512;
		u.extents[u.len++] = (struct extent){at, length * 512};
		at += length * 512;
	}
	return u;
}

/* Whatever is in use: the image is the disk with zeros for the rest, and only short gaps are read besides. */
static void test_random_usage(bool is_serial, unsigned bad_len)
{
	bool same = true, little = true, listed = true;
	uint64_t skipped = 0, unreadable = 0;

	for (uint64_t seed = 1; seed <= 12; seed++) {
		/* larger sectors than extents: what is given up is part of them */
		const uint32_t sector_size = bad_len ? 4096 : 512;
		const uint64_t size = 7ull * WINDOW_SIZE + sector_size * (seed + 5);
		struct blk_fault_plan plan = {.bad_len = bad_len};
		uint8_t *disk = rig_make_disk(size, seed), *want = calloc(1, size), *image;
		struct sink *s = sink_new();
		struct used u = random_used(size, seed);
		uint64_t gaps = 0, gap_max = is_serial ? 1 << 20 : 256 << 10;
		struct blk *b;
		struct rig g;

		for (unsigned i = 0; i < bad_len; i++) {
			plan.bad[i].offset = size / (bad_len + 1) * (i + 1) / 512 * 512;
			plan.bad[i].size = 512 * 300; /* over used and free places */
		}
		b = blk_fault_new(blk_new_memory(disk, size, sector_size), &plan);
		sink_add_disk(s, 0, size);
		rig_init(&g, s, b, 3);
		source_done(&g.source);
		used_done(&g.used);
		g.used = u;
		source_init(&g.source, b, &g.used, is_serial);
		same = same && rig_capture(&g) == 0;
		for (size_t i = 0; i < u.len; i++) {
			uint64_t from = i ? u.extents[i - 1].offset + u.extents[i - 1].length : 0;

			memcpy(want + u.extents[i].offset, disk + u.extents[i].offset,
			       u.extents[i].length);
			gaps += u.extents[i].offset - from <= gap_max ? u.extents[i].offset - from
								      : 0;
		}
		for (size_t i = 0; i < g.source.unreadable.len; i++) {
			const struct extent *e = &g.source.unreadable.items[i];

			memset(want + e->offset, 0, e->length);
			listed = listed && used_within(&u, e->offset, e->length) == e->length;
		}
		unreadable += g.source.unreadable.len;
		image = sink_read_disk(s, 0);
		same = same && image && memcmp(image, want, size) == 0 && sink_breach(s)[0] == '\0';
		/* what fails is read again */
		little = little && g.source.bytes_read <= used_bytes(&u) + gaps + u.len * 8192 +
								  2ull * bad_len * WINDOW_SIZE;
		skipped += size - g.source.bytes_read;
		free(image);
		free(want);
		rig_done(&g);
		blk_free(b);
		sink_free(s);
	}
	ok(same, "the image is the disk with zeros for what is free");
	ok(little && skipped > 100ull << 20, "only short gaps are read besides");
	ok(listed && (unreadable > 0) == (bad_len > 0),
	   bad_len ? "only what is in use is listed as unreadable" : "nothing is unreadable");
}

/* A little in each of more groups than the ledger can have open: it takes more rounds, but no window is read twice. */
static void test_many_groups(unsigned workers)
{
	const uint64_t groups = LEDGER_OPEN_MAX + 60, size = groups * GROUP_WINDOWS * WINDOW_SIZE;
	char path[] = "/tmp/test_capture.XXXXXX";
	int fd = mkstemp(path);
	struct sink *s = sink_new();
	struct blk *b = NULL;
	struct rig g;
	struct err err;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		abort();
	for (uint64_t i = 1; i <= groups; i++) {
		if (pwrite(fd, &i, sizeof(i),
			   (off_t)(((i - 1) * GROUP_WINDOWS + 1 + i % 200) * WINDOW_SIZE + 4096)) <
		    0)
			abort();
	}
	(void)close(fd);
	if (blk_open_file(path, BLK_READ, 0, 512, &b, &err) < 0)
		abort();
	(void)unlink(path);
	sink_add_disk(s, 0, size);
	rig_init(&g, s, b, workers);
	ok(rig_capture(&g) == 0 && sink_is_sealed(s, 0) && sink_breach(s)[0] == '\0',
	   "a little in each of many groups");
	printf("# %s%s, %u puts\n", g.err.msg, sink_breach(s), sink_get_stats(s).windows_puts);
	ok(g.result.passes == 1 && sink_get_stats(s).windows == window_count(size) &&
		   g.source.bytes_read == groups * WINDOW_SIZE,
	   "is read and sent once");
	ok(sink_get_stats(s).windows_puts > 1, "though not in one go");
	ok(job_get_progress(&g.job).done == size && g.result.data_bytes == groups * 4096,
	   "and adds up");
	rig_done(&g);
	blk_free(b);
	sink_free(s);
}

/* What a server says it takes, and what it is then sent. */
static void test_codecs(void)
{
	static const struct {
		const char *info;
		enum codec codec;
	} servers[] = {
		{"{\"codecs\":[\"stored\",\"zlib\",\"zstd\"]}", CODEC_ZSTD},
		{"{\"codecs\":[\"zstd\",\"zlib\"]}", CODEC_ZSTD},
		{"{\"codecs\":[\"stored\",\"zlib\",\"br\",7]}", CODEC_ZLIB},
		{"{\"codecs\":[\"stored\"]}", CODEC_STORED},
		{"{}", CODEC_ZLIB},
	};

	for (size_t i = 0; i < sizeof(servers) / sizeof(*servers); i++) {
		json_t *info = json_loads(servers[i].info, 0, NULL);
		struct sink *s = sink_new();
		struct blk *b = disk_of(SIZE, 9, 512);
		enum codec codec = wire_codec_decode(info);
		struct sink_stats stats;
		struct rig g;

		ok(codec == servers[i].codec, servers[i].info);
		sink_add_disk(s, 0, SIZE);
		rig_init(&g, s, b, 2);
		g.codec = codec;
		g.level = 0;
		ok(rig_capture(&g) == 0 && image_equals(s, b) && sink_breach(s)[0] == '\0',
		   "captured by that, the level being its own choice");
		stats = sink_get_stats(s);
		ok((codec == CODEC_STORED || stats.by_codec[codec] > 0) &&
			   (codec == CODEC_ZSTD || stats.by_codec[CODEC_ZSTD] == 0) &&
			   (codec == CODEC_ZLIB || stats.by_codec[CODEC_ZLIB] == 0),
		   "nothing is sent that it does not take");
		rig_done(&g);
		blk_free(b);
		sink_free(s);
		json_decref(info);
	}
}

int main(void)
{
	test_codecs();
	test_whole(512, 512, 1);
	test_whole(4096, 4096, 1);
	test_whole(WINDOW_SIZE, 512, 2);
	test_whole(SIZE, 512, 1);
	test_whole(SIZE, 512, 4);
	test_whole(SIZE / 4096 * 4096, 4096, 8);
	test_again();
	test_packs_end_with_windows();
	test_resume();
	test_every_failure();
	test_losses();
	test_bad_places(512);
	test_bad_places(4096);
	test_cancelled();
	test_senders(1);
	test_senders(3);
	test_senders(8);
	test_stuck(1, false);
	test_stuck(4, false);
	test_stuck(3, true);
	test_usage();
	test_many_groups(3);
	test_random_usage(false, 0);
	test_random_usage(true, 0);
	test_random_usage(false, 5);
	return done();
}
