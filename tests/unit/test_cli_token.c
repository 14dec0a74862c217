/* Which token the CLI shows to which server: one that was named for another key is not shown. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "server/cli/cli.h"
#include "tests/unit/tap.h"

#define KEY_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[] = "/tmp/hoist-test-cli-token-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

static void make_folder(const char *name)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (mkdir(path, 0700) < 0)
		abort();
}

/* What places say, the weaker ones first; NULL: nothing. */
struct places {
	const char *config;		  /* the configuration file */
	const char *env_token, *env_pin;  /* HOIST_TOKEN_FILE, HOIST_PIN */
	bool env_data;			  /* HOIST_DATA: the folder of the server with KEY_A */
	const char *server, *pin, *token; /* options */
};

/* NOLINTBEGIN(concurrency-mt-unsafe): one thread */
static void set(const char *key, const char *value)
{
	if ((value ? setenv(key, value, 1) : unsetenv(key)) < 0)
		abort();
}
/* NOLINTEND(concurrency-mt-unsafe) */

/* The name of the file whose token would be shown; "" for none. */
static const char *token_of(const struct places *p, struct ctx *c)
{
	char data[PATH_MAX];
	struct err err;
	const char *name;

	(void)snprintf(data, sizeof(data), "%s/data", dir);
	put("hoist/config", p->config ? p->config : "");
	set("HOIST_TOKEN_FILE", p->env_token);
	set("HOIST_PIN", p->env_pin);
	set("HOIST_DATA", p->env_data ? data : NULL);
	*c = (struct ctx){.o = {.server = p->server ? strdup(p->server) : NULL,
				.pin = p->pin ? strdup(p->pin) : NULL,
				.token_file = p->token ? strdup(p->token) : NULL}};
	if (target_find(c, &err) < 0) {
		printf("# %s\n", err.msg);
		return "(error)";
	}
	name = strrchr(c->o.token_file, '/');
	return name ? name + 1 : c->o.token_file;
}

static void done_with(struct ctx *c)
{
	free(c->o.server);
	free(c->o.pin);
	free(c->o.token_file);
}

static void check(const struct places *p, const char *want, const char *name)
{
	struct ctx c;
	const char *got = token_of(p, &c);

	if (!ok(strcmp(got, want) == 0, name))
		printf("# got '%s', wanted '%s'\n", got, want);
	done_with(&c);
}

static void test_data_folder(void)
{
	struct err err = {0};
	struct ctx c;

	check(&(struct places){.env_data = true}, "operator.token", "a data folder's own server");
	check(&(struct places){.env_data = true, .server = "a.example", .pin = KEY_A},
	      "operator.token", "by another address, with the same key");
	check(&(struct places){.env_data = true, .server = "b.example", .pin = KEY_B}, "",
	      "another server is not shown the data folder's token");
	check(&(struct places){.env_data = true, .env_pin = KEY_B, .pin = KEY_A}, "operator.token",
	      "the strongest place says whose it is");
	check(
		&(struct places){
			.env_data = true, .server = "b.example", .pin = KEY_B, .token = "/b"},
		"b", "but the one that is given for it");
	(void)token_of(&(struct places){.env_data = true, .server = "b.example", .pin = KEY_B}, &c);
	ok(api(&c, "GET", "/v1/machines", NULL, NULL, &err) == -EINVAL &&
		   strstr(err.msg, "is another server's"),
	   "which the sentence says, before anything is sent");
	done_with(&c);
}

static void test_configuration(void)
{
	static const char a[] = "server=a.example\npin=" KEY_A "\ntoken-file=/tokens/a\n";
	static const char open[] = "token-file=/tokens/any\n";

	check(&(struct places){.config = a}, "a", "what the configuration says of its server");
	check(&(struct places){.config = a, .server = "b.example", .pin = KEY_B}, "",
	      "is not for another one");
	check(&(struct places){.config = open, .server = "b.example", .pin = KEY_B}, "any",
	      "a token that was named without a key is for whichever server is named");
	check(&(struct places){.config = a, .env_token = "/tokens/b", .server = "b", .pin = KEY_B},
	      "b", "a stronger place's, too");
	put("hoist/tokens/" KEY_B, "login\n");
	check(&(struct places){.config = a, .server = "b.example", .pin = KEY_B}, KEY_B,
	      "and what 'hoist login' has kept for that server is taken");
	check(&(struct places){.config = a}, "a", "for that one alone");
}

int main(void)
{
	CLEANUP_FREE char *command = NULL;

	(void)umask(077);
	if (!mkdtemp(dir))
		abort();
	make_folder("hoist");
	make_folder("hoist/tokens");
	make_folder("data");
	put("data/server.json",
	    "{\"url\": \"https://127.0.0.1:1\", \"fingerprint\": \"" KEY_A "\"}\n");
	put("data/operator.token", "an operator's token\n");
	set("XDG_CONFIG_HOME", dir);
	set("HOIST_SERVER", NULL);
	test_data_folder();
	test_configuration();
	if (asprintf(&command, "rm -r '%s'", dir) < 0)
		abort();
	return system(command) == 0 ? done() : 1; // NOLINT: a test, and its own folder
}
