/* orders.h - what the server orders, one after the other: asked for, carried out, its end told. */
#ifndef AGENT_ORDERS_H
#define AGENT_ORDERS_H
#include <stdbool.h>

#include "agent/config.h"
#include "agent/console.h"
#include "agent/link.h"
#include "agent/session.h"

struct orders;

/* All outlive it. */
struct orders_setup {
	const struct config *config;
	struct console *console;
	struct session *session;
	struct link *link;
	/* After a job a disk may look different: the next registration tells of it. */
	int (*look_again)(void *ctx, struct err *err);
	/* Asked between two orders: has something come or gone since it was last looked at?  NULL: never. */
	bool (*has_news)(void *ctx);
	void *ctx;
};

struct orders *orders_new(const struct orders_setup *setup); /* NULL: out of memory */
void orders_free(struct orders *o);
#define EXIT_UNREADABLE 3 /* of --once: done, but not everything could be read */
/* Until there is no reason to go on: stopped, or --once, whose exit status *ret_status is.  An error of a job that could not be told of. */
int orders_serve(struct orders *o, int *ret_status, struct err *err) MUST_CHECK;
/* From any thread: the job under way ends as interrupted, which is no end for the server, and orders_serve returns soon, if its link is
 * interrupted as well. */
void orders_stop(struct orders *o);
/* No job is under way. */
bool orders_is_idle(struct orders *o);
#endif
