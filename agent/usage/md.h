/* md.h - shared by the parts of the MD reader. */
#ifndef AGENT_USAGE_MD_H
#define AGENT_USAGE_MD_H
#include "agent/usage/scan.h"

#define MD_ROLES_MAX 1920u /* what fits into the superblock */

/* What a member of an array says: the state of its place. */
struct md_member {
	uint8_t uuid[16]; /* of the array */
	char name[33];	  /* of the array; may be empty */
	int32_t level;
	uint64_t data_offset, size; /* bytes; of the array's content on this member */
	uint64_t events;
	uint32_t role, raid_disks;
	uint8_t active[MD_ROLES_MAX / 8]; /* a bit for each role: has it a member in step? */
	const char *doubt;		  /* static: why it is not looked into, or NULL */
	bool is_done;			  /* its array has been put together */
};

/* Does the member know one in step of that role? */
bool md_is_active(const struct md_member *m, uint32_t role);

/* The state of a place that is a member, or NULL. */
struct md_member *md_member_of(const struct place *p);

/* Is the volume a member of an array whose content is at the member's own start?  Then what else is found there is the array's. */
bool md_hides_content(struct volume *v);
/* Put together all arrays whose members have been found and not been put together: they become new places. */
void md_assemble(struct scan *s);
#endif
