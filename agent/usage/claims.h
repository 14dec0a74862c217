/* claims.h - what a filesystem says about ranges of its volume: between owners.c and the readers of formats.  Internal to agent/usage/. */
#ifndef AGENT_USAGE_CLAIMS_H
#define AGENT_USAGE_CLAIMS_H
#include <stdbool.h>

#include "agent/usage/owners.h"
#include "agent/usage/volume.h"

#define CLAIMS_MAX 16384u

/* These bytes are in question; `disk` is where they lie. */
struct range {
	uint64_t at, length; /* in the volume */
	uint64_t disk;
};

struct claim {
	uint64_t at, length;
	uint64_t number; /* inode, file record; 0: of none */
	enum owner_kind kind;
	char *name; /* heap, or NULL */
};

struct claims {
	struct range *ranges; /* heap; ascending by `at`, apart */
	size_t ranges_len;
	struct claim *items; /* heap */
	size_t len, cap;
	uint8_t wanted[8192]; /* a bit for number % 65536 */
	uint64_t end_ms;
	bool is_partial; /* something could not be looked at: what nobody claims may be somebody's */
};

/* It is that owner's, as far as it is in question. */
void claims_add(struct claims *c, uint64_t at, uint64_t length, enum owner_kind kind,
		uint64_t number);
/* Is the time over?  Then it is partial. */
bool claims_is_over(struct claims *c);
/* Is there a claim of that number which has no name yet? */
bool claims_wants_name(const struct claims *c, uint64_t number);
/* Copies it for all claims of that number; a path as it is on the disk. */
void claims_set_name(struct claims *c, uint64_t number, const char *path);

/* Claim all that is known, then give names.  What goes wrong makes it partial. */
void ext_claim(struct volume *v, struct claims *c);
void ntfs_claim(struct volume *v, struct claims *c);
#endif
