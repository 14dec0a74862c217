/* parcels.h - packs that are ready to be sent, between the threads that make them and those that send them: so many at most, and no more
 * memory than that.  In the order in which they were put in.  Thread-safe. */
#ifndef AGENT_PARCELS_H
#define AGENT_PARCELS_H
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"

#define PARCEL_IDS_MAX 512u /* more than chunks of 4 KiB find room in a pack */

struct parcel {
	uint8_t *data; /* heap */
	size_t size;   /* of the pack in it */
	struct id pack_id;
	struct id ids[PARCEL_IDS_MAX]; /* the chunks in it */
	size_t ids_len;
	int level; /* by which it was compressed, LEVEL_STORED: not at all */
	struct parcel *next;
};

struct parcels;

/* `len` of them, 1 or more, each with room for `size` bytes.  NULL: out of memory. */
struct parcels *parcels_new(unsigned len, size_t size) MUST_CHECK;
void parcels_free(struct parcels *s);
static inline void parcels_freep(struct parcels **s)
{
	parcels_free(*s);
}

/* An empty one, when there is one; to be given to parcels_put or parcels_return.  NULL after parcels_close. */
struct parcel *parcels_get(struct parcels *s);
/* It is to be sent. */
void parcels_put(struct parcels *s, struct parcel *p);
/* The first one that is to be sent, when there is one; to be given to parcels_return.  NULL after parcels_close. */
struct parcel *parcels_take(struct parcels *s);
/* It is empty again. */
void parcels_return(struct parcels *s, struct parcel *p);
/* Wake all who wait, now and in future. */
void parcels_close(struct parcels *s);
#endif
