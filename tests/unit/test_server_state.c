/* The server's state: what is written is there after opening again, what must not be is refused, a newer schema too. */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "server/access/access.h"
#include "server/api_error.h"
#include "server/state/state.h"
#include "tests/lib/sample.h"
#include "tests/unit/tap.h"

#define MAY_ALL (TOKEN_MAY_ENROL | TOKEN_MAY_TAKE)

static char dir[] = "/var/tmp/hoist-test-state-XXXXXX";
static char path[64];
static struct err err;

static struct state *open_state(void)
{
	struct state *s = NULL;
	bool is_new;

	if (state_open(path, &s, &is_new, &err) < 0)
		printf("# %s\n", err.msg);
	return s;
}

static struct state *reopen(struct state *s)
{
	state_close(s);
	return open_state();
}

static struct id id_at(uint8_t n)
{
	return id_of(&n, 1);
}

/* ---- opening */

static void run_sql(const char *sql)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK ||
	    sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		printf("# %s\n", sqlite3_errmsg(db));
	(void)sqlite3_close(db);
}

static void test_open(void)
{
	struct state *s = NULL, *none = NULL;
	bool is_new = false;

	ok(state_open(path, &s, &is_new, &err) == 0 && is_new, "a new database");
	state_close(s);
	ok(state_open(path, &s, &is_new, &err) == 0 && !is_new, "and an old one");
	state_close(s);
	run_sql("PRAGMA user_version = 9");
	ok(state_open(path, &none, &is_new, &err) == -EPROTO && !none &&
		   strstr(err.msg, "version 9") && strstr(err.msg, "newer"),
	   "a later version is refused, with a sentence");
	run_sql("PRAGMA user_version = 8; PRAGMA application_id = 7");
	ok(state_open(path, &none, &is_new, &err) == -EPROTO && strstr(err.msg, "another program"),
	   "another program's is refused");
	run_sql("PRAGMA application_id = 1215261043");
	ok(state_open("/var/tmp/hoist-no-such-dir/x.db", &none, &is_new, &err) < 0 && !none,
	   "a folder that is not there");
}

/* A database of version 1 with a job in it. */
static void test_migration(void)
{
	struct state *s = NULL;
	struct job_row j = {0};
	bool is_new = true;

	run_sql("DROP TABLE audit; DROP TABLE credentials; DROP TABLE operators;"
		"ALTER TABLE machines DROP COLUMN former_hash; ALTER TABLE tokens DROP COLUMN job;"
		"ALTER TABLE machines DROP COLUMN displaced_hash;"
		"ALTER TABLE machines DROP COLUMN displaced_former;"
		"ALTER TABLE machines DROP COLUMN displaced_job;"
		"ALTER TABLE token_machines DROP COLUMN owed;"
		"ALTER TABLE jobs DROP COLUMN all_blocks; ALTER TABLE jobs DROP COLUMN skipped;"
		"ALTER TABLE jobs DROP COLUMN unreadable; ALTER TABLE jobs DROP COLUMN rescue_seconds;"
		"ALTER TABLE jobs DROP COLUMN rescue_area_seconds;"
		"ALTER TABLE jobs DROP COLUMN rescue_retries;"
		"ALTER TABLE job_disks DROP COLUMN released;"
		"INSERT INTO jobs VALUES(NULL, '00000000000000aa', 'capture', 'running', 'm', 'n',"
		" 'web', 0, 1, 2, 0, 'stay', 3, 'capture', 4, 5, 6, 7, '', '', 8, NULL, NULL, NULL);"
		"INSERT INTO job_disks(job, n, disk, size, overwrite, begun, partial, source_disk,"
		" source_size, source_sector_size, source_physical_sector_size, data_bytes,"
		" unreadable_bytes, sealed) VALUES('00000000000000aa', 0, 'd', 1, 0, 0, 0, '', 1, 1, 1,"
		" 1, 512, 1), ('00000000000000aa', 1, 'e', 1, 0, 0, 0, '', 1, 1, 1, 1, 1024, 1);"
		"PRAGMA user_version = 1");
	ok(state_open(path, &s, &is_new, &err) == 0 && !is_new,
	   "a database of version 1 is opened");
	ok(s && state_get_job(s, "00000000000000aa", &j, &err) == 0 && !j.all_blocks &&
		   j.skipped == 0 && j.unreadable == 1536 && j.rescue.seconds == -1 &&
		   j.rescue.retries == -1 && j.level == 3 && j.sent == 7 && j.seq == 8,
	   "its job is there, with what is new preset");
	job_row_done(&j);
	state_close(s);
	run_sql("DELETE FROM job_disks; DELETE FROM jobs");
}

/* ---- machines, tokens */

static int last_machine(void *arg, const struct machine_row *m)
{
	struct machine_row *ret = arg;

	ret->first_seen += 1000; /* counts */
	memcpy(ret->id, m->id, sizeof(m->id));
	memcpy(ret->name, m->name, sizeof(m->name));
	ret->last_seen = m->last_seen;
	ret->secret_hash = m->secret_hash;
	ret->former_hash = m->former_hash;
	ret->displaced_hash = m->displaced_hash;
	ret->displaced_former = m->displaced_former;
	memcpy(ret->displaced_job, m->displaced_job, sizeof(m->displaced_job));
	return strcmp(m->inventory, "{\"a\":1}") == 0 ? 0 : -EILSEQ;
}

static void test_machines(void)
{
	struct machine_row m = {.id = "aa",
				.name = "n",
				.agent_version = "1",
				.address = "::1",
				.first_seen = 5,
				.last_seen = 6,
				.inventory = (char *)"{\"a\":1}"};
	struct machine_row got = {.first_seen = 0};
	struct state *s = open_state();

	m.secret_hash = id_at(1);
	ok(state_put_machine(s, &m, &err) == 0, "a machine is written");
	memcpy(m.name, "o", 2);
	m.secret_hash = id_at(2);
	ok(state_put_machine(s, &m, &err) == 0, "and again");
	m.former_hash = id_at(1);
	m.secret_hash = id_at(2);
	ok(state_put_secrets(s, "aa", &m.secret_hash, &m.former_hash, &err) == 0,
	   "and given another secret");
	ok(state_touch_machine(s, "aa", 99, "::2", &err) == 0, "and touched");
	s = reopen(s);
	ok(state_each_machine(s, last_machine, &got, &err) == 0 && got.first_seen == 1000 &&
		   strcmp(got.name, "o") == 0 && got.last_seen == 99,
	   "it is there once, as it was last");
	m.secret_hash = id_at(2);
	ok(id_equal(&got.secret_hash, &m.secret_hash) && id_equal(&got.former_hash, &m.former_hash),
	   "with its last secrets");
	m.inventory = (char *)"{}";
	ok(state_put_machine(s, &m, &err) == 0 &&
		   state_each_machine(s, last_machine, &got, &err) == -EILSEQ,
	   "what a callback returns ends the walk");
	ok(state_remove_machine(s, "aa", &err) == 0, "it can be removed");
	ok(state_remove_machine(s, "aa", &err) == -ENOENT, "once");
	state_close(s);
}

static int count_token(void *arg, const struct token_row *t)
{
	uint32_t *left = arg;

	left[0]++;
	left[1] = t->uses_left;
	left[2] = t->revoked;
	return 0;
}

static void test_tokens(void)
{
	struct token_row t = {.id = "t1",
			      .note = "it's",
			      .uses = 2,
			      .uses_left = 2,
			      .created = 10,
			      .job = "capture"};
	char job[TOKEN_JOB_SIZE];
	struct id hash = id_at(7), other = id_at(8);
	struct state *s = open_state();
	uint32_t seen[3] = {0};

	ok(state_add_token(s, &t, &hash, &err) == 0, "a token");
	memcpy(t.id, "t2", 3);
	ok(state_add_token(s, &t, &hash, &err) == -EEXIST, "the same one twice");
	ok(state_use_token(s, &other, "m1", MAY_ALL, 11, &err) == -EACCES, "an unknown one");
	ok(state_use_token(s, &hash, "m1", TOKEN_MAY_TAKE, 11, &err) == -EACCES,
	   "one that may not enrol takes no use");
	ok(state_use_token(s, &hash, "m1", TOKEN_MAY_ENROL, 11, &err) == 0 &&
		   state_owed_job(s, "m1", job, &err) == 0 && job[0] == '\0' &&
		   state_use_token(s, &hash, "m1", TOKEN_MAY_TAKE, 11, &err) == -EACCES,
	   "nor does one that is only looked at");
	ok(state_use_token(s, &hash, "m1", MAY_ALL, 11, &err) == 0 &&
		   state_owed_job(s, "m1", job, &err) == 0 && strcmp(job, "capture") == 0 &&
		   state_job_given(s, "m1", &err) == 0,
	   "the first machine, and its job");
	ok(state_use_token(s, &hash, "m1", TOKEN_MAY_TAKE, 11, &err) == 0 &&
		   state_owed_job(s, "m1", job, &err) == 0 && job[0] == '\0',
	   "comes back, uncounted, to no other job");
	ok(state_use_token(s, &hash, "m2", MAY_ALL, 11, &err) == 0, "the second");
	s = reopen(s);
	ok(state_use_token(s, &hash, "m3", MAY_ALL, 11, &err) == -EACCES, "the third: used up");
	ok(state_use_token(s, &hash, "m2", MAY_ALL, 11, &err) == 0, "the second comes back");
	ok(state_each_token(s, count_token, seen, &err) == 0 && seen[0] == 1 && seen[1] == 0,
	   "no use is left");
	ok(state_revoke_token(s, "t1", &err) == 0 && state_revoke_token(s, "tx", &err) == -ENOENT,
	   "revoked");
	ok(state_use_token(s, &hash, "m1", MAY_ALL, 11, &err) == -EACCES &&
		   strstr(err.msg, "revoked"),
	   "it brings nobody back");
	t.expires = 100;
	ok(state_add_token(s, &t, &other, &err) == 0 &&
		   state_use_token(s, &other, "m1", MAY_ALL, 99, &err) == 0,
	   "one that expires, before");
	ok(state_use_token(s, &other, "m1", MAY_ALL, 100, &err) == -EACCES &&
		   strstr(err.msg, "expired"),
	   "and then");
	state_close(s);
}

/* ---- operators, credentials, the audit log */

static int count_credential(void *arg, const struct credential_row *c)
{
	unsigned *seen = arg;

	seen[0] += c->is_session;
	seen[1] += !c->is_session;
	seen[2] += c->role == ROLE_ADMIN;
	return 0;
}

/* Of all: sessions, tokens, those with the role admin. */
static bool has_credentials(struct state *s, unsigned sessions, unsigned tokens, unsigned admins)
{
	unsigned seen[3] = {0};

	return state_each_credential(s, NULL, count_credential, seen, &err) == 0 &&
	       seen[0] == sessions && seen[1] == tokens && seen[2] == admins;
}

static int add_credential(struct state *s, unsigned n, bool is_session, enum role role)
{
	struct credential_row c = {.operator= "alice",
				   .name = "t",
				   .address = "::1",
				   .is_session = is_session,
				   .role = role,
				   .created = 100 + n,
				   .expires = 9999};
	struct id hash = id_of(&n, sizeof(n));

	(void)snprintf(c.id, sizeof(c.id), "%08x", n);
	return state_add_credential(s, &c, &hash, NULL, &err);
}

static int change_operator(struct state *s, enum role role, const char *password, const char *old,
			   int64_t at)
{
	const struct operator_change c = {
		.role = role, .password = password, .old_password = old, .at = at};

	return state_change_operator(s, "alice", &c, &err);
}

static void test_operators(void)
{
	struct operator_row o = {.name = "alice", .role = ROLE_ADMIN, .password = "h1"};
	struct operator_row got = {.role = ROLE_NONE};
	struct state *s = open_state();
	unsigned n, many = 1000;
	int r = 0;

	ok(add_credential(s, 1, true, ROLE_ADMIN) == -ENOENT, "nobody's session");
	ok(state_add_operator(s, &o, &err) == 0, "an operator");
	ok(state_add_operator(s, &o, &err) == -EEXIST, "once");
	ok(add_credential(s, 1, true, ROLE_ADMIN) == 0 &&
		   add_credential(s, 2, false, ROLE_ADMIN) == 0 &&
		   add_credential(s, 3, false, ROLE_VIEWER) == 0 && has_credentials(s, 1, 2, 2),
	   "a session and two tokens");
	s = reopen(s);
	ok(state_get_operator(s, "alice", &got, &err) == 0 && got.role == ROLE_ADMIN &&
		   strcmp(got.password, "h1") == 0 && has_credentials(s, 1, 2, 2),
	   "they are there after opening again");
	ok(state_rehash_operator(s, "alice", "h0", "h9", &err) == 0 &&
		   state_rehash_operator(s, "alice", "h1", "h2", &err) == 0 &&
		   state_get_operator(s, "alice", &got, &err) == 0 &&
		   strcmp(got.password, "h2") == 0 && has_credentials(s, 1, 2, 2),
	   "another form of the same password ends nothing");
	ok(change_operator(s, ROLE_NONE, "h3", NULL, 7) == 0 && has_credentials(s, 0, 2, 1),
	   "a new password ends the sessions");
	ok(add_credential(s, 4, true, ROLE_ADMIN) == 0 &&
		   change_operator(s, ROLE_OPERATOR, NULL, NULL, 8) == 0 &&
		   has_credentials(s, 0, 1, 0),
	   "a lower role ends them too, and the tokens above it");
	ok(state_get_operator(s, "alice", &got, &err) == 0 && got.role == ROLE_OPERATOR &&
		   strcmp(got.password, "h3") == 0 && got.changed == 8,
	   "and that is how it is");
	for (n = 0; n < SESSIONS_MAX + 5 && r == 0; n++)
		r = add_credential(s, many++, true, ROLE_VIEWER);
	ok(r == 0 && has_credentials(s, SESSIONS_MAX, 1, 0),
	   "more sessions than may be: the oldest go");
	for (n = 1; n < ACCESS_TOKENS_MAX && r == 0; n++)
		r = add_credential(s, many++, false, ROLE_VIEWER);
	ok(r == 0 && add_credential(s, many, false, ROLE_VIEWER) == -EUSERS,
	   "tokens are refused then");
	ok(state_remove_credential(s, "00000003", "bob", &err) == -ENOENT &&
		   state_remove_credential(s, "00000003", "alice", &err) == 0 &&
		   state_remove_credential(s, "00000003", NULL, &err) == -ENOENT,
	   "a token is its owner's to revoke, once");
	ok(state_remove_operator(s, "alice", &err) == 0 && has_credentials(s, 0, 0, 0) &&
		   state_remove_operator(s, "alice", &err) == -ENOENT,
	   "with the operator all goes");
	for (n = 0, r = 0; n <= OPERATORS_MAX && r == 0; n++) {
		(void)snprintf(o.name, sizeof(o.name), "o%u", n);
		r = state_add_operator(s, &o, &err);
	}
	ok(n == OPERATORS_MAX + 1 && r == -EUSERS, "so many operators, and no more");
	state_close(s);
}

/* What was looked at before a password was hashed may have changed since. */
static void test_changed_meanwhile(void)
{
	struct operator_row o = {.name = "alice", .role = ROLE_ADMIN, .password = "h1"};
	struct credential_row c = {.id = "00000001",
				   .operator= "alice",
				   .is_session = true,
				   .role = ROLE_ADMIN,
				   .expires = 9999};
	struct operator_row got = {.role = ROLE_NONE};
	struct state *s = open_state();
	struct id hash = id_of("a", 1);

	ok(state_add_operator(s, &o, &err) == 0 &&
		   change_operator(s, ROLE_NONE, "h2", NULL, 1) == 0,
	   "a password is changed while somebody logs in by the old one");
	ok(state_add_credential(s, &c, &hash, "h1", &err) == -ESTALE && has_credentials(s, 0, 0, 0),
	   "who gets no session");
	ok(change_operator(s, ROLE_NONE, "h3", "h1", 2) == -ESTALE &&
		   state_get_operator(s, "alice", &got, &err) == 0 &&
		   strcmp(got.password, "h2") == 0,
	   "nor does he undo the change by one of his own");
	ok(change_operator(s, ROLE_NONE, "h3", "h2", 3) == 0 &&
		   state_add_credential(s, &c, &hash, "h3", &err) == 0 &&
		   has_credentials(s, 1, 0, 1),
	   "by the present one both are done");
	ok(change_operator(s, ROLE_OPERATOR, NULL, NULL, 4) == 0 &&
		   state_add_credential(s, &c, &hash, "h3", &err) == -ESTALE,
	   "a role is lowered: no session with the former one");
	c.is_session = false;
	ok(state_add_credential(s, &c, &hash, NULL, &err) == -ESTALE && has_credentials(s, 0, 0, 0),
	   "nor a token");
	c.role = ROLE_OPERATOR;
	ok(state_add_credential(s, &c, &hash, NULL, &err) == 0, "with the present one there is");
	run_sql("UPDATE operators SET role='viewer'");
	ok(state_find_credential(s, &hash, &c, &err) == 0 && c.role == ROLE_VIEWER,
	   "what is shown is worth no more than its operator's role");
	ok(state_remove_operator(s, "alice", &err) == 0, "for the next test");
	state_close(s);
}

/* Who was not looked at was told so, and has not used up an attempt. */
static void test_busy(void)
{
	struct access_config config = {
		.cost = {8192, 1}, .session_idle_s = 99, .session_life_s = 99};
	struct access_grant g = {.secret = ""};
	struct access *a = NULL;
	unsigned busy = 0, right = 0, wrong = 0;

	config.state = open_state();
	ok(access_open(&config, &a, &err) == 0 &&
		   access_add_operator(a, NULL, "alice", ROLE_VIEWER, "alice's password", &err) ==
			   0,
	   "an operator, with a cheap hash");
	while (right < 100 && access_login(a, "alice", "alice's password", "::1", &g, &err) == 0)
		right++;
	ok(right >= 30 && right < 40 && err.code == API_RATE_LIMITED,
	   "right passwords are counted too, in a wider bucket");
	access_close(a);
	ok(access_open(&config, &a, &err) == 0, "again");
	while (wrong < 100 &&
	       access_login(a, "alice", "a wrong password", "::1", &g, &err) == API_WRONG_PASSWORD)
		wrong++;
	ok(wrong == 10 && err.code == API_RATE_LIMITED, "wrong ones in the narrow one");
	access_close(a);
	ok(access_open(&config, &a, &err) == 0, "again");
	access_stop(a);
	for (unsigned i = 0; i < 50; i++)
		busy += access_login(a, "alice", "a wrong password", "::1", &g, &err) == API_BUSY;
	ok(busy == 50, "and who was told to come again in none");
	access_close(a);
	ok(state_remove_operator(config.state, "alice", &err) == 0, "for the next test");
	state_close(config.state);
}

static int add(struct access *a, const struct caller *who)
{
	return access_add_operator(a, who, "carol", ROLE_ADMIN, "carol's password", &err);
}

static int give(struct access *a, const struct caller *who)
{
	return access_change_operator(a, who, "bob", ROLE_ADMIN, "another password", &err);
}

/* An admin who is none any more when the hash of the password has been made. */
static void test_ended_meanwhile(void)
{
	struct access_config config = {
		.cost = {8192, 1}, .session_idle_s = 99, .session_life_s = 99};
	struct operator_change lower = {.role = ROLE_OPERATOR};
	struct access_grant g = {.secret = ""};
	struct access *a = NULL;
	struct caller who;

	config.state = open_state();
	if (access_open(&config, &a, &err) < 0 ||
	    access_add_operator(a, NULL, "alice", ROLE_ADMIN, "alice's password", &err) < 0 ||
	    access_add_operator(a, NULL, "bob", ROLE_VIEWER, "bob's password", &err) < 0 ||
	    access_login(a, "alice", "alice's password", "::1", &g, &err) < 0 ||
	    access_authorize(a, g.secret, &who, &err) < 0)
		abort();
	ok(add(a, &who) == 0 && give(a, &who) == 0, "an admin's session changes operators");
	ok(state_remove_operator(config.state, "carol", &err) == 0 &&
		   state_change_operator(config.state, "alice", &lower, &err) == 0,
	   "her role is lowered");
	ok(add(a, &who) == API_UNAUTHORIZED && give(a, &who) == API_UNAUTHORIZED,
	   "what she asked for before is not done after that");
	ok(state_remove_operator(config.state, "alice", &err) == 0 &&
		   add(a, &who) == API_UNAUTHORIZED,
	   "nor when she was removed");
	who = (struct caller){.kind = CALLER_FILE, .role = ROLE_ADMIN, .name = CALLER_FILE_NAME};
	ok(add(a, &who) == 0, "the file is always good");
	ok(state_remove_operator(config.state, "bob", &err) == 0 &&
		   state_remove_operator(config.state, "carol", &err) == 0,
	   "for the next test");
	access_close(a);
	state_close(config.state);
}

struct audit_seen {
	unsigned done, refused;
	uint64_t first, last;
};

static int count_audit(void *arg, const struct audit_row *a)
{
	struct audit_seen *seen = arg;

	*(a->refused ? &seen->refused : &seen->done) += 1;
	seen->first = seen->first ? seen->first : a->id;
	seen->last = a->id;
	return strcmp(a->who, "alice") == 0 && strcmp(a->object, "it's") == 0 ? 0 : -EILSEQ;
}

static struct audit_seen read_audit(struct state *s, struct audit_filter f)
{
	struct audit_seen seen = {0};

	if (state_each_audit(s, &f, count_audit, &seen, &err) < 0)
		printf("# %s\n", err.msg);
	return seen;
}

static void test_audit(void)
{
	struct audit_row a = {.who = "alice",
			      .credential = "",
			      .address = "::1",
			      .action = "x",
			      .object = "it's",
			      .result = "ok"};
	struct audit_seen seen;
	struct state *s = open_state();
	int r = 0;

	for (a.at = 1; a.at <= 5 && r == 0; a.at++)
		r = state_add_audit(s, &a, &err);
	s = reopen(s);
	seen = read_audit(s, (struct audit_filter){.limit = 100});
	ok(r == 0 && seen.done == 5 && seen.refused == 0, "what was done is there");
	seen = read_audit(s, (struct audit_filter){.limit = 2, .newest = true});
	ok(seen.done == 2 && seen.first == 4 && seen.last == 5, "the newest of it");
	seen = read_audit(s, (struct audit_filter){.limit = 2, .after = 1});
	ok(seen.done == 2 && seen.first == 2, "what came after");
	seen = read_audit(s, (struct audit_filter){.limit = 9, .since = 4});
	ok(seen.done == 2 && seen.first == 4, "what came since");
	run_sql("UPDATE audit SET who='bob'");
	run_sql("DELETE FROM audit WHERE id=1");
	run_sql("DELETE FROM audit");
	seen = read_audit(s, (struct audit_filter){.limit = 100});
	ok(seen.done == 5, "no statement changes or removes a row");
	state_close(s);
	run_sql("PRAGMA synchronous=OFF; WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c"
		" WHERE n < 9999) INSERT INTO audit(refused, n, at, who, credential, address, action,"
		" object, result) SELECT 1, n, 6, 'alice', '', '', 'x', 'it''s', 'forbidden' FROM c");
	s = open_state();
	a.refused = true;
	for (unsigned i = 0; i < 4 && r == 0; i++)
		r = state_add_audit(s, &a, &err);
	seen = read_audit(s, (struct audit_filter){.limit = 1000000});
	ok(r == 0 && seen.refused == 10000 && seen.done == 5,
	   "refusals push out refusals, and nothing else");
	state_close(s);
}

/* ---- versions */

static struct version_row version(const char *image, uint32_t n)
{
	struct version_row v = {.version = n,
				.created = 100 + n,
				.job = "0011223344556677",
				.machine = "m",
				.machine_name = "mn",
				.size = 1ull << 46,
				.data_bytes = 77,
				.disks = (char *)"[]"};

	(void)snprintf(v.image, sizeof(v.image), "%s", image);
	v.manifest = id_at((uint8_t)n);
	return v;
}

static int note_version(void *arg, const struct version_row *v)
{
	char *list = arg;
	size_t n = strlen(list);

	(void)snprintf(list + n, 256 - n, "%s%u%s%s ", v->image, v->version, v->damaged ? "d" : "",
		       v->removing ? "r" : "");
	return 0;
}

static bool listed(struct state *s, const char *image, const char *want)
{
	char list[256] = "";
	int r = state_each_version(s, image, note_version, list, &err);

	if (r < 0 || strcmp(list, want) != 0)
		printf("# got '%s'\n", list);
	return r == 0 && strcmp(list, want) == 0;
}

static void test_versions(void)
{
	struct version_row v = version("b", 1), got = {.version = 0};
	struct state *s = open_state();
	uint32_t next = 0;

	ok(state_next_version(s, "b", &next, &err) == 0 && next == 1, "the first number is 1");
	ok(state_add_version(s, &v, &err) == 0, "a version");
	ok(state_add_version(s, &v, &err) == -EEXIST, "is there once");
	v = version("b", 2);
	ok(state_add_version(s, &v, &err) == 0, "a second");
	v = version("a", 1);
	ok(state_add_version(s, &v, &err) == 0, "another image");
	s = reopen(s);
	ok(listed(s, NULL, "a1 b1 b2 "), "all are listed");
	ok(listed(s, "b", "b1 b2 "), "those of one image are");
	ok(state_get_version(s, "b", 0, &got, &err) == 0 && got.version == 2 &&
		   got.size == 1ull << 46 && strcmp(got.disks, "[]") == 0,
	   "the latest");
	version_row_done(&got);
	ok(state_get_version(s, "b", 3, &got, &err) == -ENOENT && strstr(err.msg, "version 3"),
	   "one that is not there");
	ok(state_get_version(s, "c", 0, &got, &err) == -ENOENT && strstr(err.msg, "'c'"),
	   "an image that is not there");
	ok(state_set_damaged(s, "b", 1, true, &err) == 0 && listed(s, "b", "b1d b2 "), "damaged");
	ok(state_remove_version(s, "b", 2, &err) == 0 && listed(s, "b", "b1d b2 "),
	   "what is not marked is not removed");
	ok(state_begin_removal(s, "b", 2, &err) == 0 && listed(s, "b", "b1d b2r "), "marked");
	ok(state_get_version(s, "b", 0, &got, &err) == 0 && got.version == 1,
	   "what is being removed is not there");
	version_row_done(&got);
	ok(state_remove_version(s, "b", 2, &err) == 0 && listed(s, "b", "b1d "), "removed");
	ok(state_next_version(s, "b", &next, &err) == 0 && next == 3,
	   "its number is not given again");
	ok(state_begin_removal(s, "b", 9, &err) == -ENOENT, "one that is not there");
	ok(state_begin_removal(s, "b", 0, &err) == 0 &&
		   state_remove_version(s, "b", 1, &err) == 0 && listed(s, "b", ""),
	   "the whole image");
	ok(state_next_version(s, "b", &next, &err) == 0 && next == 3, "nor then");
	state_close(s);
}

/* ---- jobs */

static int note_job(void *arg, const struct job_row *j)
{
	char *list = arg;
	size_t n = strlen(list);

	(void)snprintf(list + n, 256 - n, "%s ", j->id);
	return 0;
}

static bool jobs_listed(struct state *s, const struct job_filter *f, const char *want)
{
	char list[256] = "";
	int r = state_each_job(s, f, note_job, list, &err);

	if (r < 0 || strcmp(list, want) != 0)
		printf("# got '%s'\n", list);
	return r == 0 && strcmp(list, want) == 0;
}

static int note_leftover(void *arg, const char *job, uint32_t n)
{
	(void)snprintf(arg, 64, "%s.%u", job, n);
	return 0;
}

static void check_lists(struct state *s)
{
	struct job_filter all = {.machine = NULL}, active = {.active = true};
	struct job_filter mine = {.machine = "m", .limit = 1};
	struct job_filter failed = {.by_state = true, .state = JOB_FAILED};
	struct job_filter named = {.id = "j1", .limit = 1}, begun = {.id = "j"}, no = {.id = "j%"};

	ok(jobs_listed(s, &named, "j1 ") && jobs_listed(s, &begun, "j2 j1 ") &&
		   jobs_listed(s, &no, ""),
	   "by how the id begins");
	ok(jobs_listed(s, &all, "j2 j1 ") && jobs_listed(s, &active, "j2 ") &&
		   jobs_listed(s, &mine, "j1 ") && jobs_listed(s, &failed, "j1 "),
	   "lists");
}

/* The second disk of j1, which has ended; j2 lives. */
static void check_leftovers(struct state *s, const struct job_disk_row *disk)
{
	struct job_disk_row with = *disk, *rows = NULL;
	char left[64] = "";
	size_t len = 0;

	with.partial = true;
	ok(state_each_leftover(s, note_leftover, left, &err) == 0 && strcmp(left, "j1.1") == 0,
	   "what it may have left");
	ok(state_save_job_disk(s, "j2", 0, &with, &err) == 0 && state_clear_leftovers(s, &err) == 0,
	   "is cleared");
	*left = '\0';
	ok(state_each_leftover(s, note_leftover, left, &err) == 0 && !*left, "and gone");
	ok(state_get_job_disks(s, "j2", &rows, &len, &err) == 0 && len == 1 && rows[0].partial,
	   "but that of a job that lives");
	free(rows);
}

static void test_jobs(void)
{
	struct job_row j = {.id = "j1",
			    .kind = JOB_RESTORE,
			    .machine = "m",
			    .machine_name = "mn",
			    .image = "i",
			    .version = 3,
			    .created = 50,
			    .end_action = END_REBOOT,
			    .level = 7,
			    .all_blocks = true,
			    .seq = 1};
	struct job_row got = {.seq = 0};
	struct job_disk_row disks[2] = {
		{.disk = "d0",
		 .size = 1ull << 46,
		 .source_disk = "s0",
		 .geometry = {4096, 512, 4096}},
		{.disk = "d1", .size = 7, .overwrite = true},
	};
	struct job_disk_row *rows = NULL;
	struct state *s = open_state();
	char left[64] = "";
	size_t len = 0;

	disks[0].fingerprint = disks[0].root = id_at(3);
	ok(state_add_job(s, &j, disks, 2, &err) == 0, "a job");
	ok(state_add_job(s, &j, disks, 2, &err) == -EEXIST, "once");
	memcpy(j.id, "j2", 3);
	j.kind = JOB_GC;
	j.machine[0] = '\0';
	ok(state_add_job(s, &j, NULL, 0, &err) == 0, "one without disks");
	s = reopen(s);
	ok(state_get_job(s, "j1", &got, &err) == 0 && got.kind == JOB_RESTORE &&
		   got.state == JOB_WAITING && got.version == 3 && got.end_action == END_REBOOT &&
		   got.level == 7 && got.all_blocks && !got.log && !got.report && !got.manifest,
	   "it is as it was");
	ok(state_get_job_disks(s, "j1", &rows, &len, &err) == 0 && len == 2 &&
		   rows[0].size == 1ull << 46 && id_equal(&rows[0].root, &disks[0].root) &&
		   id_equal(&rows[0].fingerprint, &disks[0].root) &&
		   rows[0].geometry.physical_sector_size == 4096 && id_is_zero(&rows[1].root) &&
		   rows[1].overwrite && !rows[1].begun,
	   "and its disks");
	rows[1].begun = rows[1].partial = rows[1].released = true;
	ok(state_save_job_disk(s, "j1", 1, &rows[1], &err) == 0, "a disk is begun");
	free(rows);
	ok(state_get_job_disks(s, "j1", &rows, &len, &err) == 0 && rows[1].begun &&
		   !rows[0].begun && rows[1].released && !rows[0].released,
	   "that one alone");
	free(rows);
	ok(state_get_job_disks(s, "j2", &rows, &len, &err) == 0 && !rows && len == 0, "no disks");
	ok(state_each_leftover(s, note_leftover, left, &err) == 0 && !*left,
	   "a job that lives leaves nothing");
	got.state = JOB_FAILED;
	got.ended = 60;
	got.done = 1ull << 45;
	got.skipped = 1ull << 44;
	got.unreadable = 1ull << 43;
	got.log = strdup("[\"x\"]");
	got.manifest = strdup("{}");
	(void)snprintf(got.message, sizeof(got.message), "It's \"broken\"; DROP TABLE jobs");
	ok(state_save_job(s, &got, &err) == 0, "it ends");
	job_row_done(&got);
	ok(state_get_job(s, "j1", &got, &err) == 0 && got.state == JOB_FAILED &&
		   got.done == 1ull << 45 && got.skipped == 1ull << 44 &&
		   got.unreadable == 1ull << 43 && strcmp(got.log, "[\"x\"]") == 0 &&
		   strcmp(got.manifest, "{}") == 0 && strstr(got.message, "DROP TABLE"),
	   "with all that is said of it");
	job_row_done(&got);
	check_lists(s);
	check_leftovers(s, &disks[0]);
	ok(state_get_job(s, "j3", &got, &err) == -ENOENT, "a job that is not there");
	state_close(s);
}

static void test_commit(void)
{
	struct job_row j = {.id = "c1",
			    .kind = JOB_CAPTURE,
			    .state = JOB_RUNNING,
			    .image = "z",
			    .version = 1,
			    .seq = 1};
	struct version_row v = version("z", 1);
	struct job_row got = {.seq = 0};
	struct state *s = open_state();
	uint32_t next;

	j.manifest = (char *)"{}";
	ok(state_add_job(s, &j, NULL, 0, &err) == 0, "a job that is about to commit");
	ok(state_next_version(s, "z", &next, &err) == 0 && next == 2, "has taken its number");
	j.state = JOB_DONE;
	j.manifest = NULL;
	ok(state_add_version(s, &v, &err) == 0, "the version is there already");
	ok(state_commit_job(s, &j, &v, &err) == -EEXIST, "so it cannot be committed");
	ok(state_get_job(s, "c1", &got, &err) == 0 && got.state == JOB_RUNNING && got.manifest,
	   "and the job has not ended");
	job_row_done(&got);
	v = version("z", 2);
	ok(state_commit_job(s, &j, &v, &err) == 0 && listed(s, "z", "z1 z2 "), "another one can");
	ok(state_get_job(s, "c1", &got, &err) == 0 && got.state == JOB_DONE && !got.manifest,
	   "and the job has");
	job_row_done(&got);
	state_close(s);
}

/* ---- events */

static int note_event(void *arg, const struct event_row *e)
{
	uint64_t *n = arg;

	n[0]++;
	n[1] = e->id;
	return strcmp(e->event, "tick") == 0 ? 0 : -EILSEQ;
}

static void test_events(void)
{
	struct event_row e = {.at = 1, .event = "tick", .machine = "", .job = "", .text = "t"};
	struct state *s = open_state();
	uint64_t seen[2] = {0};
	bool good = true;

	for (int i = 0; i < 250; i++)
		good = good && state_add_event(s, &e, &err) == 0;
	ok(good && state_each_event(s, 0, 100, note_event, seen, &err) == 0 && seen[0] == 100 &&
		   seen[1] == 100,
	   "events, a hundred");
	seen[0] = 0;
	ok(state_each_event(s, 200, 100, note_event, seen, &err) == 0 && seen[0] == 50 &&
		   seen[1] == 250,
	   "and those after the 200th");
	state_close(s);
	run_sql("INSERT INTO events(id, at, event, machine, job, text) VALUES(20000,1,'tick','','','')");
	s = open_state();
	for (int i = 0; i < 100; i++)
		good = good && state_add_event(s, &e, &err) == 0;
	seen[0] = 0;
	ok(good && state_each_event(s, 0, 20000, note_event, seen, &err) == 0 && seen[0] == 101 &&
		   seen[1] == 20100,
	   "the oldest go when there are too many");
	state_close(s);
}

/* ---- how many */

static int count_job(void *arg, const struct job_row *j)
{
	uint32_t *seen = arg;

	seen[j->state == JOB_WAITING ? 0 : 1]++;
	return 0;
}

static void test_bounds(void)
{
	struct token_row t = {.id = "n", .uses = 1, .uses_left = 1, .created = 500};
	struct id hash = id_at(77);
	struct job_filter all = {0};
	struct job_row j = {.id = "n", .kind = JOB_GC, .state = JOB_WAITING};
	struct state *s = open_state();
	uint32_t seen[2] = {0};

	state_close(s);
	run_sql("DELETE FROM token_machines; DELETE FROM tokens; DELETE FROM job_disks; DELETE FROM jobs;"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
		" INSERT INTO tokens(id, hash, note, uses, uses_left, created, expires, revoked)"
		" SELECT 't' || i, CAST('h' || i AS BLOB), '', 1, 0, i, NULL, 0 FROM n;"
		"INSERT INTO token_machines(token, machine, at) VALUES('t7', 'm', 1);"
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10020)"
		" INSERT INTO jobs(id, kind, state, machine, machine_name, image, version, created,"
		" started, ended, end_action, level, phase, done, total, data, sent, code, message, seq)"
		" SELECT 'j' || i, 'gc', CASE WHEN i <= 10 THEN 'waiting' ELSE 'done' END, '', '', '', 0,"
		" 0, 0, 0, 'stay', 0, '', 0, 0, 0, 0, '', '', 0 FROM n;"
		"INSERT INTO job_disks(job, n, disk, size, overwrite, begun, partial, source_disk,"
		" source_size, source_sector_size, source_physical_sector_size, data_bytes,"
		" unreadable_bytes, sealed) VALUES('j11', 0, 'd', 1, 0, 0, 0, '', 1, 1, 1, 1, 0, 1)");
	s = open_state();
	ok(state_add_token(s, &t, &hash, &err) == -EUSERS, "a token too many");
	ok(state_revoke_token(s, "t7", &err) == 0 && state_add_token(s, &t, &hash, &err) == 0,
	   "takes the place of one that was revoked");
	ok(state_revoke_token(s, "t7", &err) == -ENOENT && state_revoke_token(s, "t8", &err) == 0,
	   "and of no other");
	ok(state_add_job(s, &j, NULL, 0, &err) == 0 &&
		   state_each_job(s, &all, count_job, seen, &err) == 0 && seen[0] == 11 &&
		   seen[1] == JOBS_KEPT,
	   "of jobs that have ended the last ones stay, and all others");
	printf("# %u, %u\n", seen[0], seen[1]);
	ok(state_get_job(s, "j20", &j, &err) == -ENOENT && state_get_job(s, "j21", &j, &err) == 0,
	   "the oldest go");
	job_row_done(&j);
	state_close(s);
}

int main(void)
{
	if (!mkdtemp(dir))
		return EXIT_FAILURE;
	(void)snprintf(path, sizeof(path), "%s/state.db", dir);
	test_open();
	test_migration();
	test_machines();
	test_tokens();
	test_changed_meanwhile();
	test_busy();
	test_ended_meanwhile();
	test_operators();
	test_audit();
	test_versions();
	test_jobs();
	test_commit();
	test_events();
	test_bounds();
	tree_remove(dir);
	return done();
}
