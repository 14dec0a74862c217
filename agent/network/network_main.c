/* network_main.c - hoist-agent network: where the plan comes from, and the loop around the engine.
 *
 * One loop waits for the kernel's news of links, for children and for signals.  The plan is read anew at SIGHUP. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/network/engine.h"
#include "agent/network/network.h"
#include "agent/network/sources.h"
#include "agent/subcommand.h"
#include "common/cleanup.h"
#include "common/setting.h"

struct options {
	char *settings, *cmdline, *state, *script, *reload;
	bool image, check;
};

#define AT(field) offsetof(struct options, field)
static const struct setting settings[] = {
	{"image", SETTING_BOOL, SETTING_ARGV, AT(image), 0, 0, NULL, NULL,
	 "this is the live image: takes the kernel line and the settings of the medium", NULL},
	{"settings", SETTING_TEXT, SETTING_ARGV, AT(settings), 0, 0, NULL, "FILE",
	 "read lines of key=value from FILE", NULL},
	{"cmdline", SETTING_TEXT, SETTING_ARGV, AT(cmdline), 0, 0, NULL, "TEXT",
	 "take TEXT as if it were the kernel line", NULL},
	{"check", SETTING_BOOL, SETTING_ARGV, AT(check), 0, 0, NULL, NULL,
	 "only print what these lines come to, and what is wrong with them", NULL},
	{"reload", SETTING_TEXT, SETTING_ARGV, AT(reload), 0, 0, NULL, "FILE",
	 "have the one that runs go on with the lines of FILE in place of all others; an empty file is DHCP everywhere",
	 NULL},
	{"state", SETTING_TEXT, SETTING_ARGV, AT(state), 0, 0, "/run/hoist/net", "DIR",
	 "folder for what it knows", NULL},
	{"script", SETTING_TEXT, SETTING_ARGV, AT(script), 0, 0, "/lib/hoist/udhcpc", "FILE",
	 "script of the DHCP client", NULL},
};
const struct setting_table network_table = {settings, sizeof(settings) / sizeof(*settings)};

static void options_done(struct options *o)
{
	settings_done(&network_table, o);
}

static void path_in_state(const struct options *o, const char *name, char ret[static PATH_MAX])
{
	(void)snprintf(ret, PATH_MAX, "%.*s/%s", PATH_MAX - 32, o->state, name);
}

/* ---- the plan */

static void say_bad(void *ctx, const char *line)
{
	(void)ctx;
	engine_say("%s; this line is passed over, and DHCP is tried on every card that no other "
		   "line names",
		   line);
}

static int load(const struct options *o, struct netconf *ret, struct err *err)
{
	char lines[PATH_MAX];
	struct sources s = {.settings = o->settings, .cmdline = o->cmdline, .image = o->image};

	path_in_state(o, "lines", lines);
	s.override = lines;
	return sources_load(&s, ret, say_bad, NULL, err);
}

static void print_bad(void *ctx, const char *line)
{
	(void)fprintf(stderr, "hoist-agent: %s\n", line);
	*(bool *)ctx = true;
}

static int check(const struct options *o, struct err *err)
{
	struct sources s = {.settings = o->settings, .cmdline = o->cmdline, .image = o->image};
	CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
	bool is_bad = false;
	int r = n ? sources_load(&s, n, print_bad, &is_bad, err)
		  : err_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	netconf_print(n, stdout);
	return is_bad ? 1 : 0;
}

/* ---- telling the one that runs */

/* Who holds the lock; 0: nobody. */
static pid_t find_engine(const struct options *o)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;

	path_in_state(o, "engine", path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return lock.l_pid;
}

static int write_lines(const struct options *o, const char *text, size_t size, struct err *err)
{
	char path[PATH_MAX], fresh[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;

	path_in_state(o, "lines", path);
	path_in_state(o, "lines.new", fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, size) != (ssize_t)size || rename(fresh, path) < 0)
		return err_set(err, -errno, "write '%s': %m", path);
	return 0;
}

/* Nothing is changed unless every line is right. */
static int reload(const struct options *o, struct err *err)
{
	struct sources s = {.settings = o->reload};
	CLEANUP_FREE struct netconf *n = calloc(1, sizeof(*n));
	CLEANUP_FREE char *text = NULL;
	bool is_bad = false;
	size_t size = 0;
	pid_t pid;
	int r = n ? sources_load(&s, n, print_bad, &is_bad, err)
		  : err_set(err, -ENOMEM, "out of memory");

	if (r == 0 && is_bad)
		return 1;
	if (r == 0)
		r = sources_read(o->reload, &text, &size, err);
	if (r < 0)
		return r;
	pid = find_engine(o);
	if (pid <= 0)
		return err_set(err, -ESRCH, "no 'hoist-agent network' runs with the state '%s'",
			       o->state);
	r = write_lines(o, text, size, err);
	if (r == 0 && kill(pid, SIGHUP) < 0)
		r = err_set(err, -errno, "tell process %d: %m", (int)pid);
	return r;
}

/* ---- running */

static int take_lock(const struct options *o, int *ret_fd, struct err *err)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;

	(void)mkdir(o->state, 0755);
	path_in_state(o, "engine", path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "open '%s': %m", path);
	if (fcntl(fd, F_SETLK, &lock) < 0)
		return err_set(err, -errno,
			       "another 'hoist-agent network' runs with the state '%s'", o->state);
	*ret_fd = take_fd(&fd);
	return 0;
}

static int open_signals(struct err *err)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	/* A client that is told of its link the moment it starts has no handler yet, and would end: it begins with what we do. */
	(void)signal(SIGUSR1, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set(err, -errno, "wait for signals: %m") : fd;
}

/* Two plans: the engine undoes the one by itself. */
struct plans {
	struct netconf *now, *next;
};

static void plans_done(struct plans *p)
{
	free(p->now);
	free(p->next);
}

static int adopt(const struct options *o, struct engine *e, struct plans *p, struct err *err)
{
	struct netconf *before = p->now;
	int r;

	memset(p->next, 0, sizeof(*p->next));
	r = load(o, p->next, err);
	if (r < 0)
		return r;
	engine_set_plan(e, p->next);
	p->now = p->next;
	p->next = before;
	return 0;
}

/* 1: to end; 2: to read the plan anew. */
static int take_signals(int fd)
{
	struct signalfd_siginfo info;
	int what = 0;

	while (read(fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP && what == 0)
			what = 2;
		else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			what = 1;
	}
	return what;
}

static int loop(const struct options *o, struct engine *e, struct plans *p, int signals,
		struct err *err)
{
	int r = adopt(o, e, p, err);

	while (r == 0) {
		struct pollfd fds[] = {{e->rtnl.events, POLLIN, 0}, {signals, POLLIN, 0}};
		int what;

		engine_pass(e);
		(void)poll(fds, 2, engine_wait_ms(e));
		rtnl_drain(&e->rtnl, engine_take_advert, e);
		what = take_signals(signals);
		engine_reap(e);
		if (what == 1)
			break;
		if (what == 2 && adopt(o, e, p, err) < 0)
			engine_say("%s", err->msg);
	}
	return r;
}

static int run(const struct options *o, struct err *err)
{
	CLEANUP(plans_done)
	struct plans p = {calloc(1, sizeof(struct netconf)), calloc(1, sizeof(struct netconf))};
	CLEANUP_FREE struct engine *e = calloc(1, sizeof(*e));
	CLEANUP_CLOSE int lock = -1, signals = -1;
	int r;

	if (!p.now || !p.next || !e)
		return err_set(err, -ENOMEM, "out of memory");
	r = take_lock(o, &lock, err);
	if (r == 0)
		r = signals = open_signals(err);
	if (r < 0)
		return r;
	r = engine_open(e, o->state, o->script, err);
	if (r == 0)
		r = loop(o, e, &p, signals, err);
	engine_close(e);
	return r;
}

static void print_help(void)
{
	(void)fputs(
		"Usage: hoist-agent network [OPTION...]\n\n"
		"Set up this machine's network as the lines ip=, vlan=, bond=, nameserver=, route=\n"
		"and ifname= say, with DHCP where there are none, and keep it so. For the live\n"
		"image: elsewhere it gets in the way of whatever does that there.\n\n",
		stdout);
	settings_print_help(&network_table, stdout);
}

static int act(const struct options *o, struct err *err)
{
	if (o->reload)
		return reload(o, err);
	if (!o->image && !o->settings && !o->cmdline)
		return err_set(err, -EINVAL,
			       "--image, --settings or --cmdline is to say what to set up");
	return o->check ? check(o, err) : run(o, err);
}

int network_main(int argc, char **argv)
{
	static const struct subcommand self = {&network_table, print_help, NULL};
	CLEANUP(options_done) struct options o = {0};
	struct err err = {0};
	int first, status, r;

	if (!subcommand_begin(&self, &o, argc, argv, &first, &status))
		return status;
	r = act(&o, &err);
	return r == -EINVAL ? subcommand_misused(argv[0], &err) : subcommand_end(r, &err);
}
