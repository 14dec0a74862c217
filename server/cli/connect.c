/* Where the server is comes from four places, the weaker ones first: the service's own data folder, the
 * configuration file, the environment, the options.  Each place may name a data folder, whose address, fingerprint
 * and token replace what weaker ones said, or any of the three by itself. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"

#define SERVICE_DIR	"/var/lib/hoist" /* of the systemd unit */
#define FILE_SIZE_MAX	65536u
#define TOKEN_PATH_SIZE 4096

struct found {
	struct http_target target;
	char token_path[TOKEN_PATH_SIZE]; /* "" = none */
	char token_pin[PIN_TEXT_SIZE];	  /* of the server that it is for; "" = not said */
	bool token_named;		  /* by an option or its like, not by a data folder */
	bool guessed;
};

/* A file of ~/.config/hoist; false when there is no home. */
static bool config_path(char *ret, size_t size, const char *name)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): one thread, and nobody sets variables */
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	/* NOLINTEND(concurrency-mt-unsafe) */
	int n;

	if (base && *base == '/')
		n = snprintf(ret, size, "%s/hoist/%s", base, name);
	else if (home && *home == '/')
		n = snprintf(ret, size, "%s/.config/hoist/%s", home, name);
	else
		return false;
	return n > 0 && (size_t)n < size;
}

/* The whole of a small text file, NUL-terminated, heap. */
static int read_file(const char *path, char **ret, size_t *ret_size, bool *ret_open_to_others,
		     struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(err, -errno, "open '%s': %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EIO, "open '%s': it is not a regular file", path);
	text = malloc(FILE_SIZE_MAX + 1);
	if (!text)
		return err_set(err, -ENOMEM, "read '%s': out of memory", path);
	n = read(fd, text, FILE_SIZE_MAX + 1);
	if (n < 0)
		return err_set(err, -errno, "read '%s': %m", path);
	if (n > FILE_SIZE_MAX)
		return err_set(err, -EFBIG, "read '%s': it is longer than %u bytes", path,
			       FILE_SIZE_MAX);
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	*ret_size = (size_t)n;
	*ret_open_to_others = (st.st_mode & 077) != 0;
	return 0;
}

static int read_data_folder(const char *dir, struct found *f, struct err *err)
{
	CLEANUP_FREE char *path = NULL, *text = NULL;
	CLEANUP_JSON json_t *j = NULL;
	const char *url = NULL, *fingerprint = NULL;
	size_t size = 0;
	bool open;
	int r;

	if (asprintf(&path, "%s/server.json", dir) < 0) {
		path = NULL;
		return err_set(err, -ENOMEM, "out of memory");
	}
	r = read_file(path, &text, &size, &open, err);
	if (r == -ENOENT) {
		return err_set(err, r,
			       "there is no '%s': is '%s' the data folder of a hoist-server, and "
			       "was it started?",
			       path, dir);
	}
	if (r == 0)
		r = json_parse(text, size, FILE_SIZE_MAX, &j, err);
	if (r == 0)
		r = json_get_str(j, "url", URL_MAX - 1, &url, err);
	if (r == 0)
		r = json_get_str(j, "fingerprint", PIN_TEXT_SIZE - 1, &fingerprint, err);
	if (r == 0)
		r = http_target_set_url(&f->target, url, err);
	if (r == 0)
		r = http_target_set_pin(&f->target, fingerprint, err);
	if (r < 0)
		return err_prefix(err, "read '%s'", path);
	(void)snprintf(f->token_path, sizeof(f->token_path), "%s/operator.token", dir);
	memcpy(f->token_pin, f->target.pin, sizeof(f->token_pin));
	f->guessed = true;
	return 0;
}

/* One place's word over those of weaker ones. */
static int apply(const struct options *o, struct found *f, struct err *err)
{
	int r = o->data ? read_data_folder(o->data, f, err) : 0;

	if (r == 0 && o->server) {
		r = http_target_set_url(&f->target, o->server, err);
		f->guessed = false;
	}
	if (r == 0 && o->pin)
		r = http_target_set_pin(&f->target, o->pin, err);
	if (r == 0 && o->token_file) {
		(void)snprintf(f->token_path, sizeof(f->token_path), "%s", o->token_file);
		(void)snprintf(f->token_pin, sizeof(f->token_pin), "%s",
			       o->data || o->pin ? f->target.pin : "");
		f->token_named = true;
	}
	return r;
}

static int apply_config_file(struct found *f, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	struct options o = {0};
	char path[TOKEN_PATH_SIZE];
	size_t size = 0;
	bool open;
	int r;

	if (!config_path(path, sizeof(path), "config"))
		return 0;
	r = read_file(path, &text, &size, &open, err);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = settings_parse_file(&server_options, &o, text, size, err);
	if (r == -ENOENT) /* no such key */
		r = err->code = -EINVAL;
	if (r < 0)
		(void)err_prefix(err, "read '%s'", path);
	else
		r = apply(&o, f, err);
	settings_done(&server_options, &o);
	return r;
}

static int apply_environment(struct found *f, struct err *err)
{
	static const char *const keys[][2] = {{"HOIST_SERVER", "server"},
					      {"HOIST_PIN", "pin"},
					      {"HOIST_TOKEN_FILE", "token-file"},
					      {"HOIST_DATA", "data"}};
	struct options o = {0};
	int r = 0;

	for (size_t i = 0; r == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): as above */
		const char *value = getenv(keys[i][0]);

		if (value && *value)
			r = settings_set(&server_options, &o, SETTING_FILE, keys[i][1], value, err);
	}
	if (r == 0)
		r = apply(&o, f, err);
	settings_done(&server_options, &o);
	return r < 0 ? err_prefix(err, "the environment") : 0;
}

/* ---- what `hoist login` keeps: a token for each server, named by the server's key, so that none is ever shown to another */

static bool login_path(const struct http_target *t, char *ret, const char *suffix)
{
	char name[sizeof("tokens/") + PIN_TEXT_SIZE + 8];

	(void)snprintf(name, sizeof(name), "tokens/%s%s", t->pin, suffix);
	return t->pin[0] && config_path(ret, TOKEN_PATH_SIZE, name);
}

/* The folders above `path`, as far as they lack below the home. */
static int make_folders(char *path, struct err *err)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST && errno != EACCES && errno != EROFS)
			return err_set(err, -errno, "make the folder '%s': %m", path);
		*p = '/';
	}
	return 0;
}

int login_save(struct ctx *c, const char *secret, struct err *err)
{
	char path[TOKEN_PATH_SIZE], temporary[TOKEN_PATH_SIZE];
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (!login_path(&c->target, path, "") || !login_path(&c->target, temporary, ".new"))
		return err_set(err, -ENOENT, "there is no home folder to keep the token in");
	r = make_folders(path, err);
	if (r < 0)
		return r;
	(void)unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || dprintf(fd, "%s\n", secret) < 0 || fsync(fd) < 0 ||
	    rename(temporary, path) < 0)
		return err_set(err, -errno, "keep the token in '%s': %m", path);
	return 0;
}

int login_forget(struct ctx *c, struct err *err)
{
	char path[TOKEN_PATH_SIZE];

	if (login_path(&c->target, path, "") && unlink(path) < 0 && errno != ENOENT)
		return err_set(err, -errno, "remove '%s': %m", path);
	return 0;
}

/* What a weaker place has said of a token is not for another server, which a stronger one names by its key. */
static void withhold_token(struct ctx *c, struct found *f)
{
	if (!f->token_pin[0] || strcmp(f->token_pin, f->target.pin) == 0)
		return;
	f->token_path[0] = '\0';
	f->token_named = false;
	c->token_withheld = true;
}

/* Unless a file was named, the token of `hoist login`, if there is one for that server. */
static void prefer_login(struct ctx *c, struct found *f)
{
	char path[TOKEN_PATH_SIZE];

	if (f->token_named || !login_path(&f->target, path, "") || access(path, F_OK) < 0)
		return;
	memcpy(f->token_path, path, sizeof(path));
	c->logged_in = true;
}

int target_find(struct ctx *c, struct err *err)
{
	struct found f = {0};
	struct err ignored;
	int r;

	if (c->target.url[0])
		return 0;
	if (read_data_folder(SERVICE_DIR, &f, &ignored) < 0)
		f = (struct found){0};
	r = apply_config_file(&f, err);
	if (r == 0)
		r = apply_environment(&f, err);
	if (r == 0)
		r = apply(&c->o, &f, err);
	if (r < 0)
		return r;
	if (!f.target.url[0]) {
		return err_set(
			err, -EDESTADDRREQ,
			"it is not known where the server is. On the server's own machine "
			"give --data DIR, elsewhere --server, --pin and --token-file (or "
			"write them into ~/.config/hoist/config; 'hoist login' makes a token)");
	}
	withhold_token(c, &f);
	prefer_login(c, &f);
	if (!c->o.token_file) {
		free(c->o.token_file);
		c->o.token_file = strdup(f.token_path);
		if (!c->o.token_file)
			return err_set(err, -ENOMEM, "out of memory");
	}
	c->target = f.target;
	c->target_guessed = f.guessed;
	return 0;
}

static int read_token(struct ctx *c, struct err *err)
{
	const char *path = c->o.token_file;
	CLEANUP_FREE char *text = NULL;
	bool open_to_others = false;
	size_t size = 0, n;
	int r;

	if (!*path && c->token_withheld) {
		return err_set(
			err, -EINVAL,
			"no token for the server with this key: the one that a data folder or the "
			"configuration names is another server's, and is not shown to this one. "
			"Log in with 'hoist login NAME', or give --token-file FILE");
	}
	if (!*path) {
		return err_set(
			err, -EINVAL,
			"no token: log in with 'hoist login NAME', or give --token-file FILE, a "
			"copy of the server's file operator.token");
	}
	r = read_file(path, &text, &size, &open_to_others, err);
	if (r < 0 || !text)
		return err_prefix(err, "the operator's token");
	if (open_to_others)
		(void)fprintf(stderr, "hoist: warning: others can read '%s'; do: chmod 600 '%s'\n",
			      path, path);
	n = strcspn(text, "\r\n");
	text[n] = '\0';
	if (n == 0 || n >= sizeof(c->target.secret))
		return err_set(err, -EIO, "'%s' does not hold a token", path);
	for (size_t i = 0; i < n; i++) {
		if (!isgraph((unsigned char)text[i]))
			return err_set(err, -EIO, "'%s' does not hold a token", path);
	}
	memcpy(c->target.secret, text, n + 1);
	explicit_bzero(text, n);
	return 0;
}

int target_check(struct ctx *c, struct err *err)
{
	int r = target_find(c, err);

	if (r == -EDESTADDRREQ) /* a matter of options */
		r = err->code = -EINVAL;
	if (r == 0 && !c->target.pin[0]) {
		r = err_set(err, -EINVAL,
			    "the fingerprint of the server's key is missing: give --pin; "
			    "`hoist-server --data DIR --print-fingerprint` prints it");
	}
	return r;
}

static int connect_to(struct ctx *c, struct err *err)
{
	int r = target_check(c, err);

	if (r == 0 && !c->no_token)
		r = read_token(c, err);
	if (r < 0)
		return r;
	c->http = http_new(&c->target);
	return c->http ? 0 : err_set(err, -ENOMEM, "out of memory");
}

int api(struct ctx *c, const char *method, const char *path, const json_t *body, json_t **ret,
	struct err *err)
{
	struct http_call call = {.method = method, .path = path, .body = body};
	struct http_answer a = {0};
	int r = c->http ? 0 : connect_to(c, err);

	if (r == 0)
		r = http_json(c->http, &call, ret, &a, err);
	c->error = a.error;
	return r;
}

static int append(void *ctx, const void *data, size_t size)
{
	const int *fd = ctx;
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(*fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int api_download(struct ctx *c, const char *path, int fd, struct err *err)
{
	struct http_request q = {.method = "GET", .path = path, .sink = append, .sink_ctx = &fd};
	struct http_answer a = {0};
	int r = c->http ? 0 : connect_to(c, err);

	if (r == 0)
		r = http_do(c->http, &q, &a, err);
	c->error = a.error;
	return r;
}

void path_make(char ret[static PATH_SIZE], const char *format, ...)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;
	va_list ap;

	va_start(ap, format);
	for (const char *p = format; *p && n + 4 < PATH_SIZE; p++) {
		const char *arg;

		if (p[0] != '%' || p[1] != 's') {
			ret[n++] = *p;
			continue;
		}
		p++;
		arg = va_arg(ap, const char *);
		for (; *arg && n + 4 < PATH_SIZE; arg++) {
			unsigned char b = (unsigned char)*arg;

			if (isalnum(b) || strchr("-._~", b)) {
				ret[n++] = *arg;
			} else {
				ret[n++] = '%';
				ret[n++] = hex[b >> 4];
				ret[n++] = hex[b & 15];
			}
		}
	}
	va_end(ap);
	ret[n] = '\0';
}
