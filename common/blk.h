/* blk.h - a disk, whatever stands behind it: the one way to any device.
 *
 * Offsets and sizes are bytes from the start of the disk; any offset and size inside the disk will do, aligned or not.
 * All transfers are whole or an error.  Every function may be called from several threads at once on one struct blk, save
 * blk_free; transfers that overlap each other are not ordered.
 *
 * Errors, beside the errno of the failed call:
 *   -ERANGE  the bytes asked for are not all inside the disk
 *   -EROFS   the disk cannot be written: opened with BLK_READ, or locked read-only
 *   -EBUSY   a block device opened for writing is mounted or otherwise in use
 *   -EIO     the medium failed, or a file ended before its size at opening
 *   -ENOTBLK neither a block device nor a plain file
 */
#ifndef COMMON_BLK_H
#define COMMON_BLK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"

#define BLK_SECTOR_SIZE_MIN 512u
#define BLK_SECTOR_SIZE_MAX 65536u

enum blk_mode {
	BLK_READ, /* O_RDONLY; a block device is also set read-only in the kernel (BLKROSET), see BLK_LOOK */
	BLK_WRITE, /* O_RDWR; a block device is claimed (O_EXCL), so that one in use is refused */
};

/* Past the page cache (O_DIRECT) where place, length and memory are aligned to BLK_DIRECT_ALIGN (memory that is not is bounced);
 * the unaligned ends of a transfer go through the page cache.  Where the filesystem has no O_DIRECT, as without the flag. */
#define BLK_DIRECT 0x1u
/* With BLK_READ: leave the kernel's read-only switch alone.  For looking at a disk that may become a target. */
#define BLK_LOOK 0x2u
/* With BLK_WRITE: lift the read-only switch that an earlier BLK_READ has set.  Without it such a device is refused (-EROFS).  It is set again if opening fails,
 * or by blk_lock_again. */
#define BLK_LIFT_READ_ONLY 0x4u
#define BLK_DIRECT_ALIGN   4096u

struct blk;

/* What a disk can be asked to do; the range has been checked against the size and is never empty, and write_at and zero_at are only
 * called with BLK_WRITE.  `close` frees what the implementation holds, not the struct blk. Only implementations need this. */
struct blk_ops {
	int (*read_at)(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err);
	int (*write_at)(struct blk *b, const void *buf, size_t size, uint64_t offset,
			struct err *err);
	int (*zero_at)(struct blk *b, uint64_t offset, uint64_t size, struct err *err);
	int (*flush)(struct blk *b, struct err *err);
	int (*drop_cache)(struct blk *b, struct err *err);
	/* blk_direct_fd; may be NULL: there is none. */
	int (*direct_fd)(struct blk *b, const void *buf, size_t size, uint64_t offset);
	/* blk_read_sectors; may be NULL: read_at will do. */
	int (*read_sectors)(struct blk *b, void *buf, size_t size, uint64_t offset,
			    struct err *err);
	/* May be NULL: it never knows. */
	uint64_t (*hole_end)(struct blk *b, uint64_t offset);
	void (*close)(struct blk *b);
};

/* Fixed once made.  An implementation embeds it as its first member, allocated with malloc. */
struct blk {
	const struct blk_ops *ops;
	uint64_t size;
	uint32_t sector_size;	       /* logical, a power of two */
	uint32_t physical_sector_size; /* >= sector_size, a power of two */
	enum blk_mode mode;
	bool is_device; /* a block device, not a plain file or memory */
	bool is_locked; /* a block device that the kernel refuses to write to (BLKROSET or hardware) */
	bool is_lifted; /* opening it has lifted that: BLK_LIFT_READ_ONLY */
	char *name;	/* for messages; owned */
	uint64_t seq;	/* blk_disk_seq */
};

/* Open the block device or plain file `path` (nothing is created).  `flags` are BLK_*.  `sector_size` is for plain files only: a power of
 * two from 512 to 65536, or 0 for 512; a plain file's physical sector size equals it.
 * A BLK_READ device that cannot be set read-only for lack of privilege is opened all the same: see blk_is_locked. */
int blk_open_file(const char *path, enum blk_mode mode, unsigned flags, uint32_t sector_size,
		  struct blk **ret, struct err *err) MUST_CHECK;

/* A disk in memory, opened for writing.  Takes `take_buf` (malloc'd, `size` bytes; may be NULL if size is 0), also on failure.
 * `sector_size` as above.  NULL when out of memory. */
struct blk *blk_new_memory(void *take_buf, uint64_t size, uint32_t sector_size) MUST_CHECK;

int blk_read(struct blk *b, void *buf, size_t size, uint64_t offset, struct err *err) MUST_CHECK;
/* The same for whole logical sectors: nothing beside them is read, where the device allows it, so that a bad sector next to them does no harm. */
int blk_read_sectors(struct blk *b, void *buf, size_t size, uint64_t offset,
		     struct err *err) MUST_CHECK;
/* A descriptor from which one read system call of that size and place, past the page cache, is what blk_read would do; for whoever has
 * another way to make it.  Stays the disk's.  -1: there is none, use blk_read. */
int blk_direct_fd(struct blk *b, const void *buf, size_t size, uint64_t offset);
int blk_write(struct blk *b, const void *buf, size_t size, uint64_t offset,
	      struct err *err) MUST_CHECK;

/* Make the range read as zeros, giving up the space behind it where the device can (thin disks, sparse files). */
int blk_zero(struct blk *b, uint64_t offset, uint64_t size, struct err *err) MUST_CHECK;

/* On return all that was written is on stable storage. */
int blk_flush(struct blk *b, struct err *err) MUST_CHECK;

/* Flush, then forget what the page cache holds of this disk, so that later reads come from the medium. */
int blk_drop_cache(struct blk *b, struct err *err) MUST_CHECK;

/* From `offset` (inside the disk) up to there it is known without reading that there is nothing but zeros (a hole in a sparse file);
 * `offset` itself where that is not known. */
uint64_t blk_hole_end(struct blk *b, uint64_t offset) MUST_CHECK;
/* Is it known without reading that the range is nothing but zeros (a hole in a sparse file)?  False for a range that is not inside. */
bool blk_is_hole(struct blk *b, uint64_t offset, uint64_t size) MUST_CHECK;

void blk_free(struct blk *b);
static inline void blk_freep(struct blk **b)
{
	blk_free(*b);
}

static inline uint64_t blk_size(const struct blk *b)
{
	return b->size;
}
static inline uint32_t blk_sector_size(const struct blk *b)
{
	return b->sector_size;
}
static inline uint32_t blk_physical_sector_size(const struct blk *b)
{
	return b->physical_sector_size;
}
static inline const char *blk_name(const struct blk *b)
{
	return b->name;
}
/* A block device, that is, not a plain file or memory? */
static inline bool blk_is_device(const struct blk *b)
{
	return b->is_device;
}
/* Does the kernel itself refuse writes to this device, by anyone? */
static inline bool blk_is_locked(const struct blk *b)
{
	return b->is_locked;
}

/* Nothing is to be written to it after all: set the read-only switch that opening it has lifted, if it has. */
int blk_lock_again(struct blk *b, struct err *err) MUST_CHECK;

/* BLKGETDISKSEQ, and what sysfs calls diskseq: no two disks have it in common as long as the machine runs, though the second may get the first one's name. 0: not
 * known (a plain file, a kernel before 5.15). */
static inline uint64_t blk_disk_seq(const struct blk *b)
{
	return b->seq;
}

/* What the kernel has counted on a whole block device since it appeared (Documentation/block/stat.rst); sectors of 512 bytes. */
struct blk_counters {
	uint64_t reads, sectors_read;
	uint64_t writes, sectors_written;
	uint64_t discards, sectors_discarded;
	uint64_t flushes;
};

/* Read them for an open block device.  -EOPNOTSUPP for a plain file or memory. */
int blk_read_counters(struct blk *b, struct blk_counters *ret, struct err *err) MUST_CHECK;

/* Parse the text of a sysfs `stat` file.  Kernels before 4.18 have no discards, before 5.5 no flushes: 0.  -EBADMSG if it is not one. */
int blk_parse_counters(const char *text, struct blk_counters *ret) MUST_CHECK;

/* For implementations: fill in what all have.  Takes nothing; -ENOMEM. */
int blk_init(struct blk *b, const struct blk_ops *ops, const char *name,
	     struct err *err) MUST_CHECK;

/* Is this a sector size that a disk can have? */
static inline bool blk_sector_size_is_valid(uint32_t n)
{
	return n >= BLK_SECTOR_SIZE_MIN && n <= BLK_SECTOR_SIZE_MAX && (n & (n - 1)) == 0;
}

/* What a device says of its physical sectors, as one that formats have.  Volumes of a storage server say how large the pieces are in which that writes
 * (the volblocksize of ZFS, a RAID's stripe): up to 1 MiB, or no power of two.  It is only a hint: the largest that is valid and not above it. */
static inline uint32_t blk_as_physical_sector_size(uint32_t said, uint32_t sector_size)
{
	uint32_t n = sector_size;

	while (n < BLK_SECTOR_SIZE_MAX && n <= said / 2)
		n *= 2;
	return n;
}
#endif
