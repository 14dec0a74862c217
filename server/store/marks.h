/* marks.h - which objects of which packs are in use: a bit for each, by pack number and slot.
 * For 1 TiB of chunks (30 million objects, a million packs) about 25 MB. */
#ifndef SERVER_STORE_MARKS_H
#define SERVER_STORE_MARKS_H
#include <stdbool.h>
#include <stdint.h>

#include "server/store/db.h"

struct marks {
	uint32_t len;	 /* packs with a number below this have marks */
	uint64_t *first; /* len + 1: number of a pack's first bit */
	uint8_t *bits;
	uint32_t *bytes; /* len: length of the marked objects of the pack */
	uint8_t *kinds;	 /* len: enum pack_kind, 0 = no such pack */
	uint32_t *plain; /* len: plain size of the pack */
	uint32_t *sizes; /* len: size of the file */
};

struct store;
/* For all packs that are in objects.db now. */
int marks_init(struct marks *m, struct store *s, struct err *err) MUST_CHECK;
void marks_done(struct marks *m);

static inline uint32_t marks_count(const struct marks *m, uint32_t pack)
{
	return (uint32_t)(m->first[pack + 1] - m->first[pack]);
}
/* Is this a place that can be marked? */
static inline bool marks_covers(const struct marks *m, const struct place *p)
{
	return p->pack < m->len && p->slot < marks_count(m, p->pack);
}
/* Does the pack have a place for such an object?  Of one that came later that is not known. */
static inline bool marks_fit(const struct marks *m, enum pack_kind kind, const struct place *p)
{
	return p->pack >= m->len || m->kinds[p->pack] == 0 ||
	       (m->kinds[p->pack] == kind && p->slot < marks_count(m, p->pack));
}
/* Of a place that is covered. */
static inline bool marks_has(const struct marks *m, uint32_t pack, uint32_t slot)
{
	uint64_t bit = m->first[pack] + slot;

	return m->bits[bit / 8] >> (bit % 8) & 1;
}
/* True if it was not marked before. */
bool marks_add(struct marks *m, const struct place *p);
/* Of a place that is covered. */
void marks_remove(struct marks *m, const struct place *p);
#endif
