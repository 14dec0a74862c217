/* table.h - partition tables: GPT (UEFI 2.10, chapter 5) and MBR with extended partitions. */
#ifndef AGENT_USAGE_TABLE_H
#define AGENT_USAGE_TABLE_H
#include "agent/usage/volume.h"

#define TABLE_ENTRIES_MAX 1024u

struct table_entry {
	uint32_t number;
	uint64_t offset, size; /* bytes; inside the disk, not none */
	bool is_extended;      /* of MBR: the one that holds the logical ones */
	bool is_boot;	       /* BIOS boot, PReP: code without a filesystem */
	bool is_raid;	       /* by its type a member of a Linux array */
	const char *raw_why;   /* static: the type says that it is not to be looked into */
};

struct table {
	const char *name; /* "gpt", "dos" */
	/* Every number in it agrees with every other; without that unpartitioned space is in use. */
	bool is_sane;
	char why[160]; /* it is not sane */
	struct table_entry *
		entries; /* heap; by offset, an extended partition before those in it; apart otherwise */
	size_t len;
	/* What belongs to the table, beyond the space before the first partition. */
	struct extent *own; /* heap */
	size_t own_len;
};

/* Read the table of `v`.  1, or 0 when there is none.  -EUCLEAN when there is something like one that cannot be trusted, another errno
 * when it cannot be read: then nothing is known about the whole space. */
int table_read(struct volume *v, struct table *ret, struct err *err) MUST_CHECK;
void table_done(struct table *t);

/* Of table_read: the primary sectors are those in `mbr` (512 bytes). */
int gpt_read(struct volume *v, const uint8_t *mbr, struct table *ret, struct err *err) MUST_CHECK;
int mbr_read(struct volume *v, const uint8_t *mbr, struct table *ret, struct err *err) MUST_CHECK;

/* For these two.  -ENOMEM, -E2BIG. */
int table_add(struct table *t, const struct table_entry *e, struct err *err) MUST_CHECK;
int table_add_own(struct table *t, uint64_t offset, uint64_t length, struct err *err) MUST_CHECK;

struct mbr_entry {
	uint8_t flag, type;
	uint32_t lba, sectors;
};
/* The `i`th of the four. */
struct mbr_entry mbr_entry(const uint8_t *sector, unsigned i);
#endif
