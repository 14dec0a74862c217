/* pair.h - a machine whose medium knows no server finds one, and the person before its screen says which: docs/protocol.md "Pairing".
 *
 * It pairs with each server that is offered, up to PAIR_SERVERS_MAX, in a thread each, and shows a code for each.  Whose code is typed by that
 * server's operator is the one; nothing is chosen here. */
#ifndef AGENT_PAIR_H
#define AGENT_PAIR_H
#include <stdbool.h>
#include <stdint.h>

#include "agent/console.h"
#include "agent/pair_wire.h"
#include "common/http.h"

#define PAIR_SERVERS_MAX 4u
#define PAIR_URLS_MAX	 8u /* addresses tried of one server */

struct pair_setup {
	const char *machine_id; /* 32 hex digits */
	const char *name;
	struct console *console;
	bool fixed; /* the server is one that the settings name: it is never given up */
	/* Of tests, else NULL: the time, and that it is to be `end_ms`, unless it is later already. */
	uint64_t (*now_ms)(void);
	void (*pass)(uint64_t end_ms);
};

struct pair;

/* The setup outlives it.  NULL: out of memory. */
struct pair *pair_new(const struct pair_setup *setup) MUST_CHECK;
/* Ends all threads. */
void pair_free(struct pair *p);

/* A server says that it is at `url` and has the key `pin` (64 hex digits; NULL: it is to be asked for its key).  From any thread. */
void pair_offer(struct pair *p, const char *pin, const char *url, const char *name);
/* From any thread: pair_run returns soon. */
void pair_interrupt(struct pair *p);

struct pair_result {
	struct http_target target; /* url and pin of the one that confirmed */
	char ticket[PAIR_TICKET_SIZE];
};
/* Until a server has confirmed this machine; the others are dropped then.  -ECANCELED: interrupted. */
int pair_run(struct pair *p, struct pair_result *ret, struct err *err) MUST_CHECK;
#endif
