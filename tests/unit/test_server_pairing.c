/* The server's table of pairings: each way that one ends, each bound and one more, under a clock of our own. */
#include "server/fleet/pairing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/id.h"
#include "common/json.h"
#include "common/log.h"
#include "server/config.h"
#include "tests/unit/tap.h"

#define LIFE_S 600u
#define MAX    8u
#define PEER   4u

static _Atomic uint64_t clock_at;
static char events[4096];
static struct pairings *table;
static struct err err;

static uint64_t fake_ms(void)
{
	return atomic_load(&clock_at);
}

static void on_event(void *ctx, const char *event, const char *machine, const char *text)
{
	size_t n = strlen(events);

	(void)ctx, (void)machine, (void)text;
	(void)snprintf(events + n, sizeof(events) - n, "%s ", event);
}

static void restart_with(bool enabled, unsigned life_s, unsigned max, unsigned per_peer_max)
{
	struct pairings_config c = {.enabled = enabled,
				    .life_s = life_s,
				    .max = max,
				    .per_peer_max = per_peer_max,
				    .poll_s = 0,
				    .now_ms = fake_ms,
				    .event = on_event};

	memset(c.key, 7, sizeof(c.key));
	pairings_stop(table);
	pairings_free(table);
	atomic_store(&clock_at, 1000000);
	events[0] = '\0';
	table = pairings_new(&c);
	if (!table)
		abort();
}

static void restart(bool enabled)
{
	restart_with(enabled, LIFE_S, MAX, PEER);
}

static void pass_ms(uint64_t ms)
{
	atomic_fetch_add(&clock_at, ms);
	pairings_tick(table);
}

static void pass(unsigned s)
{
	pass_ms(s * 1000ull);
}

struct agent {
	const char *address;
	struct pairing_status status;
	unsigned retry_s;
	struct pairing_begun begun;
	uint8_t random[32];
	char machine[33];
};

static struct agent agent(unsigned number, const char *address)
{
	struct agent a = {.address = address};

	(void)snprintf(a.machine, sizeof(a.machine), "%08x%024x", number, number);
	memset(a.random, (int)number + 1, sizeof(a.random));
	return a;
}

static int begin(struct agent *a)
{
	char name[16];
	struct pairing_begin b = {
		.machine = a->machine, .name = name, .agent_version = "1", .address = a->address};
	uint8_t machine[16];

	(void)snprintf(name, sizeof(name), "m%.8s", a->machine);
	if (!hex_decode(a->machine, machine, sizeof(machine)))
		abort();
	pairing_commit(machine, a->random, b.commitment);
	return pairing_begin(table, &b, &a->begun, &a->retry_s, &err);
}

static int reveal(struct agent *a)
{
	return pairing_reveal(table, a->begun.ticket, a->random, &a->status, &err);
}

static const char *state(struct agent *a)
{
	return pairing_wait(table, a->begun.ticket, &a->status, &err) < 0 ? "unknown"
									  : a->status.state;
}

static uint32_t code(const struct agent *a)
{
	struct pairing_facts f;
	char name[16];

	(void)snprintf(name, sizeof(name), "m%.8s", a->machine);
	f.name = name;
	if (!hex_decode(a->machine, f.machine, sizeof(f.machine)))
		abort();
	memset(f.key, 7, sizeof(f.key));
	memcpy(f.agent_random, a->random, 32);
	memcpy(f.server_random, a->begun.random, 32);
	return pairing_code(&f);
}

static struct agent waiting(unsigned number, const char *address)
{
	struct agent a = agent(number, address);

	if (begin(&a) < 0 || reveal(&a) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	return a;
}

static int confirm(const char *machine, uint32_t code_typed)
{
	const struct pairing_typed typed = {code_typed, 207551};
	CLEANUP_JSON json_t *answer = NULL;

	return pairing_confirm(table, machine, &typed, &answer, &err);
}

static bool is_known(void *ctx, const char *machine)
{
	(void)ctx, (void)machine;
	return false;
}

static size_t shown(void)
{
	CLEANUP_JSON json_t *list = NULL;

	if (pairings_list(table, is_known, NULL, &list, &err) < 0)
		abort();
	return json_array_size(json_object_get(list, "pairings"));
}

static void a_pairing(void)
{
	struct agent a;

	restart(true);
	a = agent(1, "x");
	ok(begin(&a) == 0 && a.begun.life_s == LIFE_S, "begun");
	ok(shown() == 1 && confirm(a.machine, 0) == API_NOT_FOUND,
	   "shown before there is a code, and not to be confirmed");
	ok(confirm(a.machine, 0) == API_NOT_FOUND, "and not to be confirmed");
	ok(reveal(&a) == 0 && strcmp(a.status.state, "waiting") == 0, "revealed: it waits");
	ok(reveal(&a) == 0 && strcmp(a.status.state, "waiting") == 0, "once more: the same");
	ok(shown() == 1, "shown");
	ok(!pairing_admits(table, a.begun.ticket, a.machine), "its ticket is not good yet");
	ok(confirm(a.machine, code(&a)) == 0, "confirmed by the code that the agent computes");
	ok(strcmp(state(&a), "confirmed") == 0 && a.status.has_proof && a.status.proof == 207551,
	   "the agent is told, and what else was typed");
	ok(pairing_admits(table, a.begun.ticket, a.machine), "its ticket is good");
	ok(!pairing_admits(table, a.begun.ticket, "00000000000000000000000000000009"),
	   "for this machine alone");
	a.begun.ticket[5] ^= 1;
	ok(!pairing_admits(table, a.begun.ticket, a.machine), "and no other ticket");
	a.begun.ticket[5] ^= 1;
	pairing_registered(table, a.begun.ticket);
	ok(pairing_admits(table, a.begun.ticket, a.machine), "also when it registers again");
	pass(LIFE_S);
	ok(!pairing_admits(table, a.begun.ticket, a.machine), "but not for ever");
	ok(strcmp(events, "pairing_begun pairing_confirmed ") == 0, "what happened was told");
}

static void ends(void)
{
	CLEANUP_JSON json_t *answer = NULL;
	struct agent a, b;

	restart(true);
	a = waiting(1, "x");
	ok(confirm(a.machine, (code(&a) + 1) % PAIRING_CODES) == API_WRONG_CODE, "a wrong code");
	ok(strcmp(state(&a), "wrong_code") == 0 && !a.status.has_proof,
	   "the agent is told, and nothing of what else was typed");
	ok(confirm(a.machine, code(&a)) == API_NOT_FOUND, "the right one comes too late");
	ok(!pairing_admits(table, a.begun.ticket, a.machine), "it is not let in");
	a = waiting(2, "x");
	ok(pairing_reject(table, a.machine, &answer, &err) == 0 &&
		   strcmp(state(&a), "rejected") == 0,
	   "rejected");
	ok(confirm(a.machine, code(&a)) == API_NOT_FOUND, "and not to be confirmed after that");
	a = agent(3, "x");
	ok(begin(&a) == 0, "another one begins");
	a.random[31] ^= 1;
	ok(reveal(&a) == API_BAD_REQUEST, "it reveals what it did not commit to");
	a.random[31] ^= 1;
	ok(reveal(&a) == 0 && strcmp(a.status.state, "ended") == 0, "and the right thing too late");
	ok(confirm(a.machine, code(&a)) == API_NOT_FOUND, "there is nothing to confirm");
	ok(strcmp(events, "pairing_begun pairing_wrong_code pairing_begun pairing_rejected "
			  "pairing_begun pairing_forged ") == 0,
	   "all told");

	restart(true);
	a = waiting(1, "x");
	b = waiting(1, "x");
	ok(strcmp(state(&a), "ended") == 0 && strcmp(state(&b), "waiting") == 0,
	   "an agent that was restarted has one pairing, the new one");
	ok(confirm(b.machine, code(&a)) == API_WRONG_CODE, "by its own code only");

	restart(true);
	a = waiting(1, "x");
	ok(confirm(a.machine, code(&a)) == 0, "confirmed");
	pairing_forget(table, a.machine);
	ok(!pairing_admits(table, a.begun.ticket, a.machine),
	   "a machine that is forgotten does not come back by its ticket");
}

static void times(void)
{
	struct agent a;

	restart(true);
	a = waiting(1, "x");
	pass_ms(59999);
	ok(strcmp(state(&a), "waiting") == 0, "not quite 60 s of silence");
	pass(60);
	ok(strcmp(state(&a), "ended") == 0 && strstr(events, "pairing_ended"), "60 s are too many");
	restart(true);
	a = waiting(1, "x");
	for (unsigned s = 0; s < LIFE_S - 1; s += 30) {
		pass(s + 30 < LIFE_S ? 30 : LIFE_S - 1 - s);
		if (strcmp(state(&a), "waiting") != 0)
			break;
	}
	ok(strcmp(state(&a), "waiting") == 0 && a.status.left_s == 1, "one second before its end");
	pass(1);
	ok(strcmp(state(&a), "unknown") == 0 && strstr(events, "pairing_expired"), "its end");
	ok(confirm(a.machine, code(&a)) == API_NOT_FOUND, "nothing to confirm");
	a = waiting(1, "x");
	for (unsigned s = 0; s < LIFE_S - 10; s += 10) {
		pass(10);
		(void)state(&a);
	}
	ok(confirm(a.machine, code(&a)) == 0, "confirmed at the last moment");
	pass(LIFE_S - 1);
	ok(pairing_admits(table, a.begun.ticket, a.machine), "it has as long again to register");
	pass(1);
	ok(!pairing_admits(table, a.begun.ticket, a.machine), "and no longer");
}

static void bounds(void)
{
	struct agent a;
	unsigned n;

	restart(true);
	for (n = 0; n < 3; n++)
		(void)waiting(1, "x");
	a = agent(1, "x");
	ok(begin(&a) == API_RATE_LIMITED && a.retry_s == LIFE_S + 1, "a machine may begin 3 times");
	ok(strstr(err.msg, "This machine"), "and is told why not more often");
	a = agent(2, "x");
	ok(begin(&a) == 0, "another one at that address may");
	a = agent(3, "x");
	ok(begin(&a) == API_RATE_LIMITED && strstr(err.msg, "this address"),
	   "but not more than 4 of one address");
	pass(LIFE_S / 2);
	ok(begin(&a) == API_RATE_LIMITED && a.retry_s == LIFE_S / 2 + 1,
	   "also when they have ended: the places are the rate");
	pass(LIFE_S / 2);
	ok(begin(&a) == 0, "until their life is over");

	restart(true);
	for (n = 0; n < MAX; n++)
		(void)waiting(10 + n, n < 4 ? "a" : "b");
	a = agent(99, "c");
	ok(begin(&a) == API_RATE_LIMITED && strstr(err.msg, "many machines"), "the table is full");
	a = agent(10, "a");
	ok(begin(&a) == API_RATE_LIMITED, "for everybody");
	pass(LIFE_S);
	a = agent(99, "c");
	ok(begin(&a) == 0, "and empty again");

	restart(true);
	for (n = 0; n < MAX; n++) {
		a = waiting(10 + n, n < 4 ? "a" : "b");
		if (confirm(a.machine, code(&a)) < 0)
			abort();
	}
	a = agent(99, "c");
	ok(begin(&a) == API_RATE_LIMITED, "those that were confirmed keep their places");
	pairing_registered(table, agent(10, "a").begun.ticket); /* no such ticket */
	ok(begin(&a) == API_RATE_LIMITED, "till they have registered");
}

/* What a server that is told nothing else goes by. */
static void documented(void)
{
	struct config config = {0};
	struct agent a;
	char address[8];
	unsigned n;

	if (settings_init(&config_table, &config, &err) < 0)
		abort();
	ok(strcmp(config.pairing, "yes") == 0, "a server pairs");
	restart_with(true, (unsigned)config.pairing_expiry_s, (unsigned)config.pairings,
		     (unsigned)config.pairings_per_peer);
	settings_done(&config_table, &config);
	for (n = 0; n < 16; n++)
		(void)waiting(10 + n, "a0");
	a = agent(99, "a0");
	ok(begin(&a) == API_RATE_LIMITED && strstr(err.msg, "this address") && a.retry_s == 601,
	   "with 16 of one address");
	for (; n < 256; n++) {
		(void)snprintf(address, sizeof(address), "a%u", n / 16);
		(void)waiting(1000 + n, address);
	}
	a = agent(99, "b");
	ok(begin(&a) == API_RATE_LIMITED && strstr(err.msg, "many machines") && a.retry_s == 601,
	   "256 in all");
	pass_ms(599999);
	ok(begin(&a) == API_RATE_LIMITED && a.retry_s == 1, "for ten minutes");
	pass_ms(1);
	ok(begin(&a) == 0 && a.begun.life_s == 600, "and no longer");
}

static void registered_gives_room(void)
{
	struct agent all[MAX], a;

	restart(true);
	for (unsigned n = 0; n < MAX; n++) {
		all[n] = waiting(10 + n, n < 4 ? "a" : "b");
		if (confirm(all[n].machine, code(&all[n])) < 0)
			abort();
		pairing_registered(table, all[n].begun.ticket);
	}
	for (unsigned n = 0; n < 4; n++)
		(void)waiting(50 + n, "a");
	a = agent(99, "b");
	ok(begin(&a) == 0, "machines that have registered count for nothing");
}

static void others_id(void)
{
	struct agent a, b;

	restart(true);
	a = waiting(1, "x");
	b = agent(1, "y");
	ok(begin(&b) == API_CONFLICT, "the same id from another address is refused");
	ok(strcmp(state(&a), "waiting") == 0, "and does not disturb the first");
	pass_ms(59999);
	ok(begin(&b) == API_CONFLICT, "as long as that one may be there");
	pass_ms(1);
	ok(begin(&b) == 0, "until that one is silent: its address has changed");

	restart(true);
	a = waiting(0xabcd1111, "x");
	b = waiting(0xabcd2222, "y");
	ok(confirm("abcd", code(&a)) == API_CONFLICT, "a beginning that two have names none");
	ok(strcmp(state(&a), "waiting") == 0 && strcmp(state(&b), "waiting") == 0,
	   "and costs none its guess");
	ok(confirm("abc", code(&a)) == API_NOT_FOUND, "three digits are too few");
	ok(confirm("abcd2", code(&a)) == API_WRONG_CODE, "the one's code is not the other's");
	ok(confirm("mabcd1111", code(&a)) == 0, "a name will do");
}

static void off(void)
{
	struct agent a = agent(1, "x");

	restart(false);
	ok(begin(&a) == API_FORBIDDEN, "a server that does not pair says so");
}

/* ---- waiting */

static void *wait_for_it(void *arg)
{
	struct agent *a = arg;

	return (void *)state(a);
}

static void wakes(void)
{
	struct pairings_config c = {.enabled = true,
				    .life_s = LIFE_S,
				    .max = MAX,
				    .per_peer_max = PEER,
				    .poll_s = 30,
				    .now_ms = fake_ms};
	struct pairings *old = table;
	struct agent a, again;
	pthread_t first, second;
	void *answer = NULL;

	memset(c.key, 7, sizeof(c.key));
	table = pairings_new(&c);
	if (!table)
		abort();
	a = waiting(1, "x");
	again = a;
	if (pthread_create(&first, NULL, wait_for_it, &a) != 0)
		abort();
	if (confirm(a.machine, code(&a)) < 0)
		abort();
	(void)pthread_join(first, &answer);
	ok(answer && strcmp(answer, "confirmed") == 0, "whoever waits is woken");
	a = waiting(2, "x");
	again = a;
	if (pthread_create(&first, NULL, wait_for_it, &a) != 0 ||
	    pthread_create(&second, NULL, wait_for_it, &again) != 0)
		abort();
	pairings_stop(table); /* one of them may have been ended by the other: both come back */
	(void)pthread_join(first, &answer);
	(void)pthread_join(second, &answer);
	ok(true, "and everybody when the server stops");
	pairings_free(table);
	table = old;
}

/* Whoever is in between begins pairings whose ids or names look like the machine's, and shows their codes only when one fits. */
static void likenesses(void)
{
	struct agent a, b, c;
	char machine[MACHINE_ID_SIZE], digits[9];
	CLEANUP_JSON json_t *answer = NULL;

	restart(true);
	a = waiting(1, "x");
	(void)snprintf(digits, sizeof(digits), "%.8s", a.machine);
	b = agent(1, "y");
	b.machine[31] = 'f';
	ok(begin(&b) == 0, "an id that begins alike, not revealed");
	ok(confirm(digits, code(&a)) == API_CONFLICT, "eight digits do not tell them apart");
	ok(pairing_find(table, digits, machine, &err) == API_CONFLICT &&
		   pairing_find(table, a.machine, machine, &err) == 0 &&
		   strcmp(machine, a.machine) == 0,
	   "the whole id does");
	ok(confirm(a.machine, code(&a)) == 0, "and is confirmed");
	c = waiting(2, "z");
	pass(61);
	ok(confirm(digits, 0) == API_CONFLICT, "one that has ended still counts");
	ok(pairing_reject(table, a.machine, &answer, &err) == 0 &&
		   strcmp(state(&a), "rejected") == 0 &&
		   !pairing_admits(table, a.begun.ticket, a.machine),
	   "a confirmation can be taken back");
	ok(pairing_find(table, c.machine, machine, &err) == 0, "others are not disturbed");
}

int main(void)
{
	log_set_level(LOG_ERROR);
	a_pairing();
	ends();
	times();
	bounds();
	documented();
	registered_gives_room();
	others_id();
	likenesses();
	off();
	wakes();
	pairings_stop(table);
	pairings_free(table);
	return done();
}
