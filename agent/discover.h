/* discover.h - looking for the server on the local networks: docs/formats.md "Datagram".
 *
 * A thread announces this machine on every interface, with jitter and back-off from 1 s to 30 s, as long as it is wanted, and tells of each server
 * that answers; of one that answers from an IPv6 address of the link alone, when 15 s have brought no answer from another.  An answer is a rumour: it says where to try, and the pinned key decides. */
#ifndef AGENT_DISCOVER_H
#define AGENT_DISCOVER_H
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/setting.h"

struct discover_setup {
	uint8_t machine[16];
	const char *name; /* of this machine */
	uint16_t port;
	const struct setting_list *interfaces; /* only these; none: all but loopback */
	bool has_key;
	uint8_t key[32]; /* the one to look for; answers with another are named and passed over */
	/* A server with the right key is at `url`.  From the thread. */
	void (*found)(void *ctx, const char *url, const char *name);
	/* Without has_key: a server says that it is at `url` and has the key `pin` (64 hex digits).  At each answer. */
	void (*heard)(void *ctx, const char *pin, const char *url, const char *name);
	/* Something to tell the person, once for each such server, and once that there are too many. */
	void (*say)(void *ctx, const char *line);
	void *ctx;
};

struct discover;

/* Strings and lists of the setup outlive it.  Starts unwanted. */
int discover_start(const struct discover_setup *setup, struct discover **ret,
		   struct err *err) MUST_CHECK;
/* From any thread.  When it becomes wanted the first announcement goes out within a second. */
void discover_want(struct discover *d, bool wanted);
void discover_stop(struct discover *d);

/* Wait before announcement number `n` (from 0), in milliseconds; `random` spreads it by a quarter. */
unsigned discover_pause_ms(unsigned n, uint32_t random);
#endif
