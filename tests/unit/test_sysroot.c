#include "agent/sysroot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/tap.h"

static char dir[] = "/var/tmp/hoist-test-sysroot-XXXXXX";

static const char *at(const char *path)
{
	static char full[256];

	(void)snprintf(full, sizeof(full), "%s/%s", dir, path);
	return full;
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(at(path), "we");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

static void make_dir(const char *path)
{
	if (mkdir(at(path), 0700) < 0)
		abort();
}

static void make_link(const char *target, const char *path)
{
	if (symlink(target, at(path)) < 0)
		abort();
}

static void test_read(const struct sysroot *r)
{
	char text[16] = "unchanged";
	uint64_t v = 7;

	put("sys/number", "123\n");
	put("sys/text", "  two  words \n");
	put("sys/minus", "-1\n");
	put("sys/huge", "99999999999999999999\n");
	put("sys/odd", "12x\n");
	ok(sysroot_u64(r, &v, "sys/%s", "number") && v == 123, "a number");
	v = 7;
	ok(!sysroot_u64(r, &v, "sys/minus") && !sysroot_u64(r, &v, "sys/huge") &&
		   !sysroot_u64(r, &v, "sys/odd") && !sysroot_u64(r, &v, "sys/none") && v == 7,
	   "what is none leaves the result alone");
	ok(sysroot_text(r, text, sizeof(text), "sys/text") && strcmp(text, "two words") == 0,
	   "text");
	ok(!sysroot_text(r, text, sizeof(text), "sys/none") && text[0] == '\0', "no text");
	ok(!sysroot_text(r, text, sizeof(text), "sys/%04200d", 1),
	   "a path that is too long is not there");
	ok(sysroot_read(r, text, 3, "sys/number") == 3 && memcmp(text, "123", 3) == 0 &&
		   sysroot_read(r, text, 3, "sys") == -1,
	   "bytes, and a folder has none");
	if (mkfifo(at("sys/fifo"), 0600) < 0)
		abort();
	ok(!sysroot_text(r, text, sizeof(text), "sys/fifo"), "a FIFO is not waited for");
}

static void test_links(const struct sysroot *r)
{
	char path[PATH_MAX], name[16];

	put("secret", "out");
	make_dir("sys/a");
	make_dir("sys/a/b");
	put("sys/a/b/file", "in\n");
	make_link("../a/./b", "sys/a/rel");
	make_link("/sys/a/b", "sys/a/abs");
	make_link("../../../../../../../../../etc/passwd", "sys/a/escape");
	make_link("/etc/passwd", "sys/a/escape2");
	ok(sysroot_text(r, name, sizeof(name), "sys/a/rel/file") && strcmp(name, "in") == 0,
	   "a file beyond a link");
	ok(sysroot_text(r, name, sizeof(name), "sys/a/abs/file") && strcmp(name, "in") == 0,
	   "an absolute link begins at the root given");
	ok(!sysroot_exists(r, "sys/a/escape") && !sysroot_exists(r, "sys/a/escape2") &&
		   !sysroot_exists(r, "../../../../../etc/passwd"),
	   "nothing leads out of it");
	ok(sysroot_follow(r, path, "sys/a/%s", "rel") && strcmp(path, "sys/a/b") == 0,
	   "where a relative link leads");
	ok(sysroot_follow(r, path, "sys/a/abs") && strcmp(path, "sys/a/b") == 0,
	   "where an absolute link leads");
	ok(sysroot_follow(r, path, "sys/a/escape") && strcmp(path, "etc/passwd") == 0,
	   "more dots than folders end at the root");
	ok(!sysroot_follow(r, path, "sys/a/b") && !sysroot_follow(r, path, "sys/none"),
	   "a folder is no link");
	ok(sysroot_link_name(r, name, sizeof(name), "sys/a/rel") && strcmp(name, "b") == 0,
	   "the last part of a link, which need not lead anywhere");
}

static void test_list(const struct sysroot *r)
{
	CLEANUP_NAMES struct name_list l = {0}, none = {0};

	make_dir("sys/list");
	for (int i = 0; i < 12; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "sys/list/ata%d", 11 - i);
		put(name, "");
	}
	sysroot_list(r, &l, "sys/list");
	ok(l.len == 12 && strcmp(l.names[2], "ata2") == 0 && strcmp(l.names[10], "ata10") == 0,
	   "names in the order of their numbers");
	sysroot_list(r, &none, "sys/none");
	ok(none.len == 0, "a folder that is not there is empty");
	(void)name_list_add(&none, "b");
	(void)name_list_add(&none, "a");
	(void)name_list_add(&none, "b");
	name_list_unique(&none);
	(void)name_list_add(&none, "c");
	ok(none.len == 3 && strcmp(none.names[0], "a") == 0 && strcmp(none.names[1], "b") == 0 &&
		   strcmp(none.names[2], "c") == 0,
	   "each name once");
}

int main(void)
{
	struct sysroot r = {.fd = -1};
	struct err err = {0};
	char cmd[128];

	if (!mkdtemp(dir))
		return 1;
	ok(sysroot_open(dir, &r, &err) == -ENOENT && strstr(err.msg, "has no sys/block") != NULL,
	   "a folder that is no sysroot is refused");
	ok(sysroot_open("/nonexistent", &r, &err) == -ENOENT, "and so is none at all");
	make_dir("sys");
	make_dir("sys/block");
	ok(sysroot_open(dir, &r, &err) == 0 && !r.is_live, "a sysroot");
	test_read(&r);
	test_links(&r);
	test_list(&r);
	sysroot_done(&r);
	(void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd) == 0 ? done() : 1; // NOLINT: a test, and its own folder
}
