/* link.h - one connection to the server, for one thread: requests that are repeated until they are answered.
 *
 * No connection, a busy server, a full disk there, a secret that is no longer valid: wait 1 s, 2 s, … 60 s with jitter (or as long as the
 * server says), register again where needed, for ever.  What comes back is an answer. */
#ifndef AGENT_LINK_H
#define AGENT_LINK_H
#include "agent/meter.h"
#include "agent/session.h"
#include "common/http.h"

struct link;

struct link *link_new(struct session *s); /* NULL: out of memory */
void link_free(struct link *l);
static inline void link_freep(struct link **l)
{
	link_free(*l);
}
/* From any thread: the request under way returns -ECANCELED soon, and all later ones at once. */
void link_interrupt(struct link *l);

/* Whose time the requests take, or NULL.  By the owner. */
void link_measure(struct link *l, struct meter_clock *clock);

/* 0 with a status < 400; -EREMOTEIO with one that repeating does not help; -ECANCELED, -EMSGSIZE, -ENOMEM, -EPROTO. */
int link_do(struct link *l, const struct http_request *q, struct http_answer *ret,
	    struct err *err) MUST_CHECK;
/* The same with JSON both ways, as http_json. */
int link_json(struct link *l, const struct http_call *call, json_t **ret,
	      struct http_answer *ret_answer, struct err *err) MUST_CHECK;

/* Wait before try number `n` (from 0), in milliseconds; `random` spreads it between a half and all of it. */
unsigned link_pause_ms(unsigned n, uint32_t random);
#endif
