/* run.c - find the server, register, wait for orders, carry them out, for ever.
 *
 * Threads: this one; one that waits for signals; one that announces (discover.c); during a job the heartbeat's two and the workers.  A signal ends
 * the program, not the job: whoever starts the agent again gets the same order and goes on. */
#include "agent/run.h"

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config.h"
#include "agent/console.h"
#include "agent/discover.h"
#include "agent/end.h"
#include "agent/introduce.h"
#include "agent/inventory.h"
#include "agent/link.h"
#include "agent/look.h"
#include "agent/machine_name.h"
#include "agent/orders.h"
#include "agent/pair.h"
#include "agent/paired.h"
#include "agent/session.h"
#include "common/beacon.h"
#include "common/cleanup.h"

struct agent {
	struct config config;
	struct console *console;
	char machine_id[MACHINE_ID_LEN + 1];
	char name[NAME_MAX_LEN + 1];
	struct session *session;
	struct discover *discover; /* NULL: none */
	pthread_t signals;
	bool has_signals;
	atomic_bool quit;
	char pin[PIN_TEXT_SIZE]; /* of the settings, or "" */
	bool is_paired;		 /* the server is one that this machine was paired with */
	uint64_t devices_seen;	 /* when the list of disks was made */
	atomic_bool is_unknown;	 /* and it does not know this machine any more */
	pthread_mutex_t lock;	 /* over what follows */
	struct link *link;
	struct orders *orders;
	struct pair *pair; /* while there is no server yet */
};

static void say(void *ctx, const char *line)
{
	console_line(((struct agent *)ctx)->console, line);
}

/* ---- signals */

/* Whatever waits for a server, or works for it, returns soon. */
static void interrupt(struct agent *a)
{
	(void)pthread_mutex_lock(&a->lock);
	if (a->pair)
		pair_interrupt(a->pair);
	if (a->link)
		link_interrupt(a->link);
	if (a->orders)
		orders_stop(a->orders);
	(void)pthread_mutex_unlock(&a->lock);
}

static void quit(struct agent *a)
{
	atomic_store(&a->quit, true);
	interrupt(a);
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

/* ---- what there is in this machine */

/* In the live image: there nobody else makes and removes devices. */
static bool has_news(void *ctx)
{
	const struct agent *a = ctx;

	return a->config.image && look_for_devices() != a->devices_seen;
}

/* For the next registration. */
static int refresh_inventory(void *ctx, struct err *err)
{
	struct agent *a = ctx;
	CLEANUP(inventory_freep) struct inventory *i = NULL;
	json_t *json;
	int r = look_around(&a->config, a->console, &i, &a->devices_seen, err);

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
	introduce_machine(i, a->name, a->console);
	if (a->config.image)
		end_boot_medium(a->config.eject, a->console);
}

/* ---- the server */

static void on_found(void *ctx, const char *url, const char *name)
{
	struct agent *a = ctx;

	if (a->session) {
		session_offer(a->session, url);
		return;
	}
	(void)pthread_mutex_lock(&a->lock);
	if (a->pair)
		pair_offer(a->pair, a->pin, url, name);
	(void)pthread_mutex_unlock(&a->lock);
}

static void on_heard(void *ctx, const char *pin, const char *url, const char *name)
{
	struct agent *a = ctx;

	(void)pthread_mutex_lock(&a->lock);
	if (a->pair)
		pair_offer(a->pair, pin, url, name);
	(void)pthread_mutex_unlock(&a->lock);
}

/* It forgot this machine, or is another one with the same key. */
static void on_unknown(void *ctx)
{
	struct agent *a = ctx;

	atomic_store(&a->is_unknown, true);
	interrupt(a);
}

static void on_up(void *ctx, bool up)
{
	struct agent *a = ctx;
	bool idle;

	if (a->discover)
		discover_want(a->discover, !up);
	(void)pthread_mutex_lock(&a->lock);
	idle = !a->orders || orders_is_idle(a->orders);
	(void)pthread_mutex_unlock(&a->lock);
	if (up && idle && session_is_registered(a->session))
		console_say(a->console, "waiting for orders");
}

static int start_discovery(struct agent *a, const char *pin, struct err *err)
{
	struct discover_setup setup = {
		.name = a->name,
		.port = (uint16_t)a->config.discovery_port,
		.interfaces = &a->config.interfaces,
		.found = on_found,
		.heard = on_heard,
		.say = say,
		.ctx = a,
	};
	struct http_target t = {.pin = ""};
	int r = 0;

	if (!a->config.discovery)
		return 0;
	if (pin) {
		r = http_target_set_pin(&t, pin, err);
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

static void stop_discovery(struct agent *a)
{
	discover_stop(a->discover);
	a->discover = NULL;
}

/* ---- bare media: there is no key to trust, and no token */

static void set_pair(struct agent *a, struct pair *pair)
{
	(void)pthread_mutex_lock(&a->lock);
	a->pair = pair;
	if (pair && atomic_load(&a->quit))
		pair_interrupt(pair);
	(void)pthread_mutex_unlock(&a->lock);
}

static void introduce_pairing(struct agent *a)
{
	if (a->pin[0]) {
		console_say(a->console, "this medium has no token for the server with the key %s",
			    a->pin);
	} else {
		console_say(a->console, "this medium was not made for a server");
	}
	console_say(a->console,
		    "this machine is to be paired: a code will be shown here; type it at "
		    "the server to let this machine in");
	if (a->config.token && !a->pin[0]) {
		console_say(a->console, "the token is kept back: without a pin it is not known "
					"which server may have it");
	}
}

/* Find a server that a person vouches for.  -ECANCELED */
static int pair(struct agent *a, struct pair_result *ret, struct err *err)
{
	const struct pair_setup setup = {.machine_id = a->machine_id,
					 .name = a->name,
					 .console = a->console,
					 .fixed = a->config.server != NULL};
	struct pair *p;
	int r = 0;

	introduce_pairing(a);
	if (!a->config.discovery && !a->config.server) {
		return err_set(
			err, -EINVAL,
			"there is neither a pin nor an address of a server, and discovery is "
			"off: nothing to do");
	}
	p = pair_new(&setup);
	if (!p)
		return err_set(err, -ENOMEM, "out of memory");
	set_pair(a, p);
	if (a->config.server) {
		struct http_target t = {.pin = ""};

		r = http_target_set_url(&t, a->config.server, err);
		if (r == 0)
			pair_offer(p, a->pin[0] ? a->pin : NULL, t.url, "?");
	} else {
		r = start_discovery(a, a->pin[0] ? a->pin : NULL, err);
	}
	if (r == 0)
		r = pair_run(p, ret, err);
	stop_discovery(a);
	set_pair(a, NULL);
	pair_free(p);
	return r;
}

/* Without a pin there is no server to trust; without token and secret the server has no reason to trust this machine. */
static bool needs_pairing(const struct agent *a)
{
	return !a->pin[0] || (!a->config.token && !session_has_secret(a->config.state));
}

/* A pin that was given since is stronger than a pairing with another server, whose secret is not for this one. */
static void forget_other_pairing(const struct agent *a)
{
	struct http_target t;

	if (a->pin[0] && a->config.state && paired_load(a->config.state, &t) &&
	    strcmp(t.pin, a->pin) != 0)
		paired_forget(a->config.state);
}

/* A server that this machine has been paired with, or is now. */
static int find_paired(struct agent *a, struct pair_result *ret, struct err *err)
{
	struct err bad;
	int r;

	a->is_paired = true;
	if (a->config.state && paired_load(a->config.state, &ret->target) &&
	    (!a->pin[0] || strcmp(a->pin, ret->target.pin) == 0)) {
		console_say(a->console, "this machine was paired with the server at %s, key %.16s",
			    ret->target.url, ret->target.pin);
		return 0;
	}
	r = pair(a, ret, err);
	if (r == 0 && a->config.state && paired_save(a->config.state, &ret->target, &bad) < 0)
		console_say(a->console, "the pairing cannot be kept: %s", bad.msg);
	return r;
}

/* ---- start and end */

/* A name may be mistyped, or its card's driver be late. */
static void name_absent_interfaces(const struct agent *a)
{
	const struct setting_list *l = &a->config.interfaces;

	for (size_t i = 0; a->config.discovery && i < l->len; i++) {
		if (if_nametoindex(l->items[i]) == 0) {
			console_say(
				a->console,
				"there is no network interface '%s' here: servers are not looked "
				"for on it until there is",
				l->items[i]);
		}
	}
}

static int start(struct agent *a, struct inventory **ret, struct err *err)
{
	CLEANUP(inventory_freep) struct inventory *i = NULL;
	int r = look_around(&a->config, a->console, &i, &a->devices_seen, err);

	if (r < 0)
		return r;
	if (!i->machine_id[0]) {
		return err_set(err, -ENODATA,
			       "nothing in this machine tells it from others (no system UUID, no "
			       "network card): give it an id with --id (hoist.id=)");
	}
	(void)snprintf(a->machine_id, sizeof(a->machine_id), "%s", i->machine_id);
	machine_name_choose(&a->config, i, a->name);
	introduce(a, i);
	name_absent_interfaces(a);
	*ret = TAKE_PTR(i);
	return 0;
}

/* What interrupt() is to reach; both or none. */
static void set_busy(struct agent *a, struct link *l, struct orders *o)
{
	(void)pthread_mutex_lock(&a->lock);
	a->link = l;
	a->orders = o;
	if (l && atomic_load(&a->quit)) {
		link_interrupt(l);
		orders_stop(o);
	}
	(void)pthread_mutex_unlock(&a->lock);
}

static int open_session(struct agent *a, const struct inventory *i,
			const struct pair_result *paired, struct err *err)
{
	struct session_setup setup = {
		.url = a->is_paired ? paired->target.url : a->config.server,
		.pin = a->is_paired ? paired->target.pin : a->config.pin,
		.machine_id = a->machine_id,
		.name = a->name,
		.token = a->is_paired ? NULL : a->config.token,
		.pairing = a->is_paired && paired->ticket[0] ? paired->ticket : NULL,
		.state_dir = a->config.state,
		.say = say,
		.is_up = on_up,
		.is_unknown = a->is_paired || !a->config.token ? on_unknown : NULL,
		.ctx = a,
	};
	struct orders_setup todo = {.config = &a->config,
				    .console = a->console,
				    .look_again = refresh_inventory,
				    .has_news = has_news,
				    .ctx = a};
	struct orders *o;
	json_t *json;
	int r = session_new(&setup, &a->session, err);

	if (r < 0)
		return r;
	todo.session = a->session;
	todo.link = link_new(a->session);
	o = todo.link ? orders_new(&todo) : NULL;
	json = o ? inventory_to_json(i) : NULL;
	if (!json) {
		orders_free(o);
		link_free(todo.link);
		return err_set(err, -ENOMEM, "out of memory");
	}
	session_set_inventory(a->session, json);
	set_busy(a, todo.link, o);
	r = start_discovery(a, setup.pin, err);
	if (r == 0 && !setup.url)
		console_say(a->console, "looking for the server with the key %s", setup.pin);
	return r;
}

static void close_session(struct agent *a)
{
	struct link *l = a->link;
	struct orders *o = a->orders;

	stop_discovery(a);
	set_busy(a, NULL, NULL);
	orders_free(o);
	link_free(l);
	session_free(a->session);
	a->session = NULL;
}

/* Pairing waits for a person, for days if need be, and what was seen before is old then.  If it fails, that stays. */
static void look_anew(struct agent *a, struct inventory **i)
{
	struct inventory *now = NULL;
	struct err err;

	if (look_around(&a->config, a->console, &now, &a->devices_seen, &err) < 0) {
		console_say(a->console, "%s", err.msg);
		return;
	}
	inventory_freep(i);
	*i = now;
}

/* Serve one server, until told to end or until it knows this machine no more. */
static int serve_one(struct agent *a, struct inventory **i, int *ret_status, struct err *err)
{
	struct pair_result paired = {.ticket = ""};
	int r = 0;

	a->is_paired = false;
	forget_other_pairing(a);
	if (needs_pairing(a)) {
		r = find_paired(a, &paired, err);
		if (r == 0)
			look_anew(a, i);
	}
	atomic_store(&a->is_unknown, false);
	if (r == 0)
		r = open_session(a, *i, &paired, err);
	explicit_bzero(paired.ticket, sizeof(paired.ticket));
	if (r == 0)
		r = orders_serve(a->orders, ret_status, err);
	close_session(a);
	if (r == 0 && atomic_load(&a->is_unknown) && a->config.state)
		paired_forget(a->config.state);
	return r == -ECANCELED ? 0 : r;
}

static int run(struct agent *a, int *ret_status, struct err *err)
{
	CLEANUP(inventory_freep) struct inventory *i = NULL;
	struct http_target t = {.pin = ""};
	int r = start(a, &i, err);

	if (r == 0 && a->config.pin)
		r = http_target_set_pin(&t, a->config.pin, err);
	if (r == 0)
		r = start_signals(a, err);
	if (r < 0)
		return r;
	memcpy(a->pin, t.pin, sizeof(a->pin));
	do {
		r = serve_one(a, &i, ret_status, err);
		if (r == 0 && atomic_load(&a->is_unknown))
			console_say(a->console, "the server does not know this machine any more");
	} while (r == 0 && atomic_load(&a->is_unknown) && !atomic_load(&a->quit));
	return r;
}

static void agent_done(struct agent *a)
{
	if (a->has_signals) {
		(void)pthread_kill(a->signals, SIGUSR1);
		(void)pthread_join(a->signals, NULL);
	}
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
	settings_print_help(&agent_config_table, stdout);
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
	/* Whoever is told to end before a job is done has done none. */
	if (a.config.once)
		status = EXIT_FAILURE;
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
