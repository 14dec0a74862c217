/* The restore engine against a server in memory that holds a captured disk. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "agent/restore.h"
#include "common/cleanup.h"
#include "common/node.h"
#include "common/root.h"
#include "tests/lib/blk_fault.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

#define SIZE (9u * WINDOW_SIZE + 5 * 4096 + 512 * 3)

#define FREE (4u * WINDOW_SIZE) /* there is a window of zeros */

static struct sink *sink; /* holds the image of `image` */
static uint8_t *image;	  /* SIZE bytes */
static struct order_disk order;

static void capture(uint64_t seed)
{
	uint8_t *copy;
	struct blk *b;
	struct rig g;

	image = rig_make_disk(SIZE, seed);
	memset(image + FREE, 0, WINDOW_SIZE);
	copy = malloc(SIZE);
	if (!copy)
		abort();
	memcpy(copy, image, SIZE);
	b = blk_new_memory(copy, SIZE, 512);
	sink = sink_new();
	sink_add_disk(sink, 0, SIZE);
	rig_init(&g, sink, b, 2);
	ok(rig_capture(&g) == 0, "an image to restore");
	order = (struct order_disk){.source_disk = "wwn:x",
				    .source = {SIZE, 512, 512},
				    .root = g.result.root,
				    .data_bytes = g.result.data_bytes};
	rig_done(&g);
	blk_free(b);
}

struct restored {
	int write, verify; /* results */
	struct id root;	   /* of what was read again */
	struct restore_counts counts;
	struct err err;
	char code[JOB_CODE_SIZE];
	struct job_progress written, verified;
};

static bool target_is_serial;
static uint32_t
	verify_as; /* physical sector size that the image is said to have once it is written */

static struct restored restore_to(struct blk *target, unsigned workers)
{
	struct restored x = {.write = -1, .verify = -1};
	struct peer *peers[RIG_WORKERS_MAX];
	struct job job;
	struct restore *r = NULL;
	struct restore_setup setup = {.job = &job,
				      .order = &order,
				      .target = target,
				      .is_serial = target_is_serial,
				      .peers = peers,
				      .workers = workers};

	job_init(&job, "0123456789abcdef");
	for (unsigned i = 0; i < workers; i++)
		peers[i] = sink_peer(sink);
	job_set_peers(&job, peers, workers);
	x.write = restore_new(&setup, &r, &x.err);
	job_start_phase(&job, PHASE_RESTORE, SIZE);
	if (x.write == 0)
		x.write = restore_write(r, &x.counts, &x.err);
	x.written = job_get_progress(&job);
	if (verify_as)
		order.source.physical_sector_size = verify_as;
	job_start_phase(&job, PHASE_VERIFY, SIZE);
	if (x.write == 0)
		x.verify = restore_verify(r, &x.root, &x.err);
	x.verified = job_get_progress(&job);
	job_get_code(&job, x.code);
	restore_free(r);
	job_set_peers(&job, NULL, 0);
	for (unsigned i = 0; i < workers; i++)
		peer_free(peers[i]);
	job_done(&job);
	return x;
}

static bool holds_image(struct blk *b)
{
	CLEANUP_FREE uint8_t *got = malloc(SIZE);
	struct err err;

	return got && blk_read(b, got, SIZE, 0, &err) == 0 && memcmp(got, image, SIZE) == 0;
}

static uint64_t bytes_not_zero(void)
{
	uint64_t n = 0;

	for (uint64_t at = 0; at < SIZE; at += 4096) {
		uint64_t size = SIZE - at < 4096 ? SIZE - at : 4096;

		for (uint64_t i = 0; i < size; i++) {
			if (image[at + i]) {
				n += size;
				break;
			}
		}
	}
	return n;
}

static void test_onto(const char *what, struct blk *b, unsigned workers)
{
	struct restored x = restore_to(b, workers);
	const struct restore_counts *c = &x.counts;

	printf("# onto %s\n", what);
	ok(x.write == 0 && x.verify == 0, "restored and verified");
	if (x.write < 0 || x.verify < 0)
		printf("# %s: %s\n", x.code, x.err.msg);
	ok(holds_image(b), "the target is the image");
	ok(id_equal(&x.root, &order.root), "what was read again makes the image's root");
	ok(sink_breach(sink)[0] == '\0', "by the rules");
	if (sink_breach(sink)[0])
		printf("# %s\n", sink_breach(sink));
	ok(c->kept + c->written + c->zeroed == SIZE, "the counts add up");
	ok(x.written.done == SIZE && x.verified.done == SIZE && x.written.data == order.data_bytes,
	   "and so does the progress");
}

static void test_targets(void)
{
	const uint64_t larger = SIZE + 3 * WINDOW_SIZE + 512;
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	struct restored x;
	struct err err;
	CLEANUP_FREE uint8_t *tail = rig_make_disk(larger, 99), *got = malloc(larger);
	uint8_t junk[512];

	memset(junk, 0xa5, sizeof(junk));
	test_onto("an empty disk", b, 1);
	sink_clear_stats(sink);
	x = restore_to(b, 3);
	ok(x.write == 0 && x.verify == 0 && x.counts.kept == SIZE && x.counts.fetched == 0,
	   "a second time writes nothing");
	ok(sink_get_stats(sink).chunks_gets == 0, "and asks for no chunk");
	ok(blk_write(b, junk, 512, 2 * WINDOW_SIZE + 512, &err) == 0 &&
		   blk_write(b, junk, 512, SIZE - 512, &err) == 0,
	   "change two sectors");
	x = restore_to(b, 3);
	ok(x.write == 0 && x.verify == 0 && holds_image(b), "which are set right");
	ok(x.counts.written + x.counts.zeroed <= 2ull * CHUNK_MAX ||
		   x.counts.zeroed > 2ull * CHUNK_MAX,
	   "and no more than what they lie in");
	ok(x.counts.fetched <= 2ull * CHUNK_MAX, "nor fetched");
	blk_free(b);

	b = blk_new_memory(rig_make_disk(SIZE, 1234), SIZE, 512);
	test_onto("another disk's content", b, 4);
	blk_free(b);

	b = blk_new_memory(rig_make_disk(larger, 99), larger, 512);
	test_onto("a larger disk", b, 2);
	ok(blk_read(b, got, larger - SIZE, SIZE, &err) == 0 &&
		   memcmp(got, tail + SIZE, larger - SIZE) == 0,
	   "what lies behind is left alone");
	blk_free(b);
}

/* A sparse file: holes are not read, and stay. */
static void test_sparse_target(void)
{
	char path[] = "/tmp/test_restore.XXXXXX";
	int fd = mkstemp(path);
	struct blk *b = NULL;
	struct err err;
	struct restored x;

	ok(fd >= 0 && ftruncate(fd, SIZE) == 0 && close(fd) == 0 &&
		   blk_open_file(path, BLK_WRITE, BLK_DIRECT, 512, &b, &err) == 0,
	   "a sparse file");
	x = restore_to(b, 2);
	ok(x.write == 0 && x.verify == 0 && holds_image(b), "restored and verified");
	ok(x.counts.zeroed == 0 && x.counts.written == bytes_not_zero(), "no zeros were written");
	blk_free(b);
	(void)unlink(path);
}

/* Every operation of the target, and every one of the server, fails in turn. */
static void test_every_failure(void)
{
	struct blk_fault_plan none = {0};
	struct blk *b = blk_fault_new(blk_new_memory(rig_make_disk(SIZE, 4321), SIZE, 512), &none);
	unsigned reads = 0, others = 0, peers = 0;
	bool all_fail = true, all_coded = true, reads_are_survived = true;

	for (uint64_t n = 1; n <= 200; n++) {
		struct blk_fault_plan plan = {.ops = BLK_FAULT_WRITE | BLK_FAULT_ZERO |
						     BLK_FAULT_FLUSH | BLK_FAULT_DROP,
					      .nth = n,
					      .is_partial = n % 2};
		struct restored x;

		blk_fault_set_plan(b, &none);
		(void)!blk_write(b, image + SIZE / 2, SIZE / 2, 0, &(struct err){0});
		blk_fault_set_plan(b, &plan);
		x = restore_to(b, 2);
		if (x.write == 0 && x.verify == 0)
			break;
		others++;
		all_fail = all_fail && strstr(x.err.msg, "as planned");
		all_coded = all_coded && strcmp(x.code, "write_error") == 0;
	}
	for (uint64_t n = 1; n <= 3; n++) {
		struct blk_fault_plan plan = {.ops = BLK_FAULT_READ, .nth = n};
		struct restored x;

		blk_fault_set_plan(b, &plan);
		x = restore_to(b, 2);
		reads++;
		reads_are_survived = reads_are_survived && x.write == 0 && x.verify == 0;
	}
	for (unsigned n = 1; n <= 200; n++) {
		struct sink_plan plan = {.nth = n};
		struct restored x;

		blk_fault_set_plan(b, &none);
		(void)!blk_write(b, image + SIZE / 2, SIZE / 2, 0, &(struct err){0});
		sink_set_plan(sink, &plan);
		x = restore_to(b, 2);
		if (x.write == 0 && x.verify == 0)
			break;
		peers++;
		all_fail = all_fail && strcmp(x.err.msg, "failed as planned") == 0;
		all_coded = all_coded && strcmp(x.code, "conflict") == 0;
	}
	sink_set_plan(sink, &(struct sink_plan){0});
	printf("# %u writes, %u reads, %u requests failed in turn\n", others, reads, peers);
	ok(others > 10 && others < 200 && peers >= 5 && peers < 200,
	   "there were operations to fail, and an end of them");
	ok(all_fail, "each failure ends the restore with its sentence");
	ok(all_coded, "and its code");
	ok(reads_are_survived, "what cannot be read is written");
	blk_free(b);
}

/* How many writes the image takes when what lies less than `gap` apart goes in one. */
static uint64_t count_writes(uint64_t gap)
{
	static const uint8_t zeros[4096];
	uint64_t n = 0;

	for (uint64_t at = 0, end = 0; at < SIZE; at += 4096) {
		uint64_t size = SIZE - at < 4096 ? SIZE - at : 4096;

		if (memcmp(image + at, zeros, size) == 0)
			continue;
		/* no write crosses a window's edge */
		n += end <= at / WINDOW_SIZE * WINDOW_SIZE || at - end > gap;
		end = at + size;
	}
	return n;
}

/* Devices are written in large pieces, through short gaps; a file that may have holes is not. */
static void test_gaps(void)
{
	struct blk_fault_plan none = {0};
	struct blk *b = blk_fault_new(blk_new_memory(calloc(1, SIZE), SIZE, 512), &none);
	struct restored x = restore_to(b, 1);
	struct blk_fault_stats st = blk_fault_get_stats(b);

	ok(x.verify == 0 && st.writes == count_writes(0),
	   "onto a file, what is not zero is written");
	printf("# %llu writes\n", (unsigned long long)st.writes);
	blk_free(b);
	b = blk_fault_new(blk_new_memory(calloc(1, SIZE), SIZE, 512), &none);
	b->is_device = true;
	x = restore_to(b, 1);
	st = blk_fault_get_stats(b);
	ok(x.verify == 0 && holds_image(b), "onto a device");
	ok(st.writes == count_writes(64 << 10) && st.writes < count_writes(0),
	   "it is written through short gaps");
	ok(x.counts.written == st.write_size && x.counts.kept + x.counts.written == SIZE,
	   "which is counted");
	printf("# %llu writes\n", (unsigned long long)st.writes);
	blk_free(b);
	b = blk_fault_new(blk_new_memory(rig_make_disk(SIZE, 5), SIZE, 512), &none);
	b->is_device = true;
	x = restore_to(b, 2);
	ok(x.verify == 0 && holds_image(b) &&
		   x.counts.kept + x.counts.written + x.counts.zeroed == SIZE,
	   "onto a device with other data");
	blk_free(b);
}

/* What a disk in memory does, for those that do it otherwise. */
static const struct blk_ops *memory_ops;

/* A disk whose head has to move is asked for one thing at a time. */
static struct blk_ops serial_ops;
static atomic_int at_once;
static atomic_bool was_crowded;
static uint64_t last_write;
static bool is_ordered;

static void arrive(void)
{
	if (atomic_fetch_add(&at_once, 1) > 0)
		atomic_store(&was_crowded, true);
	for (unsigned i = 0; i < 20; i++) /* the others may come */
		(void)sched_yield();
	(void)atomic_fetch_sub(&at_once, 1);
}

static int serial_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	arrive();
	return memory_ops->read_at(b, buf, size, offset, err);
}

static int one_by_one_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			       struct err *err)
{
	arrive();
	return memory_ops->write_at(b, buf, size, offset, err);
}

static int ordered_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			    struct err *err)
{
	is_ordered = is_ordered && offset >= last_write;
	last_write = offset;
	return memory_ops->write_at(b, buf, size, offset, err);
}

static struct restored restore_serially(bool is_serial, unsigned workers)
{
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	struct restored x;

	memory_ops = b->ops;
	serial_ops = *b->ops;
	serial_ops.read_at = serial_read_at;
	serial_ops.write_at = workers > 1 ? one_by_one_write_at : ordered_write_at;
	b->ops = &serial_ops;
	atomic_store(&was_crowded, false);
	last_write = 0;
	is_ordered = true;
	target_is_serial = is_serial;
	x = restore_to(b, workers);
	target_is_serial = false;
	blk_free(b);
	return x;
}

static void test_serial(void)
{
	struct restored x = restore_serially(true, 4);
	bool is_crowded = false;

	ok(x.write == 0 && x.verify == 0 && !atomic_load(&was_crowded),
	   "a disk whose head has to move is asked for one thing at a time");
	for (unsigned i = 0; i < 50 && !is_crowded; i++) {
		x = restore_serially(false, 4);
		is_crowded = atomic_load(&was_crowded);
	}
	ok(is_crowded && x.verify == 0, "another one for several");
	x = restore_serially(false, 1);
	ok(x.write == 0 && is_ordered, "what is written is written in the disk's order");
}

/* A disk that does not keep what is written to it. */
static int lossy_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			  struct err *err);
static struct blk_ops lossy_ops;
static int lossy_write_at(struct blk *b, const void *buf, size_t size, uint64_t offset,
			  struct err *err)
{
	CLEANUP_FREE uint8_t *copy = malloc(size);

	memcpy(copy, buf, size);
	if (offset <= 5000000 && offset + size > 5000000)
		copy[5000000 - offset] ^= 4;
	return memory_ops->write_at(b, copy, size, offset, err);
}

static void test_lossy_disk(void)
{
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	struct restored x;

	ok(image[5000000] != 0, "a byte that is written");
	memory_ops = b->ops;
	lossy_ops = *b->ops;
	lossy_ops.write_at = lossy_write_at;
	b->ops = &lossy_ops;
	x = restore_to(b, 2);
	ok(x.write == 0 && x.verify == -EBADMSG && strcmp(x.code, "verify_failed") == 0,
	   "a disk that bends a bit is found by verification");
	ok(strstr(x.err.msg, "at byte 49") || strstr(x.err.msg, "at byte 50"), "which says where");
	printf("# %s\n", x.err.msg);
	blk_free(b);
}

/* A disk that says of a window that it is a hole. */
static struct blk_ops holey_ops;
static uint64_t hole_at, hole_reads;
static bool is_flushed, only_after_flush;

static int holey_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	hole_reads += offset == hole_at;
	return memory_ops->read_at(b, buf, size, offset, err);
}

static uint64_t holey_hole_end(struct blk *b, uint64_t offset)
{
	bool is_hole = offset >= hole_at && offset < hole_at + WINDOW_SIZE;

	(void)b;
	return is_hole && (is_flushed || !only_after_flush) ? hole_at + WINDOW_SIZE : offset;
}

static int holey_flush(struct blk *b, struct err *err)
{
	is_flushed = true;
	return memory_ops->flush(b, err);
}

static void test_holes(void)
{
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	struct restored x;

	memory_ops = b->ops;
	holey_ops = *b->ops;
	holey_ops.read_at = holey_read_at;
	holey_ops.hole_end = holey_hole_end;
	holey_ops.flush = holey_flush;
	b->ops = &holey_ops;
	hole_at = FREE;
	x = restore_to(b, 1);
	ok(x.write == 0 && x.verify == 0 && holds_image(b), "onto a disk with a hole");
	ok(hole_reads == 0 && x.verified.done == SIZE, "which is verified without being read");
	hole_at = WINDOW_SIZE;
	only_after_flush = true;
	is_flushed = false;
	x = restore_to(b, 1);
	ok(x.write == 0 && x.verify == -EBADMSG && strcmp(x.code, "verify_failed") == 0,
	   "a hole where the image has data is found");
	ok(strstr(x.err.msg, "at byte 41943"), "with its place");
	printf("# %s\n", x.err.msg);
	blk_free(b);
}

/* Whatever bit of whatever answer is wrong, nothing wrong is written as good. */
static void test_bent_answers(void)
{
	uint64_t state = 5;
	unsigned refused = 0, coded = 0;
	bool never_wrong = true;

	for (unsigned n = 1; n <= 10; n++) {
		struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
		struct sink_plan plan = {.bend = n,
					 .bend_bit = (unsigned)(rig_random(&state) >> 40)};
		struct restored x;

		sink_set_plan(sink, &plan);
		x = restore_to(b, 1);
		refused += x.write < 0;
		coded += x.code[0] != '\0';
		never_wrong = never_wrong && (x.write < 0 || x.verify < 0 || holds_image(b));
		blk_free(b);
	}
	sink_set_plan(sink, &(struct sink_plan){0});
	ok(never_wrong, "a wrong bit is never taken for good");
	ok(refused == 10 && coded == 10, "every one is refused, with a code");
}

static void test_refusals(void)
{
	struct blk *small = blk_new_memory(calloc(1, SIZE - 512), SIZE - 512, 512);
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	struct restored x = restore_to(small, 1);
	char want[64];

	(void)snprintf(want, sizeof(want), "%u are needed", SIZE);
	ok(x.write == -ENOSPC && strcmp(x.code, "target_too_small") == 0,
	   "a target one sector too small");
	ok(strstr(x.err.msg, want) != NULL, "with the bytes that are needed");
	order.root.b[5] ^= 1;
	x = restore_to(b, 2);
	ok(x.write == -EBADMSG && strcmp(x.code, "verify_failed") == 0 &&
		   strstr(x.err.msg, "not the image that was ordered"),
	   "another root than ordered");
	order.root.b[5] ^= 1;
	blk_free(b);
	b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	ok(sink_drop_chunk(sink, 17), "damage the store");
	x = restore_to(b, 2);
	ok(x.write == -EBADMSG && strcmp(x.code, "store_damaged") == 0,
	   "a chunk that is not there");
	blk_free(small);
	blk_free(b);
}

/* ---- disks of several groups, sparse */

#define LARGE (3ull * GROUP_WINDOWS * WINDOW_SIZE + 5ull * WINDOW_SIZE + 4096)

static const uint64_t places[] = {
	0, 3ull * WINDOW_SIZE + 12288, (GROUP_WINDOWS - 1ull) * WINDOW_SIZE,
	2ull * GROUP_WINDOWS *WINDOW_SIZE + 17ull * WINDOW_SIZE, LARGE - 4096};
#define PLACES (sizeof(places) / sizeof(places[0]))

/* A file of LARGE bytes that goes with its blk. */
static struct blk *sparse_file(void)
{
	char path[] = "/tmp/test_restore.XXXXXX";
	int fd = mkstemp(path);
	struct blk *b = NULL;
	struct err err;

	if (fd < 0 || ftruncate(fd, (off_t)LARGE) < 0 || close(fd) < 0 ||
	    blk_open_file(path, BLK_WRITE, 0, 512, &b, &err) < 0)
		abort();
	(void)unlink(path);
	return b;
}

static bool holds_places(struct blk *b, uint8_t salt)
{
	uint8_t got[4096], want[4096];
	struct err err;

	for (unsigned i = 0; i < PLACES; i++) {
		memset(want, (int)(i + salt), sizeof(want));
		if (blk_read(b, got, sizeof(got), places[i], &err) < 0 ||
		    memcmp(got, want, sizeof(got)) != 0)
			return false;
	}
	/* and nothing besides: all else is known to be a hole */
	for (uint64_t at = 0, i = 0; at < LARGE; at += WINDOW_SIZE, i++) {
		uint64_t size = LARGE - at < WINDOW_SIZE ? LARGE - at : WINDOW_SIZE;
		bool has = false;

		for (unsigned k = 0; k < PLACES; k++)
			has = has || places[k] / WINDOW_SIZE == i;
		if (!has && !blk_is_hole(b, at, size))
			return false;
	}
	return true;
}

static void fill_places(struct blk *b, uint8_t salt)
{
	uint8_t data[4096];
	struct err err;

	for (unsigned i = 0; i < PLACES; i++) {
		memset(data, (int)(i + salt), sizeof(data));
		if (blk_write(b, data, sizeof(data), places[i], &err) < 0)
			abort();
	}
}

/* Another target that answers verification wrongly. */
static uint64_t wrong_at;
static int wrong_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	int r = memory_ops->read_at(b, buf, size, offset, err);

	if (offset <= wrong_at && wrong_at < offset + size)
		((uint8_t *)buf)[wrong_at - offset] ^= 1;
	return r;
}

static void test_large(unsigned workers)
{
	struct sink *small = sink;
	struct order_disk small_order = order;
	struct blk *b = sparse_file(), *target = sparse_file();
	struct restored x;
	struct rig g;
	struct sink_stats st;
	struct blk_ops ops;

	sink = sink_new();
	fill_places(b, 1);
	sink_add_disk(sink, 0, LARGE);
	rig_init(&g, sink, b, workers);
	ok(rig_capture(&g) == 0, "a sparse disk of several groups is captured");
	printf("# %s\n", g.err.msg);
	st = sink_get_stats(sink);
	ok(st.windows == window_count(LARGE) && st.windows_puts <= 8 && st.nodes == 6 &&
		   st.ids_asked < 40,
	   "its empty windows in few words");
	printf("# %llu windows in %u puts, %llu nodes, %llu ids asked for\n",
	       (unsigned long long)st.windows, st.windows_puts, (unsigned long long)st.nodes,
	       (unsigned long long)st.ids_asked);
	ok(job_get_progress(&g.job).done == LARGE && g.result.data_bytes == PLACES * 4096,
	   "which adds up");
	ok(g.source.bytes_read <= PLACES * WINDOW_SIZE, "and are not read");
	ok(sink_drop_node(sink, 1) && rig_capture(&g) == 0 && sink_breach(sink)[0] == '\0',
	   "a node that is lost is sent again");
	rig_done(&g);
	order = (struct order_disk){.source_disk = "wwn:x",
				    .source = {LARGE, 512, 512},
				    .root = g.result.root,
				    .data_bytes = g.result.data_bytes};
	sink_clear_stats(sink);
	x = restore_to(target, workers);
	ok(x.write == 0 && x.verify == 0 && holds_places(target, 1), "restored and verified");
	printf("# %s\n", x.err.msg);
	ok(sink_breach(sink)[0] == '\0' && sink_get_stats(sink).nodes_gets <= 2, "by the rules");
	ok(x.counts.kept + x.counts.written + x.counts.zeroed == LARGE && x.written.done == LARGE &&
		   x.verified.done == LARGE,
	   "the counts add up");
	fill_places(target, 9);
	x = restore_to(target, workers);
	ok(x.write == 0 && x.verify == 0 && holds_places(target, 1), "and again over other data");

	memory_ops = target->ops;
	ops = *target->ops;
	ops.read_at = wrong_read_at;
	target->ops = &ops;
	wrong_at = places[3] + 1000;
	x = restore_to(target, workers);
	ok(x.write == 0 && x.verify == -EBADMSG && strstr(x.err.msg, "at byte 2218786816"),
	   "a wrong byte in the third group is found");
	printf("# %s\n", x.err.msg);
	blk_free(b);
	blk_free(target);
	sink_free(sink);
	sink = small;
	order = small_order;
}

/* An image whose windows were cut by another rule: chunks of two blocks.  Its nodes are not what cutting gives, its bytes are right. */
static void send_foreign(struct peer *p, struct geometry *g, struct id *ret_root)
{
	struct pack_builder *chunks = pack_builder_new(PACK_CHUNKS, PACK_PLAIN_MAX);
	struct pack_builder *nodes = pack_builder_new(PACK_NODES, PACK_PLAIN_MAX);
	struct codec_ctx *ctx = codec_ctx_new();
	struct node *n = calloc(1, sizeof(*n));
	uint8_t *encoding = malloc(NODE_SIZE_MAX);
	static struct root_hash h;
	struct peer_finished finished = {0};
	struct peer_finish f = {.geometry = *g};
	const uint8_t *data;
	struct peer_run run = {{0, 1}, {{0}}};
	struct err err;
	struct id id;
	size_t size;

	root_init(&h, g);
	for (uint64_t w = 0; w < window_count(g->size); w++) {
		const uint8_t *at = image + w * WINDOW_SIZE;

		*n = (struct node){.length = window_length(g->size, w)};
		for (uint32_t end, o = 0; o < n->length; o = end) {
			struct node_entry *e = &n->entries[n->count++];

			end = n->length - o > 8192 ? o + 8192 : n->length;
			*e = (struct node_entry){id_of(at + o, end - o), o, end - o, true};
			if (!pack_builder_add(chunks, &e->id, at + o, e->length))
				abort();
		}
		if (pack_builder_encode(chunks, ctx, CODEC_ZSTD, 1, &data, &size, &id, &err) < 0 ||
		    p->ops->put_pack(p, &id, data, size, &err) < 0)
			abort();
		pack_builder_reset(chunks);
		size = node_encode(n, encoding);
		run = (struct peer_run){{w, 1}, id_of(encoding, size)};
		if (!pack_builder_add(nodes, &run.node, encoding, (uint32_t)size) ||
		    pack_builder_encode(nodes, ctx, CODEC_ZSTD, 1, &data, &size, &id, &err) < 0 ||
		    p->ops->put_pack(p, &id, data, size, &err) < 0 ||
		    p->ops->put_windows(p, 0, &run, 1, &err) < 0)
			abort();
		pack_builder_reset(nodes);
		root_add(&h, &run.node);
	}
	f.root = *ret_root = root_final(&h, NULL, 0);
	if (p->ops->finish(p, 0, &f, &finished, &err) < 0 || finished.missing_len > 0)
		abort();
	peer_finished_done(&finished);
	pack_builder_free(chunks);
	pack_builder_free(nodes);
	codec_ctx_free(ctx);
	free(encoding);
	free(n);
}

static void test_foreign_cut(void)
{
	struct sink *own = sink;
	struct order_disk own_order = order;
	uint8_t *own_image = image;
	struct geometry g = {3ull * WINDOW_SIZE, 512, 512};
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	CLEANUP_FREE uint8_t *got = malloc(g.size);
	struct peer *p;
	struct restored x;
	struct err err;
	uint64_t state = 99;

	image = malloc(g.size);
	if (!image || !got)
		abort();
	for (uint64_t i = 0; i < g.size; i++)
		image[i] = (uint8_t)(rig_random(&state) >> 33);
	sink = sink_new();
	sink_add_disk(sink, 0, g.size);
	p = sink_peer(sink);
	order = (struct order_disk){.source_disk = "wwn:x", .source = g, .data_bytes = g.size};
	send_foreign(p, &g, &order.root);
	x = restore_to(b, 2);
	ok(x.write == 0 && x.verify == 0 && blk_read(b, got, g.size, 0, &err) == 0 &&
		   memcmp(got, image, g.size) == 0,
	   "an image that was cut by another rule is restored and verified");
	printf("# %s\n", x.err.msg);
	ok(id_equal(&x.root, &order.root), "and makes its root");
	ok(sink_breach(sink)[0] == '\0' && sink_get_stats(sink).nodes_gets >= 3,
	   "by what its own nodes say");
	memory_ops = b->ops;
	lossy_ops = *b->ops;
	lossy_ops.write_at = lossy_write_at;
	b->ops = &lossy_ops;
	memset(got, 0, g.size);
	ok(blk_write(b, got, g.size, 0, &err) == 0, "wipe it");
	x = restore_to(b, 2);
	ok(x.write == 0 && x.verify == -EBADMSG && strstr(x.err.msg, "at byte 4997120"),
	   "and a bent bit is found as well");
	printf("# %s\n", x.err.msg);
	peer_free(p);
	blk_free(b);
	sink_free(sink);
	free(image);
	sink = own;
	order = own_order;
	image = own_image;
}

/* A target that reads otherwise each time is found, whatever it reads the second time. */
static uint64_t unsteady_reads;
static int unsteady_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	int r = memory_ops->read_at(b, buf, size, offset, err);

	if (is_flushed && offset == WINDOW_SIZE && unsteady_reads++ == 0)
		((uint8_t *)buf)[77] ^= 1;
	return r;
}

static void test_unsteady(void)
{
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	struct restored x;

	memory_ops = b->ops;
	holey_ops = *b->ops;
	holey_ops.read_at = unsteady_read_at;
	holey_ops.flush = holey_flush;
	b->ops = &holey_ops;
	is_flushed = false;
	x = restore_to(b, 2);
	ok(x.write == 0 && x.verify == -EBADMSG && strstr(x.err.msg, "not the same each time"),
	   "a disk that reads otherwise each time is found");
	printf("# %s\n", x.err.msg);
	blk_free(b);
}

/* Every window may be right, and the whole not what was ordered. */
static void test_root(void)
{
	struct blk *b = blk_new_memory(calloc(1, SIZE), SIZE, 512);
	uint32_t was = order.source.physical_sector_size;
	struct restored x;

	verify_as = 4096;
	x = restore_to(b, 2);
	verify_as = 0;
	order.source.physical_sector_size = was;
	ok(x.write == 0 && x.verify == -EBADMSG && strcmp(x.code, "verify_failed") == 0 &&
		   strstr(x.err.msg, "read again from the target"),
	   "a target of another root is found");
	printf("# %s\n", x.err.msg);
	ok(id_is_zero(&x.root), "and none is given out");
	blk_free(b);
}

int main(void)
{
	capture(77);
	test_targets();
	test_sparse_target();
	test_gaps();
	test_serial();
	test_every_failure();
	test_lossy_disk();
	test_holes();
	test_unsteady();
	test_foreign_cut();
	test_root();
	test_bent_answers();
	test_refusals();
	test_large(1);
	test_large(4);
	sink_free(sink);
	free(image);
	return done();
}
