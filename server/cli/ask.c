/* Passwords from a terminal without echo, or from a file; never from the command line, where all users of the machine could read them. */
#include "server/cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"

/* -EINTR: `stop` (-1: none) can be read first. */
static int wait_typed(int fd, int stop, struct err *err)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};

	while (poll(fds, 2, -1) < 0) {
		if (errno != EINTR)
			return err_set(err, -errno, "use the terminal: %m");
	}
	return fds[1].revents ? err_set(err, -EINTR, "no password was given") : 0;
}

/* A line of at most ASK_SIZE - 1 bytes, without its end.  What follows it is not read. */
static int read_line(int fd, int stop, const char *from, char *ret, struct err *err)
{
	size_t n = 0;
	ssize_t got = 0;
	char c;

	for (;;) {
		int r = stop < 0 ? 0 : wait_typed(fd, stop, err);

		if (r < 0)
			return r;
		got = read(fd, &c, 1);
		if (got != 1 || c == '\n')
			break;
		if (n + 1 >= ASK_SIZE || c == '\0')
			return err_set(err, -EFBIG, "%s holds no password of up to %u bytes", from,
				       ASK_SIZE - 1);
		ret[n++] = c;
	}
	if (got < 0)
		return err_set(err, -errno, "read %s: %m", from);
	if (n > 0 && ret[n - 1] == '\r')
		n--;
	ret[n] = '\0';
	if (n == 0)
		return err_set(err, -ENODATA, "no password was given");
	return 0;
}

static int from_file(const char *path, char *ret, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	char from[300];

	if (strcmp(path, "-") == 0)
		return read_line(STDIN_FILENO, -1, "standard input", ret, err);
	(void)snprintf(from, sizeof(from), "'%.256s'", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "open %s: %m", from);
	return read_line(fd, -1, from, ret, err);
}

/* -EINTR: a signal that `stop` tells of is pending. */
static int without_echo(int fd, int stop, const char *prompt, char *ret, struct err *err)
{
	struct termios usual, quiet;
	int r;

	if (tcgetattr(fd, &usual) < 0)
		return err_set(err, -errno, "use the terminal: %m");
	quiet = usual;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	if (tcsetattr(fd, TCSAFLUSH, &quiet) < 0)
		return err_set(err, -errno, "use the terminal: %m");
	(void)dprintf(fd, "%s: ", prompt);
	r = read_line(fd, stop, "the terminal", ret, err);
	(void)dprintf(fd, "\n");
	(void)tcsetattr(fd, TCSAFLUSH, &usual);
	return r;
}

/* Interrupting would leave the terminal without echo: the signals wait until it has it again, and then do what they do.  Whoever
 * is still there after that (stopped and continued, say) is asked again. */
static int ask_on(int fd, const char *prompt, char *ret, struct err *err)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
	sigset_t held, before;
	int r;

	(void)sigemptyset(&held);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &before);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		if (!sigismember(&before, signals[i]))
			(void)sigaddset(&held, signals[i]);
	}
	do {
		CLEANUP_CLOSE int stop = signalfd(-1, &held, SFD_CLOEXEC);

		if (stop < 0)
			return err_set(err, -errno, "wait for signals: %m");
		(void)pthread_sigmask(SIG_BLOCK, &held, &before);
		r = without_echo(fd, stop, prompt, ret, err);
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	} while (r == -EINTR);
	return r;
}

int ask_password(const struct question *q, const char *file, char ret[static ASK_SIZE],
		 struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	char again[ASK_SIZE];
	int r;

	if (file)
		return from_file(file, ret, err);
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		return err_set(err, -EINVAL,
			       "there is no terminal to ask for a password (%s): give %s FILE",
			       q->prompt, q->option);
	}
	r = ask_on(fd, q->prompt, ret, err);
	if (r == 0 && q->twice) {
		r = ask_on(fd, "Once more", again, err);
		if (r == 0 && strcmp(again, ret) != 0)
			r = err_set(err, -EAGAIN, "these were two different passwords");
		explicit_bzero(again, sizeof(again));
	}
	return r;
}
