/* peer_http.h - struct peer over HTTPS: docs/protocol.md. */
#ifndef AGENT_PEER_HTTP_H
#define AGENT_PEER_HTTP_H
#include "agent/job.h"
#include "agent/peer.h"
#include "agent/session.h"
#include "common/message.h"

/* For one worker of `job`, which carries out `order`.  Both and the session outlive it.  NULL: out of memory. */
struct peer *peer_http_new(struct session *s, struct job *job,
			   const struct order *order) MUST_CHECK;
#endif
