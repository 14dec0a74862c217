/* What a server answers an operator: every command prints it.  Nothing that a terminal obeys may come out: no control characters, in ASCII or
 * above it, whatever machines and servers call themselves.
 *
 * The input: the command (1), with --json, --wait (1), then answers: size (2), document; one that is none is a refusal.  http.c is left
 * out: its functions are these. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "tests/fuzz/fuzz.h"

struct http {
	struct reader in;
};

static struct http answers;

struct http *http_new(const struct http_target *t)
{
	(void)t;
	return &answers;
}

void http_free(struct http *h)
{
	(void)h;
}

int http_do(struct http *h, const struct http_request *q, struct http_answer *ret, struct err *err)
{
	(void)h;
	(void)q;
	(void)ret;
	return err_set(err, -EIO, "nothing is downloaded here");
}

void http_set_secret(struct http *h, const char *secret)
{
	(void)h;
	(void)secret;
}

bool http_may_retry(int r, const struct http_answer *a)
{
	(void)r;
	(void)a;
	return false;
}

int http_json(struct http *h, const struct http_call *call, json_t **ret,
	      struct http_answer *ret_answer, struct err *err)
{
	uint16_t length = reader_u16(&h->in);
	size_t size = length < h->in.left ? length : h->in.left;
	const char *text = (const char *)reader_bytes(&h->in, size);
	json_t *j = NULL;
	int r = h->in.bad ? -EPROTO : json_parse(text, size, JSON_BIG_MAX, &j, err);

	(void)call;
	if (ret_answer)
		*ret_answer = (struct http_answer){.status = r < 0 ? 404 : 200};
	if (r < 0)
		return err_set(err, -EREMOTEIO, "refused");
	if (ret && json_object_size(j) > 0) {
		*ret = j;
		return 0;
	}
	json_decref(j); /* {}: a 204 */
	if (ret)
		*ret = NULL;
	return 0;
}

static void check(const char *text, size_t size, bool is_json)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];
		unsigned char next = i + 1 < size ? (unsigned char)text[i + 1] : 0;

		/* a document is in ASCII where it goes to a terminal; this is none */
		if ((c < 0x20 && c != '\n') ||
		    (!is_json && (c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0)))) {
			(void)fwrite(text, 1, size, stdout);
			abort();
		}
	}
}

/* A file with a password in it. */
static char *password_file(void)
{
	static char path[64];
	static int fd = -1;

	if (fd < 0) {
		fd = memfd_create("password", MFD_CLOEXEC);
		if (fd < 0 || write(fd, "a password\n", 11) != 11)
			abort();
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	}
	return strdup(path);
}

static void run(const struct command *cmd, unsigned how)
{
	static char word[] = "abcd", server[] = "https://h:1";
	char *operands[] = {word, word, word, NULL};
	struct setting buf[COMMAND_OPTIONS_MAX];
	struct setting_table table = command_options(cmd, buf);
	struct ctx c = {.command = cmd, .operands = operands, .http = &answers};
	struct err err;

	if (settings_init(&table, &c.o, &err) == 0) {
		c.operands_len = cmd->operands_max < 3 ? cmd->operands_max : 3;
		if ((how & 4) && cmd->operands_min < c.operands_len)
			c.operands_len = cmd->operands_min;
		c.o.json = how & 1 && cmd->takes & TAKES_JSON;
		c.o.wait = how & 2 && cmd->takes & TAKES_WAIT;
		free(c.o.password_file);
		free(c.o.old_password_file);
		c.o.password_file = password_file();
		c.o.old_password_file = password_file();
		(void)!http_target_set_url(&c.target, server, &err);
		(void)!cmd->run(&c, &err);
	}
	settings_done(&table, &c.o);
	free(c.o.password_file); /* of a command that takes none */
	free(c.o.old_password_file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *out = stdout, *errors = stderr, *f;
	const struct command *cmd;
	char *text = NULL;
	size_t text_size = 0;
	unsigned number, how;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread; as main does */
	(void)setlocale(LC_CTYPE, "C.UTF-8");
	reader_init(&answers.in, data, size);
	number = reader_u8(&answers.in);
	how = reader_u8(&answers.in);
	cmd = commands[number % commands_len];
	if (strcmp(cmd->name, "iso") == 0)
		return 0; /* writes files */
	f = open_memstream(&text, &text_size);
	if (!f)
		abort();
	stdout = stderr = f;
	run(cmd, how);
	stdout = out;
	stderr = errors;
	(void)fclose(f);
	check(text, text_size, how & 1);
	free(text);
	return 0;
}
