/* fuzz_file.h - a file in memory for what takes the name of one.  Included by one target each. */
#ifndef TESTS_FUZZ_FUZZ_FILE_H
#define TESTS_FUZZ_FUZZ_FILE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/blk.h"

static int fuzz_file_fd = -1;
static char fuzz_file_path[32];

/* The file, empty, `size` bytes long: its name is fuzz_file_path, its descriptor fuzz_file_fd. */
static inline void fuzz_file_new(uint64_t size)
{
	if (fuzz_file_fd < 0) {
		fuzz_file_fd = memfd_create("fuzz", MFD_CLOEXEC);
		(void)snprintf(fuzz_file_path, sizeof(fuzz_file_path), "/proc/self/fd/%d",
			       fuzz_file_fd);
	}
	if (fuzz_file_fd < 0 || ftruncate(fuzz_file_fd, 0) < 0 ||
	    ftruncate(fuzz_file_fd, (off_t)size) < 0)
		abort();
}

static inline void fuzz_file_put(const void *data, size_t size, uint64_t offset)
{
	if (pwrite(fuzz_file_fd, data, size, (off_t)offset) != (ssize_t)size)
		abort();
}

/* What a disk of tests/lib/image.h holds; its zeros are holes. */
static inline void fuzz_file_from(struct blk *disk)
{
	static uint8_t buf[64 << 10];
	uint64_t size = blk_size(disk);
	struct err err;

	fuzz_file_new(size);
	for (uint64_t at = 0; at < size; at += sizeof(buf)) {
		size_t n = size - at < sizeof(buf) ? (size_t)(size - at) : sizeof(buf);

		if (blk_read(disk, buf, n, at, &err) < 0)
			abort();
		for (size_t i = 0; i < n; i += 512) {
			if (buf[i] || memcmp(buf + i, buf + i + 1, 511) != 0)
				fuzz_file_put(buf + i, 512, at + i);
		}
	}
}
#endif
