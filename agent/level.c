#include "agent/level.h"

#include <stdio.h>

#include "agent/clock.h"

#define BAN_US	   30000000u
#define BAN_MAX_US 480000000u
#define LEAST_PART \
	4u /* of a step that one worker at least was somewhere, else nothing is to be learnt */

void level_init(struct level *l, enum codec codec, int level, int max)
{
	*l = (struct level){.codec = codec,
			    .is_adaptive = level == 0 && codec != CODEC_STORED,
			    .now = level == 0 ? 1 : level,
			    .max = max,
			    .ban_us = BAN_US};
	if (codec == CODEC_STORED)
		l->now = LEVEL_STORED;
	(void)pthread_mutex_init(&l->lock, NULL);
}

void level_done(struct level *l)
{
	(void)pthread_mutex_destroy(&l->lock);
}

/* zlib has none that are faster than 1. */
static int fastest(enum codec codec)
{
	return codec == CODEC_ZSTD ? LEVEL_LEAST : 1;
}

int level_above(enum codec codec, int level)
{
	if (level == LEVEL_STORED)
		return fastest(codec);
	if (level == -1)
		return 1;
	return level < LEVEL_MOST ? level + 1 : level;
}

int level_below(enum codec codec, int level)
{
	if (level == LEVEL_STORED || level == fastest(codec))
		return LEVEL_STORED;
	return level == 1 ? -1 : level - 1;
}

/* Is `a` higher on the ladder than `b`? */
static bool is_above(int a, int b)
{
	return b == LEVEL_STORED ? a != LEVEL_STORED : a != LEVEL_STORED && a > b;
}

static void go_up(struct level *l, uint64_t now_us)
{
	int next = level_above(l->codec, l->now);

	if (is_above(next, l->max) || (now_us < l->ceiling_us && !is_above(l->ceiling, next)))
		return;
	l->now = next;
}

static void go_down(struct level *l, uint64_t now_us)
{
	if (l->now == LEVEL_STORED)
		return;
	if (l->ceiling_us > 0 && l->ceiling == l->now) {
		l->ban_us = l->ban_us * 2 < BAN_MAX_US ? l->ban_us * 2 : BAN_MAX_US;
	} else {
		l->ban_us = BAN_US;
	}
	l->ceiling = l->now;
	l->ceiling_us = now_us + l->ban_us;
	l->now = level_below(l->codec, l->now);
}

/* The lock is held. */
static void look(struct level *l, const struct meter_times *t, uint64_t now_us)
{
	struct meter_times span = meter_since(&l->before, t);
	uint64_t sum = meter_sum(&span), cpu = span.us[METER_CPU];
	uint64_t network = span.us[METER_NETWORK], wait = network + span.us[METER_SERVER];
	uint64_t passed = now_us - l->before_us;

	l->before = *t;
	l->before_us = now_us;
	if (sum < passed / LEAST_PART)
		return;
	if (network >= sum / 10 * 7 && cpu <= sum / 5) {
		if (l->was_up)
			go_up(l, now_us);
		l->was_up = true;
		return;
	}
	l->was_up = false;
	if (l->now > 1 ? cpu >= sum / 4 && network <= sum / 2
		       : cpu >= sum / 5 * 3 && wait <= sum / 4)
		go_down(l, now_us);
}

int level_at(struct level *l, const struct meter_times *t, uint64_t now_us)
{
	int now;

	(void)pthread_mutex_lock(&l->lock);
	if (l->is_adaptive && !l->has_before) {
		l->has_before = true;
		l->before = *t;
		l->before_us = now_us;
	} else if (l->is_adaptive && now_us >= l->before_us + LEVEL_STEP_US) {
		look(l, t, now_us);
	}
	now = l->now;
	(void)pthread_mutex_unlock(&l->lock);
	return now;
}

int level_choose(struct level *l, struct meter *m)
{
	uint64_t now_us = clock_us();
	struct meter_times t = meter_get(m, now_us);

	return level_at(l, &t, now_us);
}

void level_count(struct level *l, int level, uint64_t bytes)
{
	(void)pthread_mutex_lock(&l->lock);
	l->bytes[level - LEVEL_LEAST] += bytes;
	(void)pthread_mutex_unlock(&l->lock);
}

json_t *level_report(struct level *l)
{
	json_t *report = json_object();
	bool bad = false;

	(void)pthread_mutex_lock(&l->lock);
	for (int level = LEVEL_LEAST; level <= LEVEL_MOST; level++) {
		uint64_t bytes = l->bytes[level - LEVEL_LEAST];
		char name[16];

		if (bytes == 0)
			continue;
		(void)snprintf(name, sizeof(name), level == LEVEL_STORED ? "stored" : "%d", level);
		bad |= json_object_set_new(report, name, json_integer((json_int_t)bytes)) < 0;
	}
	(void)pthread_mutex_unlock(&l->lock);
	if (!bad)
		return report;
	json_decref(report);
	return NULL;
}
