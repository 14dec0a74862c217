/* pair.c - the table of servers, the screen, and who has won.  The exchange itself is in pair_server.c. */
#include "agent/pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "agent/clock.h"
#include "agent/pair_server.h"
#include "common/cleanup.h"
#include "common/cond.h"

#define SHOW_AGAIN_MS 30000u

struct pair *pair_new(const struct pair_setup *setup)
{
	struct pair *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->setup = *setup;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_mutex_init(&p->screen, NULL);
	cond_init(&p->wake);
	return p;
}

/* Threads that are to end soon: cancel what they wait for, then wait for them. */
static void stop_all(struct pair *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++) {
		if (p->servers[i].http)
			http_cancel(p->servers[i].http);
	}
	(void)pthread_cond_broadcast(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++) {
		if (p->servers[i].used)
			(void)pthread_join(p->servers[i].thread, NULL);
		p->servers[i].used = false;
	}
}

void pair_free(struct pair *p)
{
	if (!p)
		return;
	stop_all(p);
	explicit_bzero(&p->result, sizeof(p->result));
	(void)pthread_cond_destroy(&p->wake);
	(void)pthread_mutex_destroy(&p->lock);
	(void)pthread_mutex_destroy(&p->screen);
	free(p);
}

void pair_interrupt(struct pair *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->interrupted = true;
	(void)pthread_cond_broadcast(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
}

/* The lock is held; false when the time is over. */
static bool wait_until(struct pair *p, uint64_t end_ms)
{
	struct timespec until = {.tv_sec = (time_t)(end_ms / 1000),
				 .tv_nsec = (long)(end_ms % 1000) * 1000000};

	return pthread_cond_timedwait(&p->wake, &p->lock, &until) == 0;
}

/* The lock is held. */
static bool goes_on(const struct pair_server *s)
{
	return !s->pair->stop && !s->evicted;
}

uint64_t pair_now_ms(const struct pair *p)
{
	return p->setup.now_ms ? p->setup.now_ms() : clock_ms();
}

bool pair_pause(struct pair_server *s, uint64_t ms)
{
	struct pair *p = s->pair;
	uint64_t end = pair_now_ms(p) + ms;
	bool result;

	if (p->setup.pass)
		p->setup.pass(end);
	(void)pthread_mutex_lock(&p->lock);
	while (goes_on(s) && pair_now_ms(p) < end)
		(void)wait_until(p, end);
	result = goes_on(s);
	(void)pthread_mutex_unlock(&p->lock);
	return result;
}

/* ---- the table */

/* Another address of one that is known.  The lock is held. */
static void add_url(struct pair_server *s, const char *url)
{
	for (size_t i = 0; i < s->urls_len; i++) {
		if (strcmp(s->urls[i], url) == 0)
			return;
	}
	if (s->urls_len == PAIR_URLS_MAX)
		return;
	(void)snprintf(s->urls[s->urls_len++], URL_MAX, "%s", url);
}

/* The lock is held.  A place whose thread has given up is taken again. */
static struct pair_server *free_place(struct pair *p)
{
	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++) {
		struct pair_server *s = &p->servers[i];

		if (!s->used)
			return s;
		if (s->gone) {
			(void)pthread_join(s->thread, NULL); /* it is at its very end */
			s->used = false;
			return s;
		}
	}
	return NULL;
}

/* The lock is held.  One that has never answered is to go: somebody may be making them up. */
static void make_room(struct pair *p)
{
	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++) {
		struct pair_server *s = &p->servers[i];

		if (!s->used || s->reached || s->failures == 0 || s->evicted)
			continue;
		s->evicted = true;
		if (s->http)
			http_cancel(s->http);
		(void)pthread_cond_broadcast(&p->wake);
		return;
	}
}

static size_t random_below(size_t n)
{
	uint32_t v = 0;

	(void)!getrandom(&v, sizeof(v), 0); /* only that nobody can count on an order */
	return v % n;
}

/* The lock is held.  Whoever answers first and most often shall not be the only one who is heard: of those that wait any may be the next, and when
 * there are too many any may be forgotten. */
static void remember(struct pair *p, const char *pin, const char *url, const char *name)
{
	size_t at = p->candidates_len;
	struct pair_candidate *c;

	for (size_t i = 0; i < p->candidates_len; i++) {
		if (strcmp(p->candidates[i].pin, pin) == 0 &&
		    strcmp(p->candidates[i].url, url) == 0)
			return;
	}
	if (at == PAIR_CANDIDATES_MAX)
		at = random_below(PAIR_CANDIDATES_MAX);
	else
		p->candidates_len++;
	c = &p->candidates[at];
	(void)snprintf(c->pin, sizeof(c->pin), "%s", pin);
	(void)snprintf(c->url, sizeof(c->url), "%s", url);
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
}

/* The lock is held.  True: there was no place. */
static bool add_server(struct pair *p, const char *pin, const char *url, const char *name)
{
	struct pair_server *s = free_place(p);

	if (!s) {
		remember(p, pin, url, name);
		make_room(p);
		return true;
	}
	*s = (struct pair_server){.pair = p};
	(void)snprintf(s->pin, sizeof(s->pin), "%s", pin);
	pair_clean_name(name, s->name);
	add_url(s, url);
	s->used = pthread_create(&s->thread, NULL, pair_server_run, s) == 0;
	return false; /* when no thread can be had: the next answer tries again */
}

/* The lock is held.  True: there was no place. */
static bool take_in(struct pair *p, const char *pin, const char *url, const char *name)
{
	for (size_t i = 0; *pin && i < PAIR_SERVERS_MAX; i++) {
		struct pair_server *s = &p->servers[i];

		if (s->used && !s->gone && strcmp(s->pin, pin) == 0) {
			add_url(s, url);
			return false;
		}
	}
	return add_server(p, pin, url, name);
}

/* The lock is held.  Give places that have become free to those that wait. */
static void refill(struct pair *p)
{
	while (p->candidates_len > 0 && free_place(p)) {
		size_t i = random_below(p->candidates_len);
		struct pair_candidate c = p->candidates[i];

		p->candidates[i] = p->candidates[--p->candidates_len];
		(void)take_in(p, c.pin, c.url, c.name);
	}
}

void pair_offer(struct pair *p, const char *pin, const char *url, const char *name)
{
	bool say = false;

	(void)pthread_mutex_lock(&p->lock);
	if (!p->stop && !p->won && !p->interrupted && take_in(p, pin ? pin : "", url, name)) {
		say = !p->full_said;
		p->full_said = true;
	}
	(void)pthread_mutex_unlock(&p->lock);
	if (say) {
		console_say(p->setup.console,
			    "more than %u servers answer: %u at a time are paired with; "
			    "hoist.server=ADDRESS names the one that is meant",
			    PAIR_SERVERS_MAX, PAIR_SERVERS_MAX);
	}
}

/* ---- the screen */

/* Six digits that are read from afar: five rows of three by five dots, two columns a dot. */
static void show_large(struct console *c, uint32_t code)
{
	static const uint16_t digits[10] = {075557, 022222, 071747, 071717, 055711,
					    074717, 074757, 071111, 075757, 075717};
	char text[PAIRING_TEXT_SIZE];

	(void)pairing_code_text(code, text);
	for (unsigned row = 0; row < 5; row++) {
		char line[80];
		size_t n = 0;

		for (const char *p = text; *p; p++) {
			unsigned dots = *p == ' ' ? 0 : digits[*p - '0'] >> 3 * (4 - row) & 7;

			for (unsigned d = 4; *p != ' ' && d > 0; d /= 2) {
				memcpy(line + n, dots & d ? "##" : "  ", 2);
				n += 2;
			}
			memcpy(line + n, "  ", 2);
			n += 2;
		}
		line[n] = '\0';
		console_say(c, "    %s", line);
	}
}

void pair_show(struct pair *p, const struct pair_server *copy, bool alone)
{
	struct console *c = p->setup.console;
	char code[PAIRING_TEXT_SIZE], proof[PAIRING_TEXT_SIZE];

	(void)pairing_code_text(copy->code, code);
	(void)pairing_code_text(copy->proof, proof);
	(void)pthread_mutex_lock(&p->screen);
	if (alone) {
		show_large(c, copy->code);
		console_say(c, "    ");
		show_large(c, copy->proof);
	} else {
		console_say(c, "several servers answer; nothing is chosen here: type a code at "
			       "the very server that it is of");
	}
	console_say(c, "*** PAIRING CODE  %s %s", code, proof);
	console_say(c, "    of server '%s' at %s", copy->name, copy->urls[copy->url]);
	console_say(c, "    with the key %.4s:%.4s:%.4s:%.4s... If it is yours, type there:",
		    copy->pin, copy->pin + 4, copy->pin + 8, copy->pin + 12);
	console_say(c, "        hoist pair %.8s %s %s", p->setup.machine_id, code, proof);
	(void)pthread_mutex_unlock(&p->screen);
}

bool pair_is_alone(const struct pair *p)
{
	unsigned n = 0;

	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++)
		n += p->servers[i].used && !p->servers[i].gone;
	return n == 1;
}

static void show_all(struct pair *p)
{
	struct pair_server copies[PAIR_SERVERS_MAX];
	size_t len = 0;

	(void)pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++) {
		if (p->servers[i].used && p->servers[i].showing)
			copies[len++] = p->servers[i];
	}
	(void)pthread_mutex_unlock(&p->lock);
	for (size_t i = 0; i < len; i++)
		pair_show(p, &copies[i], len == 1);
}

/* All threads end; those that were not chosen are named. */
static void drop_others(struct pair *p)
{
	struct pair_server others[PAIR_SERVERS_MAX];
	size_t len = 0;

	(void)pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < PAIR_SERVERS_MAX; i++) {
		const struct pair_server *s = &p->servers[i];

		if (s->used && !s->gone && s->reached && strcmp(s->pin, p->result.target.pin) != 0)
			others[len++] = *s;
	}
	(void)pthread_mutex_unlock(&p->lock);
	stop_all(p);
	for (size_t i = 0; i < len; i++)
		console_say(p->setup.console, "server '%s' at %s is dropped", others[i].name,
			    others[i].urls[others[i].url]);
}

int pair_run(struct pair *p, struct pair_result *ret, struct err *err)
{
	bool go = true;

	while (go) {
		uint64_t end = clock_ms() + SHOW_AGAIN_MS;

		(void)pthread_mutex_lock(&p->lock);
		do {
			refill(p);
		} while (!p->won && !p->interrupted && wait_until(p, end));
		go = !p->won && !p->interrupted;
		(void)pthread_mutex_unlock(&p->lock);
		if (go)
			show_all(p);
	}
	if (!p->won)
		return err_set(err, -ECANCELED, "interrupted");
	console_say(
		p->setup.console,
		"server '%s' at %s has confirmed this machine; its key %s is trusted from now on",
		p->winner, p->result.target.url, p->result.target.pin);
	drop_others(p);
	*ret = p->result;
	return 0;
}
