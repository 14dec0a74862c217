/* scan.h - one run of usage_map: the places found so far, and what readers of formats need.  Internal to agent/usage/. */
#ifndef AGENT_USAGE_SCAN_H
#define AGENT_USAGE_SCAN_H
#include "agent/usage/usage.h"
#include "agent/usage/view.h"
#include "agent/usage/volume.h"

#define SCAN_DEPTH_MAX \
	8u /* of layers: disk, partition, array, logical volume, partition on it, ... */
#define SCAN_PLACES_MAX 4096u /* of all disks together */

struct scan;
struct format;

enum place_kind { PLACE_DISK, PLACE_PARTITION, PLACE_AREA, PLACE_VOLUME };

/* A space with content: a disk, a partition, a volume. */
struct place {
	enum place_kind kind;
	struct volume *volume; /* owned; NULL for extended partitions */
	struct place *
		parent; /* the place whose table names it; NULL for disks, arrays and logical volumes */
	unsigned depth;
	bool is_logical;   /* a logical volume of LVM */
	bool is_boot;	   /* boot code, by its type in the table: not looked into */
	char raw_why[128]; /* not looked into, and why; empty otherwise */
	struct usage_part part;
	const char *table;    /* of disks and other places that may have a table */
	struct place *inside; /* the array that it is a member of, or NULL */
	bool is_spare;	      /* an area that is free if all else is as it seems */
	void *state;	      /* of a member of a group (LVM, MD): what its format has read */
	void (*free_state)(void *state);
};

/* Content of one kind, one for each format; formats.c lists them. */
struct format {
	const char *name; /* for messages */
	/* Does it claim this space?  1, after setting part->content, label and uuid; 0; or a negative errno when it cannot be read. */
	int (*probe)(struct volume *v, struct usage_part *part, struct err *err);
	/* Mark what is in use, and set part.used and, unless it is USAGE_MAP, part.how.  Any error is a doubt: the place becomes raw, and the message is the reason.
	 * -EUCLEAN is for what is wrong in the content itself.  DOUBT_LOG: nothing is, but its log has to be replayed first; not when
	 * options->is_past_log. */
	int (*map)(struct scan *s, struct place *p, struct err *err);
};

extern const struct format format_btrfs, format_exfat, format_ext, format_fat, format_lvm,
	format_md, format_ntfs, format_swap, format_xfs;

struct scan {
	const struct usage_options *options;
	struct cache *cache;
	struct glance glance;
	struct place **disks; /* borrowed from places */
	size_t disks_len;
	struct place **places; /* owned; those with a volume after all that it is made of */
	size_t places_len, places_cap;
	size_t looked;	/* so many have been looked into */
	bool is_failed; /* out of memory */
};

/* A new place, which takes `take_volume` also on failure.  NULL: out of memory or too many; `err` says which. */
struct place *scan_add(struct scan *s, enum place_kind kind, struct volume *take_volume,
		       struct place *parent, struct err *err) MUST_CHECK;
/* All of it is in use, for that reason. */
void place_set_raw(struct place *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Look into every place that has not been looked into, and those found thereby. */
void scan_look(struct scan *s);
/* After all has been looked into: what makes places raw that were mapped.  A mirror was found torn in the midst of it, by a reader that went on; it was seen
 * torn at a glance, in a place that is in use as it turned out; or there is the image of a system that sleeps, or the disk of a virtual machine that may, which will go on with what it had in memory of its filesystems, and with what is on each swap. */
void scan_settle_doubts(struct scan *s);
/* (areas.c) After that: is unpartitioned space free?  A table without checksum (MBR) that was damaged would have partitions in the wrong place; so it
 * is believed about the space between them only when all of them were understood, and nothing that is known begins there. */
void scan_settle_areas(struct scan *s);

/* (owners.c) usage_owners, when all has been looked into. */
struct owner;
int scan_owners(struct scan *s, size_t n, const struct extent *bad, size_t bad_len,
		uint64_t limit_ms, struct owner **ret, size_t *ret_len, struct err *err) MUST_CHECK;

/* doubt(err, format, ...): -EUCLEAN and the sentence.  The value is for the analyzer to see. */
#define doubt(err, ...) (doubt_say((err), __VA_ARGS__), -EUCLEAN)
/* The same for DOUBT_LOG. */
#define DOUBT_LOG	    (-ESTALE)
#define doubt_log(err, ...) (doubt_say((err), __VA_ARGS__), (err)->code = DOUBT_LOG)
void doubt_say(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

void part_set_why(struct usage_part *part, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Little-endian UTF-16, up to the first NUL, as UTF-8, of which a half of a pair is what is not valid; returns how many bytes of `ret`. */
size_t utf8_of_utf16(uint8_t *ret, size_t size, const uint8_t *bytes, size_t units);
/* `size` bytes that are a label in UTF-8, up to the first NUL, or UTF-16 (little-endian). */
void part_set_label(struct usage_part *part, const void *bytes, size_t size);
void part_set_label_utf16(struct usage_part *part, const uint8_t *bytes, size_t units);
/* 16 bytes in the order in which they are printed; all zeros is no UUID. */
void part_set_uuid(struct usage_part *part, const uint8_t bytes[static 16]);
#endif
