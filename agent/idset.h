/* idset.h - two small sets of ids with a fixed size in memory.  Not locked: by whoever embeds them. */
#ifndef AGENT_IDSET_H
#define AGENT_IDSET_H
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/id.h"

/* A set that forgets: of two ids that want the same place the later one stays. For what is known anyway and
 * only saves a question. */
struct idcache {
	struct id *slots; /* zero: empty */
	size_t mask;
};
/* `slots` is a power of two.  -ENOMEM. */
int idcache_init(struct idcache *c, size_t slots) MUST_CHECK;
void idcache_done(struct idcache *c);
bool idcache_has(const struct idcache *c, const struct id *id);
void idcache_add(struct idcache *c, const struct id *id);
void idcache_clear(struct idcache *c);

/* A set that does not: open addressing, at most three quarters full (asserted). */
struct idset {
	struct id *slots; /* zero: empty */
	size_t mask;
	size_t len;
};
int idset_init(struct idset *s, size_t slots) MUST_CHECK;
void idset_done(struct idset *s);
bool idset_has(const struct idset *s, const struct id *id);
/* False if it was in already. */
bool idset_add(struct idset *s, const struct id *id);
void idset_remove(struct idset *s, const struct id *id);
void idset_clear(struct idset *s);
#endif
