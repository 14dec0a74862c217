/* The adaptive level against simulated plants: some workers, so many processors, a wire, a disk, a server. */
#include <string.h>

#include "agent/level.h"
#include "tests/unit/tap.h"

/* What a level costs (CPU seconds a GiB) and yields, as measured in docs/performance.md. */
static const struct cost {
	int level;
	double cpu, ratio;
} costs[] = {
	{0, 0.34, 1.0}, {-5, 1.25, .49}, {-4, 1.3, .48}, {-3, 1.44, .46},
	{-2, 1.5, .45}, {-1, 1.62, .43}, {1, 1.8, .40},	 {2, 2.1, .39},
	{3, 2.74, .38}, {4, 3.28, .375}, {5, 5.77, .37}, {6, 7.3, .365},
};

struct plant {
	unsigned cores, workers;
	double wire, disk, server; /* MiB/s; the server's of plain data */
	double noise;		   /* the times are wrong by up to that part */
	bool random_data;	   /* that no level shrinks, and that costs little */
};

static const struct cost *cost_of(int level)
{
	for (size_t i = 0; i < sizeof(costs) / sizeof(*costs); i++) {
		if (costs[i].level == level)
			return &costs[i];
	}
	return &costs[0];
}

/* Share of the workers' time at each place: mean value analysis of a closed network with one station each. */
static void shares(const struct plant *p, int level, double ret[METER_PLACES])
{
	const struct cost *c = cost_of(level);
	double cpu = (p->random_data ? 0.5 + c->cpu / 10 : c->cpu) / 1024;
	double ratio = p->random_data ? 1.0 : c->ratio;
	double demand[METER_PLACES] = {0, 1 / p->disk, cpu / p->cores, ratio / p->wire,
				       1 / p->server};
	double fixed = cpu - cpu / p->cores, queue[METER_PLACES] = {0}, sum = 0;

	for (unsigned n = 1; n <= p->workers; n++) {
		double r[METER_PLACES] = {0};

		sum = fixed;
		for (unsigned i = METER_DISK; i < METER_PLACES; i++) {
			r[i] = demand[i] * (1 + queue[i]);
			sum += r[i];
		}
		for (unsigned i = METER_DISK; i < METER_PLACES; i++)
			queue[i] = n * r[i] / sum;
		memcpy(ret, r, sizeof(r));
	}
	ret[METER_CPU] += fixed;
	for (unsigned i = METER_DISK; i < METER_PLACES; i++)
		ret[i] /= sum;
}

static double less(double a, double b)
{
	return a < b ? a : b;
}

/* MiB/s of plain data. */
static double speed(const struct plant *p, int level)
{
	const struct cost *c = cost_of(level);
	double s = p->cores * 1024 / c->cpu;

	s = less(s, p->wire / c->ratio);
	return less(s, less(p->disk, p->server));
}

struct run {
	struct level level;
	struct meter_times times;
	uint64_t now_us;
	unsigned seed, changes;
};

static void run_init(struct run *r, enum codec codec, int level, int max)
{
	*r = (struct run){.now_us = 1000000, .seed = 1};
	level_init(&r->level, codec, level, max);
	(void)level_at(&r->level, &r->times, r->now_us);
}

/* Half a second at a time.  The last level. */
static int run_for(struct run *r, const struct plant *p, unsigned seconds)
{
	int now = r->level.now;

	r->changes = 0;
	for (unsigned i = 0; i < 2 * seconds; i++) {
		double s[METER_PLACES];
		int next;

		shares(p, now, s);
		for (unsigned k = METER_DISK; k < METER_PLACES; k++) {
			r->seed = r->seed * 1103515245 + 12345;
			s[k] *= 1 + p->noise * ((double)(r->seed >> 16 & 0x7fff) / 16384 - 1);
			r->times.us[k] += (uint64_t)(s[k] * 500000 * p->workers);
		}
		r->now_us += 500000;
		next = level_at(&r->level, &r->times, r->now_us);
		r->changes += next != now;
		now = next;
	}
	return now;
}

static int settle(const struct plant *p, unsigned *ret_changes)
{
	struct run r;
	int level;

	run_init(&r, CODEC_ZSTD, 0, 6);
	(void)run_for(&r, p, 60);
	level = run_for(&r, p, 600);
	*ret_changes = r.changes;
	level_done(&r.level);
	printf("# %u cores, wire %.0f: level %d, %u changes in ten minutes, %.0f MiB/s (level 1: "
	       "%.0f)\n",
	       p->cores, p->wire, level, r.changes, speed(p, level), speed(p, 1));
	return level;
}

static bool check_plant(struct plant p, int least, int most)
{
	unsigned changes;
	int level;

	for (unsigned i = 0; i < 3; i++) {
		p.noise = 0.1 * i;
		level = settle(&p, &changes);
		/* stored is the lowest */
		if ((level == 0 ? -9 : level) < (least == 0 ? -9 : least) ||
		    (level == 0 ? -9 : level) > (most == 0 ? -9 : most) || changes > 12)
			return false;
	}
	return true;
}

static void test_plants(void)
{
	const struct plant base = {2, 4, 112, 5000, 3000, 0, false};
	struct plant p = base;

	ok(check_plant(p, 3, 5), "two cores, 1 Gbit/s: harder, until the cores are busy");
	p.wire = 11;
	ok(check_plant(p, 6, 6), "100 Mbit/s: as hard as it may");
	p.wire = 1150;
	ok(check_plant(p, 0, -1), "two cores, 10 Gbit/s: less hard");
	p.cores = 1;
	p.workers = 2;
	p.wire = 11500;
	ok(check_plant(p, 0, 0), "one slow core, an endless wire: stored");
	p = base;
	p.cores = 1;
	p.workers = 2;
	ok(check_plant(p, -5, 3), "one core, 1 Gbit/s: near what it was");
	p = base;
	p.disk = 100;
	p.wire = 1150;
	ok(check_plant(p, 1, 1), "a slow disk: as it was");
	p = base;
	p.server = 60;
	p.wire = 1150;
	ok(check_plant(p, 1, 1), "a slow server: as it was");
	p = base;
	p.random_data = true;
	ok(check_plant(p, 6, 6), "what does not shrink, over a wire: does no harm");
	p = base;
	p.cores = 64;
	p.workers = 8;
	ok(check_plant(p, 4, 6), "many cores: harder");
}

/* The content changes from what costs much to what costs nothing, every ten seconds. */
static void test_alternating(void)
{
	const struct plant text = {1, 2, 60, 5000, 3000, 0.1, false},
			   random = {1, 2, 60, 5000, 3000, 0.1, true};
	unsigned changes = 0;
	struct run r;

	run_init(&r, CODEC_ZSTD, 0, 6);
	for (unsigned i = 0; i < 60; i++) {
		(void)run_for(&r, i % 2 ? &random : &text, 10);
		changes += r.changes;
	}
	printf("# %u changes\n", changes);
	ok(changes <= 60, "a disk of two kinds: no more than a step for each change");
	level_done(&r.level);
}

static void test_rules(void)
{
	const struct plant slow = {2, 4, 11, 5000, 3000, 0, false},
			   fast = {1, 2, 1e6, 1e5, 1e5, 0, false};
	struct run r;
	json_t *report;

	run_init(&r, CODEC_ZSTD, 3, 6);
	ok(run_for(&r, &slow, 60) == 3 && run_for(&r, &fast, 60) == 3,
	   "one that was ordered stays");
	level_done(&r.level);
	run_init(&r, CODEC_ZSTD, 0, 3);
	ok(run_for(&r, &slow, 60) == 3, "no higher than there is memory for");
	ok(run_for(&r, &fast, 60) == 0, "from there down to stored");
	ok(run_for(&r, &slow, 60) == 3, "and up again");
	level_done(&r.level);
	run_init(&r, CODEC_ZLIB, 0, 6);
	ok(run_for(&r, &fast, 3) == 0, "zlib has nothing between 1 and stored");
	ok(run_for(&r, &slow, 60) == 6, "but the way up");
	level_done(&r.level);
	run_init(&r, CODEC_STORED, 0, 6);
	ok(run_for(&r, &slow, 60) == 0, "a server that takes neither zlib nor zstd");
	level_done(&r.level);
	run_init(&r, CODEC_ZSTD, 0, 6);
	r.now_us += 60000000; /* nothing was done for a minute */
	ok(level_at(&r.level, &r.times, r.now_us) == 1, "where nothing happens nothing is learnt");
	level_count(&r.level, 1, 5);
	level_count(&r.level, -3, 6);
	level_count(&r.level, 1, 7);
	level_count(&r.level, LEVEL_STORED, 8);
	level_count(&r.level, 19, 9);
	report = level_report(&r.level);
	ok(json_object_size(report) == 4 &&
		   json_integer_value(json_object_get(report, "1")) == 12 &&
		   json_integer_value(json_object_get(report, "-3")) == 6 &&
		   json_integer_value(json_object_get(report, "19")) == 9 &&
		   json_integer_value(json_object_get(report, "stored")) == 8,
	   "bytes by level");
	json_decref(report);
	level_done(&r.level);
}

/* Times at the very edge of the rule. */
static int step(int from, uint64_t disk, uint64_t cpu, uint64_t network, uint64_t server)
{
	const struct meter_times none = {{0}}, t = {{0, disk, cpu, network, server}},
				 twice = {{0, 2 * disk, 2 * cpu, 2 * network, 2 * server}};
	struct level l;
	int now;

	level_init(&l, CODEC_ZSTD, 0, 6);
	l.now = from;
	(void)level_at(&l, &none, 1000000);
	ok(level_at(&l, &t, 1000000 + LEVEL_STEP_US - 1) == from, "not before its time");
	now = level_at(&l, &t, 1000000 + LEVEL_STEP_US);
	if (now == from)
		now = level_at(&l, &twice, 1000000 + 2 * LEVEL_STEP_US);
	else
		ok(network < 700000, "down at once");
	level_done(&l);
	return now;
}

static void test_edges(void)
{
	ok(step(1, 100000, 200000, 700000, 0) == 2, "up: seven tenths of it the network");
	ok(step(1, 100000, 200000, 699000, 1000) == 1, "up: not with less");
	ok(step(1, 0, 201000, 799000, 0) == 1, "up: not with more than a fifth computing");
	ok(step(1, 0, 0, 400000, 600000) == 1, "up: not for the server's sake");
	ok(step(3, 250000, 250000, 500000, 0) == 2, "down to 1: a quarter computing");
	ok(step(3, 251000, 249000, 500000, 0) == 3, "down to 1: not with less");
	ok(step(3, 240000, 250000, 510000, 0) == 3, "down to 1: not with more than half network");
	ok(step(2, 0, 250000, 250000, 500000) == 1, "down to 1: the server does not matter");
	ok(step(1, 150000, 600000, 150000, 100000) == -1, "down: three fifths computing");
	ok(step(1, 160000, 599000, 141000, 100000) == 1, "down: not with less");
	ok(step(1, 0, 740000, 160000, 100000) == 1, "down: not with more than a quarter waiting");
	ok(step(1, 0, 0, 400000, 0) == 1, "nor when next to nothing was done");
	ok(step(6, 0, 0, 1000000, 0) == 6, "6 is the most");
	ok(step(-1, 0, 0, 1000000, 0) == 1, "from -1 to 1");
	ok(step(0, 0, 0, 1000000, 0) == -5, "from stored to the fastest");
	ok(step(-5, 0, 1000000, 0, 0) == 0, "and back");
}

/* Ten looks in which the time went into one place; the level after each as a digit. */
static void looks(struct run *r, enum meter_place place, char ret[static 11])
{
	for (unsigned i = 0; i < 10; i++) {
		r->now_us += LEVEL_STEP_US;
		r->times.us[place] += LEVEL_STEP_US;
		ret[i] = (char)('0' + level_at(&r->level, &r->times, r->now_us));
	}
	ret[10] = '\0';
}

/* Up, too far, down: not again for half a minute, then for a minute. */
static void test_ceiling(void)
{
	char up[11], down[11];
	struct run r;

	run_init(&r, CODEC_ZSTD, 0, 6);
	looks(&r, METER_NETWORK, up);
	ok(strcmp(up, "1234566666") == 0, "one step at a time, the first after two looks");
	r.now_us += LEVEL_STEP_US;
	r.times.us[METER_CPU] += LEVEL_STEP_US;
	ok(level_at(&r.level, &r.times, r.now_us) == 5, "6 was too much");
	looks(&r, METER_NETWORK, up);
	looks(&r, METER_NETWORK, down);
	ok(strcmp(up, "5555555555") == 0 && strcmp(down, "5555666666") == 0,
	   "not again for half a minute");
	r.now_us += LEVEL_STEP_US;
	r.times.us[METER_CPU] += LEVEL_STEP_US;
	ok(level_at(&r.level, &r.times, r.now_us) == 5, "too much again");
	looks(&r, METER_NETWORK, up);
	looks(&r, METER_NETWORK, up);
	ok(strcmp(up, "5555555555") == 0, "not again for a minute");
	looks(&r, METER_NETWORK, up);
	ok(strcmp(up, "5555555556") == 0, "no longer than that");
	level_done(&r.level);
}

int main(void)
{
	test_ceiling();
	test_plants();
	test_alternating();
	test_rules();
	test_edges();
	return done();
}
