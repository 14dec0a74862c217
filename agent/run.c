/* run.c - find the server, register, wait for orders, carry them out, for ever.
 *
 * Threads: this one; one that waits for signals; one that announces (discover.c); during a job the heartbeat's two and the workers.  A signal ends
 * the program, not the job: whoever starts the agent again gets the same order and goes on. */
#include "agent/run.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/console.h"
#include "agent/discover.h"
#include "agent/end.h"
#include "agent/heartbeat.h"
#include "agent/link.h"
#include "agent/session.h"
#include "agent/wire.h"
#include "agent/work.h"
#include "common/beacon.h"
#include "common/cleanup.h"

struct agent {
	struct config config;
	struct console *console;
	char machine_id[MACHINE_ID_LEN + 1];
	char name[NAME_MAX_LEN + 1];
	struct session *session;
	struct discover *discover; /* NULL: none */
	struct link *link;
	pthread_t signals;
	bool has_signals;
	atomic_bool quit;
	pthread_mutex_t lock; /* over job */
	struct job *job;      /* the one under way */
};

static void say(void *ctx, const char *line)
{
	console_line(((struct agent *)ctx)->console, line);
}

/* ---- signals */

static void quit(struct agent *a)
{
	atomic_store(&a->quit, true);
	link_interrupt(a->link);
	(void)pthread_mutex_lock(&a->lock);
	if (a->job)
		job_stop(a->job, JOB_QUIT);
	(void)pthread_mutex_unlock(&a->lock);
}

static void ending_signals(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGTERM);
	(void)sigaddset(ret, SIGINT);
	(void)sigaddset(ret, SIGHUP);
	(void)sigaddset(ret, SIGUSR1); /* our own: nothing more to wait for */
}

static void *wait_for_signals(void *arg)
{
	struct agent *a = arg;
	sigset_t set;
	int signal = 0;

	ending_signals(&set);
	(void)sigwait(&set, &signal);
	if (signal != SIGUSR1)
		quit(a);
	return NULL;
}

static int start_signals(struct agent *a, struct err *err)
{
	int r = pthread_create(&a->signals, NULL, wait_for_signals, a);

	if (r != 0)
		return err_set(err, -r, "start a thread: %s", strerrordesc_np(r));
	a->has_signals = true;
	return 0;
}

/* ---- who we are */

static void host_name(char ret[static NAME_MAX_LEN + 1])
{
	struct utsname u;

	ret[0] = '\0';
	if (uname(&u) == 0)
		(void)snprintf(ret, NAME_MAX_LEN + 1, "%s", u.nodename);
}

/* The name given, else the host name, unless that is the live image's own; else model and serial number. */
static void choose_name(struct agent *a, const struct inventory *i)
{
	const struct smbios *s = &i->smbios;
	char host[NAME_MAX_LEN + 1];

	host_name(host);
	if (a->config.name || a->config.hostname) {
		(void)snprintf(a->name, sizeof(a->name), "%s",
			       a->config.name ? a->config.name : a->config.hostname);
	} else if (!a->config.image && host[0]) {
		(void)snprintf(a->name, sizeof(a->name), "%s", host);
	} else if (s->product[0]) {
		(void)snprintf(a->name, sizeof(a->name), "%.31s%s%.31s", s->product,
			       s->serial[0] ? " " : "", s->serial);
	} else {
		(void)snprintf(a->name, sizeof(a->name), "machine %.8s", a->machine_id);
	}
	for (char *p = a->name; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
}

static int look_around(struct agent *a, struct inventory **ret, struct err *err)
{
	struct inventory_options o = {
		.id = a->config.id,
		.disks = a->config.disks.items,
		.disks_len = a->config.disks.len,
	};
	struct inventory *i = calloc(1, sizeof(*i));
	int r = i ? inventory_collect(&o, i, err) : err_set(err, -ENOMEM, "out of memory");

	if (r < 0) {
		free(i);
		return r;
	}
	*ret = i;
	return 0;
}

static void inventory_freep(struct inventory **i)
{
	if (*i)
		inventory_done(*i);
	free(*i);
}

/* For the next registration. */
static int refresh_inventory(struct agent *a, struct err *err)
{
	CLEANUP(inventory_freep) struct inventory *i = NULL;
	json_t *json;
	int r = look_around(a, &i, err);

	if (r < 0)
		return r;
	json = inventory_to_json(i);
	if (!json)
		return err_set(err, -ENOMEM, "out of memory");
	session_set_inventory(a->session, json);
	return 0;
}

static void introduce(struct agent *a, const struct inventory *i)
{
	char amount[CONSOLE_AMOUNT_SIZE];

	console_say(a->console, "hoist-agent %s, machine '%s', id %s", HOIST_VERSION, a->name,
		    a->machine_id);
	for (size_t n = 0; n < i->disks.len; n++) {
		const struct disk *d = &i->disks.disks[n];

		console_say(a->console, "disk %s, %s, %s", d->name, console_amount(d->size, amount),
			    d->id);
	}
	if (i->disks.len == 0)
		console_say(a->console, "there is no disk in this machine");
	for (size_t n = 0; n < i->nics.len; n++)
		console_say(a->console, "network card %s, %s", i->nics.nics[n].name,
			    i->nics.nics[n].mac);
}

/* ---- the server */

static void on_found(void *ctx, const char *url, const char *name)
{
	struct agent *a = ctx;

	(void)name;
	session_offer(a->session, url);
}

static void on_up(void *ctx, bool up)
{
	struct agent *a = ctx;
	bool idle;

	if (a->discover)
		discover_want(a->discover, !up);
	(void)pthread_mutex_lock(&a->lock);
	idle = !a->job;
	(void)pthread_mutex_unlock(&a->lock);
	if (up && idle && session_is_registered(a->session))
		console_say(a->console, "waiting for orders");
}

static int start_discovery(struct agent *a, struct err *err)
{
	struct discover_setup setup = {
		.name = a->name,
		.port = (uint16_t)a->config.discovery_port,
		.interfaces = &a->config.interfaces,
		.found = on_found,
		.say = say,
		.ctx = a,
	};
	struct http_target t = {.pin = ""};
	int r = 0;

	if (!a->config.discovery)
		return 0;
	if (a->config.pin) {
		r = http_target_set_pin(&t, a->config.pin, err);
		setup.has_key = r == 0 && hex_decode(t.pin, setup.key, sizeof(setup.key));
	}
	if (r == 0 && !hex_decode(a->machine_id, setup.machine, sizeof(setup.machine)))
		r = err_set(err, -EINVAL, "the machine's id is not 32 hex digits");
	if (r == 0)
		r = discover_start(&setup, &a->discover, err);
	if (r == 0)
		discover_want(a->discover, true);
	return r;
}

/* Bare media: there is no key to trust, and no token.  Say so and be seen; pairing will have its place here. */
static int announce_only(struct agent *a, struct err *err)
{
	int r;

	console_say(
		a->console,
		"this medium was not made for a server (no pin, no token), so none is talked to");
	console_say(a->console,
		    "personalise it with 'hoist iso', or boot with hoist.pin= and hoist.token=");
	if (!a->config.discovery)
		return err_set(err, -EINVAL,
			       "there is no pin, and discovery is off: nothing to do");
	r = start_discovery(a, err);
	if (r == 0) {
		sigset_t set;
		int signal;

		ending_signals(&set);
		(void)sigwait(&set, &signal);
	}
	return r;
}

/* ---- jobs */

static enum codec choose_codec(struct agent *a, struct err *err)
{
	struct http_call call = {"GET", "/v1/info", NULL, 0};
	CLEANUP_JSON json_t *info = NULL;

	return link_json(a->link, &call, &info, NULL, err) < 0 ? CODEC_ZLIB
							       : wire_codec_decode(info);
}

static const char *const outcome_words[] = {"done", "failed", "cancelled", "interrupted"};

/* Tell the server how it ended. -EREMOTEIO: it does not want to know (any more). */
static int tell_outcome(struct agent *a, struct job *job, const struct outcome *o, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:O*}", "report", o->report);
	char path[96];
	struct http_call call = {"POST", path, body, 600};
	int r;

	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	r = heartbeat_send(a->link, job, err); /* the last lines */
	if (r < 0 && r != -EREMOTEIO)
		return r;
	if (o->kind == OUTCOME_FAILED) {
		(void)json_object_set_new(body, "code", json_string(o->code));
		(void)json_object_set_new(body, "message", json_string(o->message));
	}
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/%s", job->id,
		       o->kind == OUTCOME_FAILED ? "failed" : "done");
	return link_json(a->link, &call, NULL, NULL, err);
}

static void set_job(struct agent *a, struct job *job)
{
	(void)pthread_mutex_lock(&a->lock);
	a->job = job;
	(void)pthread_mutex_unlock(&a->lock);
	if (job && atomic_load(&a->quit))
		job_stop(job, JOB_QUIT);
}

static void say_outcome(struct agent *a, const struct order *order, const struct outcome *o)
{
	console_say(a->console, "job %s, %s: %s", order->job, job_kind_name(order->kind),
		    outcome_words[o->kind]);
	if (o->kind != OUTCOME_DONE)
		console_line(a->console, o->message);
}

/* One order from beginning to end.  *ret_kind: how it ended, as the server sees it. */
static int do_order(struct agent *a, const struct order *order, enum outcome_kind *ret_kind,
		    struct err *err)
{
	struct job job;
	struct heartbeat *beat = NULL;
	struct work w = {.config = &a->config, .session = a->session, .order = order, .job = &job};
	struct outcome o = {.kind = OUTCOME_QUIT};
	int r;

	job_init(&job, order->job);
	job.on_line = say;
	job.ctx = a;
	set_job(a, &job);
	w.codec = choose_codec(a, err);
	console_say(a->console, "job %s: %s of %u disk%s", order->job, job_kind_name(order->kind),
		    order->disks_len, order->disks_len == 1 ? "" : "s");
	r = heartbeat_start(a->session, &job, a->console, (unsigned)a->config.progress_ms, &beat,
			    err);
	if (r == 0)
		work_run(&w, &o);
	heartbeat_stop(beat);
	if (r == 0)
		say_outcome(a, order, &o);
	if (r == 0 && (o.kind == OUTCOME_DONE || o.kind == OUTCOME_FAILED))
		r = tell_outcome(a, &job, &o, err);
	if (r == -EREMOTEIO) {
		console_say(a->console, "the server does not take the end of the job: %s",
			    err->msg);
		o.kind = o.kind == OUTCOME_DONE ? OUTCOME_FAILED : o.kind;
		r = 0;
	}
	set_job(a, NULL);
	json_decref(o.report);
	job_done(&job);
	*ret_kind = o.kind;
	return r;
}

/* An order that is not understood is refused in its own name, or the job would wait for ever. */
static void refuse_order(struct agent *a, const json_t *order, const char *why)
{
	const char *id = json_string_value(json_object_get(order, "job"));
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:s}", "code", "bad_request", "message", why);
	char path[96];
	struct http_call call = {"POST", path, body, 0};
	struct err err;

	if (!id || strlen(id) != JOB_ID_SIZE - 1 || strspn(id, "0123456789abcdef") != strlen(id) ||
	    !body)
		return;
	(void)snprintf(path, sizeof(path), "/v1/agent/jobs/%s/failed", id);
	if (link_json(a->link, &call, NULL, NULL, &err) < 0)
		console_say(a->console, "refusing an order: %s", err.msg);
}

/* The next order, or none when the poll was over without one. */
static int poll_order(struct agent *a, struct order *ret, bool *ret_has, struct err *err)
{
	CLEANUP_JSON json_t *body = json_pack("{s:s, s:n}", "state", "idle", "job");
	CLEANUP_JSON json_t *answer = NULL;
	struct http_call call = {"POST", "/v1/agent/poll", body, session_poll_s(a->session) + 30};
	const json_t *order = NULL;
	int r;

	*ret_has = false;
	if (!body)
		return err_set(err, -ENOMEM, "out of memory");
	r = link_json(a->link, &call, &answer, NULL, err);
	if (r == 0)
		r = json_opt_object(answer, "order", &order, err);
	if (r == 0 && order) {
		r = order_decode(order, ret, err);
		*ret_has = r == 0;
		if (r < 0)
			refuse_order(a, order, err->msg);
	}
	return r;
}

/* Not in a hurry, but not deaf. */
static void rest(struct agent *a)
{
	for (unsigned i = 0; i < 50 && !atomic_load(&a->quit); i++)
		(void)usleep(100000);
}

/* Orders for as long as there is a reason to go on.  *ret_status: for --once. */
static int serve(struct agent *a, int *ret_status, struct err *err)
{
	while (!atomic_load(&a->quit)) {
		struct order order = {.disks = NULL};
		enum outcome_kind kind;
		bool has = false;
		int r = poll_order(a, &order, &has, err);

		if (r == -ECANCELED)
			return 0;
		if (r < 0) {
			console_say(a->console, "asking for orders: %s", err->msg);
			rest(a); /* a server gone mad */
			continue;
		}
		if (!has)
			continue;
		r = do_order(a, &order, &kind, err);
		if (r == 0 && kind == OUTCOME_DONE)
			end_machine(order.end, a->config.image, a->console);
		order_done(&order);
		if (r < 0 && r != -ECANCELED)
			return r;
		if (a->config.once) {
			*ret_status = r == 0 && kind == OUTCOME_DONE ? EXIT_SUCCESS : EXIT_FAILURE;
			return 0;
		}
		/* a restored disk looks different now */
		if (refresh_inventory(a, err) == 0)
			session_expire(a->session);
		console_say(a->console, "waiting for orders");
	}
	return 0;
}

/* ---- start and end */

static int start(struct agent *a, struct err *err)
{
	CLEANUP(inventory_freep) struct inventory *i = NULL;
	struct session_setup setup = {.url = a->config.server,
				      .pin = a->config.pin,
				      .machine_id = a->machine_id,
				      .name = a->name,
				      .token = a->config.token,
				      .state_dir = a->config.state,
				      .say = say,
				      .is_up = on_up,
				      .ctx = a};
	json_t *json;
	int r = look_around(a, &i, err);

	if (r < 0)
		return r;
	if (!i->machine_id[0]) {
		return err_set(err, -ENODATA,
			       "nothing in this machine tells it from others (no system UUID, no "
			       "network card): give it an id with --id (hoist.id=)");
	}
	(void)snprintf(a->machine_id, sizeof(a->machine_id), "%s", i->machine_id);
	choose_name(a, i);
	introduce(a, i);
	if (!a->config.pin)
		return 0;
	r = session_new(&setup, &a->session, err);
	if (r < 0)
		return r;
	json = inventory_to_json(i);
	a->link = json ? link_new(a->session) : NULL;
	if (!json || !a->link)
		return err_set(err, -ENOMEM, "out of memory");
	session_set_inventory(a->session, json);
	return 0;
}

static int run(struct agent *a, int *ret_status, struct err *err)
{
	int r = start(a, err);

	if (r < 0)
		return r;
	if (!a->config.pin)
		return announce_only(a, err);
	r = start_signals(a, err);
	if (r == 0)
		r = start_discovery(a, err);
	if (r == 0 && !a->config.server)
		console_say(a->console, "looking for the server with the key %s", a->config.pin);
	return r == 0 ? serve(a, ret_status, err) : r;
}

static void agent_done(struct agent *a)
{
	if (a->has_signals) {
		(void)pthread_kill(a->signals, SIGUSR1);
		(void)pthread_join(a->signals, NULL);
	}
	discover_stop(a->discover);
	link_free(a->link);
	session_free(a->session);
	console_free(a->console);
	config_done(&a->config);
	(void)pthread_mutex_destroy(&a->lock);
}

static void print_help(void)
{
	(void)fputs(
		"Usage: hoist-agent run [OPTION...]\n\n"
		"Find the server, register this machine, and do what is ordered there: capture its\n"
		"disks, or restore an image onto them.  Ends only when told to.\n\n",
		stdout);
	settings_print_help(&config_table, stdout);
	(void)fputs(
		"\nSettings are also read from the kernel line (hoist.KEY=VALUE) and, in the live\n"
		"image, from /hoist.d/settings (KEY=VALUE); the command line counts most.\n\n"
		"Example, plain files in place of disks, no privileges needed:\n"
		"  hoist-agent run --server https://127.0.0.1:4647 --pin FINGERPRINT \\\n"
		"      --token TOKEN --disk a.img --disk b.img\n",
		stdout);
}

static void warn_early(void *ctx, const char *line)
{
	(void)ctx;
	(void)fprintf(stderr, "hoist-agent: %s\n", line);
}

int run_main(int argc, char **argv)
{
	struct agent a = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct err err = {0};
	int status = EXIT_SUCCESS, r;
	sigset_t set;

	r = config_load(&a.config, argc - 1, argv + 1, warn_early, NULL, &err);
	if (r != 0) {
		config_done(&a.config);
		if (r > 0) {
			print_help();
			return EXIT_SUCCESS;
		}
		(void)fprintf(stderr, "hoist-agent: %s. Try 'hoist-agent run --help'.\n", err.msg);
		return 2;
	}
	a.console = console_new(&a.config.consoles);
	ending_signals(&set);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL); /* before any thread: they inherit it */
	(void)signal(SIGPIPE, SIG_IGN);
	r = a.console ? run(&a, &status, &err) : err_set(&err, -ENOMEM, "out of memory");
	if (r < 0) {
		(void)fprintf(stderr, "hoist-agent: %s\n", err.msg);
		status = EXIT_FAILURE;
	}
	agent_done(&a);
	return status;
}
