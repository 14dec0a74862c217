/* disk.h - what is known of one disk: its shape and identity (enumerate.c) and what is on it (probe.c). */
#ifndef AGENT_DISK_H
#define AGENT_DISK_H
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/buspath.h"
#include "agent/sysroot.h"
#include "common/blk.h"
#include "common/id.h"
#include "common/text.h"

#define DISKS_MAX 256u /* once each is listed but once */
#define DEVICES_MAX \
	1024u /* before that: a disk of a storage network may have eight paths and more */
#define PARTITIONS_MAX 256u
#define DISK_ID_SIZE   129 /* DISK_ID_MAX of common/message.h and NUL */
#define DISK_NAME_SIZE 64

/* All of these are text as docs/inventory.md says, "" when unknown. */
struct content {
	char type[32]; /* "" when nothing was found */
	char usage[16];
	char version[32];
	char uuid[64];
	char label[TEXT_SIZE];
};

struct partition {
	uint64_t offset, size; /* bytes, as the table says: may lie outside the disk */
	unsigned number;
	bool is_extended, is_bootable;
	char type[40];
	char name[TEXT_SIZE];
	char uuid[64];
	struct content content;
};

struct contents {
	char table_type[32]; /* "" without a table */
	char table_uuid[64];
	struct partition *partitions; /* heap */
	size_t partitions_len;
	struct content content; /* of the whole disk */
	bool is_empty;
	bool is_boot_medium; /* our own live image */
	bool has_fingerprint;
	struct id fingerprint;
	char error[512]; /* "", or why the above is not all */
};

enum disk_kind { DISK_PLAIN, DISK_MULTIPATH, DISK_MD, DISK_FILE };

struct disk {
	char id[DISK_ID_SIZE];
	char name[DISK_NAME_SIZE];    /* "cciss/c0d0" */
	char sysname[DISK_NAME_SIZE]; /* "cciss!c0d0" */
	char path[PATH_MAX];	      /* to open */
	char device[PATH_MAX];	      /* canonical place in sysfs, "" for a file */
	enum disk_kind kind;
	uint64_t size;
	uint64_t seq; /* blk_disk_seq */
	uint32_t sector_size, physical_sector_size;
	char model[TEXT_SIZE], serial[TEXT_SIZE], wwn[TEXT_SIZE];
	unsigned nsid;	    /* NVMe: the namespace's number, else 0 */
	char md_uuid[64];   /* of the array; may only be known once its members were probed */
	struct buspath bus; /* transport is never NULL */
	int rotational;	    /* 1, 0, or -1: not known */
	bool is_read_only, is_removable;
	struct name_list paths, members, used_by;
	struct contents contents;
};

/* Of what is skipped: a disk that is there, and not to be had. */
#define DISK_NO_SIZE "no_size"

struct skipped {
	char name[DISK_NAME_SIZE];
	const char *reason; /* a word of docs/inventory.md */
	char text[TEXT_SIZE];
	char serial[TEXT_SIZE], wwn[TEXT_SIZE]; /* DISK_NO_SIZE only */
};

struct disk_list {
	struct disk *disks; /* heap */
	size_t len;
	struct skipped *skipped; /* heap */
	size_t skipped_len;
};

const char *disk_kind_name(enum disk_kind k);
void contents_done(struct contents *c);
void disk_list_done(struct disk_list *l);
/* A zeroed disk or note at the end, or NULL when out of memory or when there are DEVICES_MAX. */
struct disk *disk_list_add(struct disk_list *l);
struct skipped *disk_list_skip(struct disk_list *l, const char *name, const char *reason,
			       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Take disk `i` out of the list, with a note why. */
void disk_list_remove(struct disk_list *l, size_t i, const char *reason, const char *text);

/* Is what was opened by its path the disk that was looked at?  -ESTALE: another one has come up there, or it has changed. */
int disk_check_opened(const struct disk *d, const struct blk *b, struct err *err) MUST_CHECK;

/* The ids of all disks, docs/inventory.md "A disk's id": after this they are unique. */
void disk_list_name(struct disk_list *l);
/* By place: docs/inventory.md, `disks`. */
void disk_list_sort(struct disk_list *l);
#endif
