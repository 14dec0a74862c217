/* server.h - what a running server is made of. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H
#include <stdatomic.h>
#include <stdint.h>

#include "server/access/access.h"
#include "server/access/audit.h"
#include "server/config.h"
#include "server/fleet/fleet.h"
#include "server/http/http.h"
#include "server/listen.h"
#include "server/media/media.h"
#include "server/rumours.h"
#include "server/state/state.h"
#include "server/store/store.h"
#include "server/tls.h"

struct server {
	const struct config *config;
	char name[NAME_SIZE];
	struct identity identity;
	struct id operator_hash;		/* BLAKE3 of what is in operator.token */
	struct listen_addr listens[LISTEN_MAX]; /* HTTPS */
	size_t listens_len;
	uint64_t started_ms; /* monotonic */
	struct state *state;
	struct store *store;
	struct fleet *fleet;
	struct access *access;
	struct audit *audit;
	struct media *media; /* NULL: none to hand out */
	struct rumours rumours;
	atomic_uint_fast64_t index_room; /* bytes of indexes that are being written */
};

uint64_t server_now_ms(void); /* monotonic */
#endif
