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
#include "agent/locks.h"
#include "common/cleanup.h"
#include "common/http.h"
#include "common/limits.h"

#define FILE_SIZE_MAX (64u << 10)
#define MEMORY_LEAST  (64ull << 20)
#define MEMORY_BASE   (32ull << 20)
#define MEMORY_CORE   (16ull << 20)
#define IMAGE_STATE   "/run/hoist"

_Static_assert(CONFIG_LEVEL_MAX == LEVEL_MOST, "one limit");

int config_read_file(const char *path, char **ret, size_t *ret_size, struct err *err)
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
	int r = config_read_file(path, &text, &size, err);

	if (r < 0 || !text)
		return r;
	r = settings_parse_file(&agent_config_table, c, text, size, err);
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
		return settings_parse_cmdline(&agent_config_table, c, cmdline, err);
	r = config_read_file(CONFIG_IMAGE_CMDLINE, &text, &size, err);
	if (r == 0)
		r = settings_parse_cmdline(&agent_config_table, c, text, err);
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
		if (r == -ENOENT && access(first->settings, F_OK) < 0)
			return r; /* asked for, and not there */
	} else if (first->image && access(CONFIG_IMAGE_SETTINGS, F_OK) == 0) {
		r = load_file(c, CONFIG_IMAGE_SETTINGS, err);
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
	int r = config_read_file(c->token_file, &text, &size, err);

	if (r < 0 || !text)
		return err_prefix(err, "--token-file");
	text[strcspn(text, "\r\n")] = '\0';
	r = settings_set(&agent_config_table, c, SETTING_FILE, "token", text, err);
	explicit_bzero(text, size);
	return r;
}

/* Enough for a worker more than there are cores at the highest level that an adaptive one goes to, within an eighth of what there is. */
static void choose_memory(struct config *c)
{
	struct sysinfo info;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	c->memory_max = c->memory;
	if (c->memory > 0)
		return;
	c->memory_max = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit / 8 : 0;
	if (c->memory_max < MEMORY_LEAST)
		c->memory_max = MEMORY_LEAST;
	c->memory = MEMORY_BASE + MEMORY_CORE * (uint64_t)(cores > 2 ? cores : 2);
	if (c->memory > c->memory_max)
		c->memory = c->memory_max;
}

/* What is not said follows from what is. */
static int finish(struct config *c, struct err *err)
{
	int r = 0;

	if (c->token_file && !c->token)
		r = load_token(c, err);
	if (r == 0 && c->image && !c->state)
		r = set_text(&c->state, IMAGE_STATE, err);
	c->locks = c->image && c->ssh_keys.len > 0 ? LOCKS_IMAGE_PATH : NULL;
	if (r == 0 && c->level_text)
		r = config_parse_level(c->level_text, &c->level, err);
	c->may_replay = c->replay ? strcmp(c->replay, "yes") == 0 : c->image;
	choose_memory(c);
	/* A medium may say so, and nobody is there to put it right: the token is kept back then, and the machine is paired. */
	if (r == 0 && c->server && !c->pin && c->token && !c->image) {
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
	r = settings_parse_argv(&agent_config_table, &first, argc, argv, &operand, err);
	if (r != 0)
		return r;
	if (operand < argc)
		return err_set(err, -EINVAL, "'%s' is not expected here", argv[operand]);
	r = settings_init(&agent_config_table, c, err);
	if (r == 0)
		r = load_others(c, &first, warn, ctx, err);
	if (r == 0)
		r = settings_parse_argv(&agent_config_table, c, argc, argv, &operand, err);
	if (r == 0)
		r = finish(c, err);
	return r;
}

void config_done(struct config *c)
{
	settings_done(&agent_config_table, c);
}
