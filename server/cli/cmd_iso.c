/* hoist iso: the settings of a finished boot medium.  The copy shares the blocks of the original where the filesystem
 * can; only the 64 KiB of the settings area are written. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#include "common/medium_settings.h"
#include "common/text.h"
#include "server/cli/cli.h"
#include "server/cli/print.h"

#define COPY_BLOCK (1u << 20)
#define NOTE_LEN   200 /* of a token: more is refused by the server */

/* ---- the settings to write */

static int add_given(struct ctx *c, json_t *settings, struct err *err)
{
	for (size_t i = 0; i < c->o.set.len; i++) {
		const char *item = c->o.set.items[i], *equals = strchr(item, '=');
		CLEANUP_FREE char *key = equals ? strndup(item, (size_t)(equals - item)) : NULL;
		int r;

		if (!key)
			return err_set(err, -EINVAL, "--set: '%.64s' is not of the form KEY=VALUE",
				       item);
		r = medium_settings_add(settings, key, equals + 1, err);
		if (r == 0)
			r = medium_settings_check(key, equals + 1, err);
		if (r < 0)
			return err_prefix(err, "--set");
	}
	return 0;
}

static int add_target(struct ctx *c, json_t *settings, struct err *err)
{
	int r = target_find(c, err);

	if (r == -EDESTADDRREQ && !c->o.new_token) /* no server is fine */
		return c->o.pin ? medium_settings_add(settings, "pin", c->o.pin, err) : 0;
	if (r == -EDESTADDRREQ) /* nobody to ask for the token */
		r = err->code = -EINVAL;
	if (r < 0)
		return r;
	if (!c->target_guessed)
		r = medium_settings_add(settings, "server", c->target.url, err);
	if (r == 0 && c->target.pin[0])
		r = medium_settings_add(settings, "pin", c->target.pin, err);
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

/* A token that is yet to be made stands there as one of its length: what else is wrong shows before it exists. */
static int add_token(struct ctx *c, json_t *settings, struct err *err)
{
	const char *secret = NULL;
	char likeness[65];
	int r = 0;

	if (c->o.new_token && c->o.token)
		return err_set(err, -EINVAL, "--token and --new-token exclude each other");
	if (c->o.new_token) {
		memset(likeness, '0', sizeof(likeness) - 1);
		likeness[sizeof(likeness) - 1] = '\0';
		secret = likeness;
	} else if (c->o.token) {
		if (strcmp(c->o.token, "-") == 0)
			r = read_stdin_token(&c->o.token, err);
		secret = c->o.token;
	}
	if (r == 0 && secret)
		r = medium_settings_add(settings, "token", secret, err);
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

static int encode(const json_t *settings, uint8_t ret_area[static MEDIUM_AREA_SIZE],
		  struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int r = medium_settings_text(settings, &text, &size, err);

	if (r == 0)
		r = medium_encode(text, size, ret_area, err);
	if (text)
		explicit_bzero(text, size);
	return r;
}

static int check_fits(const json_t *settings, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	int r;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	r = encode(settings, area, err);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	return r;
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

static int write_area(int fd, uint64_t offset, const json_t *settings, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	int r;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	r = encode(settings, area, err);
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

/* The output while it is made: it appears whole or not at all. */
struct copy {
	char *path; /* heap; NULL: there is none */
	int fd;
	uint64_t offset; /* of the area in it */
};

static void copy_drop(struct copy *copy)
{
	cleanup_close(&copy->fd);
	if (copy->path)
		(void)unlink(copy->path);
	free(copy->path);
}

/* "hoist.iso", or "folder/file". */
static int download(struct ctx *c, struct copy *copy, struct err *err)
{
	const char *name = c->o.download, *slash = strchr(name, '/');
	CLEANUP_FREE char *folder = slash ? strndup(name, (size_t)(slash - name)) : NULL;
	char path[PATH_SIZE];
	int r;

	if (folder)
		path_make(path, "/v1/media/%s/%s", folder, slash + 1);
	else
		path_make(path, "/v1/media/%s", name);
	r = api_download(c, path, copy->fd, err);
	return r < 0 ? r : medium_find(copy->fd, &copy->offset, err);
}

static int fill_copy(const char *in_path, struct copy *copy, struct err *err)
{
	CLEANUP_CLOSE int in = -1;
	int r = open_medium(in_path, O_RDONLY, &in, err);

	if (r < 0)
		return r;
	r = medium_find(in, &copy->offset, err);
	if (r == 0)
		r = copy_file(in, copy->fd, err);
	return r < 0 ? err_prefix(err, "'%s'", in_path) : 0;
}

/* All but the settings. */
static int copy_begin(struct ctx *c, struct copy *copy, struct err *err)
{
	struct stat st;

	if (stat(c->o.out, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, -EEXIST, "write '%s': it is there and not a regular file",
			       c->o.out);
	if (asprintf(&copy->path, "%s.XXXXXX", c->o.out) < 0) {
		copy->path = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	copy->fd = mkostemp(copy->path, O_CLOEXEC); /* mode 0600 */
	if (copy->fd < 0) {
		int r = err_set(err, -errno, "write '%s': %m", c->o.out);

		free(TAKE_PTR(copy->path));
		return r;
	}
	if (!c->o.download)
		return fill_copy(c->o.in, copy, err);
	if (download(c, copy, err) < 0)
		return err_prefix(err, "'%s' of the server", c->o.download);
	return 0;
}

static int copy_finish(const struct ctx *c, struct copy *copy, const json_t *settings,
		       struct err *err)
{
	int r = write_area(copy->fd, copy->offset, settings, err);

	if (r < 0)
		return r;
	if (rename(copy->path, c->o.out) < 0)
		return err_set(err, -errno, "write '%s': %m", c->o.out);
	free(TAKE_PTR(copy->path));
	return 0;
}

/* ---- the medium's own token */

/* The note by which a lost medium's token is found again. */
static int note_medium(struct ctx *c, struct err *err)
{
	const char *slash = strrchr(c->o.out, '/');
	CLEANUP_FREE char *raw = NULL;
	char note[NOTE_LEN + 1];

	if (asprintf(&raw, "medium %s", slash ? slash + 1 : c->o.out) < 0) {
		raw = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	(void)text_clean(note, sizeof(note), raw, strlen(raw));
	c->o.note = strdup(note);
	return c->o.note ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* `ret`: the token without its secret, as soon as there is one. */
static int make_token(struct ctx *c, json_t *settings, json_t **ret, struct err *err)
{
	const char *secret = NULL;
	int r = c->o.note ? 0 : note_medium(c, err);

	if (r == 0)
		r = token_make(c, ret, err);
	if (r == 0)
		r = json_get_str(*ret, "token", 128, &secret, err);
	if (r == 0)
		r = medium_settings_add(settings, "token", secret, err);
	if (*ret)
		(void)json_object_del(*ret, "token");
	return r;
}

/* There is no medium: nobody is to have its token. */
static void drop_token(struct ctx *c, const json_t *token)
{
	const char *id = json_text(token, "id");
	struct err err;

	if (token_revoke(c, id, &err) == 0) {
		print_line(stderr, "hoist: note: token %s, made for the medium, was revoked", id);
		return;
	}
	print_line(stderr,
		   "hoist: note: token %s, made for the medium, is still valid (%s): hoist token "
		   "revoke %s ends it",
		   id, err.msg, id);
}

static void print_token(const json_t *token)
{
	const char *id = json_text(token, "id");
	char expires[WHEN_TEXT_SIZE];
	uint64_t uses = json_number(token, "uses");
	bool never;

	when_to_text(json_text(token, "expires"), expires);
	never = strcmp(expires, "-") == 0;
	print_line(stdout,
		   "token %s: enrols up to %" PRIu64 " machine%s, %s%.10s (hoist token revoke %s "
		   "ends it)",
		   id, uses, uses == 1 ? "" : "s", never ? "never expires" : "until ",
		   never ? "" : expires, id);
}

/* ---- the three things it does */

static void print_setting(void *arg, const char *key, const char *value)
{
	(void)arg;
	print_line(stdout, "%s=%s", key, value);
}

/* `token`: made for the medium; NULL: none was. */
static void print_settings(const struct ctx *c, const json_t *settings, const json_t *token)
{
	CLEANUP_JSON json_t *m = medium_settings_masked(settings, c->o.secrets);

	if (c->o.json) {
		if (token) /* not the name of a setting */
			(void)json_object_set(m, "new_token", (json_t *)token);
		print_json(m);
		return;
	}
	medium_settings_each(m, print_setting, NULL);
	if (token)
		print_token(token);
}

/* The token comes last: a run that fails for another reason leaves none. */
static int write_medium(struct ctx *c, json_t *settings, json_t **ret_token, struct err *err)
{
	CLEANUP(copy_drop) struct copy copy = {.fd = -1};
	int r = copy_begin(c, &copy, err);

	if (r == 0 && c->o.new_token)
		r = make_token(c, settings, ret_token, err);
	if (r == 0)
		r = copy_finish(c, &copy, settings, err);
	if (r < 0 && *ret_token)
		drop_token(c, *ret_token);
	return r;
}

static int personalise(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *settings = json_object(), *token = NULL;
	int r = gather(c, settings, err);

	if (r == 0)
		r = check_fits(settings, err);
	if (r == 0)
		r = write_medium(c, settings, &token, err);
	if (r < 0)
		return r;
	if (!json_object_get(settings, "token")) {
		(void)fprintf(stderr,
			      "hoist: note: without a token (--new-token) machines that boot "
			      "from it are paired by hand, with a code on their screens\n");
	} else if (!json_object_get(settings, "pin")) {
		(void)fprintf(stderr, "hoist: note: without a fingerprint (--pin) machines that "
				      "boot from it give their token to no server\n");
	}
	if (!c->o.json)
		(void)printf("%s:\n", c->o.out);
	print_settings(c, settings, token);
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
		r = medium_settings_parse(text, size, settings, err);
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.show);
	print_settings(c, settings, NULL);
	return 0;
}

static int reset(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *none = json_object();
	CLEANUP_CLOSE int fd = -1;
	uint64_t offset = 0;
	int r = open_medium(c->o.reset, O_RDWR, &fd, err);

	if (r < 0)
		return r;
	r = medium_find(fd, &offset, err);
	if (r == 0)
		r = write_area(fd, offset, none, err);
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.reset);
	(void)puts(c->o.json ? "{}" : "the settings were removed");
	return 0;
}

int cmd_iso(struct ctx *c, struct err *err)
{
	bool copy = c->o.in || c->o.download || c->o.out;

	if (!!c->o.show + !!c->o.reset + copy != 1) {
		return err_set(err, -EINVAL,
			       "one of these is wanted: --in FILE or --download NAME, with --out "
			       "FILE; --show FILE; or --reset FILE");
	}
	if (c->o.show)
		return show(c, err);
	if (c->o.reset)
		return reset(c, err);
	if (c->o.in && c->o.download)
		return err_set(err, -EINVAL, "--in and --download exclude each other");
	if ((!c->o.in && !c->o.download) || !c->o.out)
		return err_set(err, -EINVAL, "--%s FILE is missing", c->o.out ? "in" : "out");
	return personalise(c, err);
}
