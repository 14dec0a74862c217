/* Who is let in again and again: a reclaim whose answer is lost, those whom nobody's registrations keep out, inventories at their bound; and that the
 * ticker says it lives between two writes, since nobody is silent for a server that is busy writing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/fleet/private.h"
#include "tests/lib/store_fixture.h"
#include "tests/unit/tap.h"

#define MACHINE	  "0000000000000000000000000000000a"
#define UNKNOWN	  "0000000000000000000000000000000b"
#define TOKEN	  "a token"
#define HERE	  "here"
#define ELSEWHERE "elsewhere"

static struct state *state;
static struct store *store;
static struct fleet *fleet;
static struct err err;

static void open_all(void)
{
	struct fleet_config config = {
		.poll_s = 1,
		.stall_s = 1,
		.pairing = {.enabled = true, .life_s = 600, .max = 4, .per_peer_max = 4}};
	struct token_row t = {.uses = 100, .uses_left = 100, .id = "t"};
	struct id hash = id_of(TOKEN, strlen(TOKEN));
	char path[128];
	bool is_new;

	fixture_begin();
	(void)snprintf(path, sizeof(path), "%s/state.db", fixture_dir);
	store = fixture_open(false);
	if (state_open(path, &state, &is_new, &err) < 0)
		abort();
	config.state = state;
	config.store = store;
	if (fleet_open(&config, &fleet, &err) < 0 || state_add_token(state, &t, &hash, &err) < 0)
		abort();
}

static void close_all(void)
{
	fleet_stop(fleet);
	fleet_close(fleet);
	store_close(store);
	state_close(state);
	fixture_end();
}

/* With a disk, and so much more that it has `size` bytes as JSON; 0: no more. */
static json_t *make_inventory(size_t size)
{
	json_t *inventory = json_pack(
		"{s:s, s:[{s:s, s:I, s:i, s:b, s:b, s:s}]}", "x", "", "disks", "id", "file:a",
		"size", (json_int_t)1048576, "sector_size", 512, "read_only", 0, "empty", 1,
		"fingerprint", "0000000000000000000000000000000000000000000000000000000000000000");
	CLEANUP_FREE char *text = json_dumps(inventory, JSON_COMPACT), *more = NULL;
	size_t len = text ? strlen(text) : 0;

	if (len == 0 || (size > 0 && size < len))
		abort();
	if (size > 0) {
		more = calloc(1, size - len + 1);
		if (!more)
			abort();
		memset(more, 'x', size - len);
		(void)json_object_set_new(inventory, "x", json_string(more));
	}
	return inventory;
}

static int come(const struct registration *how, char ret_secret[static SECRET_TEXT_SIZE])
{
	CLEANUP_JSON json_t *inventory = make_inventory(0);
	struct registration reg = *how;
	unsigned retry_s = 0;
	int r;

	reg.machine = reg.machine ? reg.machine : MACHINE;
	reg.name = "m";
	reg.agent_version = "1";
	reg.address = reg.address ? reg.address : HERE;
	reg.inventory = reg.inventory ? reg.inventory : inventory;
	r = fleet_register(fleet, &reg, ret_secret, &retry_s, &err);
	if (r == API_RATE_LIMITED && retry_s == 0)
		abort();
	return r;
}

/* By nothing but a secret. */
static int come_with(const char *secret, char ret_secret[static SECRET_TEXT_SIZE])
{
	const struct registration reg = {.secret = secret};

	return come(&reg, ret_secret);
}

static int come_by_token(const char *address, char ret_secret[static SECRET_TEXT_SIZE])
{
	const struct registration reg = {.token = TOKEN, .address = address};

	return come(&reg, ret_secret);
}

static int work(const char *secret)
{
	struct session_proof ignored;

	return fleet_authorize(fleet, secret, HERE, &ignored, &err);
}

static void order(void)
{
	CLEANUP_JSON json_t *body =
		json_pack("{s:s, s:s, s:s}", "kind", "capture", "machine", MACHINE, "image", "i");
	CLEANUP_JSON json_t *job = NULL;

	if (fleet_create_job(fleet, body, &job, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
}

/* As after a long time without a word. */
static void be_silent(void)
{
	LOCK_FLEET(fleet);
	struct machine *m = machine_find(fleet, MACHINE);

	fleet->config.away_s = 0;
	fleet->config.poll_s = 0; /* 5 s are left, and a machine has been up for these */
	fleet->hears_ms = 0;
	m->spoke_ms = m->registered_ms = 0;
}

/* ---- a place that is taken back */

static void test_reclaim(void)
{
	char mine[SECRET_TEXT_SIZE], theirs[SECRET_TEXT_SIZE], first[SECRET_TEXT_SIZE],
		second[SECRET_TEXT_SIZE], third[SECRET_TEXT_SIZE];

	if (come_by_token(HERE, mine) < 0 || work(mine) < 0)
		abort();
	order();
	ok(come_by_token(ELSEWHERE, theirs) == API_CONFLICT,
	   "a machine that speaks keeps its place");
	be_silent();
	ok(come_by_token(ELSEWHERE, theirs) == 0 && work(theirs) == 0 &&
		   work(mine) == API_UNAUTHORIZED,
	   "one that is silent loses it to who has the token");
	ok(come_with(mine, first) == 0,
	   "and has it back by the secret that its job was ordered for");
	ok(work(theirs) == API_UNAUTHORIZED, "the other one is out");
	ok(come_with(mine, second) == 0 && strcmp(first, second) != 0,
	   "once more, since the answer was lost: there is another one");
	ok(work(first) == API_UNAUTHORIZED && work(second) == 0, "which is the one that counts");
	ok(come_with(first, third) == API_FORBIDDEN, "the lost one is worth nothing");
	ok(come_with(mine, third) == API_FORBIDDEN,
	   "nor is the former one, when the one that came after it was used");
	ok(come_with(second, third) == 0 && work(third) == 0, "the present one is good");
}

static int come_by_ticket(const char *ticket, char ret_secret[static SECRET_TEXT_SIZE])
{
	const struct registration reg = {.pairing = ticket};

	return come(&reg, ret_secret);
}

static void pair(char ret_ticket[static PAIRING_TICKET_SIZE])
{
	struct pairing_begin b = {
		.machine = MACHINE, .name = "m", .agent_version = "1", .address = HERE};
	const uint8_t random[PAIRING_RANDOM_SIZE] = {7};
	struct pairings *p = fleet_pairings(fleet);
	CLEANUP_JSON json_t *list = NULL, *answer = NULL;
	struct pairing_typed typed = {0, 0};
	struct pairing_status status;
	struct pairing_begun begun;
	uint8_t machine[16];
	unsigned retry_s;
	const char *code = "";

	if (!hex_decode(MACHINE, machine, sizeof(machine)))
		abort();
	pairing_commit(machine, random, b.commitment);
	if (pairing_begin(p, &b, &begun, &retry_s, &err) < 0 ||
	    pairing_reveal(p, begun.ticket, random, &status, &err) < 0 ||
	    fleet_list_pairings(fleet, &list, &err) < 0 ||
	    json_unpack(list, "{s:[{s:s}]}", "pairings", "code", &code) < 0 ||
	    !pairing_code_from_text(code, &typed.code) ||
	    fleet_confirm_pairing(fleet, MACHINE, &typed, true, &answer, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	memcpy(ret_ticket, begun.ticket, sizeof(begun.ticket));
}

/* Whoever has the place registers as often as he can. */
static void test_spared(void)
{
	char mine[SECRET_TEXT_SIZE], theirs[SECRET_TEXT_SIZE], next[SECRET_TEXT_SIZE];
	char ticket[PAIRING_TICKET_SIZE];
	unsigned n = 0;
	int r = 0;

	if (come_by_token(HERE, mine) < 0 || work(mine) < 0)
		abort();
	be_silent();
	if (come_by_token(ELSEWHERE, theirs) < 0)
		abort();
	while (n < 100 && (r = come_with(theirs, next)) == 0) {
		memcpy(theirs, next, sizeof(theirs));
		n++;
	}
	ok(r == API_RATE_LIMITED, "who has a machine's place uses up its registrations");
	printf("# after %u\n", n);
	pair(ticket);
	ok(come_by_ticket(ticket, next) == 0, "which keeps out nobody whom the operator lets in");
	for (n = 1; n < 100 && (r = come_by_ticket(ticket, next)) == 0; n++)
		;
	ok(r == API_FORBIDDEN && n == PAIRING_REGISTRATIONS_MAX && work(next) == 0,
	   "nor without end by the one ticket");
	pair(ticket);
	ok(come_by_ticket(ticket, next) == 0, "but when the operator lets it in once more");
}

static void test_spared_reclaim(void)
{
	char mine[SECRET_TEXT_SIZE], theirs[SECRET_TEXT_SIZE], next[SECRET_TEXT_SIZE];
	int r = 0;

	if (come_by_token(HERE, mine) < 0 || work(mine) < 0)
		abort();
	order();
	be_silent();
	if (come_by_token(ELSEWHERE, theirs) < 0)
		abort();
	for (unsigned n = 0; n < 100 && r == 0; n++) {
		r = come_with(theirs, next);
		if (r == 0)
			memcpy(theirs, next, sizeof(theirs));
	}
	ok(r == API_RATE_LIMITED, "registrations are used up");
	ok(come_with(mine, next) == 0, "but not for the session that the job was ordered for");
}

/* ---- from where it speaks */

static int count_moves(void *arg, const struct event_row *e)
{
	*(unsigned *)arg += strcmp(e->event, "machine_moved") == 0;
	return 0;
}

/* Events of a machine that moved, after the session has spoken from there; `long_ago`: the last one is. */
static unsigned moves(const char *secret, const char *from, bool long_ago)
{
	struct session_proof ignored;
	struct machine *m = machine_find(fleet, MACHINE);
	unsigned n = 0;

	if (long_ago)
		m->moved_ms -= 61000;
	if (fleet_authorize(fleet, secret, from, &ignored, &err) < 0 ||
	    state_each_event(state, 0, 10000, count_moves, &n, &err) < 0)
		abort();
	return n;
}

/* A machine at work asks for no orders: whatever it asks for counts, and so does what somebody with a copy of its secret asks for. */
static void test_moves(void)
{
	char secret[SECRET_TEXT_SIZE];

	if (come_by_token(HERE, secret) < 0)
		abort();
	ok(moves(secret, HERE, false) == 0 && moves(secret, ELSEWHERE, false) == 1,
	   "a session that speaks from another address is told of, whatever it asks for");
	ok(strcmp(machine_find(fleet, MACHINE)->row.address, ELSEWHERE) == 0,
	   "and is there from then on");
	ok(moves(secret, HERE, true) == 1 && moves(secret, ELSEWHERE, true) == 1,
	   "one that is at two addresses in turn is not told of each time");
	ok(moves(secret, "192.0.2.77", true) == 2, "a third address is told of");
}

/* ---- renewing */

static void test_renewals(void)
{
	char secret[SECRET_TEXT_SIZE], next[SECRET_TEXT_SIZE];
	struct session_proof proof;
	unsigned n = 0;

	if (come_by_token(HERE, secret) < 0)
		abort();
	while (n < 100 && fleet_authorize(fleet, secret, HERE, &proof, &err) == 0 &&
	       fleet_renew(fleet, &proof, next, &err) == 0) {
		memcpy(secret, next, sizeof(secret));
		n++;
	}
	ok(n >= RENEWALS && n < RENEWALS + 20 && err.code == API_RATE_LIMITED,
	   "a secret is renewed so often at once, and then slowly");
	printf("# after %u\n", n);
	ok(work(secret) == 0, "the present one is good all the same");
	ok(come_with(secret, next) == 0, "for registering, too");
}

/* ---- refusals in the log */

/* How many lines it has when strangers knock `times` times. */
static unsigned log_refusals(unsigned times)
{
	const struct registration reg = {.token = "no token"};
	char line[400], ignored[SECRET_TEXT_SIZE];
	FILE *f = tmpfile();
	int before = dup(STDERR_FILENO);
	unsigned n = 0;

	if (!f || before < 0 || dup2(fileno(f), STDERR_FILENO) < 0)
		abort();
	log_set_level(LOG_WARN);
	while (times-- > 0) {
		if (come(&reg, ignored) != API_FORBIDDEN)
			abort();
	}
	log_set_level(LOG_ERROR);
	(void)dup2(before, STDERR_FILENO);
	(void)close(before);
	rewind(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "register_refused") != NULL;
	(void)fclose(f);
	return n;
}

static void test_refusals(void)
{
	unsigned n;

	ok(log_refusals(3) == 3, "who is refused stands in the log");
	n = log_refusals(1000);
	ok(n >= REFUSALS - 3 && n < REFUSALS + 20, "but he does not fill it");
	printf("# %u lines\n", n);
}

/* ---- inventories */

static int bring(const char *machine, size_t size)
{
	CLEANUP_JSON json_t *inventory = make_inventory(size);
	char ignored[SECRET_TEXT_SIZE];
	const struct registration reg = {
		.token = TOKEN, .machine = machine, .address = machine, .inventory = inventory};

	(void)pthread_mutex_lock(&fleet->lock);
	for (struct machine *m = fleet->machines; m; m = m->next)
		m->registrations = (struct bucket){0};
	(void)pthread_mutex_unlock(&fleet->lock);
	be_silent();
	return come(&reg, ignored);
}

static void set_others(size_t size)
{
	LOCK_FLEET(fleet);

	fleet->machines->inventory_size = size;
}

static void test_inventories(void)
{
	const char *known = "0000000000000000000000000000000c";

	if (bring(known, 0) < 0)
		abort();
	set_others(INVENTORIES_MAX - 1000);
	ok(bring(known, 1000) == 0, "inventories of 256 MiB together");
	ok(bring(UNKNOWN, 1000) == API_CONFLICT && strstr(err.msg, "more than 256 MiB"),
	   "beyond that there is no room for a machine that is not known");
	ok(bring(known, 64 << 10) == 0, "one that is known brings another one of 64 KiB");
	ok(bring(known, (64 << 10) + 1) == API_CONFLICT && strstr(err.msg, "more than 256 MiB"),
	   "and not a byte more");
	set_others(INVENTORIES_MAX - (64 << 10) - 1);
	ok(bring(known, (64 << 10) + 1) == 0, "unless there is room");
	set_others(INVENTORIES_MAX - (64 << 10));
	ok(bring(known, (64 << 10) + 1) == API_CONFLICT, "to the byte");
	set_others(2);
}

/* ---- the ticker */

/* It has said that it lives, since a time at which nobody knew. */
static bool has_ticked(void)
{
	LOCK_FLEET(fleet);
	bool has = fleet->tick_ms != 0;

	fleet->tick_ms = 0;
	return has;
}

static void test_ticks(void)
{
	struct machine *m = machine_find(fleet, MACHINE);

	fleet_stop(fleet); /* its ticker: from here on it is us */
	(void)has_ticked();
	m->heard_ms = fleet_now_ms();
	m->touched_ms = 0;
	for (struct machine *i = fleet->machines; i; i = i->next)
		i->touched_ms = i == m ? 0 : UINT64_MAX;
	machines_touch(fleet, true);
	ok(has_ticked(), "after the time of a machine was written the ticker lives");
	machines_touch(fleet, true);
	ok(!has_ticked(), "where there is nothing to write it need not say so");
	m->job->row.state = JOB_RUNNING;
	m->job->progress_ms = 0;
	fleet_tell_stalls(fleet);
	ok(has_ticked() && m->job->stalled, "after the event of a job that stalls, too");
	fleet_tell_stalls(fleet);
	ok(!has_ticked(), "of which there is one");
}

int main(void)
{
	log_set_level(LOG_ERROR);
	open_all();
	test_reclaim();
	close_all();
	open_all();
	test_spared();
	close_all();
	open_all();
	test_moves();
	close_all();
	open_all();
	test_renewals();
	test_refusals();
	close_all();
	open_all();
	test_spared_reclaim();
	test_inventories();
	test_ticks();
	close_all();
	return done();
}
