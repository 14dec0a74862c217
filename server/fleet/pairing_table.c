#include "server/fleet/pairing_table.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cond.h"

const char *const pairing_state_names[] = {
	[PAIRING_FREE] = "ended",
	[PAIRING_BEGUN] = "begun",
	[PAIRING_WAITING] = "waiting",
	[PAIRING_CONFIRMED] = "confirmed",
	[PAIRING_REGISTERED] = "confirmed",
	[PAIRING_REJECTED] = "rejected",
	[PAIRING_WRONG_CODE] = "wrong_code",
	[PAIRING_ENDED] = "ended",
};

uint64_t pairing_clock_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t pairings_now(const struct pairings *p)
{
	return p->config.now_ms();
}

pthread_mutex_t *pairings_hold(struct pairings *p)
{
	(void)pthread_mutex_lock(&p->lock);
	return &p->lock;
}

void pairings_unholdp(pthread_mutex_t **m)
{
	(void)pthread_mutex_unlock(*m);
}

void pairing_note(struct pairing_note *n, const char *event, const struct pairing *x,
		  const char *more)
{
	n->event = event;
	memcpy(n->machine, x->machine, sizeof(n->machine));
	(void)snprintf(n->text, sizeof(n->text), "%s at %s%s", x->name, x->address, more);
}

void pairings_tell(struct pairings *p, const struct pairing_note *n)
{
	if (n->event && p->config.event)
		p->config.event(p->config.ctx, n->event, n->machine, n->text);
}

struct pairings *pairings_new(const struct pairings_config *config)
{
	struct pairings *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->config = *config;
	if (!p->config.now_ms)
		p->config.now_ms = pairing_clock_ms;
	p->items = calloc(config->max ? config->max : 1, sizeof(*p->items));
	if (!p->items) {
		free(p);
		return NULL;
	}
	(void)pthread_mutex_init(&p->lock, NULL);
	cond_init(&p->changed);
	return p;
}

void pairings_stop(struct pairings *p)
{
	if (!p)
		return;
	LOCK(p);
	p->stopping = true;
	(void)pthread_cond_broadcast(&p->changed);
}

void pairings_free(struct pairings *p)
{
	if (!p)
		return;
	explicit_bzero(p->items, p->config.max * sizeof(*p->items));
	free(p->items);
	(void)pthread_cond_destroy(&p->changed);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

void pairing_set_state(struct pairings *p, struct pairing *x, enum pairing_state state)
{
	x->state = state;
	(void)pthread_cond_broadcast(&p->changed);
}

bool pairing_is_open(const struct pairing *x)
{
	return x->state == PAIRING_BEGUN || x->state == PAIRING_WAITING;
}

uint64_t pairing_left_ms(const struct pairings *p, const struct pairing *x)
{
	uint64_t end = x->life_ms + p->config.life_s * 1000ull, at = pairings_now(p);

	return end > at ? end - at : 0;
}

/* The next one whose time is over; false: there is none.  What it was is in `ret`, if there is something to tell. */
static bool end_one(struct pairings *p, struct pairing_note *ret)
{
	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if (x->state == PAIRING_FREE)
			continue;
		if (pairing_left_ms(p, x) == 0) {
			if (pairing_is_open(x) || x->state == PAIRING_CONFIRMED)
				pairing_note(ret, "pairing_expired", x, "");
			explicit_bzero(x, sizeof(*x));
			pairing_set_state(p, x, PAIRING_FREE);
			return true;
		}
		if (pairing_is_open(x) && pairings_now(p) - x->heard_ms >= PAIRING_QUIET_MS) {
			pairing_note(ret, "pairing_ended", x,
				     ", its agent has not been heard for a minute");
			pairing_set_state(p, x, PAIRING_ENDED);
			return true;
		}
	}
	return false;
}

void pairings_tick(struct pairings *p)
{
	bool go = true;

	while (go) {
		struct pairing_note n = {.event = NULL};

		(void)pthread_mutex_lock(&p->lock);
		go = end_one(p, &n);
		(void)pthread_mutex_unlock(&p->lock);
		pairings_tell(p, &n);
	}
}

struct pairing *pairing_by_ticket(struct pairings *p, const char *ticket)
{
	struct id hash = id_of(ticket, strlen(ticket));
	struct pairing *found = NULL;

	for (size_t i = 0; i < p->config.max; i++) {
		struct pairing *x = &p->items[i];

		if (x->state != PAIRING_FREE &&
		    gnutls_memcmp(x->ticket_hash.b, hash.b, ID_SIZE) == 0 &&
		    pairing_left_ms(p, x) > 0)
			found = x;
	}
	return found;
}
