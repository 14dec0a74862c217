/* patch.h - a program is to change something of a disk: it does so in a copy, which is looked at, and then the disk is made like it; or is as it was.
 *
 * The copy is a sparse file in memory, as large as the disk, with the disk's bytes at the places that were named, and in their pages, and zeros elsewhere.  Nothing but the
 * places is written to the disk: what the program clears beside them is there as before. */
#ifndef AGENT_PATCH_H
#define AGENT_PATCH_H
#include <stddef.h>

#include "common/blk.h"
#include "common/index.h"

#define PATCH_PLACES_MAX 3u

struct patch;

/* Copy these places (1 to PATCH_PLACES_MAX, of whole sectors, a few MiB at most; cut at the disk's end) of `disk`, which is not owned, nor written to yet. */
int patch_new(struct blk *disk, const struct extent *places, size_t len, struct patch **ret,
	      struct err *err) MUST_CHECK;
void patch_free(struct patch *p);
static inline void patch_freep(struct patch **p)
{
	patch_free(*p);
}

/* The copy, for whoever wants a path; good as long as the patch, in this process. */
const char *patch_path(const struct patch *p);
/* The same as a disk, with the disk's sectors. */
struct blk *patch_copy(struct patch *p);

/* Make the disk like the copy: the sectors that differ are written, are on stable storage, and were read again past the cache.
 *   -EBADMSG         the copy has something elsewhere that the disk has not: nothing was written
 *   -ENOTRECOVERABLE writing failed, and so did putting back what was there: what the disk holds at these places is not known
 * After any other error the disk is what it was: that was put back, and read again. */
int patch_apply(struct patch *p, struct err *err) MUST_CHECK;
#endif
