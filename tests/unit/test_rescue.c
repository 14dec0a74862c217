/* Sick disks: everything that can be read is captured, what cannot is told exactly, and a disk that is gone is not taken for one with bad places. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture.h"
#include "agent/clock.h"
#include "agent/ledger.h"
#include "agent/rescue_work.h"
#include "tests/lib/blk_fault.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

#define SIZE	 (9u * WINDOW_SIZE + 5 * 4096 + 512 * 3)
#define DISK_MAX (16u * WINDOW_SIZE)

static struct blk_fault_plan plan; /* 12 KiB */

/* A capture of a disk that fails by `plan`. */
struct
try {
	struct sink *sink;
	struct blk *blk;
	uint8_t *disk; /* what is on it */
	uint64_t size;
	struct rig g;
};

/* The beginning of one disk: to make it takes longer than to capture it. */
static uint8_t *copy_content(uint64_t size)
{
	static uint8_t *content;
	uint8_t *copy = malloc(size);

	if (!content)
		content = rig_make_disk(DISK_MAX, 7);
	if (!copy || size > DISK_MAX)
		abort();
	return memcpy(copy, content, size);
}

static void try_init_used(struct try *t, uint64_t size, uint32_t sector_size, unsigned workers,
			  struct used used)
{
	t->size = size;
	t->disk = copy_content(size);
	t->sink = sink_new();
	t->blk = blk_fault_new(blk_new_memory(copy_content(size), size, sector_size), &plan);
	sink_add_disk(t->sink, 0, size);
	rig_init(&t->g, t->sink, t->blk, workers);
	if (!used.extents)
		return;
	used_done(&t->g.used);
	t->g.used = used;
}

static void try_init(struct try *t, uint64_t size, uint32_t sector_size)
{
	try_init_used(t, size, sector_size, 3, (struct used){0});
}

static void try_done(struct try *t)
{
	rig_done(&t->g);
	blk_free(t->blk);
	sink_free(t->sink);
	free(t->disk);
}

static const struct extents *lost_of(const struct try *t)
{
	return &t->g.source.unreadable;
}

/* The image is sealed, and is the disk but for zeros at the places listed and at those not in use. */
static bool image_is_right(struct try *t)
{
	uint8_t *image = sink_read_disk(t->sink, 0), *want = calloc(1, t->size);
	const struct used *u = &t->g.used;
	bool right;

	for (size_t i = 0; i < u->len; i++)
		memcpy(want + u->extents[i].offset, t->disk + u->extents[i].offset,
		       u->extents[i].length);
	for (size_t i = 0; i < lost_of(t)->len; i++)
		memset(want + lost_of(t)->items[i].offset, 0, lost_of(t)->items[i].length);
	right = image && memcmp(image, want, t->size) == 0 && sink_is_sealed(t->sink, 0) &&
		sink_breach(t->sink)[0] == '\0';
	free(image);
	free(want);
	return right;
}

static bool lost_is(const struct try *t, const struct extent *want, size_t len)
{
	const struct extents *l = lost_of(t);
	bool same = l->len == len;

	for (size_t i = 0; same && i < len; i++)
		same = l->items[i].offset == want[i].offset && l->items[i].length == want[i].length;
	for (size_t i = 0; !same && i < l->len; i++)
		printf("# lost: %llu %llu\n", (unsigned long long)l->items[i].offset,
		       (unsigned long long)l->items[i].length);
	return same;
}

/* What is bad is lost, and nothing else; each with every count of memory. */
static void test_places(const char *name, const struct extent *bad, size_t len,
			uint32_t sector_size)
{
	plan = (struct blk_fault_plan){.bad_len = (unsigned)len};
	for (size_t i = 0; i < len; i++) {
		plan.bad[i].offset = bad[i].offset;
		plan.bad[i].size = bad[i].length;
	}
	for (size_t windows = 1; windows <= 4; windows += 3) {
		struct try t;
		struct job_progress p;

		try_init(&t, SIZE / sector_size * sector_size, sector_size);
		t.g.rescue.windows = windows;
		printf("# %s, %zu windows at once\n", name, windows);
		ok(rig_capture(&t.g) == 0, "captured");
		if (t.g.err.msg[0])
			printf("# %s\n", t.g.err.msg);
		ok(lost_is(&t, bad, len), "exactly these places are lost");
		ok(image_is_right(&t), "all else is in the image, and they are zeros");
		p = job_get_progress(&t.g.job);
		ok(p.done == t.size && p.data == t.g.result.data_bytes && p.sick == 0 &&
			   p.unreadable == extents_bytes(lost_of(&t)) && p.read_errors > 0,
		   "progress adds up");
		ok(t.g.result.passes == 1, "and no pass is counted but the one");
		try_done(&t);
	}
}

static void test_patterns(void)
{
	const uint64_t w = WINDOW_SIZE;
	const struct extent one[] = {{4096ull * 100, 512}};
	const struct extent edges[] = {{0, 512}, {w - 512, 1024}, {5 * w, 512}, {7 * w - 512, 512}};
	const struct extent whole[] = {{6 * w, w}};
	const struct extent many[] = {{3 * w + 512, 512},
				      {3 * w + 1536, 512},
				      {3 * w + 70000 / 512 * 512, 40960},
				      {4 * w + w / 2, 3 * w}};
	const struct extent end[] = {{SIZE - 512, 512}};
	const struct extent coarse[] = {{8192, 4096}, {8 * w - 4096, 12288}};

	test_places("one sector", one, 1, 512);
	test_places("edges of windows", edges, 4, 512);
	test_places("a whole window", whole, 1, 512);
	test_places("many", many, 4, 512);
	test_places("the end", end, 1, 512);
	test_places("sectors of 4096", coarse, 2, 4096);
}

/* The rest of the disk has been read before a bad place is tried for the second time. */
static void test_order(void)
{
	struct try t;
	struct blk_fault_stats stats;

	plan = (struct blk_fault_plan){.bad_len = 1};
	plan.bad[0].offset = 2ull * WINDOW_SIZE + 8192;
	plan.bad[0].size = 512;
	try_init(&t, SIZE, 512);
	/* the second try is refused by the job's end: until then only the first failed */
	t.g.rescue.total_ms = t.g.rescue.area_ms = 0;
	ok(rig_capture(&t.g) == 0, "a disk for which there is no time");
	stats = blk_fault_get_stats(t.blk);
	ok(t.g.source.errors == 1, "its bad place was tried once");
	ok(lost_is(&t, (struct extent[]){{2ull * WINDOW_SIZE, WINDOW_SIZE}}, 1) &&
		   image_is_right(&t),
	   "what was not tried any more is lost, and told");
	ok(stats.read_size >= SIZE - 2 * WINDOW_SIZE, "all else was read");
	try_done(&t);
}

/* A dead zone, and no time: what lies behind it in an area that was leapt over is read all the same. */
static void test_gaps(void)
{
	const struct extent dead = {WINDOW_SIZE, 9ull * WINDOW_SIZE};
	struct try t;

	for (unsigned workers = 1; workers <= 3; workers++) {
		plan = (struct blk_fault_plan){.bad_len = 1};
		plan.bad[0].offset = dead.offset;
		plan.bad[0].size = dead.length;
		try_init_used(&t, DISK_MAX, 512, workers, (struct used){0});
		t.g.rescue.total_ms = t.g.rescue.area_ms = 0;
		ok(rig_capture(&t.g) == 0, "a dead zone");
		ok(lost_is(&t, &dead, 1) && image_is_right(&t), "only what is dead is lost");
		try_done(&t);
	}
}

struct look {
	struct try *t;
	uint64_t reads; /* when the first place was called lost */
};

static int look(void *ctx, struct err *err)
{
	struct look *l = ctx;

	(void)err;
	if (l->reads == 0)
		l->reads = blk_fault_get_stats(l->t->blk).reads;
	return 0;
}

/* A sparse file, with a page in use in windows 3 and 7 of each group. */
static struct blk *open_groups(uint64_t groups, struct used *ret)
{
	char path[] = "/tmp/test_rescue.XXXXXX";
	struct extent *e = calloc(2 * groups, sizeof(*e));
	struct blk *b = NULL;
	struct err err;
	int fd = mkstemp(path);

	if (!e || fd < 0 || ftruncate(fd, (off_t)(groups * GROUP_WINDOWS * WINDOW_SIZE)) < 0 ||
	    blk_open_file(path, BLK_READ, 0, 512, &b, &err) < 0)
		abort();
	(void)unlink(path);
	for (uint64_t i = 0; i < 2 * groups; i++) {
		uint64_t w = i / 2 * GROUP_WINDOWS + (i % 2 ? 7 : 3), x = i + 1;

		e[i] = (struct extent){w * WINDOW_SIZE, 4096};
		if (pwrite(fd, &x, sizeof(x), (off_t)(w * WINDOW_SIZE)) != sizeof(x))
			abort();
	}
	(void)close(fd);
	*ret = (struct used){e, 2 * groups};
	return b;
}

/* Sick places in more groups than the ledger has room for: still all else comes first. */
static void test_many_groups(void)
{
	const uint64_t groups = LEDGER_OPEN_MAX + 40;
	const uint64_t size = groups * GROUP_WINDOWS * WINDOW_SIZE;
	struct try t = {.sink = sink_new(), .size = size};
	struct look l = {.t = &t};
	struct used used;
	struct blk *b = open_groups(groups, &used);

	plan = (struct blk_fault_plan){.bad_len = (unsigned)groups};
	for (uint64_t i = 0; i < groups; i++) {
		plan.bad[i].offset = used.extents[2 * i].offset;
		plan.bad[i].size = 4096;
	}
	t.blk = blk_fault_new(b, &plan);
	sink_add_disk(t.sink, 0, size);
	rig_init(&t.g, t.sink, t.blk, 1);
	used_done(&t.g.used);
	t.g.used = used;
	t.g.rescue.windows = 16;
	t.g.rescue.total_ms = t.g.rescue.area_ms = 0;
	t.g.rescue.check = look;
	t.g.rescue.ctx = &l;
	ok(rig_capture(&t.g) == 0 && sink_is_sealed(t.sink, 0) && sink_breach(t.sink)[0] == '\0',
	   "a disk with a sick place in each of many groups");
	printf("# %s, %llu reads\n", t.g.err.msg, (unsigned long long)l.reads);
	ok(l.reads >= 2 * groups, "all of them are read before the first is given up");
	ok(extents_bytes(lost_of(&t)) == groups * 4096, "and only those are lost");
	try_done(&t);
}

static void test_second_try(void)
{
	struct try t;

	for (unsigned fails = 1; fails <= 9; fails += 4) {
		plan = (struct blk_fault_plan){.bad_len = 2};
		plan.bad[0].offset = 3ull * WINDOW_SIZE + 1024;
		plan.bad[1].offset = 8ull * WINDOW_SIZE - 512;
		plan.bad[0].size = plan.bad[1].size = 1024;
		plan.bad[0].fails = plan.bad[1].fails = fails;
		try_init(&t, SIZE, 512);
		t.g.rescue.retries = 5;
		ok(rig_capture(&t.g) == 0 && lost_of(&t)->len == 0 && image_is_right(&t),
		   "errors that go away lose nothing");
		ok(t.g.source.errors > 0 && job_get_progress(&t.g.job).unreadable == 0,
		   "and are counted");
		try_done(&t);
	}
}

/* Each failing read takes its time: limits hold, for a window and for the disk, and what is left over is told. */
static void test_slow(void)
{
	struct try t;
	uint64_t start;

	plan = (struct blk_fault_plan){.bad_len = 2, .bad_ms = 20};
	plan.bad[0].offset = 2ull * WINDOW_SIZE;
	plan.bad[0].size = 4ull * WINDOW_SIZE;
	plan.bad[1].offset = 8ull * WINDOW_SIZE + 4096;
	plan.bad[1].size = 512;
	try_init(&t, SIZE, 512);
	t.g.rescue.area_ms = 300;
	t.g.rescue.total_ms = 1500;
	t.g.rescue.windows = 4;
	start = clock_ms();
	ok(rig_capture(&t.g) == 0 && image_is_right(&t), "a disk that fails slowly");
	ok(clock_ms() - start < 60000 && t.g.source.errors < 150,
	   "ends in time"); /* 32768 sectors by 20 ms would be eleven minutes */
	printf("# %llu errors\n", (unsigned long long)t.g.source.errors);
	ok(extents_bytes(lost_of(&t)) >= 4ull * WINDOW_SIZE &&
		   extents_bytes(lost_of(&t)) <= 6ull * WINDOW_SIZE,
	   "and loses little more than what is bad");
	try_done(&t);
}

/* Workers that wait for one another, or fail at the same time, do not use up the disk's time for each of them. */
static void test_shared_time(bool is_serial, uint64_t total_ms)
{
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 6, .bad_ms = 150};
	for (unsigned i = 0; i < plan.bad_len; i++) {
		plan.bad[i].offset = (i + 1ull) * WINDOW_SIZE + 8192;
		plan.bad[i].size = 512;
		plan.bad[i].fails = 1;
	}
	try_init_used(&t, SIZE, 512, 8, (struct used){0});
	t.g.source.is_serial = is_serial;
	t.g.rescue.total_ms = total_ms;
	ok(rig_capture(&t.g) == 0 && lost_of(&t)->len == 0 && image_is_right(&t),
	   is_serial ? "the time of those that wait for a failing read does not count"
		     : "the time of reads that fail together counts once");
	try_done(&t);
}

static void test_vanishing(int code, const char *why, const char *says)
{
	for (unsigned bad = 0; bad < 2; bad++) {
		struct try t;

		plan = (struct blk_fault_plan){.ops = BLK_FAULT_READ,
					       .nth = 30,
					       .from_there = true,
					       .code = code,
					       .bad_len = bad};
		plan.bad[0].offset = WINDOW_SIZE;
		plan.bad[0].size = 65536;
		try_init(&t, SIZE, 512);
		ok(rig_capture(&t.g) < 0 && strcmp(t.g.code, "disk_gone") == 0, why);
		printf("# %s: %s\n", t.g.code, t.g.err.msg);
		ok(strstr(t.g.err.msg, says) && strstr(t.g.err.msg, "at byte"), "and says where");
		ok(!sink_is_sealed(t.sink, 0), "and nothing is sealed");
		ok(t.g.source.errors < 100, "after a few tries");
		/* it comes back */
		plan = (struct blk_fault_plan){0};
		blk_fault_set_plan(t.blk, &plan);
		rig_done(&t.g);
		sink_clear_stats(t.sink);
		rig_init(&t.g, t.sink, t.blk, 2);
		ok(rig_capture(&t.g) == 0 && image_is_right(&t),
		   "when it is back, all is captured");
		ok(sink_get_stats(t.sink).chunks_again == 0, "and what is there is not sent again");
		try_done(&t);
	}
}

static void test_nothing(void)
{
	struct try t;

	plan = (struct blk_fault_plan){
		.ops = BLK_FAULT_READ, .nth = 1, .from_there = true, .code = -EIO};
	try_init(&t, SIZE, 512);
	ok(rig_capture(&t.g) == -EIO && strcmp(t.g.code, "read_error") == 0,
	   "a disk of which nothing can be read fails");
	ok(strstr(t.g.err.msg, "nothing of disk 'memory' can be read") != NULL, "with a sentence");
	ok(!sink_is_sealed(t.sink, 0) && t.g.source.errors < 100, "soon");
	try_done(&t);
}

static int say_gone(void *ctx, struct err *err)
{
	++*(unsigned *)ctx;
	return err_set(err, -ENODEV, "it was pulled out");
}

/* Whoever knows whether the disk is there is asked before anything of it is called lost. */
static void test_check(void)
{
	unsigned asked = 0;
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 1};
	plan.bad[0].offset = 8192;
	plan.bad[0].size = 512;
	try_init(&t, SIZE, 512);
	t.g.rescue.check = say_gone;
	t.g.rescue.ctx = &asked;
	ok(rig_capture(&t.g) == -ENODEV && strcmp(t.g.code, "disk_gone") == 0 && asked == 1 &&
		   strcmp(t.g.err.msg, "it was pulled out") == 0,
	   "a disk that is gone has no bad places");
	try_done(&t);
}

/* Sectors that were saved between bad ones show that the disk is alive, though their neighbours fail. */
static void test_dense(void)
{
	struct extent *e = calloc(1, sizeof(*e));
	struct try t;

	e[0] = (struct extent){0, 65536};
	plan = (struct blk_fault_plan){.bad_len = 64};
	for (unsigned i = 0; i < 64; i++) {
		plan.bad[i].offset = i * 1024ull + 512;
		plan.bad[i].size = 512;
	}
	try_init_used(&t, SIZE, 512, 1, (struct used){e, 1});
	ok(rig_capture(&t.g) == 0 && image_is_right(&t),
	   "a disk of which every other sector is bad");
	printf("# %s\n", t.g.err.msg);
	ok(lost_of(&t)->len == 64 && extents_bytes(lost_of(&t)) == 32768, "lacks just those");
	try_done(&t);
}

static int count_asked(void *ctx, struct err *err)
{
	(void)err;
	++*(unsigned *)ctx;
	return 0;
}

/* What is lost of a window that is read again, behind what was lost of it before, is no less asked about. */
static void test_lost_again(void)
{
	unsigned asked = 0;
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 1};
	plan.bad[0].offset = 4096;
	plan.bad[0].size = 512;
	try_init(&t, SIZE, 512);
	t.g.rescue.check = count_asked;
	t.g.rescue.ctx = &asked;
	ok(rig_capture(&t.g) == 0 && asked == 1, "a place was lost");
	plan.bad_len = 2;
	plan.bad[1].offset = 65536;
	plan.bad[1].size = 512;
	blk_fault_set_plan(t.blk, &plan);
	for (unsigned i = 0; i < 8; i++)
		ok(sink_drop_node(t.sink, 0), "forget a window");
	ok(rig_capture(&t.g) == 0 && image_is_right(&t) && lost_of(&t)->len == 2,
	   "and another one when the window was read again");
	ok(asked == 2, "after it was asked whether the disk is there");
	try_done(&t);
}

/* The server loses what it had: what was lost before is not tried again, and stays on the list. */
static void test_losses(void)
{
	struct sink_plan lose = {.lose_after = 10};
	const struct extent bad[] = {{4096, 512}, {5ull * WINDOW_SIZE - 512, 2048}};
	uint64_t errors;
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 2};
	for (unsigned i = 0; i < 2; i++) {
		plan.bad[i].offset = bad[i].offset;
		plan.bad[i].size = bad[i].length;
	}
	try_init(&t, SIZE, 512);
	sink_set_plan(t.sink, &lose);
	ok(rig_capture(&t.g) == 0, "a server that loses chunks");
	ok(t.g.source.bytes_read > SIZE + 4ull * WINDOW_SIZE, "costs reading again");
	ok(lost_is(&t, bad, 2) && image_is_right(&t), "the image is right");
	ok(job_get_progress(&t.g.job).done == SIZE, "and progress ends at the disk's size");
	for (size_t i = 0; i < 8; i++)
		ok(sink_drop_node(t.sink, 0), "forget a window");
	errors = t.g.source.errors;
	ok(rig_capture(&t.g) == 0 && image_is_right(&t),
	   "windows with lost sectors are read again around those");
	ok(lost_is(&t, bad, 2) && t.g.source.errors == errors, "and nothing else is lost");
	try_done(&t);
}

/* Asked before the first place is called lost: the server forgets some windows, and one that was good fails, once. */
static int lose_and_fail(void *ctx, struct err *err)
{
	struct try *t = ctx;

	(void)err;
	if (plan.bad_len > 1)
		return 0;
	plan.bad_len = 2;
	plan.bad[1].offset = 5ull * WINDOW_SIZE;
	plan.bad[1].size = 512;
	plan.bad[1].fails = 1;
	blk_fault_set_plan(t->blk, &plan);
	for (size_t i = 0; i < 8; i++)
		ok(sink_drop_node(t->sink, i), "forget a window");
	return 0;
}

/* The server loses what it had when there is no time left for what is sick: what was read once is no less read again. */
static void test_losses_late(void)
{
	const struct extent bad = {2ull * WINDOW_SIZE + 65536, 512};
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 1, .bad_ms = 5};
	plan.bad[0].offset = bad.offset;
	plan.bad[0].size = bad.length;
	try_init(&t, SIZE, 512);
	t.g.rescue.retries = 1000;
	t.g.rescue.total_ms = t.g.rescue.area_ms = 500;
	t.g.rescue.check = lose_and_fail;
	t.g.rescue.ctx = &t;
	ok(rig_capture(&t.g) == 0 && t.g.result.passes > 1,
	   "a server that loses windows when the time is over");
	ok(lost_is(&t, &bad, 1) && image_is_right(&t), "no sector that was read is lost by that");
	try_done(&t);
}

/* A disk all of which is slow keeps its time for its bad places. */
static void test_slow_disk(void)
{
	const struct rescue_options options = {.total_ms = 10000, .area_ms = 10000, .windows = 1};
	uint64_t start = clock_ms() - 20000;
	struct rescue *r;
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 0};
	try_init(&t, SIZE, 512);
	r = rescue_new(&t.g.source, &t.g.job, &options);
	ok(rescue_note_success(r, 0, start, false) && !rescue_is_over(r),
	   "a slow read takes nothing of the time for what is sick");
	ok(rescue_note_success(r, 0, start, true) && rescue_is_over(r), "but in the passes");
	rescue_free(r);
	try_done(&t);
}

/* A server that refuses all for ever does so for a sick disk, too: it ends. */
static void test_refused(void)
{
	struct sink_plan refuse = {.always_incomplete = true};
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 1};
	plan.bad[0].offset = 4096;
	plan.bad[0].size = 512;
	try_init(&t, 3ull * WINDOW_SIZE, 512);
	sink_set_plan(t.sink, &refuse);
	ok(rig_capture(&t.g) == -ESTALE && strcmp(t.g.code, "incomplete") == 0,
	   "a server that refuses a window with losses for ever fails the job");
	printf("# %s\n", t.g.err.msg);
	try_done(&t);
}

static int by_offset(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Bad sectors at random: some alone, some in runs. */
static size_t random_bad(struct extent *bad, size_t max, uint64_t sectors, uint64_t *x)
{
	size_t n = 0, len = 0;

	for (; n < max; n++) {
		uint64_t kind = (rig_random(x) >> 50) % 8;
		uint64_t length = kind < 5 ? 1 : kind < 7 ? 1 + (rig_random(x) >> 40) % 300 : 9000;

		bad[n].offset = (rig_random(x) >> 20) % sectors;
		bad[n].length = length < sectors - bad[n].offset ? length : sectors - bad[n].offset;
	}
	qsort(bad, n, sizeof(*bad), by_offset);
	for (size_t i = 0; i < n; i++) { /* merge */
		uint64_t end = bad[i].offset + bad[i].length;

		if (len > 0 && bad[i].offset <= bad[len - 1].offset + bad[len - 1].length) {
			uint64_t last = bad[len - 1].offset + bad[len - 1].length;

			bad[len - 1].length = (end > last ? end : last) - bad[len - 1].offset;
		} else {
			bad[len++] = bad[i];
		}
	}
	return len;
}

/* Whatever is bad: every other sector is captured right, and every bad one is told, exactly. */
static void test_random(uint64_t seeds)
{
	enum { MAX = 40 };
	unsigned right = 0, exact = 0, clean = 0;

	for (uint64_t seed = 1; seed <= seeds; seed++) {
		uint64_t x = seed * 77 + 1, sector_size = seed % 3 ? 512 : 4096;
		uint64_t sectors = (7ull * WINDOW_SIZE + 81920) / sector_size + seed;
		struct extent bad[MAX];
		size_t len = random_bad(bad, 1 + seed % MAX, sectors, &x);
		struct try t;

		plan = (struct blk_fault_plan){.bad_len = (unsigned)len};
		for (size_t i = 0; i < len; i++) {
			plan.bad[i].offset = bad[i].offset *= sector_size;
			plan.bad[i].size = bad[i].length *= sector_size;
		}
		try_init_used(&t, sectors * sector_size, (uint32_t)sector_size, 1 + seed % 4,
			      (struct used){0});
		t.g.rescue.windows = 1 + seed % 5;
		t.g.source.is_serial = seed % 2;
		clean += rig_capture(&t.g) == 0;
		right += image_is_right(&t);
		exact += lost_is(&t, bad, len);
		try_done(&t);
	}
	printf("# of %llu: %u captured, %u right, %u exact\n", (unsigned long long)seeds, clean,
	       right, exact);
	ok(clean == seeds, "random bad sectors: captured");
	ok(right == seeds, "every other sector is right");
	ok(exact == seeds, "and the list is exact");
}

/* What is not in use is not read, so that it cannot fail. */
static void test_free_places(void)
{
	struct extent *e = calloc(2, sizeof(*e));
	struct try t;

	e[0] = (struct extent){0, 3ull * WINDOW_SIZE + 4096};
	e[1] = (struct extent){5ull * WINDOW_SIZE, 8192};
	plan = (struct blk_fault_plan){.bad_len = 2};
	plan.bad[0].offset = 4ull * WINDOW_SIZE;
	plan.bad[0].size = 4096;
	plan.bad[1].offset = 3ull * WINDOW_SIZE + 2048; /* the second half of it is free */
	plan.bad[1].size = 4096;
	try_init_used(&t, 8ull * WINDOW_SIZE, 512, 2, (struct used){e, 2});
	ok(rig_capture(&t.g) == 0 && image_is_right(&t), "a disk with bad places that are free");
	ok(lost_is(&t, (struct extent[]){{3ull * WINDOW_SIZE + 2048, 2048}}, 1),
	   "only what is in use is lost");
	try_done(&t);
}

static void test_cancel(void)
{
	struct try t;

	plan = (struct blk_fault_plan){.bad_len = 1, .bad_ms = 5};
	plan.bad[0].size = 4096;
	try_init(&t, SIZE, 512);
	t.g.rescue.retries = 1000000;
	t.g.rescue.total_ms = t.g.rescue.area_ms = 1000;
	ok(rig_capture(&t.g) == 0 && lost_of(&t)->len == 1, "retries end when the time is over");
	try_done(&t);
	try_init(&t, SIZE, 512);
	job_stop(&t.g.job, JOB_CANCELLED);
	ok(rig_capture(&t.g) == -ECANCELED, "a cancelled job is cancelled");
	try_done(&t);
}

int main(void)
{
	test_patterns();
	test_order();
	test_gaps();
	test_many_groups();
	test_second_try();
	test_slow();
	test_shared_time(true, 2000);
	test_shared_time(false, 850);
	test_vanishing(-ENODEV, "a disk that is gone ends the capture", "No such device");
	test_vanishing(-ENXIO, "so does one without an address", "No such device or address");
	test_vanishing(-EIO, "so does one that only fails from some moment on",
		       "does not answer any more");
	test_nothing();
	test_check();
	test_dense();
	test_lost_again();
	test_losses();
	test_losses_late();
	test_slow_disk();
	test_refused();
	test_free_places();
	test_cancel();
	test_random(16);
	return done();
}
