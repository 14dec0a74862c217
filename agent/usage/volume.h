/* volume.h - a space of bytes that content is looked for in: a disk, a part of one, or what LVM or MD make of several.
 *
 * A volume is a struct blk that can be read and not written.  What its reader finds in use is marked with volume_mark and arrives, through
 * all layers, in the runs of the disks beneath.  Nothing here is locked, unlike other disks: one thread at a time. */
#ifndef AGENT_USAGE_VOLUME_H
#define AGENT_USAGE_VOLUME_H
#include "agent/usage/cache.h"
#include "agent/usage/runs.h"
#include "agent/usage/usage.h"
#include "common/blk.h"

struct volume;

/* Where a stripe of a segment begins.  `on` NULL: on a disk that was not given. */
struct area {
	struct volume *on;
	uint64_t offset;
};

/* Consecutive bytes of a volume.  They go round `stripes` areas in pieces of `stripe_size` bytes; each area is there `mirrors` times with
 * the same content and is length / stripes bytes. */
struct segment {
	uint64_t at;	      /* in the volume */
	uint64_t length;      /* > 0; a multiple of stripes * stripe_size if stripes > 1 */
	uint64_t stripe_size; /* of use only if stripes > 1 */
	uint32_t stripes;     /* >= 1 */
	uint32_t mirrors;     /* >= 1 */
	struct area *areas;   /* heap; [stripes][mirrors] */
};

struct volume {
	struct blk blk; /* first; of mode BLK_READ */
	/* a disk: */
	struct blk *disk; /* not owned */
	struct cache *cache;
	struct runs runs;
	/* or composed: */
	struct segment *segments; /* heap; ascending, without a gap from 0 to the volume's size */
	size_t segments_len;
	bool is_torn;	       /* copies that should be the same were read and are not */
	struct glance *glance; /* not owned; NULL: it is never glanced at */
	struct runs torn;      /* where its copies differed at a glance */
	bool is_on_torn;       /* they did, or those of what it lies on: volume_see_torn */
	/* The logical volume with a partition table of its own that it is, or lies on: as a rule the disk of a virtual machine.  NULL: none. */
	struct volume *guest;
	bool is_unclean; /* of such a one: there is a log on it that has to be replayed */
};

/* While somebody only looks what is there (content.c), the copies of mirrors may differ.  One for all mirrors of a scan. */
struct glance {
	uint32_t copies; /* of the mirror that has most of them */
	bool is_on;
	uint32_t
		copy; /* the one that is believed, counted round; the next one where it cannot be read */
	bool is_torn; /* it was not the same as the others everywhere */
};

/* A whole disk, of which at most `runs_max` runs are held.  `disk` and `cache` must outlive it.  -ENOMEM. */
int volume_new_disk(struct blk *disk, struct cache *cache, size_t runs_max, struct volume **ret,
		    struct err *err) MUST_CHECK;
/* Takes the segments and their areas, also on failure.  -ENOMEM; the volumes named in areas must outlive it. */
int volume_new_composed(const char *name, uint32_t sector_size, struct segment *take_segments,
			size_t len, struct volume **ret, struct err *err) MUST_CHECK;
/* `size` bytes of `on` from `offset`; they must be inside (asserted) and not be none. */
int volume_new_slice(const char *name, struct volume *on, uint64_t offset, uint64_t size,
		     struct volume **ret, struct err *err) MUST_CHECK;
void volume_free(struct volume *v);
static inline void volume_freep(struct volume **v)
{
	volume_free(*v);
}
void segments_free(struct segment *s, size_t len);

static inline uint64_t volume_size(const struct volume *v)
{
	return v->blk.size;
}

/* As blk_read.  All copies of a mirror that can be read are compared.  -ENXIO when it lies on a disk that was not given, -EUCLEAN when copies differ and it is
 * no glance: whoever takes no notice of that finds is_torn later. */
int volume_read(struct volume *v, void *buf, size_t size, uint64_t offset,
		struct err *err) MUST_CHECK;

/* A volume of one segment may be glanced at, unless it is there more than so many times: each copy is looked at, and compared with all others. */
#define GLANCE_COPIES_MAX 16u
void volume_set_glance(struct volume *v, struct glance *g);
/* Sets is_on_torn; of all that it lies on first. */
void volume_see_torn(struct volume *v);
/* Is any of what differed at a glance marked? */
bool volume_is_torn_in_use(struct volume *v);

/* Where the volume lies on the disks, in its own order: at most `max` pieces, of mirrors the first that is there.
 * -ENXIO when part of it is on a disk that was not given, -E2BIG. */
int volume_find_pieces(const struct volume *v, struct usage_piece *ret, size_t max, size_t *ret_len,
		       struct err *err) MUST_CHECK;

/* The range is in use.  What lies outside the volume is left out. */
void volume_mark(struct volume *v, uint64_t offset, uint64_t length);
void volume_mark_all(struct volume *v);
/* Has the whole range been marked, on every disk that it lies on?  False for a range not inside. */
bool volume_is_marked(struct volume *v, uint64_t offset, uint64_t length);
/* How much of the volume is marked on `disk` (a volume that is one), or on all disks together if NULL. */
uint64_t volume_copied(struct volume *v, const struct volume *disk);
/* Does any of it lie on `disk`? */
bool volume_touches(struct volume *v, const struct volume *disk);
#endif
