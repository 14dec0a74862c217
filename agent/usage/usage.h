/* usage.h - a disk's map: which of its bytes are in use, and why.  What a capture reads; the rest counts as zeros.
 *
 * usage_map only reads.  Nothing is mounted, assembled or written, and what it says depends on nothing but the bytes of the disks.  It goes
 * through layers: disk, partition table (GPT, MBR with logical partitions, none), contents of each partition, the volumes inside them (LVM2 over
 * all the disks given, MD RAID 1; these may again hold tables, volumes and filesystems), and the filesystem's own map of what it has allocated.
 *
 * In use are, whatever any map says: partition tables, the space before the first partition, small spaces between partitions, the space after
 * the last one (of more than USAGE_TAIL_MAX bytes only its start and its end), boot partitions, what of a partition lies outside the
 * filesystem's own map, all metadata of LVM and MD.  Other unpartitioned space is free, if the table is beyond doubt, and if in that of an MBR
 * nothing begins that is known: a boot manager may have more partitions than the table.
 *
 * Doubt means raw: where a log has to be replayed first, a checksum or a count is wrong, a feature is not known, a pointer leads outside, two
 * kinds of content claim the same space, or a metadata block cannot be read, that partition or volume is in use whole, and `why` says so in a
 * sentence.  Content that no reader understands is in use whole.  Damage is no error of this function.
 *
 * Memory: at most about 24 MiB, however large the disks are, for tables (16 bytes an extent) and caches; ext4 needs 64 bytes more for each of its
 * groups of 128 MiB, btrfs 48 for each chunk of about 1 GiB.  When a disk has more extents than that, the smallest gaps count as in use.
 */
#ifndef AGENT_USAGE_USAGE_H
#define AGENT_USAGE_USAGE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/blk.h"
#include "common/index.h"

#define USAGE_DISKS_MAX 256u
/* Extents of all disks of one call together; the share of a disk is at least USAGE_EXTENTS_MIN. */
#define USAGE_EXTENTS_MAX (512u << 10)
#define USAGE_EXTENTS_MIN 8192u
/* Unpartitioned space: up to this size it is in use between partitions, ... */
#define USAGE_GAP_MAX (1ull << 20)
/* ... after the last partition.  Of more than this the first USAGE_GAP_MAX and the last USAGE_TAIL_MAX bytes are: firmware keeps what it knows
 * of RAID sets there, and Windows its database of dynamic disks. */
#define USAGE_TAIL_MAX (64ull << 20)

enum usage_how {
	USAGE_RAW,    /* whole */
	USAGE_MAP,    /* by its own map */
	USAGE_HEADER, /* only a header */
	USAGE_NONE,   /* nothing: no partition is there */
};

/* A partition, a volume, or a space outside all partitions, and what was decided about it. */
struct usage_part {
	uint32_t number; /* of a partition in its table; 0 for others */
	uint64_t offset; /* from the start of its disk; 0 for a volume */
	uint64_t size;	 /* bytes */
	char name
		[128]; /* a volume's: "vg/lv", "md/NAME", with "/1" for partition 1 on it; else what the space is */
	const char *content; /* static; as libblkid names it: "ext4", "LVM2_member"; "unknown" */
	char label[192];     /* UTF-8; may be empty, as well as: */
	char uuid[64];	     /* as libblkid prints it */
	enum usage_how how;
	uint64_t used;	  /* what its own map calls used; `size` if raw */
	uint64_t copied;  /* how much of it is in the extents of this disk */
	bool is_replayed; /* its log was, and this is the map of both states */
	char why[320];	  /* one sentence, no full stop */
};

struct usage_map {
	uint64_t size;
	uint32_t sector_size;
	const char *table;	/* static: "gpt", "dos", "none" */
	struct extent *extents; /* heap; ascending, apart, inside the disk */
	size_t extents_len;
	uint64_t copied; /* sum of the extents */
	/* In order of offset; all heap. */
	struct usage_part *partitions; /* without a table the whole disk, as number 0 */
	size_t partitions_len;
	struct usage_part
		*areas; /* of the disk outside all partitions, in use or not (USAGE_NONE: not) */
	size_t areas_len;
	struct usage_part *volumes; /* that lie on this disk, at least in part */
	size_t volumes_len;
};

/* Consecutive bytes of a disk. */
struct usage_piece {
	struct blk *disk;
	uint64_t offset, length;
};
#define USAGE_PIECES_MAX      4096u
#define USAGE_REPLAY_RUNS_MAX 32768u

/* A filesystem whose map cannot be believed before its log is replayed, and where it lies: the pieces make it up in order. */
struct usage_unclean {
	const char *content; /* as in struct usage_part */
	uint64_t size;
	uint32_t sector_size;
	const struct usage_piece *pieces;
	size_t pieces_len; /* 1..USAGE_PIECES_MAX */
};

/* Put into `ret` (initialised for USAGE_REPLAY_RUNS_MAX, empty) what is in use on the filesystem when its log has been replayed, together with all that replaying
 * needs; offsets from its start.  An error leaves the filesystem raw, and its message says why. */
struct runs;
typedef int usage_replay_fn(void *ctx, const struct usage_unclean *u, struct runs *ret,
			    struct err *err);

struct usage_options {
	usage_replay_fn *replay; /* NULL: what needs it is raw */
	void *replay_ctx;
	/* Of unclean filesystems (ext, XFS, btrfs) what lies on the disk, the log included, where readers can make it out; in doubt about a place it is in use.  This
	 * alone loses files: it is one half of what `replay` has to answer. */
	bool is_past_log;
};

/* Map `len` disks (1..USAGE_DISKS_MAX) of one machine together: a volume over several disks is only understood when all of them are given,
 * and is raw otherwise.  `ret` has `len` elements, for usage_map_done.  Blocks while it reads; not to be called from two threads at once
 * (libext2fs and libntfs-3g have state of their own).
 * -ENOMEM; -EINVAL for sizes that no disk has; `ret` then is all zero. */
int usage_map(struct blk *const *disks, size_t len, struct usage_map *ret,
	      struct err *err) MUST_CHECK;
int usage_map_with(struct blk *const *disks, size_t len, const struct usage_options *options,
		   struct usage_map *ret, struct err *err) MUST_CHECK;
void usage_map_done(struct usage_map *m);

/* "raw", "map", ... */
const char *usage_how_name(enum usage_how how);
#endif
