/* Queries: this program's functions stand in for those of libmicrohttpd, which would want a connection. */
#include "tests/lib/api_rig.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "server/api/api.h"
#include "server/fleet/private.h"
#include "tests/lib/store_fixture.h"

#define IMAGE	  "web"
#define FINGER	  "0000000000000000000000000000000000000000000000000000000000000000"
#define LINE_MAX_ 2048u
#define MACHINES  3u

static const char *const machines[MACHINES] = {"0000000000000000000000000000000a",
					       "0000000000000000000000000000000b",
					       "0000000000000000000000000000000c"};

static struct sample *sample;
static struct store *store;
static char state_path[128], template_path[128];
static char jobs[2][JOB_ID_SIZE]; /* A's capture, B's restore */
static char query[LINE_MAX_];
static bool is_image_gone; /* somebody removed it: the store is to be made anew */

uint64_t server_now_ms(void) /* server/main.c's */
{
	return fleet_now_ms();
}

static void must(int r, const struct err *err)
{
	if (r < 0) {
		(void)fprintf(stderr, "# %s\n", err->msg);
		abort();
	}
}

/* ---- queries */

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind,
					const char *key)
{
	static char value[LINE_MAX_];
	size_t len = strlen(key);

	(void)connection;
	for (const char *p = query; kind == MHD_GET_ARGUMENT_KIND && *p;) {
		size_t n = strcspn(p, "&");

		if (n > len && strncmp(p, key, len) == 0 && p[len] == '=') {
			(void)snprintf(value, sizeof(value), "%.*s", (int)(n - len - 1),
				       p + len + 1);
			if (strcmp(key, "wait") == 0 && strspn(value, "0123456789") > 0)
				return "0";
			return value;
		}
		p += n + (p[n] == '&');
	}
	return strcmp(key, "wait") == 0 ? "0" : NULL; /* nobody waits here */
}

int MHD_get_connection_values(struct MHD_Connection *connection, enum MHD_ValueKind kind,
			      MHD_KeyValueIterator iterator, void *iterator_cls)
{
	int n = 0;

	(void)connection;
	(void)iterator;
	(void)iterator_cls;
	for (const char *p = query; kind == MHD_GET_ARGUMENT_KIND && *p; n++) {
		p += strcspn(p, "&");
		p += *p == '&';
	}
	return n;
}

/* ---- what is there at first */

static struct state *open_state(void)
{
	struct state *s = NULL;
	struct err err;
	bool is_new;

	must(state_open(state_path, &s, &is_new, &err), &err);
	return s;
}

static struct fleet *open_fleet(struct state *s)
{
	struct fleet_config config = {
		.state = s,
		.store = store,
		.poll_s = 0,
		.stall_s = 100,
		.away_s = 100,
		.pairing = {.enabled = true, .life_s = 600, .max = 16, .per_peer_max = 8},
	};
	struct fleet *f = NULL;
	struct err err;

	must(fleet_open(&config, &f, &err), &err);
	return f;
}

static void enrol(struct state *state, struct fleet *fleet, const char *machine)
{
	CLEANUP_JSON json_t *inventory =
		json_pack("{s:[{s:s, s:I, s:i, s:b, s:b, s:s}]}", "disks", "id", "file:a", "size",
			  (json_int_t)sample->geometry.size, "sector_size", 512, "read_only", 0,
			  "empty", 1, "fingerprint", FINGER);
	struct registration reg = {.token = machine,
				   .machine = machine,
				   .name = machine,
				   .agent_version = "1",
				   .address = "x",
				   .inventory = inventory};
	struct token_row t = {.uses = 9, .uses_left = 9};
	struct id hash = id_of(machine, strlen(machine));
	char secret[SECRET_TEXT_SIZE];
	unsigned retry_s = 0;
	struct err err;

	(void)snprintf(t.id, sizeof(t.id), "%s", machine + 26);
	must(state_add_token(state, &t, &hash, &err), &err);
	must(fleet_register(fleet, &reg, secret, &retry_s, &err), &err);
}

static void order(struct fleet *fleet, const char *kind, const char *machine,
		  char ret_job[static JOB_ID_SIZE])
{
	CLEANUP_JSON json_t *body =
		json_pack("{s:s, s:s, s:s}", "kind", kind, "machine", machine, "image", IMAGE);
	CLEANUP_JSON json_t *job = NULL;
	struct err err;

	must(fleet_create_job(fleet, body, &job, &err), &err);
	(void)snprintf(ret_job, JOB_ID_SIZE, "%s", json_string_value(json_object_get(job, "id")));
}

static void capture(struct fleet *fleet, const char *machine, const char *id)
{
	struct job_disk_row sealed = {.geometry = sample->geometry,
				      .root = sample->root,
				      .data_bytes = sample->data_bytes};
	struct index_info info = {.geometry = sample->geometry};
	struct seal_result result = {0};
	struct partial *p = NULL;
	struct job *j = NULL;
	CLEANUP_JSON json_t *report = NULL;
	char root[ID_TEXT_SIZE];
	struct err err;

	must(fleet_acquire(fleet, machine, id, JOB_CAPTURE, &j, &err), &err);
	must(job_get_partial(fleet, j, 0, &p, &err), &err);
	for (uint32_t i = 0; i < sample->windows; i++)
		must(partial_set_one(p, i, &sample->nodes[i], &err), &err);
	must(partial_seal(p, &info, &sample->root, &result, &err), &err);
	must(job_set_sealed(fleet, j, 0, &sealed, &err), &err);
	fleet_release(fleet, j);
	id_to_text(&sample->root, root);
	report = json_pack("{s:[{s:s, s:s}]}", "disks", "disk", "file:a", "root", root);
	must(fleet_job_done(fleet, machine, id, report, &err), &err);
}

static void copy(const char *from, const char *to)
{
	CLEANUP_CLOSE int in = open(from, O_RDONLY | O_CLOEXEC);
	CLEANUP_CLOSE int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char buf[65536];
	ssize_t n;

	while ((n = read(in, buf, sizeof(buf))) > 0) {
		if (write(out, buf, (size_t)n) != n)
			abort();
	}
	if (n < 0 || out < 0)
		abort();
}

static void begin(void)
{
	struct state *state;
	struct fleet *fleet;

	log_set_level(LOG_ERROR);
	fixture_begin();
	(void)snprintf(state_path, sizeof(state_path), "%s/state.db", fixture_dir);
	(void)snprintf(template_path, sizeof(template_path), "%s/template.db", fixture_dir);
	if (!sample) {
		sample = sample_new(1, &sample_small);
		(void)atexit(fixture_end);
	}
	store = fixture_open(false);
	if (!fixture_put_all(store, sample))
		abort();
	state = open_state();
	fleet = open_fleet(state);
	for (unsigned i = 0; i < MACHINES; i++)
		enrol(state, fleet, machines[i]);
	order(fleet, "capture", machines[0], jobs[0]);
	capture(fleet, machines[0], jobs[0]);
	order(fleet, "capture", machines[0], jobs[0]);
	order(fleet, "restore", machines[1], jobs[1]);
	fleet_stop(fleet);
	fleet_close(fleet);
	state_close(state);
	copy(state_path, template_path);
}

/* The image is in the store again. */
static void renew_store(void)
{
	is_image_gone = false;
	store_close(store);
	tree_remove(fixture_dir);
	begin();
}

/* ---- requests */

struct request {
	const struct route *route;
	unsigned who;
	char path[3 * LINE_MAX_];
	const uint8_t *body;
	size_t size;
};

/* The text up to the next newline of the body, which is then shorter. */
static void take_line(struct request *q, char ret[static LINE_MAX_])
{
	const uint8_t *end = q->size ? memchr(q->body, '\n', q->size) : NULL;
	size_t n = end ? (size_t)(end - q->body) : q->size;
	size_t skip = end ? n + 1 : n;

	(void)snprintf(ret, LINE_MAX_, "%.*s", (int)(n < LINE_MAX_ ? n : LINE_MAX_ - 1),
		       (const char *)q->body);
	q->body += skip;
	q->size -= skip;
}

static void first_part(struct request *q, unsigned which, char ret[static LINE_MAX_])
{
	if (which == 3)
		take_line(q, ret);
	else
		(void)snprintf(ret, LINE_MAX_, "%s", jobs[which == 0 ? q->who % 2 : which - 1]);
}

static void second_part(struct request *q, unsigned which, char ret[static LINE_MAX_])
{
	struct id id = id_of(q->body, q->size);

	if (which == 3)
		take_line(q, ret);
	else if (which == 2)
		id_to_text(&id, ret);
	else
		(void)snprintf(ret, LINE_MAX_, "%u", which);
}

static void make_path(struct request *q, uint8_t choice)
{
	const char *p = q->route->path;
	char part[LINE_MAX_];
	size_t n = 0;

	for (unsigned parts = 0; *p; p++) {
		if (*p != '{') {
			q->path[n++] = *p;
			continue;
		}
		p++;
		if (parts++ == 0)
			first_part(q, choice >> 2 & 3, part);
		else
			second_part(q, choice >> 4 & 3, part);
		n += (size_t)snprintf(q->path + n, sizeof(q->path) - n - 64, "%s", part);
	}
	q->path[n] = '\0';
}

static void check_answer(const struct call *c)
{
	char *text = c->answer_json ? json_dumps(c->answer_json, JSON_COMPACT) : NULL;

	if (c->status == 0 || c->status == 500 || c->status == 503 || (c->answer_json && !text) ||
	    (c->answer_json && c->parts_len > 0)) {
		(void)fprintf(stderr, "# %s: %u %s\n", c->match.route->path, c->status,
			      text ? text : "");
		abort();
	}
	free(text);
}

static void call_done(struct call *c)
{
	for (size_t i = 0; i < c->parts_len; i++)
		free(c->parts[i].data);
	free(c->parts);
	json_decref(c->answer_json);
	json_decref(c->json);
}

static void perform(struct server *s, struct http_server *http, const struct request *q)
{
	CLEANUP_FREE uint8_t *body = malloc(q->size + 1);
	struct call c = {.app = s, .http = http, .body = body, .body_size = q->size};
	const struct route *r;
	struct err err;
	bool go = body && route_find(api_routes, api_routes_len, q->route->method, q->path,
				     &c.match) == ROUTE_FOUND;

	if (!go)
		return;
	r = c.match.route;
	memcpy(body, q->body, q->size);
	body[q->size] = '\0';
	(void)snprintf(c.peer, sizeof(c.peer), "192.0.2.1");
	(void)snprintf(c.machine, sizeof(c.machine), "%s",
		       r->auth == AUTH_AGENT ? machines[q->who % MACHINES] : "");
	c.caller = (struct caller){CALLER_FILE, ROLE_ADMIN, CALLER_FILE_NAME, "", 0};
	go = q->size <= r->body_max && (r->body != BODY_NONE || q->size == 0);
	if (go && r->body == BODY_JSON)
		go = json_parse((const char *)body, q->size, r->body_max, &c.json, &err) == 0;
	if (go) {
		r->handle(&c);
		api_answered(&c);
		check_answer(&c);
		is_image_gone = is_image_gone || (r->handle == api_remove_image && c.status < 300);
	}
	call_done(&c);
	call_release(&c);
}

static void perform_all(struct server *s, struct http_server *http, const uint8_t *data,
			size_t size, bool operators)
{
	struct reader in;

	reader_init(&in, data, size);
	while (in.left >= 4) {
		uint8_t number = reader_u8(&in), choice = reader_u8(&in);
		uint16_t length = reader_u16(&in);
		size_t n = length < in.left ? length : in.left;
		struct request q = {.route = &api_routes[number % api_routes_len],
				    .who = choice & 3u,
				    .body = reader_bytes(&in, n),
				    .size = n};

		query[0] = '\0';
		make_path(&q, choice);
		if (choice & 0x40)
			take_line(&q, query);
		if (operators || q.route->auth < AUTH_VIEWER)
			perform(s, http, &q);
	}
}

static void forget_jobs(void)
{
	char key[64];

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned n = 0; n < 2; n++) {
			(void)snprintf(key, sizeof(key), "%s.%u", jobs[i], n);
			partial_remove(store, key);
		}
	}
}

void api_rig_run(const uint8_t *data, size_t size, bool operators)
{
	struct config config = {.poll_s = 1, .stall_s = 100, .data = fixture_data};
	struct http_config http_config = {.memory_max = 1ull << 32};
	struct server s = {.config = &config, .name = "n", .store = NULL};
	struct access_config access = {
		.cost = {8192, 1}, .session_idle_s = 60, .session_life_s = 600};
	struct http_server *http = NULL;
	char extra[160];
	struct err err;

	if (!store)
		begin();
	if (is_image_gone)
		renew_store();
	for (unsigned i = 0; i < 2; i++) { /* of the former one */
		(void)snprintf(extra, sizeof(extra), "%s-%s", state_path, i ? "wal" : "shm");
		(void)unlink(extra);
	}
	copy(template_path, state_path);
	must(http_server_start(&http_config, NULL, 0, &http, &err), &err);
	s.store = store;
	s.state = open_state();
	s.fleet = open_fleet(s.state);
	rumours_init(&s.rumours);
	access.state = s.state;
	must(access_open(&access, &s.access, &err), &err);
	s.audit = audit_new(s.state);
	if (!s.audit)
		abort();
	perform_all(&s, http, data, size, operators);
	http_server_stop(http);
	fleet_stop(s.fleet);
	fleet_close(s.fleet);
	access_close(s.access);
	audit_free(s.audit);
	state_close(s.state);
	forget_jobs();
}
