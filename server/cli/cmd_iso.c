/* hoist iso: the settings of a finished boot medium.  The copy shares the blocks of the original where the filesystem
 * can; only the 64 KiB of the settings area are written. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#undef BLOCK_SIZE /* linux/fs.h has one, common/limits.h another */
#include "common/cleanup.h"
#include "common/medium.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

#define COPY_BLOCK (1u << 20)
#define LISTED_MAX 512u /* settings on a medium */

/* Keys whose values are secrets. */
static bool is_secret(const char *key)
{
	return strcmp(key, "token") == 0 || strcmp(key, "secret") == 0;
}

/* ---- the settings to write: a JSON object keeps one value for each key, in order */

static int add_setting(json_t *settings, const char *key, const char *value, struct err *err)
{
	int r = medium_check_setting(key, value, err);

	if (r < 0)
		return r;
	return json_object_set_new(settings, key, json_string(value)) < 0
		       ? err_set(err, -EINVAL, "%s: the value is not valid UTF-8", key)
		       : 0;
}

static int add_given(struct ctx *c, json_t *settings, struct err *err)
{
	for (size_t i = 0; i < c->o.set.len; i++) {
		const char *item = c->o.set.items[i], *equals = strchr(item, '=');
		CLEANUP_FREE char *key = equals ? strndup(item, (size_t)(equals - item)) : NULL;
		struct http_target t;
		int r;

		if (!key)
			return err_set(err, -EINVAL, "--set: '%.64s' is not of the form KEY=VALUE",
				       item);
		r = add_setting(settings, key, equals + 1, err);
		if (r == 0 && strcmp(key, "server") == 0)
			r = http_target_set_url(&t, equals + 1, err);
		if (r == 0 && strcmp(key, "pin") == 0)
			r = http_target_set_pin(&t, equals + 1, err);
		if (r < 0)
			return err_prefix(err, "--set");
	}
	return 0;
}

static int add_target(struct ctx *c, json_t *settings, struct err *err)
{
	int r = target_find(c, err);

	if (r == -EDESTADDRREQ && !c->o.new_token) /* no server is fine */
		return c->o.pin ? add_setting(settings, "pin", c->o.pin, err) : 0;
	if (r == -EDESTADDRREQ) /* nobody to ask for the token */
		r = err->code = -EINVAL;
	if (r < 0)
		return r;
	if (!c->target_guessed)
		r = add_setting(settings, "server", c->target.url, err);
	if (r == 0 && c->target.pin[0])
		r = add_setting(settings, "pin", c->target.pin, err);
	return r;
}

static int read_stdin_token(char **token, struct err *err)
{
	char line[256];
	char *copy;

	if (!fgets(line, sizeof(line), stdin))
		return err_set(err, -EINVAL, "--token -: there is nothing on standard input");
	line[strcspn(line, "\r\n")] = '\0';
	copy = strdup(line);
	explicit_bzero(line, sizeof(line));
	if (!copy)
		return err_set(err, -ENOMEM, "out of memory");
	free(*token);
	*token = copy;
	return 0;
}

static int add_token(struct ctx *c, json_t *settings, struct err *err)
{
	CLEANUP_JSON json_t *t = NULL;
	const char *secret = NULL;
	int r = 0;

	if (c->o.new_token && c->o.token)
		return err_set(err, -EINVAL, "--token and --new-token exclude each other");
	if (c->o.new_token) {
		r = token_make(c, &t, err);
		if (r == 0)
			r = json_get_str(t, "token", 128, &secret, err);
	} else if (c->o.token) {
		if (strcmp(c->o.token, "-") == 0)
			r = read_stdin_token(&c->o.token, err);
		secret = c->o.token;
	}
	if (r == 0 && secret)
		r = add_setting(settings, "token", secret, err);
	return r;
}

/* What the medium is to be told; the more explicit word counts. */
static int gather(struct ctx *c, json_t *settings, struct err *err)
{
	int r = add_target(c, settings, err);

	if (r == 0)
		r = add_given(c, settings, err);
	if (r == 0)
		r = add_token(c, settings, err);
	if (r == 0 && json_object_size(settings) == 0)
		r = err_set(err, -EINVAL,
			    "there is nothing to write: name a server, a token or a setting");
	return r;
}

/* Lines key=value, heap. */
static int settings_text(const json_t *settings, char **ret, size_t *ret_size, struct err *err)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	const char *key;
	const json_t *value;
	bool good;

	if (!f)
		return err_set(err, -ENOMEM, "out of memory");
	json_object_foreach((json_t *)settings, key, value)
	{
		(void)fprintf(f, "%s=%s\n", key, json_string_value(value));
	}
	good = !ferror(f);
	if (fclose(f) != 0 || !good) {
		free(text);
		return err_set(err, -ENOMEM, "out of memory");
	}
	*ret = text;
	*ret_size = size;
	return 0;
}

/* ---- files */

static int open_medium(const char *path, int flags, int *ret, struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, flags | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "open '%s': %m", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, -EIO, "open '%s': it is neither a file nor a disk", path);
	*ret = take_fd(&fd);
	return 0;
}

static int write_full(int fd, const void *data, size_t size, uint64_t offset)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = pwrite(fd, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		size -= (size_t)n;
		offset += (size_t)n;
	}
	return 0;
}

static int copy_by_hand(int in, int out, struct err *err)
{
	CLEANUP_FREE uint8_t *buf = malloc(COPY_BLOCK);
	uint64_t at = 0;
	ssize_t n;

	if (!buf)
		return err_set(err, -ENOMEM, "out of memory");
	while ((n = pread(in, buf, COPY_BLOCK, (off_t)at)) != 0) {
		int r = n < 0 ? -errno : write_full(out, buf, (size_t)n, at);

		if (r == -EINTR)
			continue;
		if (r < 0) {
			errno = -r;
			return err_set(err, r, "copy at byte %llu: %m", (unsigned long long)at);
		}
		at += (size_t)n;
	}
	return 0;
}

static int copy_file(int in, int out, struct err *err)
{
	loff_t from = 0, to = 0;
	ssize_t n;

	if (ioctl(out, FICLONE, in) == 0)
		return 0;
	while ((n = copy_file_range(in, &from, out, &to, 1u << 30, 0)) > 0)
		;
	if (n == 0 && from > 0)
		return 0;
	return copy_by_hand(in, out, err); /* other filesystems, disks, old kernels */
}

static int write_area(int fd, uint64_t offset, const char *text, size_t size, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	int r;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	r = medium_encode(text, size, area, err);
	if (r < 0)
		return r;
	r = write_full(fd, area, MEDIUM_AREA_SIZE, offset);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0) {
		errno = -r;
		return err_set(err, r, "write the settings: %m");
	}
	return 0;
}

static int fill_copy(const char *in_path, int out, const char *text, size_t size, struct err *err)
{
	CLEANUP_CLOSE int in = -1;
	uint64_t offset = 0;
	int r = open_medium(in_path, O_RDONLY, &in, err);

	if (r < 0)
		return r;
	r = medium_find(in, &offset, err);
	if (r == 0)
		r = copy_file(in, out, err);
	return r < 0 ? err_prefix(err, "'%s'", in_path) : write_area(out, offset, text, size, err);
}

/* The output appears whole or not at all. */
static int write_copy(const struct ctx *c, const char *text, size_t size, struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_CLOSE int fd = -1;
	struct stat st;
	int r;

	if (stat(c->o.out, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, -EEXIST, "write '%s': it is there and not a regular file",
			       c->o.out);
	if (asprintf(&path, "%s.XXXXXX", c->o.out) < 0) {
		path = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	fd = mkostemp(path, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return err_set(err, -errno, "write '%s': %m", c->o.out);
	r = fill_copy(c->o.in, fd, text, size, err);
	if (r == 0 && rename(path, c->o.out) < 0)
		r = err_set(err, -errno, "write '%s': %m", c->o.out);
	if (r < 0)
		(void)unlink(path);
	return r;
}

/* ---- the three things it does */

/* Copies of the values, secrets hidden. */
static json_t *masked(const json_t *settings, bool secrets)
{
	json_t *copy = json_copy((json_t *)settings);
	const char *key;
	const json_t *value;

	json_object_foreach((json_t *)settings, key, value)
	{
		if (!secrets && is_secret(key))
			(void)json_object_set_new(copy, key, json_string("***"));
	}
	return copy;
}

static void print_settings(const struct ctx *c, const json_t *settings)
{
	CLEANUP_JSON json_t *m = masked(settings, c->o.secrets);
	const char *key;
	const json_t *value;

	if (c->o.json) {
		print_json(m);
		return;
	}
	json_object_foreach(m, key, value)
	{
		print_line(stdout, "%s=%s", key, json_string_value(value));
	}
}

static int personalise(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *settings = json_object();
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int r = gather(c, settings, err);

	if (r == 0)
		r = settings_text(settings, &text, &size, err);
	if (r == 0)
		r = write_copy(c, text, size, err);
	if (text)
		explicit_bzero(text, size);
	if (r < 0)
		return r;
	if (!json_object_get(settings, "pin"))
		(void)fprintf(stderr, "hoist: note: without a fingerprint (--pin) machines that "
				      "boot from it talk to no server\n");
	if (!json_object_get(settings, "token")) {
		(void)fprintf(stderr,
			      "hoist: note: without a token (--new-token) machines that boot "
			      "from it cannot register\n");
	}
	if (!c->o.json)
		(void)printf("%s:\n", c->o.out);
	print_settings(c, settings);
	return 0;
}

/* The lines of an area as an object; lines that are none are shown with an empty value. */
static int parse_settings(const char *text, size_t size, json_t *settings, struct err *err)
{
	const char *end = text + size;
	unsigned n = 0;

	while (text < end && n++ < LISTED_MAX) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t len = (size_t)((newline ? newline : end) - text);
		const char *equals = memchr(text, '=', len);
		CLEANUP_FREE char *key = strndup(text, equals ? (size_t)(equals - text) : len);
		const char *value = equals ? equals + 1 : text + len;
		size_t value_size = (size_t)(text + len - value);

		if (key && *key && *key != '#' &&
		    json_object_set_new(settings, key, json_stringn(value, value_size)) < 0)
			return err_set(err, -EPROTO, "the settings are not valid UTF-8");
		text += len + 1;
	}
	return 0;
}

static int show(struct ctx *c, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	CLEANUP_JSON json_t *settings = json_object();
	CLEANUP_CLOSE int fd = -1;
	const char *text = NULL;
	uint64_t offset = 0;
	size_t size = 0;
	int r;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	r = open_medium(c->o.show, O_RDONLY, &fd, err);
	if (r < 0)
		return r;
	r = medium_find(fd, &offset, err);
	if (r == 0 && pread(fd, area, MEDIUM_AREA_SIZE, (off_t)offset) != MEDIUM_AREA_SIZE)
		r = err_set(err, -EIO, "read the settings: %m");
	if (r == 0)
		r = medium_decode(area, &text, &size, err);
	if (r == 0)
		r = parse_settings(text, size, settings, err);
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.show);
	print_settings(c, settings);
	return 0;
}

static int reset(struct ctx *c, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	uint64_t offset = 0;
	int r = open_medium(c->o.reset, O_RDWR, &fd, err);

	if (r < 0)
		return r;
	r = medium_find(fd, &offset, err);
	if (r == 0)
		r = write_area(fd, offset, "", 0, err);
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.reset);
	(void)puts(c->o.json ? "{}" : "the settings were removed");
	return 0;
}

int cmd_iso(struct ctx *c, struct err *err)
{
	bool copy = c->o.in || c->o.out;

	if (!!c->o.show + !!c->o.reset + copy != 1) {
		return err_set(err, -EINVAL,
			       "one of these is wanted: --in FILE and --out FILE, --show FILE, or "
			       "--reset FILE");
	}
	if (c->o.show)
		return show(c, err);
	if (c->o.reset)
		return reset(c, err);
	if (!c->o.in || !c->o.out)
		return err_set(err, -EINVAL, "--%s FILE is missing", c->o.in ? "out" : "in");
	return personalise(c, err);
}
