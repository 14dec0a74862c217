/* faulty_disk FILE CONTROL MOUNTPOINT: MOUNTPOINT/disk is FILE with faults, by FUSE, so that every way of reading meets them: system calls,
 * O_DIRECT, io_uring.  Stays in the foreground; ends with SIGTERM or when it is unmounted.
 *
 * CONTROL is read again at each request.  Lines:
 *	bad OFFSET LENGTH	reads that touch it fail with EIO, after what lies before
 *	slow MS			each of these takes so long
 *	dead			every read fails with EIO
 *	size BYTES		the disk has become that small
 *	nowrite OFFSET LENGTH	writes that touch it fail with EIO
 *	bend OFFSET		another byte than what was written there is read
 *	hold OFFSET LENGTH	reads that touch it wait until that line is gone, each having said so by a line "held" on standard output
 * Each request that fails is a line "OFFSET LENGTH" on standard output. */
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PLACES_MAX 1024

struct faults {
	struct {
		uint64_t offset, length;
	} bad[PLACES_MAX], nowrite[PLACES_MAX];
	size_t bad_len, nowrite_len;
	unsigned slow_ms;
	int is_dead;
	uint64_t size; /* 0: the file's */
	uint64_t bend;
	int has_bend;
	uint64_t hold, hold_end; /* equal: none */
};

static int file;
static const char *control;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over standard output */

static void load(struct faults *f)
{
	FILE *in = fopen(control, "re");
	char line[128];

	memset(f, 0, sizeof(*f));
	while (in && fgets(line, sizeof(line), in)) {
		char word[16] = "";
		uint64_t a = 0, b = 0;

		/* NOLINTNEXTLINE(cert-err34-c): a test's own file */
		if (sscanf(line, "%15s %" SCNu64 " %" SCNu64, word, &a, &b) < 1)
			continue;
		if (strcmp(word, "bad") == 0 && f->bad_len < PLACES_MAX) {
			f->bad[f->bad_len].offset = a;
			f->bad[f->bad_len++].length = b;
		} else if (strcmp(word, "nowrite") == 0 && f->nowrite_len < PLACES_MAX) {
			f->nowrite[f->nowrite_len].offset = a;
			f->nowrite[f->nowrite_len++].length = b;
		} else if (strcmp(word, "bend") == 0) {
			f->bend = a;
			f->has_bend = 1;
		} else if (strcmp(word, "hold") == 0) {
			f->hold = a;
			f->hold_end = a + b;
		} else if (strcmp(word, "slow") == 0) {
			f->slow_ms = (unsigned)a;
		} else if (strcmp(word, "dead") == 0) {
			f->is_dead = 1;
		} else if (strcmp(word, "size") == 0) {
			f->size = a;
		}
	}
	if (in)
		(void)fclose(in);
}

static int fail(const struct faults *f, off_t offset, size_t size)
{
	(void)pthread_mutex_lock(&lock);
	(void)printf("%jd %zu\n", (intmax_t)offset, size);
	(void)fflush(stdout);
	(void)pthread_mutex_unlock(&lock);
	if (f->slow_ms > 0)
		(void)nanosleep(&(struct timespec){f->slow_ms / 1000, f->slow_ms % 1000 * 1000000L},
				NULL);
	return -EIO;
}

/* As long as the control file says so. */
static void wait_held(struct faults *f, uint64_t at, uint64_t end)
{
	int said = 0;

	while (f->hold < end && f->hold_end > at) {
		if (!said) {
			(void)pthread_mutex_lock(&lock);
			(void)puts("held");
			(void)fflush(stdout);
			(void)pthread_mutex_unlock(&lock);
			said = 1;
		}
		(void)nanosleep(&(struct timespec){0, 20000000L}, NULL);
		load(f);
	}
}

static int get_attributes(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	struct faults f;
	struct stat real;

	(void)fi;
	memset(st, 0, sizeof(*st));
	if (strcmp(path, "/") == 0) {
		st->st_mode = S_IFDIR | 0755;
		return 0;
	}
	if (strcmp(path, "/disk") != 0 || fstat(file, &real) < 0)
		return -ENOENT;
	load(&f);
	st->st_mode = S_IFREG | 0644;
	st->st_nlink = 1;
	st->st_size = f.size > 0 ? (off_t)f.size : real.st_size;
	st->st_mtim = real.st_mtim;
	return 0;
}

static int list(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
		struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	(void)path;
	(void)offset;
	(void)fi;
	(void)flags;
	return fill(buf, "disk", NULL, 0, 0) ? -ENOMEM : 0;
}

static int open_disk(const char *path, struct fuse_file_info *fi)
{
	fi->direct_io = 1; /* what is read again is asked for again */
	return strcmp(path, "/disk") == 0 ? 0 : -ENOENT;
}

static int read_disk(const char *path, char *buf, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	uint64_t at = (uint64_t)offset, end = at + size;
	struct faults f;
	ssize_t n;

	(void)path;
	(void)fi;
	load(&f);
	wait_held(&f, at, end);
	if (f.is_dead)
		return fail(&f, offset, size);
	if (f.size > 0 && at >= f.size)
		return 0;
	end = f.size > 0 && end > f.size ? f.size : end;
	for (size_t i = 0; i < f.bad_len; i++) {
		uint64_t from = f.bad[i].offset, to = from + f.bad[i].length;

		if (from < end && to > at)
			end = from > at ? from : at;
	}
	if (end == at)
		return fail(&f, offset, size);
	n = pread(file, buf, end - at, offset);
	if (n > 0 && f.has_bend && f.bend >= at && f.bend - at < (uint64_t)n)
		buf[f.bend - at] = (char)(buf[f.bend - at] ^ 1);
	return n < 0 ? -errno : (int)n;
}

static int write_disk(const char *path, const char *buf, size_t size, off_t offset,
		      struct fuse_file_info *fi)
{
	uint64_t at = (uint64_t)offset;
	struct faults f;
	ssize_t n;

	(void)path;
	(void)fi;
	load(&f);
	for (size_t i = 0; i < f.nowrite_len; i++) {
		if (f.nowrite[i].offset < at + size &&
		    f.nowrite[i].offset + f.nowrite[i].length > at)
			return fail(&f, offset, size);
	}
	n = pwrite(file, buf, size, offset);
	return n < 0 ? -errno : (int)n;
}

static int sync_disk(const char *path, int datasync, struct fuse_file_info *fi)
{
	(void)path;
	(void)datasync;
	(void)fi;
	return 0;
}

static const struct fuse_operations operations = {
	.getattr = get_attributes,
	.readdir = list,
	.open = open_disk,
	.read = read_disk,
	.write = write_disk,
	.fsync = sync_disk,
};

int main(int argc, char **argv)
{
	char stay[] = "-f", option[] = "-oattr_timeout=0,entry_timeout=0";
	char *args[] = {argv[0], stay, option, argc == 4 ? argv[3] : NULL, NULL};

	if (argc != 4 || (file = open(argv[1], O_RDWR | O_CLOEXEC)) < 0) {
		(void)fprintf(stderr, "usage: faulty_disk FILE CONTROL MOUNTPOINT\n");
		return 2;
	}
	control = realpath(argv[2], NULL); /* libfuse goes to / */
	if (!control)
		return 2;
	return fuse_main(4, args, &operations, NULL);
}
