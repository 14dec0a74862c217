/* hoist iso: the settings of a finished boot medium, and what is added to it.  The copy shares the blocks of the original where the
 * filesystem can; only the 64 KiB of the settings area are written, and archives behind everything else. */
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
#include "server/cli/iso_added.h"
#include "server/cli/iso_place.h"
#include "server/cli/iso_ssh.h"
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

/* --ip and its like: one key, several values. */
static int add_list(const struct setting_list *l, const char *key, json_t *settings,
		    struct err *err)
{
	for (size_t i = 0; i < l->len; i++) {
		int r = medium_settings_add(settings, key, l->items[i], err);

		if (r == 0)
			r = medium_settings_check(key, l->items[i], err);
		if (r < 0)
			return err_prefix(err, "--%s", key);
	}
	return 0;
}

static int add_network(struct ctx *c, json_t *settings, struct err *err)
{
	int r = add_list(&c->o.bond, "bond", settings, err);

	if (r == 0)
		r = add_list(&c->o.vlan, "vlan", settings, err);
	if (r == 0)
		r = add_list(&c->o.ip, "ip", settings, err);
	if (r == 0)
		r = add_list(&c->o.route, "route", settings, err);
	return r == 0 ? add_list(&c->o.nameserver, "nameserver", settings, err) : r;
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
	if (c->o.job && !c->o.new_token) {
		return err_set(err, -EINVAL,
			       "--job is what the server orders by a token that it makes for the "
			       "medium: add --new-token");
	}
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
		r = add_network(c, settings, err);
	if (r == 0)
		r = add_given(c, settings, err);
	if (r == 0)
		r = iso_ssh_add(&c->o.ssh_keys, settings, err);
	if (r == 0)
		r = medium_settings_check_together(settings, err);
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
	uint64_t offset; /* of the settings area in it, where there is one */
	bool has_settings;
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
	r = copy->has_settings ? medium_find(in, &copy->offset, err) : 0;
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
	int r = copy->has_settings ? write_area(copy->fd, copy->offset, settings, err) : 0;

	if (r == 0 && fsync(copy->fd) < 0)
		r = err_set(err, -errno, "write '%s': %m", c->o.out);
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
	const char *job = json_string_value(json_object_get(token, "job"));
	char expires[WHEN_TEXT_SIZE];
	uint64_t uses = json_number(token, "uses");
	bool never;

	when_to_text(json_text(token, "expires"), expires);
	never = strcmp(expires, "-") == 0;
	print_line(stdout,
		   "token %s: enrols up to %" PRIu64
		   " machine%s%s%s, %s%.10s (hoist token revoke %s "
		   "ends it)",
		   id, uses, uses == 1 ? "" : "s", job ? " for " : "", job ? job : "",
		   never ? "never expires" : "until ", never ? "" : expires, id);
}

/* ---- what is added */

/* All archives of a medium, as they lie behind one another in it. */
struct added {
	uint8_t *data; /* heap */
	size_t size;
	json_t *list;
};

static void added_done(struct added *a)
{
	free(a->data);
	json_decref(a->list);
}

static int added_read(int fd, const struct iso_place *p, struct added *a, struct err *err)
{
	int r = iso_place_read(fd, p, &a->data, &a->size, err);

	a->list = json_array();
	return r == 0 ? added_list(a->data, a->size, 1, a->list, err) : r;
}

static int added_append(struct added *a, const char *path, const char *release, struct err *err)
{
	CLEANUP_FREE uint8_t *more = NULL;
	uint8_t *grown;
	size_t size = 0, len = json_array_size(a->list);
	int r;

	if (len >= ADDED_MAX)
		return err_set(err, -E2BIG, "'%s': there are %u archives on it already", path,
			       ADDED_MAX);
	r = added_pack(path, release, (unsigned)len + 1, &more, &size, err);
	if (r < 0)
		return r;
	grown = realloc(a->data, a->size + size);
	if (!grown)
		return err_set(err, -ENOMEM, "out of memory");
	a->data = grown;
	memcpy(a->data + a->size, more, size);
	a->size += size;
	return added_list(more, size, (unsigned)len + 1, a->list, err);
}

/* `ret`: what is on it then, a new reference. */
static int add_archives(const struct ctx *c, int fd, json_t **ret, struct err *err)
{
	CLEANUP(added_done) struct added a = {.data = NULL};
	struct iso_place p;
	int r;

	if (c->o.add.len == 0)
		return 0;
	r = iso_place_find(fd, &p, err);
	if (r == 0)
		r = added_read(fd, &p, &a, err);
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.in ? c->o.in : c->o.download);
	for (size_t i = 0; r == 0 && i < c->o.add.len; i++)
		r = added_append(&a, c->o.add.items[i], p.release, err);
	if (r == 0)
		r = iso_place_write(fd, &p, a.data, a.size, err);
	if (r == 0)
		*ret = json_incref(a.list);
	return r;
}

/* ---- the three things it does */

static void print_setting(void *arg, const char *key, const char *value)
{
	char text[SSH_KEY_DESCRIPTION_SIZE];

	(void)arg;
	print_line(stdout, "%s=%s", key, iso_ssh_describe(key, value, text));
}

/* `token`: made for the medium; NULL: none was.  `added`: NULL or empty: nothing. */
static void print_settings(const struct ctx *c, const json_t *settings, const json_t *token,
			   const json_t *added)
{
	CLEANUP_JSON json_t *m = medium_settings_masked(settings, c->o.secrets);

	if (c->o.json) {
		if (token) /* not the name of a setting */
			(void)json_object_set(m, "new_token", (json_t *)token);
		if (json_array_size(added) > 0) /* nor is this */
			(void)json_object_set(m, "added_archives", (json_t *)added);
		print_json(m);
		return;
	}
	medium_settings_each(m, print_setting, NULL);
	if (token)
		print_token(token);
	added_print(added);
}

/* The token comes last: a run that fails for another reason leaves none. */
static int write_medium(struct ctx *c, bool has_settings, json_t *settings, json_t **ret_token,
			json_t **ret_added, struct err *err)
{
	CLEANUP(copy_drop) struct copy copy = {.fd = -1, .has_settings = has_settings};
	int r = copy_begin(c, &copy, err);

	if (r == 0)
		r = add_archives(c, copy.fd, ret_added, err);
	if (r == 0 && c->o.new_token)
		r = make_token(c, settings, ret_token, err);
	if (r == 0)
		r = copy_finish(c, &copy, settings, err);
	if (r < 0 && *ret_token)
		drop_token(c, *ret_token);
	return r;
}

/* The medium keeps its settings when something is added and nothing else is said. */
static bool has_settings_to_write(const struct ctx *c)
{
	const struct setting_list *lists[] = {&c->o.set,     &c->o.ip,	       &c->o.vlan,
					      &c->o.bond,    &c->o.nameserver, &c->o.route,
					      &c->o.ssh_keys};

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		if (lists[i]->len > 0)
			return true;
	}
	return c->o.add.len == 0 || c->o.token || c->o.new_token || c->o.pin || c->o.server ||
	       c->o.download;
}

static void note_missing(const json_t *settings)
{
	if (!json_object_get(settings, "token")) {
		(void)fprintf(stderr,
			      "hoist: note: without a token (--new-token) machines that boot "
			      "from it are paired by hand, with a code on their screens\n");
	} else if (!json_object_get(settings, "pin")) {
		(void)fprintf(stderr, "hoist: note: without a fingerprint (--pin) machines that "
				      "boot from it give their token to no server\n");
	}
}

static int personalise(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *settings = json_object(), *token = NULL, *added = NULL;
	bool has_settings = has_settings_to_write(c);
	int r = has_settings ? gather(c, settings, err) : 0;

	if (r == 0)
		r = check_fits(settings, err);
	if (r == 0)
		r = write_medium(c, has_settings, settings, &token, &added, err);
	if (r < 0)
		return r;
	if (has_settings)
		note_missing(settings);
	if (!c->o.json)
		(void)printf("%s:\n", c->o.out);
	print_settings(c, settings, token, added);
	return 0;
}

static int read_settings(int fd, uint64_t offset, json_t *settings, struct err *err)
{
	CLEANUP_FREE uint8_t *area = malloc(MEDIUM_AREA_SIZE);
	const char *text = NULL;
	size_t size = 0;
	int r = 0;

	if (!area)
		return err_set(err, -ENOMEM, "out of memory");
	if (medium_read(fd, area, MEDIUM_AREA_SIZE, offset) != MEDIUM_AREA_SIZE)
		r = err_set(err, -EIO, "read the settings: %m");
	if (r == 0)
		r = medium_decode(area, &text, &size, err);
	if (r == 0)
		r = medium_settings_parse(text, size, settings, err);
	explicit_bzero(area, MEDIUM_AREA_SIZE);
	return r;
}

/* The places of a medium.  One of the two may be missing: in what is served over the network each is a file by itself, and older media have no
 * place for archives. */
static int find_places(int fd, uint64_t *ret_offset, bool *ret_has_settings,
		       struct iso_place *ret_place, bool *ret_has_place, struct err *err)
{
	struct err none;
	int r = medium_find(fd, ret_offset, err), p = iso_place_find(fd, ret_place, &none);

	*ret_has_settings = r == 0;
	*ret_has_place = p == 0;
	if (p < 0 && p != -ENOENT) {
		*err = none;
		return p;
	}
	return r == -ENOENT && p == 0 ? 0 : r;
}

static int show(struct ctx *c, struct err *err)
{
	CLEANUP(added_done) struct added a = {.data = NULL};
	CLEANUP_JSON json_t *settings = json_object();
	CLEANUP_CLOSE int fd = -1;
	bool has_settings = false, has_place = false;
	struct iso_place place;
	uint64_t offset = 0;
	int r = open_medium(c->o.show, O_RDONLY, &fd, err);

	if (r < 0)
		return r;
	r = find_places(fd, &offset, &has_settings, &place, &has_place, err);
	if (r == 0 && has_settings)
		r = read_settings(fd, offset, settings, err);
	if (r == 0 && has_place)
		r = added_read(fd, &place, &a, err);
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.show);
	print_settings(c, settings, NULL, a.list);
	return 0;
}

static int reset(struct ctx *c, struct err *err)
{
	CLEANUP_JSON json_t *none = json_object();
	CLEANUP_CLOSE int fd = -1;
	bool has_settings = false, has_place = false;
	struct iso_place place;
	uint64_t offset = 0;
	int r = open_medium(c->o.reset, O_RDWR, &fd, err);

	if (r < 0)
		return r;
	r = find_places(fd, &offset, &has_settings, &place, &has_place, err);
	if (r == 0 && has_settings)
		r = write_area(fd, offset, none, err);
	if (r == 0 && has_place && place.size > ISO_PLACE_START)
		r = iso_place_write(fd, &place, "", 0, err);
	if (r == 0 && fsync(fd) < 0)
		r = err_set(err, -errno, "write: %m");
	if (r < 0)
		return err_prefix(err, "'%s'", c->o.reset);
	(void)puts(c->o.json	? "{}"
		   : !has_place ? "the settings were removed"
				: "the settings were removed, and what was added");
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
