/* paired.c - one line, "FINGERPRINT URL", in a file of the owner's; written aside and renamed. */
#include "agent/paired.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/session.h"
#include "common/cleanup.h"

#define FILE_NAME "paired"

static char *path_of(const char *dir, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

bool paired_load(const char *state_dir, struct http_target *ret)
{
	CLEANUP_FREE char *path = path_of(state_dir, FILE_NAME);
	CLEANUP_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	char text[PIN_TEXT_SIZE + URL_MAX + 2];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	struct http_target t = {.pin = ""};
	struct err err;
	char *space;

	if (n <= 0)
		return false;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	space = strchr(text, ' ');
	if (!space)
		return false;
	*space = '\0';
	if (http_target_set_pin(&t, text, &err) < 0 || http_target_set_url(&t, space + 1, &err) < 0)
		return false;
	*ret = t;
	return true;
}

int paired_save(const char *state_dir, const struct http_target *t, struct err *err)
{
	CLEANUP_FREE char *path = path_of(state_dir, FILE_NAME);
	CLEANUP_FREE char *temporary = path_of(state_dir, FILE_NAME ".new");
	CLEANUP_FREE char *secret = path_of(state_dir, SESSION_SECRET_NAME);
	CLEANUP_CLOSE int fd = -1;
	char text[PIN_TEXT_SIZE + URL_MAX + 2];
	int n = snprintf(text, sizeof(text), "%s %s\n", t->pin, t->url);

	if (!path || !temporary)
		return err_set(err, -ENOMEM, "out of memory");
	(void)mkdir(state_dir, 0700);
	(void)unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (secret)
		(void)unlink(secret); /* of the server before: it is not for this one */
	if (fd < 0 || write(fd, text, (size_t)n) != n || fsync(fd) < 0 ||
	    rename(temporary, path) < 0)
		return err_set(err, errno ? -errno : -EIO, "write '%s': %m", path);
	return 0;
}

void paired_forget(const char *state_dir)
{
	static const char *const names[] = {FILE_NAME, SESSION_SECRET_NAME};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CLEANUP_FREE char *path = path_of(state_dir, names[i]);

		if (path)
			(void)unlink(path);
	}
}
