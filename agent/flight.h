/* flight.h - chunks on their way: several workers never send the same one twice, and none calls a window complete of which a
 * chunk has not been delivered yet, by whomever.
 *
 * A worker claims the ids of a window.  What it got is landed: when the server says that it has the chunk, or by the sender that was told that its pack
 * is there.  A worker may wait for others only when all that it claimed is landed or with the senders: so no two wait for each other.
 * Thread-safe. */
#ifndef AGENT_FLIGHT_H
#define AGENT_FLIGHT_H
#include <stddef.h>

#include "common/err.h"
#include "common/id.h"

struct flight;

/* Room for `claims_max` claims at once.  NULL: out of memory. */
struct flight *flight_new(size_t claims_max) MUST_CHECK;
void flight_free(struct flight *f);
static inline void flight_freep(struct flight **f)
{
	flight_free(*f);
}

enum claim {
	CLAIM_MINE, /* the caller's to ask for, and to send or land */
	CLAIM_OTHER, /* on its way: flight_wait before relying on it (also the caller's own earlier claim) */
	CLAIM_KNOWN, /* landed lately */
};
enum claim flight_claim(struct flight *f, const struct id *id);
void flight_land(struct flight *f, const struct id *ids, size_t len);
/* Is any of them still on its way? */
bool flight_is_up(struct flight *f, const struct id *ids, size_t len);
/* Until none of them is on its way; -ECANCELED after flight_abort. */
int flight_wait(struct flight *f, const struct id *ids, size_t len, struct err *err) MUST_CHECK;
/* Take nothing for known any longer: the server has lost something. */
void flight_forget(struct flight *f);
/* Wake all who wait, now and in future. */
void flight_abort(struct flight *f);
#endif
