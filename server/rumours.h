/* rumours.h - machines that were heard by broadcast.  A datagram proves nothing: this is for people who wonder why a machine does not
 * come, and bounded.  Pure but for its lock. */
#ifndef SERVER_RUMOURS_H
#define SERVER_RUMOURS_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUMOURS_MAX	64u
#define RUMOUR_TEXT_MAX 65u

struct rumour {
	char machine[33]; /* hex */
	char name[RUMOUR_TEXT_MAX];
	char version[33];
	char address[64];
	int64_t last_seen; /* seconds since 1970 */
};

struct rumours {
	pthread_mutex_t lock;
	struct rumour items[RUMOURS_MAX];
	size_t len;
	uint64_t heard, unanswered; /* datagrams, and those that were too many (discover.c) */
};

void rumours_init(struct rumours *r);
void rumours_done(struct rumours *r);
/* Add or refresh; the one not heard for longest makes room. */
void rumours_add(struct rumours *r, const struct rumour *heard);
/* Another datagram came; was it one too many, which is not looked at? */
void rumours_count(struct rumours *r, bool too_many);
void rumours_counted(struct rumours *r, uint64_t *ret_heard, uint64_t *ret_unanswered);
/* A copy of all, latest first; returns how many. */
size_t rumours_copy(struct rumours *r, struct rumour ret[static RUMOURS_MAX]);
#endif
