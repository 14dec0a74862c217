/* meter.h - where the workers of a job spend their time, and which place is the bottleneck: docs/protocol.md "Where the time goes".
 *
 * Each worker has a clock, which it tells where it goes.  Thread-safe, but for one clock, which is its worker's. */
#ifndef AGENT_METER_H
#define AGENT_METER_H
#include <pthread.h>
#include <stdint.h>

#include "common/http_time.h"

enum meter_place {
	METER_NOWHERE, /* waiting for another worker; or inside a request, which tells by meter_add */
	METER_DISK,
	METER_CPU,
	METER_NETWORK,
	METER_SERVER,
};
#define METER_PLACES 5u
/* "disk", "cpu", "network", "server"; NULL for METER_NOWHERE. */
const char *meter_place_name(enum meter_place p);

/* Microseconds by place; that of METER_NOWHERE stays 0. */
struct meter_times {
	uint64_t us[METER_PLACES];
};
uint64_t meter_sum(const struct meter_times *t);
struct meter_times meter_since(const struct meter_times *before, const struct meter_times *now);
/* The bottleneck of such a time, when it was `last` before (METER_NOWHERE: not known).  Pure. */
enum meter_place meter_judge(const struct meter_times *t, enum meter_place last);

#define METER_SAMPLES 6u       /* the last one is at least ... */
#define METER_STEP_US 1000000u /* ... so long after the one before */

struct meter_clock;
struct meter {
	pthread_mutex_t lock; /* over all below */
	struct meter_times total;
	struct meter_clock *clocks; /* running */
	struct meter_times samples[METER_SAMPLES];
	uint64_t sample_us[METER_SAMPLES];
	unsigned samples_len, next;
	enum meter_place last;
};

void meter_init(struct meter *m);
void meter_done(struct meter *m);
/* So far, all clocks that run included. */
struct meter_times meter_get(struct meter *m, uint64_t now_us);
/* Over the last five seconds, if it is asked for at least once a second. */
enum meter_place meter_bottleneck(struct meter *m, uint64_t now_us);

/* One worker's.  All but meter_start take NULL: nothing is measured then. */
struct meter_clock {
	struct meter *meter;
	struct meter_clock *next;
	enum meter_place place;
	uint64_t since_us;
};
void meter_start(struct meter_clock *c, struct meter *m); /* at METER_CPU */
void meter_stop(struct meter_clock *c);
/* From now on it is there.  Returns where it was. */
enum meter_place meter_go(struct meter_clock *c, enum meter_place place);
/* Inside a request. */
void meter_add(struct meter_clock *c, const struct http_time *t);
#endif
