/* ledger.h - which windows of a disk are done, under which node ids, in little memory whatever the disk's size.
 *
 * Of a group (docs/formats.md) whose windows are all known only its id is kept, 32 bytes; the ids of its windows while it is open: something of it was
 * begun, and not all is known.  Only so many groups can be open at a time, unless it is widened.  Thread-safe. */
#ifndef AGENT_LEDGER_H
#define AGENT_LEDGER_H
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/root.h"

#define LEDGER_OPEN_MAX 256u /* groups; 2 MiB of ids */

struct ledger;

/* Of a disk of `disk_size` bytes, with nothing known.  NULL: out of memory. */
struct ledger *ledger_new(uint64_t disk_size) MUST_CHECK;
void ledger_free(struct ledger *l);
static inline void ledger_freep(struct ledger **l)
{
	ledger_free(*l);
}
/* The most memory that the ledger of such a disk takes, unless it is widened. */
uint64_t ledger_memory(uint64_t disk_size);

/* How many windows are not known. */
uint64_t ledger_left(struct ledger *l);
/* The first windows from `from` on that are not known, as many as there are in a row within a group; count 0: there are none. */
struct window_range ledger_unknown(struct ledger *l, uint64_t from);

/* These windows of one group, none of which is known, are about to be worked on: ledger_set cannot fail for them.  -EAGAIN: too many groups are open,
 * and this one is not; -ENOMEM. */
int ledger_begin(struct ledger *l, const struct window_range *w) MUST_CHECK;
/* From now on one more group can be open, beyond ledger_memory: for 8 KiB. */
void ledger_widen(struct ledger *l);
/* They all have this node.  True if their group is complete with them; its node ids are then in `ret_ids` (GROUP_WINDOWS of them; may be NULL). */
bool ledger_set(struct ledger *l, const struct window_range *w, const struct id *node,
		struct id *ret_ids);

/* Group `g` is complete. */
struct id ledger_group(struct ledger *l, uint64_t g);
/* The windows of group `g`, which is complete, have these nodes after all. */
void ledger_put_group(struct ledger *l, uint64_t g, const struct id *nodes);
/* Nothing of group `g` is known any more.  False, and nothing happens, if it was not complete. */
bool ledger_reopen(struct ledger *l, uint64_t g);

/* All windows must be known (asserted). */
struct id ledger_root(struct ledger *l, const struct geometry *g, const struct extent *unreadable,
		      size_t len);
#endif
