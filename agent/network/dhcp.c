/* dhcp.c - one udhcpc for each interface, in the foreground, for ever.  It asks again by itself; what it learns, its script puts into force.
 * For DHCP of IPv6 one dhcpcd, which is told to leave routers to the kernel and puts its address into force itself; the same script is told of the rest. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/network/engine.h"
#include "common/cleanup.h"

#define BUSYBOX	   "/bin/busybox"
#define DHCPCD	   "/sbin/dhcpcd"
#define RESTART_MS 2000u
#define STRAY_MS   3000

/* `argv` is ours, except for names of interfaces and the host name, which are checked.  0: it could not be started. */
static pid_t spawn(const struct engine *e, const char *path, const char *const argv[],
		   const char *interface)
{
	char state[PATH_MAX], name[IFNAMSIZ + 16];
	char path_variable[] = "PATH=/bin:/sbin:/usr/bin:/usr/sbin", home[] = "HOME=/root";
	char *envp[] = {path_variable, home, state, name, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	pid_t pid = 0;
	int r;

	(void)snprintf(state, sizeof(state), "HOIST_NET_STATE=%s", e->state);
	(void)snprintf(name, sizeof(name), "interface=%s", interface);
	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawn_file_actions_init(&actions);
	for (int fd = 0; fd < 3; fd++)
		(void)posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
	r = posix_spawn(&pid, path, &actions, &attr, (char *const *)argv, envp);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	errno = r;
	return r == 0 ? pid : 0;
}

void engine_note(const struct engine *e, const char *name, const char *suffix, const char *text)
{
	char path[PATH_MAX];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s.%s", e->state, name, suffix);
	if (!text) {
		(void)unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0) {
		(void)!write(fd, text, strlen(text));
		(void)close(fd);
	}
}

bool engine_has_note(const struct engine *e, const char *name, const char *suffix)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s.%s", e->state, name, suffix);
	return access(path, F_OK) == 0;
}

static pid_t start_dhcp4(const struct engine *e, const struct port *p)
{
	char host[80] = "hostname:";
	const char *const argv[] = {
		"udhcpc", "-f",	 "-i", p->name,	 "-s", e->script, "-t", "4",
		"-T",	  "3",	 "-A", "8",	 "-V", "hoist",	  "-O", "staticroutes",
		"-O",	  "mtu", "-O", "search", "-x", host,	  NULL};

	(void)gethostname(host + strlen(host), sizeof(host) - strlen(host) - 1);
	return spawn(e, BUSYBOX, argv, p->name);
}

/* It is known by the address of its card: the same at each start, whatever the firmware says of the machine. */
static pid_t start_dhcp6(const struct engine *e, const struct port *p)
{
	char state[PATH_MAX];
	const char *const argv[] = {"dhcpcd",
				    "-6",
				    "--nobackground",
				    "--config",
				    "/dev/null",
				    "--timeout",
				    "0",
				    "--noipv6rs",
				    "--ia_na",
				    "--duid=ll",
				    "--option",
				    "dhcp6_name_servers",
				    "--option",
				    "dhcp6_domain_search",
				    "--script",
				    e->script,
				    "--env",
				    state,
				    p->name,
				    NULL};

	(void)snprintf(state, sizeof(state), "HOIST_NET_STATE=%s", e->state);
	return spawn(e, DHCPCD, argv, p->name);
}

/* Files with the numbers of their processes. */
static const char *const pid_suffixes[] = {"pid", "pid6"};

void engine_start_client(struct engine *e, struct port *p, enum client_kind kind)
{
	struct client *c = &p->clients[kind];
	char pid[24], subject[40];

	c->pid = kind == CLIENT_DHCP6 ? start_dhcp6(e, p) : start_dhcp4(e, p);
	if (c->pid == 0) {
		(void)snprintf(subject, sizeof(subject), "%s on %s",
			       kind == CLIENT_DHCP6 ? "DHCPv6" : "DHCP", p->name);
		engine_complain(e, subject, strerrordesc_np(errno), 0);
		c->after_ms = clock_ms() + RESTART_MS;
		e->is_pending = true;
		return;
	}
	(void)snprintf(pid, sizeof(pid), "%d\n", (int)c->pid);
	engine_note(e, p->name, pid_suffixes[kind], pid);
}

/* SIGCHLD is blocked; whose it is does not matter. */
static void end_client(pid_t pid)
{
	struct timespec limit = {.tv_sec = 1};
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)kill(pid, SIGTERM);
	for (unsigned i = 0; i < 3; i++) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return;
		(void)sigtimedwait(&set, NULL, &limit);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

void engine_stop_client(struct engine *e, struct port *p, enum client_kind kind)
{
	struct client *c = &p->clients[kind];

	if (c->pid == 0)
		return;
	end_client(c->pid);
	c->pid = 0;
	engine_note(e, p->name, pid_suffixes[kind], NULL);
}

void engine_kick_client(const struct port *p)
{
	if (p->clients[CLIENT_DHCP4].pid > 0)
		(void)kill(p->clients[CLIENT_DHCP4].pid, SIGUSR1);
}

static void reap(struct engine *e, struct port *p, enum client_kind kind)
{
	struct client *c = &p->clients[kind];

	if (c->pid == 0 || waitpid(c->pid, NULL, WNOHANG) != c->pid)
		return;
	c->pid = 0;
	c->after_ms = clock_ms() + RESTART_MS;
	engine_note(e, p->name, pid_suffixes[kind], NULL);
}

void engine_reap(struct engine *e)
{
	for (size_t i = 0; i < PORTS_MAX; i++) {
		for (unsigned kind = 0; kind < CLIENTS && e->ports[i].index; kind++)
			reap(e, &e->ports[i], kind);
	}
}

void engine_run_script(const struct engine *e, const char *word, const char *interface)
{
	const char *const argv[] = {e->script, word, NULL};
	pid_t pid = spawn(e, e->script, argv, interface);

	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
}

/* Is it a client of ours?  Numbers of processes are used again. */
static bool is_client(long pid)
{
	char path[64], line[8] = "";
	CLEANUP_CLOSE int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		return false;
	/* The second writes what it does behind its name. */
	return strcmp(line, "udhcpc") == 0 || strncmp(line, "dhcpcd", 6) == 0;
}

/* It is waited for: what it does at its end would undo what the next one does. */
static void end_stray(pid_t pid)
{
	CLEANUP_CLOSE int fd = pidfd_open(pid, 0);
	struct pollfd end = {fd, POLLIN, 0};

	if (fd < 0 || !is_client(pid))
		return;
	(void)kill(pid, SIGTERM);
	if (poll(&end, 1, STRAY_MS) <= 0)
		(void)kill(pid, SIGKILL);
}

static void kill_stray(const char *path)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[24] = "";
	long pid;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return;
	pid = strtol(text, NULL, 10);
	if (pid > 1)
		end_stray((pid_t)pid);
	(void)unlink(path);
}

static int is_pid_file(const struct dirent *d)
{
	const char *dot = strrchr(d->d_name, '.');

	for (unsigned kind = 0; kind < CLIENTS && dot; kind++) {
		if (strcmp(dot + 1, pid_suffixes[kind]) == 0)
			return 1;
	}
	return 0;
}

void engine_kill_strays(struct engine *e)
{
	struct dirent **names = NULL;
	int n = scandir(e->state, &names, is_pid_file, alphasort);

	for (int i = 0; i < n; i++) {
		char path[PATH_MAX + 256];

		(void)snprintf(path, sizeof(path), "%s/%s", e->state, names[i]->d_name);
		kill_stray(path);
		free(names[i]);
	}
	free(names);
}
