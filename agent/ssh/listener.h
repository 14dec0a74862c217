/* listener.h - dropbear as the server: its key, and the process.
 *
 * It is to be in nobody's way: it and all that runs in it are nice and the first to go when memory is short.  It ends with us, those who are logged in do
 * not. */
#ifndef AGENT_SSH_LISTENER_H
#define AGENT_SSH_LISTENER_H
#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/ssh_key.h"

struct listener {
	const char *program, *keygen; /* dropbear and dropbearkey */
	const char *key;	      /* file of the host key */
	unsigned port;
	int log; /* its log goes there */
};

/* The host key, made if there is none that can be used. */
int listener_need_key(const struct listener *l, struct ssh_key *ret, struct err *err) MUST_CHECK;
/* SIGCHLD tells of its end. */
int listener_start(const struct listener *l, pid_t *ret, struct err *err) MUST_CHECK;
/* A line of its log ("[PID] Mon DD HH:MM:SS text"), fit for the screen, if it tells who came or went.  It quotes what strangers send: of those lines nothing
 * is to be seen. */
#define LISTENER_VISIT_SIZE 200
bool listener_read_visit(const char *line, char ret[static LISTENER_VISIT_SIZE]);
#endif
