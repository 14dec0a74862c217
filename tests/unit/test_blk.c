#include "common/blk.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/blk_fault.h"
#include "tests/unit/tap.h"

static char dir[] = "/var/tmp/hoist-test-blk-XXXXXX";
static char path[64];

/* Deterministic bytes that differ everywhere. */
static void fill(unsigned char *buf, size_t size, uint32_t seed)
{
	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525u + 1013904223u;
		buf[i] = (unsigned char)(seed >> 24);
	}
}

static void make_file(uint64_t size, uint32_t seed)
{
	unsigned char *buf = malloc(size + 1);
	FILE *f = fopen(path, "we");

	fill(buf, size, seed);
	if (!f || fwrite(buf, 1, size, f) != size || fclose(f) != 0)
		abort();
	free(buf);
}

static bool file_equals(const unsigned char *want, size_t size)
{
	unsigned char *got = malloc(size + 1);
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(got, 1, size + 1, f) : 0;
	bool same = n == size && memcmp(got, want, size) == 0;

	if (f)
		(void)fclose(f);
	free(got);
	return same;
}

static void test_memory(void)
{
	struct err err = {0};
	char buf[16] = "unchanged";
	struct blk *b = blk_new_memory(calloc(1, 10000), 10000, 4096);

	ok(b && blk_size(b) == 10000 && blk_sector_size(b) == 4096 &&
		   blk_physical_sector_size(b) == 4096,
	   "memory: size and sectors");
	ok(blk_write(b, "hello", 5, 9995, &err) == 0, "memory: write up to the end");
	ok(blk_read(b, buf, 5, 9995, &err) == 0 && memcmp(buf, "hello", 5) == 0, "memory: read it");
	ok(blk_zero(b, 9996, 3, &err) == 0 && blk_read(b, buf, 5, 9995, &err) == 0 &&
		   memcmp(buf, "h\0\0\0o", 5) == 0,
	   "memory: zero a range");
	memcpy(buf, "unchanged", 10);
	ok(blk_read(b, buf, 6, 9995, &err) == -ERANGE, "memory: past the end is refused");
	ok(strcmp(err.msg, "read 'memory': 6 bytes at byte 9995 are not inside its 10000 bytes") ==
		   0,
	   "memory: with a clear sentence");
	ok(strcmp(buf, "unchanged") == 0, "memory: and the buffer is untouched");
	ok(blk_write(b, buf, 1, UINT64_MAX, &err) == -ERANGE &&
		   blk_zero(b, 1, UINT64_MAX, &err) == -ERANGE,
	   "memory: ranges that overflow are refused");
	ok(blk_read(b, buf, 0, 10000, &err) == 0, "memory: nothing at the end is fine");
	ok(blk_flush(b, &err) == 0 && blk_drop_cache(b, &err) == 0, "memory: flush and drop");
	blk_free(b);
	blk_free(NULL);
	ok(blk_new_memory(malloc(1), 1, 513) == NULL, "memory: a wrong sector size is refused");
}

/* Reads and writes at every kind of alignment, against a model in memory. */
static void test_file_model(unsigned flags, uint64_t size, const char *name)
{
	CLEANUP_FREE unsigned char *model = malloc(size),
				   *area = aligned_alloc(4096, (size + 8191) & ~4095ull);
	static const uint64_t at[] = {0, 1, 511, 512, 4095, 4096, 4097, 8192, 12289, 1048575};
	static const size_t len[] = {1, 512, 513, 4096, 4097, 8191, 65536, 1500001};
	static const size_t skew[] = {0, 1, 512};
	struct err err = {0};
	struct blk *b = NULL;
	bool good = true;
	uint32_t n = 1;

	make_file(size, 7);
	fill(model, size, 7);
	good = blk_open_file(path, BLK_WRITE, flags, 0, &b, &err) == 0;
	for (size_t i = 0; good && i < sizeof(at) / sizeof(*at) * sizeof(len) / sizeof(*len) * 3;
	     i++) {
		uint64_t o = at[i / 24];
		size_t l = len[i / 3 % 8];
		unsigned char *p = area + skew[i % 3];

		if (o + l > size) /* at the very end instead */
			o = size - l;
		fill(p, l, ++n);
		memcpy(model + o, p, l);
		good = blk_write(b, p, l, o, &err) == 0;
		memset(p, 0xee, l);
		good = good && blk_read(b, p, l, o, &err) == 0 && memcmp(p, model + o, l) == 0;
		if (i % 5 != 0)
			continue;
		memset(model + o + l / 3, 0, l / 2);
		good = good && blk_zero(b, o + l / 3, l / 2, &err) == 0;
	}
	good = good && blk_drop_cache(b, &err) == 0 && blk_read(b, area, size, 0, &err) == 0 &&
	       memcmp(area, model, size) == 0;
	blk_free(b);
	ok(good, name);
	if (!good)
		printf("# %s\n", err.msg);
	ok(file_equals(model, size), "the file itself, and its size, are as the model says");
}

static void test_file_zero_gives_space_back(void)
{
	struct err err = {0};
	struct blk *b = NULL;
	struct stat st;

	make_file(8 << 20, 3);
	ok(blk_open_file(path, BLK_WRITE, 0, 4096, &b, &err) == 0 && blk_flush(b, &err) == 0 &&
		   stat(path, &st) == 0 && st.st_blocks >= (8 << 20) / 512,
	   "zero: the file has all its blocks first");
	ok(blk_zero(b, 0, blk_size(b), &err) == 0 && stat(path, &st) == 0 &&
		   st.st_size == 8 << 20 && st.st_blocks < (1 << 20) / 512,
	   "zero: and has given them back, at the same size");
	ok(blk_sector_size(b) == 4096, "a plain file has the sector size asked for");
	blk_free(b);
}

static void test_file_errors(void)
{
	struct err err = {0};
	struct blk *b = NULL;
	char buf[8192], fifo[80];

	make_file(8192, 1);
	ok(blk_open_file("/nonexistent/x", BLK_READ, 0, 0, &b, &err) == -ENOENT && b == NULL &&
		   strcmp(err.msg, "open '/nonexistent/x': No such file or directory") == 0,
	   "open: no such file");
	ok(blk_open_file("/dev/null", BLK_WRITE, 0, 0, &b, &err) == -ENOTBLK && b == NULL,
	   "open: a character device is refused");
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	ok(mkfifo(fifo, 0600) == 0 && blk_open_file(fifo, BLK_READ, 0, 0, &b, &err) == -ENOTBLK,
	   "open: a FIFO is refused, not waited for");
	ok(blk_open_file(path, BLK_READ, 0, 1000, &b, &err) == -EINVAL && b == NULL,
	   "open: a sector size that none has is refused");
	ok(blk_open_file(path, BLK_READ, 0, 0, &b, &err) == 0, "open for reading");
	ok(blk_write(b, buf, 1, 0, &err) == -EROFS && blk_zero(b, 0, 1, &err) == -EROFS,
	   "a disk opened for reading is never written");
	ok(blk_flush(b, &err) == 0 && blk_drop_cache(b, &err) == 0, "flush and drop on a reader");
	ok(!blk_is_locked(b), "a plain file has no lock");
	struct blk_counters c;
	ok(blk_read_counters(b, &c, &err) == -EOPNOTSUPP, "a plain file has no counters");
	ok(truncate(path, 5000) == 0 && blk_read(b, buf, 8192, 0, &err) == -EIO &&
		   strstr(err.msg, "at byte 5000: it ends there, and had 8192 bytes") != NULL,
	   "a file that got shorter is an error with the place");
	blk_free(b);
}

static void test_counters(void)
{
	struct blk_counters c = {.reads = 99};

	ok(blk_parse_counters("  11  12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27\n", &c) == 0 &&
		   c.reads == 11 && c.sectors_read == 13 && c.writes == 15 &&
		   c.sectors_written == 17 && c.discards == 22 && c.sectors_discarded == 24 &&
		   c.flushes == 26,
	   "counters: seventeen fields");
	ok(blk_parse_counters("1 2 3 4 5 6 7 8 9 10 11\n", &c) == 0 && c.writes == 5 &&
		   c.discards == 0 && c.flushes == 0,
	   "counters: eleven fields of an old kernel");
	c.reads = 99;
	ok(blk_parse_counters("1 2 3\n", &c) == -EBADMSG &&
		   blk_parse_counters("", &c) == -EBADMSG &&
		   blk_parse_counters("1 2 3 4 5 6 7 8 9 10 -11\n", &c) == -EBADMSG &&
		   blk_parse_counters("1 2 3 4 5 6 7 8 9 10 99999999999999999999999\n", &c) ==
			   -EBADMSG &&
		   blk_parse_counters("1 2 3 4 5 6 7 8 9 10 11x\n", &c) == -EBADMSG &&
		   c.reads == 99,
	   "counters: anything else is refused and leaves the result alone");
}

static struct blk *new_fault(const struct blk_fault_plan *plan)
{
	unsigned char *buf = malloc(65536);

	fill(buf, 65536, 5);
	return blk_fault_new(blk_new_memory(buf, 65536, 512), plan);
}

static void test_fault(void)
{
	unsigned char buf[4096], want[65536];
	struct err err = {0};
	struct blk *b = new_fault(&(struct blk_fault_plan){.ops = BLK_FAULT_READ, .nth = 2});

	fill(want, sizeof(want), 5);
	ok(blk_read(b, buf, 4096, 0, &err) == 0 && blk_write(b, buf, 512, 0, &err) == 0 &&
		   blk_read(b, buf, 4096, 0, &err) == -EIO && blk_read(b, buf, 4096, 0, &err) == 0,
	   "fault: the second read fails, and only it");
	blk_fault_set_plan(
		b, &(struct blk_fault_plan){.bad = {{1000, 10, 0}, {900, 1, 0}}, .bad_len = 2});
	memset(buf, 0, sizeof(buf));
	ok(blk_read(b, buf, 4096, 512, &err) == -EIO && memcmp(buf, want + 512, 388) == 0 &&
		   buf[388] == 0 && strstr(err.msg, "at byte 900:") != NULL,
	   "fault: a bad range fails at its first byte");
	ok(blk_read(b, buf, 99, 901, &err) == 0 && blk_read(b, buf, 100, 1010, &err) == 0,
	   "fault: and nowhere else");
	blk_fault_set_plan(b, &(struct blk_fault_plan){.write_space = 1000});
	ok(blk_write(b, buf, 600, 0, &err) == 0 && blk_write(b, buf, 601, 0, &err) == -ENOSPC &&
		   blk_write(b, buf, 1, 0, &err) == -ENOSPC,
	   "fault: space runs out");
	blk_fault_set_plan(b, &(struct blk_fault_plan){.ops = BLK_FAULT_WRITE,
						       .nth = 1,
						       .from_there = true,
						       .is_partial = true,
						       .code = -ENODEV});
	memset(buf, 0xaa, sizeof(buf));
	ok(blk_write(b, buf, 4096, 8192, &err) == -ENODEV &&
		   blk_read(b, buf, 4096, 8192, &err) == 0 && buf[2047] == 0xaa &&
		   memcmp(buf + 2048, want + 10240, 2048) == 0,
	   "fault: half a write is carried out");
	ok(blk_write(b, buf, 1, 0, &err) == -ENODEV, "fault: and so on from there");
	blk_fault_set_plan(b, &(struct blk_fault_plan){.ops = BLK_FAULT_FLUSH, .nth = 1});
	ok(blk_flush(b, &err) == -EIO && blk_drop_cache(b, &err) == 0, "fault: a flush fails");
	ok(blk_fault_get_stats(b).writes == 6 && blk_fault_get_stats(b).flushes == 2 &&
		   blk_fault_get_stats(b).drops == 1 && blk_fault_get_stats(b).write_size == 1112,
	   "fault: operations are counted");
	blk_free(b);
}

struct reader {
	struct blk *b;
	const unsigned char *want;
	unsigned id;
	bool good;
};

static void *read_all(void *arg)
{
	struct reader *t = arg;
	unsigned char buf[10000];
	struct err err;

	t->good = true;
	for (uint64_t o = 777ull * t->id; o + sizeof(buf) < 3000001; o += 7777) {
		t->good = t->good && blk_read(t->b, buf, sizeof(buf), o, &err) == 0 &&
			  memcmp(buf, t->want + o, sizeof(buf)) == 0;
	}
	return NULL;
}

static void test_threads(void)
{
	CLEANUP_FREE unsigned char *want = malloc(3000001);
	struct reader t[4];
	pthread_t id[4];
	struct blk *b = NULL;
	struct err err;
	bool good;

	make_file(3000001, 9);
	fill(want, 3000001, 9);
	good = blk_open_file(path, BLK_READ, BLK_DIRECT, 0, &b, &err) == 0;
	for (unsigned i = 0; i < 4; i++) {
		t[i] = (struct reader){b, want, i, false};
		good = good && pthread_create(&id[i], NULL, read_all, &t[i]) == 0;
	}
	for (unsigned i = 0; i < 4; i++)
		good = pthread_join(id[i], NULL) == 0 && good && t[i].good;
	ok(good, "four threads read the same disk at once");
	blk_free(b);
}

static void test_holes(void)
{
	const uint64_t size = (3 << 20) + 512;
	CLEANUP_FREE unsigned char *zeros = calloc(1, 4096);
	struct blk *b = NULL, *m = blk_new_memory(calloc(1, 8192), 8192, 0);
	struct err err;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ok(fd >= 0 && ftruncate(fd, (off_t)size) == 0 && close(fd) == 0 &&
		   blk_open_file(path, BLK_WRITE, BLK_DIRECT, 0, &b, &err) == 0,
	   "a file that is all hole");
	ok(blk_is_hole(b, 0, size) && blk_is_hole(b, size - 1, 1) && blk_is_hole(b, 4096, 0),
	   "is known to be one");
	ok(!blk_is_hole(b, size, 1) && !blk_is_hole(b, 0, size + 1), "but not past its end");
	ok(blk_write(b, zeros, 4096, 1 << 20, &err) == 0, "write zeros");
	ok(blk_is_hole(b, 0, 1 << 20) && !blk_is_hole(b, 0, (1 << 20) + 1) &&
		   blk_is_hole(b, 2 << 20, 1 << 20),
	   "a written block is no hole, what lies around it is");
	ok(!blk_is_hole(m, 0, 8192), "memory does not know");
	blk_free(m);
	blk_free(b);
}

static void test_physical_sectors(void)
{
	static const struct {
		unsigned said;
		uint32_t sector_size, want;
	} rows[] = {
		{512, 512, 512},
		{4096, 512, 4096},
		{4096, 4096, 4096},
		{65536, 512, 65536},
		{0, 512, 512},
		{512, 4096, 4096},
		{131072, 512, 65536},
		{98304, 512, 65536},
		{24576, 512, 16384},
		{513, 512, 512},
		{5000, 4096, 4096},
		{1U << 31, 4096, 65536},
		{UINT32_MAX, 65536, 65536},
	};
	char name[96];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(name, sizeof(name),
			       "physical sectors said to be of %u bytes, logical ones of %u",
			       rows[i].said, rows[i].sector_size);
		ok(blk_as_physical_sector_size(rows[i].said, rows[i].sector_size) == rows[i].want,
		   name);
	}
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(path, sizeof(path), "%s/disk", dir);
	test_memory();
	test_file_model(0, 3 << 20, "file: 3 MiB through the page cache");
	test_file_model(BLK_DIRECT, 3 << 20, "file: 3 MiB past the page cache");
	test_file_model(BLK_DIRECT, (3 << 20) + 777, "file: with an unaligned tail");
	test_file_zero_gives_space_back();
	test_file_errors();
	test_holes();
	test_physical_sectors();
	test_counters();
	test_fault();
	test_threads();
	char cmd[96];
	(void)snprintf(cmd, sizeof(cmd), "%s/fifo", dir);
	(void)unlink(cmd);
	(void)unlink(path);
	(void)rmdir(dir);
	return done();
}
