/* The small parts of the agent: sets of ids, extents, what travels, waits, lines, settings, and whether a target may be overwritten. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/console.h"
#include "agent/crew.h"
#include "agent/discover.h"
#include "agent/extents.h"
#include "agent/fingerprint.h"
#include "agent/flight.h"
#include "agent/idset.h"
#include "agent/link.h"
#include "agent/target.h"
#include "agent/wire.h"
#include "agent/work.h"
#include "common/cleanup.h"
#include "common/limits.h"
#include "common/rate.h"
#include "tests/unit/tap.h"

static struct id id_number(uint32_t n)
{
	return id_of(&n, sizeof(n));
}

static void test_idset(void)
{
	struct idset s;
	struct idcache c;
	bool good = idset_init(&s, 64) == 0 && idcache_init(&c, 64) == 0, all = true;
	struct id id;

	for (uint32_t n = 0; n < 40; n++) {
		id = id_number(n);
		good = good && idset_add(&s, &id) && !idset_add(&s, &id);
	}
	for (uint32_t n = 0; n < 40; n += 3) { /* leaves gaps within runs */
		id = id_number(n);
		idset_remove(&s, &id);
	}
	for (uint32_t n = 0; n < 60; n++) {
		id = id_number(n);
		all = all && idset_has(&s, &id) == (n < 40 && n % 3 != 0);
	}
	ok(good && all && s.len == 26, "a set of ids knows what was added and not removed");
	for (uint32_t n = 0; n < 1000; n++) {
		id = id_number(n);
		idcache_add(&c, &id);
		all = all && idcache_has(&c, &id);
	}
	ok(all, "a cache knows what came last");
	idcache_clear(&c);
	ok(!idcache_has(&c, &id), "until it is cleared");
	idset_done(&s);
	idcache_done(&c);
}

static void *land_later(void *arg)
{
	struct id id = id_number(1);

	flight_land(arg, &id, 1);
	return NULL;
}

static void test_flight(void)
{
	struct flight *f = flight_new(16);
	struct id a = id_number(1), b = id_number(2);
	pthread_t t;
	struct err err;

	ok(flight_claim(f, &a) == CLAIM_MINE, "a claim is given");
	ok(flight_claim(f, &a) == CLAIM_OTHER, "once");
	ok(flight_is_up(f, &a, 1) && !flight_is_up(f, &b, 1), "and known to all");
	ok(pthread_create(&t, NULL, land_later, f) == 0 && flight_wait(f, &a, 1, &err) == 0,
	   "who waits is woken");
	(void)pthread_join(t, NULL);
	ok(flight_claim(f, &a) == CLAIM_KNOWN, "what has landed is known");
	flight_forget(f);
	ok(flight_claim(f, &a) == CLAIM_MINE, "until it is forgotten");
	flight_abort(f);
	ok(flight_wait(f, &a, 1, &err) == -ECANCELED, "an abort ends all waiting");
	flight_free(f);
}

static int count_run(void *ctx, unsigned worker, struct err *err)
{
	(void)worker;
	(void)err;
	atomic_fetch_add((atomic_uint *)ctx, 1);
	return 0;
}

static void count_stop(void *ctx)
{
	atomic_fetch_add((atomic_uint *)ctx, 100);
}

/* When no further thread can be started. */
static void test_crew(void)
{
	atomic_uint count = 0;
	struct crew_work work = {count_run, count_stop, &count, 3};
	pthread_attr_t attr, before;
	struct err err;

	ok(crew_run(&work, 3, &err) == 0 && count == 3, "a crew of three");
	(void)pthread_getattr_default_np(&before);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, (size_t)1 << 50);
	ok(pthread_setattr_default_np(&attr) == 0, "stacks that cannot be had");
	count = 0;
	ok(crew_run(&work, 3, &err) == -EAGAIN && strstr(err.msg, "cannot be started") &&
		   count == 100,
	   "a crew that needs three does not begin with one");
	count = 0;
	work.need = 1;
	ok(crew_run(&work, 3, &err) == 0 && count == 1, "one that needs one does its work");
	(void)pthread_setattr_default_np(&before);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_attr_destroy(&before);
}

static void test_extents(void)
{
	struct extents e = {NULL, 0, 0};

	ok(extents_add(&e, 100, 50) == 0 && extents_add(&e, 300, 10) == 0 &&
		   extents_add(&e, 150, 10) == 0 && e.len == 2 && e.items[0].length == 60,
	   "neighbours are merged");
	ok(extents_add(&e, 90, 250) == 0 && e.len == 1 && e.items[0].offset == 90 &&
		   e.items[0].length == 250,
	   "what is covered is swallowed");
	ok(extents_remove(&e, 100, 20) == 0 && e.len == 2 && e.items[0].length == 10 &&
		   e.items[1].offset == 120 && extents_bytes(&e) == 230,
	   "a hole is cut out");
	ok(extents_remove(&e, 0, 90) == 0 && e.len == 2, "what only touches stays");
	ok(extents_remove(&e, 0, 1000) == 0 && e.len == 0, "and all can go");
	extents_done(&e);
}

static int finished(const char *text, struct peer_finished *ret)
{
	CLEANUP_JSON json_t *json = json_loads(text, 0, NULL);
	struct id root = {{0xab}};
	struct err err;

	return wire_finished_decode(json, 100, &root, ret, &err);
}

static void test_wire(void)
{
	const uint8_t bytes[] = {3, 0, 0, 0, 'a', 'b', 'c', 200, 0, 0, 0, 'd'};
	const uint8_t nodes[24] = {2, 0, 0, 0, 16, [23] = 'x'};
	static const char *const bad[] = {
		"{}",
		"{\"missing\":[[0,0]]}",
		"{\"missing\":[[100,1]]}",
		"{\"missing\":[[99,2]]}",
		"{\"missing\":[[5,2],[6,1]]}",
		"{\"missing\":[[-1,2]]}",
		"{\"missing\":[7]}",
		"{\"missing\":[],\"root\":null}",
		"{\"missing\":[],\"root\":\"cd00000000000000000000000000000000000000000000000000000000000000\"}"};
	struct peer_run run = {{0x0102030405060708, 0x0a0b}, {{9}}};
	struct peer_chunk chunk = {0x0102030405060708, {{9}}};
	struct peer_finished f = {NULL, 0};
	struct peer_bytes one;
	struct reader in;
	struct err err;
	uint8_t buf[WIRE_RUN_SIZE];
	uint32_t count = 0;
	bool refused = true;

	wire_encode_runs(&run, 1, buf);
	ok(buf[0] == 8 && buf[7] == 1 && buf[8] == 0x0b && buf[9] == 0x0a && buf[12] == 9,
	   "windows are encoded little-endian");
	wire_encode_chunks(&chunk, 1, buf);
	ok(buf[0] == 8 && buf[7] == 1 && buf[8] == 9, "and so is a chunk");
	reader_init(&in, nodes, sizeof(nodes));
	ok(wire_next_node(&in, 2, &count, &one, &err) == 0 && count == 2 && one.size == 16 &&
		   one.data[15] == 'x' && in.left == 0,
	   "a node of two windows is taken out");
	reader_init(&in, nodes, sizeof(nodes));
	ok(wire_next_node(&in, 1, &count, &one, &err) == -EPROTO && strstr(err.msg, "2 windows"),
	   "of more windows than are left it is refused");
	reader_init(&in, nodes + 24, sizeof(nodes) - 24);
	ok(wire_next_node(&in, 1, &count, &one, &err) == -EPROTO, "cut off it is refused");
	reader_init(&in, (const uint8_t[24]){0, 0, 0, 0, 16}, 24);
	ok(wire_next_node(&in, 1, &count, &one, &err) == -EPROTO, "and of no window");
	reader_init(&in, bytes, sizeof(bytes));
	ok(wire_next(&in, 1, 10, &one, &err) == 0 && one.size == 3 &&
		   memcmp(one.data, "abc", 3) == 0,
	   "an object is taken out");
	ok(wire_next(&in, 1, 10, &one, &err) == -EPROTO, "one too large is refused");
	reader_init(&in, bytes, sizeof(bytes));
	in.left = 6;
	ok(wire_next(&in, 1, 10, &one, &err) == -EPROTO, "and one that is cut off");
	ok(finished("{\"missing\":[[0,2],[98,2]],\"root\":null}", &f) == 0 && f.missing_len == 2 &&
		   f.missing[1].first == 98,
	   "missing windows are read");
	peer_finished_done(&f);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused = refused && finished(bad[i], &f) == -EPROTO;
	ok(refused, "what is not allowed is refused, another root too");
	ok(finished(
		   "{\"missing\":[],\"root\":\"ab00000000000000000000000000000000000000000000000000000000000000\"}",
		   &f) == 0 &&
		   f.missing_len == 0,
	   "the right root seals");
}

static void test_pauses(void)
{
	bool good = true;

	for (uint32_t r = 0; r < 4000000000u; r += 99999989u) {
		for (unsigned n = 0; n < 40; n++) {
			unsigned d = discover_pause_ms(n, r), l = link_pause_ms(n, r);

			good = good && d >= 875 && d <= 33750 && l >= 500 && l <= 60000;
		}
	}
	ok(good, "waits are spread and bounded");
	ok(discover_pause_ms(9, 0) > 20000 && link_pause_ms(9, 0) >= 30000, "and become long");
}

/* What a server or a disk calls text must not be obeyed by the machine's screen. */
static void test_console(void)
{
	char path[] = "/tmp/hoist-test-console-XXXXXX", got[256] = "";
	CLEANUP_CLOSE int fd = mkstemp(path);
	char *items[] = {path};
	struct setting_list devices = {items, 1};
	struct console *c = console_new(&devices);

	if (fd < 0 || !c)
		abort();
	console_line(c, "a\033[2Jb\177c\302\2331md \303\244");
	ok(read(fd, got, sizeof(got) - 1) > 9 &&
		   strcmp(got + 9, "a?[2Jb?c?\2331md \303\244\n") == 0,
	   "control characters do not reach a console, neither those of ASCII nor U+0080 to U+009F");
	printf("# %s", got + 9);
	console_free(c);
	(void)unlink(path);
}

static void test_lines(void)
{
	struct job_progress p = {
		.phase = PHASE_CAPTURE, .done = 3ull << 30, .total = 12ull << 30, .sent = 1 << 20};
	char text[CONSOLE_LINE_SIZE], amount[CONSOLE_AMOUNT_SIZE];
	struct job j;
	char *line;
	unsigned n = 0;

	console_progress_text(&p, 100 << 20, 1 << 20, text);
	ok(strcmp(text,
		  "capture  25.0 % of 12.0 GiB, 100 MiB/s, sent 1.0 MiB (1.0 MiB/s), 1:33 min left") ==
		   0,
	   "a progress line");
	p.bottleneck = METER_SERVER;
	console_progress_text(&p, 100 << 20, 1 << 20, text);
	ok(strstr(text, " 1:33 min left, limit: server"), "and what holds it up");
	p.skipped = 1;
	console_progress_text(&p, 100 << 20, 1 << 20, text);
	ok(strncmp(text, "capture  25.0 % of 12.0 GiB in use, 100 MiB/s, ", 47) == 0,
	   "of what is in use");
	printf("# %s\n", text);
	ok(strcmp(console_amount(999, amount), "999 B") == 0 &&
		   strcmp(console_amount(UINT64_MAX, amount), "16.0 EiB") == 0,
	   "amounts");
	job_init(&j, "0123456789abcdef");
	for (unsigned i = 0; i < JOB_LINES_MAX + 6; i++)
		job_say(&j, "line %u", i);
	line = job_take_line(&j);
	ok(line && strstr(line, "6 lines were dropped"),
	   "too many lines: the oldest go, and it is said");
	free(line);
	while ((line = job_take_line(&j))) {
		n++;
		free(line);
	}
	ok(n == JOB_LINES_MAX, "the others are there");
	ok(job_blame(&j, "read_error", -EIO) == -EIO && job_blame(&j, "internal", -EIO) == -EIO &&
		   strcmp(j.code, "read_error") == 0,
	   "the first code stays");
	job_done(&j);
}

static int check(const struct disk *d, const struct order_disk *o, const char *code,
		 const char *says)
{
	struct err err = {0};
	struct job j;
	int r;

	job_init(&j, "0123456789abcdef");
	r = target_check(d, o, &j, &err);
	if (r < 0 && (strcmp(j.code, code) != 0 || !strstr(err.msg, says))) {
		printf("# %s: %s\n", j.code, err.msg);
		r = 1;
	}
	job_done(&j);
	return r;
}

/* What is open, after it was looked at. */
static int check_open(const struct disk *d, struct blk *b, const struct order_disk *o,
		      const char *says)
{
	struct err err = {0};
	struct job j;
	int r;

	job_init(&j, "0123456789abcdef");
	r = target_check_shape(d, b, &j, &err);
	if (r == 0)
		r = target_check_again(d, b, o, &j, &err);
	if (r < 0 && (strcmp(j.code, "target_changed") != 0 || !strstr(err.msg, says))) {
		printf("# %s: %s\n", j.code, err.msg);
		r = 1;
	}
	job_done(&j);
	return r;
}

static void test_open_target(void)
{
	static struct disk d = {
		.id = "wwn:x", .path = "/dev/x", .size = 4 << 20, .sector_size = 512};
	struct blk *b = blk_new_memory(calloc(1, 4 << 20), 4 << 20, 512);
	struct order_disk o = {.size = 4 << 20, .source = {4 << 20, 512, 512}};
	struct err err;
	bool is_zero;

	if (fingerprint_of_disk(b, NULL, 0, &o.fingerprint, &is_zero, &err) < 0)
		abort();
	ok(check_open(&d, b, &o, "") == 0, "a target that is what was looked at");
	d.size += 512;
	ok(check_open(&d, b, &o, "has just changed: it has 4194304") < 0, "another size");
	d.size -= 512;
	d.sector_size = 4096;
	ok(check_open(&d, b, &o, "in sectors of 512") < 0, "other sectors");
	d.sector_size = 512;
	d.seq = 7;
	ok(check_open(&d, b, &o, "") == 0, "one of which it is not known which it is");
	b->seq = 8;
	ok(check_open(&d, b, &o, "another disk has just come up") < 0,
	   "another disk that came up in its place");
	d.seq = 8;
	ok(check_open(&d, b, &o, "") == 0, "the same disk");
	ok(blk_write(b, "x", 1, 4000, &err) == 0 &&
		   check_open(&d, b, &o, "what was looked at is not what is there") < 0,
	   "and what is on it is looked at again");
	blk_free(b);
}

/* Cancelled, so that it ends with the look at the disk at the latest. */
static int capture_of(struct inventory *i, struct order_disk *od, struct err *err, char *code)
{
	struct config config = {.memory = 64 << 20};
	struct order o = {.kind = JOB_CAPTURE, .disks = od, .disks_len = 1};
	struct job j;
	struct work w = {.config = &config, .order = &o, .job = &j, .inventory = i};
	int r;

	job_init(&j, "0123456789abcdef");
	job_stop(&j, JOB_CANCELLED);
	r = work_capture(&w, err);
	job_get_code(&j, code);
	json_decref(w.levels);
	job_done(&j);
	return r;
}

static void test_open_source(void)
{
	static struct inventory i;
	struct disk d = {.id = "file:x", .kind = DISK_FILE, .sector_size = 512};
	struct order_disk od = {.disk = "file:x", .size = 1 << 20};
	char code[JOB_CODE_SIZE], path[] = "/tmp/source.XXXXXX";
	CLEANUP_CLOSE int fd = mkstemp(path);
	struct err err = {0};

	if (fd < 0 || ftruncate(fd, 1 << 20) < 0)
		abort();
	(void)snprintf(d.path, sizeof(d.path), "%s", path);
	d.size = 1 << 20;
	i.disks = (struct disk_list){.disks = &d, .len = 1};
	ok(capture_of(&i, &od, &err, code) == -ECANCELED && code[0] == '\0',
	   "a source that is what was looked at");
	if (ftruncate(fd, 1 << 21) < 0)
		abort();
	ok(capture_of(&i, &od, &err, code) == -ESTALE && strcmp(code, "disk_missing") == 0 &&
		   strstr(err.msg, "has just changed: it has 2097152 bytes"),
	   "one that has changed since is not captured");
	(void)unlink(path);
}

static void test_target(void)
{
	static struct disk d = {
		.id = "wwn:x", .path = "/dev/x", .size = 1 << 20, .sector_size = 512};
	struct order_disk o = {.size = 1 << 20, .source = {1 << 20, 512, 512}};
	struct order_disk x;

	d.contents =
		(struct contents){.has_fingerprint = true, .is_empty = true, .fingerprint = {{1}}};
	o.fingerprint = d.contents.fingerprint;
	ok(check(&d, &o, "", "") == 0, "an empty target as it was ordered");
	ok(check(NULL, &o, "disk_missing", "no disk") < 0, "a disk that is not there");
	x = o;
	x.source.size += 512;
	ok(check(&d, &x, "target_too_small", "1049088 are needed: 512 too few") < 0,
	   "one sector too small");
	x = o;
	x.source.sector_size = 4096;
	ok(check(&d, &x, "sector_size", "4096") < 0, "other sectors");
	x = o;
	x.size += 512;
	ok(check(&d, &x, "target_changed", "had 1049088") < 0, "another size than ordered");
	x = o;
	x.fingerprint.b[7] = 1;
	ok(check(&d, &x, "target_changed", "has changed") < 0, "another fingerprint");
	x.begun = true;
	ok(check(&d, &x, "", "") == 0, "unless this job has begun to write it");
	d.contents.is_empty = false;
	ok(check(&d, &o, "target_holds_data", "not empty") < 0, "one that holds data");
	o.overwrite = true;
	ok(check(&d, &o, "", "") == 0, "unless that was allowed");
	d.contents.has_fingerprint = false;
	ok(check(&d, &o, "target_changed", "cannot be told") < 0, "one that cannot be read");
	o.begun = true;
	d.is_read_only = true;
	ok(check(&d, &o, "write_error", "write-protected") < 0,
	   "one that is write-protected, begun or not");
}

static unsigned warnings;
static void warn(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
	warnings++;
}

static void test_config(void)
{
	char pin[] = "--pin=abababababababababababababababababababababababababababababababab";
	char text[] = "quiet hoist.name=k hoist.level=7 hoist.nonsense=1 hoist.memory=1G";
	char cmdline[] = "--cmdline", level[] = "--level=3", server[] = "--server=localhost",
	     token[] = "--token=x", steep[] = "--level=20", odd[] = "--level=3x",
	     automatic[] = "--level=auto", image[] = "--image";
	char *line[] = {cmdline, text, level, pin}, *no_pin[] = {server, token, image},
	     *wrong[] = {steep};
	char *odder[] = {odd}, *by_itself[] = {automatic};
	struct config c;
	struct sysinfo info;
	struct {
		char *line[2];
		int len, result;
		bool may;
	} replays[] = {
		{{(char *)"--image"}, 1, 0, true},
		{{(char *)"--image", (char *)"--replay=no"}, 2, 0, false},
		{{(char *)"--replay=yes"}, 1, 0, true},
		{{(char *)"--replay=maybe"}, 1, -EINVAL, false},
	};
	struct err err;

	ok(config_load(&c, 4, line, warn, NULL, &err) == 0, "settings from two places");
	ok(strcmp(c.name, "k") == 0 && c.level == 3 && c.memory == 1u << 30,
	   "the command line counts most");
	ok(warnings == 1, "what the kernel line says wrong is told, and does not stop a machine");
	config_done(&c);
	ok(config_load(&c, 2, no_pin, warn, NULL, &err) == -EINVAL && strstr(err.msg, "--pin"),
	   "no token for an address without a key");
	config_done(&c);
	ok(config_load(&c, 3, no_pin, warn, NULL, &err) == 0 && c.server && !c.pin,
	   "but the live image comes up with that, to be paired");
	config_done(&c);
	ok(config_load(&c, 1, no_pin, warn, NULL, &err) == 0, "an address alone is paired with");
	config_done(&c);
	ok(config_load(&c, 1, wrong, warn, NULL, &err) == -EINVAL, "a wrong option does stop it");
	config_done(&c);
	ok(config_load(&c, 1, odder, warn, NULL, &err) == -EINVAL && strstr(err.msg, "'auto'"),
	   "a level is a number or auto");
	config_done(&c);
	ok(config_load(&c, 1, by_itself, warn, NULL, &err) == 0 && c.level == 0, "auto");
	config_done(&c);
	ok(config_load(&c, 0, NULL, warn, NULL, &err) == 0 && c.memory >= 64u << 20 &&
		   c.discovery && c.level == 0,
	   "what is not said has a value");
	ok(sysinfo(&info) == 0 && c.memory <= c.memory_max &&
		   (c.memory_max == 64u << 20 ||
		    c.memory_max == (uint64_t)info.totalram * info.mem_unit / 8),
	   "an eighth of the memory at most, and 64 MiB at least");
	ok(sysconf(_SC_NPROCESSORS_ONLN) > 2 || c.memory == 64u << 20,
	   "of which 64 MiB do for two cores");
	ok(!c.may_replay, "no log is replayed outside the live image");
	config_done(&c);
	for (size_t i = 0; i < 4; i++) {
		ok(config_load(&c, replays[i].len, replays[i].line, warn, NULL, &err) ==
				   replays[i].result &&
			   c.may_replay == replays[i].may,
		   replays[i].line[replays[i].len - 1]);
		config_done(&c);
	}
}

static void test_spans(void)
{
	struct job_span spans[JOB_PHASES];
	struct timespec wait = {.tv_nsec = 20000000};
	struct job j;

	job_init(&j, "0123456789abcdef");
	job_get_spans(&j, spans);
	ok(!spans[PHASE_CHECK].was && spans[PHASE_CHECK].ms == 0, "no phase has begun");
	job_start_phase(&j, PHASE_CHECK, 0);
	job_start_phase(&j, PHASE_CAPTURE, 100);
	job_add(&j, 60, 0, 0);
	(void)nanosleep(&wait, NULL); /* something to be measured, not to be waited for */
	job_get_spans(&j, spans);
	ok(spans[PHASE_CAPTURE].was && spans[PHASE_CAPTURE].done == 60 &&
		   spans[PHASE_CAPTURE].ms >= 19,
	   "the one at work is told as far as it is");
	job_add(&j, 40, 0, 0);
	job_start_phase(&j, PHASE_FINISH, 100);
	job_get_spans(&j, spans);
	ok(spans[PHASE_CHECK].was && spans[PHASE_CHECK].done == 0 &&
		   spans[PHASE_CAPTURE].done == 100 && spans[PHASE_CAPTURE].ms >= 19 &&
		   !spans[PHASE_RESTORE].was && spans[PHASE_FINISH].was,
	   "and those that are over as they ended");
	job_done(&j);
}

static void test_rates(void)
{
	ok(rate_of(0, 0) == 0 && rate_of(0, 1000) == 0, "nothing");
	ok(rate_of(1000, 1000) == 1000 && rate_of(1, 2000) == 0 && rate_of(3, 2000) == 1,
	   "bytes a second, rounded down");
	ok(rate_of(5, 0) == 5000, "no time is a millisecond");
	ok(rate_of(64ull << 40, 86400000) == 814453057 && rate_of(UINT64_MAX, 1) == INT64_MAX &&
		   rate_of(UINT64_MAX, UINT64_MAX) == 1000,
	   "large numbers");
}

int main(void)
{
	test_idset();
	test_flight();
	test_crew();
	test_extents();
	test_wire();
	test_pauses();
	test_console();
	test_lines();
	test_spans();
	test_rates();
	test_target();
	test_open_target();
	test_open_source();
	test_config();
	return done();
}
