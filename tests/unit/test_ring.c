/* Reads by io_uring: the same bytes as without, the same care for bad places, and nothing is lost where there is none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/buffer.h"
#include "agent/source.h"
#include "tests/lib/blk_fault.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

#define DISK (16u << 20)
#define SIZE (4u << 20)

static char path[] = "/var/tmp/hoist-test-ring-XXXXXX";
static uint8_t *content;

static struct blk *open_disk(void)
{
	struct blk *b = NULL;
	struct err err;

	if (blk_open_file(path, BLK_READ, BLK_DIRECT, 512, &b, &err) < 0)
		printf("# %s\n", err.msg);
	return b;
}

/* No io_uring from here on, as in many containers. */
static bool forbid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = {sizeof(code) / sizeof(*code), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) == 0;
}

static void test_forbidden(void)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		_exit(forbid() && !ring_new(1) && errno == EPERM ? 0 : 1);
	ok(child > 0 && waitpid(child, &status, 0) == child && status == 0,
	   "where it is forbidden there is none, and errno says so");
}

static void test_results(struct ring *ring)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), bad = open(path, O_WRONLY | O_CLOEXEC);
	uint8_t *buf = buffer_new(SIZE);
	struct ring_read r[RING_DEPTH];

	for (unsigned i = 0; i < RING_DEPTH; i++)
		r[i] = (struct ring_read){buf + i * 65536, (RING_DEPTH - i) * 100000, 65536, fd, 9};
	r[3].offset = DISK - 5;
	r[5].fd = bad;
	r[6].offset = DISK + 4096;
	ring_do(ring, r, RING_DEPTH);
	ok(r[0].result == 0 && r[7].result == 0 &&
		   memcmp(buf, content + RING_DEPTH * 100000, 65536) == 0 &&
		   memcmp(buf + 7 * 65536, content + 100000, 65536) == 0,
	   "several reads, each to its place");
	ok(r[3].result == RING_LEFT && r[6].result == RING_LEFT,
	   "what is cut short is left to others");
	ok(r[5].result == -EBADF, "an error is that read's own");
	ring_do(ring, r, 1);
	ok(r[0].result == 0, "it goes on");
	(void)close(fd);
	(void)close(bad);
	free(buf);
}

/* The first MiB of each MiB pair in use, or the whole disk, or many little places far apart. */
static bool read_all(struct ring *ring, const struct used *used, uint64_t gap, uint64_t *ret_ring,
		     uint64_t *ret_read)
{
	struct blk *b = open_disk();
	uint8_t *buf = buffer_new(SIZE), *want = calloc(1, DISK);
	struct source s;
	struct err err;
	bool same = true;
	uint64_t ms;

	for (size_t i = 0; i < used->len; i++)
		memcpy(want + used->extents[i].offset, content + used->extents[i].offset,
		       used->extents[i].length);
	source_init(&s, b, used, gap == 0);
	s.gap_size = gap;
	for (uint32_t at = 0; at < DISK; at += SIZE) {
		memset(buf, 0xaa, SIZE);
		same = same && source_read(&s, ring, buf, at, SIZE, &ms, &err) == 0 &&
		       memcmp(buf, want + at, SIZE) == 0;
	}
	*ret_ring = s.bytes_ring;
	*ret_read = s.bytes_read;
	same = same && s.errors == 0 && s.unreadable.len == 0;
	source_done(&s);
	blk_free(b);
	free(buf);
	free(want);
	return same;
}

static void test_source(struct ring *ring)
{
	struct used whole, spots;
	struct extent *e = calloc(512, sizeof(*e));
	uint64_t by_ring = 0, read = 0, read_plain = 0;

	ok(used_init_whole(&whole, DISK) == 0 && read_all(ring, &whole, 65536, &by_ring, &read),
	   "a whole disk");
	ok(by_ring == DISK && read == DISK, "all of it by io_uring");
	ok(read_all(NULL, &whole, 65536, &by_ring, &read) && by_ring == 0 && read == DISK,
	   "and without");
	for (size_t i = 0; i < 512; i++)
		e[i] = (struct extent){i * 32768 + i % 7 * 512, 1000 + i * 40};
	used_take(&spots, e, 512);
	ok(read_all(ring, &spots, 0, &by_ring, &read) && by_ring == read,
	   "more places in a window than fit at once, one worker at a time");
	ok(read_all(NULL, &spots, 0, &by_ring, &read_plain) && read_plain == read,
	   "the same reads without");
	ok(read_all(ring, &spots, 65536, &by_ring, &read) && by_ring == read,
	   "short gaps read through");
	used_done(&whole);
	used_done(&spots);
}

/* A disk whose descriptor for the second MiB fails with EIO, as a bad sector does. */
struct bad_disk {
	struct blk blk;
	struct blk *inner, *fault;
	int bad_fd;
};

static struct bad_disk *bad_of(struct blk *b)
{
	return (struct bad_disk *)b;
}

static int bad_read_at(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err)
{
	return blk_read(bad_of(b)->fault, buf, size, offset, err);
}

static int bad_direct_fd(struct blk *b, const void *buf, size_t size, uint64_t offset)
{
	if (offset == 1u << 20)
		return bad_of(b)->bad_fd;
	return blk_direct_fd(bad_of(b)->inner, buf, size, offset);
}

static void bad_close(struct blk *b)
{
	blk_free(bad_of(b)->fault);
}

static const struct blk_ops bad_ops = {
	.read_at = bad_read_at, .direct_fd = bad_direct_fd, .close = bad_close};

/* `bad_size` bytes of it are unreadable by any way. */
static struct blk *bad_disk_new(uint64_t bad_size, int bad_fd)
{
	struct bad_disk *d = calloc(1, sizeof(*d));
	struct blk_fault_plan plan = {.bad_len = bad_size > 0};
	struct err err;

	plan.bad[0].offset = (1u << 20) + 8192;
	plan.bad[0].size = bad_size;
	d->inner = open_disk();
	d->fault = blk_fault_new(d->inner, &plan);
	d->bad_fd = bad_fd;
	d->blk.size = DISK;
	d->blk.sector_size = d->blk.physical_sector_size = 512;
	ok(blk_init(&d->blk, &bad_ops, "bad", &err) == 0, "a disk with a bad place");
	return &d->blk;
}

static void test_bad_places(struct ring *ring)
{
	/* reading the memory of a process where it has none is EIO */
	int eio = open("/proc/self/mem", O_RDONLY | O_CLOEXEC),
	    worse = open(path, O_WRONLY | O_CLOEXEC);
	uint8_t *buf = buffer_new(SIZE);
	struct source s;
	struct used whole;
	struct err err;
	struct blk *b = bad_disk_new(0, eio);
	uint64_t ms;

	ok(used_init_whole(&whole, DISK) == 0, "all in use");
	source_init(&s, b, &whole, false);
	ok(source_read(&s, ring, buf, 0, SIZE, &ms, &err) == SOURCE_SICK &&
		   strstr(err.msg, "at byte 1048576: Input"),
	   "a read that failed makes the window sick, and says where");
	ok(s.errors == 1 && s.unreadable.len == 0, "it failed once, and nothing is given up here");
	source_done(&s);
	blk_free(b);
	b = bad_disk_new(1024, -1);
	source_init(&s, b, &whole, false);
	ok(source_read(&s, ring, buf, 0, SIZE, &ms, &err) == SOURCE_SICK && s.errors == 1,
	   "so does one by system calls");
	ok(source_read_sectors(&s, buf, (1u << 20) + 8192 + 512, 512, &err) == SOURCE_SICK &&
		   source_read_sectors(&s, buf, (1u << 20) + 8192 + 1024, 512, &err) == 0 &&
		   memcmp(buf, content + (1u << 20) + 8192 + 1024, 512) == 0,
	   "a sector beside a bad one can be read");
	source_done(&s);
	blk_free(b);
	b = bad_disk_new(0, worse);
	source_init(&s, b, &whole, false);
	ok(source_read(&s, ring, buf, 0, SIZE, &ms, &err) == -EBADF &&
		   strstr(err.msg, "at byte 1048576: Bad file"),
	   "what is no bad place ends it, and says where");
	source_done(&s);
	blk_free(b);
	used_done(&whole);
	free(buf);
	(void)close(eio);
	(void)close(worse);
}

static bool is_direct(void)
{
	uint8_t *buf = buffer_new(SIZE);
	struct blk *b = open_disk();
	bool direct = b && blk_direct_fd(b, buf, 4096, 0) >= 0;

	ok(b && blk_direct_fd(b, buf, 512, 0) < 0 && blk_direct_fd(b, buf, 4096, 512) < 0 &&
		   blk_direct_fd(b, buf + 1, 4096, 0) < 0 && blk_direct_fd(b, buf, 4096, DISK) < 0,
	   "what is not aligned, or not inside, is not read directly");
	blk_free(b);
	free(buf);
	return direct;
}

int main(void)
{
	int fd = mkstemp(path);
	struct ring *ring = ring_new(RING_DEPTH);

	content = rig_make_disk(DISK, 5);
	ok(fd >= 0 && write(fd, content, DISK) == DISK, "a file");
	test_forbidden();
	if (ring)
		test_results(ring);
	if (ring && is_direct()) {
		test_source(ring);
		test_bad_places(ring);
	} else {
		printf("ok %d # SKIP no io_uring or no O_DIRECT here\n", ++tap_n);
	}
	ring_free(ring);
	(void)close(fd);
	(void)unlink(path);
	free(content);
	return done();
}
