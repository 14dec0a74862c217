/* What of the disks of a capture is read, and what is said of it. */
#include "agent/survey.h"

#include <errno.h>
#include <string.h>

#include "agent/lost.h"
#include "agent/source.h"
#include "tests/lib/blk_fault.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

#define MIB	  (1ull << 20)
#define DISK_SIZE (64 * MIB)
#define SWAP_AT	  (1 * MIB)
#define DATA_AT	  (33 * MIB)

/* An MBR with 32 MiB of swap, whose pages hold something, and something unknown up to the end. */
static uint8_t *make_disk(void)
{
	static const uint8_t table[2][16] = {
		{0, 0, 0, 0, 0x82, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 0, 1, 0},
		{0, 0, 0, 0, 0x83, 0, 0, 0, 0x00, 0x08, 1, 0, 0x00, 0xf8, 0, 0},
	};
	static const char magic[10] = {'S', 'W', 'A', 'P', 'S', 'P', 'A', 'C', 'E', '2'};
	uint8_t *disk = calloc(1, DISK_SIZE), *swap = disk + SWAP_AT;

	memcpy(disk + 446, table, sizeof(table));
	disk[510] = 0x55;
	disk[511] = 0xaa;
	memset(swap, 0x5a, 32 * MIB);
	memset(swap, 0, 4096);
	memcpy(swap + 4086, magic, sizeof(magic));
	swap[1024] = 1;	   /* version */
	swap[1028] = 0xff; /* the last page, 8191 */
	swap[1029] = 0x1f;
	for (size_t i = 0; i < 31 * MIB; i++)
		disk[DATA_AT + i] = (uint8_t)(i * 2654435761u >> 24) | 1;
	return disk;
}

static const struct survey_options by_map, all_blocks = {.all_blocks = true};

struct fixture {
	struct job job;
	struct disk known;
	struct survey_disk disk;
	struct blk *blk;
	struct err err;
	char lines[4000];
};

static void note_line(void *ctx, const char *line)
{
	struct fixture *f = ctx;
	size_t n = strlen(f->lines);

	(void)snprintf(f->lines + n, sizeof(f->lines) - n, "%s\n", line);
}

static void setup(struct fixture *f, const struct blk_fault_plan *plan)
{
	*f = (struct fixture){.known = {.id = "wwn:1", .path = "/dev/x"}};
	f->blk = blk_fault_new(blk_new_memory(make_disk(), DISK_SIZE, 512), plan);
	f->disk = (struct survey_disk){.disk = &f->known, .blk = f->blk};
	job_init(&f->job, "0123456789abcdef");
	f->job.on_line = note_line;
	f->job.ctx = f;
}

static void teardown(struct fixture *f)
{
	survey_done(&f->disk, 1);
	blk_free(f->blk);
	job_done(&f->job);
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static bool is_said(const struct fixture *f, const char *text)
{
	if (strstr(f->lines, text))
		return true;
	printf("# no '%s' in:\n# %s\n", text, f->lines);
	return false;
}

static bool is_whole(const struct fixture *f)
{
	return f->disk.used.len == 1 && f->disk.used.extents[0].offset == 0 &&
	       f->disk.used.extents[0].length == DISK_SIZE && f->disk.used_bytes == DISK_SIZE;
}

static void test_map(void)
{
	struct fixture f;
	const json_t *parts;

	setup(&f, &(struct blk_fault_plan){0});
	ok(survey_disks(&f.job, &f.disk, 1, &by_map, &f.err) == 0, "a disk with two partitions");
	ok(f.disk.used_bytes < 33 * MIB && f.disk.used_bytes >= 31 * MIB,
	   "what swap holds is not in use");
	ok(f.disk.used_bytes == used_bytes(&f.disk.used), "the sum is right");
	ok(job_get_progress(&f.job).done > 0 && job_get_progress(&f.job).total == 0,
	   "what was read for it is counted: that it goes on is to be seen");
	ok(used_within(&f.disk.used, DATA_AT, 31 * MIB) == 31 * MIB, "all that is unknown is");
	ok(strcmp(text_of(f.disk.report, "how"), "map") == 0 &&
		   strcmp(text_of(f.disk.report, "table"), "dos") == 0,
	   "the report has the table");
	parts = json_object_get(f.disk.report, "partitions");
	ok(json_array_size(parts) == 2 &&
		   strcmp(text_of(json_array_get(parts, 0), "how"), "header") == 0 &&
		   strcmp(text_of(json_array_get(parts, 1), "how"), "raw") == 0 &&
		   *text_of(json_array_get(parts, 1), "why"),
	   "and how each partition is copied, and why");
	ok(!json_object_get(f.disk.report, "path") && !json_object_get(f.disk.report, "size"),
	   "and nothing twice");
	ok(is_said(&f, "disk 'wwn:1', partition 2 (unknown): copied whole, 31.0 MiB: "),
	   "what is copied whole is said");
	ok(is_said(&f, "disk 'wwn:1', partition 1 (swap): only its header is copied: "),
	   "and of what only the header");
	ok(survey_memory(&f.disk, 1) == f.disk.used.len * sizeof(struct extent), "it has a size");
	teardown(&f);
}

static void test_all_blocks(void)
{
	struct fixture f;

	setup(&f, &(struct blk_fault_plan){0});
	ok(survey_disks(&f.job, &f.disk, 1, &all_blocks, &f.err) == 0 && is_whole(&f),
	   "all blocks");
	ok(blk_fault_get_stats(f.blk).reads == 0, "without a look");
	ok(strcmp(text_of(f.disk.report, "how"), "raw") == 0 &&
		   is_said(&f, "disk 'wwn:1': all of it is copied: all blocks were ordered"),
	   "which is reported and said");
	teardown(&f);
}

/* Too many disks, which no map can be made of: any failure of it. */
static void test_no_map(void)
{
	enum { COUNT = 257 };
	static struct survey_disk disks[COUNT];
	struct fixture f;
	bool all = true;

	setup(&f, &(struct blk_fault_plan){0});
	for (unsigned i = 0; i < COUNT; i++)
		disks[i] = f.disk;
	ok(survey_disks(&f.job, disks, COUNT, &by_map, &f.err) == 0, "what cannot be mapped");
	for (unsigned i = 0; i < COUNT; i++)
		all = all && disks[i].used_bytes == DISK_SIZE && disks[i].used.len == 1 &&
		      strstr(text_of(disks[i].report, "why"), "could not be found out");
	ok(all, "is copied whole, and the report says why");
	ok(is_said(&f,
		   "disk 'wwn:1': all of it is copied: what is in use could not be found out: map "),
	   "and it is said");
	survey_done(disks, COUNT);
	teardown(&f);
}

static void test_bad_disk(void)
{
	struct blk_fault_plan dead = {.ops = BLK_FAULT_READ, .nth = 1, .from_there = true};
	struct blk_fault_plan spot = {.bad = {{SWAP_AT, 4096, 0}}, .bad_len = 1};
	struct fixture f;

	setup(&f, &dead);
	ok(survey_disks(&f.job, &f.disk, 1, &by_map, &f.err) == 0 && is_whole(&f),
	   "a disk that cannot be read is tried whole");
	ok(blk_fault_get_stats(f.blk).reads <= 32, "and is not asked again and again");
	printf("# %llu reads\n", (unsigned long long)blk_fault_get_stats(f.blk).reads);
	teardown(&f);

	setup(&f, &spot);
	ok(survey_disks(&f.job, &f.disk, 1, &by_map, &f.err) == 0 &&
		   used_within(&f.disk.used, SWAP_AT, 32 * MIB) == 32 * MIB,
	   "a partition whose header cannot be read is copied whole");
	teardown(&f);
}

/* What libblkid says of the disk's table, beside what the map's own reader does. */
static void test_missed_partition(void)
{
	static struct partition parts[] = {
		{.number = 1, .offset = SWAP_AT, .size = 32 * MIB},
		{.number = 2, .offset = DATA_AT, .size = 31 * MIB},
		{.number = 3, .offset = SWAP_AT, .size = 63 * MIB, .is_extended = true},
		{.number = 5, .offset = DATA_AT + MIB, .size = 4 * MIB},
		{.number = 6, .offset = SWAP_AT + 8 * MIB, .size = 4 * MIB},
	};
	struct fixture f;

	setup(&f, &(struct blk_fault_plan){0});
	f.known.contents = (struct contents){.partitions = parts, .partitions_len = 4};
	ok(survey_disks(&f.job, &f.disk, 1, &by_map, &f.err) == 0 && f.disk.used_bytes < 33 * MIB,
	   "partitions that the map has, a container, and one in what is in use anyway");
	teardown(&f);

	setup(&f, &(struct blk_fault_plan){0});
	f.known.contents = (struct contents){.partitions = parts, .partitions_len = 5};
	ok(survey_disks(&f.job, &f.disk, 1, &by_map, &f.err) == 0 && is_whole(&f),
	   "one that it has not makes the disk whole");
	ok(strcmp(text_of(f.disk.report, "how"), "raw") == 0 &&
		   is_said(&f, "disk 'wwn:1': all of it is copied: libblkid finds a partition at "
			       "byte 9437184 (number 6)"),
	   "which is reported and said");
	teardown(&f);
}

static void test_stopped(void)
{
	struct fixture f;

	setup(&f, &(struct blk_fault_plan){0});
	job_stop(&f.job, JOB_CANCELLED);
	ok(survey_disks(&f.job, &f.disk, 1, &by_map, &f.err) == -ECANCELED &&
		   strcmp(f.err.msg, "the job was cancelled") == 0,
	   "a job that was cancelled ends here");
	ok(blk_fault_get_stats(f.blk).reads == 0 && f.lines[0] == '\0', "without a read or a word");
	teardown(&f);
}

static void test_used(void)
{
	struct extent e[] = {{100, 50}, {200, 1}, {1000, 24}};
	struct used u = {e, 3};

	ok(used_bytes(&u) == 75 && used_within(&u, 0, 2000) == 75, "all");
	ok(used_within(&u, 0, 100) == 0 && used_within(&u, 150, 50) == 0 &&
		   used_within(&u, 1024, 9) == 0 && used_within(&u, 120, 0) == 0,
	   "none");
	ok(used_within(&u, 149, 52) == 2 && used_within(&u, 110, 5) == 5 &&
		   used_within(&u, 1023, 1) == 1,
	   "parts");
}

/* Whose what cannot be read is, at the end of a capture: of what is read for that nothing is capture. */
static void test_lost(void)
{
	struct extents bad = {0};
	struct job_span spans[JOB_PHASES];
	struct job_progress p;
	struct fixture f;
	size_t room = 10, left_out = 0;
	json_t *places;

	setup(&f, &(struct blk_fault_plan){0});
	job_start_phase(&f.job, PHASE_CAPTURE, 200);
	job_add(&f.job, 100, 7, 8);
	if (extents_add(&bad, DATA_AT, 512) < 0)
		abort();
	places = lost_report(&f.job, &f.blk, 1, 0, &bad, &room, &left_out);
	ok(json_array_size(places) == 1 && left_out == 0, "a place that is lost");
	job_get_spans(&f.job, spans);
	ok(spans[PHASE_CHECK].was && spans[PHASE_CHECK].done > 0,
	   "what is read to tell whose it is is counted");
	p = job_get_progress(&f.job);
	ok(p.phase == PHASE_CAPTURE && p.done == 100 && p.total == 200 && p.data == 7 &&
		   p.sent == 8,
	   "and the capture is as far as it was");
	json_decref(places);
	extents_done(&bad);
	teardown(&f);
}

int main(void)
{
	test_used();
	test_map();
	test_all_blocks();
	test_no_map();
	test_bad_disk();
	test_missed_partition();
	test_stopped();
	test_lost();
	return done();
}
