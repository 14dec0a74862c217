/* pair_server.c - the exchange with one server, again and again until somebody confirms, there or elsewhere.
 *
 * The server is a stranger: what it may say and how long it may take is bounded, and how often it may make the screen show another code:
 * each code is a guess for whoever sits in between. */
#include "agent/pair_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "agent/link.h"
#include "common/cleanup.h"
#include "common/id.h"

#define ANSWER_MAX	     4096u
#define ASK_S		     30u     /* for a whole answer */
#define WAIT_S		     60u     /* for one that may take its time */
#define BEGINS_MS	     600000u /* PAIRING_BEGINS_MAX codes within that time */
#define FORBIDDEN_MS	     300000u
#define REJECTED_MS	     900000u
#define NONSENSE_MS	     60000u
#define CONFLICT_MS	     20000u
#define FALSE_PROOF_MS	     60000u /* doubled each time, up to about an hour */
#define AGAIN_MS	     3000u
#define RETRY_AFTER_MAX_S    900u
#define REPEAT_MS	     60000u /* the same trouble is mentioned again after that */
#define FAILURES_MAX	     10u    /* in a row: it is given up until it is heard again */
#define STRANGE_FAILURES_MAX 3u	    /* of one that has never answered */
#define UNTRIED_MS	     100u   /* before the next address that was not tried yet */
#define STRANGE_LINE_MS	     10000u

/* One exchange's own. */
struct talk {
	struct pair_server *s;
	struct http_target target;
	struct pair_begun begun;
	uint8_t random[PAIRING_RANDOM_SIZE];
	uint32_t proof; /* that only the screen shows */
};

static uint32_t random_u32(void)
{
	uint32_t v = 0;

	(void)!getrandom(&v, sizeof(v), 0);
	return v;
}

/* Not the same again and again. */
static void say_trouble(struct pair_server *s, const char *line)
{
	uint64_t now = pair_now_ms(s->pair);
	char text[CONSOLE_LINE_SIZE], name[NAME_MAX_LEN + 1], url[URL_MAX];

	if (s->trouble_ms != 0 && strcmp(s->trouble, line) == 0 && now - s->trouble_ms < REPEAT_MS)
		return;
	(void)snprintf(s->trouble, sizeof(s->trouble), "%s", line);
	s->trouble_ms = now;
	(void)pthread_mutex_lock(&s->pair->lock);
	memcpy(name, s->name, sizeof(name));
	memcpy(url, s->urls[s->url], sizeof(url));
	(void)pthread_mutex_unlock(&s->pair->lock);
	(void)snprintf(text, sizeof(text), "pairing with '%s' at %s: %s", name, url, line);
	console_line(s->pair->setup.console, text);
}

/* ---- requests */

/* False: all is to end. */
static bool set_http(struct pair_server *s, struct http *h)
{
	struct pair *p = s->pair;
	struct http *old;
	bool goes_on;

	(void)pthread_mutex_lock(&p->lock);
	old = s->http;
	s->http = h;
	goes_on = !p->stop && !s->evicted;
	(void)pthread_mutex_unlock(&p->lock);
	http_free(old);
	return goes_on;
}

/* POST with a body, or GET without. */
static int ask(struct pair_server *s, const char *path, const json_t *body, unsigned whole_s,
	       json_t **ret, struct http_answer *a, struct err *err)
{
	CLEANUP_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_request q = {.method = body ? "POST" : "GET",
				 .path = path,
				 .content_type = "application/json",
				 .body = text,
				 .body_size = text ? strlen(text) : 0,
				 .answer_max = ANSWER_MAX,
				 .timeout_s = whole_s,
				 .whole_s = whole_s};
	int r;

	if (body && !text)
		return err_set(err, -ENOMEM, "out of memory");
	r = http_do(s->http, &q, a, err);
	if (r == 0)
		r = json_parse((const char *)a->data, a->size, ANSWER_MAX, ret, err);
	if (text)
		explicit_bzero(text, strlen(text));
	return r;
}

/* A server of which nothing but the address is known says which key it has; connecting with that as the pin shows whether it is so. */
static int learn_pin(struct talk *t, struct http_answer *a, struct err *err)
{
	CLEANUP_JSON json_t *info = NULL;
	const char *pin = NULL;
	int r;

	if (!set_http(t->s, http_new(&t->target)) || !t->s->http)
		return err_set(err, -ECANCELED, "interrupted");
	http_allow_any_key(t->s->http);
	r = ask(t->s, "/v1/info", NULL, ASK_S, &info, a, err);
	if (r == 0)
		r = json_get_str(info, "fingerprint", PIN_TEXT_SIZE - 1, &pin, err);
	if (r == 0)
		r = http_target_set_pin(&t->target, pin, err);
	return r == -EINVAL ? -EPROTO : r; /* whose sentence would quote the stranger */
}

static int connect_to(struct talk *t, struct http_answer *a, struct err *err)
{
	struct pair_server *s = t->s;
	struct pair *p = s->pair;
	int r = 0;

	t->target = (struct http_target){.pin = ""};
	(void)pthread_mutex_lock(&p->lock);
	memcpy(t->target.url, s->urls[s->url], sizeof(t->target.url));
	memcpy(t->target.pin, s->pin, sizeof(t->target.pin));
	(void)pthread_mutex_unlock(&p->lock);
	if (!t->target.pin[0])
		r = learn_pin(t, a, err);
	if (r == 0 && (!set_http(s, http_new(&t->target)) || !s->http))
		r = err_set(err, -ECANCELED, "interrupted");
	return r;
}

/* ---- the steps */

static int begin(struct talk *t, struct http_answer *a, struct err *err)
{
	const struct pair_setup *setup = &t->s->pair->setup;
	uint8_t machine[16], commitment[PAIRING_COMMITMENT_SIZE];
	char hex[2 * PAIRING_COMMITMENT_SIZE + 1];
	CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	uint64_t number;
	int r;

	if (!hex_decode(setup->machine_id, machine, sizeof(machine)))
		return err_set(err, -EINVAL, "the machine's id is not 32 hex digits");
	if (getrandom(t->random, sizeof(t->random), 0) != sizeof(t->random))
		return err_set(err, -EIO, "this machine has no random numbers");
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return err_set(err, -EIO, "this machine has no random numbers");
	t->proof = (uint32_t)(number % PAIRING_CODES);
	pairing_commit(machine, t->random, commitment);
	hex_encode(commitment, sizeof(commitment), hex);
	body = json_pack("{s:s, s:s, s:s, s:s}", "machine_id", setup->machine_id, "name",
			 setup->name, "agent_version", HOIST_VERSION, "commitment", hex);
	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	r = ask(t->s, "/v1/agent/pair", body, ASK_S, &answer, a, err);
	return r == 0 ? pair_begun_decode(answer, &t->begun, err) : r;
}

static int reveal(struct talk *t, struct pair_status *ret, struct http_answer *a, struct err *err)
{
	char hex[2 * PAIRING_RANDOM_SIZE + 1];
	CLEANUP_JSON json_t *body = NULL, *answer = NULL;
	int r;

	hex_encode(t->random, sizeof(t->random), hex);
	body = json_pack("{s:s, s:s}", "pairing", t->begun.ticket, "random", hex);
	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	r = ask(t->s, "/v1/agent/pair/reveal", body, ASK_S, &answer, a, err);
	return r == 0 ? pair_status_decode(answer, ret, err) : r;
}

static int wait_once(struct talk *t, struct pair_status *ret, struct http_answer *a,
		     struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s}", "pairing", t->begun.ticket);
	CLEANUP_JSON json_t *answer = NULL;
	int r = body ? ask(t->s, "/v1/agent/pair/wait", body, WAIT_S, &answer, a, err)
		     : err_set(err, -ENOMEM, "out of memory");

	return r == 0 ? pair_status_decode(answer, ret, err) : r;
}

/* ---- the code */

static void show(struct talk *t)
{
	struct pair_server *s = t->s, copy;
	struct pair *p = s->pair;
	struct pairing_facts f = {.name = p->setup.name};
	bool alone;

	(void)hex_decode(p->setup.machine_id, f.machine, sizeof(f.machine)); /* begin() has */
	(void)hex_decode(t->target.pin, f.key, sizeof(f.key));
	memcpy(f.agent_random, t->random, sizeof(f.agent_random));
	memcpy(f.server_random, t->begun.random, sizeof(f.server_random));
	(void)pthread_mutex_lock(&p->lock);
	if (t->begun.name[0] && strcmp(s->name, "?") == 0)
		memcpy(s->name, t->begun.name, sizeof(s->name));
	memcpy(s->pin, t->target.pin, sizeof(s->pin));
	s->code = pairing_code(&f);
	s->proof = t->proof;
	s->showing = true;
	copy = *s;
	alone = pair_is_alone(p);
	(void)pthread_mutex_unlock(&p->lock);
	pair_show(p, &copy, alone);
}

static void hide(struct pair_server *s)
{
	(void)pthread_mutex_lock(&s->pair->lock);
	s->showing = false;
	(void)pthread_mutex_unlock(&s->pair->lock);
}

static void win(struct talk *t)
{
	struct pair *p = t->s->pair;

	(void)pthread_mutex_lock(&p->lock);
	if (!p->won && !p->stop) {
		p->won = true;
		p->result.target = t->target;
		memcpy(p->result.ticket, t->begun.ticket, sizeof(p->result.ticket));
		memcpy(p->winner, t->s->name, sizeof(p->winner));
	}
	(void)pthread_cond_broadcast(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
}

/* ---- how it goes on */

/* It has answered, and proved its key. */
static void note_reached(struct pair_server *s)
{
	(void)pthread_mutex_lock(&s->pair->lock);
	s->reached = true;
	s->failures = 0;
	(void)pthread_mutex_unlock(&s->pair->lock);
}

/* Is a failure of this one worth a line?  Those that never answered share one every so often: somebody may be making them up. */
static bool is_worth_a_line(struct pair_server *s)
{
	struct pair *p = s->pair;
	uint64_t now = pair_now_ms(p);
	bool worth;

	(void)pthread_mutex_lock(&p->lock);
	worth = s->reached || p->setup.fixed || p->strange_ms == 0 ||
		now - p->strange_ms >= STRANGE_LINE_MS;
	if (worth && !s->reached)
		p->strange_ms = now;
	(void)pthread_mutex_unlock(&p->lock);
	return worth;
}

/* What failed may work next time: wait longer each time, and try another address.  Milliseconds. */
static uint64_t after_failure(struct pair_server *s)
{
	struct pair *p = s->pair;
	unsigned n, max;
	bool untried;

	(void)pthread_mutex_lock(&p->lock);
	s->url = (s->url + 1) % s->urls_len;
	n = s->failures++;
	untried = !s->reached && s->failures < s->urls_len;
	max = s->reached ? FAILURES_MAX : p->candidates_len > 0 ? 1 : STRANGE_FAILURES_MAX;
	if (!p->setup.fixed && !untried && s->failures >= max)
		s->evicted = true; /* it comes back when it is heard again */
	(void)pthread_mutex_unlock(&p->lock);
	return untried ? UNTRIED_MS : link_pause_ms(n, random_u32());
}

/* The stranger's own sentences are not shown: they could show a code. */
static uint64_t after_refusal(struct pair_server *s, const struct http_answer *a)
{
	unsigned wait_s =
		a->retry_after_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : a->retry_after_s;
	char line[100];

	switch (a->status) {
	case 403:
		say_trouble(s, "it takes no machines by pairing; a medium with a token of that "
			       "server is needed ('hoist iso --new-token' makes one)");
		return FORBIDDEN_MS;
	case 404:
		say_trouble(s, "it knows nothing of this pairing (any more); a new code follows");
		return AGAIN_MS + random_u32() % AGAIN_MS;
	case 409:
		say_trouble(s, "another machine that says it is this one is pairing with it");
		return CONFLICT_MS;
	case 429:
	case 503:
		wait_s = wait_s ? wait_s : 5;
		(void)snprintf(line, sizeof(line),
			       "it takes no more pairings at present; asking again in %u s",
			       wait_s);
		say_trouble(s, line);
		return wait_s * 1000ull + random_u32() % 2000;
	default:
		(void)snprintf(line, sizeof(line), "it refused, with status %d", a->status);
		say_trouble(s, line);
		return NONSENSE_MS;
	}
}

/* How long to wait after an error. */
static uint64_t after_error(struct talk *t, int r, const struct http_answer *a,
			    const struct err *err)
{
	switch (r) {
	case -ECANCELED:
		return 0;
	case -EREMOTEIO:
		note_reached(t->s);
		return after_refusal(t->s, a);
	case -EPROTO:
	case -EMSGSIZE:
		if (is_worth_a_line(t->s))
			say_trouble(t->s, "what it answers makes no sense");
		return NONSENSE_MS;
	default:
		if (is_worth_a_line(t->s))
			say_trouble(t->s, err->msg);
		return after_failure(t->s);
	}
}

/* The server says that it was confirmed, and does not know what stands on this screen: a mistake in typing, or a server that would like to
 * be trusted.  It has had its one guess; whoever goes on guessing waits longer each time, under whatever key. */
static uint64_t after_false_proof(struct talk *t)
{
	struct pair *p = t->s->pair;
	uint64_t hold;

	(void)pthread_mutex_lock(&p->lock);
	hold = FALSE_PROOF_MS << (p->false_proofs < 6 ? p->false_proofs : 6);
	p->false_proofs++;
	p->hold_ms = pair_now_ms(p) + hold;
	(void)pthread_mutex_unlock(&p->lock);
	say_trouble(
		t->s,
		"it says that it was confirmed, but NOT BY SOMEBODY WHO READ THE CODE HERE: not "
		"trusted; mistyped, or a server that is not yours");
	return hold;
}

/* How long to wait after it was decided. */
static uint64_t after_decision(struct talk *t, const struct pair_status *status)
{
	switch (status->state) {
	case PAIR_REJECTED:
		say_trouble(t->s, "this machine was REJECTED there; asking again in 15 minutes");
		return REJECTED_MS;
	case PAIR_WRONG_CODE:
		say_trouble(t->s,
			    "ANOTHER CODE WAS TYPED there than the one shown here: mistyped, or "
			    "somebody is between; a new code follows");
		return AGAIN_MS;
	case PAIR_CONFIRMED:
		if (status->proof != t->proof)
			return after_false_proof(t);
		win(t);
		return 0;
	case PAIR_ENDED:
	case PAIR_WAITING:
	default:
		say_trouble(t->s, "the code is not good any more; a new one follows");
		return AGAIN_MS;
	}
}

/* Only what is said by us, not what a stranger's answer says: see after_refusal(). */
static void say_retry(struct pair_server *s, int r, const struct http_answer *a,
		      const struct err *err)
{
	char line[80];

	(void)snprintf(line, sizeof(line), "it answers with status %d; asking again", a->status);
	say_trouble(s, r == -EREMOTEIO ? line : err->msg);
}

/* Wait for the decision, through losses of the connection, but not longer than the pairing can live. */
static int await(struct talk *t, struct pair_status *status, struct http_answer *a, struct err *err)
{
	const struct pair *p = t->s->pair;
	uint64_t end = pair_now_ms(p) + (t->begun.life_s + WAIT_S) * 1000ull;
	unsigned failures = 0;

	while (status->state == PAIR_WAITING && pair_now_ms(p) < end) {
		uint64_t asked = pair_now_ms(p);
		int r = wait_once(t, status, a, err);

		if (http_may_retry(r, a)) {
			say_retry(t->s, r, a, err);
			if (!pair_pause(t->s, link_pause_ms(failures++, random_u32())))
				return err_set(err, -ECANCELED, "interrupted");
			continue;
		}
		if (r == -EREMOTEIO && a->status == 404 &&
		    pair_now_ms(p) + 2000 >= end - WAIT_S * 1000) {
			status->state = PAIR_ENDED; /* its life is over */
			return 0;
		}
		if (r < 0)
			return r;
		failures = 0;
		/* one that answers at once instead of waiting is not asked a thousand times a second */
		if (status->state == PAIR_WAITING && pair_now_ms(p) - asked < 1000 &&
		    !pair_pause(t->s, 1000))
			return err_set(err, -ECANCELED, "interrupted");
	}
	return 0;
}

/* It knows enough now to make one. */
static void count_code(struct pair_server *s)
{
	struct pair *p = s->pair;
	uint64_t now = pair_now_ms(p);

	memmove(s->begins_ms + 1, s->begins_ms, sizeof(s->begins_ms) - sizeof(s->begins_ms[0]));
	s->begins_ms[0] = now;
	(void)pthread_mutex_lock(&p->lock);
	memmove(p->codes_ms + 1, p->codes_ms, sizeof(p->codes_ms) - sizeof(p->codes_ms[0]));
	p->codes_ms[0] = now;
	(void)pthread_mutex_unlock(&p->lock);
}

/* One pairing from beginning to end; how long to wait before the next. */
static uint64_t exchange(struct pair_server *s)
{
	struct talk t = {.s = s};
	struct pair_status status = {PAIR_WAITING, 0};
	struct http_answer a = {0};
	struct err err = {0};
	int r = connect_to(&t, &a, &err);

	if (r == 0)
		r = begin(&t, &a, &err);
	if (r == 0) {
		note_reached(s);
		count_code(s);
		r = reveal(&t, &status, &a, &err);
	}
	if (r == 0 && status.state == PAIR_WAITING) {
		show(&t);
		r = await(&t, &status, &a, &err);
		hide(s);
	}
	if (r == 0)
		return after_decision(&t, &status);
	return after_error(&t, r, &a, &err);
}

static uint64_t left_of(uint64_t oldest_ms, uint64_t now)
{
	return oldest_ms == 0 || now - oldest_ms >= BEGINS_MS ? 0 : oldest_ms + BEGINS_MS - now;
}

/* No more codes than may be shown within a time, of one server and of all: who sits in between can be many servers. */
static uint64_t until_next_code(struct pair_server *s)
{
	struct pair *p = s->pair;
	uint64_t now = pair_now_ms(p), of_all, held;
	uint64_t left = left_of(s->begins_ms[PAIRING_BEGINS_MAX - 1], now);

	(void)pthread_mutex_lock(&p->lock);
	of_all = left_of(p->codes_ms[PAIR_CODES_MAX - 1], now);
	held = p->hold_ms > now ? p->hold_ms - now : 0;
	(void)pthread_mutex_unlock(&p->lock);
	left = of_all > left ? of_all : left;
	left = held > left ? held : left;
	if (left > 0)
		say_trouble(s, "too many codes or guesses in a short time; the next one follows "
			       "later");
	return left;
}

void *pair_server_run(void *server)
{
	struct pair_server *s = server;
	uint64_t pause_ms = 0;

	while (pair_pause(s, pause_ms)) {
		pause_ms = until_next_code(
			s); /* looked at again after it: others may have been faster */
		if (pause_ms > 0)
			continue;
		pause_ms = exchange(s);
		(void)pthread_mutex_lock(&s->pair->lock);
		if (s->pair->won)
			s->evicted = true;
		(void)pthread_mutex_unlock(&s->pair->lock);
	}
	(void)set_http(s, NULL);
	(void)pthread_mutex_lock(&s->pair->lock);
	s->gone = true;
	(void)pthread_cond_broadcast(&s->pair->wake);
	(void)pthread_mutex_unlock(&s->pair->lock);
	return NULL;
}
