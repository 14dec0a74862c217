/* meter.c - one lock for all clocks: a worker moves some twenty times for a window of 4 MiB. */
#include "agent/meter.h"

#include <stddef.h>
#include <string.h>

#include "agent/clock.h"

#define LEAST_US 100000u /* less than that tells nothing */

const char *meter_place_name(enum meter_place p)
{
	static const char *const names[METER_PLACES] = {NULL, "disk", "cpu", "network", "server"};

	return names[p];
}

uint64_t meter_sum(const struct meter_times *t)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < METER_PLACES; i++)
		sum += t->us[i];
	return sum;
}

struct meter_times meter_since(const struct meter_times *before, const struct meter_times *now)
{
	struct meter_times t = {{0}};

	for (unsigned i = 0; i < METER_PLACES; i++) {
		/* a correction can take a little back */
		if (now->us[i] > before->us[i])
			t.us[i] = now->us[i] - before->us[i];
	}
	return t;
}

enum meter_place meter_judge(const struct meter_times *t, enum meter_place last)
{
	enum meter_place most = METER_DISK;
	uint64_t sum = meter_sum(t);

	if (sum < LEAST_US)
		return METER_NOWHERE;
	for (unsigned i = METER_DISK; i < METER_PLACES; i++) {
		if (t->us[i] > t->us[most])
			most = (enum meter_place)i;
	}
	if (last != METER_NOWHERE && t->us[most] - t->us[last] < sum / 10)
		return last;
	return most;
}

void meter_init(struct meter *m)
{
	/* the first sample: all zero */
	*m = (struct meter){.last = METER_NOWHERE, .samples_len = 1, .next = 1};
	(void)pthread_mutex_init(&m->lock, NULL);
}

void meter_done(struct meter *m)
{
	(void)pthread_mutex_destroy(&m->lock);
}

static void add(struct meter_times *t, enum meter_place place, int64_t us)
{
	if (us < 0 && (uint64_t)-us > t->us[place]) {
		t->us[place] = 0;
	} else {
		t->us[place] += (uint64_t)us;
	}
}

/* The lock is held. */
static void settle(struct meter_clock *c, uint64_t now_us)
{
	if (c->place != METER_NOWHERE && now_us > c->since_us)
		add(&c->meter->total, c->place, (int64_t)(now_us - c->since_us));
	c->since_us = now_us;
}

static struct meter_times get(struct meter *m, uint64_t now_us)
{
	for (struct meter_clock *c = m->clocks; c; c = c->next)
		settle(c, now_us);
	return m->total;
}

struct meter_times meter_get(struct meter *m, uint64_t now_us)
{
	struct meter_times t;

	(void)pthread_mutex_lock(&m->lock);
	t = get(m, now_us);
	(void)pthread_mutex_unlock(&m->lock);
	return t;
}

enum meter_place meter_bottleneck(struct meter *m, uint64_t now_us)
{
	struct meter_times now, span;
	enum meter_place p;
	unsigned newest, oldest;

	(void)pthread_mutex_lock(&m->lock);
	now = get(m, now_us);
	newest = (m->next + METER_SAMPLES - 1) % METER_SAMPLES;
	if (now_us - m->sample_us[newest] >= METER_STEP_US) {
		m->samples[m->next] = now;
		m->sample_us[m->next] = now_us;
		m->next = (m->next + 1) % METER_SAMPLES;
		if (m->samples_len < METER_SAMPLES)
			m->samples_len++;
	}
	oldest = m->samples_len < METER_SAMPLES ? 0 : m->next;
	span = meter_since(&m->samples[oldest], &now);
	p = m->last = meter_judge(&span, m->last);
	(void)pthread_mutex_unlock(&m->lock);
	return p;
}

void meter_start(struct meter_clock *c, struct meter *m)
{
	*c = (struct meter_clock){.meter = m, .place = METER_CPU, .since_us = clock_us()};
	(void)pthread_mutex_lock(&m->lock);
	c->next = m->clocks;
	m->clocks = c;
	(void)pthread_mutex_unlock(&m->lock);
}

void meter_stop(struct meter_clock *c)
{
	struct meter_clock **p;

	if (!c || !c->meter)
		return;
	(void)pthread_mutex_lock(&c->meter->lock);
	settle(c, clock_us());
	for (p = &c->meter->clocks; *p != c;)
		p = &(*p)->next;
	*p = c->next;
	(void)pthread_mutex_unlock(&c->meter->lock);
	c->meter = NULL;
}

enum meter_place meter_go(struct meter_clock *c, enum meter_place place)
{
	enum meter_place before;

	if (!c)
		return METER_NOWHERE;
	(void)pthread_mutex_lock(&c->meter->lock);
	settle(c, clock_us());
	before = c->place;
	c->place = place;
	(void)pthread_mutex_unlock(&c->meter->lock);
	return before;
}

void meter_add(struct meter_clock *c, const struct http_time *t)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->meter->lock);
	add(&c->meter->total, METER_CPU, t->cpu);
	add(&c->meter->total, METER_NETWORK, t->network);
	add(&c->meter->total, METER_SERVER, t->server);
	(void)pthread_mutex_unlock(&c->meter->lock);
}
