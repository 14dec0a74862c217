/* Passwords from a terminal without echo, or from a file; never from the command line, where all users of the machine could read them. */
#include "server/cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/cleanup.h"

/* A line of at most ASK_SIZE - 1 bytes, without its end.  What follows it is not read. */
static int read_line(int fd, const char *from, char *ret, struct err *err)
{
	size_t n = 0;
	ssize_t got = 0;
	char c;

	while ((got = read(fd, &c, 1)) == 1 && c != '\n') {
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
		return read_line(STDIN_FILENO, "standard input", ret, err);
	(void)snprintf(from, sizeof(from), "'%.256s'", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "open %s: %m", from);
	return read_line(fd, from, ret, err);
}

/* Interrupting would leave the terminal without echo: the signals wait until it has it again. */
static int without_echo(int fd, const char *prompt, char *ret, struct err *err)
{
	struct termios usual, quiet;
	sigset_t held, before;
	int r;

	if (tcgetattr(fd, &usual) < 0)
		return err_set(err, -errno, "use the terminal: %m");
	quiet = usual;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	(void)sigemptyset(&held);
	(void)sigaddset(&held, SIGINT);
	(void)sigaddset(&held, SIGTERM);
	(void)sigaddset(&held, SIGTSTP);
	(void)pthread_sigmask(SIG_BLOCK, &held, &before);
	if (tcsetattr(fd, TCSAFLUSH, &quiet) < 0) {
		r = err_set(err, -errno, "use the terminal: %m");
	} else {
		(void)dprintf(fd, "%s: ", prompt);
		r = read_line(fd, "the terminal", ret, err);
		(void)dprintf(fd, "\n");
		(void)tcsetattr(fd, TCSAFLUSH, &usual);
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

int ask_password(const char *prompt, const char *file, bool twice, char ret[static ASK_SIZE],
		 struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	char again[ASK_SIZE];
	int r;

	if (file)
		return from_file(file, ret, err);
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		return err_set(
			err, -EINVAL,
			"there is no terminal to ask for a password: give --password-file FILE");
	}
	r = without_echo(fd, prompt, ret, err);
	if (r == 0 && twice) {
		r = without_echo(fd, "Once more", again, err);
		if (r == 0 && strcmp(again, ret) != 0)
			r = err_set(err, -EAGAIN, "these were two different passwords");
		explicit_bzero(again, sizeof(again));
	}
	return r;
}
