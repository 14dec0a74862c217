/* The ledger against a plain array: random order, runs of every length, groups taken back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ledger.h"
#include "common/cleanup.h"
#include "common/limits.h"
#include "tests/lib/rig.h"
#include "tests/unit/tap.h"

/* What the ledger should know. */
struct model {
	uint64_t size, windows, left;
	struct id *ids; /* zero: not known */
};

static struct id naive_root(const struct model *m, const struct geometry *g)
{
	static struct root_hash h;

	root_init(&h, g);
	for (uint64_t i = 0; i < m->windows; i++)
		root_add(&h, &m->ids[i]);
	return root_final(&h, NULL, 0);
}

static bool model_is_known(const struct model *m, uint64_t w)
{
	return !id_is_zero(&m->ids[w]);
}

/* The first unknown windows from `from` on, within a group. */
static struct window_range model_unknown(const struct model *m, uint64_t from)
{
	struct window_range w = {from, 0};

	while (w.first < m->windows && model_is_known(m, w.first))
		w.first++;
	while (w.first + w.count < m->windows && !model_is_known(m, w.first + w.count) &&
	       (w.count == 0 || (w.first + w.count) % GROUP_WINDOWS != 0))
		w.count++;
	return w;
}

static bool ids_are_ledgers(const struct model *m, uint64_t g, const struct id *ids)
{
	return memcmp(ids, &m->ids[g * GROUP_WINDOWS], group_length(m->size, g) * sizeof(*ids)) ==
	       0;
}

static bool group_is_known(const struct model *m, uint64_t g)
{
	for (uint64_t i = 0; i < group_length(m->size, g); i++) {
		if (!model_is_known(m, g * GROUP_WINDOWS + i))
			return false;
	}
	return true;
}

/* One step: begin and set a run somewhere. */
static bool step(struct ledger *l, struct model *m, uint64_t *x)
{
	uint64_t from = rig_random(x) % m->windows, n = rig_random(x);
	struct window_range w = ledger_unknown(l, from), want = model_unknown(m, from);
	struct id id = id_of(&n, sizeof(n)), ids[GROUP_WINDOWS];
	uint64_t skip;
	bool complete;

	if (w.count != want.count || (w.count > 0 && w.first != want.first))
		return false;
	if (w.count == 0)
		return true;
	if (n % 3 > 0) { /* else all of it */
		skip = rig_random(x) % w.count;
		w.first += skip;
		w.count = n % 3 == 1 ? 1 : 1 + rig_random(x) % (w.count - skip);
	}
	if (ledger_begin(l, &w) < 0)
		return false;
	complete = ledger_set(l, &w, &id, ids);
	for (uint64_t i = 0; i < w.count; i++)
		m->ids[w.first + i] = id;
	m->left -= w.count;
	return complete == group_is_known(m, w.first / GROUP_WINDOWS) &&
	       (!complete || ids_are_ledgers(m, w.first / GROUP_WINDOWS, ids)) &&
	       ledger_left(l) == m->left;
}

static bool reopen(struct ledger *l, struct model *m, uint64_t *x)
{
	uint64_t g = rig_random(x) % group_count(m->size);
	bool was = group_is_known(m, g);

	if (ledger_reopen(l, g) != was)
		return false;
	for (uint64_t i = 0; was && i < group_length(m->size, g); i++)
		memset(&m->ids[g * GROUP_WINDOWS + i], 0, sizeof(struct id));
	m->left += was ? group_length(m->size, g) : 0;
	return ledger_left(l) == m->left;
}

static void test_random(uint64_t size, uint64_t seed)
{
	struct geometry g = {size, 512, 512};
	struct model m = {size, window_count(size), window_count(size), NULL};
	struct ledger *l = ledger_new(size);
	uint64_t x = seed * 2 + 1, reopened = 0;
	struct id got = {{0}}, want;
	bool good = true;

	m.ids = calloc(m.windows, sizeof(*m.ids));
	while (good && m.left > 0) {
		good = step(l, &m, &x);
		if (good && reopened < 2 * group_count(size) && rig_random(&x) % 16 == 0) {
			good = reopen(l, &m, &x);
			reopened++;
		}
	}
	if (good)
		got = ledger_root(l, &g, NULL, 0);
	want = naive_root(&m, &g);
	printf("# %llu windows, seed %llu\n", (unsigned long long)m.windows,
	       (unsigned long long)seed);
	ok(good, "it knows what it was told");
	ok(id_equal(&got, &want), "and comes to the root");
	ledger_free(l);
	free(m.ids);
}

/* Only so many groups are open; those that are go on, and whole ones always go. */
static void test_room(void)
{
	const uint64_t groups = LEDGER_OPEN_MAX + 10;
	const uint64_t size = groups * GROUP_WINDOWS * WINDOW_SIZE;
	struct ledger *l = ledger_new(size);
	struct window_range w;
	struct id id = {{7}};
	bool begun = true, refused = true, went_on = true;

	for (uint64_t g = 0; g < LEDGER_OPEN_MAX; g++) {
		w = (struct window_range){g * GROUP_WINDOWS + 3, 1};
		begun = begun && ledger_begin(l, &w) == 0;
	}
	ok(begun, "so many groups may be open");
	w = (struct window_range){LEDGER_OPEN_MAX * GROUP_WINDOWS, 1};
	refused = ledger_begin(l, &w) == -EAGAIN;
	ok(refused, "and not one more");
	w.count = GROUP_WINDOWS;
	ok(ledger_begin(l, &w) == 0 && ledger_set(l, &w, &id, NULL), "but a whole one at once");
	w = (struct window_range){(LEDGER_OPEN_MAX + 2) * GROUP_WINDOWS, 1};
	refused = ledger_begin(l, &w) == -EAGAIN;
	ledger_widen(l);
	ok(refused && ledger_begin(l, &w) == 0, "and one more, when it was widened by that");
	w = (struct window_range){5 * GROUP_WINDOWS + 9, 2};
	ok(ledger_begin(l, &w) == 0 && !ledger_set(l, &w, &id, NULL), "and what is open already");
	w = (struct window_range){3, 1};
	went_on = !ledger_set(l, &w, &id, NULL);
	for (w = ledger_unknown(l, 0); w.first < GROUP_WINDOWS; w = ledger_unknown(l, 0)) {
		went_on = went_on && ledger_begin(l, &w) == 0;
		(void)ledger_set(l, &w, &id, NULL);
	}
	w = (struct window_range){(LEDGER_OPEN_MAX + 1) * GROUP_WINDOWS, 1};
	ok(went_on && ledger_begin(l, &w) == 0, "one that is complete makes room");
	ledger_free(l);
}

static void test_memory(void)
{
	ok(ledger_memory(16ull << 40) < 3ull << 20, "less than 3 MiB for 16 TiB");
	ok(ledger_memory(DISK_SIZE_MAX) < 6ull << 20, "less than 6 MiB for 64 TiB");
	ok(ledger_memory(8ull << 30) < 1u << 17, "and next to nothing for a small disk");
}

static void test_put_group(void)
{
	struct geometry g = {(GROUP_WINDOWS + 2) * WINDOW_SIZE, 512, 512};
	CLEANUP(ledger_freep) struct ledger *l = ledger_new(g.size);
	struct window_range w = {0, GROUP_WINDOWS}, rest = {GROUP_WINDOWS, 2};
	struct id wrong = id_of("wrong", 5), right = id_of("right", 5), nodes[GROUP_WINDOWS], root;
	struct root_hash h;

	root_init(&h, &g);
	for (uint32_t i = 0; i < GROUP_WINDOWS + 2; i++) {
		nodes[i % GROUP_WINDOWS] = right;
		root_add(&h, &right);
	}
	root = root_final(&h, NULL, 0);
	ok(ledger_begin(l, &w) == 0 && ledger_begin(l, &rest) == 0 &&
		   ledger_set(l, &w, &wrong, NULL) && ledger_set(l, &rest, &right, NULL),
	   "two groups");
	wrong = ledger_root(l, &g, NULL, 0);
	ok(!id_equal(&wrong, &root), "one of them with other nodes");
	ledger_put_group(l, 0, nodes);
	wrong = ledger_root(l, &g, NULL, 0);
	ok(id_equal(&wrong, &root), "which are put right");
}

int main(void)
{
	test_random(512, 1);
	test_random(WINDOW_SIZE, 2);
	test_random(256ull * WINDOW_SIZE, 3);
	test_random(257ull * WINDOW_SIZE, 4);
	for (uint64_t seed = 5; seed < 25; seed++)
		test_random(seed * 97 * WINDOW_SIZE + seed * 512, seed);
	test_room();
	test_memory();
	test_put_group();
	return done();
}
