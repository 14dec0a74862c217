/* ssh_main.c - hoist-agent ssh: reads the keys, makes the host key, keeps the server running.
 *
 * A program of its own: whatever becomes of it, the agent that does the work does not notice, and the other way round.  One thread; one loop waits for the
 * server's log, for children and for signals. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/config.h"
#include "agent/console.h"
#include "agent/locks.h"
#include "agent/ssh/guests.h"
#include "agent/ssh/listener.h"
#include "agent/ssh/ssh.h"
#include "agent/subcommand.h"
#include "common/cleanup.h"

#define HOME_IMAGE    "/root"
#define WAIT_FIRST_MS 1000u
#define WAIT_MAX_MS   60000u
#define STEADY_MS     60000u /* who ran that long is started again at once */
#define LOG_SIZE      512u
#define LOOK_MS	      500

struct options {
	char *settings, *state, *home, *program, *keygen;
	uint64_t port;
	bool image, check;
};

#define AT(field) offsetof(struct options, field)
static const struct setting settings[] = {
	{"image", SETTING_BOOL, SETTING_ARGV, AT(image), 0, 0, NULL, NULL,
	 "this is the live image: takes the settings of the medium", NULL},
	{"settings", SETTING_TEXT, SETTING_ARGV, AT(settings), 0, 0, NULL, "FILE",
	 "read the lines ssh-key= of FILE", NULL},
	{"check", SETTING_BOOL, SETTING_ARGV, AT(check), 0, 0, NULL, NULL,
	 "only print whose keys these are, and what is wrong with them", NULL},
	{"port", SETTING_U64, SETTING_ARGV, AT(port), 1, 65535, "22", "PORT", "TCP port", NULL},
	{"state", SETTING_TEXT, SETTING_ARGV, AT(state), 0, 0, "/run/hoist/ssh", "DIR",
	 "folder for the host key", NULL},
	{"home", SETTING_TEXT, SETTING_ARGV, AT(home), 0, 0, NULL, "DIR",
	 "home of root: its .ssh/authorized_keys is written anew (with --image: " HOME_IMAGE ")",
	 NULL},
	{"dropbear", SETTING_TEXT, SETTING_ARGV, AT(program), 0, 0, "/bin/dropbear", "FILE",
	 "the server", NULL},
	{"dropbearkey", SETTING_TEXT, SETTING_ARGV, AT(keygen), 0, 0, "/bin/dropbearkey", "FILE",
	 "makes the host key", NULL},
};
const struct setting_table ssh_table = {settings, sizeof(settings) / sizeof(*settings)};

static void options_done(struct options *o)
{
	settings_done(&ssh_table, o);
}

struct keeper {
	struct console *console;
	struct listener listener;
	char key[PATH_MAX];
	int signals, log; /* log: what the server says */
	pid_t pid;	  /* 0: it does not run */
	uint64_t since_ms, next_ms;
	uint64_t wait_ms;
	char line[LOG_SIZE];
	size_t line_size;
};

/* ---- who may log in */

static void say_bad(void *ctx, const char *line)
{
	console_say(ctx, "ssh: %s; it is passed over", line);
}

static int load(const struct options *o, struct console *console, struct guests *ret,
		struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int r = config_read_file(o->settings ? o->settings : CONFIG_IMAGE_SETTINGS, &text, &size,
				 err);

	if (r == 0)
		r = guests_load(text, size, ret, say_bad, console, err);
	if (text)
		explicit_bzero(text, size); /* the medium's token is among them */
	if (r < 0)
		return r;
	if (ret->len == 0) {
		return err_set(err, -EINVAL,
			       "there is no key that could be used: nobody can log in, and nothing "
			       "listens");
	}
	return 0;
}

static void introduce(const struct guests *g, struct console *console)
{
	for (size_t i = 0; i < g->len; i++) {
		char text[SSH_KEY_DESCRIPTION_SIZE];

		ssh_key_describe(&g->keys[i], text);
		console_say(console, "ssh: may log in as root: %s", text);
	}
}

/* ---- the server's log */

/* Who comes and goes is for the screen; what strangers try is not, they could fill it. */
static void take_line(struct keeper *k)
{
	char text[LISTENER_VISIT_SIZE];

	k->line[k->line_size] = '\0';
	if (listener_read_visit(k->line, text))
		console_say(k->console, "ssh: %s", text);
}

static void drain_log(struct keeper *k)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(k->log, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != '\n') {
				if (k->line_size < LOG_SIZE - 1)
					k->line[k->line_size++] = buf[i];
				continue;
			}
			take_line(k);
			k->line_size = 0;
		}
	}
}

/* ---- the process */

static void plan_restart(struct keeper *k, const char *why)
{
	uint64_t now = clock_ms();

	if (k->since_ms && now - k->since_ms >= STEADY_MS)
		k->wait_ms = WAIT_FIRST_MS;
	console_say(k->console, "ssh: the server %s; it is started again in %" PRIu64 " s", why,
		    k->wait_ms / 1000);
	k->next_ms = now + k->wait_ms;
	k->wait_ms = k->wait_ms * 2 > WAIT_MAX_MS ? WAIT_MAX_MS : k->wait_ms * 2;
}

static void start(struct keeper *k)
{
	struct err err = {0};

	k->since_ms = clock_ms();
	if (listener_start(&k->listener, &k->pid, &err) < 0) {
		k->pid = 0;
		k->since_ms = 0;
		plan_restart(k, err.msg);
	}
}

/* Also those of sessions whose server is gone: they are ours since prctl(PR_SET_CHILD_SUBREAPER). */
static void reap(struct keeper *k)
{
	char why[80];
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != k->pid)
			continue;
		k->pid = 0;
		if (WIFSIGNALED(status)) {
			(void)snprintf(why, sizeof(why), "was ended by signal %d",
				       WTERMSIG(status));
		} else {
			(void)snprintf(why, sizeof(why), "ended with status %d",
				       WEXITSTATUS(status));
		}
		plan_restart(k, why);
	}
}

/* Was it a signal to end? */
static bool take_signals(int fd)
{
	struct signalfd_siginfo info;
	bool end = false;

	while (read(fd, &info, sizeof(info)) == sizeof(info))
		end |= info.ssi_signo != SIGCHLD;
	return end;
}

static int wait_ms(const struct keeper *k)
{
	uint64_t now = clock_ms();

	if (k->pid > 0)
		return -1;
	return k->next_ms > now ? (int)(k->next_ms - now) : 0;
}

static void keep(struct keeper *k)
{
	bool end = false;

	while (!end) {
		struct pollfd fds[] = {{k->log, POLLIN, 0}, {k->signals, POLLIN, 0}};

		if (k->pid == 0 && clock_ms() >= k->next_ms)
			start(k);
		(void)poll(fds, 2, wait_ms(k));
		drain_log(k);
		end = take_signals(k->signals);
		reap(k);
	}
	if (k->pid > 0) {
		(void)kill(k->pid, SIGTERM);
		(void)waitpid(k->pid, NULL, 0);
	}
}

/* ---- start */

static int open_signals(struct err *err)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_set(err, -errno, "wait for signals: %m") : fd;
}

/* dropbear looks for keys there and nowhere else. */
static int check_home(const char *path, struct err *err)
{
	struct passwd entry, *root = NULL;
	char text[4096];

	if (getpwuid_r(0, &entry, text, sizeof(text), &root) == 0 && root &&
	    strcmp(root->pw_dir, path) != 0)
		return err_set(err, -EINVAL, "--home %s is not root's, which is %s", path,
			       root->pw_dir);
	return 0;
}

static int prepare(const struct options *o, struct keeper *k, const struct guests *g,
		   struct err *err)
{
	char fingerprint[SSH_FINGERPRINT_SIZE];
	struct ssh_key key;
	int r;

	r = o->home ? check_home(o->home, err) : 0;
	if (r < 0)
		return r;
	if (mkdir(o->state, 0700) < 0 && errno != EEXIST)
		return err_set(err, -errno, "make the folder '%s': %m", o->state);
	(void)snprintf(k->key, sizeof(k->key), "%.*s/host_key", PATH_MAX - 32, o->state);
	r = guests_write(g, o->home ? o->home : HOME_IMAGE, err);
	if (r == 0)
		r = listener_need_key(&k->listener, &key, err);
	if (r < 0)
		return r;
	ssh_key_fingerprint(&key, fingerprint);
	console_say(k->console, "ssh: this machine's host key, on port %" PRIu64 ", is %s", o->port,
		    fingerprint);
	return 0;
}

/* In the live image nobody is let in before the disks are locked.  False: to end. */
static bool wait_for_locks(const struct options *o, int signals)
{
	struct pollfd fd = {signals, POLLIN, 0};

	while (o->image && !locks_are_all(LOCKS_IMAGE_PATH)) {
		(void)poll(&fd, 1, LOOK_MS);
		if (take_signals(signals))
			return false;
	}
	return true;
}

static void close_both(int (*fds)[2])
{
	cleanup_close(&(*fds)[0]);
	cleanup_close(&(*fds)[1]);
}

static int run(const struct options *o, struct console *console, const struct guests *g,
	       struct err *err)
{
	CLEANUP(close_both) int log[2] = {-1, -1};
	CLEANUP_CLOSE int signals = -1;
	struct keeper k = {.console = console,
			   .wait_ms = WAIT_FIRST_MS,
			   .listener = {.program = o->program,
					.keygen = o->keygen,
					.port = (unsigned)o->port}};
	int r;

	k.listener.key = k.key;
	introduce(g, console);
	r = signals = k.signals = open_signals(err);
	if (r < 0)
		return r;
	if (!wait_for_locks(o, signals))
		return 0;
	r = prepare(o, &k, g, err);
	if (r < 0)
		return r;
	if (pipe2(log, O_CLOEXEC) < 0)
		return err_set(err, -errno, "make a pipe: %m");
	k.log = log[0];
	k.listener.log = log[1];
	(void)fcntl(k.log, F_SETFL, O_NONBLOCK);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	keep(&k);
	return 0;
}

static void print_help(void)
{
	(void)fputs(
		"Usage: hoist-agent ssh [OPTION...]\n\n"
		"Let those log in as root, by SSH, whose public keys the lines ssh-key= of the\n"
		"settings hold, and nobody else. For the live image.\n\n",
		stdout);
	settings_print_help(&ssh_table, stdout);
}

static void console_freep(struct console **c)
{
	console_free(*c);
}

static int act(const struct options *o, struct err *err)
{
	static const struct setting_list none = {NULL, 0};
	CLEANUP(console_freep) struct console *console = console_new(&none);
	CLEANUP_FREE struct guests *g = calloc(1, sizeof(*g));
	int r;

	if (!o->image && !o->settings)
		return err_set(err, -EINVAL, "--image or --settings is to say whose keys");
	if (!o->image && !o->check && !o->home) {
		return err_set(err, -EINVAL,
			       "without --image, give --check, or --home DIR, whose "
			       ".ssh/authorized_keys is then replaced by these keys and lets "
			       "people in as root");
	}
	if (!g || !console)
		return err_set(err, -ENOMEM, "out of memory");
	r = load(o, console, g, err);
	if (r < 0 || !o->check)
		return r < 0 ? r : run(o, console, g, err);
	introduce(g, console);
	return 0;
}

int ssh_main(int argc, char **argv)
{
	static const struct subcommand self = {&ssh_table, print_help, NULL};
	CLEANUP(options_done) struct options o = {0};
	struct err err = {0};
	int first, status, r;

	if (!subcommand_begin(&self, &o, argc, argv, &first, &status))
		return status;
	r = act(&o, &err);
	return r == -EINVAL ? subcommand_misused(argv[0], &err) : subcommand_end(r, &err);
}
