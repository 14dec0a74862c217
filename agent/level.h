/* level.h - how hard to compress: a level that was ordered, or one that follows what the workers wait for.
 *
 * The levels are a ladder: 0 = stored; zstd -5 to -1; 1 to 19.  An adaptive one starts at 1 and is looked at every two seconds:
 *
 *	up, at most to `max`	two looks in a row: seven tenths of the time or more went into the network, and at most a fifth into computing
 *	down, to 1		a quarter or more into computing, and at most half into the network
 *	down, from 1 to 0	three fifths or more into computing, and at most a quarter into network and server
 *
 * With only half of the time in the network a wire is not full: now and then all workers are somewhere else.
 * A slow server is no reason to go up: what is compressed harder is hardly less work for it.
 *
 * A level that it had to come down from is not tried again for half a minute; each time that happens again, twice as long,
 * at most eight minutes.  So it does not swing.  Thread-safe. */
#ifndef AGENT_LEVEL_H
#define AGENT_LEVEL_H
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/meter.h"
#include "common/codec.h"
#include "common/json.h"

#define LEVEL_STORED   0
#define LEVEL_LEAST    (-5)
#define LEVEL_MOST     19
#define LEVEL_AUTO_MAX 6
#define LEVEL_STEP_US  2000000u

struct level {
	enum codec codec;
	bool is_adaptive;
	int max; /* of an adaptive one */

	pthread_mutex_t lock; /* over all below */
	int now;
	bool has_before;
	struct meter_times before; /* at the last look */
	uint64_t before_us;
	bool was_up; /* the last look said up */
	int ceiling; /* not to be reached before ceiling_us */
	uint64_t ceiling_us, ban_us;
	uint64_t bytes[LEVEL_MOST - LEVEL_LEAST + 1]; /* of packs, by level */
};

/* `level` 1 to 19 as ordered; or 0: adaptive, up to `max`.  The codec is the one that the server takes. */
void level_init(struct level *l, enum codec codec, int level, int max);
void level_done(struct level *l);
/* The level at this moment, when the workers' times are `t`. */
int level_at(struct level *l, const struct meter_times *t, uint64_t now_us);
/* The same for whoever is about to compress. */
int level_choose(struct level *l, struct meter *m);
/* A pack of so many bytes was sent; LEVEL_STORED if it was not compressed, for whatever reason. */
void level_count(struct level *l, int level, uint64_t bytes);
/* {"1": bytes, "-1": bytes, "stored": bytes}, of those that there were.  NULL: out of memory. */
json_t *level_report(struct level *l);

/* One step of the ladder; the same at its ends.  Pure. */
int level_above(enum codec codec, int level);
int level_below(enum codec codec, int level);
#endif
