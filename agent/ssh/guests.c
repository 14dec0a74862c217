#include "agent/ssh/guests.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/medium_settings.h"

/* dropbear(8): what may stand before a key.  The server is told the same by its options; it is said twice on purpose. */
#define LIMITS "no-port-forwarding,no-agent-forwarding,no-X11-forwarding"

struct loading {
	struct guests *guests;
	void (*bad)(void *ctx, const char *line);
	void *ctx;
	unsigned seen; /* right or wrong */
};

static void load_one(void *arg, const char *key, const char *value)
{
	struct loading *l = arg;
	struct guests *g = l->guests;
	struct err err = {0};

	if (strcmp(key, "ssh-key") != 0)
		return;
	l->seen++;
	if (g->len == SSH_KEYS_MAX)
		(void)err_set(&err, -E2BIG, "there are more than %u keys", SSH_KEYS_MAX);
	else if (ssh_key_parse(value, &g->keys[g->len], &err) == 0)
		g->len++;
	if (err.code < 0) {
		(void)err_prefix(&err, "ssh-key %u", l->seen);
		l->bad(l->ctx, err.msg);
	}
}

int guests_load(const char *text, size_t size, struct guests *ret,
		void (*bad)(void *ctx, const char *line), void *ctx, struct err *err)
{
	CLEANUP_JSON json_t *settings = json_object();
	struct loading l = {.guests = ret, .bad = bad, .ctx = ctx};
	int r = settings ? medium_settings_parse(text, size, settings, err)
			 : err_set(err, -ENOMEM, "out of memory");

	ret->len = 0;
	if (r == 0)
		medium_settings_each(settings, load_one, &l);
	return r;
}

static int write_keys(const struct guests *g, FILE *f)
{
	for (size_t i = 0; i < g->len; i++)
		(void)fprintf(f, LIMITS " %s %s\n", g->keys[i].type, g->keys[i].base64);
	return ferror(f) ? -EIO : 0;
}

int guests_write(const struct guests *g, const char *home, struct err *err)
{
	char dir[PATH_MAX], path[PATH_MAX + 32];
	CLEANUP_CLOSE int fd = -1;
	FILE *f = NULL;
	int r;

	(void)snprintf(dir, sizeof(dir), "%s/.ssh", home);
	(void)snprintf(path, sizeof(path), "%s/authorized_keys", dir);
	(void)mkdir(dir, 0700);
	(void)unlink(path); /* whoever put it there */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		f = fdopen(fd, "w");
	if (!f)
		return err_set(err, -errno, "write '%s': %m", path);
	(void)take_fd(&fd);
	r = write_keys(g, f);
	if (fclose(f) != 0 || r < 0)
		return err_set(err, -EIO, "write '%s': it could not be written whole", path);
	return 0;
}
