/* Agents: registering, orders, progress, the end of a job. */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/limits.h"
#include "common/text.h"
#include "server/api/api.h"

#define SECRET_MAX     128u
#define VERSION_MAX    (AGENT_VERSION_SIZE - 1)
#define MACHINE_DIGITS (MACHINE_ID_SIZE - 1)

bool api_is_hex(const char *text, size_t len)
{
	return strlen(text) == len && strspn(text, "0123456789abcdef") == len;
}

bool api_is_plain(const char *text, size_t max)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++) {
		if (text[i] < 0x20 || text[i] > 0x7e)
			return false;
	}
	return n >= 1 && n <= max;
}

static int read_registration(const json_t *body, struct registration *reg, struct err *err)
{
	int r = json_opt_str(body, "token", SECRET_MAX, &reg->token, err);

	if (r == 0)
		r = json_opt_str(body, "secret", SECRET_MAX, &reg->secret, err);
	if (r == 0)
		r = json_opt_str(body, "pairing", SECRET_MAX, &reg->pairing, err);
	if (r == 0)
		r = json_get_str(body, "machine_id", MACHINE_DIGITS, &reg->machine, err);
	if (r == 0)
		r = json_get_str(body, "name", NAME_MAX_LEN, &reg->name, err);
	if (r == 0)
		r = json_get_str(body, "agent_version", VERSION_MAX, &reg->agent_version, err);
	if (r == 0)
		r = json_get_object(body, "inventory", &reg->inventory, err);
	if (r < 0)
		return r;
	if (!api_is_hex(reg->machine, MACHINE_DIGITS))
		return err_set(err, API_BAD_REQUEST, "field 'machine_id' is not 32 hex digits");
	if (!api_is_plain(reg->name, NAME_MAX_LEN))
		return err_set(err, API_BAD_REQUEST,
			       "field 'name' is not 1 to 64 printable ASCII characters");
	if (!api_is_plain(reg->agent_version, VERSION_MAX))
		return err_set(err, API_BAD_REQUEST,
			       "field 'agent_version' is not 1 to 32 printable ASCII characters");
	return 0;
}

void api_register(struct call *c)
{
	struct server *s = call_server(c);
	struct registration reg = {.address = c->peer};
	char secret[SECRET_TEXT_SIZE];
	unsigned retry_s = 0;
	struct err err;
	int r = read_registration(c->json, &reg, &err);

	if (r == 0)
		r = fleet_register(s->fleet, &reg, secret, &retry_s, &err);
	if (r < 0) {
		call_fail_err(c, &err);
		if (retry_s > 0)
			c->retry_after_s = retry_s;
		return;
	}
	call_answer(c, 200,
		    json_pack("{s:s, s:s, s:I, s:I, s:I}", "machine", reg.machine, "secret", secret,
			      "poll_s", (json_int_t)s->config->poll_s, "stall_s",
			      (json_int_t)s->config->stall_s, "renew_s",
			      (json_int_t)s->config->renew_s));
	explicit_bzero(secret, sizeof(secret));
}

void api_renew(struct call *c)
{
	struct server *s = call_server(c);
	struct session_proof proof = {.shown = c->shown, .session = c->session};
	char secret[SECRET_TEXT_SIZE];
	struct err err;

	memcpy(proof.machine, c->machine, sizeof(proof.machine));
	if (fleet_renew(s->fleet, &proof, secret, &err) < 0) {
		call_fail_err(c, &err);
		return;
	}
	call_answer(c, 200,
		    json_pack("{s:s, s:s, s:I}", "machine", proof.machine, "secret", secret,
			      "renew_s", (json_int_t)s->config->renew_s));
	explicit_bzero(secret, sizeof(secret));
}

void api_poll(struct call *c)
{
	const char *state, *job = NULL;
	json_t *answer = NULL;
	struct err err;
	int r = json_get_str(c->json, "state", 8, &state, &err);

	if (r == 0)
		r = json_opt_str(c->json, "job", JOB_ID_SIZE - 1, &job, &err);
	if (r == 0 && strcmp(state, "idle") != 0 && strcmp(state, "busy") != 0)
		r = err_set(&err, API_BAD_REQUEST, "field 'state' is neither 'idle' nor 'busy'");
	if (r == 0 && (strcmp(state, "busy") == 0) != (job != NULL))
		r = err_set(&err, API_BAD_REQUEST, "only a busy agent names its job");
	if (r == 0)
		r = fleet_poll(call_server(c)->fleet, c->machine, job, &answer, &err);
	api_answer(c, r, 200, answer, &err);
}

static int check_phase(const char *phase, struct err *err)
{
	static const char *const phases[] = {"check", "capture", "restore", "verify", "finish"};

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (strcmp(phase, phases[i]) == 0)
			return 0;
	}
	return err_set(err, API_BAD_REQUEST, "field 'phase' is '%.16s', which is no phase", phase);
}

static int check_bottleneck(const char *name, struct err *err)
{
	static const char *const names[] = {"disk", "cpu", "network", "server"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!name || strcmp(name, names[i]) == 0)
			return 0;
	}
	return err_set(err, API_BAD_REQUEST, "field 'bottleneck' is '%.16s', which is none", name);
}

static int check_log(const json_t *log, struct err *err)
{
	const json_t *line;
	size_t i;

	json_array_foreach((json_t *)log, i, line)
	{
		if (!json_is_string(line) || json_string_length(line) > LOG_LINE_MAX) {
			return err_set(err, API_BAD_REQUEST,
				       "field 'log', line %zu is no text of at most %u bytes", i,
				       LOG_LINE_MAX);
		}
	}
	return 0;
}

/* "unreadable" and "rescue": agents before they were specified send neither. */
static int read_rescue(const json_t *body, struct progress *p, struct err *err)
{
	static const char *const passes[] = {"copy", "trim", "scrape", "retry"};
	const json_t *rescue = NULL;
	bool known = false;
	int r = json_opt_u64(body, "unreadable", 0, INT64_MAX, &p->unreadable, err);

	if (r == 0)
		r = json_opt_object(body, "rescue", &rescue, err);
	if (r < 0 || !rescue)
		return r;
	r = json_opt_str(rescue, "pass", PHASE_SIZE - 1, &p->rescue_pass, err);
	if (r == 0)
		r = json_opt_u64(rescue, "left", 0, INT64_MAX, &p->sick, err);
	if (r == 0)
		r = json_opt_u64(rescue, "read_errors", 0, INT64_MAX, &p->read_errors, err);
	for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++)
		known = known || !p->rescue_pass || strcmp(p->rescue_pass, passes[i]) == 0;
	if (r == 0 && !known)
		r = err_set(err, API_BAD_REQUEST, "field 'pass' is '%.16s', which is none",
			    p->rescue_pass);
	return r;
}

static int read_progress(const json_t *body, struct progress *p, struct err *err)
{
	uint64_t disk = UINT64_MAX;
	int r = json_get_str(body, "phase", PHASE_SIZE - 1, &p->phase, err);

	if (r == 0)
		r = check_phase(p->phase, err);
	if (r == 0)
		r = json_opt_u64(body, "disk", 0, JOB_DISKS_MAX - 1, &disk, err);
	if (r == 0)
		r = json_opt_u64(body, "done", 0, INT64_MAX, &p->done, err);
	if (r == 0)
		r = json_opt_u64(body, "total", 0, INT64_MAX, &p->total, err);
	if (r == 0)
		r = json_opt_u64(body, "data", 0, INT64_MAX, &p->data, err);
	if (r == 0)
		r = json_opt_u64(body, "sent", 0, INT64_MAX, &p->sent, err);
	if (r == 0)
		r = json_opt_u64(body, "skipped", 0, INT64_MAX, &p->skipped, err);
	if (r == 0)
		r = read_rescue(body, p, err);
	if (r == 0)
		r = json_opt_str(body, "bottleneck", PHASE_SIZE - 1, &p->bottleneck, err);
	if (r == 0)
		r = check_bottleneck(p->bottleneck, err);
	if (r == 0)
		r = json_opt_array(body, "log", LOG_LINES_MAX, &p->log, err);
	if (r == 0)
		r = check_log(p->log, err);
	if (r == 0)
		r = json_opt_array(body, "begun", JOB_DISKS_MAX, &p->begun, err);
	if (r == 0)
		r = json_opt_array(body, "released", JOB_DISKS_MAX, &p->released, err);
	p->disk = disk == UINT64_MAX ? -1 : (int64_t)disk;
	return r;
}

void api_progress(struct call *c)
{
	struct progress p = {0};
	bool cancel = false;
	struct err err;
	int r = read_progress(c->json, &p, &err);

	if (r == 0)
		r = fleet_progress(call_server(c)->fleet, c->machine, c->match.params[0], &p,
				   &cancel, &err);
	api_answer(c, r, 200, json_pack("{s:b}", "cancel", (int)cancel), &err);
}

void api_done(struct call *c)
{
	const json_t *report = NULL;
	struct err err;
	int r = json_opt_object(c->json, "report", &report, &err);

	if (r == 0)
		r = fleet_job_done(call_server(c)->fleet, c->machine, c->match.params[0], report,
				   &err);
	api_answer(c, r, 200, json_object(), &err);
}

void api_failed(struct call *c)
{
	const char *code, *message;
	char reason[MESSAGE_SIZE];
	const json_t *report = NULL;
	struct err err;
	int r = json_get_str(c->json, "code", CODE_SIZE - 1, &code, &err);

	if (r == 0 && (!*code || strspn(code, "abcdefghijklmnopqrstuvwxyz_") != strlen(code)))
		r = err_set(&err, API_BAD_REQUEST, "field 'code' is not in snake_case");
	if (r == 0)
		r = json_get_str(c->json, "message", JSON_MAX, &message, &err);
	if (r == 0)
		r = json_opt_object(c->json, "report", &report, &err);
	if (r == 0) { /* cut, not refused: what cannot end is begun again */
		(void)text_clean(reason, sizeof(reason), message, strlen(message));
		r = fleet_job_failed(call_server(c)->fleet, c->machine, c->match.params[0], code,
				     reason, report, &err);
	}
	api_answer(c, r, 200, json_object(), &err);
}
