#include "server/cli/iso_ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/medium.h"
#include "common/medium_settings.h"

#define KEY_FILE_MAX (64u << 10)

/* NUL-terminated heap, to be wiped: it may be a private key, by mistake. */
static int read_file(const char *path, char **ret, size_t *ret_size, struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	CLEANUP_FREE char *text = malloc(KEY_FILE_MAX + 1);
	ssize_t n = fd < 0 || !text ? -1 : medium_read(fd, text, KEY_FILE_MAX + 1, 0);

	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	if (n < 0)
		return err_set(err, fd < 0 ? -errno : (int)n, "it cannot be read: %s",
			       strerrordesc_np(fd < 0 ? errno : (int)-n));
	if ((size_t)n > KEY_FILE_MAX || memchr(text, '\0', (size_t)n)) {
		explicit_bzero(text, (size_t)n);
		return err_set(err, -EINVAL,
			       "it is no file of public keys, which are lines of text");
	}
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_size = (size_t)n;
	return 0;
}

static int add_line(const char *line, json_t *settings, struct err *err)
{
	char normal[SSH_KEY_LINE_SIZE];
	struct ssh_key key;
	int r = ssh_key_parse(line, &key, err);

	if (r < 0)
		return r;
	ssh_key_print(&key, normal);
	return medium_settings_add(settings, "ssh-key", normal, err);
}

/* `text` is cut up. */
static int add_lines(char *text, json_t *settings, unsigned *ret_keys, struct err *err)
{
	char *line;

	*ret_keys = 0;
	for (unsigned n = 1; (line = strsep(&text, "\n")); n++) {
		line += strspn(line, " \t\r");
		if (*line == '\0' || *line == '#')
			continue;
		if (add_line(line, settings, err) < 0)
			return err_prefix(err, "line %u", n);
		++*ret_keys;
	}
	return 0;
}

static int add_file(const char *path, json_t *settings, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	unsigned keys = 0;
	size_t size = 0;
	int r = read_file(path, &text, &size, err);

	if (r == 0)
		r = add_lines(text, settings, &keys, err);
	if (text)
		explicit_bzero(text, size);
	if (r == 0 && keys == 0)
		r = err_set(err, -EINVAL, "there is no key in it");
	return r;
}

/* The key itself in place of the file's name: not to be quoted, for it may be the private one. */
static bool is_key_itself(const char *text)
{
	return strchr(text, '\n') || strncmp(text, "-----", 5) == 0 ||
	       (strncmp(text, "ssh-", 4) == 0 && strchr(text, ' '));
}

int iso_ssh_add(const struct setting_list *files, json_t *settings, struct err *err)
{
	for (size_t i = 0; i < files->len; i++) {
		const char *path = files->items[i];

		if (access(path, F_OK) < 0 && is_key_itself(path)) {
			return err_set(err, -EINVAL,
				       "--ssh-key takes the name of a file, such as "
				       "~/.ssh/id_ed25519.pub, and not the key itself");
		}
		if (add_file(path, settings, err) < 0)
			return err_prefix(err, "--ssh-key '%s'", path);
	}
	return 0;
}

const char *iso_ssh_describe(const char *key, const char *value,
			     char buf[static SSH_KEY_DESCRIPTION_SIZE])
{
	struct ssh_key k;
	struct err ignored;

	if (strcmp(key, "ssh-key") != 0 || ssh_key_parse(value, &k, &ignored) < 0)
		return value;
	ssh_key_describe(&k, buf);
	return buf;
}
