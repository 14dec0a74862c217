/* connections.h - who holds the connections that there may be.
 *
 * Until a connection has shown a secret that is good, it is a stranger's, and anybody can open such ones.  Strangers may have half of all, and gain
 * nothing by holding on: where there is no more room, for them or for their address, the one that came first gives way, those without a whole
 * head of a request before those with one.  So a flood, half-open handshakes and heads that never end keep nobody out who asks at once.
 *
 * Those that are known are bounded too, since many machines may be one hostile one: one machine or operator may have as many as one address, from
 * however many addresses, and agents five eighths of all.  What is too many ends the oldest of that machine or operator, or of the machine that has
 * most, those that ask nothing before those that wait for an answer.  And strangers give way before all places are taken.  So there is always
 * a place for an operator.  Thread-safe. */
#ifndef SERVER_HTTP_CONNECTIONS_H
#define SERVER_HTTP_CONNECTIONS_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/id.h"

struct connections;
struct connection;

/* NULL: out of memory.  `max` at one time, of them `max_per_peer` from one address (IPv6: from one network of 64 bits). */
struct connections *connections_new(unsigned max, unsigned max_per_peer);
/* All of its connections must have been closed. */
void connections_free(struct connections *c);

/* A new one, whose socket is shut down now, by this call, if it is one too many itself; or later, while it is a stranger's.  NULL: out of memory,
 * it is shut down.  `fd` must stay open until connection_closed. */
struct connection *connection_opened(struct connections *c, const struct sockaddr *peer, int fd);
void connection_closed(struct connections *c, struct connection *one);
/* The head of a request is there; or it has ended. */
void connection_asks(struct connections *c, struct connection *one, bool asks);
/* What it does now must be done by `until_ms` of CLOCK_MONOTONIC, or connections_sweep ends it; 0: there is no such time. */
void connection_until(struct connections *c, struct connection *one, uint64_t until_ms);
void connections_sweep(struct connections *c, uint64_t now_ms);
/* Whatever it is doing, it is over. */
void connection_end(struct connections *c, struct connection *one);
/* It has shown a secret that is good: of `who`, a machine or an operator.  False: it is one too many itself, and is over. */
bool connection_known(struct connections *c, struct connection *one, const struct id *who,
		      bool is_agent);
#endif
