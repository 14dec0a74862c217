/* pair_server.h - inside agent/pair: what is known of one server, and the thread that talks to it. */
#ifndef AGENT_PAIR_SERVER_H
#define AGENT_PAIR_SERVER_H
#include <pthread.h>
#include <stdbool.h>

#include "agent/pair.h"

#define PAIR_CODES_MAX (PAIR_SERVERS_MAX * PAIRING_BEGINS_MAX)

struct pair_server {
	struct pair *pair;
	pthread_t thread;
	bool used; /* this place in the table */

	/* ---- what follows is under the pair's lock */
	bool showing;	      /* there is a code */
	bool evicted;	      /* another one is to have its place */
	bool gone;	      /* its thread has given up and is to be joined */
	uint32_t code, proof; /* proof: ours, shown beside the code and told to nobody */
	struct http *http;    /* to be cancelled when all ends */
	size_t urls_len, url; /* how many, and the one that is tried */
	char urls[PAIR_URLS_MAX][URL_MAX];
	char pin[PIN_TEXT_SIZE]; /* "" until asked */
	char name[NAME_MAX_LEN + 1];

	bool reached;	   /* has answered, with the right key */
	unsigned failures; /* in a row */

	/* ---- the thread's own */
	uint64_t begins_ms[PAIRING_BEGINS_MAX]; /* when it gave the last codes */
	uint64_t trouble_ms;
	char trouble[512]; /* said last */
};

/* Heard of, while there was no place for it. */
struct pair_candidate {
	char pin[PIN_TEXT_SIZE], url[URL_MAX], name[NAME_MAX_LEN + 1];
};
#define PAIR_CANDIDATES_MAX 64u

struct pair {
	struct pair_setup setup;
	pthread_mutex_t lock; /* over what follows */
	pthread_cond_t wake;
	bool stop; /* all threads end */
	bool interrupted;
	struct pair_server servers[PAIR_SERVERS_MAX];
	pthread_mutex_t screen; /* for what takes several lines; taken without the other */
	uint64_t codes_ms[PAIR_CODES_MAX]; /* when the last codes were shown, whosever */
	uint64_t hold_ms; /* no new code before that: somebody confirmed what he had not seen */
	unsigned false_proofs;
	uint64_t strange_ms; /* when a failure of one that was never reached was last shown */
	struct pair_candidate candidates[PAIR_CANDIDATES_MAX];
	size_t candidates_len;
	bool full_said; /* that there are more servers than places */
	bool won;
	struct pair_result result;
	char winner[NAME_MAX_LEN + 1];
};

void *pair_server_run(void *server);
/* Show the code of one server, large too when it is alone; the lock is not held. */
void pair_show(struct pair *p, const struct pair_server *copy, bool alone);
/* Are there others?  The lock is held. */
bool pair_is_alone(const struct pair *p);
/* By which its bounds are counted. */
uint64_t pair_now_ms(const struct pair *p);
/* Its thread waits so long; false: it is to end. */
bool pair_pause(struct pair_server *s, uint64_t ms);
#endif
