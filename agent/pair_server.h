/* pair_server.h - inside agent/pair: what is known of one server, and the thread that talks to it. */
#ifndef AGENT_PAIR_SERVER_H
#define AGENT_PAIR_SERVER_H
#include <pthread.h>
#include <stdbool.h>

#include "agent/pair.h"

struct pair_server {
	struct pair *pair;
	pthread_t thread;
	bool used; /* this place in the table */

	/* ---- what follows is under the pair's lock */
	bool showing; /* there is a code */
	bool gone;    /* its thread has given up and is to be joined */
	uint32_t code;
	struct http *http;    /* to be cancelled when all ends */
	size_t urls_len, url; /* how many, and the one that is tried */
	char urls[PAIR_URLS_MAX][URL_MAX];
	char pin[PIN_TEXT_SIZE]; /* "" until asked */
	char name[NAME_MAX_LEN + 1];

	/* ---- the thread's own */
	bool reached;				/* has answered, with the right key */
	unsigned failures;			/* in a row */
	uint64_t begins_ms[PAIRING_BEGINS_MAX]; /* when it gave the last codes */
	uint64_t trouble_ms;
	char trouble[512]; /* said last */
};

struct pair {
	struct pair_setup setup;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t wake;
	bool stop; /* all threads end */
	bool interrupted;
	struct pair_server servers[PAIR_SERVERS_MAX];
	pthread_mutex_t screen; /* for what takes several lines; taken without the other */
	bool full_said;		/* that there are more servers than places */
	bool won;
	struct pair_result result;
	char winner[NAME_MAX_LEN + 1];
};

void *pair_server_run(void *server);
/* Show the code of one server, `large` too; the lock is not held. */
void pair_show(struct pair *p, const struct pair_server *copy, bool large);
/* Are there others?  The lock is held. */
bool pair_is_alone(const struct pair *p);
/* Wait so long; false: all is to end. */
bool pair_pause(struct pair *p, uint64_t ms);
#endif
