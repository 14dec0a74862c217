#include "common/setting.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "common/cleanup.h"
#include "tests/unit/tap.h"

struct config {
	char *server, *token, *name;
	bool shell, quiet;
	uint64_t port, memory;
	struct setting_list disks;
};

static int check_name(const char *text, struct err *err)
{
	return strchr(text, '/') ? err_set(err, -EINVAL, "'%s' has a slash", text) : 0;
}

#define ALL	  (SETTING_ARGV | SETTING_KERNEL | SETTING_FILE)
#define AT(field) offsetof(struct config, field)
static const struct setting settings[] = {
	{"server", SETTING_TEXT, ALL, AT(server), 0, 0, NULL, "URL", "Where the server is", NULL},
	{"token", SETTING_TEXT, SETTING_FILE | SETTING_SECRET, AT(token), 0, 0, NULL, "TOKEN",
	 "Enrolment token", NULL},
	{"name", SETTING_TEXT, ALL, AT(name), 0, 0, "box", "NAME",
	 "What to call this machine, which is a long story that does not fit on one line of help",
	 check_name},
	{"shell", SETTING_BOOL, SETTING_KERNEL, AT(shell), 0, 0, NULL, NULL, "A shell", NULL},
	{"quiet", SETTING_BOOL, ALL, AT(quiet), 0, 0, "yes", NULL, "Say less", NULL},
	{"poll-port", SETTING_U64, ALL, AT(port), 1, 65535, "4647", "PORT", "Port", NULL},
	{"memory", SETTING_SIZE, ALL, AT(memory), 1 << 20, 1ull << 40, "64M", "SIZE", "Memory",
	 NULL},
	{"disk", SETTING_LIST, ALL, AT(disks), 0, 0, NULL, "FILE", "A disk", NULL},
};
static const struct setting_table table = {settings, sizeof(settings) / sizeof(settings[0])};

static struct config fresh(void)
{
	struct config c = {0};
	struct err err = {0};

	if (settings_init(&table, &c, &err) < 0)
		abort();
	return c;
}

/* The whole configuration as text; secrets hidden. */
static const char *dump(const struct config *c)
{
	static char text[4096];
	FILE *f = fmemopen(text, sizeof(text), "w");

	settings_dump(&table, c, f);
	(void)fclose(f);
	return text;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void test_init(void)
{
	struct config c = fresh();

	ok(!c.server && !c.token && same(c.name, "box"), "texts: presets, else NULL");
	ok(c.port == 4647 && c.memory == 64 << 20 && c.quiet && !c.shell && c.disks.len == 0,
	   "the others: presets, else nothing");
	settings_done(&table, &c);
	ok(!c.name, "done: gone");
	settings_done(&table, &c);
}

static void test_set(void)
{
	static const struct {
		const char *key, *value, *want; /* want: a line of the dump, or NULL */
		unsigned source;
		int r;
		const char *message;
	} cases[] = {
		{"poll-port", "1", "poll-port=1\n", SETTING_ARGV, 0, ""},
		{"poll-port", "65535", "poll-port=65535\n", SETTING_ARGV, 0, ""},
		{"poll-port", "0", NULL, SETTING_ARGV, -EINVAL,
		 "--poll-port: '0' is not a number from 1 to 65535"},
		{"poll-port", "65536", NULL, SETTING_KERNEL, -EINVAL,
		 "hoist.poll-port: '65536' is not a number from 1 to 65535"},
		{"poll-port", "18446744073709551617", NULL, SETTING_FILE, -EINVAL,
		 "poll-port: '18446744073709551617' is not a number from 1 to 65535"},
		{"poll-port", "", NULL, SETTING_ARGV, -EINVAL,
		 "--poll-port: '' is not a number from 1 to 65535"},
		{"poll-port", " 1", NULL, SETTING_ARGV, -EINVAL,
		 "--poll-port: ' 1' is not a number from 1 to 65535"},
		{"poll-port", "1K", NULL, SETTING_ARGV, -EINVAL,
		 "--poll-port: '1K' is not a number from 1 to 65535"},
		{"poll-port", "-1", NULL, SETTING_ARGV, -EINVAL,
		 "--poll-port: '-1' is not a number from 1 to 65535"},
		{"memory", "1M", "memory=1048576\n", SETTING_ARGV, 0, ""},
		{"memory", "2048k", "memory=2097152\n", SETTING_ARGV, 0, ""},
		{"memory", "3g", "memory=3221225472\n", SETTING_ARGV, 0, ""},
		{"memory", "1T", "memory=1099511627776\n", SETTING_ARGV, 0, ""},
		{"memory", "16777217T", NULL, SETTING_ARGV, -EINVAL,
		 "--memory: '16777217T' is not a size in bytes (suffixes K, M, G, T) from 1048576 "
		 "to 1099511627776"},
		{"memory", "1MB", NULL, SETTING_ARGV, -EINVAL,
		 "--memory: '1MB' is not a size in bytes (suffixes K, M, G, T) from 1048576 to "
		 "1099511627776"},
		{"memory", "M", NULL, SETTING_ARGV, -EINVAL,
		 "--memory: 'M' is not a size in bytes (suffixes K, M, G, T) from 1048576 to "
		 "1099511627776"},
		{"quiet", "no", "quiet=no\n", SETTING_ARGV, 0, ""},
		{"quiet", "0", "quiet=no\n", SETTING_ARGV, 0, ""},
		{"quiet", "false", "quiet=no\n", SETTING_ARGV, 0, ""},
		{"quiet", "off", "quiet=no\n", SETTING_ARGV, 0, ""},
		{"quiet", "", "quiet=yes\n", SETTING_ARGV, 0, ""},
		{"quiet", "true", "quiet=yes\n", SETTING_ARGV, 0, ""},
		{"quiet", "maybe", NULL, SETTING_ARGV, -EINVAL,
		 "--quiet: 'maybe' is not yes or no"},
		{"name", "a\x1b[2Jb", NULL, SETTING_FILE, -EINVAL,
		 "name: the value holds a control character (0x1b)"},
		{"name", "a/b", NULL, SETTING_KERNEL, -EINVAL, "hoist.name: 'a/b' has a slash"},
		{"name", "", "name=\n", SETTING_ARGV, 0, ""},
		{"token", "xyz", "token=***\n", SETTING_FILE, 0, ""},
		{"token", "xyz", NULL, SETTING_ARGV, -ENOENT, "--token is not a known setting"},
		{"shell", "1", NULL, SETTING_FILE, -ENOENT, "shell is not a known setting"},
		{"nam", "1", NULL, SETTING_FILE, -ENOENT, "nam is not a known setting"},
		{"namee", "1", NULL, SETTING_FILE, -ENOENT, "namee is not a known setting"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config c = fresh();
		struct err err = {0};
		char name[128];
		CLEANUP_FREE char *before = strdup(dump(&c));
		int r = settings_set(&table, &c, cases[i].source, cases[i].key, cases[i].value,
				     &err);
		const char *after = dump(&c);

		(void)snprintf(name, sizeof(name), "set %s=%.60s", cases[i].key, cases[i].value);
		ok(r == cases[i].r && same(err.msg, cases[i].message) &&
			   (cases[i].want ? strstr(after, cases[i].want) != NULL
					  : same(after, before)),
		   name);
		if (r != cases[i].r || !same(err.msg, cases[i].message))
			printf("# %d %s\n", r, err.msg);
		settings_done(&table, &c);
	}
}

static void test_long_value(void)
{
	static char value[4098];
	struct config c = fresh();
	struct err err = {0};

	memset(value, 'x', 4096);
	ok(settings_set(&table, &c, SETTING_FILE, "name", value, &err) == 0,
	   "4096 bytes are taken");
	value[4096] = 'x';
	ok(settings_set(&table, &c, SETTING_FILE, "name", value, &err) == -EINVAL &&
		   same(err.msg, "name: the value is longer than 4096 bytes"),
	   "4097 are not");
	ok(strlen(c.name) == 4096, "and the former value stays");
	settings_done(&table, &c);
}

/* Runs settings_parse_argv on the words of `line` (blanks part them). */
static int parse_argv(struct config *c, const char *line, char *ret_operands, struct err *err)
{
	static char words[512];
	char *argv[32], *rest = words;
	int argc = 0, first = -1, r;

	(void)snprintf(words, sizeof(words), "%s", line);
	while (rest && *rest)
		argv[argc++] = strsep(&rest, " ");
	r = settings_parse_argv(&table, c, argc, argv, &first, err);
	*ret_operands = '\0';
	for (int i = first; r == 0 && i < argc; i++)
		(void)sprintf(ret_operands + strlen(ret_operands), "%s ", argv[i]);
	return r;
}

static void test_argv(void)
{
	static const struct {
		const char *line, *operands, *dump;
		int r;
		const char *message;
	} cases[] = {
		{"", "", "", 0, ""},
		{"a b", "a b ", "", 0, ""},
		{"--server x a --name=n b --quiet=no c", "a b c ", "server=x\nname=n\nquiet=no\n",
		 0, ""},
		{"a --disk 1 b --disk=2 --disk --x", "a b ", "disk=1\ndisk=2\ndisk=--x\n", 0, ""},
		{"--quiet a", "a ", "quiet=yes\n", 0, ""},
		{"a --quiet -- --server b", "a --server b ", "quiet=yes\n", 0, ""},
		{"a - b", "a - b ", "", 0, ""},
		{"--name= a", "a ", "name=\n", 0, ""},
		{"a --help --bogus", "", "", 1, ""},
		{"-h", "", "", 1, ""},
		{"--disk --x a", "a ", "disk=--x\n", 0, ""},
		{"-- --help", "--help ", "", 0, ""},
		{"a --server", "", "", -EINVAL, "--server needs a value: URL"},
		{"--bogus=1", "", "", -EINVAL, "unknown option '--bogus'"},
		{"--serve=1", "", "", -EINVAL, "unknown option '--serve'"},
		{"--=1", "", "", -EINVAL, "unknown option '--'"},
		{"-x", "", "", -EINVAL, "unknown option '-x'"},
		{"--token t", "", "", -EINVAL, "unknown option '--token'"},
		{"--poll-port x", "", "", -EINVAL,
		 "--poll-port: 'x' is not a number from 1 to 65535"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config c = fresh();
		struct err err = {0};
		char operands[512], want[512], name[128];
		int r = parse_argv(&c, cases[i].line, operands, &err);
		bool right = r == cases[i].r && same(operands, cases[i].operands) &&
			     same(err.msg, cases[i].message);

		(void)snprintf(want, sizeof(want), "%s", cases[i].dump);
		for (char *rest = want, *line; right && (line = strsep(&rest, "\n"));)
			right = strstr(dump(&c), line) != NULL;
		(void)snprintf(name, sizeof(name), "argv: %s", cases[i].line);
		if (!ok(right, name))
			printf("# %d %s; %s\n", r, err.msg, operands);
		settings_done(&table, &c);
	}
}

static void test_cmdline(void)
{
	static const struct {
		const char *line, *dump;
		int r;
		const char *message;
	} cases[] = {
		{"", "", 0, ""},
		{"BOOT_IMAGE=/vmlinuz ro quiet server=no name.server=1 hoists.server=1",
		 "quiet=yes\n", 0, ""},
		{"ro hoist.server=https://a:1 hoist.shell", "server=https://a:1\nshell=yes\n", 0,
		 ""},
		{"hoist.shell=yes hoist.quiet=0\n", "shell=yes\nquiet=no\n", 0, ""},
		{"hoist.poll_port=7 hoist.disk=a\thoist.disk=b", "poll-port=7\ndisk=a\ndisk=b\n", 0,
		 ""},
		{"hoist.name=\"a b\" hoist.server=x", "name=a b\nserver=x\n", 0, ""},
		{"\"hoist.name=a b\" hoist.server=x", "name=a b\nserver=x\n", 0, ""},
		{"hoist.name=a\" \"b hoist.server=x", "name=a\" \"b\nserver=x\n", 0, ""},
		{"hoist.name=\"", "name=\n", 0, ""},
		{"hoist.name=\"\"", "name=\n", 0, ""},
		{"hoist.name=\"a hoist.server=x", "name=a hoist.server=x\n", 0, ""},
		{"x=\"hoist.name=z\" hoist.server=y", "name=box\nserver=y\n", 0, ""},
		{"hoist.server=a=b", "server=a=b\n", 0, ""},
		{"hoist.server= hoist.name=n", "server=\nname=n\n", 0, ""},
		{"hoist.poll-port=x hoist.name=n hoist.bogus=1", "name=n\npoll-port=4647\n",
		 -EINVAL, "hoist.poll-port: 'x' is not a number from 1 to 65535"},
		{"hoist.bogus hoist.poll-port=x hoist.name=n", "name=n\n", -ENOENT,
		 "hoist.bogus is not a known setting"},
		{"hoist.token=t", "", -ENOENT, "hoist.token is not a known setting"},
		{"hoist.server", "", -EINVAL, "hoist.server needs a value: URL"},
		{"hoist.=1", "", -ENOENT, "hoist. is not a known setting"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config c = fresh();
		struct err err = {0};
		char name[128];
		int r = settings_parse_cmdline(&table, &c, cases[i].line, &err);
		bool right = r == cases[i].r && same(err.msg, cases[i].message);
		char want[512];

		(void)snprintf(want, sizeof(want), "%s", cases[i].dump);
		for (char *rest = want, *line; right && (line = strsep(&rest, "\n"));)
			right = strstr(dump(&c), line) != NULL;
		(void)snprintf(name, sizeof(name), "kernel line: %.80s", cases[i].line);
		if (!ok(right, name))
			printf("# %d %s\n%s", r, err.msg, dump(&c));
		settings_done(&table, &c);
	}
}

static void test_file(void)
{
	static const char good[] = "# a comment\n\n  server = https://a:1 \r\ntoken=s#3 cr=et\n"
				   "disk=a\ndisk=b\n\t# more\nname=n";
	static const char bad[] = "server\nname=n\nbogus=1\n";
	static const char zero[] = "name=n\n\0name=m\n";
	static char big[65537];
	struct config c = fresh();
	struct err err = {0};

	ok(settings_parse_file(&table, &c, good, strlen(good), &err) == 0, "file: good");
	ok(same(c.server, "https://a:1") && same(c.token, "s#3 cr=et") && same(c.name, "n") &&
		   c.disks.len == 2 && same(c.disks.items[1], "b"),
	   "file: values without the blanks around them");
	ok(settings_parse_file(&table, &c, "name=no end", 8, &err) == 0 && same(c.name, "no"),
	   "file: only so many bytes are read");
	ok(settings_parse_file(&table, &c, bad, strlen(bad), &err) == -EINVAL &&
		   same(err.msg, "line 1: 'server' is not of the form key=value"),
	   "file: the first error, with its line");
	ok(same(c.name, "n"), "file: the other lines count");
	ok(settings_parse_file(&table, &c, bad + 7, strlen(bad + 7), &err) == -ENOENT &&
		   same(err.msg, "line 2: 'bogus' is not a known setting"),
	   "file: an unknown key");
	ok(settings_parse_file(&table, &c, "token=\a", 7, &err) == -EINVAL &&
		   same(err.msg, "line 1: token: the value holds a control character (0x07)"),
	   "file: a control character");
	ok(settings_parse_file(&table, &c, zero, sizeof(zero) - 1, &err) == -EINVAL &&
		   same(err.msg, "the settings hold a zero byte: not a text file"),
	   "file: a zero byte");
	memset(big, '\n', sizeof(big));
	ok(settings_parse_file(&table, &c, big, 65536, &err) == 0, "file: 64 KiB are taken");
	ok(settings_parse_file(&table, &c, big, 65537, &err) == -EINVAL &&
		   same(err.msg, "the settings are longer than 65536 bytes"),
	   "file: one byte more is not");
	settings_done(&table, &c);
}

static const char *print(void (*fn)(const struct setting_table *, FILE *))
{
	static char text[8192];
	FILE *f = fmemopen(text, sizeof(text), "w");

	fn(&table, f);
	(void)fclose(f);
	return text;
}

static void test_print(void)
{
	const char *help = print(settings_print_help);
	const char *man;
	size_t longest = 0;

	for (const char *p = help; *p; p += strcspn(p, "\n"), p += *p == '\n')
		longest = strcspn(p, "\n") > longest ? strcspn(p, "\n") : longest;
	ok(longest <= 80 && longest > 60, "help: at most 80 columns, and they are used");
	ok(strstr(help, "  --server URL              Where the server is\n"), "help: an option");
	ok(strstr(help, "  --quiet                   Say less\n"), "help: a switch");
	ok(strstr(help, "  token=TOKEN               Enrolment token\n"), "help: only in a file");
	ok(strstr(help, "  hoist.shell               A shell\n"), "help: only on the kernel line");
	ok(strstr(help, "Memory (default: 64M)\n"), "help: a default");
	ok(strstr(help,
		  "  --name NAME               What to call this machine, which is a long story\n"
		  "                            that does not fit"),
	   "help: wrapped");
	man = print(settings_print_man);
	ok(strstr(man, ".TP\n\\fB\\-\\-server\\fR \\fIURL\\fR, \\fBhoist.server\\fR=\\fIURL\\fR\n"
		       "Where the server is.\n"),
	   "man: both spellings");
	ok(strstr(man, ".TP\n\\fBtoken\\fR=\\fITOKEN\\fR\nEnrolment token.\n"),
	   "man: a file's key");
	ok(strstr(man, "\\-\\-poll\\-port\\fR"), "man: '-' stays '-'");
	ok(strstr(man, "May be given several times.\n"), "man: lists say so");
	ok(strstr(man, "The default is 64M.\n"), "man: a default");
}

int main(void)
{
	test_init();
	test_set();
	test_long_value();
	test_argv();
	test_cmdline();
	test_file();
	test_print();
	return done();
}
