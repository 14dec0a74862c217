/* discover.h - answers machines that look for a server: docs/formats.md "Datagram". */
#ifndef SERVER_DISCOVER_H
#define SERVER_DISCOVER_H
#include <stdint.h>

#include "common/err.h"
#include "server/listen.h"
#include "server/rumours.h"

struct discover_config {
	uint16_t udp_port;
	const char *name, *version;
	const uint8_t *key;		   /* 32 bytes: the fingerprint */
	const struct listen_addr *listens; /* where connections are taken: what is told */
	size_t listens_len;
	struct rumours *rumours;
};

struct discover;
/* Bind and start the thread.  All pointers outlive it. */
int discover_start(const struct discover_config *config, struct discover **ret,
		   struct err *err) MUST_CHECK;
void discover_stop(struct discover *d);
#endif
