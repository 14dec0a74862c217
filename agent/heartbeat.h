/* heartbeat.h - while a job runs: tell the server how far it is, hear whether it is to stop, show the person both. */
#ifndef AGENT_HEARTBEAT_H
#define AGENT_HEARTBEAT_H
#include "agent/console.h"
#include "agent/job.h"
#include "agent/link.h"

struct heartbeat;

/* Threads that post progress every `interval_ms` and show it.  All outlive it. */
int heartbeat_start(struct session *s, struct job *job, struct console *console,
		    unsigned interval_ms, struct heartbeat **ret, struct err *err) MUST_CHECK;
void heartbeat_stop(struct heartbeat *h);

/* Does this refusal mean that the job has ended? */
bool heartbeat_is_over(const struct http_answer *a);
/* One message by a connection of the caller's: progress and waiting lines.  Stops the job when the server says so, or knows of no such running job. */
int heartbeat_send(struct link *l, struct job *job, struct err *err) MUST_CHECK;
#endif
