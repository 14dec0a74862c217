/* mitm.c - somebody between machines that pair and their server: docs/protocol.md "Pairing", "What it resists".
 *
 *	mitm SERVER-URL SERVER-PIN
 *
 * Towards the agents it is a server with a key of its own, whose port and pin are printed first; towards the server it takes each agent's part, under that
 * agent's id.  How is decided by the machine's name:
 *	relay*	all that both say is passed on unchanged
 *	early*	it pairs with the server first, so that its code there is fixed, and then sends the agent a random value of its own
 *	late*	it lets the agent show its code first, and then tries at the server until the code is the same, as often as it is let
 *	rogue1*	it asks no server, and says by itself that it was confirmed, with a guess at what stands on the screen
 *	rogue2*	the same without a guess
 * One line for each of the others: "NAME agent CODE server CODE", as it computes them itself, and "control CODE CODE", what they would be if the server's key
 * were not part of them.  The agents' questions how it goes are passed on, too. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/http.h"
#include "common/id.h"
#include "common/json.h"
#include "common/pairing.h"
#include "tests/lib/https_server.h"

#define VICTIMS_MAX 1024u
#define HEX_SIZE    65

struct victim {
	char machine[33], name[65], version[33];
	char ticket[HEX_SIZE];	      /* the server's, or made up; what the agent has */
	char server_ticket[HEX_SIZE]; /* what the server gave */
	uint8_t own[32];	      /* in the place of the agent's random value, at the server */
	struct pairing_facts here;    /* as the agent sees it */
	struct pairing_facts there;   /* as the server does */
};

static struct http_target target;
static struct https_server *front;
static pthread_mutex_t lock =
	PTHREAD_MUTEX_INITIALIZER; /* over what follows; everything is done under it but waiting */
static struct victim *victims[VICTIMS_MAX];
static size_t victims_len;

static void fill_random(void *ret, size_t size)
{
	if (getrandom(ret, size, 0) != (ssize_t)size)
		abort();
}

/* ---- towards the server */

static int ask(const char *path, const json_t *body, json_t **ret)
{
	CLEANUP(http_freep) struct http *h = http_new(&target);
	struct http_call call = {"POST", path, body, 60};
	struct http_answer a;
	struct err err;

	return h ? http_json(h, &call, ret, &a, &err) : -ENOMEM;
}

static bool is_hex_of(const json_t *o, const char *key, uint8_t *ret)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && hex_decode(text, ret, 32);
}

/* Steps 1 and 2 with a commitment of its own. */
static bool begin_there(struct victim *v, const char *commitment)
{
	CLEANUP_JSON json_t *body =
		json_pack("{s:s, s:s, s:s, s:s}", "machine_id", v->machine, "name", v->name,
			  "agent_version", v->version, "commitment", commitment);
	CLEANUP_JSON json_t *answer = NULL;

	if (!body || ask("/v1/agent/pair", body, &answer) < 0 ||
	    !is_hex_of(answer, "random", v->there.server_random))
		return false;
	(void)snprintf(v->server_ticket, sizeof(v->server_ticket), "%s",
		       json_string_value(json_object_get(answer, "pairing")));
	return true;
}

static bool reveal_there(struct victim *v, const uint8_t random[static 32])
{
	CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	char hex[HEX_SIZE];

	memcpy(v->there.agent_random, random, 32);
	hex_encode(random, 32, hex);
	body = json_pack("{s:s, s:s}", "pairing", v->server_ticket, "random", hex);
	return body && ask("/v1/agent/pair/reveal", body, &answer) == 0;
}

static bool begin_with_own(struct victim *v)
{
	uint8_t commitment[32];
	char hex[HEX_SIZE];

	fill_random(v->own, sizeof(v->own));
	pairing_commit(v->there.machine, v->own, commitment);
	hex_encode(commitment, sizeof(commitment), hex);
	return begin_there(v, hex);
}

/* ---- what it did */

static uint32_t without_key(const struct pairing_facts *f)
{
	struct pairing_facts copy = *f;

	memset(copy.key, 0, sizeof(copy.key));
	return pairing_code(&copy);
}

static void report(const struct victim *v)
{
	printf("%s agent %06u server %06u control %06u %06u\n", v->name, pairing_code(&v->here),
	       pairing_code(&v->there), without_key(&v->here), without_key(&v->there));
	(void)fflush(stdout);
}

/* ---- towards the agents */

static struct https_answer answer(int status, const char *text)
{
	struct https_answer a = {.data = NULL};
	char *data = NULL;
	int n = asprintf(&data, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s", status,
			 strlen(text), text);

	if (n < 0)
		abort();
	a.data = data;
	a.size = (size_t)n;
	return a;
}

static struct https_answer on_begin(const json_t *q)
{
	struct victim *v = calloc(1, sizeof(*v));
	const char *commitment = json_string_value(json_object_get(q, "commitment"));
	char text[512], random[HEX_SIZE];
	uint8_t ticket[32];
	bool good;

	if (!v || victims_len == VICTIMS_MAX || !commitment)
		abort();
	(void)snprintf(v->machine, sizeof(v->machine), "%s",
		       json_string_value(json_object_get(q, "machine_id")));
	(void)snprintf(v->name, sizeof(v->name), "%s",
		       json_string_value(json_object_get(q, "name")));
	(void)snprintf(v->version, sizeof(v->version), "%s",
		       json_string_value(json_object_get(q, "agent_version")));
	if (!hex_decode(v->machine, v->here.machine, 16) ||
	    !hex_decode(https_server_pin(front), v->here.key, 32) ||
	    !hex_decode(target.pin, v->there.key, 32))
		abort();
	memcpy(v->there.machine, v->here.machine, 16);
	v->here.name = v->there.name = v->name;
	fill_random(ticket, sizeof(ticket));
	hex_encode(ticket, sizeof(ticket), v->ticket);
	fill_random(v->here.server_random, 32);
	if (strncmp(v->name, "relay", 5) == 0) {
		good = begin_there(v, commitment);
		memcpy(v->here.server_random, v->there.server_random, 32);
		memcpy(v->ticket, v->server_ticket, sizeof(v->ticket));
	} else if (strncmp(v->name, "early", 5) == 0) {
		good = begin_with_own(v) && reveal_there(v, v->own);
	} else {
		good = true;
	}
	if (!good) {
		free(v);
		return answer(503, "{}");
	}
	victims[victims_len++] = v;
	hex_encode(v->here.server_random, 32, random);
	(void)snprintf(
		text, sizeof(text),
		"{\"pairing\": \"%s\", \"random\": \"%s\", \"name\": \"office\", \"expires_s\": 600}",
		v->ticket, random);
	return answer(201, text);
}

static struct victim *find(const json_t *q)
{
	const char *ticket = json_string_value(json_object_get(q, "pairing"));

	for (size_t i = 0; ticket && i < victims_len; i++) {
		if (strcmp(victims[i]->ticket, ticket) == 0)
			return victims[i];
	}
	return NULL;
}

/* The agent's code is fixed now, and known here: as many tries at the server as it lets. */
static void try_late(struct victim *v)
{
	uint32_t wanted = pairing_code(&v->here);

	for (unsigned i = 0; i < 100; i++) {
		if (!begin_with_own(v) || !reveal_there(v, v->own) ||
		    pairing_code(&v->there) == wanted)
			break;
		report(v);
	}
}

static struct https_answer on_reveal(const json_t *q)
{
	struct victim *v = find(q);

	if (!v || !is_hex_of(q, "random", v->here.agent_random))
		return answer(404, "{}");
	if (strncmp(v->name, "relay", 5) == 0 && !reveal_there(v, v->here.agent_random))
		return answer(400, "{}");
	if (strncmp(v->name, "late", 4) == 0)
		try_late(v);
	else if (strncmp(v->name, "rogue", 5) != 0)
		report(v);
	return answer(200, "{\"state\": \"waiting\", \"expires_s\": 600}");
}

/* Without the lock: it takes its time. */
static struct https_answer on_wait(const char *server_ticket)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "pairing", server_ticket);
	CLEANUP_JSON json_t *state = NULL;
	CLEANUP_FREE char *text = NULL;

	if (!body || ask("/v1/agent/pair/wait", body, &state) < 0)
		return answer(503, "{}");
	text = json_dumps(state, JSON_COMPACT);
	return answer(200, text ? text : "{}");
}

static struct https_answer claim(const struct victim *v)
{
	return answer(200, v->name[5] == '1' ? "{\"state\": \"confirmed\", \"expires_s\": 600, "
					       "\"proof\": \"482913\"}"
					     : "{\"state\": \"confirmed\", \"expires_s\": 600}");
}

static struct https_answer handle_json(const char *path, const json_t *q)
{
	struct https_answer a = {.data = NULL};
	char ticket[HEX_SIZE] = "";
	struct victim *v;

	(void)pthread_mutex_lock(&lock);
	if (strncmp(path, "/v1/agent/pair ", 15) == 0) {
		a = on_begin(q);
	} else if (strncmp(path, "/v1/agent/pair/reveal ", 22) == 0) {
		a = on_reveal(q);
	} else {
		v = find(q);
		if (v)
			memcpy(ticket, v->server_ticket, sizeof(ticket));
		if (v && strncmp(v->name, "rogue", 5) == 0)
			a = claim(v);
	}
	(void)pthread_mutex_unlock(&lock);
	return a.data ? a : on_wait(ticket);
}

static struct https_answer handle(const struct https_request *q)
{
	CLEANUP_JSON json_t *body = NULL;
	char text[256];
	struct err err;
	const char *path = strchr(q->head, ' ');

	if (!path)
		return answer(400, "{}");
	if (strncmp(path + 1, "/v1/info ", 9) == 0) {
		(void)snprintf(
			text, sizeof(text),
			"{\"product\": \"hoist\", \"name\": \"office\", \"fingerprint\": \"%s\"}",
			https_server_pin(front));
		return answer(200, text);
	}
	if (json_parse(q->body, q->body_size, 65536, &body, &err) < 0)
		return answer(400, "{}");
	return handle_json(path + 1, body);
}

int main(int argc, char **argv)
{
	struct err err;

	if (argc != 3 || http_target_set_url(&target, argv[1], &err) < 0 ||
	    http_target_set_pin(&target, argv[2], &err) < 0) {
		(void)fprintf(stderr, "Usage: mitm SERVER-URL SERVER-PIN\n");
		return 2;
	}
	(void)pthread_mutex_lock(&lock);
	front = https_server_new(handle, false);
	(void)pthread_mutex_unlock(&lock);
	printf("listening https://127.0.0.1:%u %s\n", https_server_port(front),
	       https_server_pin(front));
	(void)fflush(stdout);
	(void)pause();
	return 0;
}
