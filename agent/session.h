/* session.h - where the server is and by what secret it knows us; shared by all connections to it (link.h).  Thread-safe. */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H
#include <stdbool.h>

#include "common/err.h"
#include "common/http.h"
#include "common/json.h"

#define SESSION_SECRET_NAME "session-secret" /* file in the state folder */

struct session;

struct session_setup {
	const char *url;	/* where to begin, or NULL */
	const char *pin;	/* 64 hex digits */
	const char *machine_id; /* 32 hex digits */
	const char *name;
	const char *token;     /* or NULL */
	const char *pairing;   /* ticket of a pairing that was confirmed, or NULL */
	const char *state_dir; /* or NULL: the secret is not kept */
	/* Lines for the person; from any thread. */
	void (*say)(void *ctx, const char *line);
	/* The server answers, or does not: each time that it does not; also when it takes the machine in at last. */
	void (*is_up)(void *ctx, bool up);
	/* The server knows neither this machine nor what it registers with.  May be NULL. */
	void (*is_unknown)(void *ctx);
	void *ctx;
};

/* Strings are copied.  A kept secret is read. */
int session_new(const struct session_setup *setup, struct session **ret,
		struct err *err) MUST_CHECK;
void session_free(struct session *s);

/* Is a secret of a former session kept there?  `state_dir` may be NULL. */
bool session_has_secret(const char *state_dir);

/* What the next registration tells of this machine.  Takes the reference. */
void session_set_inventory(struct session *s, json_t *take_inventory);
/* A server with the right key has answered from there: to be tried if the present place does not answer. */
void session_offer(struct session *s, const char *url);
/* Forget that we are registered: the next request registers first, with the present inventory. */
void session_expire(struct session *s);
/* Has the server taken this machine in? */
bool session_is_registered(struct session *s);
/* As the last registration said. */
unsigned session_poll_s(struct session *s);

/* ---- for link.c */

/* A number that changes with place or secret, and both; `ret_registered` is false while there is no secret that the server gave. */
unsigned session_get(struct session *s, struct http_target *ret, bool *ret_registered);
/* Register by this connection.  `generation` is what the caller saw: if that has changed meanwhile, or another one is at it (-EAGAIN), nothing is
 * done.  Errors are http_json's; -EREMOTEIO: refused. */
int session_register(struct session *s, struct http *h, unsigned generation, unsigned *ret_retry_s,
		     struct err *err) MUST_CHECK;
/* Take another secret for the session, if it is time, by this connection, which has that of `generation`.  Nothing is lost when it fails: it
 * is tried again later. */
void session_renew(struct session *s, struct http *h, unsigned generation);
/* The secret that generation `generation` carries is not accepted. */
void session_refused(struct session *s, unsigned generation);
bool session_is_at(struct session *s, const char *url);
/* How the last request, to `url`, went: 0 answered, -EREMOTEIO refused for now, else not delivered.  The person is told when that changes, and
 * now and then as long as it lasts.  If it was not delivered, the next place that was offered has its turn. */
void session_note(struct session *s, const char *url, int r, const char *message);
#endif
