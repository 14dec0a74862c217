/* iso: the settings of a finished boot medium, and what is added to it.  Only the 64 KiB of the settings area are written, and archives behind
 * everything else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/medium.h"
#include "common/medium_settings.h"
#include "server/cli/cli.h"
#include "server/cli/iso_added.h"
#include "server/cli/iso_area.h"
#include "server/cli/iso_copy.h"
#include "server/cli/iso_place.h"
#include "server/cli/iso_settings.h"
#include "server/cli/iso_ssh.h"
#include "server/cli/iso_token.h"
#include "server/cli/options.h"
#include "server/cli/print.h"

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
		iso_token_print(token);
	added_print(added);
}

/* The token comes last: a run that fails for another reason leaves none. */
static int write_medium(struct ctx *c, bool has_settings, json_t *settings, json_t **ret_token,
			json_t **ret_added, struct err *err)
{
	CLEANUP(iso_copy_done) struct iso_copy copy = {.fd = -1, .has_settings = has_settings};
	int r = iso_copy_begin(c, &copy, err);

	if (r == 0)
		r = add_archives(c, copy.fd, ret_added, err);
	if (r == 0 && c->o.new_token)
		r = iso_token_make(c, settings, ret_token, err);
	if (r == 0)
		r = iso_copy_finish(c, &copy, settings, err);
	if (r < 0 && *ret_token)
		iso_token_drop(c, *ret_token);
	return r;
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
	bool has_settings = iso_settings_are_given(c);
	int r = has_settings ? iso_settings_gather(c, settings, err) : 0;

	if (r == 0)
		r = iso_area_check(settings, err);
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
	int r = iso_open(c->o.show, O_RDONLY, &fd, err);

	if (r < 0)
		return r;
	r = find_places(fd, &offset, &has_settings, &place, &has_place, err);
	if (r == 0 && has_settings)
		r = iso_area_read(fd, offset, settings, err);
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
	int r = iso_open(c->o.reset, O_RDWR, &fd, err);

	if (r < 0)
		return r;
	r = find_places(fd, &offset, &has_settings, &place, &has_place, err);
	if (r == 0 && has_settings)
		r = iso_area_write(fd, offset, none, err);
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

static int run_iso(struct ctx *c, struct err *err)
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

/* The agent's own table judges the values when they are added. */
#define NET_OPTION(key_text, field, value_text, help_text)                                       \
	{                                                                                        \
		.key = (key_text), .type = SETTING_LIST, ARGV, AT(field), .value = (value_text), \
		.help = (help_text)                                                              \
	}
static const struct setting iso_options[] = {
	{.key = "in",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(in),
	 .value = "FILE",
	 .help = "Boot medium to start from"},
	{.key = "download",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(download),
	 .value = "NAME",
	 .help = "Start from a boot medium that the server has (hoist media lists them)"},
	{.key = "out",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(out),
	 .value = "FILE",
	 .help = "Medium to write, readable by you alone"},
	{.key = "set",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(set),
	 .value = "KEY=VALUE",
	 .help = "Any further setting of the live image, as on its kernel line without 'hoist.'"},
	NET_OPTION("ip", ip, "SPEC",
		   "Addresses of the live image, as dracut.cmdline(7) has them: eth0:dhcp, or "
		   "ADDRESS::GATEWAY:NETMASK::INTERFACE:none; may be repeated, as the next four"),
	NET_OPTION("vlan", vlan, "NAME:DEVICE", "A VLAN: vlan5:eth0"),
	NET_OPTION("bond", bond, "NAME:SLAVES:OPTIONS", "A bond: bond0:eth0,eth1:mode=802.3ad"),
	NET_OPTION("nameserver", nameserver, "ADDRESS", "A name server"),
	NET_OPTION("route", route, "NET/NETMASK:GATEWAY", "A route"),
	{.key = "ssh-key",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(ssh_keys),
	 .value = "FILE",
	 .help = "Public keys, as in a file .pub or authorized_keys, of those who may log in to the "
		 "live image by SSH; without one nothing listens there"},
	{.key = "add",
	 .type = SETTING_LIST,
	 ARGV,
	 AT(add),
	 .value = "FILE",
	 .help = "Archive (cpio or tar, also compressed) of firmware or kernel modules that the "
		 "medium is to have as well"},
	{.key = "token",
	 .type = SETTING_TEXT,
	 ARGV | SETTING_SECRET,
	 AT(token),
	 .value = "TOKEN",
	 .help = "Enrolment token for the medium; '-' reads it from standard input"},
	{.key = "new-token",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(new_token),
	 .help = "Let the server make an enrolment token for the medium"},
	TOKEN_OPTIONS(ISO_USES, ISO_EXPIRES),
	{.key = "show",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(show),
	 .value = "FILE",
	 .help = "Print the settings of a medium and what was added to it instead"},
	{.key = "secrets",
	 .type = SETTING_BOOL,
	 ARGV,
	 AT(secrets),
	 .help = "With --show: print secrets too"},
	{.key = "reset",
	 .type = SETTING_TEXT,
	 ARGV,
	 AT(reset),
	 .value = "FILE",
	 .help = "Remove the settings of a medium and what was added to it instead, in place"},
};

const struct command cmd_iso = {
	.name = "iso",
	.operands = "",
	.summary = "Make a boot medium that knows its server",
	.text = "Copies the boot medium --in to --out and writes settings into the place "
		"that it reserves for them; nothing is rebuilt. Address and fingerprint are "
		"those of the server that the other options name; of a server that is "
		"found by --data only the fingerprint is written, and machines find it by "
		"broadcast.\n"
		"A machine booted from it registers with no question asked. Whoever has the "
		"medium has its token. The note of one made by --new-token is, without "
		"--note, 'medium' and the name of the file: 'hoist token list' shows which "
		"one to revoke when the medium is lost.\n"
		"With --ssh-key, which may be repeated, whoever has one of those keys is root "
		"on every machine that boots the medium, for as long as it runs: 'ssh "
		"root@ADDRESS'. The machine's screen shows the fingerprint of its host key, a "
		"new one at each start. All disks are set read-only; root can undo that.\n"
		"--add gives the medium firmware (lib/firmware/...) or modules "
		"(lib/modules/RELEASE/...) that it has not got, as its console names them: "
		"modules for its very kernel, and with Secure Boot signed by a key that the "
		"machine knows. What was added before stays, and so do the settings when "
		"none are named. For starting from the network --in is added.img.",
	.example = "hoist iso --in hoist.iso --out hall3.iso --new-token --uses 20",
	.takes = TAKES_SERVER | TAKES_JSON,
	OPTIONS(iso_options),
	.run = run_iso,
};
