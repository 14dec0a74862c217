#include "agent/ssh/listener.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"

#define OUTPUT_MAX   4096u
#define NICE	     10
#define OOM_FIRST    "1000" /* proc(5): the highest oom_score_adj */
#define KEEPALIVE_S  "60"   /* three in a row without an answer, and the connection is over */
#define HOST_KEY     "ssh-ed25519 "
#define HOST_KEY_ALG "ed25519"

static char path_variable[] = "PATH=/bin:/sbin:/usr/bin:/usr/sbin", home[] = "HOME=/";
static char *const environment[] = {path_variable, home, NULL};

/* ---- the host key */

static int spawn(const char *path, const char *const argv[], int out, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r;

	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
	(void)posix_spawn_file_actions_adddup2(&actions, out, 1);
	(void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_RDWR, 0);
	r = posix_spawn(ret, path, &actions, &attr, (char *const *)argv, environment);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

static int wait_for(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* What it prints, NUL-terminated. */
static int run(const char *path, const char *const argv[], char ret[static OUTPUT_MAX],
	       struct err *err)
{
	CLEANUP_CLOSE int in = -1, out = -1;
	int ends[2], r;
	size_t size = 0;
	ssize_t n = 1;
	pid_t pid = 0;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set(err, -errno, "run '%s': %m", path);
	in = ends[0];
	out = ends[1];
	r = spawn(path, argv, out, &pid);
	if (r < 0)
		return err_set(err, r, "run '%s': %s", path, strerrordesc_np(-r));
	cleanup_close(&out);
	out = -1;
	while (n > 0 || (n < 0 && errno == EINTR)) {
		n = read(in, ret + size, OUTPUT_MAX - 1 - size);
		size += n > 0 ? (size_t)n : 0;
	}
	ret[size] = '\0';
	cleanup_close(&in); /* should it print more than that: it is not to wait for us */
	in = -1;
	return wait_for(pid) < 0 ? err_set(err, -EIO, "run '%s': it failed", path) : 0;
}

/* Of a key that is there. */
static int read_key(const struct listener *l, struct ssh_key *ret, struct err *err)
{
	const char *const argv[] = {"dropbearkey", "-y", "-f", l->key, NULL};
	char output[OUTPUT_MAX], *line;
	int r = run(l->keygen, argv, output, err);

	if (r < 0)
		return r;
	line = strstr(output, HOST_KEY);
	if (!line)
		return err_set(err, -EPROTO, "'%s' prints no public key", l->keygen);
	line[strcspn(line, "\n")] = '\0';
	return ssh_key_parse(line, ret, err) < 0 ? err->code = -EPROTO : 0;
}

int listener_need_key(const struct listener *l, struct ssh_key *ret, struct err *err)
{
	const char *const argv[] = {"dropbearkey", "-t", HOST_KEY_ALG, "-f", l->key, NULL};
	char output[OUTPUT_MAX];
	int r;

	if (access(l->key, F_OK) == 0 && read_key(l, ret, err) == 0)
		return 0;
	(void)unlink(l->key);
	r = run(l->keygen, argv, output, err);
	if (r == 0)
		r = read_key(l, ret, err);
	return r < 0 ? err_prefix(err, "make a host key") : 0;
}

/* ---- the process */

static void set_oom(const char *score)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, score, strlen(score));
		(void)close(fd);
	}
}

/* After fork() of a process with one thread: posix_spawn() has none of the first three. */
static void become(const struct listener *l, const char *const argv[], pid_t parent)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)setpriority(PRIO_PROCESS, 0, NICE);
	set_oom(OOM_FIRST);
	if (getppid() != parent || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(l->log, 2) < 0)
		_exit(127);
	(void)setsid();
	(void)sigemptyset(&none);
	(void)pthread_sigmask(SIG_SETMASK, &none, NULL);
	(void)execve(l->program, (char *const *)argv, environment);
	_exit(127);
}

int listener_start(const struct listener *l, pid_t *ret, struct err *err)
{
	char port[16];
	/* -F stays in the foreground, -E logs there, -s no passwords, -j and -k no forwarding */
	const char *const argv[] = {"dropbear", "-F", "-E", "-s", "-j",	       "-k", "-r",
				    l->key,	"-p", port, "-K", KEEPALIVE_S, NULL};
	pid_t parent = getpid(), pid;

	(void)snprintf(port, sizeof(port), "%u", l->port);
	if (access(l->program, X_OK) < 0)
		return err_set(err, -errno, "run '%s': %m", l->program);
	pid = fork();
	if (pid < 0)
		return err_set(err, -errno, "run '%s': %m", l->program);
	if (pid == 0)
		become(l, argv, parent);
	*ret = pid;
	return 0;
}

/* ---- its log */

/* What it says itself, behind the stamp that it gives each line; NULL: there is none. */
static const char *behind_stamp(const char *line)
{
	size_t pid = line[0] == '[' ? strspn(line + 1, "0123456789") : 0;
	const char *p = line + 1 + pid;

	if (pid == 0 || *p++ != ']')
		return NULL;
	for (const char *shape = " aaa 00 00:00:00 "; *shape; shape++, p++) {
		bool fits = *shape == 'a'   ? isalpha((unsigned char)*p)
			    : *shape == '0' ? isdigit((unsigned char)*p)
					    : *p == *shape;

		if (!fits)
			return NULL;
	}
	return p;
}

bool listener_read_visit(const char *line, char ret[static LISTENER_VISIT_SIZE])
{
	static const char *const wanted[] = {"Pubkey auth succeeded ", "Exit (root) "};
	const char *text = behind_stamp(line);

	for (size_t i = 0; text && i < sizeof(wanted) / sizeof(*wanted); i++) {
		if (strncmp(text, wanted[i], strlen(wanted[i])) == 0) {
			(void)text_clean(ret, LISTENER_VISIT_SIZE, text, strlen(text));
			return true;
		}
	}
	return false;
}
