/* config.c - what stands on the command line counts most, then the kernel line, then the settings file: who is nearer to the machine
 * knows better.  The command line is read twice, since it says which file to read. */
#include "agent/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent/level.h"
#include "common/cleanup.h"
#include "common/http.h"
#include "common/limits.h"

#define ALL	       (SETTING_ARGV | SETTING_KERNEL | SETTING_FILE)
#define FILE_SIZE_MAX  (64u << 10)
#define MEMORY_MIN     (48ull << 20)
#define MEMORY_DEFAULT (64ull << 20)
#define IMAGE_SETTINGS "/hoist.d/settings"
#define IMAGE_CMDLINE  "/proc/cmdline"
#define IMAGE_STATE    "/run/hoist"

static int check_url(const char *text, struct err *err)
{
	struct http_target t;

	return http_target_set_url(&t, text, err);
}

static int check_pin(const char *text, struct err *err)
{
	struct http_target t;

	return http_target_set_pin(&t, text, err);
}

static int check_name(const char *text, struct err *err)
{
	size_t len = strlen(text);

	for (const char *p = text; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			return err_set(err, -EINVAL, "a name is printable ASCII");
	}
	if (len >= 1 && len <= NAME_MAX_LEN)
		return 0;
	return err_set(err, -EINVAL, "a name has 1 to %u characters", NAME_MAX_LEN);
}

/* 1 to 19, or 0 for "auto". */
static int parse_level(const char *text, int *ret, struct err *err)
{
	long v;
	char *end;

	if (strcmp(text, "auto") == 0) {
		*ret = 0;
		return 0;
	}
	v = strtol(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || v < 1 || v > LEVEL_MOST)
		return err_set(err, -EINVAL, "it is 'auto' or a number from 1 to %d", LEVEL_MOST);
	*ret = (int)v;
	return 0;
}

static int check_level(const char *text, struct err *err)
{
	int ignored;

	return parse_level(text, &ignored, err);
}

static int check_replay(const char *text, struct err *err)
{
	if (strcmp(text, "yes") == 0 || strcmp(text, "no") == 0)
		return 0;
	return err_set(err, -EINVAL, "it is 'yes' or 'no'");
}

#define AT(field) offsetof(struct config, field)

static const struct setting settings[] = {
	{"server", SETTING_TEXT, ALL, AT(server), 0, 0, NULL, "URL",
	 "the server, as host, host:port or https://host:port; looked for if not given; without --pin this machine is paired with it",
	 check_url},
	{"pin", SETTING_TEXT, ALL, AT(pin), 0, 0, NULL, "FINGERPRINT",
	 "fingerprint of the server's key, as 'hoist server info' shows it; no other server is talked to; without it a person confirms the server by a code on this machine's screen",
	 check_pin},
	{"token", SETTING_TEXT, ALL | SETTING_SECRET, AT(token), 0, 0, NULL, "TOKEN",
	 "enrolment token, from 'hoist token create'", NULL},
	{"token-file", SETTING_TEXT, SETTING_ARGV | SETTING_FILE, AT(token_file), 0, 0, NULL,
	 "FILE", "file whose first line is the token", NULL},
	{"name", SETTING_TEXT, ALL, AT(name), 0, 0, NULL, "NAME",
	 "what to call this machine; else its host name or what its firmware says", check_name},
	{"hostname", SETTING_TEXT, SETTING_KERNEL | SETTING_FILE, AT(hostname), 0, 0, NULL, "NAME",
	 "host name of the live image", check_name},
	{"id", SETTING_TEXT, ALL, AT(id), 0, 0, NULL, "TEXT",
	 "the machine's id, in place of the one that its hardware gives", NULL},
	{"disk", SETTING_LIST, ALL, AT(disks), 0, 0, NULL, "FILE[,sector=N][,name=NAME][,ro]",
	 "a plain file that stands for a disk; real disks are not looked at then", NULL},
	{"memory", SETTING_SIZE, ALL, AT(memory), MEMORY_MIN, 1ull << 50, NULL, "SIZE",
	 "memory to use at most; an eighth of what there is if not given, at least 64M", NULL},
	{"workers", SETTING_U64, ALL, AT(workers), 1, 32, NULL, "N",
	 "threads that transfer; twice the cores if not given, 2 to 8, as memory allows", NULL},
	{"level", SETTING_TEXT, ALL, AT(level_text), 0, 0, NULL, "N|auto",
	 "compression when the order says nothing: 1 is fast, 19 is small; 'auto', which it is if not given, starts at 1 and follows what the transfer waits for: up to 6 when that is network or server, down to none at all when it is the processor",
	 check_level},
	{"io-uring", SETTING_BOOL, ALL, AT(io_uring), 0, 0, "yes", NULL,
	 "read disks by io_uring where the kernel has it (--io-uring=no: one read at a time by each worker)",
	 NULL},
	{"discovery", SETTING_BOOL, ALL, AT(discovery), 0, 0, "yes", NULL,
	 "announce this machine on the local networks (--discovery=no: do not)", NULL},
	{"discovery-port", SETTING_U64, ALL, AT(discovery_port), 1, 65535, "4647", "PORT",
	 "UDP port that servers listen on", NULL},
	{"interface", SETTING_LIST, ALL, AT(interfaces), 0, 0, NULL, "NAME",
	 "announce on this network interface only; may be repeated", NULL},
	{"replay", SETTING_TEXT, ALL, AT(replay), 0, 0, NULL, "yes|no",
	 "let the kernel replay the log of an unclean ext4, XFS or btrfs on a copy in memory, so that it is not copied whole; 'yes' in the live image if not given, else 'no'",
	 check_replay},
	{"console", SETTING_LIST, ALL, AT(consoles), 0, 0, NULL, "DEVICE",
	 "write what happens to this terminal as well; may be repeated", NULL},
	{"state", SETTING_TEXT, ALL, AT(state), 0, 0, NULL, "DIR",
	 "folder for the session's secret and the server that was paired with, so that a restart needs neither token nor code",
	 NULL},
	{"settings", SETTING_TEXT, SETTING_ARGV, AT(settings), 0, 0, NULL, "FILE",
	 "read settings from FILE, lines of key=value", NULL},
	{"cmdline", SETTING_TEXT, SETTING_ARGV, AT(cmdline), 0, 0, NULL, "TEXT",
	 "read hoist.KEY=VALUE settings from TEXT as if it were the kernel line", NULL},
	{"image", SETTING_BOOL, SETTING_ARGV, AT(image), 0, 0, NULL, NULL,
	 "this is the live image: may restart the machine, reads the kernel line", NULL},
	{"once", SETTING_BOOL, SETTING_ARGV, AT(once), 0, 0, NULL, NULL,
	 "end after one job, with status 0 if it was done", NULL},
	{"shell", SETTING_BOOL, SETTING_KERNEL, AT(shell), 0, 0, NULL, NULL,
	 "the live image offers a shell on serial lines", NULL},
	{"progress-ms", SETTING_U64, SETTING_ARGV, AT(progress_ms), 50, 10000, "2000", "MS",
	 "how often a running job tells the server how far it is", NULL},
};
const struct setting_table config_table = {settings, sizeof(settings) / sizeof(*settings)};

/* The whole of a small file, heap, NUL-terminated. */
static int read_file(const char *path, char **ret, size_t *ret_size, struct err *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	CLEANUP_FREE char *text = malloc(FILE_SIZE_MAX + 1);
	size_t size = 0;
	ssize_t n = 1;

	if (!text)
		return err_set(err, -ENOMEM, "out of memory");
	while (fd >= 0 && size < FILE_SIZE_MAX && n > 0) {
		n = read(fd, text + size, FILE_SIZE_MAX - size);
		size += n > 0 ? (size_t)n : 0;
	}
	if (fd < 0 || n < 0)
		return err_set(err, -errno, "read '%s': %m", path);
	text[size] = '\0';
	*ret = TAKE_PTR(text);
	*ret_size = size;
	return 0;
}

static int load_file(struct config *c, const char *path, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size = 0;
	int r = read_file(path, &text, &size, err);

	if (r < 0 || !text)
		return r;
	r = settings_parse_file(&config_table, c, text, size, err);
	if (r < 0)
		(void)err_prefix(err, "settings file '%s'", path);
	explicit_bzero(text, size);
	return r;
}

static int load_cmdline(struct config *c, const char *cmdline, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	int r;

	if (cmdline)
		return settings_parse_cmdline(&config_table, c, cmdline, err);
	r = read_file(IMAGE_CMDLINE, &text, &size, err);
	if (r == 0)
		r = settings_parse_cmdline(&config_table, c, text, err);
	return r < 0 ? err_prefix(err, "kernel line") : 0;
}

/* Settings from elsewhere: what is wrong there is told and passed over. */
static int load_others(struct config *c, const struct config *first,
		       void (*warn)(void *ctx, const char *line), void *ctx, struct err *err)
{
	struct err bad = {0};
	int r = 0;

	if (first->settings) {
		r = load_file(c, first->settings, err);
		if (r == -ENOENT && first->settings && access(first->settings, F_OK) < 0)
			return r; /* asked for, and not there */
	} else if (first->image && access(IMAGE_SETTINGS, F_OK) == 0) {
		r = load_file(c, IMAGE_SETTINGS, err);
	}
	if (r < 0)
		warn(ctx, err->msg);
	if ((first->image || first->cmdline) && load_cmdline(c, first->cmdline, &bad) < 0)
		warn(ctx, bad.msg);
	return 0;
}

static int set_text(char **at, const char *text, struct err *err)
{
	free(*at);
	*at = strdup(text);
	return *at ? 0 : err_set(err, -ENOMEM, "out of memory");
}

static int load_token(struct config *c, struct err *err)
{
	CLEANUP_FREE char *text = NULL;
	size_t size;
	int r = read_file(c->token_file, &text, &size, err);

	if (r < 0 || !text)
		return err_prefix(err, "--token-file");
	text[strcspn(text, "\r\n")] = '\0';
	r = settings_set(&config_table, c, SETTING_FILE, "token", text, err);
	explicit_bzero(text, size);
	return r;
}

/* What is not said follows from what is. */
static int finish(struct config *c, struct err *err)
{
	struct sysinfo info;
	int r = 0;

	if (c->token_file && !c->token)
		r = load_token(c, err);
	if (r == 0 && c->image && !c->state)
		r = set_text(&c->state, IMAGE_STATE, err);
	if (r == 0 && c->level_text)
		r = parse_level(c->level_text, &c->level, err);
	c->may_replay = c->replay ? strcmp(c->replay, "yes") == 0 : c->image;
	if (c->memory == 0) {
		c->memory = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit / 8 : 0;
		if (c->memory < MEMORY_DEFAULT)
			c->memory = MEMORY_DEFAULT;
	}
	if (r == 0 && c->server && !c->pin && c->token) {
		r = err_set(
			err, -EINVAL,
			"--server with --token needs --pin, the fingerprint of that server's key "
			"('hoist server info' shows it); without a token they are paired");
	}
	return r;
}

int config_load(struct config *c, int argc, char **argv, void (*warn)(void *ctx, const char *line),
		void *ctx, struct err *err)
{
	CLEANUP(config_done) struct config first = {0};
	int operand = 0, r;

	*c = (struct config){0};
	r = settings_parse_argv(&config_table, &first, argc, argv, &operand, err);
	if (r != 0)
		return r;
	if (operand < argc)
		return err_set(err, -EINVAL, "'%s' is not expected here", argv[operand]);
	r = settings_init(&config_table, c, err);
	if (r == 0)
		r = load_others(c, &first, warn, ctx, err);
	if (r == 0)
		r = settings_parse_argv(&config_table, c, argc, argv, &operand, err);
	if (r == 0)
		r = finish(c, err);
	return r;
}

void config_done(struct config *c)
{
	settings_done(&config_table, c);
}
